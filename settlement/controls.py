"""Controls over settlement: each finds violations and must find none, after every run and on demand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement import archive, states, store
from settlement.money import controls as books
from settlement.subscription import months


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
    for head in await archive.runs(connection):
        if head.state == states.DRAFT:
            continue
        written = [s.draft() for s in (await archive.run(connection, head.run_id)).statements]
        if written != await archive.redraw(connection, head.run_id):
            found.append(f"run {head.run_id} rated again gives other statements")
    return found


async def _differs_from_its_hash(connection: AsyncConnection) -> list[str]:
    found = []
    for head in await archive.runs(connection):
        for statement_id, kept, said in await archive.hashes(connection, head.run_id):
            if kept != said:
                found.append(f"statement {statement_id} is not what was issued")
    return found


async def _differs_when_allocated_again(connection: AsyncConnection) -> list[str]:
    return [
        f"fees in {month.currency} of {month.month:%Y-%m}: {wrong}"
        for month in await months.months(connection)
        for wrong in await months.wrongs(connection, month)
    ]


CONTROLS = (
    Control("S1", "the nets of a run sum to zero", _by_statement(store.NETS_SUM_TO_ZERO)),
    Control("S2", "opening and lines sum to the net", _by_statement(store.LINES_SUM_TO_NET)),
    Control("S3", "every posting of a settled cut-off is in one run", _by_statement(store.EVERY_POSTING_IN_ONE_RUN)),
    Control("S4", "the obligation at face is what the lots hold", archive.check),
    Control("S5", "a statement has lines", _by_statement(store.STATEMENTS_HAVE_LINES)),
    Control("S6", "payments are the nets", _by_statement(store.PAYMENTS_ARE_NETS)),
    Control("S7", "a run rated again gives its statements", _differs_when_rated_again),
    Control("S8", "every entry is in one window, however it is counted", _by_statement(store.WINDOWS_ARE_COMPLETE)),
    Control("S9", "a statement opens with what was carried over", _by_statement(store.OPENINGS_ARE_CLOSINGS)),
    Control("S10", "rounding is at most half a minor unit a line", _by_statement(store.ROUNDING_IS_SMALL)),
    Control("S11", "windows and runs went allowed ways", _by_statement(store.STEPS_ARE_ALLOWED)),
    Control("S12", "who made a run did not approve it", _by_statement(store.TWO_PEOPLE)),
    Control("S13", "documents are numbered without a gap", _by_statement(store.NUMBERS_HAVE_NO_GAP)),
    Control("S14", "documents are what their statements say", _by_statement(store.DOCUMENTS_ADD_UP)),
    Control("S15", "an issued statement is what its hash says", _differs_from_its_hash),
    Control("S16", "a month of fees allocated again gives its shares, once each", _differs_when_allocated_again),
    *(Control(*rule) for rule in books.RULES),
)
