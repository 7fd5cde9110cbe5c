"""Statements of those who follow the journal. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg


async def horizon(pool: asyncpg.Pool) -> int:
    """The transaction number below which every transaction is finished."""
    found: int = await pool.fetchval("SELECT ledger.horizon()::text::bigint")
    return found


async def readable_until(pool: asyncpg.Pool, since: int, entries: int) -> int:
    """Where a reader that has come to a transaction number may read to in one step."""
    found: int = await pool.fetchval(
        "SELECT ledger.readable_until($1::bigint::text::xid8, $2)::text::bigint", since, entries
    )
    return found


async def entries(
    pool: asyncpg.Pool, since: int, until: int, unit: int, holder_ids: Sequence[int], partner_ids: Sequence[int]
) -> list[asyncpg.Record]:
    """Entries of transactions in [since, until) on these holders' accounts or at these partners, in order."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT xid::text::bigint AS xid, holder_id, seq, partner_id FROM ledger.journal "
        "WHERE xid >= $1::bigint::text::xid8 AND xid < $2::bigint::text::xid8 AND unit = $3 "
        "AND (holder_id = ANY ($4::bigint[]) OR partner_id = ANY ($5::int[])) ORDER BY xid, holder_id, seq",
        since,
        until,
        unit,
        list(holder_ids),
        list(partner_ids),
    )
    return found
