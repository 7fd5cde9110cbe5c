"""What a partner's programs have to have done before they go live, ticked by itself when one does it.

A step is seen in an answer: a purchase recorded, one sent again and told so, a hold captured. It is kept once, with the
request that did it; the till page of ours ticks nothing, it is the partner's programs that have to know how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.context import Viewer
from gateway.integration import request_figure_store

PURCHASE, POINTS_SPENT, RETURN, CANCELLATION = "PURCHASE", "POINTS_SPENT", "RETURN", "CANCELLATION"
HOLD_CAPTURED, SENT_AGAIN, OFFLINE, REFUSED = "HOLD_CAPTURED", "SENT_AGAIN", "OFFLINE", "REFUSED"
KEY_ROTATED = "KEY_ROTATED"
ORDER = (PURCHASE, POINTS_SPENT, HOLD_CAPTURED, RETURN, CANCELLATION, SENT_AGAIN, OFFLINE, REFUSED, KEY_ROTATED)
"""Every step, as one would go about it. KEY_ROTATED is told by the audit trail."""

_BY_FIELD: Mapping[str, str] = MappingProxyType(
    {
        "Mutation.recordPurchase": PURCHASE,
        "Mutation.accruePoints": PURCHASE,
        "Mutation.accrueMany": PURCHASE,
        "Mutation.redeemPoints": POINTS_SPENT,
        "Mutation.captureHold": HOLD_CAPTURED,
        "Mutation.returnPurchase": RETURN,
        "Mutation.cancelPurchase": CANCELLATION,
    }
)
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was done: by which client, with which request, when (the wall's instant)."""

    step: str
    client_id: str
    request_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """A step that a process saw and has not written."""

    partner_id: int
    step: str
    client_no: int
    request_id: str
    at: datetime


@lru_cache(maxsize=1_024)
def steps_of(fields: tuple[str, ...]) -> frozenset[str]:
    """PURE: the steps that an operation with these fields of the schema does when it goes well."""
    return frozenset(step for field in fields if (step := _BY_FIELD.get(field)) is not None)


def told_besides(variables: Mapping[str, Any]) -> set[str]:
    """PURE: what a purchase's input says is done with it: points spent, a hold captured, a sale made offline. An input
    is looked through to a depth, and of a list its first item."""
    found: set[str] = set()
    level: list[Any] = [variables]
    for _ in range(_DEEPEST + 1):
        below: list[Any] = []
        for each in level:
            if type(each) is list:  # as JSON has them: nothing else is a list or an object here
                below += each[:1]
            elif type(each) is dict:
                below += each.values()
                if each.get("redeem") is not None:
                    found.add(POINTS_SPENT)
                if each.get("holdId") is not None:
                    found.add(HOLD_CAPTURED)
                if each.get("entryMode") == "OFFLINE":
                    found.add(OFFLINE)
        level = below
    return found


class FirstSteps:
    """What one process saw done since it wrote last, each step of a partner's once."""

    def __init__(self) -> None:
        self._known: set[tuple[int, str]] = set()
        self._waiting: list[Done] = []

    def note(
        self, viewer: Viewer, request_id: str, fields: tuple[str, ...], *, code: str | None, replayed: bool,
        variables: Mapping[str, Any], at: datetime,
    ) -> None:  # fmt: skip
        """Keep what a partner's program did with a request, where this process has not seen it do that."""
        if viewer.partner_id is None or viewer.client_no < 0 or not (steps := steps_of(fields)):
            return
        if code is not None:
            done: set[str] = {REFUSED}
        elif replayed:
            done = {SENT_AGAIN}
        else:
            done = {*steps, *(told_besides(variables) if PURCHASE in steps else ())}
        for step in done:
            if (viewer.partner_id, step) not in self._known:
                self._known.add((viewer.partner_id, step))
                self._waiting.append(Done(viewer.partner_id, step, viewer.client_no, request_id, at))

    def taken(self) -> list[Done]:
        """What has not been written."""
        taken, self._waiting = self._waiting, []
        return taken

    def put_back(self, taken: Sequence[Done]) -> None:
        """Keep what could not be written for the next time."""
        self._waiting = [*taken, *self._waiting]


async def write(connection: AsyncConnection, taken: Sequence[Done]) -> None:
    """Write down what was done for the first time."""
    rows = [
        {"partner_id": each.partner_id, "step": each.step, "client_no": each.client_no, "request_id": each.request_id,
         "at": each.at}
        for each in sorted(taken, key=lambda each: (each.partner_id, each.step))
    ]  # fmt: skip
    if rows:
        await request_figure_store.insert_steps(connection, rows)


async def of_partner(connection: AsyncConnection, partner_id: int) -> dict[str, Step]:
    """The steps that a partner's programs have done, by step."""
    return {row["step"]: Step(**row) for row in await request_figure_store.steps(connection, partner_id)}
