"""SQL of batches: one call for the items of many accounts. Rows in, a status row per item out, in order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from ledger.batches import Resolution, Return, Spending


async def spend(
    pool: asyncpg.Pool, items: Sequence[Spending], unit: int, at: datetime, day: date
) -> list[asyncpg.Record]:
    """Redeem or hold."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT * FROM ledger.spend_many($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)",
        unit,
        at,
        day,
        [item.kind for item in items],
        [item.holder_id for item in items],
        [item.points for item in items],
        [item.lapses_at for item in items],
        [item.partner_id for item in items],
        [item.terms_id for item in items],
        [item.idem_key for item in items],
        [item.fingerprint for item in items],
    )
    return sorted(found, key=itemgetter("ord"))


async def resolve(pool: asyncpg.Pool, items: Sequence[Resolution], unit: int, at: datetime) -> list[asyncpg.Record]:
    """Capture or release holds."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT * FROM ledger.resolve_many($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
        unit,
        at,
        [item.kind for item in items],
        [item.holder_id for item in items],
        [item.hold_seq for item in items],
        [item.points for item in items],
        [item.partner_id for item in items],
        [item.terms_id for item in items],
        [item.idem_key for item in items],
        [item.fingerprint for item in items],
    )
    return sorted(found, key=itemgetter("ord"))


async def take_back(pool: asyncpg.Pool, items: Sequence[Return], unit: int, at: datetime) -> list[asyncpg.Record]:
    """Take back parts of accruals."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT * FROM ledger.return_many($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)",
        unit,
        at,
        [item.holder_id for item in items],
        [item.accrual_seq for item in items],
        [item.partner_id for item in items],
        [item.idem_key for item in items],
        [item.fingerprint for item in items],
        list(accumulate(len(item.lot_points) for item in items)),
        [lot_no for item in items for lot_no in item.lot_points],
        [points for item in items for points in item.lot_points.values()],
        [item.shortfall for item in items],
    )
    return sorted(found, key=itemgetter("ord"))


async def busy_accounts(pool: asyncpg.Pool, holder_ids: Collection[int], unit: int) -> set[int]:
    """Those of the accounts that somebody else has locked right now."""
    rows = await pool.fetch("SELECT ledger.busy_accounts($1, $2)", list(holder_ids), unit)
    return {row[0] for row in rows}
