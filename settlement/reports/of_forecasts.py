"""Reports about what may come: R10 which points expire when, R23 what other prices would have made of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from kit.amounts import divide_half_even
from kit.reports.tables import Kind, Report, Row, Table
from settlement.breakage import PPM, Cohort
from settlement.reports import more_words, words
from settlement.reports.more_words import column
from settlement.reports.of_books import About
from settlement.statements import decimal_from_micro
from settlement.what_if import Difference

Key = tuple[int, int, date]


def shares_left(cohorts: Sequence[Cohort], rates: Sequence[int]) -> dict[Key, Fraction]:
    """PURE: of what is left of each cohort (funder, version, month), the share that the model expects to be redeemed:
    its ultimate rate (millionths) of what was issued, less what was redeemed already, between nothing and all."""
    found = {}
    for cohort, rate in zip(cohorts, rates, strict=True):
        ahead = Fraction(cohort.issued * rate, PPM) - cohort.used
        share = Fraction(ahead, cohort.left) if cohort.left > 0 else Fraction(0)
        found[cohort.funder_id, cohort.terms_id, cohort.month] = min(Fraction(1), max(Fraction(0), share))
    return found


def expiry_forecast(about: About, rows: Iterable[Any], shares: Mapping[Key, Fraction]) -> Report:
    """R10: the points that can be spent by the month in which they expire, what their fund part is, and how many of
    them the breakage model expects to be redeemed before."""
    sums: dict[tuple[date, int], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0), Fraction(0)])
    for r in rows:
        share = shares.get((r.funder_id, r.terms_id, r.month), Fraction(1))
        total = sums[r.expiry_month, r.funder_id]
        total[0] += r.points
        total[1] += r.points * r.fund_micro
        total[2] += r.points * share
    columns = [column("expiry_month", Kind.DATE), words.column("issuer", width=2)]
    columns += [words.column("points", Kind.COUNT, is_summed=True)]
    columns += [words.column("fund_value", Kind.EXACT, is_summed=True), words.column("currency")]
    columns += [
        column("expected_use", Kind.COUNT, is_summed=True),
        column("expected_expiry", Kind.COUNT, is_summed=True),
    ]
    shown: list[Row] = []
    for (month, funder), (points, micro, used) in sorted(sums.items()):
        expected = divide_half_even(used.numerator, used.denominator)
        shown.append(
            (month, about.party(funder), int(points), decimal_from_micro(int(micro)), about.currency, expected,
             int(points) - expected)
        )  # fmt: skip
    table = Table("r10", more_words.TITLES["R10"], tuple(columns), shown)
    return about.report("R10", table, notes=(more_words.FORECAST,))


def what_if(
    about: About, partner_id: int, changes: Mapping[str, int], found: Iterable[tuple[Difference, Mapping[str, int]]]
) -> Report:
    """R23: a partner's lines by kind as they were and as they would have been, and what each price does alone."""
    scenario = ", ".join(f"{name}={value}" for name, value in sorted(changes.items()))
    columns = [column("scenario", width=3), words.column("partner", width=2), words.column("kind", width=2)]
    columns += [column(name, Kind.EXACT) for name in ("was", "would_be", "delta")]
    columns += [words.column("currency"), column("drivers", width=3)]
    shown: list[Row] = [
        (scenario, about.party(partner_id), words.kind_of_line(one.kind), decimal_from_micro(one.base_micro),
         decimal_from_micro(one.scenario_micro), decimal_from_micro(one.delta_micro), about.currency,
         "; ".join(f"{name} {decimal_from_micro(micro):+f}" for name, micro in by.items()))
        for one, by in found
    ]  # fmt: skip
    return about.report("R23", Table("r23", more_words.TITLES["R23"], tuple(columns), shown), notes=(words.SIGNS,))
