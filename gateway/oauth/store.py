"""The statements of clients, their secrets and keys, and of the signing keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ROTATION = 7_306_001  # an advisory lock's number, of no meaning elsewhere


async def insert_client(
    connection: AsyncConnection,
    *,
    client_id: str,
    partner_id: int | None,
    name: str,
    scopes: Sequence[str],
    kind: str,
    grant_types: Sequence[str],
    redirect_uris: Sequence[str],
    binds_tokens: bool,
    at: datetime,
) -> int:
    """Add an active client; returns its number."""
    statement = text(
        "INSERT INTO gateway.client (client_id, partner_id, name, scopes, status, not_before, created_at, "
        "kind, grant_types, redirect_uris, binds_tokens) "
        "VALUES (:client_id, :partner_id, :name, CAST(:scopes AS text[]), 'ACTIVE', "
        "date_trunc('second', CAST(:at AS timestamptz)), :at, "
        ":kind, CAST(:grant_types AS text[]), CAST(:redirect_uris AS text[]), :binds_tokens) RETURNING client_no"
    )
    values = {
        "client_id": client_id, "partner_id": partner_id, "name": name, "scopes": list(scopes), "at": at,
        "kind": kind, "grant_types": list(grant_types), "redirect_uris": list(redirect_uris),
        "binds_tokens": binds_tokens,
    }  # fmt: skip
    return int((await connection.execute(statement, values)).scalar_one())


async def insert_secret(connection: AsyncConnection, client_no: int, secret_hash: bytes, at: datetime) -> None:
    """Add a secret that is good until the next rotation."""
    statement = text(
        "INSERT INTO gateway.client_secret (client_no, secret_hash, created_at) VALUES (:client_no, :hash, :at)"
    )
    await connection.execute(statement, {"client_no": client_no, "hash": secret_hash, "at": at})


async def lock_client(connection: AsyncConnection, client_id: str) -> RowMapping | None:
    """The client's row, held until the transaction ends; our own pages' (numbers below zero) are nobody's to change."""
    statement = text(
        "SELECT client_no, partner_id, status, kind FROM gateway.client WHERE client_id = :client_id AND client_no > 0 "
        "FOR NO KEY UPDATE"
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
        "FROM gateway.client WHERE client_no > 0 ORDER BY client_no"
    )
    return (await connection.execute(statement)).mappings().all()


async def end_tokens(connection: AsyncConnection, client_no: int, at: datetime) -> None:
    """Refuse a client's access tokens issued until now, this second included."""
    statement = text(
        "UPDATE gateway.client SET "
        "not_before = greatest(not_before, date_trunc('second', CAST(:at AS timestamptz)) + interval '1 second') "
        "WHERE client_no = :client_no"
    )
    await connection.execute(statement, {"client_no": client_no, "at": at})


async def client_with_credentials(connection: AsyncConnection, client_id: str, at: datetime) -> RowMapping | None:
    """A client, the hashes of its secrets and its keys that are good now, and whether it may use a secret."""
    statement = text(
        "SELECT c.client_no, c.client_id, c.partner_id, c.name, c.scopes, c.status, c.kind, c.grant_types, "
        "c.redirect_uris, c.binds_tokens, "
        "coalesce((SELECT e.allowed FROM gateway.secret_exception e "
        "WHERE e.partner_id = coalesce(c.partner_id, 0)), false) AS secret_allowed, "
        "array(SELECT s.secret_hash FROM gateway.client_secret s WHERE s.client_no = c.client_no "
        "AND (s.expires_at IS NULL OR s.expires_at > :at)) AS secret_hashes, "
        "coalesce((SELECT jsonb_agg(jsonb_build_object('kid', k.kid, 'algorithm', k.algorithm, 'jwk', k.jwk)) "
        "FROM gateway.client_key k WHERE k.client_no = c.client_no "
        "AND (k.expires_at IS NULL OR k.expires_at > :at)), '[]') AS keys "
        "FROM gateway.client c WHERE c.client_id = :client_id"
    )
    return (await connection.execute(statement, {"client_id": client_id, "at": at})).mappings().one_or_none()


async def upsert_secret_exception(connection: AsyncConnection, partner_id: int, *, allowed: bool, at: datetime) -> None:
    """Set whether clients of a partner (0: the operator) may use secrets."""
    statement = text(
        "INSERT INTO gateway.secret_exception (partner_id, allowed, changed_at) VALUES (:partner_id, :allowed, :at) "
        "ON CONFLICT (partner_id) DO UPDATE SET allowed = :allowed, changed_at = :at"
    )
    await connection.execute(statement, {"partner_id": partner_id, "allowed": allowed, "at": at})


async def secret_allowed(connection: AsyncConnection, partner_id: int) -> bool:
    """Whether clients of a partner (0: the operator) may use secrets."""
    statement = text("SELECT allowed FROM gateway.secret_exception WHERE partner_id = :partner_id")
    return bool((await connection.execute(statement, {"partner_id": partner_id})).scalar_one_or_none())


async def insert_client_key(
    connection: AsyncConnection,
    client_no: int,
    *,
    kid: str,
    algorithm: str,
    jwk: Mapping[str, str],
    at: datetime,
) -> bool:
    """Add a key that is good until it is replaced; False where the key is somebody's already."""
    statement = text(
        "INSERT INTO gateway.client_key (client_no, kid, algorithm, jwk, created_at) "
        "VALUES (:client_no, :kid, :algorithm, CAST(:jwk AS jsonb), :at) ON CONFLICT (kid) DO NOTHING RETURNING key_no"
    )
    values = {"client_no": client_no, "kid": kid, "algorithm": algorithm, "jwk": json.dumps(dict(jwk)), "at": at}
    return (await connection.execute(statement, values)).scalar_one_or_none() is not None


async def expire_client_keys(
    connection: AsyncConnection, client_no: int, *, until: datetime, but: str | None = None, only: str | None = None
) -> int:
    """Let keys of a client (all but one, or one alone) be good no longer than until an instant; how many that were."""
    statement = text(
        "UPDATE gateway.client_key SET expires_at = greatest(created_at, :until) WHERE client_no = :client_no "
        "AND (expires_at IS NULL OR expires_at > :until) "
        "AND (CAST(:but AS text) IS NULL OR kid <> :but) AND (CAST(:only AS text) IS NULL OR kid = :only)"
    )
    values = {"client_no": client_no, "until": until, "but": but, "only": only}
    return (await connection.execute(statement, values)).rowcount


async def client_keys(connection: AsyncConnection, client_no: int) -> Sequence[RowMapping]:
    """A client's keys, the oldest first."""
    statement = text(
        "SELECT kid, algorithm, created_at, expires_at FROM gateway.client_key WHERE client_no = :client_no "
        "ORDER BY key_no"
    )
    return (await connection.execute(statement, {"client_no": client_no})).mappings().all()


async def client_secrets(connection: AsyncConnection, client_no: int) -> Sequence[RowMapping]:
    """When each of a client's secrets was made and ends, the oldest first."""
    statement = text(
        "SELECT created_at, expires_at FROM gateway.client_secret WHERE client_no = :client_no ORDER BY secret_no"
    )
    return (await connection.execute(statement, {"client_no": client_no})).mappings().all()


async def ended_tokens(connection: AsyncConnection) -> Sequence[str]:
    """Ids of the access tokens and grants that were ended lately."""
    return (await connection.execute(text("SELECT token_id FROM gateway.ended_token"))).scalars().all()


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
