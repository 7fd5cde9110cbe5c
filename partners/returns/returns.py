"""Returns and cancellations: find the original, decide what remains of it, take back and give back.

A decision is made on the account's state number; an account that moved meanwhile is decided again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, TypeVar
from uuid import UUID

import orjson
from msgspec.structs import replace

from kit.amounts import Points
from kit.errors import Rejection
from kit.secrets import fingerprint
from ledger import debts, lots
from ledger.accounts import POINTS
from members import merging
from partners import outcomes
from partners.callers import Caller, Place
from partners.decisions import decisions, spending
from partners.decisions.decisions import Decided
from partners.decisions.prepared import ATTEMPTS
from partners.desk import Desk
from partners.directory import Directory
from partners.outcomes import Recorded
from partners.promotions.basket import Grant, Use
from partners.receipts import receipts
from partners.receipts import store as receipt_store
from partners.receipts.receipts import ReceiptRef
from partners.receipts.records import (
    CANCELLATION,
    PURCHASE,
    REDEMPTION,
    RETURN,
    BudgetCharge,
    OwedRow,
    Row,
    StoredReceipt,
)
from partners.recording import call_safely
from partners.returns import returning
from partners.returns.returning import BoughtLine, GivenBack, Takeback, Wish
from partners.terms import Terms, limit_codes

_Thing = TypeVar("_Thing", Grant, Use)

SHORTFALL_OF = {
    "REFUND_DEDUCTION": debts.LEFT_ALONE,
    "MEMBER_DEBT": debts.OWED,
    "ISSUER_BEARS": debts.FORGIVEN,
}


class OriginalUnknown(Rejection):
    """The partner has no such purchase."""

    code = "ORIGINAL_UNKNOWN"
    retryable = True


class NotReturnable(Rejection):
    """Only purchases and redemptions can be returned."""

    code = "NOT_RETURNABLE"
    retryable = False


@dataclass(frozen=True, slots=True)
class Returned:
    """A return on record: what was taken back, what the member owes, what nobody gives, what was given back, the money.

    Points and minor units. Taken from whatever points the member had, as the terms say; owed_points come off the next
    ones; unrecovered_points are gone. deduct_minor is what the partner keeps from the refund for those.
    """

    recorded: Recorded
    taken_points: int
    owed_points: int
    unrecovered_points: int
    refunded_points: int
    refund_money_minor: int
    deduct_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class ReturnSlip:
    """The return as the partner reports it: its own reference and place, and when."""

    reference: str
    place: Place
    ref: ReceiptRef
    occurred_at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    original: StoredReceipt
    terms: Terms
    takeback: Takeback


async def find(desk: Desk, caller: Caller, ref: ReceiptRef) -> StoredReceipt | None:
    """The caller's own transaction under one of its receipts: a sale, else a return. None where there is none."""
    where = _place_in_the_past(await desk.directory.get(), caller, ref)
    if where is None:
        return None
    for kind in ("SALE", "RETURN"):
        claim = receipts.claim_of(caller.partner_id, *where, ref, kind)
        if found := await receipt_store.receipt_by_claim(desk.pool, caller.partner_id, claim):
            return found
    return None


async def find_by_place(desk: Desk, caller: Caller, place: tuple[int, int]) -> StoredReceipt | None:
    """The caller's own transaction by (holder, seq); None where there is none or it is another's."""
    return await receipt_store.receipt_by_seq(desk.pool, caller.partner_id, *place)


async def find_original(
    desk: Desk, caller: Caller, *, ref: ReceiptRef | None = None, place: tuple[int, int] | None = None
) -> StoredReceipt:
    """The caller's own purchase, by receipt or by (holder, seq). Raises OriginalUnknown, also for another's."""
    found = None
    if place is not None:
        found = await find_by_place(desk, caller, place)
    elif ref is not None:
        found = await find(desk, caller, ref)
    if found is None:
        raise OriginalUnknown("no such purchase")
    if found.kind not in (PURCHASE, REDEMPTION):
        raise NotReturnable("a return cannot be returned")
    return found


def _place_in_the_past(directory: Directory, caller: Caller, ref: ReceiptRef) -> tuple[int, int | None] | None:
    outlet = directory.outlet(caller.partner_id, ref.outlet)
    if outlet is None:
        return None
    if ref.terminal is None:
        return outlet.outlet_id, None
    terminal = directory.terminal(outlet.outlet_id, ref.terminal)
    return (outlet.outlet_id, terminal.terminal_id) if terminal else None


async def quote_return(desk: Desk, original: StoredReceipt, wish: Wish, *, at: datetime) -> Returned:
    """What a return would do at an instant, before money is handed over; writes nothing."""
    directory = await _directory_of(desk, original)
    case = await _decide(desk, directory, original, wish)
    asked = case.takeback.lot_points
    foreseen = await debts.preview(
        desk.pool, original.holder_id, unit=POINTS, seq=original.seq, lot_points=asked,
        shortfall=SHORTFALL_OF[case.terms.return_policy], refund=case.takeback.refund_points, at=at,
    )  # fmt: skip
    async with desk.database.reading() as connection:
        there = await merging.recoverable(connection, member_id=original.holder_id, seq=original.seq, at=at)
    moved = sum(min(points, there.get(lot_no, 0)) for lot_no, points in asked.items())
    taken = min(sum(asked.values()), foreseen.taken + moved)
    owed = max(0, foreseen.owed - (taken - foreseen.taken))
    return _returned(directory, case, Recorded(original, False), taken, owed)


async def return_purchase(
    desk: Desk, caller: Caller, slip: ReturnSlip, original: StoredReceipt, wish: Wish, *, idem_key: UUID, at: datetime
) -> Returned:
    """Return the whole of a purchase, some lines or an amount, under the return's own reference.

    Raises what returning.decide and receipts.check_slip raise, ReceiptAlreadyRecorded, IdempotencyKeyReused, and Stale
    when the account moved three times while this was decided.
    """
    receipts.check_slip(slip.ref, occurred_at=slip.occurred_at, reason=slip.reason, at=at)
    claim = receipts.claim_of(caller.partner_id, slip.place.outlet_id, slip.place.terminal_id, slip.ref, "RETURN")
    return await _record(desk, caller, slip, original, wish, kind=RETURN, claim=claim, idem_key=idem_key, at=at)


async def cancel_purchase(
    desk: Desk, caller: Caller, place: Place, ref: ReceiptRef, *, idem_key: UUID, at: datetime
) -> Returned | None:
    """Undo a receipt whole. Always accepted: of one that never came, a tombstone refuses the late original (None)."""
    sale = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, ref, "SALE")
    for _ in range(ATTEMPTS):
        original = await receipt_store.receipt_by_claim(desk.pool, caller.partner_id, sale)
        if original is not None:
            slip = ReturnSlip(ref.reference, place, ref, at)
            claim = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, ref, "CANCELLATION")
            return await _record(
                desk,
                caller,
                slip,
                original,
                Wish(even_nothing=True),
                kind=CANCELLATION,
                claim=claim,
                idem_key=idem_key,
                at=at,
            )
        if await _entomb(desk, caller, sale, idem_key):
            return None
    raise outcomes.rejection(outcomes.AGAIN)


async def _entomb(desk: Desk, caller: Caller, sale: UUID, idem_key: UUID) -> bool:
    content = fingerprint("tombstone", sale.bytes)
    if await receipt_store.insert_tombstone(
        desk.pool, claim=sale, idem_key=idem_key, fingerprint=content, partner_id=caller.partner_id
    ):
        return True
    for row in await receipt_store.claims(desk.pool, claim=sale, idem_key=idem_key):
        if row["claim"] == sale and row["holder_id"] is None:
            return True
        if row["idem_key"] == idem_key and row["claim"] != sale:
            raise outcomes.rejection(2)
    return False


async def _record(
    desk: Desk,
    caller: Caller,
    slip: ReturnSlip,
    original: StoredReceipt,
    wish: Wish,
    *,
    kind: int,
    claim: UUID,
    idem_key: UUID,
    at: datetime,
) -> Returned:
    directory = await _directory_of(desk, original)
    content = fingerprint(claim.bytes, f"{original.holder_id}:{original.seq}", _wish_bytes(wish))
    for _ in range(ATTEMPTS):
        seq = await lots.account_seq(desk.pool, original.holder_id, unit=POINTS)
        if earlier := await _earlier_return(desk, directory, caller, original, claim, idem_key, content):
            return earlier
        case = await _decide(desk, directory, original, wish)
        is_merged = await merging.recall(desk.database, member_id=original.holder_id, seq=original.seq, at=at)
        if is_merged:  # its account has moved, so what was decided on its state is decided again
            seq = await lots.account_seq(desk.pool, original.holder_id, unit=POINTS)
            case = await _decide(desk, directory, original, wish)
        if original.kind == REDEMPTION and case.takeback.refund_points == 0:
            return _returned(directory, case, Recorded(original, True), 0, 0)  # nothing left to give back
        record = await call_safely(
            receipt_store.record_return,
            desk.pool,
            _row(caller, slip, case, claim=claim, idem_key=idem_key, content=content),
            kind=kind,
            if_seq=seq,
            original=original,
            lot_points=dict(case.takeback.lot_points),
            shortfall=SHORTFALL_OF[case.terms.return_policy],
            refund_points=case.takeback.refund_points,
            grace=timedelta(days=directory.programme.refund_grace_days),
            given_back=case.takeback.given_back if decisions.was_by_rules(original) else None,
            at=at,
        )
        if record["status"] == outcomes.RECORDED:
            receipt = await receipt_store.receipt_by_seq(
                desk.pool, caller.partner_id, original.holder_id, record["seq"]
            )
            assert receipt is not None
            recorded = Recorded(receipt, False, record["available"], record["pending"], record["debt"])
            if is_merged:
                recorded = await _forwarded(desk, recorded, at)
            return _returned(directory, case, recorded, record["taken"], record["owed"])
        if record["status"] not in (outcomes.STALE, outcomes.AGAIN, outcomes.REPLAYED):
            raise outcomes.rejection(record["status"])
    raise outcomes.rejection(outcomes.STALE)


async def _forwarded(desk: Desk, recorded: Recorded, at: datetime) -> Recorded:
    """What is left in a merged member's account follows to the survivor, whose balances are the answer's."""
    holder_id = recorded.receipt.holder_id
    await merging.forward(desk.database, at=at, member_id=holder_id)
    async with desk.database.reading() as connection:
        survivor_id = await merging.survivor_of(connection, holder_id)
    standing = await lots.standing(desk.pool, survivor_id or holder_id, unit=POINTS, at=at)
    if standing is None:
        return recorded
    return replace(recorded, available=standing.available, pending=standing.pending)


async def _earlier_return(
    desk: Desk,
    directory: Directory,
    caller: Caller,
    original: StoredReceipt,
    claim: UUID,
    idem_key: UUID,
    content: UUID,
) -> Returned | None:
    for row in await receipt_store.claims(desk.pool, claim=claim, idem_key=idem_key):
        if row["fingerprint"] == content:
            receipt = await receipt_store.receipt_by_claim(desk.pool, caller.partner_id, claim)
            if receipt is not None:
                return _replayed(directory, original, receipt)
        raise outcomes.rejection(2 if row["idem_key"] == idem_key else 5)
    return None


def _replayed(directory: Directory, original: StoredReceipt, receipt: StoredReceipt) -> Returned:
    takeback, owed = receipt.decision["takeback"], receipt.decision.get("owed", 0)
    unrecovered = takeback["take"] - receipt.awarded_points - owed
    return Returned(
        recorded=Recorded(receipt, True),
        taken_points=receipt.awarded_points,
        owed_points=owed,
        unrecovered_points=unrecovered,
        refunded_points=receipt.redeemed_points,
        refund_money_minor=takeback["money"],
        deduct_minor=_deduction(directory, directory.terms(original.terms_id), unrecovered, takeback["money"]),
        currency=receipt.currency,
    )


async def _directory_of(desk: Desk, original: StoredReceipt) -> Directory:
    """The directory, looked up anew where another process published what decided this a moment ago."""
    directory = await desk.directory_with(original.terms_id)
    release_id = original.decision.get("release", 0)
    return directory if directory.shelf.knows(release_id) else await desk.directory.refresh()


async def _decide(desk: Desk, directory: Directory, original: StoredReceipt, wish: Wish) -> _Case:
    terms = directory.terms(original.terms_id)
    earlier = await receipt_store.returns_of(desk.pool, original)
    bought, held = _bought_lines(original, earlier), _lots_left(original, earlier)
    if decisions.was_by_rules(original):
        around = directory.around(original)
        decided = decisions.recalled(original, around)
        left = _left(original, decided, earlier)
        codes = limit_codes(around.partner)
        limited = any(one.code in codes for one in left.charges)
        takeback = returning.decide_by_rules(
            bought, wish, lot_points=held, decided=decided, left=left,
            refunded_minor=sum(past.decision["takeback"]["money"] for past in earlier),
            exposure_here=original.partner_id if limited else None,
        )  # fmt: skip
        return _Case(original, terms, takeback)
    takeback = returning.decide(
        bought,
        wish,
        lot_points=held,
        terms=terms,
        programme=directory.programme,
        tier=original.decision["tier"],
        occurred_at=original.occurred_at,
    )
    return _Case(original, terms, takeback)


def _left(original: StoredReceipt, decided: Decided, earlier: Sequence[StoredReceipt]) -> GivenBack:
    """What earlier returns left of what the purchase charged to budgets, of what parties owe for it, and of what it
    gave and used up beside points."""
    is_stopped = any(code == decisions.EXPOSURE_REACHED for code, _, _ in original.decision["reasons"])
    charged: dict[tuple[Any, ...], int] = {}
    owed: dict[tuple[Any, ...], int] = {}
    for sign, kept in [(1, original.decision), *((-1, past.decision["takeback"]) for past in earlier)]:
        for *key, amount in kept.get("charges", ()):
            charged[tuple(key)] = charged.get(tuple(key), 0) + sign * amount
        for *key, amount in kept.get("owed", ()):
            owed[tuple(key)] = owed.get(tuple(key), 0) + sign * amount
    return GivenBack(
        tuple(BudgetCharge(*(*key, amount)) for key, amount in charged.items()),
        tuple(OwedRow(*(*key, amount)) for key, amount in owed.items()),
        _less(decided.outcome.grants, [past.decision["takeback"].get("grants", ()) for past in earlier]),
        _less(
            decisions.used_up(decided, is_stopped=is_stopped),
            [past.decision["takeback"].get("uses", ()) for past in earlier],
        ),
    )


def _less(had: Sequence[_Thing], gone: Sequence[Sequence[Sequence[Any]]]) -> tuple[_Thing, ...]:
    """Grants or uses less what is gone of them: kind, code and quantity."""
    less: dict[tuple[str, str], int] = {}
    for kind, code, quantity in chain.from_iterable(gone):
        less[kind, code] = less.get((kind, code), 0) + quantity
    left = []
    for one in had:
        taken = min(less.get((one.kind, one.code), 0), one.quantity)
        less[one.kind, one.code] = less.get((one.kind, one.code), 0) - taken
        left.append(replace(one, quantity=one.quantity - taken))
    return tuple(one for one in left if one.quantity)


def _bought_lines(original: StoredReceipt, earlier: Sequence[StoredReceipt]) -> list[BoughtLine]:
    sent = original.detail.get("lines") or [
        {"id": receipts.WHOLE_RECEIPT, "kind": "GOODS", "amount": original.total_minor}
    ]
    paid = original.decision.get("paid", {})
    if original.kind == REDEMPTION:
        # Points alone bought it: its one line is worth a minor unit per point, so that all of it comes back.
        points = original.redeemed_points
        sent = [{"id": receipts.WHOLE_RECEIPT, "kind": "FEE", "amount": points}]
        paid = {receipts.WHOLE_RECEIPT: [points, points]}
    return [
        BoughtLine(
            line["id"],
            line["kind"],
            line["amount"],
            paid_points=paid.get(line["id"], (0, 0))[0],
            paid_minor=paid.get(line["id"], (0, 0))[1],
            returned_minor=sum(past.decision["takeback"]["lines"].get(line["id"], 0) for past in earlier),
            is_back=line["amount"] == 0 and any(line["id"] in past.decision["takeback"]["lines"] for past in earlier),
        )
        for line in sent
    ]


def _lots_left(original: StoredReceipt, earlier: Sequence[StoredReceipt]) -> dict[int, int]:
    return {
        int(lot_no): points - sum(past.decision["takeback"]["lots"].get(lot_no, 0) for past in earlier)
        for lot_no, points in original.decision["lots"].items()
    }


def _row(caller: Caller, slip: ReturnSlip, case: _Case, *, claim: UUID, idem_key: UUID, content: UUID) -> Row:
    takeback = case.takeback
    decided: dict[str, Any] = {
        "takeback": {
            "lines": takeback.line_minor,
            "lots": {str(lot_no): points for lot_no, points in takeback.lot_points.items()},
            "take": takeback.take_points,
            "refund": takeback.refund_points,
            "money": takeback.refund_money_minor,
            "left": takeback.left_points,
            **decisions.given(takeback.given_back.charges, takeback.given_back.owed),
            **_things(takeback.given_back),
        }
    }
    return Row(
        holder_id=case.original.holder_id, claim=claim, idem_key=idem_key, fingerprint=content,
        partner_id=caller.partner_id, outlet_id=slip.place.outlet_id, terminal_id=slip.place.terminal_id,
        client_id=caller.client_no, card_id=None, terms_id=case.terms.terms_id, reference=slip.reference,
        business_date=slip.ref.business_date, occurred_at=slip.occurred_at, currency=case.original.currency,
        total=0 if case.original.kind == REDEMPTION else takeback.amount_minor, awarded=0,
        detail=orjson.dumps({"reason": slip.reason}).decode() if slip.reason else None,
        decision=decided,
    )  # fmt: skip


def _things(given_back: GivenBack) -> dict[str, Any]:
    """What goes of grants and uses, as it is stored with a return; nothing where nothing does."""
    found = {
        "grants": [[one.kind, one.code, one.quantity] for one in given_back.grants],
        "uses": [[one.kind, one.code, one.quantity] for one in given_back.uses],
    }
    return {name: things for name, things in found.items() if things}


def _returned(directory: Directory, case: _Case, recorded: Recorded, taken: int, owed: int) -> Returned:
    unrecovered = case.takeback.take_points - taken - owed
    money = 0 if case.original.kind == REDEMPTION else case.takeback.refund_money_minor
    return Returned(
        recorded=recorded,
        taken_points=taken,
        owed_points=owed,
        unrecovered_points=unrecovered,
        refunded_points=case.takeback.refund_points,
        refund_money_minor=money,
        deduct_minor=_deduction(directory, case.terms, unrecovered, money),
        currency=case.original.currency,
    )


def _deduction(directory: Directory, terms: Terms, unrecovered: int, money_minor: int) -> int:
    if terms.return_policy != "REFUND_DEDUCTION":
        return 0
    worth = spending.value_of(Points(unrecovered), terms=terms, programme=directory.programme)
    return min(worth, money_minor)


def _wish_bytes(wish: Wish) -> bytes:
    return orjson.dumps([wish.lines and dict(wish.lines), wish.amount_minor], option=orjson.OPT_SORT_KEYS)
