"""SQL reads of holds on the hot path. Private to this package."""

from __future__ import annotations

import asyncpg


async def hold(pool: asyncpg.Pool, holder_id: int, unit: int, seq: int) -> asyncpg.Record | None:
    """A hold as it is stored: amount, captured, lapses_at, partner_id, state."""
    found: asyncpg.Record | None = await pool.fetchrow(
        "SELECT amount, captured, lapses_at, partner_id, state FROM ledger.hold "
        "WHERE holder_id = $1 AND unit = $2 AND seq = $3",
        holder_id,
        unit,
        seq,
    )
    return found


async def held(pool: asyncpg.Pool, holder_id: int, unit: int) -> int | None:
    """Points that an account holds."""
    found: int | None = await pool.fetchval(
        "SELECT held FROM ledger.account WHERE holder_id = $1 AND unit = $2", holder_id, unit
    )
    return found
