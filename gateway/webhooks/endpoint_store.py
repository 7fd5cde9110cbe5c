"""Statements on endpoints and their secrets. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ENDPOINT = (
    "SELECT endpoint_no, partner_id, url, description, types, status, reason, failures, failing_since, rests_until, "
    "created_at FROM gateway.webhook_endpoint "
)


async def insert(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """Add an endpoint; its number."""
    statement = text(
        "INSERT INTO gateway.webhook_endpoint (partner_id, url, description, types, created_at) "
        "VALUES (:partner_id, :url, :description, :types, :at) RETURNING endpoint_no"
    )
    return int((await connection.execute(statement, dict(row))).scalar_one())


async def insert_secret(connection: AsyncConnection, endpoint_no: int, sealed: bytes, now: datetime) -> None:
    """Add the secret that an endpoint's deliveries are signed with from now on."""
    statement = text(
        "INSERT INTO gateway.webhook_secret (endpoint_no, sealed, created_at) VALUES (:endpoint_no, :sealed, :now)"
    )
    await connection.execute(statement, {"endpoint_no": endpoint_no, "sealed": sealed, "now": now})


async def end_secrets(connection: AsyncConnection, endpoint_no: int, *, newest_at: datetime, now: datetime) -> None:
    """Let the newest secret sign until an instant, and every older one no more."""
    statement = text(
        "UPDATE gateway.webhook_secret SET ends_at = CASE WHEN ends_at IS NULL THEN CAST(:newest_at AS timestamptz) "
        "ELSE greatest(created_at, least(ends_at, CAST(:now AS timestamptz))) END WHERE endpoint_no = :endpoint_no"
    )
    await connection.execute(statement, {"endpoint_no": endpoint_no, "newest_at": newest_at, "now": now})


async def secrets(connection: AsyncConnection, endpoint_nos: Sequence[int], now: datetime) -> Sequence[RowMapping]:
    """The secrets that sign for endpoints now, the newest first: endpoint_no, sealed, created_at, ends_at."""
    statement = text(
        "SELECT endpoint_no, sealed, created_at, ends_at FROM gateway.webhook_secret "
        "WHERE endpoint_no = ANY (CAST(:endpoint_nos AS int[])) AND (ends_at IS NULL OR ends_at > :now) "
        "ORDER BY secret_no DESC"
    )
    values = {"endpoint_nos": list(endpoint_nos), "now": now}
    return (await connection.execute(statement, values)).mappings().all()


async def forget_secrets(connection: AsyncConnection, before: datetime) -> int:
    """Delete secrets that ended before an instant; how many."""
    statement = text("DELETE FROM gateway.webhook_secret WHERE ends_at < :before")
    return (await connection.execute(statement, {"before": before})).rowcount


async def of_partner(connection: AsyncConnection, partner_id: int) -> Sequence[RowMapping]:
    """A partner's endpoints, the oldest first."""
    statement = text(_ENDPOINT + "WHERE partner_id = :partner_id AND status <> 'REMOVED' ORDER BY endpoint_no")
    return (await connection.execute(statement, {"partner_id": partner_id})).mappings().all()


async def one(connection: AsyncConnection, partner_id: int, endpoint_no: int) -> RowMapping | None:
    """A partner's endpoint, removed or not."""
    statement = text(_ENDPOINT + "WHERE partner_id = :partner_id AND endpoint_no = :endpoint_no")
    values = {"partner_id": partner_id, "endpoint_no": endpoint_no}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def lock(connection: AsyncConnection, endpoint_no: int) -> RowMapping:
    """An endpoint that nobody else changes until the transaction ends."""
    statement = text(_ENDPOINT + "WHERE endpoint_no = :endpoint_no FOR NO KEY UPDATE")
    return (await connection.execute(statement, {"endpoint_no": endpoint_no})).mappings().one()


async def everywhere(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Endpoints of all partners that are not removed: endpoint_no, partner_id, types, created_at."""
    statement = text(
        "SELECT endpoint_no, partner_id, types, created_at FROM gateway.webhook_endpoint WHERE status <> 'REMOVED' "
        "ORDER BY endpoint_no"
    )
    return (await connection.execute(statement)).mappings().all()


async def change(connection: AsyncConnection, endpoint_no: int, row: Mapping[str, Any]) -> None:
    """Give an endpoint another URL, description and types."""
    statement = text(
        "UPDATE gateway.webhook_endpoint SET url = :url, description = :description, types = :types "
        "WHERE endpoint_no = :endpoint_no"
    )
    await connection.execute(statement, {**row, "endpoint_no": endpoint_no})


async def set_status(connection: AsyncConnection, endpoint_no: int, status: str, reason: str | None) -> None:
    """Send to an endpoint or not; what failed before is no longer counted."""
    statement = text(
        "UPDATE gateway.webhook_endpoint SET status = :status, reason = :reason, failures = 0, failing_since = NULL, "
        "rests_until = NULL WHERE endpoint_no = :endpoint_no"
    )
    await connection.execute(statement, {"endpoint_no": endpoint_no, "status": status, "reason": reason})


async def note_taken(connection: AsyncConnection, endpoint_no: int, now: datetime) -> None:
    """An endpoint took a delivery."""
    statement = text(
        "UPDATE gateway.webhook_endpoint SET failures = 0, failing_since = NULL, rests_until = NULL, tried_at = :now "
        "WHERE endpoint_no = :endpoint_no"
    )
    await connection.execute(statement, {"endpoint_no": endpoint_no, "now": now})


async def note_failure(
    connection: AsyncConnection, endpoint_no: int, *, failures: int, since: datetime, rests_until: datetime | None,
    now: datetime,
) -> None:  # fmt: skip
    """An endpoint did not take a delivery."""
    statement = text(
        "UPDATE gateway.webhook_endpoint SET failures = :failures, failing_since = :since, rests_until = :rests_until, "
        "tried_at = :now WHERE endpoint_no = :endpoint_no"
    )
    values = {
        "endpoint_no": endpoint_no, "failures": failures, "since": since, "rests_until": rests_until, "now": now
    }  # fmt: skip
    await connection.execute(statement, values)


async def sealed_secrets(connection: AsyncConnection, after: int, limit: int) -> Sequence[RowMapping]:
    """The next secrets behind a number, locked: secret_no, endpoint_no, sealed."""
    statement = text(
        "SELECT secret_no, endpoint_no, sealed FROM gateway.webhook_secret WHERE secret_no > :after "
        "ORDER BY secret_no LIMIT :limit FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"after": after, "limit": limit})).mappings().all()


async def write_sealed(connection: AsyncConnection, secret_no: int, sealed: bytes) -> None:
    """Seal a secret otherwise; for the tables' owner."""
    statement = text("UPDATE gateway.webhook_secret SET sealed = :sealed WHERE secret_no = :secret_no")
    await connection.execute(statement, {"secret_no": secret_no, "sealed": sealed})
