"""Closing the open cut-off by its number, so that whoever asks twice closes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import audit
from kit.database import Database
from ledger import cutoffs
from ledger.cutoffs import Cutoff
from settlement import runs
from settlement.windows import cycle

IsNew = Callable[[AsyncConnection], Awaitable[bool]]


async def close(
    database: Database, cutoff_id: int, *, actor: str, at: datetime, permit: Callable[[], None], is_new: IsNew
) -> tuple[Cutoff, bool]:
    """Close the open cut-off, which is named, on behalf of a FINANCE_MAKER; it, and whether it was closed now.

    permit is asked before anything is written. is_new is asked in the transaction that ends it, and keeps there what
    makes a repetition known: then the cut-off is only brought to its end, if something stopped it half-way. Takes the
    database, because closing takes several transactions. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, CUTOFF_NOT_OPEN,
    CUTOFF_OUT_OF_ORDER and what permit and is_new reject.
    """
    async with database.transaction() as connection:
        await runs.require_maker(connection, actor)
        known = {one.cutoff_id: one for one in await cutoffs.cutoffs(connection)}
    if (its := known.get(cutoff_id)) is None or its.state == "OPEN":
        permit()
        await cutoffs.ready(database, cutoff_id, at=at)
    async with database.transaction() as connection:
        fresh = await is_new(connection)
        if fresh:
            await cutoffs.drain(connection, cutoff_id, at=at)
            said = {"cutoff": cutoff_id}
            await audit.write(
                connection, actor=actor, action="CUTOFF_CLOSED", subject=f"cutoff:{cutoff_id}", detail=said, at=at
            )
    closed = await cutoffs.seal(database, cutoff_id)
    await cycle.wait_until_read(database, cutoff_id, at=at, actor=actor)
    async with database.transaction() as connection:
        await runs.book_cutoffs(connection, actor=actor)
    return closed, fresh
