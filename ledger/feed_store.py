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


async def lapses(
    pool: asyncpg.Pool, since: int, until: int, unit: int, partner_ids: Sequence[int]
) -> list[asyncpg.Record]:
    """Lapses of transactions in [since, until) of holds that these partners placed, in order."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT j.xid::text::bigint AS xid, j.holder_id, j.seq, h.partner_id, h.seq AS hold_seq, h.amount, j.at "
        "FROM ledger.journal j JOIN ledger.hold h "
        "  ON h.holder_id = j.holder_id AND h.unit = j.unit AND h.seq = j.ref_seq "
        "WHERE j.xid >= $1::bigint::text::xid8 AND j.xid < $2::bigint::text::xid8 AND j.unit = $3 AND j.kind = 10 "
        "AND h.partner_id = ANY ($4::int[]) ORDER BY j.xid, j.holder_id, j.seq",
        since,
        until,
        unit,
        list(partner_ids),
    )
    return found


async def adjustments(
    pool: asyncpg.Pool, since: int, until: int, unit: int, issuer_ids: Sequence[int]
) -> list[asyncpg.Record]:
    """What adjustments of transactions in [since, until) gave or took of these issuers' points, in order."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT j.xid::text::bigint AS xid, j.holder_id, j.seq, p.issuer_id AS partner_id, j.at, "
        "  sum(CASE WHEN p.debit = 15 THEN p.amount ELSE -p.amount END)::bigint AS points "
        "FROM ledger.journal j JOIN ledger.posting p USING (holder_id, unit, seq) "
        "WHERE j.xid >= $1::bigint::text::xid8 AND j.xid < $2::bigint::text::xid8 AND j.unit = $3 AND j.kind = 17 "
        "AND 15 IN (p.debit, p.credit) AND p.issuer_id = ANY ($4::int[]) "
        "GROUP BY j.xid, j.holder_id, j.seq, p.issuer_id, j.at ORDER BY j.xid, j.holder_id, j.seq, p.issuer_id",
        since,
        until,
        unit,
        list(issuer_ids),
    )
    return found
