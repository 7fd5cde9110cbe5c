"""Statements on the log of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ENTRY = (
    "SELECT l.entry_no, l.partner_id, c.client_id, c.name AS client_name, l.request_id, l.asked_at, l.operation, "
    "l.document_hash, l.status, l.code, l.took_ms, l.cost, l.replayed, l.variables "
    "FROM gateway.request_log l JOIN gateway.client c USING (client_no) "
)


async def insert(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add entries."""
    statement = text(
        "INSERT INTO gateway.request_log (partner_id, client_no, request_id, asked_at, operation, document_hash, "
        "status, code, took_ms, cost, replayed, variables) VALUES (:partner_id, :client_no, :request_id, :asked_at, "
        ":operation, :document_hash, :status, :code, :took_ms, :cost, :replayed, CAST(:variables AS jsonb))"
    )
    await connection.execute(statement, [dict(row) for row in rows])


async def delete_before(connection: AsyncConnection, at: datetime, limit: int) -> int:
    """Delete entries from before an instant, at most so many; how many."""
    statement = text(
        "DELETE FROM gateway.request_log WHERE entry_no IN "
        "(SELECT entry_no FROM gateway.request_log WHERE asked_at < :at ORDER BY asked_at LIMIT :limit)"
    )
    return (await connection.execute(statement, {"at": at, "limit": limit})).rowcount


async def page(connection: AsyncConnection, wanted: Mapping[str, Any]) -> Sequence[RowMapping]:
    """A partner's entries, the latest first; each condition counts that is not None."""
    statement = text(
        _ENTRY + "WHERE l.partner_id = :partner_id AND (CAST(:before AS bigint) IS NULL OR l.entry_no < :before) "
        "AND (CAST(:request_id AS text) IS NULL OR l.request_id = :request_id) "
        "AND (CAST(:client_id AS text) IS NULL OR c.client_id = :client_id) "
        "AND (CAST(:operation AS text) IS NULL OR l.operation = :operation) "
        "AND (CAST(:code AS text) IS NULL OR l.code = :code) "
        "AND (CAST(:since AS timestamptz) IS NULL OR l.asked_at >= :since) "
        "AND (CAST(:until AS timestamptz) IS NULL OR l.asked_at < :until) "
        "AND (NOT :failed OR l.code IS NOT NULL) ORDER BY l.entry_no DESC LIMIT :limit"
    )
    return (await connection.execute(statement, dict(wanted))).mappings().all()


async def refusals(
    connection: AsyncConnection, partner_id: int, since: datetime, until: datetime, limit: int
) -> Sequence[RowMapping]:
    """A partner's refused entries in [since, until) by code and operation, the most first."""
    statement = text(
        "SELECT l.code, l.operation, count(*) AS requests, array_agg(DISTINCT c.client_id) AS client_ids, "
        "(array_agg(l.request_id ORDER BY l.entry_no DESC))[1] AS last_request_id, max(l.asked_at) AS last_at "
        "FROM gateway.request_log l JOIN gateway.client c USING (client_no) "
        "WHERE l.partner_id = :partner_id AND l.code IS NOT NULL AND l.asked_at >= :since AND l.asked_at < :until "
        "GROUP BY l.code, l.operation ORDER BY requests DESC, l.code, l.operation LIMIT :limit"
    )
    given = {"partner_id": partner_id, "since": since, "until": until, "limit": limit}
    return (await connection.execute(statement, given)).mappings().all()


async def everywhere(connection: AsyncConnection, request_id: str, limit: int) -> Sequence[RowMapping]:
    """Entries of one request's id, the latest first."""
    statement = text(_ENTRY + "WHERE l.request_id = :request_id ORDER BY l.entry_no DESC LIMIT :limit")
    return (await connection.execute(statement, {"request_id": request_id, "limit": limit})).mappings().all()
