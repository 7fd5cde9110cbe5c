"""The bank's statements on their way in: read as a stream, stored whole or not at all, every payment booked at once.

What is for a payment of a run goes there; the rest goes into suspense and is a break. So 1110 is the bank's closing
balance after every statement, whatever came.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import IO, Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import micro_per_minor
from kit.database import Database
from kit.errors import Rejection
from settlement import netting, store
from settlement.bank import assigning, camt, details, paying, payment_store
from settlement.bank.assigning import Assigned, Open, Told
from settlement.bank.camt import Entry, Head, Tail
from settlement.bank.details import Details
from settlement.bank.paying import PaymentLeg
from settlement.money import entries, journal
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR
from settlement.reconciliation import register
from settlement.reconciliation.breaks import Category
from settlement.reconciliation.register import NewBreak

_CHUNK = 500
_PAGE = 1_000


class BankAccountNotOurs(Rejection):
    """The statement is of an account that the operator does not have, or in another currency."""

    code = "BANK_ACCOUNT_NOT_OURS"
    retryable = True


class BankSequenceGap(Rejection):
    """A statement before this one is missing: its number, or its opening balance, is not where the last one ended."""

    code = "BANK_SEQUENCE_GAP"
    retryable = True


class BankStatementChanged(Rejection):
    """The bank's statement, notice or report of this number was taken with another content."""

    code = "BANK_STATEMENT_CHANGED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Received:
    """A statement that was taken: how many payments it has, how many are for payments of ours, how many are left over.

    is_replayed: it was taken before, and nothing was written.
    """

    bank_statement_id: int
    statement_ref: str
    currency: str
    closing_minor: int
    payments: int = 0
    matched: int = 0
    left_over: int = 0
    is_replayed: bool = False


async def receive(
    database: Database, source: IO[bytes], *, actor: str, at: datetime, most_bytes: int = camt.MOST_BYTES,
    progress: Callable[[int], None] | None = None, once: Callable[[AsyncConnection], Awaitable[object]] | None = None,
) -> list[Received]:  # fmt: skip
    """Take every statement of a file (camt.053), on behalf of a FINANCE_MAKER, all of them or none; memory holds some
    hundred entries. A statement that was taken before is passed over. source can be read from its beginning again. once
    is done first in the same transaction: whoever calls keeps its call with it.

    What is refused leaves a break and nothing else. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BANK_FILE_INVALID,
    BANK_ACCOUNT_NOT_OURS, BANK_SEQUENCE_GAP, BANK_STATEMENT_CHANGED, PERIOD_LOCKED.
    """
    async with database.reading() as connection:
        await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    sha256 = await asyncio.to_thread(_digest, source, most_bytes)
    try:
        async with database.transaction() as connection:
            if once is not None:
                await once(connection)
            await store.lock_runs(connection)
            return await _take(connection, source, sha256, actor, at, most_bytes, progress)
    except (camt.BankFileInvalid, BankAccountNotOurs, BankSequenceGap, BankStatementChanged) as no:
        async with database.transaction() as connection:
            await register.open_breaks(
                connection,
                [
                    NewBreak(
                        source=f"bank-refused:{sha256.hex()}", leg="BANK", category=Category.FILE,
                        detail={"code": no.code, "message": no.message},
                    )
                ],
                at=at,
            )  # fmt: skip
        raise


# --- Taking ---------------------------------------------------------------------------------------------------


@dataclass
class _Taking:
    """A statement that is being read."""

    head: Head
    own: Details
    bank_statement_id: int
    is_known: bool = False
    """It was taken before: what is read now is only compared."""
    seen: int = 0
    """Entries that were read and are booked."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    bare: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Entries that name no payment, by the bank's own number: their one payment, which is the entry itself."""


async def _take(
    connection: AsyncConnection, source: IO[bytes], sha256: bytes, actor: str, at: datetime, most_bytes: int,
    progress: Callable[[int], None] | None,
) -> list[Received]:  # fmt: skip
    taken: list[Received] = []
    taking: _Taking | None = None
    async for chunk in _chunks(camt.read(source, most_bytes=most_bytes)):
        for event in chunk:
            if isinstance(event, Head):
                taking = await _begin(connection, event, sha256, actor, at)
            elif isinstance(event, Entry):
                assert taking is not None
                _keep(taking, event)
            else:
                assert isinstance(event, Tail)
                assert taking is not None
                taken.append(await _end(connection, taking, actor, at))
        if taking is not None:
            await _write(connection, taking)
        if progress is not None:
            progress(len(chunk))
    return taken


async def _chunks(events: Iterator[Head | Entry | Tail]) -> AsyncIterator[list[Head | Entry | Tail]]:
    while chunk := await asyncio.to_thread(lambda: list(islice(events, _CHUNK))):
        yield chunk


async def _begin(connection: AsyncConnection, head: Head, sha256: bytes, actor: str, at: datetime) -> _Taking:
    own = (await details.in_force(connection, head.currency, at=at)).get(OPERATOR)
    if own is None or own.account.iban != head.account:
        raise BankAccountNotOurs(f"statement {head.statement_id} is of no account of ours in {head.currency}")
    known = await payment_store.statement_of(connection, head.account, head.statement_id)
    if known is not None:
        if (known.opening_minor, known.closing_minor) != (head.opening_minor, head.closing_minor):
            raise BankStatementChanged(f"statement {head.statement_id} was taken with another content")
        return _Taking(head, own, known.bank_statement_id, is_known=True)
    last = await payment_store.last_statement(connection, head.account)
    sequence = head.legal_sequence if head.legal_sequence is not None else head.sequence
    if last is not None:
        _check_follows(head, sequence, last)
    row = {
        "account_id": own.account_id, "iban": head.account, "statement_ref": head.statement_id,
        "message_id": head.message_id, "sequence": sequence, "currency": head.currency,
        "opening_minor": head.opening_minor, "opening_on": head.opening_on, "closing_minor": head.closing_minor,
        "closing_on": head.closing_on, "file_sha256": sha256, "actor": actor, "at": at,
    }  # fmt: skip
    taking = _Taking(head, own, await payment_store.insert_statement(connection, row))
    if last is None and head.opening_minor:
        amount = head.opening_minor * micro_per_minor(head.currency)
        opening = [MoneyEvent("BANK_OPENING", OPERATOR, OPERATOR, head.currency, amount)]
        await _book(connection, f"bank-opening:{taking.bank_statement_id}", opening, actor, at)
    return taking


def _check_follows(head: Head, sequence: int | None, last: Row[Any]) -> None:
    if sequence is not None and last.sequence is not None and sequence != last.sequence + 1:
        raise BankSequenceGap(f"statement {sequence} came after {last.sequence}")
    if head.opening_minor != last.closing_minor:
        raise BankSequenceGap(
            f"statement {head.statement_id} opens with {head.opening_minor}, {last.statement_ref} closed with "
            f"{last.closing_minor}"
        )


def _keep(taking: _Taking, entry: Entry) -> None:
    if not entry.is_booked:
        return  # only announced
    taking.seen += 1
    place = {"bank_statement_id": taking.bank_statement_id, "entry_no": entry.number}
    taking.entries.append(
        {
            **place, "amount_minor": entry.amount_minor, "is_reversal": entry.is_reversal, "booked_on": entry.booked_on,
            "value_on": entry.value_on, "servicer_reference": entry.servicer_reference, "bank_code": entry.bank_code,
        }
    )  # fmt: skip
    taking.payments += [
        {
            **place, "payment_no": number, "amount_minor": one.amount_minor, "end_to_end_id": one.end_to_end_id,
            "creditor_reference": one.creditor_reference, "message": one.text, "party": one.party,
            "party_account": one.party_account, "servicer_reference": one.servicer_reference,
            "return_reason": one.return_reason,
        }
        for number, one in enumerate(entry.payments, start=1)
        if one.amount_minor
    ]  # fmt: skip
    if entry.servicer_reference is not None and entry.amount_minor and _is_bare(entry):
        taking.bare[entry.servicer_reference] = taking.payments[-1]


def _is_bare(entry: Entry) -> bool:
    """Whether an entry names nobody and nothing that it is for."""
    (one, *more) = entry.payments
    said = (one.end_to_end_id, one.creditor_reference, one.party_account, one.return_reason)
    return not more and not any(said)


async def _join_notices(connection: AsyncConnection, taking: _Taking) -> None:
    """Put in the place of an entry that names no payments those that a notice told of it, where they sum to it."""
    told: dict[str, list[Row[Any]]] = {}
    for row in await payment_store.noticed_payments(connection, taking.head.account, [*taking.bare]):
        told.setdefault(row.entry_reference, []).append(row)
    for reference, rows in told.items():
        bare = taking.bare[reference]
        if sum(row.amount_minor for row in rows) != bare["amount_minor"]:
            continue
        taking.payments.remove(bare)
        for number, row in enumerate(rows, start=1):
            said = {name: value for name, value in row._mapping.items() if not name.startswith("entry_")}
            taking.payments.append({**bare, "payment_no": number, **said})
    taking.bare = {}


async def _write(connection: AsyncConnection, taking: _Taking) -> None:
    if taking.is_known:
        await _compare(connection, taking)
        return
    if taking.bare:
        await _join_notices(connection, taking)
    await payment_store.insert_entries(connection, taking.entries, taking.payments)
    taking.entries, taking.payments = [], []


async def _compare(connection: AsyncConnection, taking: _Taking) -> None:
    """Hold what is read of a statement that was taken before against what was taken. What a notice told of an entry
    that names nobody is not the statement's. Rejects BANK_STATEMENT_CHANGED."""
    numbers = [row["entry_no"] for row in taking.entries]
    known = await payment_store.entries_of(connection, taking.bank_statement_id, numbers)
    told = await payment_store.payments_of(connection, taking.bank_statement_id, numbers)
    bare = {row["entry_no"] for row in taking.bare.values()}
    same = [_is_same(row, one) for row, one in zip(taking.entries, known, strict=False)]
    named = [row for row in taking.payments if row["entry_no"] not in bare]
    was_named = [row for row in told if row.entry_no not in bare]
    same += [_is_same(row, one) for row, one in zip(named, was_named, strict=False)]
    if not all(same) or (len(known), len(was_named)) != (len(taking.entries), len(named)):
        raise BankStatementChanged(f"statement {taking.head.statement_id} was taken with other entries")
    taking.entries, taking.payments, taking.bare = [], [], {}


def _is_same(read: dict[str, Any], kept: Row[Any]) -> bool:
    return all(kept._mapping[name] == value for name, value in read.items())


async def _end(connection: AsyncConnection, taking: _Taking, actor: str, at: datetime) -> Received:
    head = taking.head
    if taking.is_known:
        await _write(connection, taking)
        if taking.seen != await payment_store.entry_count(connection, taking.bank_statement_id):
            raise BankStatementChanged(f"statement {head.statement_id} was taken with other entries")
        return Received(0, head.statement_id, head.currency, head.closing_minor, is_replayed=True)
    await _write(connection, taking)
    made = await _assign_all(connection, taking.bank_statement_id, head, actor, at)
    detail = {"statement": head.statement_id, "payments": made.payments, "left_over": made.left_over}
    await audit.write(
        connection, actor=actor, action="BANK_STATEMENT_TAKEN", subject=f"bank-statement:{made.bank_statement_id}",
        detail=detail, at=at,
    )  # fmt: skip
    return made


# --- What each payment is for ---------------------------------------------------------------------------------


async def _assign_all(
    connection: AsyncConnection, bank_statement_id: int, head: Head, actor: str, at: datetime
) -> Received:
    owners = {
        one.account.iban: party for party, one in (await details.in_force(connection, head.currency, at=at)).items()
    }
    after, seen, left_over, runs, page_no = (0, 0), 0, 0, set[int](), 0
    while rows := await payment_store.payments_page(connection, bank_statement_id, after=after, limit=_PAGE):
        events: list[MoneyEvent] = []
        for row in rows:
            told = told_of(
                row._mapping, owners, leg_id=row.told_leg_id, bank_code=row.bank_code, is_reversal=row.is_reversal
            )  # fmt: skip
            found, its = await assigned(connection, told, head.currency)
            events += await _apply(connection, row, told, found, its, head.currency, actor, at)
            runs |= {found[share.leg_id].run_id for share in its.shares}
            left_over += bool(its.rest_minor)
        page_no += 1
        await _book(connection, f"bank:{bank_statement_id}/{page_no}", events, actor, at)
        after, seen = (rows[-1].entry_no, rows[-1].payment_no), seen + len(rows)
    await paying.advance(connection, runs, actor=actor, at=at)
    return Received(
        bank_statement_id, head.statement_id, head.currency, head.closing_minor, seen, seen - left_over, left_over
    )


def told_of(
    row: Mapping[Any, Any], owners: dict[str, int], *, leg_id: int | None, bank_code: str | None, is_reversal: bool
) -> Told:
    """A payment of the bank's as the rules read it; leg_id is whose end-to-end id it carries. For this package."""
    partner_id = owners.get(row["party_account"] or "")
    return Told(
        amount_minor=row["amount_minor"], leg_id=leg_id,
        references=assigning.references(row["creditor_reference"], row["message"]),
        partner_id=partner_id or None, bank_code=bank_code,
        is_return=is_reversal or row["return_reason"] is not None,
    )  # fmt: skip


async def assigned(
    connection: AsyncConnection, told: Told, currency: str, *, taken: Mapping[int, int] | None = None
) -> tuple[dict[int, PaymentLeg], Assigned]:
    """What a payment is for, and the payments of ours that may be meant; taken is what of them others have already, and
    is not written yet. For this package."""
    rows = await payment_store.legs_by_reference(connection, told.references) if told.references else []
    found = {row.leg_id: PaymentLeg(**row._mapping) for row in rows}
    if told.leg_id is not None:
        found |= await paying.legs(connection, [told.leg_id])
    if told.partner_id is not None and told.amount_minor > 0:
        rows = await payment_store.open_pay_ins(connection, told.partner_id, currency)
        found |= {row.leg_id: PaymentLeg(**row._mapping) for row in rows}
    found = {leg_id: leg for leg_id, leg in found.items() if leg.currency == currency}
    legs = [
        Open(leg.leg_id, leg.partner_id, leg.direction, leg.reference,
             leg.left_minor - (taken or {}).get(leg.leg_id, 0), leg.paid_minor, leg.state in paying.SENT)
        for leg in found.values()
        if not leg.is_closed
    ]  # fmt: skip
    return found, assigning.assign(told, legs)


async def _apply(
    connection: AsyncConnection, row: Row[Any], told: Told, found: dict[int, PaymentLeg], assigned: Assigned,
    currency: str, actor: str, at: datetime,
) -> list[MoneyEvent]:  # fmt: skip
    place = {"bank_statement_id": row.bank_statement_id, "entry_no": row.entry_no, "payment_no": row.payment_no}
    rows = [
        {**place, "leg_id": share.leg_id, "amount_minor": share.amount_minor, "rule": share.rule,
         "rules_version": assigning.RULES_VERSION, "actor": actor, "at": at}
        for share in assigned.shares
    ]  # fmt: skip
    await payment_store.insert_leg_payments(connection, rows)
    events = []
    for share in assigned.shares:
        leg = found[share.leg_id]
        events += paid_events(leg, share.amount_minor)
        await settle_leg(connection, share.leg_id, share.amount_minor, was=leg, actor=actor, at=at)
    if assigned.rest_minor:
        events.append(await _leave_over(connection, place, told, found, assigned, currency, at))
    return events


def paid_events(leg: PaymentLeg, amount_minor: int) -> list[MoneyEvent]:
    """What a payment of the bank for a leg does to the books; below zero it comes back, and a payment out is then owed
    again."""
    amount = amount_minor * micro_per_minor(leg.currency)
    if leg.direction == netting.PAY_IN:
        return [MoneyEvent("PAY_IN", leg.partner_id, OPERATOR, leg.currency, amount, reference=leg.reference)]
    booked = MoneyEvent("PAY_OUT_BOOKED", OPERATOR, leg.partner_id, leg.currency, amount, reference=leg.reference)
    if amount > 0:
        return [booked]
    return [booked, MoneyEvent("PAY_OUT", OPERATOR, leg.partner_id, leg.currency, amount, reference=leg.reference)]


async def settle_leg(
    connection: AsyncConnection, leg_id: int, amount_minor: int, *, was: PaymentLeg, actor: str, at: datetime
) -> PaymentLeg:
    """Move a leg to where what was paid for it brings it, with its breaks: what is short opens one, what comes to the
    whole closes it, what comes back opens another."""
    leg = (await paying.legs(connection, [leg_id]))[leg_id]
    short = f"leg-short:{leg_id}"
    if amount_minor < 0:
        await paying.move_leg(connection, was, paying.RETURNED, actor=actor, reason="it came back", at=at)
        await _open(connection, f"leg-returned:{leg_id}/{leg.left_minor}/{at.isoformat()}", Category.RETURNED_PAYMENT,
                    leg, at)  # fmt: skip
    elif leg.left_minor:
        await paying.move_leg(connection, was, paying.PARTIAL, actor=actor, reason="paid in part", at=at)
        await _open(connection, short, Category.PAYMENT_DIFFERENCE, leg, at)
    else:
        await paying.move_leg(connection, was, paying.MATCHED, actor=actor, reason="paid", at=at)
        await register.close_source(connection, f"leg-short:{leg_id}", reason="the rest was paid", at=at)
        for again in ("leg-returned", "leg-rejected"):
            await register.close_source(connection, f"{again}:{leg_id}/", reason="paid again", at=at)
    return leg


async def _open(connection: AsyncConnection, source: str, category: Category, leg: PaymentLeg, at: datetime) -> None:
    way = 1 if leg.direction == netting.PAY_IN else -1
    new = NewBreak(
        source=source, leg="BANK", category=category, partner_id=leg.partner_id, currency=leg.currency,
        amount_minor=way * leg.left_minor, value_micro=way * leg.left_minor * micro_per_minor(leg.currency),
        detail={"leg": leg.leg_id, "reference": leg.reference},
    )  # fmt: skip
    await register.open_breaks(connection, [new], at=at)


async def _leave_over(
    connection: AsyncConnection, place: dict[str, Any], told: Told, found: dict[int, PaymentLeg], assigned: Assigned,
    currency: str, at: datetime,
) -> MoneyEvent:  # fmt: skip
    """What is for nothing of ours that is open: a fee of the bank, or money in suspense; either is a break."""
    amount = assigned.rest_minor * micro_per_minor(currency)
    is_fee = assigning.is_fee(told) and not assigned.shares
    category, partner_id = _why(told, found, assigned)
    detail: dict[str, Any] = dict(place)
    if not is_fee:
        row = {**place, "currency": currency, "amount_minor": assigned.rest_minor, "partner_id": partner_id, "at": at}
        detail["item"] = await payment_store.insert_item(connection, row)
    new = NewBreak(
        source=f"bank-payment:{place['bank_statement_id']}/{place['entry_no']}/{place['payment_no']}", leg="BANK",
        category=Category.BANK_FEE if is_fee else category, partner_id=partner_id, currency=currency,
        amount_minor=-assigned.rest_minor, value_micro=-amount, detail=detail,
    )  # fmt: skip
    await register.open_breaks(connection, [new], at=at)
    if is_fee:
        return MoneyEvent("BANK_FEE", OPERATOR, OPERATOR, currency, -amount)
    return MoneyEvent("RECEIPT_UNIDENTIFIED", OPERATOR, OPERATOR, currency, amount)


def _why(told: Told, found: dict[int, PaymentLeg], assigned: Assigned) -> tuple[Category, int | None]:
    """Why a payment is left over, and whose it is as far as it tells: more than was owed, what came back of a run that
    is over, or nobody's."""
    named = [found[share.leg_id] for share in assigned.shares]
    named += [leg for leg in found.values() if leg.leg_id == told.leg_id or leg.reference in told.references]
    if not named:
        is_known = told.partner_id is not None
        return (Category.PAYMENT_DIFFERENCE if is_known else Category.UNIDENTIFIED_RECEIPT), told.partner_id
    is_back = (named[0].direction == netting.PAY_IN) != (told.amount_minor > 0)
    return (Category.RETURNED_PAYMENT if is_back else Category.PAYMENT_DIFFERENCE), named[0].partner_id


async def _book(
    connection: AsyncConnection, source: str, found: Sequence[MoneyEvent], actor: str, at: datetime
) -> None:
    await journal.post(connection, source=source, entries=entries.of_events(found), at=at, actor=actor)


def _digest(source: IO[bytes], most_bytes: int) -> bytes:
    """SHA-256 of a file, from its beginning, to which it is then brought back. Rejects BANK_FILE_INVALID."""
    digest, size = hashlib.sha256(), 0
    while block := source.read(64 * 1024):
        size += len(block)
        if size > most_bytes:
            raise camt.BankFileInvalid("the file is larger than is taken")
        digest.update(block)
    source.seek(0)
    return digest.digest()
