"""Reports about stock, obligation, cover, documents, the books and controls, from rows that were fetched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kit.amounts import decimal_from_minor, divide_half_even, exponent
from kit.reports.tables import Cell, Column, Fact, Kind, Report, Row, Table, Words
from settlement.documents.register import Document
from settlement.exposure.caps import Exposure
from settlement.netting import Bilateral
from settlement.rating import OPERATOR
from settlement.reports import more_words, words
from settlement.reports.bridge import STEPS, Part
from settlement.reports.more_words import column
from settlement.statements import decimal_from_micro
from settlement.windows.standing import Position

_ROLL = {
    "issued": ("ACTIVATION",), "returned": ("RETURN",), "burned": ("REDEMPTION", "REPAYMENT"),
    "refunded": ("REFUND",), "expired": ("EXPIRY",), "adjusted": ("ADJUSTMENT", "ADJUSTMENT_TAKEN"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What every report is told: its head, its instant and time zone, names of parties (0 is the operator) and of
    agreement versions."""

    subtitle: str
    at: datetime
    time_zone: str
    currency: str
    facts: tuple[Fact, ...]
    parties: Mapping[int, str]
    agreements: Mapping[int, str]

    def report(self, code: str, *tables: Table, facts: Sequence[Fact] = (), notes: tuple[Words, ...] = ()) -> Report:
        """A report of the catalogue with these tables."""
        title = words.TITLES[code] if code in words.TITLES else more_words.TITLES[code]
        return Report(code, title, self.subtitle, self.at, self.time_zone, (*self.facts, *facts), tables, notes)

    def party(self, party_id: int) -> Cell:
        """What a party is called."""
        return self.parties.get(party_id, str(party_id))

    def agreement(self, terms_id: int) -> Cell:
        """What a version of an agreement is called; nothing where there is none."""
        return self.agreements.get(terms_id)


def _table(code: str, columns: Sequence[Column], rows: Iterable[Row], note: Words | None = None) -> Table:
    return Table(code.lower(), more_words.TITLES[code], tuple(columns), list(rows), note)


def _amounts(*keys: str) -> list[Column]:
    return [column(key, Kind.EXACT, is_summed=True) for key in keys]


# --- R7, R8: closing = opening + movements = what the lots say -------------------------------------------------


class RollBroken(Exception):  # noqa: N818 - it is the state of the books
    """A roll-forward does not end at what the lots say. A fault of the programme: nothing is reported."""


def _rolled(code: str, rows: Iterable[tuple[int, int, str, int]]) -> list[tuple[int, int, dict[str, int]]]:
    """By funder and version: opening, a column for each way, other, closing, lots. Raises RollBroken."""
    by_key: dict[tuple[int, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    column_of = {kind: name for name, kinds in _ROLL.items() for kind in kinds}
    for funder_id, terms_id, kind, value in rows:
        name = {"OPENING": "opening", "LOTS": "lots"}.get(kind) or column_of.get(kind, "other")
        by_key[funder_id, terms_id][name] += value
    found = []
    for (funder_id, terms_id), sums in sorted(by_key.items()):
        sums["closing"] = sum(value for name, value in sums.items() if name != "lots")
        if sums["closing"] != sums["lots"]:
            raise RollBroken(f"{code}: funder {funder_id}, terms {terms_id}: {sums['closing']}, lots {sums['lots']}")
        if any(sums.values()):
            found.append((funder_id, terms_id, sums))
    return found


def points_rolled(about: About, rows: Iterable[tuple[int, int, str, int]]) -> Report:
    """R7: points that can be spent, by funder and agreement. Raises RollBroken."""
    names = ("opening", *_ROLL, "other", "closing", "lots")
    columns = [column("funder", width=2), words.column("agreement", width=2)]
    columns += [column(name, Kind.COUNT, is_summed=True) for name in names]
    shown = [
        (about.party(funder), about.agreement(terms), *(sums.get(name, 0) for name in names))
        for funder, terms, sums in _rolled("R7", rows)
    ]
    return about.report("R7", _table("R7", columns, shown, more_words.ROLLED))


def obligation_rolled(
    about: About, rows: Iterable[tuple[int, int, str, int]], balances: Mapping[tuple[str, int, int], int],
    soon: Mapping[tuple[int, int], Fraction],
) -> Report:  # fmt: skip
    """R8: the obligation at face, with the breakage expected (a contra account alone) and the deferred service part.

    balances are of the books at the run's cut by account, party and cohort, debit positive; soon is the share of a
    funder's version that is expected to be used within a year, 1 where nothing is known. Raises RollBroken.
    """
    names = ("opening", *_ROLL, "other", "closing", "lots")
    columns = [column("funder", width=2), words.column("agreement", width=2)]
    columns += _amounts(*names, "allowance", "service", "liability", "current", "non_current")
    shown = []
    for funder, terms, sums in _rolled("R8", rows):
        allowance, service = balances.get(("2105", funder, terms), 0), -balances.get(("2110", funder, terms), 0)
        liability = sums["closing"] - allowance + service
        share = soon.get((funder, terms), Fraction(1))
        current = divide_half_even(liability * share.numerator, share.denominator)
        values = [*(sums.get(name, 0) for name in names), -allowance, service, liability, current, liability - current]
        shown.append((about.party(funder), about.agreement(terms), *(decimal_from_micro(value) for value in values)))
    return about.report("R8", _table("R8", columns, shown, more_words.ROLLED), notes=(more_words.CURRENT,))


def breakage(about: About, rows: Iterable[Any]) -> Report:
    """R9: what the model expects of each month of issue, and what its latest run changed."""
    columns = [
        column("funder", width=2), words.column("agreement", width=2), column("month", Kind.DATE),
        *(column(name, Kind.COUNT, is_summed=True) for name in ("issued", "burned", "expired")),
        column("urr", Kind.PERCENT), column("prior", Kind.PERCENT), *_amounts("allowance", "effect"),
        column("model"),
    ]  # fmt: skip
    shown = [
        (about.party(r.funder_id), about.agreement(r.terms_id), r.month, r.issued, r.redeemed, r.expired,
         Decimal(r.urr_ppm).scaleb(-6), None if r.prior_ppm is None else Decimal(r.prior_ppm).scaleb(-6),
         decimal_from_micro(r.estimate_micro), decimal_from_micro(r.effect_micro), r.model)
        for r in rows
    ]  # fmt: skip
    return about.report("R9", _table("R9", columns, shown))


# --- R11, R12, R15: cover, positions, budgets ------------------------------------------------------------------


def cover(about: About, balances: Mapping[tuple[str, int, int], int]) -> Report:
    """R11: what is owed to members against what is kept for it."""
    sums: dict[str, int] = defaultdict(int)
    for (account, _, _), amount in balances.items():
        sums[account] += amount
    face, cash = -sums["2100"], sums["1120"]
    expected, collateral = face - sums["2105"], -sums["2300"] - sums["2310"]
    columns = [words.column("currency"), *_amounts("face", "expected", "cash", "collateral", "shortfall")]
    columns.append(column("coverage", Kind.PERCENT))
    ratio = None if face <= 0 else Decimal(cash * 10_000 // face).scaleb(-4)
    shown = [decimal_from_micro(value) for value in (face, expected, cash, collateral, max(0, face - cash))]
    return about.report("R11", _table("R11", columns, [(about.currency, *shown, ratio)]))


def positions(about: About, found: Iterable[Position], measured: Iterable[Exposure]) -> Report:
    """R12: what every partner would receive or pay at the report's instant, and where it stood at its cap."""
    limits = {(one.partner_id, one.currency): one for one in measured}
    columns = [words.column("partner", width=2), words.column("currency"), *_amounts("carried", "moved", "position")]
    columns += [column(name, Kind.EXACT) for name in ("pending", "withheld", "cover", "exposure", "cap")]
    columns += [column("utilisation", Kind.PERCENT), column("policy")]
    rows: list[Row] = []
    for one in found:
        limit = limits.get((one.partner_id, one.currency))
        amounts = (one.carried_micro, one.moved_micro, one.carried_micro + one.moved_micro)
        more: tuple[int | None, ...] = (None,) * 5
        if limit is not None:
            more = (limit.pending_micro, limit.withheld_micro, limit.cover_micro, limit.exposure_micro, limit.cap_micro)
        shown = [None if value is None else decimal_from_micro(value) for value in (*amounts, *more)]
        rows.append(
            (
                about.party(one.partner_id),
                one.currency,
                *shown,
                _utilisation(limit),
                None if limit is None else limit.policy,
            )
        )
    return about.report("R12", _table("R12", columns, rows))


def _utilisation(limit: Exposure | None) -> Decimal | None:
    if limit is None or not limit.cap_micro:
        return None
    return Decimal(limit.exposure_micro * 10_000 // limit.cap_micro).scaleb(-4)


def campaigns(about: About, rows: Iterable[Any]) -> Report:
    """R15: who funds which budget, and what is left of it; units of money are minor units of the currency."""
    columns = [column("budget", width=2), column("funder", width=2), column("unit"), words.column("currency")]
    columns += [column(name, Kind.COUNT) for name in ("ceiling", "used", "remaining", "reached")]
    shown = [
        (r.code, about.party(r.sponsor_id), r.unit, r.currency, r.ceiling, r.used, r.ceiling - r.used, r.reached)
        for r in rows
    ]
    return about.report("R15", _table("R15", columns, shown))


# --- R17, R18, R19: documents, the books, what came late --------------------------------------------------------


def documents(about: About, found: Iterable[Document]) -> Report:
    """R17: invoices, self-billed documents, their credit notes and acts of set-off, with their tax."""
    places = exponent(about.currency)
    columns = [
        column("number", width=2), words.column("kind", width=2), column("entity"),
        words.column("partner", width=2), column("issued_at", Kind.INSTANT, width=2), column("tax_code"),
        *(column(name, Kind.AMOUNT, places=places) for name in ("base", "tax", "gross")),
    ]  # fmt: skip
    shown = [
        (d.number, d.kind, d.entity, about.party(d.partner_id), d.issued_at, d.rule.tax_code,
         *(decimal_from_minor(amount, d.currency) for amount in (d.base_minor, d.tax_minor, d.gross_minor)))
        for d in found
    ]  # fmt: skip
    return about.report("R17", _table("R17", columns, shown))


def general_ledger(about: About, rows: Iterable[Any]) -> Report:
    """R18: the books' entries of a run summed by day, account and party; debits are credits in each currency."""
    columns = [column("source", width=2), column("day", Kind.DATE), column("account"), words.column("party", width=2)]
    columns += [column("cohort"), words.column("kind", width=2), words.column("currency")]
    columns += [*_amounts("debit", "credit"), column("entries", Kind.COUNT, is_summed=True)]
    shown = [
        (r.source, r.day, r.account, about.party(r.party_id), about.agreement(r.cohort_id), r.kind, r.currency,
         decimal_from_micro(r.debit_micro), decimal_from_micro(r.credit_micro), r.entries)
        for r in rows
    ]  # fmt: skip
    return about.report("R18", _table("R18", columns, shown))


@dataclass(frozen=True, slots=True)
class Late:
    """What came late for an earlier cut-off, by party and kind."""

    window: str
    cutoff_id: int
    origin_cutoff: int
    party_id: int
    kind: str
    points: int
    amount_micro: int


def late(about: About, found: Iterable[Late]) -> Report:
    """R19: what belonged to an earlier cut-off and is settled now."""
    columns = [words.column("window", width=3), words.column("cutoff", Kind.COUNT), column("origin", Kind.COUNT)]
    columns += [words.column("partner", width=2), words.column("kind", width=2)]
    columns += [words.column("points", Kind.COUNT, is_summed=True)]
    columns += [words.column("amount_exact", Kind.EXACT, is_summed=True)]
    shown = [
        (one.window, one.cutoff_id, one.origin_cutoff, about.party(one.party_id), words.kind_of_line(one.kind),
         one.points, decimal_from_micro(one.amount_micro))
        for one in found
    ]  # fmt: skip
    return about.report("R19", _table("R19", columns, shown))


# --- R20, R21, R22, R24 -----------------------------------------------------------------------------------------


def certificate(about: About, kept: Mapping[str, Any], controls: Sequence[str]) -> Report:
    """R20: what two engines found of a run, as it was kept with it."""
    columns = [column("control", width=2), column("population", Kind.COUNT)]
    columns += [column(name, Kind.EXACT) for name in ("by_first", "by_second", "change")] + [column("result")]
    rows: list[Row] = [
        (c["code"], c["population"], *(decimal_from_micro(value) for value in (
            c["expected_micro"], c["actual_micro"], c["actual_micro"] - c["expected_micro"])),
         "OK" if not c["differences"] else "; ".join(c["differences"]))
        for c in kept["checks"]
    ]  # fmt: skip
    rows += [(code, None, None, None, None, "OK") for code in controls]
    facts = (
        Fact("certificate", more_words.COLUMNS["certificate"], kept["sha256"]),
        Fact("engines", more_words.COLUMNS["engines"], f"{kept['engine_a']}; {kept['engine_b']}"),
    )
    return about.report("R20", _table("R20", columns, rows), facts=facts)


def balance_of_redemption(about: About, pairs: Iterable[Bilateral], before: Iterable[Bilateral]) -> Report:
    """R21: a partner's points taken elsewhere against others' points taken at it, and how that was a run before."""
    columns = [words.column("partner", width=2)]
    columns += [column(name, Kind.COUNT, is_summed=True) for name in ("own_elsewhere", "others_here")]
    columns += [column(name, Kind.PERCENT) for name in ("ratio", "ratio_before")]
    now, old = _taken(pairs), _taken(before)
    rows: list[Row] = [
        (about.party(party), *now.get(party, (0, 0)), _ratio(now.get(party)), _ratio(old.get(party)))
        for party in sorted(now)
        if party != OPERATOR
    ]
    return about.report("R21", _table("R21", columns, rows))


def _taken(pairs: Iterable[Bilateral]) -> dict[int, tuple[int, int]]:
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for pair in pairs:
        if pair.issuer_id != pair.redeemer_id:
            sums[pair.issuer_id][0] += pair.points
            sums[pair.redeemer_id][1] += pair.points
    return {party: (total[0], total[1]) for party, total in sums.items()}


def _ratio(taken: tuple[int, int] | None) -> Decimal | None:
    if taken is None or not taken[1]:
        return None
    return Decimal(taken[0] * 10_000 // taken[1]).scaleb(-4)


def bridge(about: About, parts: Sequence[Part], *, before_micro: int, now_micro: int) -> Report:
    """R22: from the previous net to this one: the steps, and under them what each is made of, kind by kind.

    Raises RollBroken where the steps are not the change.
    """
    if before_micro + sum(part.amount_micro for part in parts) != now_micro:
        raise RollBroken("R22: the steps do not lead from the previous net to this one")
    sums = {step: sum(part.amount_micro for part in parts if part.step == step) for step in STEPS}
    steps = [("PREVIOUS", before_micro), *sums.items(), ("CURRENT", now_micro)]
    shown = [(more_words.step(name), decimal_from_micro(amount)) for name, amount in steps]
    columns = (column("step", width=3), words.column("amount_exact", Kind.EXACT))
    own = (column("step", width=2), words.column("kind", width=2), *_amounts("before", "now", "change"))
    detail: list[Row] = [
        (more_words.step(part.step), words.kind_of_line(part.kind),
         *(decimal_from_micro(value) for value in (part.before_micro, part.now_micro, part.amount_micro)))
        for part in parts
    ]  # fmt: skip
    drilled = Table("parts", words.TITLES["lines"], own, detail, words.SIGNS)
    return about.report("R22", _table("R22", columns, shown), drilled)


def audit_trail(about: About, rows: Iterable[Any]) -> Report:
    """R24: who did what, in order, each entry chained to the one before."""
    columns = [words.column("line_no", Kind.COUNT), words.column("at", Kind.INSTANT, width=2), column("actor")]
    columns += [column("action", width=2), column("subject", width=2), column("reason", width=2)]
    columns += [column("detail", width=3), column("hash_before", width=3), column("hash_after", width=3)]
    shown = [
        (r.entry_id, r.at, r.actor, r.action, r.subject, r.reason, r.detail, bytes(r.hash_before).hex(),
         bytes(r.hash_after).hex())
        for r in rows
    ]  # fmt: skip
    return about.report("R24", _table("R24", columns, shown), notes=(more_words.CHAINED,))
