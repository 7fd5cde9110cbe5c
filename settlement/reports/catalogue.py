"""The catalogue: which reports there are, who may have them, what each needs, and how it becomes a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.reports import csv_files, documents, workbooks
from kit.reports.tables import LANGUAGES, LongTable, Report, Row, Table, Words
from members.subscription import sellers
from members.subscription.sellers import SellerUnknown
from partners.agreements import programme
from partners.clearing import clearing
from settlement import archive, breakage, rating, states
from settlement import what_if as what_ifs
from settlement.archive import Run, Statement
from settlement.bank import paying, payment_store
from settlement.documents import register
from settlement.exposure import limits
from settlement.packages import seal_store
from settlement.rating import OPERATOR
from settlement.reconciliation import breaks, comparing, disputes, measuring
from settlement.reconciliation import register as break_register
from settlement.reports import (
    bridge,
    more_words,
    of_books,
    of_documents,
    of_fees,
    of_forecasts,
    of_reconciliation,
    of_runs,
    store,
    words,
)
from settlement.reports.of_books import About, Late
from settlement.windows import cycle, shares, standing

FORMATS: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
MOST_ENTRIES = 50_000  # of the audit trail in one report


class ReportUnknown(Rejection):
    """There is no such report, or not for whoever asks."""

    code = "REPORT_UNKNOWN"
    retryable = False


class ReportIncomplete(Rejection):
    """The report needs to be told more: a run, a partner, or a language and format that there are."""

    code = "REPORT_INCOMPLETE"
    retryable = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. partner_id is whose statement; id_key its key for ids of members, for R2 alone; as_of a past
    instant that R12 tells of, None: now. changes: the prices that R23 asks about, by name."""

    run_id: int | None
    partner_id: int | None
    at: datetime
    id_key: bytes | None = None
    as_of: datetime | None = None
    changes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """A report that was made, and the long table with which it is streamed, if it has one."""

    report: Report
    long: LongTable | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    about: About
    run: Run | None
    statement: Statement | None
    wanted: Wanted

    def its_run(self) -> Run:
        assert self.run is not None, "asked for before"
        return self.run

    def its_statement(self) -> Statement:
        assert self.statement is not None, "asked for before"
        return self.statement


_Make = Callable[[AsyncConnection, _Told], Awaitable[Made]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A report of the catalogue. is_of_partner: it is about one statement, and its partner may have it."""

    code: str
    title: Words
    needs_run: bool
    is_of_partner: bool
    make: _Make


def entry(code: str, *, is_partner: bool = False) -> Entry:
    """An entry of the catalogue; to a partner only those about its own statement exist. Rejects REPORT_UNKNOWN."""
    found = CATALOGUE.get(code)
    if found is None or (is_partner and not found.is_of_partner):
        raise ReportUnknown(f"there is no report {code}")
    return found


async def make(connection: AsyncConnection, code: str, wanted: Wanted, *, is_partner: bool = False) -> Made:
    """A report. For a partner (is_partner) wanted.partner_id is the caller itself, and only what was issued exists.

    Needs a transaction that lasts as long as a long table is read. Rejects REPORT_UNKNOWN, REPORT_INCOMPLETE,
    RUN_UNKNOWN. Raises of_books.RollBroken.
    """
    its = entry(code, is_partner=is_partner)
    if its.needs_run and wanted.run_id is None:
        raise ReportIncomplete(f"{code} is about a run: name it")
    if its.is_of_partner and code in _STATEMENTS and wanted.partner_id is None:
        raise ReportIncomplete(f"{code} is about a statement: name its partner")
    run = None if wanted.run_id is None else await archive.run(connection, wanted.run_id)
    if run is not None and is_partner and run.head.state not in states.ISSUED:
        raise ReportUnknown(f"there is no report {code} of run {wanted.run_id}")
    statement = None
    if run is not None and wanted.partner_id is not None:
        statement = next((s for s in run.statements if s.partner_id == wanted.partner_id), None)
    if code in _STATEMENTS and statement is None:
        raise ReportUnknown(f"there is no statement of this partner in run {wanted.run_id}")
    return await its.make(connection, _Told(await _about(connection, run, wanted), run, statement, wanted))


async def document(connection: AsyncConnection, number: str, wanted: Wanted, *, is_partner: bool = False) -> Report:
    """One document of a run by its number, as it is printed; wanted names the run and, as numbers of self-billed ones
    are a partner's own, the partner. For a partner only what was issued exists.

    Rejects REPORT_UNKNOWN, REPORT_INCOMPLETE, RUN_UNKNOWN.
    """
    if wanted.run_id is None or wanted.partner_id is None:
        raise ReportIncomplete("a document is of a run and a partner: name them")
    run = await archive.run(connection, wanted.run_id)
    every = await register.documents(connection, run_id=wanted.run_id, partner_id=wanted.partner_id)
    its = next((one for one in every if one.number == number), None)
    if its is None or (is_partner and run.head.state not in states.ISSUED):
        raise ReportUnknown(f"there is no document {number} of this partner in run {wanted.run_id}")
    about = await _about(connection, run, wanted)
    try:
        seller = await sellers.at_issue(connection, its.issued_at)
    except SellerUnknown:  # the programme's name stands for the operator
        return of_documents.document(about, its, operator=str(about.party(OPERATOR)))
    return of_documents.document(about, its, operator=seller.name, address=seller.address, tax_id=seller.tax_id)


async def write(made: Made, path: Path, *, format: str, language: str) -> int:
    """Write a report to a file; how many rows of its long table went out, 0 where it has none.

    A long table is streamed as CSV and as a workbook; a PDF holds only so many rows. Of several tables CSV has the
    first. Rejects REPORT_INCOMPLETE, REPORT_TOO_LONG.
    """
    if format not in FORMATS or language not in LANGUAGES:
        raise ReportIncomplete("a report is csv, xlsx or pdf, in en, ru or ro")
    if made.long is None:
        await asyncio.to_thread(_render_to, path, made.report, format, language)
        return 0
    if format == "xlsx":
        return await workbooks.write_long(made.report, made.long, str(path), language=language)
    if format == "pdf":
        whole = await _whole(made.report, made.long)
        await asyncio.to_thread(_render_to, path, whole, format, language)
        return len(whole.tables[-1].rows)
    counted = _Counted(made.long)
    with path.open("wb") as file:
        async for block in csv_files.stream(counted.table):
            file.write(block)
    return counted.rows


def rendered(report: Report, format: str, language: str) -> bytes:
    """A report's file. Takes the processor: call it in a thread."""
    if format == "csv":
        return csv_files.render(report.tables[0]).encode()
    if format == "xlsx":
        return workbooks.render(report, language=language)
    return documents.render(report, language=language)


def _render_to(path: Path, report: Report, format: str, language: str) -> None:
    path.write_bytes(rendered(report, format, language))


class _Counted:
    """A long table whose rows are counted as they pass."""

    def __init__(self, table: LongTable) -> None:
        self.rows = 0
        self.table = LongTable(table.key, table.title, table.columns, self._passing(table))

    async def _passing(self, table: LongTable) -> AsyncIterator[Row]:
        async for row in table.rows:
            self.rows += 1
            yield row


async def _whole(report: Report, table: LongTable) -> Report:
    rows: list[Row] = []
    async for row in table.rows:
        rows.append(row)
        if len(rows) > documents.MOST_ROWS:
            break  # the PDF refuses it, however many more there are
    held = Table(table.key, table.title, table.columns, rows)
    return Report(
        report.code, report.title, report.subtitle, report.at, report.time_zone, report.facts, (*report.tables, held)
    )


async def _about(connection: AsyncConnection, run: Run | None, wanted: Wanted) -> About:
    rules = await programme.read(connection)
    named = await clearing.names(connection)
    parties = {OPERATOR: rules.name} | {n: one.name for n, one in named.items()}
    signed = {
        terms.terms_id: f"{named[terms.partner_id].code}/{terms.version}"
        for terms, _ in await clearing.signed(connection)
    }
    if run is None:
        return About(rules.name, wanted.as_of or wanted.at, rules.time_zone, rules.base_currency, (), parties, signed)
    subtitle = rules.name if wanted.partner_id is None else str(parties.get(wanted.partner_id, ""))
    facts = of_runs.run_facts(run.head)
    return About(subtitle, run.head.at, rules.time_zone, run.head.currency, facts, parties, signed)


# --- How each is made -----------------------------------------------------------------------------------------


async def _statement(connection: AsyncConnection, told: _Told) -> Made:
    its, run, about = told.its_statement(), told.its_run(), told.about
    return Made(
        of_runs.statement(
            its, run.head, party=str(about.party(its.partner_id)), agreements=about.agreements,
            time_zone=about.time_zone,
        )
    )  # fmt: skip


async def _detail(connection: AsyncConnection, told: _Told) -> Made:
    if told.wanted.id_key is None:
        raise ReportIncomplete("R2 is about a partner's statement: name the partner")
    movements = archive.detail(connection, told.its_statement(), id_key=told.wanted.id_key)
    return Made(told.about.report("R2"), of_runs.detail(movements))


async def _net(connection: AsyncConnection, told: _Told) -> Made:
    names = {n: str(told.about.party(n)) for n in told.about.parties}
    return Made(of_runs.net(told.its_run(), names=names, time_zone=told.about.time_zone))


async def _bilateral(connection: AsyncConnection, told: _Told) -> Made:
    run = told.its_run()
    names = {n: str(name) for n, name in told.about.parties.items() if n != OPERATOR}
    pairs = await archive.bilateral(connection, run.head.run_id)
    return Made(of_runs.bilateral(pairs, run.head, names=names, time_zone=told.about.time_zone))


async def _points(connection: AsyncConnection, told: _Told) -> Made:
    run = told.its_run()
    first, last = run.cutoff_ids[0], run.cutoff_ids[-1]
    rows = await store.stock_rolled(connection, currency=run.head.currency, first=first, last=last)
    return Made(of_books.points_rolled(told.about, [(r.funder_id, r.terms_id, r.kind, r.points) for r in rows]))


async def _balances(connection: AsyncConnection, run: Run) -> dict[tuple[str, int, int], int]:
    rows = await store.balances_at(connection, currency=run.head.currency, at=run.head.at)
    return {(row.account, row.party_id, row.cohort_id): row.amount_micro for row in rows}


async def _obligation(connection: AsyncConnection, told: _Told) -> Made:
    run = told.its_run()
    rows = await store.obligation_rolled(
        connection, currency=run.head.currency, run_id=run.head.run_id, last=run.cutoff_ids[-1]
    )
    balances = await _balances(connection, run)
    moved = [(r.funder_id, r.terms_id, r.kind, r.amount_micro) for r in rows]
    soon = breakage.current_shares(await breakage.cohorts(connection, as_of=run.head.at))
    return Made(of_books.obligation_rolled(told.about, moved, balances, soon))


async def _breakage(connection: AsyncConnection, told: _Told) -> Made:
    return Made(of_books.breakage(told.about, await store.estimates(connection, currency=told.about.currency)))


async def _cover(connection: AsyncConnection, told: _Told) -> Made:
    return Made(of_books.cover(told.about, await _balances(connection, told.its_run())))


async def _positions(connection: AsyncConnection, told: _Told) -> Made:
    as_of = told.wanted.as_of
    if as_of is None:
        return Made(of_books.positions(told.about, await standing.now(connection), await limits.last(connection)))
    found, measured = await standing.as_of(connection, at=as_of), await limits.last_by(connection, at=as_of)
    return Made(of_books.positions(told.about, found, measured))


async def _campaigns(connection: AsyncConnection, told: _Told) -> Made:
    return Made(of_books.campaigns(told.about, await store.budgets(connection, sponsor_id=told.wanted.partner_id)))


async def _fees(connection: AsyncConnection, told: _Told) -> Made:
    stated = await archive.stated_cutoffs(connection, told.its_run().head)
    return Made(await of_fees.fees(connection, told.about, stated, partner_id=told.wanted.partner_id))


async def _documents(connection: AsyncConnection, told: _Told) -> Made:
    found = await register.documents(connection, run_id=told.its_run().head.run_id, partner_id=told.wanted.partner_id)
    return Made(of_books.documents(told.about, found))


async def _general_ledger(connection: AsyncConnection, told: _Told) -> Made:
    return Made(of_books.general_ledger(told.about, await store.general_ledger(connection, told.its_run().head.run_id)))


async def _late(connection: AsyncConnection, told: _Told) -> Made:
    found = []
    for window in told.its_run().windows:
        if window.is_late:
            moved = await cycle.moved_of(connection, [window])
            terms = await clearing.agreed_terms(connection, shares.terms_ids(moved))
            kept = await archive.material_of(connection, [window])
            stocks = kept.stocks.get(window.cutoff_id, rating.NO_STOCKS)
            found += [
                Late(window.name, window.cutoff_id, window.origin_cutoff, line.party_id, line.kind, line.points,
                     line.amount_micro)
                for line in rating.rate(shares.groups(moved), terms, stocks)
                if line.currency == window.currency
            ]  # fmt: skip
    return Made(of_books.late(told.about, found))


async def _certificate(connection: AsyncConnection, told: _Told) -> Made:
    for step in await archive.trail(connection, told.its_run().head.run_id):
        if step.to_state == states.CONTROLLED and "certificate" in step.evidence:
            kept, controls = step.evidence["certificate"], step.evidence["controls"]
            return Made(of_books.certificate(told.about, kept, controls))
    raise ReportUnknown("the run was not controlled yet: there is no certificate")


async def _balance(connection: AsyncConnection, told: _Told) -> Made:
    head = told.its_run().head
    now = await archive.bilateral(connection, head.run_id)
    before = [] if head.previous_run_id is None else await archive.bilateral(connection, head.previous_run_id)
    return Made(of_books.balance_of_redemption(told.about, now, before))


async def _bridge(connection: AsyncConnection, told: _Told) -> Made:
    its = told.its_statement()
    row = await seal_store.previous_statement(connection, its.statement_id)
    before = None
    if row is not None:
        earlier = (await archive.run(connection, row.run_id)).statements
        before = next(s for s in earlier if s.statement_id == row.statement_id)
    families = {terms.terms_id: terms.partner_id for terms, _ in await clearing.signed(connection)}
    parts = bridge.parts(None if before is None else before.draft(), its.draft(), families)
    was = 0 if before is None else before.net_micro
    return Made(of_books.bridge(told.about, parts, before_micro=was, now_micro=its.net_micro))


async def _trail(connection: AsyncConnection, told: _Told) -> Made:
    rows = await store.trail(connection, run_id=told.wanted.run_id, limit=MOST_ENTRIES)
    return Made(of_books.audit_trail(told.about, rows))


async def _payment_files(connection: AsyncConnection, told: _Told) -> Made:
    return Made(
        of_reconciliation.payment_files(told.about, await payment_store.register(connection, told.wanted.run_id))
    )


async def _result(connection: AsyncConnection, told: _Told) -> Made:
    legs = await paying.of_run(connection, told.its_run().head.run_id)
    partner_id = told.wanted.partner_id
    return Made(
        of_reconciliation.settlement_result(told.about, [g for g in legs if partner_id in (None, g.partner_id)])
    )


async def _breaks(connection: AsyncConnection, told: _Told) -> Made:
    zone = told.about.time_zone
    found = await break_register.page(
        connection, partner_id=told.wanted.partner_id, states=break_register.UNRESOLVED, limit=MOST_ENTRIES
    )
    days = await break_register.days_open(connection, found, on=breaks.local_day(told.wanted.at, zone), zone=zone)
    rates = await comparing.rates(connection, partner_id=told.wanted.partner_id)
    return Made(of_reconciliation.open_breaks(told.about, found, days, rates))


async def _disputed(connection: AsyncConnection, told: _Told) -> Made:
    found = await disputes.page(
        connection, partner_id=told.wanted.partner_id, run_id=told.wanted.run_id, limit=MOST_ENTRIES
    )
    return Made(of_reconciliation.disputed(told.about, found))


async def _measured(connection: AsyncConnection, told: _Told) -> Made:
    found = await measuring.figures(connection, partner_id=told.wanted.partner_id, at=told.wanted.at)
    return Made(of_reconciliation.measured(told.about, found))


async def _expiry(connection: AsyncConnection, told: _Told) -> Made:
    about = told.about
    rows = await store.lots_by_expiry(connection, currency=about.currency, time_zone=about.time_zone)
    cohorts = [one for one in await breakage.cohorts(connection, as_of=told.wanted.at) if one.issued > 0]
    shares = of_forecasts.shares_left(cohorts, breakage.ultimate_rates(cohorts))
    return Made(of_forecasts.expiry_forecast(about, rows, shares))


async def _what_if(connection: AsyncConnection, told: _Told) -> Made:
    changes, partner_id = told.wanted.changes, told.wanted.partner_id
    if partner_id is None or not changes:
        raise ReportIncomplete("R23 is about a partner and other prices: name both")
    found = await what_ifs.explain(connection, told.its_run().head.run_id, partner_id, changes)
    return Made(of_forecasts.what_if(told.about, partner_id, changes, found))


_STATEMENTS = frozenset({"R1", "R2", "R22"})
_ALL: tuple[tuple[str, bool, bool, _Make], ...] = (
    ("R1", True, True, _statement), ("R2", True, True, _detail), ("R3", True, False, _net),
    ("R4", True, False, _bilateral), ("R5", False, False, _payment_files), ("R6", True, True, _result),
    ("R13", False, True, _breaks), ("R14", False, True, _disputed),
    ("R7", True, False, _points), ("R8", True, False, _obligation),
    ("R9", False, False, _breakage), ("R11", True, False, _cover), ("R12", False, False, _positions),
    ("R15", False, True, _campaigns), ("R16", True, True, _fees),
    ("R17", True, True, _documents), ("R18", True, False, _general_ledger),
    ("R19", True, False, _late), ("R20", True, False, _certificate), ("R21", True, False, _balance),
    ("R22", True, True, _bridge), ("R23", True, False, _what_if), ("R24", False, False, _trail),
    ("R10", False, False, _expiry), ("R25", False, True, _measured),
)  # fmt: skip
CATALOGUE: Mapping[str, Entry] = {
    code: Entry(code, words.TITLES[code] if code in words.TITLES else more_words.TITLES[code], needs_run, is_own, made)
    for code, needs_run, is_own, made in _ALL
}
