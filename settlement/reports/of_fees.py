"""R16: where the fees of subscriptions went, by month, partner and reason; what other methods would have paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.reports.tables import Kind, Report, Row, Table, Term
from settlement.reports import more_words, words
from settlement.reports.more_words import column
from settlement.reports.of_books import About
from settlement.statements import decimal_from_micro
from settlement.subscription import corrections, months
from settlement.subscription.allocation import METHODS
from settlement.subscription.corrections import FeeCorrection
from settlement.subscription.months import FeeMonth, FeeShare

_PARTS = ("pool", "brought", "charging", "points", "reserve", "operator", "carried", "added")


async def fees(
    connection: AsyncConnection, about: About, cutoff_ids: Sequence[int], *, partner_id: int | None
) -> Report:
    """R16 of the months in cut-offs, in the currency of what it is about; a partner's own part where it is named."""
    every = await months.months(connection, cutoff_ids=cutoff_ids)
    found = [one for one in every if one.currency == about.currency]
    rows: list[Row] = []
    for month in found:
        rows += [
            _row(about, month, one.share, one.methods)
            for one in await months.shares_compared(connection, month)
            if partner_id in (None, one.share.partner_id)
        ]
        rows += [
            _correction(about, month, one)
            for one in await corrections.of_month(connection, month.month, month.currency)
            if partner_id in (None, one.partner_id)
        ]
    columns = [
        column("fee_month"), words.column("partner", width=2), column("benefit", width=2),
        column("units_used", Kind.COUNT), column("rate", Kind.EXACT),
        words.column("amount", Kind.EXACT, is_summed=True), column("of_trials", Kind.EXACT, is_summed=True),
        *(column(method.lower(), Kind.EXACT) for method in METHODS), column("corrects"),
    ]  # fmt: skip
    tables = [Table("r16", more_words.TITLES["R16"], tuple(columns), rows, more_words.SHARED)]
    if partner_id is None:
        own = [column("fee_month"), *(column(part, Kind.EXACT) for part in _PARTS)]
        whole: list[Row] = [
            (f"{one.month:%Y-%m}", *(decimal_from_micro(_part(one, part)) for part in _PARTS)) for one in found
        ]
        tables.append(Table("r16_months", more_words.FEE_MONTHS, tuple(own), whole))
    return about.report("R16", *tables)


def _row(about: About, month: FeeMonth, share: FeeShare, methods: Mapping[str, int]) -> Row:
    rest = not share.benefit
    would = [decimal_from_micro(methods[method]) if rest else None for method in METHODS]
    return (
        f"{month.month:%Y-%m}", about.party(share.partner_id),
        Term("REST", more_words.REST) if rest else share.benefit, share.units + share.trial_units,
        None if rest else decimal_from_micro(share.rate_micro), decimal_from_micro(share.amount_micro),
        decimal_from_micro(share.trial_micro), *would, None,
    )  # fmt: skip


def _correction(about: About, month: FeeMonth, one: FeeCorrection) -> Row:
    return (
        f"{month.month:%Y-%m}", about.party(one.partner_id), Term("CORRECTED", more_words.CORRECTED), None, None,
        decimal_from_micro(one.amount_micro), None, *(None for _ in METHODS), f"{one.of_month:%Y-%m}",
    )  # fmt: skip


def _part(month: FeeMonth, part: str) -> int:
    found: int = getattr(month, f"{part}_micro")
    return found
