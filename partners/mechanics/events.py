"""Events: what a partner tells that is no purchase: a registration, a newsletter, a review, whatever it declared.

What an event is worth is said by rules of the trigger `event`; how often it counts by its own document. One that is
moderated waits until somebody approves it, and is then decided as of when it occurred.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from kit.errors import Rejection
from kit.secrets import fingerprint
from members import persons, sharing
from members.identification import MemberRef
from partners import callers, outcomes
from partners.callers import Caller
from partners.calls import Call
from partners.desk import Desk
from partners.mechanics import moment_store, moments, registry
from partners.mechanics.documents import EventDocument
from partners.mechanics.moments import Counted, Moment, MomentCounted
from partners.promotions.basket import Event
from partners.tills import recognition

MOST_TOLD = 20
LONGEST_WORD = 200
LARGEST = 10**15


class EventUnknown(Rejection):
    """No such event was declared, or this partner may not tell it."""

    code = "EVENT_UNKNOWN"
    retryable = True


class EventInvalid(Rejection):
    """The event happens later than now, comes with too much, or lacks the key that it counts once under."""

    code = "EVENT_INVALID"
    retryable = False


class EventPersonUnknown(Rejection):
    """The event counts once per person, and nothing is known that tells the person: no phone number."""

    code = "EVENT_PERSON_UNKNOWN"
    retryable = True


class ReviewUnknown(Rejection):
    """The partner has no such event waiting."""

    code = "REVIEW_UNKNOWN"
    retryable = False


class ReviewDecided(Rejection):
    """It was decided before, and otherwise."""

    code = "REVIEW_DECIDED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Told:
    """An event as a partner tells it, of a member who is recognised. once_key is what it counts once under: a product
    that is reviewed, a newsletter; empty where the event itself is that."""

    member_id: int
    caller: Caller
    event: Event
    occurred_at: datetime
    at: datetime
    idem_key: UUID
    once_key: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that somebody has to look at: its number, and whether an earlier call told it."""

    member_id: int
    review_no: int
    replayed: bool


async def record_event(
    desk: Desk,
    call: Call,
    ref: MemberRef,
    event: Event,
    *,
    occurred_at: datetime,
    once_key: str = "",
    terminal_id: int | None = None,
) -> Counted | Waiting:
    """Tell an event of a member; what it gave, or that it waits to be looked at. Once whatever is retried. terminal_id
    is the till that a visit is good at.

    Rejects what identification rejects, EVENT_UNKNOWN, EVENT_INVALID, EVENT_PERSON_UNKNOWN, MOMENT_COUNTED,
    IDEMPOTENCY_KEY_REUSED, PARTNER_SUSPENDED, AGREEMENT_MISSING.
    """
    directory = await desk.directory.get()
    partner = directory.partner(call.caller.partner_id)
    if partner is None or partner.status != "ACTIVE":
        raise callers.PartnerSuspended("the partner is suspended")
    _check(event, occurred_at, call.at, once_key)
    async with desk.database.reading() as connection:
        document = await registry.event(connection, event.code, at=call.at)
    if document is None or (document.partners and partner.code not in document.partners):
        raise EventUnknown("no such event was declared for this partner")
    member = await recognition.identify(desk, call.caller, ref, terminal_id, call.at)
    told = Told(member.member_id, call.caller, event, occurred_at, call.at, call.idem_key, once_key)
    if document.moderated:
        return await _keep(desk, told, document)
    return await _count(desk, told, document)


async def moderate(
    desk: Desk, caller: Caller, member_id: int, review_no: int, *, approved: bool, at: datetime
) -> Counted | None:
    """Approve or decline an event of the caller's that waits; what it gave, None where it was declined. The same
    decision again hears the same.

    Rejects REVIEW_UNKNOWN, REVIEW_DECIDED, MEMBER_CLOSED and what recording an event rejects.
    """
    async with desk.database.transaction() as connection:
        row = await moment_store.review(connection, member_id, review_no, locked=True)
        if row is None or row.partner_id != caller.partner_id:
            raise ReviewUnknown("no such event waits")
        if row.approved not in (None, approved):
            raise ReviewDecided("it was decided before, and otherwise")
        if approved and row.approved is None:
            await sharing.person(connection, member_id)  # who has left is given nothing any more
        await moment_store.decide_review(connection, member_id, review_no, approved=approved, at=at)
        document = await registry.event(connection, row.code, at=row.at)
    if not approved:
        return None
    assert document is not None
    event, once_key = Event.from_json(row.told["event"]), row.told["once_key"]
    told = Told(member_id, Caller(row.partner_id, row.client_id), event, row.occurred_at, at, row.idem_key, once_key)
    return await moments.record(desk, await _moment(desk, told, document, row.cause, row.fingerprint))


async def waiting(desk: Desk, caller: Caller, *, limit: int = 100) -> list[Waiting]:
    """The caller's events that wait to be looked at, the oldest first."""
    async with desk.database.reading() as connection:
        rows = await moment_store.waiting_reviews(connection, caller.partner_id, limit)
    return [Waiting(row.holder_id, row.review_no, True) for row in rows]


async def _keep(desk: Desk, told: Told, document: EventDocument) -> Waiting:
    content = _content(told)
    async with desk.database.transaction() as connection:
        earlier = await moment_store.review_by_key(connection, told.idem_key)
        if earlier is None:
            number = await moment_store.insert_review(connection, _cause(told, document), told, content)
            if number is None:
                raise MomentCounted("it was told before, under another key")
            return Waiting(told.member_id, number, False)
    if earlier.fingerprint != content or earlier.holder_id != told.member_id:
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return Waiting(told.member_id, earlier.review_no, True)


async def _count(desk: Desk, told: Told, document: EventDocument) -> Counted:
    content = _content(told)
    if earlier := await moments.recall(desk, told.idem_key, content):
        return earlier
    return await moments.record(desk, await _moment(desk, told, document, _cause(told, document), content))


async def _moment(desk: Desk, told: Told, document: EventDocument, cause: UUID, content: UUID) -> Moment:
    person = None
    if document.once == "person":
        async with desk.database.reading() as connection:
            person = await persons.key_of(connection, desk.vault, told.member_id)
        if person is None:
            raise EventPersonUnknown("this event counts once per person, and no phone number tells who it is")
    return Moment(
        member_id=told.member_id, caller=told.caller, kind=moments.EVENT, cause=cause, idem_key=told.idem_key,
        fingerprint=content, occurred_at=told.occurred_at, at=told.at, event=told.event, person=person,
        what=_what(told, document) if person else "",
    )  # fmt: skip


def _cause(told: Told, document: EventDocument) -> UUID:
    """What of an event happens once: the call itself, or the event of this member under the partner's key for it."""
    if document.once == "no":
        return fingerprint("event", told.idem_key.bytes)
    return fingerprint("event", str(told.member_id), _what(told, document))


def _what(told: Told, document: EventDocument) -> str:
    where = "" if document.across == "coalition" else str(told.caller.partner_id)
    return f"event:{told.event.code}:{where}:{told.once_key}"


def _content(told: Told) -> UUID:
    said = [told.member_id, told.event.to_json(), told.occurred_at.isoformat(), told.once_key]
    return fingerprint("event", orjson.dumps(said, option=orjson.OPT_SORT_KEYS))


def _check(event: Event, occurred_at: datetime, at: datetime, once_key: str) -> None:
    if occurred_at > at:
        raise EventInvalid("the event says it happened later than now")
    words = [*event.numbers, *event.words, *event.words.values(), once_key]
    if len(event.numbers) + len(event.words) > MOST_TOLD or any(len(word) > LONGEST_WORD for word in words):
        raise EventInvalid(f"an event comes with at most {MOST_TOLD} figures and words of {LONGEST_WORD} characters")
    if any(abs(number) > LARGEST for number in event.numbers.values()):
        raise EventInvalid("a figure of the event is too large")
