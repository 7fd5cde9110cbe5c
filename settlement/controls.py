"""Controls over settlement: each finds violations and must find none, after every run and on demand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement import runs, store
from settlement.statements import Draft


@dataclass(frozen=True, slots=True)
class Control:
    """A rule, said in one sentence, and how to look for violations of it."""

    code: str
    rule: str
    find: Callable[[AsyncConnection], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, and where."""

    code: str
    rule: str
    detail: str


async def run(connection: AsyncConnection) -> list[Violation]:
    """Every violation of every control; an empty list is what everybody wants to see."""
    return [
        Violation(control.code, control.rule, detail)
        for control in CONTROLS
        for detail in await control.find(connection)
    ]


def _by_statement(control: str) -> Callable[[AsyncConnection], Awaitable[list[str]]]:
    async def find(connection: AsyncConnection) -> list[str]:
        return await store.violations(connection, control)

    return find


async def _differs_when_rated_again(connection: AsyncConnection) -> list[str]:
    found = []
    for head in await runs.runs(connection):
        issued = [s.draft() for s in (await runs.run(connection, head.run_id)).statements]
        if _without_openings(issued) != await runs.redraw(connection, head.run_id):
            found.append(f"run {head.run_id} rated again gives other statements")
    return found


def _without_openings(drafts: list[Draft]) -> list[Draft]:
    """What was carried over is not rated, so it is taken off before comparing."""
    return [
        replace(
            d,
            opening_micro=0,
            opening_minor=0,
            net_micro=d.net_micro - d.opening_micro,
            net_minor=d.net_minor - d.opening_minor,
        )
        for d in drafts
    ]


CONTROLS = (
    Control("S1", "the nets of a run sum to zero", _by_statement(store.NETS_SUM_TO_ZERO)),
    Control("S2", "opening and lines sum to the net", _by_statement(store.LINES_SUM_TO_NET)),
    Control("S3", "every posting of a settled cut-off is in one run", _by_statement(store.EVERY_POSTING_IN_ONE_RUN)),
    Control("S4", "the obligation at face is what the lots hold", runs.check),
    Control("S5", "a statement has lines", _by_statement(store.STATEMENTS_HAVE_LINES)),
    Control("S6", "payments are the nets", _by_statement(store.PAYMENTS_ARE_NETS)),
    Control("S7", "a run rated again gives its statements", _differs_when_rated_again),
)
