"""Statements of clients' rules, allowances and trusted documents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

# The level once what the process gives back is in it and what the time since restored, never above the whole.
_FULL = """greatest(0, least($5::numeric, a.level + $7::numeric
  + greatest(0, extract(epoch FROM $9::timestamptz - a.filled_at)) * $8::numeric))::bigint"""
_GRANT = "CASE WHEN {full} >= $4 THEN least({full}, $6) ELSE 0 END"
_LEASE = f"""
    INSERT INTO gateway.allowance AS a (client_no, member_id, kind, level, granted, filled_at)
    SELECT $1, $2, $3, f.level - f.granted, f.granted, $9
    FROM (SELECT b.level, {_GRANT.format(full="b.level")} AS granted
          FROM (SELECT greatest(0, least($5::numeric, $5::numeric + $7::numeric))::bigint AS level) b) f
    ON CONFLICT (client_no, member_id, kind) DO UPDATE SET
      level = {_FULL} - {_GRANT.format(full=_FULL)}, granted = {_GRANT.format(full=_FULL)},
      filled_at = greatest(a.filled_at, $9)
    RETURNING level, granted
"""
_GIVE_BACK = """
    UPDATE gateway.allowance a
    SET level = greatest(0, least(g.whole::numeric, a.level::numeric + g.returned))::bigint
    FROM unnest($1::int[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[])
      AS g(client_no, member_id, kind, whole, returned)
    WHERE a.client_no = g.client_no AND a.member_id = g.member_id AND a.kind = g.kind
"""


async def lease(
    pool: asyncpg.Pool,
    key: tuple[int, int, int],
    *,
    needed: int,
    whole: int,
    wanted: int,
    returned: int,
    restored_per_second: int,
    at: datetime,
) -> tuple[int, int]:
    """Give back what is left of the last lease and take a new one; (what is left in the bucket, what was granted).

    Nothing is granted where there is less than needed. All in millionths; key is (client, member or 0, kind).
    """
    row = await pool.fetchrow(_LEASE, *key, needed, whole, wanted, returned, restored_per_second, at)
    return row["level"], row["granted"]


async def give_back(pool: asyncpg.Pool, left: Sequence[tuple[int, int, int, int, int]]) -> None:
    """Put what is left of leases back: (client, member or 0, kind, the whole, what is left), in key order."""
    columns = zip(*sorted(left), strict=True)
    await pool.execute(_GIVE_BACK, *[list(column) for column in columns])


async def levels(connection: AsyncConnection, client_nos: Sequence[int], kind: int) -> dict[int, tuple[int, datetime]]:
    """What is left in clients' own buckets of a kind, in millionths, and as of when; nothing of untouched ones."""
    statement = text(
        "SELECT client_no, level, filled_at FROM gateway.allowance "
        "WHERE client_no = ANY (:client_nos) AND member_id = 0 AND kind = :kind"
    )
    found = await connection.execute(statement, {"client_nos": list(client_nos), "kind": kind})
    return {row.client_no: (row.level, row.filled_at) for row in found}


async def rules(pool: asyncpg.Pool) -> list[asyncpg.Record]:
    """What differs for clients: client_no, burst, restore_per_second, trusted_only."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT client_no, burst, restore_per_second, trusted_only FROM gateway.client_rule"
    )
    return found


async def set_rule(
    connection: AsyncConnection, client_no: int, *, burst: int, restore_per_second: int, trusted_only: bool
) -> None:
    """Write a client's rule."""
    statement = text(
        "INSERT INTO gateway.client_rule (client_no, burst, restore_per_second, trusted_only) "
        "VALUES (:client_no, :burst, :restore, :trusted_only) ON CONFLICT (client_no) DO UPDATE SET "
        "burst = EXCLUDED.burst, restore_per_second = EXCLUDED.restore_per_second, trusted_only = EXCLUDED.trusted_only"
    )
    given = {"client_no": client_no, "burst": burst, "restore": restore_per_second, "trusted_only": trusted_only}
    await connection.execute(statement, given)


async def rule(connection: AsyncConnection, client_no: int) -> RowMapping | None:
    """A client's rule, None where it has the standard one."""
    statement = text(
        "SELECT burst, restore_per_second, trusted_only FROM gateway.client_rule WHERE client_no = :client_no"
    )
    return (await connection.execute(statement, {"client_no": client_no})).mappings().one_or_none()


async def insert_document(
    connection: AsyncConnection, client_no: int, *, document_hash: bytes, body: str, at: datetime
) -> bool:
    """Register a document; False where it was registered before."""
    statement = text(
        "INSERT INTO gateway.trusted_document (client_no, document_hash, body, registered_at) "
        "VALUES (:client_no, :hash, :body, :at) ON CONFLICT DO NOTHING RETURNING client_no"
    )
    given = {"client_no": client_no, "hash": document_hash, "body": body, "at": at}
    return (await connection.execute(statement, given)).first() is not None


async def delete_document(connection: AsyncConnection, client_no: int, document_hash: bytes) -> bool:
    """Forget a document; False where there was none."""
    statement = text(
        "DELETE FROM gateway.trusted_document WHERE client_no = :client_no AND document_hash = :hash "
        "RETURNING client_no"
    )
    given = {"client_no": client_no, "hash": document_hash}
    return (await connection.execute(statement, given)).first() is not None


async def documents(connection: AsyncConnection, client_no: int) -> Sequence[RowMapping]:
    """A client's registered documents: document_hash, body, registered_at."""
    statement = text(
        "SELECT document_hash, body, registered_at FROM gateway.trusted_document "
        "WHERE client_no = :client_no ORDER BY registered_at, document_hash"
    )
    return (await connection.execute(statement, {"client_no": client_no})).mappings().all()


async def document(pool: asyncpg.Pool, client_no: int, document_hash: bytes) -> str | None:
    """The text of a client's registered document."""
    found: str | None = await pool.fetchval(
        "SELECT body FROM gateway.trusted_document WHERE client_no = $1 AND document_hash = $2",
        client_no,
        document_hash,
    )
    return found
