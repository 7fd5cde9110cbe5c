"""Purchases: identify, decide, record. A purchase earns, may spend, and is recorded once whatever is retried.

`Desk` is a process's counter: the lane, the directory of partners, the keys. Every use case takes who asks (`Caller`)
and the business instant, and answers a `Recorded` or raises a Rejection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from kit.database import Database
from kit.errors import Rejection
from kit.lane import Busy, Lane
from kit.secrets import Vault, fingerprint
from kit.values import quick
from ledger.accounts import POINTS
from ledger.jams import Jams
from members import identification
from members.approvals import ApprovalUsed
from members.guesses import CardGuesses
from members.identification import Identified
from members.proofs import CodeUsed
from partners import earning, outcomes, receipt_store, receipts, spending
from partners.directory import Directory, DirectoryCache, Partner
from partners.earning import Award, Lot
from partners.onboarding import OutletUnknown, TerminalUnknown
from partners.outcomes import Recorded
from partners.receipts import Receipt
from partners.records import ProofUse, Row, StoredReceipt
from partners.terms import Terms

PURCHASE, REDEMPTION, RETURN, CANCELLATION = 1, 2, 3, 4
ATTEMPTS = 3
CLAIM_LOST = "TS001"
FLIGHTS = 3  # batches of purchases at a time: the tills' one, and two of files


class AgreementMissing(Rejection):
    """No agreement with the partner was in force when the purchase happened."""

    code = "AGREEMENT_MISSING"
    retryable = True


class TerminalSuspended(Rejection):
    """The terminal is suspended."""

    code = "TERMINAL_SUSPENDED"
    retryable = True


class TerminalMismatch(Rejection):
    """The caller is one till, and speaks of another or of none."""

    code = "TERMINAL_MISMATCH"
    retryable = False


class PartnerSuspended(Rejection):
    """The partner is suspended."""

    code = "PARTNER_SUSPENDED"
    retryable = True


class PointsNotPositive(Rejection):
    """The number of points to spend must be above zero."""

    code = "POINTS_NOT_POSITIVE"
    retryable = False


class PointsExceedShare(Rejection):
    """Points may not pay that much of the bill; `maximum_points` tells how many may."""

    code = "POINTS_EXCEED_SHARE"
    retryable = False


@quick
@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the partner and the number of its OAuth client; terminal_id where it is one till and no other."""

    partner_id: int
    client_no: int
    terminal_id: int | None = None


@quick
@dataclass(frozen=True, slots=True)
class Place:
    """Where it happened, checked: the partner, its outlet's number and its terminal's, if one was named."""

    partner: Partner
    outlet_id: int
    terminal_id: int | None


@quick
@dataclass(frozen=True, slots=True)
class Prepared:
    """A purchase decided and ready to be recorded."""

    row: Row
    award: Award
    at: datetime

    def stored(self, record: asyncpg.Record, *, kind: int, redeemed: int, redemption_seq: int | None) -> StoredReceipt:
        """The receipt as the recording call has just written it."""
        row = self.row
        return StoredReceipt(
            holder_id=row.holder_id, unit=POINTS, seq=record["seq"], kind=kind, partner_id=row.partner_id,
            outlet_id=row.outlet_id, terminal_id=row.terminal_id, reference=row.reference,
            business_date=row.business_date, occurred_at=row.occurred_at, at=self.at, currency=row.currency,
            total_minor=row.total, awarded_points=row.awarded, redeemed_points=redeemed,
            redemption_seq=redemption_seq, original_seq=None, terms_id=row.terms_id, card_id=row.card_id,
            detail=orjson.loads(row.detail) if row.detail else {}, decision=orjson.loads(row.decision),
        )  # fmt: skip


class Desk:
    """What a process needs to record purchases. Open one per process, close it to drain its lanes.

    `lane` records purchases that spend nothing, `cards` recognises members by card number, both many callers at once;
    in the lane tills go before files. `jams` knows the accounts that a batch should not wait for,
    `guesses` who named too many cards that do not exist.
    """

    def __init__(
        self, database: Database, vault: Vault, directory: DirectoryCache, *, guesses: CardGuesses | None = None
    ) -> None:
        self.database = database
        self.pool = database.pool
        self.vault = vault
        self.directory = directory
        self.jams = Jams(database.pool)
        self.lane: Lane[Prepared, Recorded] = Lane(self._record_batch, flights=FLIGHTS)
        self.cards: Lane[str, Identified] = Lane(self._identify_batch)
        self.guesses = guesses or CardGuesses(database)

    async def close(self) -> None:
        """Finish what is queued."""
        await self.cards.close()
        await self.lane.close()

    async def directory_with(self, terms_id: int) -> Directory:
        """The directory, looked up anew where another process signed these terms a moment ago."""
        directory = await self.directory.get()
        return directory if directory.knows_terms(terms_id) else await self.directory.refresh()

    async def _identify_batch(self, numbers: Sequence[str]) -> list[Identified | Exception]:
        found = await identification.identify_cards(self.pool, self.vault, numbers)
        return [found[number] for number in numbers]

    async def _record_batch(self, items: Sequence[Prepared]) -> list[Recorded | Exception]:
        found = await record_many(self, items, at=max(item.at for item in items))
        return list(found)


def place_of(directory: Directory, caller: Caller, outlet_code: str, terminal_code: str | None) -> Place:
    """The caller's own outlet and terminal. Raises PartnerSuspended, OutletUnknown, Terminal-Unknown, -Suspended or
    -Mismatch.
    """
    partner = directory.partner(caller.partner_id)
    if partner is None or partner.status != "ACTIVE":
        raise PartnerSuspended("the partner is suspended")
    outlet = directory.outlet(caller.partner_id, outlet_code)
    if outlet is None:
        raise OutletUnknown("no such outlet; register it first")
    if terminal_code is None:
        if caller.terminal_id is not None:
            raise TerminalMismatch("this till was enrolled as one terminal: name it")
        return Place(partner, outlet.outlet_id, None)
    terminal = directory.terminal(outlet.outlet_id, terminal_code)
    if terminal is None:
        raise TerminalUnknown("no such terminal at this outlet; register it first")
    if terminal.status != "ACTIVE":
        raise TerminalSuspended("the terminal is suspended")
    if caller.terminal_id not in (None, terminal.terminal_id):
        raise TerminalMismatch("this till was enrolled as another terminal")
    return Place(partner, outlet.outlet_id, terminal.terminal_id)


def terms_at(directory: Directory, partner_id: int, at: datetime) -> Terms:
    """The agreement in force at an instant. Raises AgreementMissing."""
    terms = directory.terms_at(partner_id, at)
    if terms is None:
        raise AgreementMissing("no agreement was in force at that time")
    return terms


def idem_key_of(caller: Caller, operation: str, key: str) -> UUID:
    """The scope of an idempotency key: the client, the operation, the key (decision 8)."""
    return fingerprint(str(caller.client_no), operation, key)


def prepare(
    directory: Directory,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    at: datetime,
    idem_key: UUID | None,
    redeem_points: int = 0,
    terms: Terms | None = None,
) -> Prepared:
    """Decide a purchase: its place, terms, award and what is stored of it. PURE but for the directory's snapshot.

    at is the business instant of recording. Without an idem_key the receipt itself is the key. terms are those of a
    quote where one is honoured. Raises the rejections of receipts.check, place_of, terms_at and PointsExceedShare.
    """
    place = place_of(directory, caller, receipt.outlet, receipt.terminal)
    terms = terms or terms_at(directory, caller.partner_id, receipt.occurred_at)
    programme = directory.programme
    value_minor = spending.value_of(redeem_points, terms=terms, programme=programme)
    receipts.check(receipt, currency=terms.currency, at=at, points_value_minor=value_minor)
    if redeem_points:
        most = spending.limit(receipt.total_minor, terms=terms, programme=programme)
        if redeem_points > most.points:
            raise PointsExceedShare("points may not pay that much of this bill", maximum_points=most.points)
    paid_points, lines = spending.spread(receipt.effective_lines, redeem_points, value_minor)
    award = earning.evaluate(lines, terms=terms, programme=programme, tier=member.tier, occurred_at=receipt.occurred_at)
    claim = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    detail = receipt.detail
    stored_detail = orjson.dumps(detail).decode() if detail else None
    receipts.check_detail(stored_detail)
    return Prepared(
        row=Row(
            holder_id=member.member_id,
            claim=claim,
            idem_key=idem_key or fingerprint("receipt", claim.bytes),
            fingerprint=_content(member.member_id, claim, receipt, detail, redeem_points),
            partner_id=caller.partner_id,
            outlet_id=place.outlet_id,
            terminal_id=place.terminal_id,
            client_id=caller.client_no,
            card_id=member.card_id,
            terms_id=terms.terms_id,
            reference=receipt.reference,
            business_date=receipt.business_date,
            occurred_at=receipt.occurred_at,
            currency=receipt.currency,
            total=receipt.total_minor,
            awarded=award.points,
            detail=stored_detail,
            decision=_decision(award, member, lines, paid_points),
        ),
        award=award,
        at=at,
    )


def content_of(holder_id: int, claim: UUID, receipt: Receipt, redeem_points: int) -> UUID:
    """What a key stands for: the same for every retry of one purchase, and for no other purchase."""
    return _content(holder_id, claim, receipt, receipt.detail, redeem_points)


def _content(
    holder_id: int, claim: UUID, receipt: Receipt, detail: Mapping[str, Any] | None, redeem_points: int
) -> UUID:
    # How the member was recognised, the proof, the quote and the time of sending may differ between retries.
    kept = {key: value for key, value in (detail or {}).items() if key != "sentAt"}
    head = [holder_id, claim.hex, receipt.occurred_at.isoformat(), receipt.currency, receipt.total_minor]
    return fingerprint(orjson.dumps([*head, redeem_points, kept], option=orjson.OPT_SORT_KEYS))


def _decision(award: Award, member: Identified, lines: Sequence[earning.EarnLine], paid_points: Sequence[int]) -> str:
    decided: dict[str, Any] = {
        "tier": member.tier,
        "level": member.level,
        "lines": award.line_points,
        "reasons": [[reason.code, reason.points, reason.facts] for reason in award.reasons],
        "lots": {str(lot.lot_no): lot.points for lot in award.lots},
    }
    if member.visit is not None:
        decided["visit"] = member.visit.level
    if any(paid_points):
        decided["paid"] = {
            line.line_id: [points, line.points_value_minor]
            for line, points in zip(lines, paid_points, strict=True)
            if points or line.points_value_minor
        }
    return orjson.dumps(decided).decode()


async def accrue(desk: Desk, prepared: Prepared) -> Recorded:
    """Record one purchase that earns and spends nothing, in the lane. Raises what its status says."""
    return await desk.lane.submit(prepared)


async def accrue_file(desk: Desk, items: Sequence[Prepared]) -> list[Recorded | Rejection]:
    """Record purchases that nobody waits for at a till, in the lane behind those that somebody does; in order.

    An item for which the lane has no room is answered Busy. Raises what is no Rejection of an item's.
    """
    answers = await desk.lane.submit_all(items)
    if broken := next((answer for answer in answers if not isinstance(answer, Recorded | Rejection)), None):
        raise broken
    return [answer for answer in answers if isinstance(answer, Recorded | Rejection)]


async def record_many(desk: Desk, items: Sequence[Prepared], *, at: datetime) -> list[Recorded | Rejection]:
    """Record purchases that spend nothing, in one call; each item answers for itself, in order.

    An item that another call is recording in this moment, or that repeats an earlier item, is tried again. One whose
    account somebody keeps locked is answered Busy, and the others do not wait for it.
    """
    found: dict[int, Recorded | Rejection] = {}
    holder_ids = [item.row.holder_id for item in items]
    jammed = await desk.jams.known(holder_ids)
    if len(items) == 1 and not jammed and (alone := await _record_alone(desk, items[0], at)):
        return [alone]
    waiting = list(range(len(items)))
    for _ in range(ATTEMPTS):
        waiting = [index for index in waiting if holder_ids[index] not in jammed]
        if not waiting:
            break
        try:
            records = await call_safely(
                receipt_store.record_purchases,
                desk.pool,
                [items[index].row for index in waiting],
                [items[index].award.lots for index in waiting],
                at,
            )
        except asyncpg.LockNotAvailableError:
            jammed = await desk.jams.look([holder_ids[index] for index in waiting])
            continue
        by_index = dict(zip(waiting, records, strict=True))
        found.update(await _answers(desk, items, by_index))
        waiting = [index for index, record in by_index.items() if record["status"] == outcomes.AGAIN]
        if not waiting:
            break
    return [found.get(index) or Busy("the account is in use") for index in range(len(items))]


async def _record_alone(desk: Desk, item: Prepared, at: datetime) -> Recorded | Busy | None:
    """A lone till need not pay for what a batch needs. None where something stands in the way: nothing was written."""
    try:
        record = await call_safely(receipt_store.record_purchase, desk.pool, item.row, item.award.lots, at)
    except asyncpg.LockNotAvailableError:
        await desk.jams.look([item.row.holder_id])
        return Busy("the account is in use")
    except asyncpg.PostgresError as error:
        if error.sqlstate != CLAIM_LOST:
            raise
        return None
    if record["status"] != outcomes.RECORDED:
        return None
    receipt = item.stored(record, kind=PURCHASE, redeemed=0, redemption_seq=None)
    return Recorded(receipt, False, record["available"], record["pending"], record["debt"])


async def _answers(
    desk: Desk, items: Sequence[Prepared], records: Mapping[int, asyncpg.Record]
) -> dict[int, Recorded | Rejection]:
    replays = {index: record for index, record in records.items() if record["status"] == outcomes.REPLAYED}
    earlier = await _earlier(desk, items, replays)
    found: dict[int, Recorded | Rejection] = {}
    for index, record in records.items():
        if record["status"] == outcomes.RECORDED:
            receipt = items[index].stored(record, kind=PURCHASE, redeemed=0, redemption_seq=None)
            found[index] = Recorded(receipt, False, record["available"], record["pending"], record["debt"])
        elif index in earlier:
            found[index] = Recorded(earlier[index], True)
        else:
            found[index] = outcomes.rejection(2 if index in replays else record["status"])
    return found


async def _earlier(
    desk: Desk, items: Sequence[Prepared], replays: Mapping[int, asyncpg.Record]
) -> dict[int, StoredReceipt]:
    if not replays:
        return {}
    wanted = [
        (items[index].row.partner_id, record["holder_id"], items[index].row.claim) for index, record in replays.items()
    ]
    found = await receipt_store.receipts_by_claim(desk.pool, wanted)
    return {index: found[claim] for index, (_, _, claim) in zip(replays, wanted, strict=True) if claim in found}


async def purchase(desk: Desk, prepared: Prepared, *, redeem_points: int, use: ProofUse) -> Recorded:
    """Record one purchase that spends points and earns on the rest, under one lock.

    use is the proof of the spending, to be used up. Raises what the status says: InsufficientPoints is final and
    stored, the others wrote nothing.
    """
    return await _spend(desk, prepared, kind=PURCHASE, redeem_points=redeem_points, use=use)


async def _spend(desk: Desk, prepared: Prepared, *, kind: int, redeem_points: int, use: ProofUse) -> Recorded:
    directory = await desk.directory.get()
    day = day_of(directory, prepared.at)
    lots: Sequence[Lot] = prepared.award.lots
    for _ in range(ATTEMPTS):
        try:
            record = await call_safely(
                receipt_store.record_spending, desk.pool, prepared.row, lots, kind=kind, redeem_points=redeem_points,
                use=use, day=day, at=prepared.at,
            )  # fmt: skip
        except asyncpg.PostgresError as error:
            if error.sqlstate != CLAIM_LOST:
                raise
            continue
        if record["status"] == outcomes.RECORDED:
            spent_seq = record["seq"] - 1 if kind == PURCHASE else record["seq"]  # the accrual follows the redemption
            receipt = prepared.stored(record, kind=kind, redeemed=redeem_points, redemption_seq=spent_seq)
            return Recorded(receipt, False, record["available"], record["pending"])
        if record["status"] == outcomes.REPLAYED:
            return await replay(desk, prepared.row)
        raise_used_proof(record["status"], prepared.row.holder_id)
        if record["status"] != outcomes.AGAIN:
            raise outcomes.rejection(record["status"], available=record["available"])
    raise outcomes.rejection(outcomes.AGAIN)


def raise_used_proof(status: int, member_id: int) -> None:
    """Raise CodeUsed or ApprovalUsed where a recording call says so."""
    if status == outcomes.CODE_USED:
        raise CodeUsed(member_id)
    if status == outcomes.APPROVAL_USED:
        raise ApprovalUsed(member_id)


def day_of(directory: Directory, at: datetime) -> date:
    """The programme's calendar day of an instant."""
    return at.astimezone(ZoneInfo(directory.programme.time_zone)).date()


def redemption_content_of(bare: UUID, points: int) -> UUID:
    """What the key of a redemption stands for: the content of its receipt of nothing, and the points."""
    return fingerprint(bare.bytes, "redeem", str(points))


async def redeem(
    desk: Desk,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    points: int,
    use: ProofUse,
    idem_key: UUID,
    at: datetime,
) -> Recorded:
    """The spending half alone: points for a reward or a service, no money and nothing earned.

    Raises PointsNotPositive and what `purchase` raises.
    """
    if points <= 0:
        raise PointsNotPositive("the number of points to spend must be above zero")
    directory = await desk.directory.get()
    prepared = bare(prepare(directory, caller, member, receipt, at=at, idem_key=idem_key), member)
    row = replace(prepared.row, fingerprint=redemption_content_of(prepared.row.fingerprint, points))
    return await _spend(desk, replace(prepared, row=row), kind=REDEMPTION, redeem_points=points, use=use)


def bare(prepared: Prepared, member: Identified) -> Prepared:
    """A prepared receipt of nothing as one that decides and earns nothing."""
    decision = {"tier": member.tier, "level": member.level, "lines": {}, "reasons": [], "lots": {}}
    row = replace(prepared.row, awarded=0, decision=orjson.dumps(decision).decode())
    return replace(prepared, row=row, award=replace(prepared.award, points=0, lots=()))


async def replay(desk: Desk, row: Row) -> Recorded:
    """The receipt that an earlier call recorded. Raises IdempotencyKeyReused where the key was another receipt's."""
    receipt = await receipt_store.receipt_by_claim(desk.pool, row.partner_id, row.claim)
    if receipt is None:
        raise outcomes.rejection(2)
    return Recorded(receipt, True)


async def call_safely(call: Any, *arguments: Any, **named: Any) -> Any:
    """Await a recording call again when the database chose it to end a deadlock; the call wrote nothing then."""
    for attempt in range(ATTEMPTS):
        try:
            return await call(*arguments, **named)
        except asyncpg.DeadlockDetectedError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
