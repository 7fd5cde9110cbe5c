"""Cut-offs in the books: what points did in a closed cut-off becomes one booking, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import Rejection
from ledger import cutoffs
from partners.clearing import clearing
from partners.terms import Terms
from settlement import rating
from settlement.money import entries, fees, journal, owed, stock, stock_store, store
from settlement.money.entries import Entry
from settlement.money.journal import Booking
from settlement.rating import ClearingGroup
from settlement.windows import positions, shares


class CutoffNotCut(Rejection):
    """The cut-off is not closed, or an earlier one is not booked yet."""

    code = "CUTOFF_NOT_CUT"
    retryable = True


async def book_due(connection: AsyncConnection, *, actor: str) -> list[Booking]:
    """Book every closed cut-off that is not booked, in their order, on behalf of a FINANCE_MAKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PERIOD_LOCKED. Raises rating.Unrated.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    await store.lock_books(connection)
    booked = await store.booked_cutoff_ids(connection)
    due = [c.cutoff_id for c in await cutoffs.cutoffs(connection) if c.state == "CUT" and c.cutoff_id not in booked]
    return [await book(connection, cutoff_id, actor=actor) for cutoff_id in due]


async def book(
    connection: AsyncConnection, cutoff_id: int, *, actor: str, groups: Sequence[ClearingGroup] | None = None
) -> Booking:
    """Book what a closed cut-off has, at the instant of its cut: what points did, and what parties owe beside points.

    Said again it answers the first booking. groups are what points did; without them every posting is read. Who may is
    the caller's rule. Rejects CUTOFF_NOT_CUT, PERIOD_LOCKED, BOOKING_KEY_REUSED. Raises rating.Unrated.
    """
    await store.lock_books(connection)
    found = {c.cutoff_id: c for c in await cutoffs.cutoffs(connection)}
    booked = await store.booked_cutoff_ids(connection)
    cut_at = found[cutoff_id].cut_at if cutoff_id in found and found[cutoff_id].state == "CUT" else None
    if cut_at is None or any(earlier < cutoff_id and earlier not in booked for earlier in found):
        raise CutoffNotCut(f"cut-off {cutoff_id} is not closed, or one before it is not booked")
    if groups is None:
        groups = await groups_of(connection, cutoff_id)
    made = await journal.post(
        connection, source=f"cutoff:{cutoff_id}", entries=await _entries(connection, cutoff_id, groups), at=cut_at,
        actor=actor, cutoff_id=cutoff_id,
    )  # fmt: skip
    if not made.is_replayed:
        await stock_store.insert_movements(connection, made.booking_id, moved_stock(groups))
        detail = {"cutoff": cutoff_id}
        await audit.write(
            connection, actor=actor, action="CUTOFF_BOOKED", subject=f"booking:{made.booking_id}", detail=detail,
            at=cut_at,
        )  # fmt: skip
    return made


async def entries_again(connection: AsyncConnection, cutoff_id: int) -> list[Entry]:
    """The entries of a cut-off once more, from every posting and the agreement versions of then; writes nothing."""
    return await _entries(connection, cutoff_id, await groups_of(connection, cutoff_id))


async def groups_of(connection: AsyncConnection, cutoff_id: int) -> list[ClearingGroup]:
    """What points did in a cut-off, from every posting. Raises rating.Unrated."""
    return shares.groups(await positions.recounted(connection, [cutoff_id]))


def moved_stock(groups: Iterable[ClearingGroup]) -> Mapping[tuple[int, int, str], int]:
    """How many points became (positive) or ceased to be spendable, by funder, version and kind, priced or not."""
    sums: dict[tuple[int, int, str], int] = {}
    for group in groups:
        if way := rating.stock_sign(group.kind):
            key = (group.funder_id, group.lot_terms_id, group.kind)
            sums[key] = sums.get(key, 0) + way * group.points
    return sums


async def _entries(connection: AsyncConnection, cutoff_id: int, groups: Sequence[ClearingGroup]) -> list[Entry]:
    of_points = entries.of_groups(groups, await _terms(connection, groups), await stock.as_of(connection, cutoff_id))
    found = await owed.events(connection, [cutoff_id]) + await fees.events(connection, [cutoff_id])
    return of_points + entries.of_events(found)


async def _terms(connection: AsyncConnection, groups: Iterable[ClearingGroup]) -> dict[int, Terms]:
    return await clearing.agreed_terms(connection, {n for g in groups for n in (g.lot_terms_id, g.terms_id) if n})
