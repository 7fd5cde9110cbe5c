"""Runs as they were written: read, listed, redrawn. What their use cases do to them is in settlement.runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import secrets
from kit.errors import Rejection
from partners.clearing import clearing
from partners.clearing.clearing import ClearingEvent, Owed
from partners.terms import Terms
from settlement import calculation, netting, rating, statements, store
from settlement.calculation import Agreed, Material
from settlement.money import events, fees, owed, stock
from settlement.netting import Bilateral, Instruction
from settlement.rating import ClearingGroup, RatedLine
from settlement.statements import Detail, Draft, Line, Source
from settlement.windows import cycle, shares
from settlement.windows.cycle import Window

_NOTHING = Agreed({})


class RunUnknown(Rejection):
    """There is no settlement run of this number."""

    code = "RUN_UNKNOWN"
    retryable = False


@dataclass(frozen=True, slots=True)
class Statement:
    """What one party receives (positive) or pays (negative) for a run in one currency; partner 0 is the operator.

    opened_at to cut_at is the time of its cut-offs, at the business instant of the run. lines are empty where a
    listing left them out.
    """

    statement_id: int
    run_id: int
    partner_id: int
    currency: str
    opening_micro: int
    opening_minor: int
    net_micro: int
    net_minor: int
    at: datetime
    opened_at: datetime | None
    cut_at: datetime
    lines: tuple[Line, ...] = ()

    def draft(self) -> Draft:
        """The same as it was drawn, for what is rendered from it."""
        return Draft(
            party_id=self.partner_id,
            currency=self.currency,
            opening_micro=self.opening_micro,
            opening_minor=self.opening_minor,
            net_micro=self.net_micro,
            net_minor=self.net_minor,
            lines=self.lines,
        )


@dataclass(frozen=True, slots=True)
class RunHead:
    """A run without what it decided: one model, one currency. name is that of its last window, and its version.

    state is where it is on its way. opened_at is None where its first cut-off was the very first.
    """

    run_id: int
    name: str
    model: str
    currency: str
    version: int
    actor: str
    at: datetime
    through_cutoff: int
    opened_at: datetime | None
    cut_at: datetime
    previous_run_id: int | None
    state: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run's way: who, why, when; what it was decided on, what it wrote, and what speaks for it."""

    step_no: int
    from_state: str | None
    to_state: str
    actor: str
    reason: str
    at: datetime
    input_hash: bytes | None
    output_hash: bytes | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its cut-offs, windows, statements (the operator's first) and payments."""

    head: RunHead
    cutoff_ids: tuple[int, ...]
    windows: tuple[Window, ...]
    statements: tuple[Statement, ...]
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Obligation:
    """What the operator must keep at face for one funder's points under one agreement version (funder 0: its own)."""

    funder_id: int
    terms_id: int
    currency: str
    points: int
    amount_micro: int


async def runs(connection: AsyncConnection, *, currency: str | None = None) -> list[RunHead]:
    """All runs, or those of a currency, the latest first."""
    return [RunHead(**row._mapping) for row in await store.runs(connection, currency=currency)]


async def head(connection: AsyncConnection, run_id: int) -> RunHead:
    """One run without what it decided. Rejects RUN_UNKNOWN."""
    row = await store.run(connection, run_id)
    if row is None:
        raise RunUnknown(f"there is no settlement run {run_id}")
    return RunHead(**row._mapping)


async def trail(connection: AsyncConnection, run_id: int) -> list[Step]:
    """How a run got where it is."""
    return [Step(**row._mapping) for row in await store.run_steps(connection, run_id)]


async def run(connection: AsyncConnection, run_id: int) -> Run:
    """One run with everything it decided. Rejects: RUN_UNKNOWN."""
    its_head = await head(connection, run_id)
    found = [Statement(**r._mapping) for r in await store.statements_of_run(connection, run_id)]
    return Run(
        head=its_head,
        cutoff_ids=tuple(await store.run_cutoff_ids(connection, run_id)),
        windows=tuple(await cycle.windows(connection, run_id=run_id)),
        statements=tuple(await _with_lines(connection, found)),
        instructions=tuple(Instruction(**r._mapping) for r in await store.instructions(connection, run_id)),
    )


async def statement(connection: AsyncConnection, statement_id: int, *, partner_id: int | None) -> Statement | None:
    """A statement with its lines; None where it does not exist or is not this partner's. None may see every one."""
    row = await store.statement(connection, statement_id, partner_id=partner_id)
    return None if row is None else (await _with_lines(connection, [Statement(**row._mapping)]))[0]


async def statements_page(
    connection: AsyncConnection, *, partner_id: int | None, before: int | None, limit: int, run_id: int | None = None
) -> list[Statement]:
    """Statements without lines, the latest first: a partner's own, or everybody's where partner_id is None; those of
    one run where it is named.

    before is the number of the last one seen.
    """
    rows = await store.statements_page(connection, partner_id=partner_id, before=before, limit=limit, run_id=run_id)
    return [Statement(**row._mapping) for row in rows]


async def lines_page(
    connection: AsyncConnection, statement_ids: Sequence[int], *, after: int, limit: int
) -> dict[int, list[Line]]:
    """Lines of statements behind a line number, in order, at most `limit` of each.

    Whose statements they are has been asked before.
    """
    found: dict[int, list[Line]] = {statement_id: [] for statement_id in statement_ids}
    for row in await store.lines_page(connection, statement_ids, after=after, limit=limit):
        found[row.statement_id].append(_line(row))
    return found


async def detail(connection: AsyncConnection, statement: Statement, *, id_key: bytes) -> AsyncIterator[Detail]:
    """The postings behind a partner's statement, as that partner may see them; they sum to its priced lines.

    id_key is the partner's 64-byte key for ids of members. Needs a connection in a transaction: they are streamed.
    """
    cutoff_ids = await store.run_cutoff_ids(connection, statement.run_id)
    terms = {version.terms_id: version for version, _ in await clearing.signed(connection)}
    stocks = {cutoff_id: await stock.as_of(connection, cutoff_id) for cutoff_id in cutoff_ids}
    carried = {key for found in stocks.values() for key, one in found.items() if one.carrier_id == statement.partner_id}
    moved = clearing.events(connection, partner_id=statement.partner_id, cutoff_ids=cutoff_ids, carried=sorted(carried))
    async for event in moved:
        for line in rating.rate([_group(event)], terms, stocks[event.cutoff_id]):
            if (line.party_id, line.currency) == (statement.partner_id, statement.currency):
                yield _detail(event, line, id_key)
    stated = await stated_cutoffs(connection, await head(connection, statement.run_id))
    facts = clearing.owed(connection, partner_id=statement.partner_id, currency=statement.currency, cutoff_ids=stated)
    async for fact in facts:
        yield _owed_detail(fact, statement.partner_id, id_key)
    for one in await fees.details(
        connection, partner_id=statement.partner_id, currency=statement.currency, cutoff_ids=stated
    ):
        yield one


async def stated_cutoffs(connection: AsyncConnection, its: RunHead) -> list[int]:
    """Cut-offs whose money without points a run states: those behind the run before, also where nothing but money
    moved in them and nobody claimed their windows."""
    before = 0
    if its.previous_run_id is not None:
        before = (await head(connection, its.previous_run_id)).through_cutoff
    return list(range(before + 1, its.through_cutoff + 1))


async def clearing_groups(connection: AsyncConnection, run_id: int | None = None) -> list[ClearingGroup]:
    """What a run rated, as it was; of all runs together where none is named."""
    return [ClearingGroup(**row._mapping) for row in await store.clearing_groups(connection, run_id)]


async def bilateral(connection: AsyncConnection, run_id: int | None = None) -> list[Bilateral]:
    """Who honoured whose points, of a run or of all of them. A report, never debts."""
    groups = await clearing_groups(connection, run_id)
    return netting.bilateral(groups, await _terms(connection, groups))


async def material(connection: AsyncConnection, run_id: int) -> Material | None:
    """What a run was decided on, read again; None for one that was settled before that was kept."""
    kept = next((s.evidence for s in await trail(connection, run_id) if s.to_state == "CALCULATED"), {})
    if not kept:
        return None
    own = await cycle.windows(connection, run_id=run_id)
    return await material_of(connection, own, calculation.thawed(kept)) if own else None


async def material_of(connection: AsyncConnection, own: Sequence[Window], agreed: Agreed = _NOTHING) -> Material:
    """What a run of these windows, of one currency, is decided on where this was agreed."""
    moved = await cycle.moved_of(connection, own)
    return Material(
        currency=own[0].currency,
        windows=tuple(window.name for window in own),
        moved=tuple(moved),
        terms=await clearing.agreed_terms(connection, shares.terms_ids(moved)),
        events=agreed.events,
        stocks={n: found for n in sorted({w.cutoff_id for w in own}) if (found := await stock.as_of(connection, n))},
        brought=agreed.brought,
        handed_over=agreed.handed_over,
    )


async def redraw(connection: AsyncConnection, run_id: int) -> list[Draft]:
    """The statements of a run once more, from what it was decided on and the agreement versions of then."""
    kept = await material(connection, run_id)
    if kept is not None:
        return list(calculation.decide(kept).drafts)
    groups = await clearing_groups(connection, run_id)
    currency = (await head(connection, run_id)).currency
    return [d for d in statements.draw(groups, await _terms(connection, groups)) if d.currency == currency]


async def hashes(connection: AsyncConnection, run_id: int) -> list[tuple[int, bytes, bytes]]:
    """Of every statement that a run issued: its number, the hash that was kept, and the hash of what it says now."""
    kept = await store.issued_hashes(connection, run_id)
    if not kept:
        return []
    found = await run(connection, run_id)
    names = [window.name for window in found.windows]
    return [
        (s.statement_id, kept[s.statement_id], statements.content_hash(s.draft(), names))
        for s in found.statements
        if s.statement_id in kept
    ]


async def obligation(connection: AsyncConnection) -> list[Obligation]:
    """The obligation at face after all runs, per funder and agreement version: fund parts billed less released."""
    return [Obligation(**row._mapping) for row in await store.obligation(connection)]


async def check(connection: AsyncConnection) -> list[str]:
    """Where the obligation is not what the lots say. One statement, one snapshot, and nothing of rating in it."""
    return await store.violations(connection, store.OBLIGATION_IS_LOTS)


async def _terms(connection: AsyncConnection, groups: Iterable[ClearingGroup]) -> dict[int, Terms]:
    return await clearing.agreed_terms(connection, {n for g in groups for n in (g.lot_terms_id, g.terms_id)})


async def _with_lines(connection: AsyncConnection, found: Sequence[Statement]) -> list[Statement]:
    lines: dict[int, list[Line]] = {s.statement_id: [] for s in found}
    for row in await store.lines(connection, lines):
        lines[row.statement_id].append(_line(row))
    return [replace(s, lines=tuple(lines[s.statement_id])) for s in found]


def _line(row: Any) -> Line:
    return Line(**{name: value for name, value in row._mapping.items() if name != "statement_id"})


def _group(event: ClearingEvent) -> ClearingGroup:
    kind = rating.kind_of(event.debit, event.credit)
    parties = event.issuer_id, event.funder_id, event.partner_id
    return ClearingGroup(kind, *parties, event.lot_terms_id, event.terms_id, event.points, 1)


def _owed_detail(fact: Owed, partner_id: int, id_key: bytes) -> Detail:
    [amount_micro] = [amount for party_id, amount in events.positions(owed.event_of(fact)) if party_id == partner_id]
    return Detail(
        cutoff_id=fact.cutoff_id,
        kind=owed.KINDS[fact.kind],
        at=fact.at,
        business_date=fact.business_date,
        outlet=fact.outlet,
        reference=fact.reference,
        member=secrets.opaque_id(id_key, "mbr", fact.holder_id.to_bytes(8, "big")),
        points=0,
        unit_price_micro=0,
        amount_micro=amount_micro,
        source=Source(fact.holder_id, fact.seq, fact.holder_id, fact.seq),
    )


def _detail(event: ClearingEvent, line: RatedLine, id_key: bytes) -> Detail:
    return Detail(
        cutoff_id=event.cutoff_id,
        kind=line.kind,
        at=event.at,
        business_date=event.business_date,
        outlet=event.outlet,
        reference=event.reference,
        member=secrets.opaque_id(id_key, "mbr", event.holder_id.to_bytes(8, "big")),
        points=event.points,
        unit_price_micro=line.unit_price_micro,
        amount_micro=line.amount_micro,
        terms_id=line.terms_id,
        source=Source(event.holder_id, event.seq, event.receipt_holder_id, event.receipt_seq),
    )
