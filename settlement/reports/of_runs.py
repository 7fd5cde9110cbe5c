"""The reports of one run: R1 the statement, R2 what it is made of, R3 everybody's net, R4 who honoured whom."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from decimal import Decimal

from kit.amounts import decimal_from_minor, exponent
from kit.reports.tables import Column, Fact, Kind, LongTable, Report, Row, Table, Term
from settlement.archive import Run, RunHead, Statement
from settlement.netting import Bilateral
from settlement.rating import OPERATOR
from settlement.reports import words
from settlement.reports.words import column, fact, kind_of_line
from settlement.statements import Detail, Line, decimal_from_micro

RETAINED = frozenset({"HOLDBACK", "HOLDBACK_RELEASED", "CARRIED_OUT", "ROUNDING"})
_DIRECTIONS = {
    "PAY_IN": Term("PAY_IN", {"en": "pays the operator", "ru": "платит оператору", "ro": "plătește operatorului"}),
    "PAY_OUT": Term("PAY_OUT", {"en": "is paid", "ru": "получает", "ro": "primește"}),
}
_OPERATOR = Term("operator", {"en": "The operator", "ru": "Оператор", "ro": "Operatorul"})

DETAIL_COLUMNS = (
    column("cutoff", Kind.COUNT),
    column("kind", width=2),
    column("at", Kind.INSTANT, width=2),
    column("business_date", Kind.DATE),
    column("outlet"),
    column("reference", width=2),
    column("member", width=2),
    column("points", Kind.COUNT, is_summed=True),
    column("unit_price", Kind.EXACT),
    column("amount_exact", Kind.EXACT, is_summed=True),
)


def statement(its: Statement, head: RunHead, *, party: str, agreements: Mapping[int, str], time_zone: str) -> Report:
    """R1: a statement as its party reads it. agreements names versions by terms_id; party is its name."""
    places = exponent(its.currency)
    columns = (
        column("line_no", Kind.COUNT),
        column("kind", width=3),
        column("agreement"),
        column("points", Kind.COUNT),
        column("postings", Kind.COUNT),
        column("unit_price", Kind.EXACT),
        column("amount_exact", Kind.EXACT, is_summed=True),
        column("amount", Kind.AMOUNT, places=places, is_summed=True),
    )
    rows: list[Row] = [
        (0, kind_of_line("OPENING"), None, None, None, None, *_both(its.opening_micro, its.opening_minor, its.currency))
    ]
    rows += [_line(line, its.currency, agreements) for line in its.lines]
    lines = Table("lines", words.TITLES["lines"], columns, rows, words.SIGNS)
    return Report(
        code="R1",
        title=words.TITLES["R1"],
        subtitle=party,
        at=its.at,
        time_zone=time_zone,
        facts=(
            *run_facts(head),
            fact("statement", its.statement_id, Kind.COUNT),
            fact("net", decimal_from_minor(its.net_minor, its.currency), Kind.AMOUNT, places=places),
        ),
        tables=(lines,),
    )


def detail(movements: AsyncIterable[Detail]) -> LongTable:
    """R2: the movements behind a statement, one after another; they sum to its priced lines."""
    return LongTable("detail", words.TITLES["detail"], DETAIL_COLUMNS, _detail_rows(movements))


def net(run: Run, *, names: Mapping[int, str], time_zone: str) -> Report:
    """R3: what everybody receives and pays in a run; the nets sum to zero."""
    places = exponent(run.head.currency)
    amounts = [
        Column(key, words.COLUMNS[key], Kind.AMOUNT, places, True)
        for key in ("opening", "receives", "pays", "adjustments", "net")
    ]
    columns = (column("party", width=2), *amounts, column("direction"))
    directions = {p.partner_id: _DIRECTIONS[p.direction] for p in run.instructions}
    rows = [_net_row(one, names, directions) for one in run.statements]
    positions = Table("positions", words.TITLES["positions"], columns, rows, words.SIGNS)
    return Report("R3", words.TITLES["R3"], run.head.name, run.head.at, time_zone, run_facts(run.head), (positions,))


def bilateral(pairs: Sequence[Bilateral], head: RunHead, *, names: Mapping[int, str], time_zone: str) -> Report:
    """R4: whose points were honoured where. A memo: nobody owes another anything."""
    columns = (
        column("issuer", width=2),
        column("redeemer", width=2),
        column("points", Kind.COUNT, is_summed=True),
        column("currency"),
        column("fund_value", Kind.EXACT, is_summed=True),
        column("reimbursement", Kind.EXACT, is_summed=True),
        column("spread", Kind.EXACT),
    )
    own = [pair for pair in pairs if head.currency in (pair.currency, pair.fund_currency)]
    rows = [_pair_row(pair, names) for pair in own]
    table = Table("pairs", words.TITLES["pairs"], columns, rows, words.NO_DEBT)
    return Report("R4", words.TITLES["R4"], head.name, head.at, time_zone, run_facts(head), (table,))


def run_facts(head: RunHead) -> tuple[Fact, ...]:
    """What the head of every report about a run says."""
    return (
        fact("run", head.run_id, Kind.COUNT),
        fact("window", head.name),
        fact("currency", head.currency),
        fact("state", words.state(head.state)),
        Fact("opened_at", {"en": "From", "ru": "С", "ro": "De la"}, head.opened_at, Kind.INSTANT),
        Fact("cut_at", {"en": "Until", "ru": "До", "ro": "Până la"}, head.cut_at, Kind.INSTANT),
    )


def _line(line: Line, currency: str, agreements: Mapping[int, str]) -> Row:
    is_priced = line.terms_id is not None and line.unit_price_micro > 0
    return (
        line.line_no,
        kind_of_line(line.kind),
        None if line.terms_id is None else agreements.get(line.terms_id),
        line.points if line.points else None,
        line.postings if line.postings else None,
        decimal_from_micro(line.unit_price_micro) if is_priced else None,
        *_both(line.amount_micro, line.amount_minor, currency),
    )


def _both(amount_micro: int, amount_minor: int, currency: str) -> tuple[Decimal, Decimal]:
    return decimal_from_micro(amount_micro), decimal_from_minor(amount_minor, currency)


async def _detail_rows(movements: AsyncIterable[Detail]) -> AsyncIterator[Row]:
    async for one in movements:
        yield (
            one.cutoff_id,
            kind_of_line(one.kind),
            one.at,
            one.business_date,
            one.outlet,
            one.reference,
            one.member,
            one.points,
            decimal_from_micro(one.unit_price_micro),
            decimal_from_micro(one.amount_micro),
        )


def _net_row(its: Statement, names: Mapping[int, str], directions: Mapping[int, Term]) -> Row:
    own = [line for line in its.lines if line.kind not in RETAINED]
    sums = (
        its.opening_minor,
        sum(line.amount_minor for line in own if line.amount_minor > 0),
        sum(line.amount_minor for line in own if line.amount_minor < 0),
        sum(line.amount_minor for line in its.lines if line.kind in RETAINED),
        its.net_minor,
    )
    party = _OPERATOR if its.partner_id == OPERATOR else names[its.partner_id]
    shown = [decimal_from_minor(amount, its.currency) for amount in sums]
    return (party, *shown, directions.get(its.partner_id))


def _pair_row(pair: Bilateral, names: Mapping[int, str]) -> Row:
    is_one_currency = pair.fund_currency == pair.currency
    return (
        names.get(pair.issuer_id, _OPERATOR),
        names.get(pair.redeemer_id, _OPERATOR),
        pair.points,
        pair.currency,
        decimal_from_micro(pair.fund_micro),
        decimal_from_micro(pair.reimbursement_micro),
        decimal_from_micro(pair.fund_micro - pair.reimbursement_micro) if is_one_currency else None,
    )
