"""PURE: what a subscription is, as a fold over what happened to it.

    PENDING ──a present, paid──► ENDED
    PENDING ──paid──► ACTIVE        PENDING ──trial──► TRIALING        PENDING ──23 hours──► EXPIRED
    TRIALING ──trial over, invoiced──► ACTIVE        ACTIVE ──renewed──► ACTIVE        ACTIVE ──paused──► PAUSED
    PAUSED ──resumed──► ACTIVE        TRIALING | ACTIVE | PAUSED ──ended──► ENDED

Events are dated facts that are appended; nothing is edited. An event that does not fit the state raises
EventOutOfOrder: it is a fault of whoever appends, who asks `may` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from members.subscription.periods import Interval, Rhythm

LONGEST_PAUSE = timedelta(days=93)


class State(StrEnum):
    """Where a contract stands."""

    PENDING = "PENDING"
    TRIALING = "TRIALING"
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    ENDED = "ENDED"
    EXPIRED = "EXPIRED"


Status = Literal["INCOMPLETE", "TRIALING", "ACTIVE", "CANCELLING", "GRACE", "ON_HOLD", "PAUSED", "ENDED"]
Phase = Literal["NONE", "GRACE", "ON_HOLD"]


class EventOutOfOrder(Exception):  # noqa: N818 - it is the state of the event
    """An event does not fit the state of its contract. A fault of the programme, never a business "no"."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a contract at a business instant (UTC).

    price_no names a price version; until is the end of a trial or a pause; reason says why something ended.
    """

    kind: str
    at: datetime
    price_no: int | None = None
    interval: Interval | None = None
    count: int = 1
    until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """A subscription's state. period_index counts from the anchor; cancel_at is when it will end, None never."""

    state: State
    price_no: int
    zone: str
    created_at: datetime
    rhythm: Rhythm | None = None
    period_index: int = 0
    trial_end: datetime | None = None
    cancel_at: datetime | None = None
    pending_price_no: int | None = None
    pause_at: datetime | None = None
    paused_until: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None

    @property
    def period_end(self) -> datetime | None:
        """When the present period, or the trial, ends."""
        if self.state is State.TRIALING:
            return self.trial_end
        return None if self.rhythm is None else self.rhythm.boundary(self.period_index + 1)

    @property
    def is_running(self) -> bool:
        """Whether it gives anything now, arrears aside."""
        return self.state in (State.TRIALING, State.ACTIVE)


_FROM = {
    "TRIAL_STARTED": {State.PENDING},
    "ACTIVATED": {State.PENDING, State.TRIALING},
    "RENEWED": {State.ACTIVE},
    "CANCEL_ASKED": {State.TRIALING, State.ACTIVE, State.PAUSED},
    "CANCEL_WITHDRAWN": {State.TRIALING, State.ACTIVE, State.PAUSED},
    "PRICE_CHANGE_PLANNED": {State.ACTIVE, State.TRIALING},
    "PRICE_CHANGE_WITHDRAWN": {State.ACTIVE, State.TRIALING},
    "PRICE_CHANGED": {State.ACTIVE},
    "PAUSE_PLANNED": {State.ACTIVE},
    "PAUSE_WITHDRAWN": {State.ACTIVE},
    "PAUSED": {State.ACTIVE},
    "RESUMED": {State.PAUSED},
    "ENDED": {State.TRIALING, State.ACTIVE, State.PAUSED},
    "EXPIRED": {State.PENDING},
    "GIVEN": {State.PENDING},
}


def may(contract: Contract, kind: str) -> bool:
    """Whether an event of a kind fits the state of a contract."""
    return contract.state in _FROM.get(kind, ())


def fold(events: Iterable[Event], *, zone: str) -> Contract:
    """The contract that events, in order, amount to; the first is CREATED. Raises EventOutOfOrder."""
    contract: Contract | None = None
    for event in events:
        contract = _created(event, zone) if contract is None else apply(contract, event)
    if contract is None:
        raise EventOutOfOrder("a contract begins with CREATED")
    return contract


def apply(contract: Contract, event: Event) -> Contract:
    """The contract after one more event. Raises EventOutOfOrder."""
    if not may(contract, event.kind):
        raise EventOutOfOrder(f"{event.kind} does not fit a contract that is {contract.state}")
    return _APPLY[event.kind](contract, event)


def status(contract: Contract, phase: Phase = "NONE") -> Status:
    """What a member and a partner are told, derived from the contract and the phase of its arrears."""
    if contract.state is State.PENDING:
        return "INCOMPLETE"
    if contract.state in (State.ENDED, State.EXPIRED):
        return "ENDED"
    if contract.state is State.PAUSED:
        return "PAUSED"
    if phase != "NONE":
        return phase
    if contract.cancel_at is not None:
        return "CANCELLING"
    return "TRIALING" if contract.state is State.TRIALING else "ACTIVE"


def _created(event: Event, zone: str) -> Contract:
    if event.kind != "CREATED" or event.price_no is None:
        raise EventOutOfOrder("a contract begins with CREATED")
    return Contract(State.PENDING, event.price_no, zone, event.at)


def _trial_started(contract: Contract, event: Event) -> Contract:
    if event.until is None or event.until <= event.at:
        raise EventOutOfOrder("a trial ends after it began")
    return replace(contract, state=State.TRIALING, trial_end=event.until)


def _activated(contract: Contract, event: Event) -> Contract:
    if event.interval is None:
        raise EventOutOfOrder("an activation says how often it renews")
    rhythm = Rhythm(event.at, event.interval, event.count, contract.zone)
    price_no = contract.pending_price_no or contract.price_no
    return replace(
        contract, state=State.ACTIVE, rhythm=rhythm, period_index=0, price_no=price_no, pending_price_no=None
    )


def _renewed(contract: Contract, event: Event) -> Contract:
    if contract.period_end is None or event.at < contract.period_end:
        raise EventOutOfOrder("a period is renewed when it has ended")
    price_no = contract.pending_price_no or contract.price_no
    return replace(contract, period_index=contract.period_index + 1, price_no=price_no, pending_price_no=None)


def _cancel_asked(contract: Contract, event: Event) -> Contract:
    ends_at = event.at if contract.state is State.PAUSED else contract.period_end
    return replace(contract, cancel_at=ends_at, pause_at=None)


def _price_changed(contract: Contract, event: Event) -> Contract:
    if event.price_no is None:
        raise EventOutOfOrder("a change names its price")
    changed = replace(contract, price_no=event.price_no, pending_price_no=None)
    if event.interval is None:
        return changed
    return replace(changed, rhythm=Rhythm(event.at, event.interval, event.count, contract.zone), period_index=0)


def _paused(contract: Contract, event: Event) -> Contract:
    if event.until is not None and event.until - event.at > LONGEST_PAUSE:
        raise EventOutOfOrder("a pause lasts three months at most")
    until = event.until or event.at + LONGEST_PAUSE
    return replace(contract, state=State.PAUSED, pause_at=None, paused_until=until)


def _resumed(contract: Contract, event: Event) -> Contract:
    """A pause ends with a new anchor: what was not given was not paid for, and periods begin anew."""
    assert contract.rhythm is not None
    rhythm = replace(contract.rhythm, anchor_at=event.at)
    return replace(contract, state=State.ACTIVE, rhythm=rhythm, period_index=0, paused_until=None)


def _ended(contract: Contract, event: Event) -> Contract:
    return replace(contract, state=State.ENDED, ended_at=event.at, end_reason=event.reason, cancel_at=None)


_APPLY: Mapping[str, Callable[[Contract, Event], Contract]] = {
    "TRIAL_STARTED": _trial_started,
    "ACTIVATED": _activated,
    "RENEWED": _renewed,
    "CANCEL_ASKED": _cancel_asked,
    "CANCEL_WITHDRAWN": lambda contract, _: replace(contract, cancel_at=None),
    "PRICE_CHANGE_PLANNED": lambda contract, event: replace(contract, pending_price_no=event.price_no),
    "PRICE_CHANGE_WITHDRAWN": lambda contract, _: replace(contract, pending_price_no=None),
    "PRICE_CHANGED": _price_changed,
    "PAUSE_PLANNED": lambda contract, event: replace(contract, pause_at=contract.period_end, paused_until=event.until),
    "PAUSE_WITHDRAWN": lambda contract, _: replace(contract, pause_at=None, paused_until=None),
    "PAUSED": _paused,
    "RESUMED": _resumed,
    "ENDED": _ended,
    "GIVEN": _ended,
    "EXPIRED": lambda contract, event: replace(
        contract, state=State.EXPIRED, ended_at=event.at, end_reason=event.reason
    ),
}
