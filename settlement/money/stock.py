"""Stock: points that are out there, and who carries them. Bought out, taken over at an exit, or brought in from before.

No lot is ever edited. That somebody else carries the points of a funder and version from a cut-off on, or that another
part of them is billed, is a fact beside the lots; rating reads it. One proposes, another approves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.amounts import LARGEST
from kit.approvals import Approval
from kit.errors import FieldProblem, Rejection
from kit.secrets import fingerprint
from ledger import adjustments
from ledger.adjustments import Grant
from partners.clearing import clearing
from partners.terms import OPERATOR, Terms
from settlement.money import accounts, entries, journal, stock_store, store
from settlement.money.entries import Entry, Posting
from settlement.money.events import MoneyEvent
from settlement.rating import Movement, Stock, Stocks

TRANSFER, OPENING = "STOCK_TRANSFER", "OPENING_STOCK"
KINDS = (TRANSFER, OPENING)


class StockInvalid(Rejection):
    """The stock cannot change hands, or be brought in, like this; the problems say why."""

    code = "STOCK_INVALID"
    retryable = False


class StockMoving(Rejection):
    """A cut-off before the one it would begin with is not booked: what there is cannot be told yet."""

    code = "STOCK_MOVING"
    retryable = True


class OpeningExceeded(Rejection):
    """More points would be brought in than were approved."""

    code = "OPENING_EXCEEDED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Holding:
    """Points of one funder and version that can be spent, held ones too, when the latest booked cut-off was cut."""

    funder_id: int
    terms_id: int
    points: int


@dataclass(frozen=True, slots=True)
class Handover:
    """How the points of one funder and version are carried from the next cut-off on.

    carrier_id (0: the operator) pays and is paid for them instead of whoever does now. billed_fund_micro is what of the
    fund part of a point is billed before its use. paid_micro is what whoever carries them now pays for all of them that
    are out there; below zero it is paid. None: what the books gain by it, at face.
    """

    funder_id: int
    terms_id: int
    carrier_id: int
    billed_fund_micro: int
    paid_micro: int | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """Points that were issued and billed before: how many of one funder and version. Lots are made of them later."""

    funder_id: int
    terms_id: int
    points: int


async def as_of(connection: AsyncConnection, cutoff_id: int) -> Stocks:
    """How a cut-off is rated where that is not what was signed."""
    found = {
        (row.funder_id, row.terms_id): Stock(row.carrier_id, row.billed_fund_micro)
        for row in await stock_store.transfers_by(connection, cutoff_id)
    }
    opened = await stock_store.openings(connection)
    terms = await clearing.agreed_terms(connection, {row.terms_id for row in opened})
    for row in opened:
        held = found.get((row.funder_id, row.terms_id))
        carrier_id = held.carrier_id if held else row.funder_id
        billed = held.billed_fund_micro if held else terms[row.terms_id].billed_fund_micro
        found[row.funder_id, row.terms_id] = Stock(carrier_id, billed, is_opening=True)
    return found


async def holdings(connection: AsyncConnection, funder_id: int | None = None) -> list[Holding]:
    """What is out there of a funder's points, or of everybody's, by version."""
    return [Holding(**row._mapping) for row in await stock_store.stock(connection, funder_id=funder_id)]


async def paid_in(connection: AsyncConnection, cutoff_ids: Sequence[int], currency: str) -> list[MoneyEvent]:
    """What partners pay for stock that changes hands with these cut-offs, in a currency: a run states it.

    It was booked when it was approved.
    """
    rows = await stock_store.paid_in(connection, cutoff_ids)
    terms = await clearing.agreed_terms(connection, {row.terms_id for row in rows})
    return [
        MoneyEvent(
            TRANSFER, row.party_id, OPERATOR, currency, row.paid_micro, terms_id=row.terms_id,
            cutoff_id=row.from_cutoff, points=row.points,
        )
        for row in rows
        if terms[row.terms_id].currency == currency
    ]  # fmt: skip


async def repriced_in(connection: AsyncConnection, cutoff_ids: Sequence[int], currency: str) -> list[Movement]:
    """How stock that changes hands with these cut-offs changes the obligation: points off at what was billed, on at
    what is."""
    rows = await stock_store.repriced_in(connection, cutoff_ids)
    terms = await clearing.agreed_terms(connection, {row.terms_id for row in rows})
    return [
        Movement(row.funder_id, row.terms_id, currency, TRANSFER, way * row.points, price, way * row.points * price)
        for row in rows
        if terms[row.terms_id].currency == currency
        for way, price in ((-1, row.was_billed_micro), (1, row.billed_fund_micro))
    ]


# --- Somebody else carries them -----------------------------------------------------------------------------------


async def propose_transfer(
    connection: AsyncConnection, handovers: Sequence[Handover], *, reason: str, maker: int, at: datetime
) -> int:
    """Propose that stock changes hands, or its funding: a buy-out, a takeover. Returns the approval's number.

    Rejects NOT_PERMITTED, STOCK_INVALID.
    """
    await actors.require_role(connection, maker, actors.FINANCE_MAKER)
    terms = await clearing.agreed_terms(connection, {one.terms_id for one in handovers})
    if found := [*_transfer_problems(handovers, terms, reason), *await _still_issued(connection, handovers, at)]:
        raise StockInvalid("this stock cannot change hands like this", problems=found)
    detail = {"reason": reason, "handovers": [_as_json(one) for one in handovers]}
    subject = ", ".join(f"partner:{one.funder_id} terms {one.terms_id}" for one in handovers)
    approval_id = await approvals.propose(connection, kind=TRANSFER, subject=subject, detail=detail, maker=maker, at=at)
    await _note(connection, "STOCK_TRANSFER_PROPOSED", approval_id, maker, at)
    return approval_id


async def exit_handovers(
    connection: AsyncConnection, partner_id: int, *, carrier_id: int, paid_micro: Mapping[int, int]
) -> list[Handover]:
    """What a partner's exit with run-off hands over: all versions of points that it funds, to one carrier.

    Their whole fund part is billed from then on: what was to be paid at redemption is paid now, since nobody would pay
    it later. paid_micro is what it pays for the points of a version; where it says nothing, what that comes to at face.
    """
    terms_ids = await stock_store.funders_terms(connection, partner_id)
    terms = await clearing.agreed_terms(connection, terms_ids)
    return [Handover(partner_id, n, carrier_id, terms[n].fund_price_micro, paid_micro.get(n)) for n in terms_ids if n]


async def decide(
    connection: AsyncConnection, approval: Approval, *, checker: int, approved: bool, at: datetime
) -> None:
    """Approve or decline a transfer of stock or an opening, on behalf of a FINANCE_CHECKER.

    A transfer takes effect with the first cut-off that is neither booked nor settled; what is out there then is
    repriced in the books by an entry of its own. Rejects NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED,
    STOCK_INVALID, STOCK_MOVING, PERIOD_LOCKED.
    """
    await approvals.decide(
        connection, approval.approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    await _note(
        connection, f"{approval.kind}_{'APPROVED' if approved else 'DECLINED'}", approval.approval_id, checker, at
    )
    if approved and approval.kind == TRANSFER:
        await _hand_over(connection, approval, checker, at)
    elif approved:
        await _open(connection, approval)


async def _hand_over(connection: AsyncConnection, approval: Approval, checker: int, at: datetime) -> None:
    handovers = [Handover(**one) for one in approval.detail["handovers"]]
    await store.lock_books(connection)
    from_cutoff = await stock_store.first_unrated_cutoff(connection)
    if waiting := await stock_store.unbooked_before(connection, from_cutoff):
        raise StockMoving(f"cut-off {waiting[0]} is not booked")
    terms = await clearing.agreed_terms(connection, {one.terms_id for one in handovers})
    if found := await _still_issued(connection, handovers, at):
        raise StockInvalid("this stock cannot change hands now", problems=found)
    stocks = await as_of(connection, from_cutoff)
    points = {(one.funder_id, one.terms_id): one.points for one in await holdings(connection)}
    moved = [
        repriced(one, terms[one.terms_id], stocks, points.get((one.funder_id, one.terms_id), 0)) for one in handovers
    ]
    name, _ = await actors.standing(connection, checker)
    booking = await journal.post(
        connection, source=f"stock-transfer:{approval.approval_id}", at=at, actor=name,
        entries=[entry for entry, _ in moved if entry is not None],
    )  # fmt: skip
    for one, (_, paid_micro) in zip(handovers, moved, strict=True):
        await stock_store.insert_transfer(
            connection,
            {
                "approval_id": approval.approval_id,
                "funder_id": one.funder_id,
                "terms_id": one.terms_id,
                "from_cutoff": from_cutoff,
                "carrier_id": one.carrier_id,
                "was_billed_micro": _held(one, terms[one.terms_id], stocks).billed_fund_micro,
                "billed_fund_micro": one.billed_fund_micro,
                "points": points.get((one.funder_id, one.terms_id), 0),
                "paid_micro": paid_micro,
                "booking_id": booking.booking_id,
            },
        )


def repriced(one: Handover, terms: Terms, stocks: Stocks, points: int) -> tuple[Entry | None, int]:
    """The entry of a handover, if it moves money, and what whoever carried the points pays for it, micro-units. PURE.

    The obligation changes by the difference of the billed fund parts; whoever gives the points up pays what was agreed,
    and the operator keeps or bears the rest. The next carrier settles with the operator outside, or not at all.
    """
    held = _held(one, terms, stocks)
    gained = points * (one.billed_fund_micro - held.billed_fund_micro)
    is_operators = held.carrier_id == OPERATOR
    paid = one.paid_micro if one.paid_micro is not None else gained
    payer = Posting(
        accounts.PROMOTIONS if is_operators else accounts.POSITION, terms.currency, paid, held.carrier_id,
        counterparty_id=one.carrier_id, terms_id=one.terms_id,
    )  # fmt: skip
    obligation = Posting(
        accounts.OBLIGATION, terms.currency, -gained, one.funder_id, one.terms_id, counterparty_id=one.carrier_id,
        terms_id=one.terms_id, points=-points if gained > 0 else points,
    )  # fmt: skip
    rest = Posting(accounts.PRICE_DIFFERENCES, terms.currency, gained - paid, terms_id=one.terms_id)
    postings = tuple(p for p in (payer, obligation, rest) if p.amount_micro)
    return (entries.checked(Entry(TRANSFER, postings)) if postings else None), paid


def _held(one: Handover, terms: Terms, stocks: Stocks) -> Stock:
    return stocks.get((one.funder_id, one.terms_id)) or Stock(one.funder_id, terms.billed_fund_micro)


def _transfer_problems(handovers: Sequence[Handover], terms: Mapping[int, Terms], reason: str) -> list[FieldProblem]:
    found = [] if reason.strip() else [FieldProblem(("reason",), "MISSING", "a sentence for whoever decides")]
    if not handovers or len({(one.funder_id, one.terms_id) for one in handovers}) < len(handovers):
        found.append(FieldProblem(("handovers",), "INVALID", "one per funder and version, and at least one"))
    for index, one in enumerate(handovers):
        place = ("handovers", str(index))
        if one.terms_id not in terms:
            found.append(FieldProblem((*place, "terms_id"), "UNKNOWN", "there is no such version"))
        elif not 0 <= one.billed_fund_micro <= terms[one.terms_id].fund_price_micro:
            message = f"0 to the fund part, {terms[one.terms_id].fund_price_micro}"
            found.append(FieldProblem((*place, "billed_fund_micro"), "OUT_OF_RANGE", message))
        if one.paid_micro is not None and abs(one.paid_micro) > LARGEST:
            found.append(FieldProblem((*place, "paid_micro"), "OUT_OF_RANGE", "too large"))
    return found


async def _still_issued(connection: AsyncConnection, handovers: Sequence[Handover], at: datetime) -> list[FieldProblem]:
    """Nobody takes over points of a version under which their partner goes on issuing at the other's expense."""
    issuing = {
        terms.terms_id for terms, _ in await clearing.signed_at(connection, at=at) if terms.issues
    }  # fmt: skip
    return [
        FieldProblem(("handovers", str(index), "terms_id"), "STILL_ISSUED", "the partner issues points under it")
        for index, one in enumerate(handovers)
        if one.carrier_id != one.funder_id and one.terms_id in issuing
    ]


# --- Brought in from before ---------------------------------------------------------------------------------------


async def propose_opening(connection: AsyncConnection, openings: Sequence[Opening], *, maker: int, at: datetime) -> int:
    """Propose that points issued and billed before the programme came here are brought in, by funder and version.

    The version is one that no purchase here was ever made under: its prices are what was billed then. Returns the
    approval's number. Rejects NOT_PERMITTED, STOCK_INVALID.
    """
    await actors.require_role(connection, maker, actors.FINANCE_MAKER)
    if found := await opening_problems(connection, openings):
        raise StockInvalid("these points cannot be brought in like this", problems=found)
    detail = {"openings": [{"funder_id": o.funder_id, "terms_id": o.terms_id, "points": o.points} for o in openings]}
    subject = ", ".join(f"partner:{one.funder_id} terms {one.terms_id}" for one in openings)
    approval_id = await approvals.propose(connection, kind=OPENING, subject=subject, detail=detail, maker=maker, at=at)
    await _note(connection, "OPENING_STOCK_PROPOSED", approval_id, maker, at)
    return approval_id


async def grant_opening(
    connection: AsyncConnection,
    holder_id: int,
    opening: tuple[int, int],
    *,
    points: int,
    expires_at: datetime,
    row: str,
    at: datetime,
) -> int:
    """Make a holder's lot of points that were brought in, of a funder and version; returns the entry's number.

    row names the line of the file: said again it answers the same entry. Rejects STOCK_INVALID, OPENING_EXCEEDED.
    """
    found = await stock_store.lock_opening(connection, *opening)
    if found is None or points <= 0 or expires_at <= at:
        message = "an approved funder and version, more than no points, and an expiry to come"
        raise StockInvalid("such points are not brought in", problems=[FieldProblem(("opening",), "INVALID", message)])
    key = fingerprint("opening", str(found.approval_id), *(str(part) for part in opening), row)
    funder_id, terms_id = opening
    issuer_id = (await clearing.agreed_terms(connection, [terms_id]))[terms_id].partner_id
    seq = await adjustments.give(
        connection, holder_id, points, Grant(issuer_id, funder_id, terms_id, expires_at), key=key, at=at
    )
    if await stock_store.granted_of_opening(connection, funder_id, terms_id) > found.points:
        raise OpeningExceeded(f"{found.points} points of it were approved, and these would be more")
    return seq


async def opening_problems(connection: AsyncConnection, openings: Sequence[Opening]) -> list[FieldProblem]:
    """What keeps points of these funders and versions from being brought in; the path's second part is the place."""
    terms = await clearing.agreed_terms(connection, {one.terms_id for one in openings})
    known = {(row.funder_id, row.terms_id) for row in await stock_store.openings(connection)}
    found = []
    for index, one in enumerate(openings):
        place = ("openings", str(index))
        if one.terms_id not in terms:
            found.append(FieldProblem((*place, "terms_id"), "UNKNOWN", "there is no such version"))
        if not 0 < one.points <= LARGEST:
            found.append(FieldProblem((*place, "points"), "OUT_OF_RANGE", "more than none"))
        is_used = await stock_store.granted_of_opening(connection, one.funder_id, one.terms_id) > 0
        if is_used or (one.funder_id, one.terms_id) in known:
            message = "points of this funder and version are here already"
            found.append(FieldProblem((*place, "terms_id"), "IN_USE", message))
    return found


async def _open(connection: AsyncConnection, approval: Approval) -> None:
    openings = [Opening(**one) for one in approval.detail["openings"]]
    if found := await opening_problems(connection, openings):
        raise StockInvalid("these points cannot be brought in any more", problems=found)
    for one in openings:
        await stock_store.insert_opening(
            connection, approval_id=approval.approval_id, funder_id=one.funder_id, terms_id=one.terms_id,
            points=one.points,
        )  # fmt: skip


def _as_json(one: Handover) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Handover.__slots__}


async def _note(connection: AsyncConnection, action: str, approval_id: int, actor: int, at: datetime) -> None:
    await audit.write(connection, actor=actor, action=action, subject=f"approval:{approval_id}", detail={}, at=at)
