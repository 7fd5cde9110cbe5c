"""What partners give back of months that are closed, where their agreement says so and the fee went back.

A month is never computed again. What a credit note took back of a fee that it shared is corrected, once, by the next
month that closes: so much less for each partner whose version of that month's share says DATED_CORRECTION; the rest is
the operator's. Benefits that were used and points that were given stay paid: they were not of one fee.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.amounts import allocate, micro_per_minor
from members.subscription import facts
from members.subscription.facts import FeeCredited
from partners.clearing import clearing
from partners.terms import DATED_CORRECTION
from settlement.money import fees
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR
from settlement.subscription import allocation, store

Given = Mapping[str, Any]
"""What `allocation.allocate_month` was asked with."""


@dataclass(frozen=True, slots=True)
class FeeCorrection:
    """What a partner gives back, below zero, micro-units, of its share of the rest in of_month, because a credit note
    took back taken_minor of what that month recognised of an invoice. terms_id is the version of the share."""

    note_no: int
    of_month: date
    partner_id: int
    invoice_no: int
    taken_minor: int
    amount_micro: int
    terms_id: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a credit note took back of what a month recognised of an invoice, and all of that, minor units."""

    note_no: int
    of_month: date
    invoice_no: int
    subscription_no: int
    taken_minor: int
    recognised_minor: int
    charging_minor: int

    def net_micro(self, per_minor: int) -> int:
        """Its part of what was shared: without its part of what charging cost."""
        net = (self.recognised_minor - self.charging_minor) * per_minor
        return allocate(net, [self.taken_minor, self.recognised_minor - self.taken_minor])[0]


async def due(
    connection: AsyncConnection, month: date, currency: str, *, until: datetime,
    again: Callable[[date], Awaitable[Given]],
) -> list[FeeCorrection]:  # fmt: skip
    """What a month that ends at an instant corrects, from what is kept: the same whenever it is asked. again says what
    an earlier month was allocated from."""
    by_month: dict[date, list[Taken]] = defaultdict(list)
    for one in await _taken(connection, month, currency, until):
        by_month[one.of_month].append(one)
    found = []
    for of_month, taken in sorted(by_month.items()):
        shares = await _giving_back(connection, of_month, currency, before=month)
        if shares:
            found += corrected(taken, shares, await again(of_month), micro_per_minor(currency))
    return found


async def of_month(connection: AsyncConnection, month: date, currency: str) -> list[FeeCorrection]:
    """What a month that was closed corrected, by the month that it corrects, note and partner."""
    rows = await store.of_month(connection, "fee_correction", month, currency, "of_month, note_no, partner_id")
    return [FeeCorrection(**{name: row._mapping[name] for name in FeeCorrection.__slots__}) for row in rows]


def events(found: Iterable[FeeCorrection], currency: str, month: date) -> list[MoneyEvent]:
    """What of it statements show: by partner and month that is corrected, a share below zero."""
    sums: dict[tuple[int, date, int], list[int]] = defaultdict(lambda: [0, 0])
    for one in found:
        total = sums[one.partner_id, one.of_month, one.terms_id]
        total[0] += one.amount_micro
        total[1] += 1
    return [
        MoneyEvent(
            fees.SHARED, OPERATOR, partner_id, currency, amount, terms_id=terms_id, count=count,
            reference=f"{month:%Y-%m} corrects {corrected:%Y-%m}",
        )
        for (partner_id, corrected, terms_id), (amount, count) in sorted(sums.items())
    ]  # fmt: skip


def corrected(
    taken: Sequence[Taken], shares: Mapping[int, tuple[int, int]], given: Given, per_minor: int
) -> list[FeeCorrection]:
    """What partners give back of what they have left of a month's shares, for what was taken of fees in it. PURE.

    Nobody gives back more than it got: parts of parts may round up.
    """
    left = {partner_id: amount for partner_id, (amount, _) in shares.items()}
    parts = allocation.parts_of([(one.subscription_no, one.net_micro(per_minor)) for one in taken], **given)
    found = []
    for one, by_partner in zip(taken, parts, strict=True):
        for partner_id, part in by_partner.items():
            amount = min(part, left.get(partner_id, 0))
            if amount:
                left[partner_id] -= amount
                found.append(
                    FeeCorrection(one.note_no, one.of_month, partner_id, one.invoice_no, one.taken_minor, -amount,
                                  shares[partner_id][1])
                )  # fmt: skip
    return found


async def _taken(connection: AsyncConnection, month: date, currency: str, until: datetime) -> list[Taken]:
    """By note and month. A month that was closed before the books saw the note is corrected by the one that saw it,
    a later one, which recognised days that a bank had taken back by then, by the one after it."""
    told = await store.notes_booked(connection, currency)
    notes = {one.invoice_no: one for one in await facts.credited(connection, currency, until=until)}
    notes = {number: one for number, one in notes.items() if told.get(one.key, month) <= month}
    rows: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in await store.recognitions(connection, currency, list(notes), before=month):
        rows[row.invoice_no].append(row)
    last = (month - timedelta(days=1)).replace(day=1)
    found = []
    for number, each in sorted(rows.items()):
        note = notes[number]
        is_new = told.get(note.key, month) == month
        found += [one for one in _of_note(note, each) if is_new or (note.is_chargeback and one.of_month == last)]
    return sorted(found, key=lambda one: (one.of_month, one.note_no))


def _of_note(note: FeeCredited, rows: Sequence[Row[Any]]) -> list[Taken]:
    """All that was recognised where a bank took the payment back; else what is beyond the days that were served, of
    the last months first."""
    beyond = sum(row.recognised_minor for row in rows) - (0 if note.is_chargeback else note.served_minor)
    found = []
    for row in reversed(rows):
        taken = min(beyond, row.recognised_minor)
        if taken <= 0:
            break
        beyond -= taken
        found.append(
            Taken(int(note.key), row.month, row.invoice_no, row.subscription_no, taken, row.recognised_minor,
                  row.charging_minor)
        )  # fmt: skip
    return found


async def _giving_back(
    connection: AsyncConnection, of_month: date, currency: str, *, before: date
) -> dict[int, tuple[int, int]]:
    """What partners that correct have left of their share of a month's rest, and under which version, by partner."""
    rows = await store.of_month(connection, "fee_share", of_month, currency, "partner_id, benefit")
    rest = [row for row in rows if not row.benefit]
    terms = await clearing.settlement_terms(connection, [row.terms_id for row in rest])
    given = await store.corrected_before(connection, of_month, currency, before)
    return {
        row.partner_id: (row.amount_micro + given.get(row.partner_id, 0), row.terms_id)
        for row in rest
        if terms[row.terms_id].fee_return_policy == DATED_CORRECTION
    }
