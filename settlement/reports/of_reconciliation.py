"""Reports about payments and breaks: R5 what went to the bank, R6 what came of it, R13 what differs and how long, R25
how well reconciliation does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kit.amounts import decimal_from_minor, divide_half_even, exponent
from kit.reports.tables import Column, Fact, Kind, Report, Row, Table, Term
from settlement.bank.paying import PaymentLeg
from settlement.reconciliation import breaks
from settlement.reconciliation.disputes import Dispute
from settlement.reconciliation.measuring import EXPLAINED_DAYS, Figures
from settlement.reconciliation.register import Break
from settlement.reports import more_words, words
from settlement.reports.more_words import column
from settlement.reports.of_books import About
from settlement.statements import decimal_from_micro


def payment_files(about: About, rows: Iterable[Any]) -> Report:
    """R5: every payment of every file for the bank, with where it stands and what the bank said."""
    columns = [column("message", width=2), column("sha256", width=3), column("count", Kind.COUNT)]
    columns += [column("control_sum", Kind.EXACT), words.column("currency"), column("end_to_end", width=2)]
    columns += [words.column("partner", width=2), words.column("amount", Kind.AMOUNT), column("state")]
    columns += [column("bank_status"), column("booked", Kind.DATE), column("bank_reference", width=2)]
    shown: list[Row] = [
        (r.message_id, r.sha256.hex(), r.count, decimal_from_minor(r.control_sum, r.currency), r.currency,
         r.end_to_end_id, about.party(r.partner_id), decimal_from_minor(r.amount_minor, r.currency),
         words.state(r.state),
         " ".join(said for said in (r.bank_status, r.bank_reason) if said) or None, r.booked_on, r.servicer_reference)
        for r in rows
    ]  # fmt: skip
    return about.report("R5", _table("R5", columns, shown))


def settlement_result(about: About, legs: Iterable[PaymentLeg]) -> Report:
    """R6: what had to be paid for a run, what was, and the difference."""
    places = exponent(about.currency)
    columns = [words.column("partner", width=2), words.column("direction"), column("reference_rf", width=2)]
    columns += [column("due", Kind.DATE)]
    columns += [column(k, Kind.AMOUNT, places=places, is_summed=True) for k in ("instructed", "settled", "difference")]
    columns += [column("state"), column("since", Kind.INSTANT, width=2)]
    shown: list[Row] = [
        (about.party(leg.partner_id), leg.direction, leg.reference, leg.due_on,
         *(decimal_from_minor(n, leg.currency) for n in (leg.amount_minor, leg.paid_minor, leg.left_minor)),
         words.state(leg.state), leg.state_at)
        for leg in legs
    ]  # fmt: skip
    return about.report("R6", _table("R6", columns, shown))


def open_breaks(about: About, found: Iterable[Break], days: Mapping[int, int], rates: Mapping[str, int]) -> Report:
    """R13: breaks that are not resolved, by age, and how much is matched. rates are counts: records, matched,
    breaks found, unresolved."""
    columns = [
        column("break", Kind.COUNT),
        column("category", width=2),
        column("leg"),
        words.column("partner", width=2),
    ]
    columns += [
        words.column("points", Kind.COUNT, is_summed=True),
        column("value", Kind.EXACT),
        words.column("currency"),
    ]
    columns += [column("seen", Kind.INSTANT, width=2), column("days", Kind.COUNT), column("bucket"), column("actor")]
    columns += [column("due", Kind.DATE), column("state"), column("escalated")]
    shown: list[Row] = [
        (one.break_id, one.category, one.leg, None if one.partner_id is None else about.party(one.partner_id),
         one.points, decimal_from_micro(one.value_micro), one.currency, one.seen_at, days[one.break_id],
         breaks.bucket(days[one.break_id]), one.owner, one.due_on, words.state(one.state),
         one.escalated_to)
        for one in found
    ]  # fmt: skip
    facts = tuple(Fact(name, more_words.COLUMNS[name], value, Kind.COUNT) for name, value in rates.items())
    return about.report("R13", _table("R13", columns, shown), facts=facts)


def measured(about: About, found: Figures) -> Report:
    """R25: how much each rule matched, and of each category how much was found, is open, and how long it took."""
    columns = [column("leg"), column("figure", width=2), column("of", width=2), column("number", Kind.COUNT)]
    columns += [column("share", Kind.PERCENT), column("value", Kind.EXACT), words.column("currency")]
    columns += [column("days", Kind.COUNT)]
    shown: list[Row] = []
    for leg, total in (("FILE", found.compared), ("BANK", found.told)):
        straight = found.straight_through(leg)
        shown.append((leg, _figure("straight_through"), None, straight, _share(straight, total), None, None, None))
        shown += [
            (leg, _figure("matched_by"), f"{one.rule} {one.version}", one.count, _share(one.count, total), None, None,
             None)
            for one in found.rules if one.leg == leg
        ]  # fmt: skip
    for (leg, category, currency), one in found.categories.items():
        took = divide_half_even(one.resolved_days, one.resolved) if one.resolved else None
        in_time = _share(one.in_time_micro, one.found_micro)
        shown += [
            (leg, _figure("found_of"), category, one.found, None, decimal_from_micro(one.found_micro), currency, None),
            (leg, _figure("unexplained"), category, one.unresolved, _share(one.open_micro, one.found_micro),
             decimal_from_micro(one.open_micro), currency, one.oldest_days),
            (leg, _figure("in_time"), category, None, in_time, decimal_from_micro(one.in_time_micro), currency,
             EXPLAINED_DAYS),
            (leg, _figure("resolved_of"), category, one.resolved, _share(one.resolved, one.found), None, currency,
             took),
            (leg, _figure("written_off"), category, None, _share(one.written_off_micro, one.found_micro),
             decimal_from_micro(one.written_off_micro), currency, None),
        ]  # fmt: skip
    return about.report("R25", _table("R25", columns, shown), notes=(more_words.MEASURED,))


def _figure(name: str) -> Term:
    return Term(name.upper(), more_words.FIGURES[name])


def _share(part: int, whole: int) -> Decimal | None:
    return None if whole <= 0 else Decimal(part * 10_000 // whole).scaleb(-4)


def disputed(about: About, found: Iterable[Dispute]) -> Report:
    """R14: what partners dispute, how it is paid meanwhile, and what was given."""
    columns = [column("dispute", Kind.COUNT), column("reason"), column("statement", Kind.COUNT)]
    columns += [words.column("line_no", Kind.COUNT), words.column("partner", width=2)]
    columns += [words.column("amount", Kind.AMOUNT), words.column("currency"), column("mode"), column("state")]
    columns += [column("deadline", Kind.INSTANT, width=2), column("given", Kind.AMOUNT)]
    shown: list[Row] = [
        (d.dispute_id, d.reason, d.statement_id, d.line_no, about.party(d.partner_id),
         decimal_from_minor(d.amount_minor, d.currency), d.currency, d.mode, d.state, d.deadline,
         None if d.awarded_minor is None else decimal_from_minor(d.awarded_minor, d.currency))
        for d in found
    ]  # fmt: skip
    return about.report("R14", _table("R14", columns, shown))


def _table(code: str, columns: Iterable[Column], rows: list[Row]) -> Table:
    return Table(code.lower(), more_words.TITLES[code], tuple(columns), rows)
