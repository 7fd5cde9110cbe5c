"""What an operation leaves behind: bytes per table in heap and indexes, bytes of WAL, waits for the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

# Whole files, so what is allocated and not used yet counts too: over some ten thousand operations it is little.
_SIZES = """
    SELECT c.oid::regclass::text AS name, pg_relation_size(c.oid) AS rows,
           pg_table_size(c.oid) AS heap, pg_indexes_size(c.oid) AS indexes
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_COUNTERS = """
    SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal_bytes,
           (SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal') AS fsyncs
"""
_ENTRIES = "SELECT coalesce(sum(seq), 0)::bigint FROM ledger.account"


LEDGER = ("ledger.journal", "ledger.posting", "ledger.lot")


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a table with its maps and long values, of its indexes, and of its rows alone."""

    heap: int
    indexes: int
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Bytes of WAL written and fsyncs of it since the server began to count."""

    wal_bytes: int
    fsyncs: int


async def sizes(connection: asyncpg.Connection) -> dict[str, Size]:
    """Every table's size now."""
    return {row["name"]: Size(row["heap"], row["indexes"], row["rows"]) for row in await connection.fetch(_SIZES)}


async def counters(connection: asyncpg.Connection) -> Counters:
    """The server's counters now. A backend reports its fsyncs with a second's delay, or when it ends."""
    row = await connection.fetchrow(_COUNTERS)
    return Counters(int(row["wal_bytes"]), int(row["fsyncs"]))


async def entries(connection: asyncpg.Connection) -> int:
    """How many entries the journals of all accounts hold, told by their numbers, which have no gaps."""
    found: int = await connection.fetchval(_ENTRIES)
    return found


async def flush(pool: asyncpg.Pool) -> None:
    """Let every connection of a pool report its counters now."""
    held = [await pool.acquire() for _ in range(pool.get_size())]
    for connection in held:
        await connection.fetchval("SELECT pg_stat_force_next_flush()")
    for connection in held:
        await pool.release(connection)


def grown(before: Mapping[str, Size], after: Mapping[str, Size], operations: int) -> dict[str, dict[str, float]]:
    """Bytes per operation that each table grew by; tables that did not grow are left out."""
    found = {}
    for name, now in after.items():
        was = before.get(name, Size(0, 0))
        if (now.heap, now.indexes) != (was.heap, was.indexes):
            found[name] = {
                "heap": (now.heap - was.heap) / operations,
                "indexes": (now.indexes - was.indexes) / operations,
            }
    return found
