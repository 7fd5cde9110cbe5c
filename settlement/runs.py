"""Settlement runs: cut-offs that are closed and not yet settled become statements, payments and obligation, once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit, secrets
from kit.database import Database
from kit.errors import Rejection
from ledger import cutoffs
from ledger.cutoffs import Cutoff, Turnover
from partners import clearing
from partners.clearing import ClearingEvent
from partners.terms import Terms
from settlement import netting, rating, statements, store
from settlement.netting import Bilateral, Instruction
from settlement.rating import ClearingGroup
from settlement.statements import Detail, Draft, Line


class NothingToSettle(Rejection):
    """Every closed cut-off is settled already."""

    code = "NOTHING_TO_SETTLE"
    retryable = True


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
    """A run without what it decided. opened_at is None where its first cut-off was the very first."""

    run_id: int
    actor: str
    at: datetime
    through_cutoff: int
    opened_at: datetime | None
    cut_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its cut-offs, its statements (by currency, the operator's first) and its payments."""

    head: RunHead
    cutoff_ids: tuple[int, ...]
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


async def close_cutoff(
    database: Database, *, actor: str, at: datetime, progress: Callable[[int], None] | None = None
) -> Cutoff:
    """Close the open cut-off on behalf of a FINANCE_MAKER, see ledger.cutoffs.close, and put it on the trail.

    Takes the database, because closing takes several transactions. Rejects: ACTOR_UNKNOWN, NOT_PERMITTED,
    CUTOFF_OUT_OF_ORDER.
    """
    async with database.transaction() as connection:
        await _permit(connection, actor)
    closed = await cutoffs.close(database, at=at, progress=progress)
    async with database.transaction() as connection:
        await _trail(
            connection, actor, "CUTOFF_CLOSED", f"cutoff:{closed.cutoff_id}", {"postings": closed.posting_count}, at
        )
    return closed


async def settle(connection: AsyncConnection, *, actor: str, at: datetime, through_cutoff: int | None = None) -> Run:
    """Settle every closed cut-off that no run has settled, up to one if named, on behalf of a FINANCE_MAKER.

    Rates per currency, nets, and stores groups, statements with lines, payments and movements of the obligation.
    Of two at once one settles and the other finds nothing. Raises statements.Imbalance or rating.Unrated where
    something is wrong with the programme itself. Rejects: ACTOR_UNKNOWN, NOT_PERMITTED, NOTHING_TO_SETTLE.
    """
    await _permit(connection, actor)
    await store.lock_runs(connection)
    due = await _due(connection, through_cutoff)
    if not due:
        raise NothingToSettle("every closed cut-off is settled already; close one first")
    groups = _groups(await cutoffs.turnover(connection, [c.cutoff_id for c in due]))
    terms = await _terms(connection, groups)
    drafts = statements.draw(groups, terms)
    run_id = await _write_head(connection, actor, at, due)
    await _write(connection, run_id, groups, terms, drafts)
    await _trail(
        connection, actor, "SETTLED", f"run:{run_id}", {"through_cutoff": due[-1].cutoff_id, "cutoffs": len(due)}, at
    )
    return await run(connection, run_id)


async def runs(connection: AsyncConnection) -> list[RunHead]:
    """All runs, the latest first."""
    return [RunHead(**row._mapping) for row in await store.runs(connection)]


async def run(connection: AsyncConnection, run_id: int) -> Run:
    """One run with everything it decided. Rejects: RUN_UNKNOWN."""
    row = await store.run(connection, run_id)
    if row is None:
        raise RunUnknown(f"there is no settlement run {run_id}")
    found = [Statement(**r._mapping) for r in await store.statements_of_run(connection, run_id)]
    return Run(
        head=RunHead(**row._mapping),
        cutoff_ids=tuple(await store.run_cutoff_ids(connection, run_id)),
        statements=tuple(await _with_lines(connection, found)),
        instructions=tuple(Instruction(**r._mapping) for r in await store.instructions(connection, run_id)),
    )


async def statement(connection: AsyncConnection, statement_id: int, *, partner_id: int | None) -> Statement | None:
    """A statement with its lines; None where it does not exist or is not this partner's. None may see every one."""
    row = await store.statement(connection, statement_id, partner_id=partner_id)
    return None if row is None else (await _with_lines(connection, [Statement(**row._mapping)]))[0]


async def statements_page(
    connection: AsyncConnection, *, partner_id: int | None, before: int | None, limit: int
) -> list[Statement]:
    """Statements without lines, the latest first: a partner's own, or everybody's where partner_id is None.

    before is the number of the last one seen.
    """
    rows = await store.statements_page(connection, partner_id=partner_id, before=before, limit=limit)
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
    events = clearing.events(
        connection, partner_id=statement.partner_id, currency=statement.currency, cutoff_ids=cutoff_ids
    )
    async for event in events:
        yield _detail(event, terms, id_key)


async def clearing_groups(connection: AsyncConnection, run_id: int | None = None) -> list[ClearingGroup]:
    """What a run rated, as it was; of all runs together where none is named."""
    return [ClearingGroup(**row._mapping) for row in await store.clearing_groups(connection, run_id)]


async def bilateral(connection: AsyncConnection, run_id: int | None = None) -> list[Bilateral]:
    """Who honoured whose points, of a run or of all of them. A report, never debts."""
    groups = await clearing_groups(connection, run_id)
    return netting.bilateral(groups, await _terms(connection, groups))


async def redraw(connection: AsyncConnection, run_id: int) -> list[Draft]:
    """The statements of a run once more, from what it rated and the agreement versions of then."""
    groups = await clearing_groups(connection, run_id)
    return statements.draw(groups, await _terms(connection, groups))


async def obligation(connection: AsyncConnection) -> list[Obligation]:
    """The obligation at face after all runs, per funder and agreement version: fund parts billed less released."""
    return [Obligation(**row._mapping) for row in await store.obligation(connection)]


async def check(connection: AsyncConnection) -> list[str]:
    """Where the obligation is not what the lots say. One statement, one snapshot, and nothing of rating in it."""
    return await store.violations(connection, store.OBLIGATION_IS_LOTS)


async def _permit(connection: AsyncConnection, actor: str) -> None:
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)


async def _trail(
    connection: AsyncConnection, actor: str, action: str, subject: str, detail: Mapping[str, Any], at: datetime
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=subject, detail=detail, at=at)


async def _due(connection: AsyncConnection, through_cutoff: int | None) -> list[Cutoff]:
    settled = await store.settled_cutoff_ids(connection)
    return [
        c
        for c in await cutoffs.cutoffs(connection)
        if c.state == "CUT" and c.cutoff_id not in settled and (through_cutoff is None or c.cutoff_id <= through_cutoff)
    ]


def _groups(turnovers: Iterable[Turnover]) -> list[ClearingGroup]:
    """One group per kind and parties: a lot activated later and one active at once are the same kind."""
    sums: dict[tuple[str, int, int, int, int, int], list[int]] = {}
    for t in turnovers:
        kind = rating.kind_of(t.debit, t.credit)
        key = (kind, t.issuer_id, t.funder_id, t.partner_id, t.lot_terms_id, t.terms_id)
        total = sums.setdefault(key, [0, 0])
        total[0] += t.points
        total[1] += t.postings
    return [ClearingGroup(*key, *sums[key]) for key in sorted(sums)]


async def _terms(connection: AsyncConnection, groups: Iterable[ClearingGroup]) -> dict[int, Terms]:
    return await clearing.agreed_terms(connection, {n for g in groups for n in (g.lot_terms_id, g.terms_id)})


async def _write_head(connection: AsyncConnection, actor: str, at: datetime, due: Sequence[Cutoff]) -> int:
    cut_at = due[-1].cut_at
    assert cut_at is not None, "a cut-off that is cut says when"
    return await store.insert_run(
        connection,
        actor=actor,
        at=at,
        cutoff_ids=[c.cutoff_id for c in due],
        opened_at=due[0].opened_at,
        cut_at=cut_at,
    )


async def _write(
    connection: AsyncConnection,
    run_id: int,
    groups: Sequence[ClearingGroup],
    terms: Mapping[int, Terms],
    drafts: Sequence[Draft],
) -> None:
    await store.insert_clearing_groups(connection, [{"run_id": run_id, **asdict(g)} for g in groups])
    for draft in drafts:
        await _write_statement(connection, run_id, draft)
    payments = netting.instructions(statements.positions(drafts))
    await store.insert_instructions(connection, [{"run_id": run_id, **asdict(p)} for p in payments])
    movements = rating.rate_obligation(groups, terms)
    await store.insert_movements(connection, [{"run_id": run_id, **asdict(m)} for m in movements])


async def _write_statement(connection: AsyncConnection, run_id: int, draft: Draft) -> None:
    row = {
        "run_id": run_id,
        "partner_id": draft.party_id,
        "currency": draft.currency,
        "opening_micro": draft.opening_micro,
        "opening_minor": draft.opening_minor,
        "net_micro": draft.net_micro,
        "net_minor": draft.net_minor,
    }
    statement_id = await store.insert_statement(connection, row)
    await store.insert_lines(connection, [{"statement_id": statement_id, **asdict(n)} for n in draft.lines])


async def _with_lines(connection: AsyncConnection, found: Sequence[Statement]) -> list[Statement]:
    lines: dict[int, list[Line]] = {s.statement_id: [] for s in found}
    for row in await store.lines(connection, lines):
        lines[row.statement_id].append(_line(row))
    return [replace(s, lines=tuple(lines[s.statement_id])) for s in found]


def _line(row: Any) -> Line:
    return Line(**{name: value for name, value in row._mapping.items() if name != "statement_id"})


def _detail(event: ClearingEvent, terms: Mapping[int, Terms], id_key: bytes) -> Detail:
    kind = rating.kind_of(event.debit, event.credit)
    price = rating.unit_price_micro(kind, event.lot_terms_id, event.terms_id, terms)
    return Detail(
        cutoff_id=event.cutoff_id,
        kind=kind,
        at=event.at,
        business_date=event.business_date,
        outlet=event.outlet,
        reference=event.reference,
        member=secrets.opaque_id(id_key, "mbr", event.holder_id.to_bytes(8, "big")),
        points=event.points,
        unit_price_micro=price,
        amount_micro=rating.sign(kind) * event.points * price,
    )
