"""Holds: points set aside for a sale that is not finished, then captured whole or in part, released, or lapsed.

Who may spend is proved when a hold is placed. It is for the partner that placed it alone: to another one its id is as
unknown as one that never was. Whatever is retried, each of the three happens once and hears its first answer again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from msgspec import structs

from kit.errors import FieldProblem, Rejection
from kit.secrets import fingerprint
from ledger import holds as ledger_holds
from ledger import lots
from ledger.accounts import POINTS
from members.identification import Identified
from partners import callers, outcomes, recording
from partners.callers import Caller, Place
from partners.decisions import preparing
from partners.decisions.prepared import ATTEMPTS, Outrun, Prepared, Retries, bare
from partners.desk import Desk
from partners.holds import store
from partners.outcomes import Recorded
from partners.purchases import purchases
from partners.receipts.receipts import LONGEST_REFERENCE, Receipt
from partners.receipts.records import PURCHASE, REDEMPTION, HoldRow, ProofUse
from partners.recording import CLAIM_LOST
from partners.terms import Terms

LASTS = timedelta(minutes=15)
OPEN, CAPTURED, RELEASED, LAPSED = "OPEN", "CAPTURED", "RELEASED", "LAPSED"
_STATES = {
    ledger_holds.OPEN: OPEN,
    ledger_holds.CAPTURED: CAPTURED,
    ledger_holds.RELEASED: RELEASED,
    ledger_holds.LAPSED: LAPSED,
}


class HoldInvalid(Rejection):
    """The hold is asked for longer than the agreement allows, for no time, or under a reference that cannot be one."""

    code = "HOLD_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class HoldRef:
    """A hold by its place in its holder's journal."""

    holder_id: int
    seq: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A partner's hold as it is at an instant: points set aside and captured, until when, and what became of it.

    state is OPEN, CAPTURED, RELEASED or LAPSED. reference is the partner's own number of what it is for.
    """

    ref: HoldRef
    points: int
    captured_points: int
    state: str
    reference: str
    placed_at: datetime
    lapses_at: datetime
    card_id: int | None
    terms_id: int


@dataclass(frozen=True, slots=True)
class HoldWish:
    """What a till asks: so many points, for how long (None: a quarter of an hour), for which number of its own."""

    points: int
    lasts: timedelta | None
    reference: str


@dataclass(frozen=True, slots=True)
class Held:
    """A hold on record, and the account's points after the call where it told them."""

    hold: Hold
    replayed: bool
    at: datetime
    available: int | None = None
    pending: int | None = None
    held: int | None = None


def check(wish: HoldWish, terms: Terms) -> timedelta:
    """How long a hold will last. Raises HoldInvalid, and PointsNotPositive."""
    if wish.points <= 0:
        raise purchases.PointsNotPositive("the number of points to hold must be above zero")
    longest = timedelta(minutes=terms.hold_minutes)
    lasts = min(LASTS, longest) if wish.lasts is None else wish.lasts
    found = []
    if not timedelta(0) < lasts <= longest:
        seconds = int(longest.total_seconds())
        found.append(FieldProblem(("lastsSeconds",), "OUT_OF_RANGE", f"1 to {seconds} by the agreement"))
    if not 1 <= len(wish.reference) <= LONGEST_REFERENCE:
        found.append(FieldProblem(("reference",), "LENGTH", f"1 to {LONGEST_REFERENCE} characters"))
    if found:
        raise HoldInvalid("points cannot be held like this", problems=found)
    return lasts


def content_of(holder_id: int, place: Place, wish: HoldWish) -> UUID:
    """What the key of a placing stands for; how the member was recognised and the proof may differ between retries."""
    where = f"{place.partner.partner_id}:{place.outlet_id}:{place.terminal_id or ''}"
    seconds = "" if wish.lasts is None else str(int(wish.lasts.total_seconds()))
    return fingerprint("hold", str(holder_id), where, str(wish.points), seconds, wish.reference)


def captured_content_of(bare: UUID, ref: HoldRef) -> UUID:
    """What the key of a capture stands for: the content of its receipt with the points asked for, and the hold."""
    return fingerprint(bare.bytes, "capture", f"{ref.holder_id}:{ref.seq}")


async def find(desk: Desk, caller: Caller, ref: HoldRef, *, at: datetime) -> Hold | None:
    """The caller's own hold at an instant; None where there is none or it is another's."""
    row = await store.hold(desk.pool, caller.partner_id, ref.holder_id, ref.seq)
    return None if row is None else await _hold(desk, row, at)


async def own(desk: Desk, caller: Caller, ref: HoldRef, *, at: datetime, member_id: int | None = None) -> Hold:
    """The caller's own hold, of the member who was recognised where one was. Raises HoldUnknown for any other."""
    found = None
    if member_id is None or member_id == ref.holder_id:
        found = await find(desk, caller, ref, at=at)
    if found is None:
        raise outcomes.rejection(outcomes.HOLD_UNKNOWN)
    return found


async def place(
    desk: Desk,
    caller: Caller,
    member: Identified,
    where: Place,
    wish: HoldWish,
    *,
    terms: Terms,
    use: ProofUse,
    idem_key: UUID,
    at: datetime,
) -> Held:
    """Set points aside; use is the proof of the member's wish, to be used up.

    Raises HoldInvalid, PointsNotPositive, and as `purchases.purchase`: InsufficientPoints is final and stored.
    """
    row = HoldRow(
        holder_id=member.member_id, claim=_claim("hold", idem_key), idem_key=idem_key,
        fingerprint=content_of(member.member_id, where, wish), partner_id=caller.partner_id, outlet_id=where.outlet_id,
        terminal_id=where.terminal_id, client_id=caller.client_no, card_id=member.card_id, terms_id=terms.terms_id,
        reference=wish.reference, points=wish.points, lapses_at=at + check(wish, terms),
    )  # fmt: skip
    day = callers.day_of(await desk.directory.get(), at)
    record = await _decided(
        lambda: store.record_hold(desk.pool, row, use=use, day=day, at=at), member_id=member.member_id
    )
    if record["status"] == outcomes.REPLAYED:
        return await _placed_before(desk, caller, record["holder_id"], row.claim, at)
    hold = Hold(
        HoldRef(member.member_id, record["seq"]), wish.points, 0, OPEN, wish.reference, at, row.lapses_at,
        member.card_id, terms.terms_id,
    )  # fmt: skip
    return Held(hold, False, at, record["available"], record["pending"], held=record["held"])


async def placed_or(
    no: Rejection,
    desk: Desk,
    caller: Caller,
    where: Place,
    wish: HoldWish,
    *,
    member_id: int | None,
    idem_key: UUID,
    at: datetime,
) -> Held:
    """The first answer where this very placing was answered before, else the "no" that it would get now. member_id is
    who was recognised before the "no", if anybody was."""
    earlier = await store.claim_by_idem_key(desk.pool, idem_key)
    if earlier is not None:
        holder_id = earlier["holder_id"]
        is_same = earlier["fingerprint"] == content_of(holder_id, where, wish)
        if not is_same or member_id not in (None, holder_id):
            raise outcomes.rejection(outcomes.KEY_REUSED)
        return await _placed_before(desk, caller, holder_id, earlier["claim"], at)
    if member_id is not None:
        told = await lots.declined(desk.pool, member_id, unit=POINTS, idem_key=idem_key)
        if told is not None:
            is_same = told == content_of(member_id, where, wish)
            raise outcomes.rejection(outcomes.INSUFFICIENT if is_same else outcomes.KEY_REUSED)
    raise no


def points_to_capture(hold: Hold, asked: int | None) -> int:
    """How many points are captured: as many as asked, or all. Raises PointsNotPositive, CaptureExceedsHold."""
    points = hold.points if asked is None else asked
    if points <= 0:
        raise purchases.PointsNotPositive("the number of points to capture must be above zero")
    if points > hold.points:
        raise outcomes.CaptureExceedsHold("more is captured than was set aside", maximum_points=hold.points)
    return points


async def capture_for(desk: Desk, prepared: Prepared, ref: HoldRef, points: int, *, content: UUID) -> Recorded:
    """Record a purchase that captures points of a hold and earns on the rest of its bill, under one lock.

    content is what its key stands for. Raises HoldUnknown, HoldResolved, HoldLapsed, and what recording a purchase
    raises; nothing is written then.
    """
    retries = Retries()
    while True:
        try:
            return await _capture(desk, _with_hold(prepared, ref, content), ref, points, kind=PURCHASE)
        except Outrun as outrun:
            prepared = await retries.again(prepared, outrun)


async def capture(
    desk: Desk, caller: Caller, hold: Hold, receipt: Receipt, *, asked: int | None, idem_key: UUID, at: datetime
) -> Recorded:
    """Capture a hold alone, for a reward or a service; the receipt is one of nothing in the place and under the
    reference of the capture. Raises as `capture_for` and `points_to_capture`."""
    directory = await desk.directory.get()
    # Who placed it was recognised then. Nothing is earned here, so no tier matters.
    member = Identified(hold.ref.holder_id, hold.card_id, "HOLD", "", "", "ACTIVE")
    prepared = bare(preparing.prepare(directory, caller, member, receipt, at=at, idem_key=idem_key), member)
    content = captured_content_of(
        preparing.content_of(hold.ref.holder_id, prepared.row.claim, receipt, asked or 0), hold.ref
    )
    points = points_to_capture(hold, asked)
    return await _capture(desk, _with_hold(prepared, hold.ref, content), hold.ref, points, kind=REDEMPTION)


async def release(desk: Desk, caller: Caller, hold: Hold, *, idem_key: UUID, at: datetime) -> Held:
    """Let a hold go. Raises HoldResolved, HoldLapsed, IdempotencyKeyReused; nothing is written then."""
    ref = hold.ref
    record = await _decided(
        lambda: store.record_release(
            desk.pool, ref.holder_id, ref.seq, claim=_claim("release", idem_key), idem_key=idem_key,
            fingerprint=fingerprint("release", f"{ref.holder_id}:{ref.seq}"), partner_id=caller.partner_id,
            terms_id=hold.terms_id, at=at,
        )
    )  # fmt: skip
    if record["status"] == outcomes.REPLAYED:
        return Held(await own(desk, caller, ref, at=at), True, at)
    released = replace(hold, state=RELEASED)
    return Held(released, False, at, record["available"], record["pending"], held=record["held"])


async def _capture(desk: Desk, prepared: Prepared, ref: HoldRef, points: int, *, kind: int) -> Recorded:
    record = await _decided(
        lambda: store.record_capture(
            desk.pool,
            prepared.row,
            prepared.award.lots,
            kind=kind,
            hold_seq=ref.seq,
            points=points,
            at=prepared.at,
            promoted=prepared.promoted,
        ),
        prepared=prepared,
    )
    if record["status"] == outcomes.REPLAYED:
        return await recording.replay(desk.pool, prepared.row)
    receipt = prepared.stored(record, kind=kind, redeemed=points, redemption_seq=record["redemption_seq"])
    return Recorded(receipt, False, record["available"], record["pending"], held=record["held"])


async def _decided(
    call: Callable[[], Awaitable[asyncpg.Record]], *, member_id: int = 0, prepared: Prepared | None = None
) -> asyncpg.Record:
    """The record of a call that recorded or was recorded before; any other status is raised as what it stands for."""
    for _ in range(ATTEMPTS):
        try:
            record = await recording.call_safely(call)
        except asyncpg.PostgresError as error:
            if error.sqlstate == CLAIM_LOST:
                continue
            raise recording.outruns(error, [prepared] if prepared else [])[0] from None
        if record["status"] in (outcomes.RECORDED, outcomes.REPLAYED):
            return record
        recording.raise_used_proof(record["status"], member_id)
        if record["status"] != outcomes.AGAIN:
            raise outcomes.rejection(record["status"], available=record["available"])
    raise outcomes.rejection(outcomes.AGAIN)


async def _placed_before(desk: Desk, caller: Caller, holder_id: int, claim: UUID, at: datetime) -> Held:
    row = await store.hold_by_claim(desk.pool, caller.partner_id, holder_id, claim)
    if row is None:
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return Held(await _hold(desk, row, at), True, at)


async def _hold(desk: Desk, row: asyncpg.Record, at: datetime) -> Hold:
    found = await ledger_holds.hold(desk.pool, row["holder_id"], row["seq"], unit=POINTS, at=at)
    assert found is not None
    return Hold(
        HoldRef(row["holder_id"], row["seq"]), row["points"], found.captured_points, _STATES[found.state],
        row["reference"], row["at"], row["lapses_at"], row["card_id"], row["terms_id"],
    )  # fmt: skip


def _with_hold(prepared: Prepared, ref: HoldRef, content: UUID) -> Prepared:
    decision = {**prepared.row.decision, "hold": ref.seq}
    return structs.replace(prepared, row=structs.replace(prepared.row, fingerprint=content, decision=decision))


def _claim(what: str, idem_key: UUID) -> UUID:
    # A hold is no receipt: it is recorded once by its key alone.
    return fingerprint(what, idem_key.bytes)
