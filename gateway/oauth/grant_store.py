"""The statements of grants: pushed requests, codes, refresh tokens, codes of tills. Called inside run_sync.

Whatever is random and secret is looked up by its SHA-256. A row that is asked for to be used is held until the
transaction ends, so that of several who use it at once one is first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text


def _one(connection: Connection, statement: str, values: Mapping[str, Any]) -> RowMapping | None:
    return connection.execute(text(statement), values).mappings().one_or_none()


# --- Pushed requests ----------------------------------------------------------------------------------------


def insert_pushed(connection: Connection, values: Mapping[str, Any]) -> None:
    """Keep a request; a hundred that are over by a day are taken away."""
    connection.execute(
        text(
            "DELETE FROM gateway.pushed_request WHERE request_hash IN (SELECT request_hash FROM gateway.pushed_request "
            "WHERE expires_at < CAST(:at AS timestamptz) - interval '1 day' ORDER BY expires_at LIMIT 100 "
            "FOR UPDATE SKIP LOCKED)"
        ),
        {"at": values["created_at"]},
    )
    connection.execute(
        text(
            "INSERT INTO gateway.pushed_request (request_hash, client_no, redirect_uri, scope, state, code_challenge, "
            "jkt, created_at, expires_at) VALUES (:request_hash, :client_no, :redirect_uri, :scope, :state, "
            ":code_challenge, :jkt, :created_at, :expires_at)"
        ),
        values,
    )


def open_pushed(
    connection: Connection, request_hash: bytes, client_no: int, *, at: datetime, until: datetime
) -> RowMapping | None:
    """A client's request that was not completed and is not over. The first look at it gives it until an instant."""
    return _one(
        connection,
        "UPDATE gateway.pushed_request SET expires_at = CASE WHEN opened_at IS NULL THEN :until ELSE expires_at END, "
        "opened_at = coalesce(opened_at, :at) WHERE request_hash = :hash AND client_no = :client_no "
        "AND completed_at IS NULL AND expires_at > :at "
        "RETURNING redirect_uri, scope, state, code_challenge, jkt, expires_at",
        {"hash": request_hash, "client_no": client_no, "at": at, "until": until},
    )


def complete_pushed(connection: Connection, request_hash: bytes, at: datetime) -> bool:
    """Mark a request as decided; False where somebody was faster."""
    statement = text(
        "UPDATE gateway.pushed_request SET completed_at = :at "
        "WHERE request_hash = :hash AND completed_at IS NULL AND expires_at > :at"
    )
    return connection.execute(statement, {"hash": request_hash, "at": at}).rowcount == 1


# --- Grants and codes ---------------------------------------------------------------------------------------


def insert_grant(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add a grant that is in force."""
    connection.execute(
        text(
            "INSERT INTO gateway.client_grant (grant_id, client_no, actor_id, terminal_id, scopes, jkt, created_at, "
            "ends_at) VALUES (:grant_id, :client_no, :actor_id, :terminal_id, CAST(:scopes AS text[]), :jkt, "
            ":created_at, :ends_at)"
        ),
        values,
    )


def use_code(connection: Connection, code_hash: bytes, at: datetime) -> None:
    """Mark a code as used."""
    statement = text("UPDATE gateway.authorization_code SET used_at = :at WHERE code_hash = :hash")
    connection.execute(statement, {"hash": code_hash, "at": at})


def insert_code(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add the code of a grant."""
    connection.execute(
        text(
            "INSERT INTO gateway.authorization_code (code_hash, grant_id, redirect_uri, code_challenge, created_at, "
            "expires_at) VALUES (:code_hash, :grant_id, :redirect_uri, :code_challenge, :created_at, :expires_at)"
        ),
        values,
    )


def held_code(connection: Connection, code_hash: bytes, client_no: int) -> RowMapping | None:
    """A client's code with its grant, both held."""
    return _one(
        connection,
        "SELECT a.code_hash, a.redirect_uri, a.code_challenge, a.expires_at AS code_expires_at, a.used_at, g.* "
        "FROM gateway.authorization_code a JOIN gateway.client_grant g USING (grant_id) "
        "WHERE a.code_hash = :hash AND g.client_no = :client_no FOR NO KEY UPDATE",
        {"hash": code_hash, "client_no": client_no},
    )


def end_grants(
    connection: Connection,
    *,
    why: str,
    at: datetime,
    until: datetime,
    grant_id: str | None = None,
    actor_id: int | None = None,
    terminal_id: int | None = None,
) -> list[str]:
    """End grants (one; all that a person gave to apps; all of a terminal) and their access tokens, until an instant."""
    statement = text(
        "WITH ended AS (UPDATE gateway.client_grant SET ended_at = :at, ended_why = :why "
        "WHERE ended_at IS NULL AND (grant_id = CAST(:grant_id AS text) "
        "OR (actor_id = CAST(:actor_id AS int) AND terminal_id IS NULL) "
        "OR terminal_id = CAST(:terminal_id AS int)) RETURNING grant_id) "
        "INSERT INTO gateway.ended_token (token_id, until) SELECT grant_id, :until FROM ended ORDER BY grant_id "
        "ON CONFLICT (token_id) DO UPDATE SET until = EXCLUDED.until RETURNING token_id"
    )
    values = {"why": why, "at": at, "until": until, "grant_id": grant_id, "actor_id": actor_id,
              "terminal_id": terminal_id}  # fmt: skip
    _sweep_ended(connection, at)
    return list(connection.execute(statement, values).scalars())


def end_token(connection: Connection, token_id: str, *, at: datetime, until: datetime) -> None:
    """End one access token, by its jti."""
    _sweep_ended(connection, at)
    statement = text(
        "INSERT INTO gateway.ended_token (token_id, until) VALUES (:token_id, :until) ON CONFLICT (token_id) DO NOTHING"
    )
    connection.execute(statement, {"token_id": token_id, "until": until})


def _sweep_ended(connection: Connection, at: datetime) -> None:
    statement = text(
        "DELETE FROM gateway.ended_token WHERE token_id IN (SELECT token_id FROM gateway.ended_token "
        "WHERE until < :at ORDER BY until LIMIT 100 FOR UPDATE SKIP LOCKED)"
    )
    connection.execute(statement, {"at": at})


def any_ended(connection: Connection, token_ids: Sequence[str]) -> bool:
    """Whether one of these access tokens or grants was ended."""
    statement = text("SELECT EXISTS (SELECT FROM gateway.ended_token WHERE token_id = ANY (CAST(:ids AS text[])))")
    return bool(connection.execute(statement, {"ids": list(token_ids)}).scalar_one())


def grants_of(connection: Connection, client_no: int) -> Sequence[RowMapping]:
    """A client's grants, the newest first, with who gave them."""
    statement = text(
        "SELECT g.grant_id, p.name AS given_by, g.terminal_id, g.scopes, g.created_at, g.ends_at, g.ended_at, "
        "g.ended_why FROM gateway.client_grant g JOIN kit.actor p USING (actor_id) WHERE g.client_no = :client_no "
        "ORDER BY g.created_at DESC, g.grant_id LIMIT 1000"
    )
    return connection.execute(statement, {"client_no": client_no}).mappings().all()


# --- Refresh tokens -----------------------------------------------------------------------------------------


def insert_refresh(
    connection: Connection, *, token_hash: bytes, grant_id: str, at: datetime, expires_at: datetime
) -> None:
    """Add a refresh token of a grant; nothing happens if it is there. Two that are over are taken away."""
    sweep = text(
        "DELETE FROM gateway.refresh_token WHERE token_hash IN (SELECT token_hash FROM gateway.refresh_token "
        "WHERE expires_at < :at ORDER BY expires_at LIMIT 2 FOR UPDATE SKIP LOCKED)"
    )
    connection.execute(sweep, {"at": at})
    statement = text(
        "INSERT INTO gateway.refresh_token (token_hash, grant_id, created_at, expires_at) "
        "VALUES (:hash, :grant_id, :at, :expires_at) ON CONFLICT (token_hash) DO NOTHING"
    )
    connection.execute(statement, {"hash": token_hash, "grant_id": grant_id, "at": at, "expires_at": expires_at})


def held_refresh(connection: Connection, token_hash: bytes, successor_hash: bytes) -> RowMapping | None:
    """A refresh token with its grant, which is held, and whether its successor was used."""
    # The grant is locked by a statement of its own, so that the next one sees what whoever held it has written.
    lock = text(
        "SELECT g.grant_id FROM gateway.client_grant g JOIN gateway.refresh_token r USING (grant_id) "
        "WHERE r.token_hash = :hash FOR NO KEY UPDATE OF g"
    )
    connection.execute(lock, {"hash": token_hash})
    return _one(
        connection,
        "SELECT r.token_hash, r.expires_at AS token_expires_at, r.used_at, g.*, "
        "EXISTS (SELECT FROM gateway.refresh_token s WHERE s.token_hash = :successor AND s.used_at IS NOT NULL) "
        "AS successor_used FROM gateway.refresh_token r JOIN gateway.client_grant g USING (grant_id) "
        "WHERE r.token_hash = :hash",
        {"hash": token_hash, "successor": successor_hash},
    )


def use_refresh(connection: Connection, token_hash: bytes, *, at: datetime, until: datetime) -> None:
    """Mark a refresh token as used, if it was not; until an instant it is kept, so that a second use is seen."""
    statement = text(
        "UPDATE gateway.refresh_token SET used_at = :at, expires_at = least(expires_at, :until) "
        "WHERE token_hash = :hash AND used_at IS NULL"
    )
    connection.execute(statement, {"hash": token_hash, "at": at, "until": until})


def prolong_refresh(connection: Connection, token_hash: bytes, expires_at: datetime) -> None:
    """Let a refresh token that stays be good until an instant."""
    statement = text("UPDATE gateway.refresh_token SET expires_at = :expires_at WHERE token_hash = :hash")
    connection.execute(statement, {"hash": token_hash, "expires_at": expires_at})


# --- Codes of tills -----------------------------------------------------------------------------------------


def insert_device(connection: Connection, values: Mapping[str, Any]) -> bool:
    """Keep a till's request; False where its short code is taken. A hundred that are over by a day are taken away."""
    connection.execute(
        text(
            "DELETE FROM gateway.device_code WHERE code_hash IN (SELECT code_hash FROM gateway.device_code "
            "WHERE expires_at < CAST(:at AS timestamptz) - interval '1 day' ORDER BY expires_at LIMIT 100 "
            "FOR UPDATE SKIP LOCKED)"
        ),
        {"at": values["created_at"]},
    )
    statement = text(
        "INSERT INTO gateway.device_code (code_hash, user_code, client_no, scope, jkt, outlet, terminal, serial, "
        "network_place, created_at, expires_at, interval_seconds) VALUES (:code_hash, :user_code, :client_no, :scope, "
        ":jkt, :outlet, :terminal, :serial, :network_place, :created_at, :expires_at, :interval_seconds) "
        "ON CONFLICT (user_code) DO NOTHING RETURNING 1"
    )
    return connection.execute(statement, values).scalar_one_or_none() is not None


def held_device(connection: Connection, code_hash: bytes, client_no: int) -> RowMapping | None:
    """What became of a till's request, held."""
    return _one(
        connection,
        "SELECT * FROM gateway.device_code WHERE code_hash = :hash AND client_no = :client_no FOR UPDATE",
        {"hash": code_hash, "client_no": client_no},
    )


def polled_device(connection: Connection, code_hash: bytes, *, interval_seconds: int, at: datetime) -> None:
    """Remember that a till asked, and how long it has to wait before it asks again."""
    statement = text(
        "UPDATE gateway.device_code SET polled_at = :at, interval_seconds = least(:interval, 3600) "
        "WHERE code_hash = :hash"
    )
    connection.execute(statement, {"hash": code_hash, "at": at, "interval": interval_seconds})


def redeem_device(connection: Connection, code_hash: bytes, grant_id: str) -> None:
    """Mark a till's code as redeemed."""
    statement = text("UPDATE gateway.device_code SET grant_id = :grant_id WHERE code_hash = :hash")
    connection.execute(statement, {"hash": code_hash, "grant_id": grant_id})


def device_by_user_code(connection: Connection, user_code: UUID, at: datetime) -> RowMapping | None:
    """A till's request that waits for a person, with its client, held."""
    return _one(
        connection,
        "SELECT d.*, c.partner_id, c.name AS client_name, c.client_id, c.status AS client_status, "
        "c.scopes AS client_scopes "
        "FROM gateway.device_code d JOIN gateway.client c USING (client_no) WHERE d.user_code = :user_code "
        "AND d.approved IS NULL AND d.expires_at > :at FOR UPDATE OF d",
        {"user_code": user_code, "at": at},
    )


def decide_device(
    connection: Connection, code_hash: bytes, *, approved: bool, actor_id: int, terminal_id: int | None
) -> None:
    """Write what a person said to a till's request."""
    statement = text(
        "UPDATE gateway.device_code SET approved = :approved, actor_id = :actor_id, terminal_id = :terminal_id "
        "WHERE code_hash = :hash AND approved IS NULL"
    )
    values = {"hash": code_hash, "approved": approved, "actor_id": actor_id, "terminal_id": terminal_id}
    connection.execute(statement, values)


def misses_since(connection: Connection, actor_id: int, *, soon: datetime, long: datetime) -> tuple[int, int]:
    """How many codes that were not there a person typed since two instants; older ones are forgotten."""
    connection.execute(
        text("DELETE FROM gateway.user_code_miss WHERE actor_id = :actor_id AND missed_at < :long"),
        {"actor_id": actor_id, "long": long},
    )
    statement = text(
        "SELECT count(*) FILTER (WHERE missed_at >= :soon), count(*) FROM gateway.user_code_miss "
        "WHERE actor_id = :actor_id"
    )
    found = connection.execute(statement, {"actor_id": actor_id, "soon": soon}).one()
    return int(found[0]), int(found[1])


def insert_miss(connection: Connection, actor_id: int, at: datetime) -> None:
    """Count one more."""
    statement = text("INSERT INTO gateway.user_code_miss (actor_id, missed_at) VALUES (:actor_id, :at)")
    connection.execute(statement, {"actor_id": actor_id, "at": at})
