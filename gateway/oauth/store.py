"""The statements of clients, their secrets and the signing keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ROTATION = 7_306_001  # an advisory lock's number, of no meaning elsewhere


async def insert_client(
    connection: AsyncConnection,
    *,
    client_id: str,
    partner_id: int | None,
    name: str,
    scopes: Sequence[str],
    at: datetime,
) -> int:
    """Add an active client; returns its number."""
    statement = text(
        "INSERT INTO gateway.client (client_id, partner_id, name, scopes, status, not_before, created_at) "
        "VALUES (:client_id, :partner_id, :name, CAST(:scopes AS text[]), 'ACTIVE', "
        "date_trunc('second', CAST(:at AS timestamptz)), :at) RETURNING client_no"
    )
    values = {"client_id": client_id, "partner_id": partner_id, "name": name, "scopes": list(scopes), "at": at}
    return int((await connection.execute(statement, values)).scalar_one())


async def insert_secret(connection: AsyncConnection, client_no: int, secret_hash: bytes, at: datetime) -> None:
    """Add a secret that is good until the next rotation."""
    statement = text(
        "INSERT INTO gateway.client_secret (client_no, secret_hash, created_at) VALUES (:client_no, :hash, :at)"
    )
    await connection.execute(statement, {"client_no": client_no, "hash": secret_hash, "at": at})


async def lock_client(connection: AsyncConnection, client_id: str) -> RowMapping | None:
    """The client's row, held until the transaction ends."""
    statement = text(
        "SELECT client_no, partner_id, status FROM gateway.client WHERE client_id = :client_id FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"client_id": client_id})).mappings().one_or_none()


async def expire_secrets(connection: AsyncConnection, client_no: int, *, newest_until: datetime, at: datetime) -> None:
    """Let the newest secret live on until an instant and end all older ones now."""
    statement = text(
        "UPDATE gateway.client_secret s SET expires_at = "
        "least(coalesce(s.expires_at, 'infinity'), greatest(s.created_at, CASE "
        "WHEN s.secret_no = (SELECT max(n.secret_no) FROM gateway.client_secret n WHERE n.client_no = :client_no) "
        "THEN CAST(:newest_until AS timestamptz) ELSE CAST(:at AS timestamptz) END)) WHERE s.client_no = :client_no"
    )
    await connection.execute(statement, {"client_no": client_no, "newest_until": newest_until, "at": at})


async def update_status(connection: AsyncConnection, client_no: int, status: str, at: datetime) -> None:
    """Set a client's status; tokens issued until now, this second included, are refused from here on."""
    statement = text(
        "UPDATE gateway.client SET status = :status, "
        "not_before = greatest(not_before, date_trunc('second', CAST(:at AS timestamptz)) + interval '1 second') "
        "WHERE client_no = :client_no"
    )
    await connection.execute(statement, {"client_no": client_no, "status": status, "at": at})


async def all_clients(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Every client, with its standing, by number."""
    statement = text(
        "SELECT client_no, client_id, partner_id, name, scopes, status, not_before "
        "FROM gateway.client ORDER BY client_no"
    )
    return (await connection.execute(statement)).mappings().all()


def client_with_secrets(connection: Connection, client_id: str, at: datetime) -> RowMapping | None:
    """A client and the hashes of its secrets that are good now. Called inside run_sync, so not a coroutine."""
    statement = text(
        "SELECT c.client_no, c.client_id, c.partner_id, c.scopes, c.status, "
        "array(SELECT s.secret_hash FROM gateway.client_secret s WHERE s.client_no = c.client_no "
        "AND (s.expires_at IS NULL OR s.expires_at > :at)) AS secret_hashes "
        "FROM gateway.client c WHERE c.client_id = :client_id"
    )
    return connection.execute(statement, {"client_id": client_id, "at": at}).mappings().one_or_none()


async def lock_rotation(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to add a signing key."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ROTATION})


async def verifying_keys(connection: AsyncConnection, at: datetime) -> Sequence[RowMapping]:
    """The signing keys whose tokens are accepted now, the one that signs last coming first."""
    statement = text(
        "SELECT kid, sealed_key, signs_from, verifies_until FROM gateway.signing_key "
        "WHERE verifies_until IS NULL OR verifies_until > :at ORDER BY signs_from DESC, kid"
    )
    return (await connection.execute(statement, {"at": at})).mappings().all()


async def insert_key(
    connection: AsyncConnection, *, kid: str, sealed_key: bytes, signs_from: datetime, at: datetime
) -> None:
    """Add a signing key."""
    statement = text(
        "INSERT INTO gateway.signing_key (kid, sealed_key, created_at, signs_from) "
        "VALUES (:kid, :sealed_key, :at, :signs_from)"
    )
    await connection.execute(statement, {"kid": kid, "sealed_key": sealed_key, "at": at, "signs_from": signs_from})


async def retire_keys(connection: AsyncConnection, *, but: str, until: datetime) -> None:
    """Let every signing key but one verify no longer than until an instant."""
    statement = text(
        "UPDATE gateway.signing_key SET verifies_until = greatest(created_at, :until) "
        "WHERE kid <> :but AND (verifies_until IS NULL OR verifies_until > :until)"
    )
    await connection.execute(statement, {"but": but, "until": until})
