"""Statements on the figures of requests, and on what partners' programs did for the first time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def add(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add counts to the rows of their hours."""
    statement = text(
        "INSERT INTO gateway.request_figure AS f "
        "(partner_id, client_no, hour, requests, refused, away, replayed, cost, took) "
        "VALUES (:partner_id, :client_no, :hour, :requests, :refused, :away, :replayed, :cost, "
        "CAST(:took AS bigint[])) "
        "ON CONFLICT (partner_id, client_no, hour) DO UPDATE SET requests = f.requests + EXCLUDED.requests, "
        "refused = f.refused + EXCLUDED.refused, away = f.away + EXCLUDED.away, "
        "replayed = f.replayed + EXCLUDED.replayed, cost = f.cost + EXCLUDED.cost, "
        "took = (SELECT array_agg(t.mine + t.other ORDER BY t.place) "
        "FROM unnest(f.took, EXCLUDED.took) WITH ORDINALITY AS t(mine, other, place))"
    )
    await connection.execute(statement, [dict(row) for row in rows])


async def sums(connection: AsyncConnection, partner_id: int, since: datetime) -> Sequence[RowMapping]:
    """What a partner's clients asked since an hour, a row for each."""
    statement = text(
        "SELECT client_no, sum(requests)::bigint AS requests, sum(refused)::bigint AS refused, "
        "sum(away)::bigint AS away, sum(replayed)::bigint AS replayed, sum(cost)::bigint AS cost, "
        "max(cost)::bigint AS busiest_cost, (SELECT array_agg(t.count ORDER BY t.place) FROM ("
        "SELECT u.place, sum(u.count)::bigint AS count FROM gateway.request_figure g, "
        "unnest(g.took) WITH ORDINALITY AS u(count, place) WHERE g.partner_id = :partner_id AND g.hour >= :since "
        "AND g.client_no = f.client_no GROUP BY u.place) t) AS took "
        "FROM gateway.request_figure f WHERE partner_id = :partner_id AND hour >= :since "
        "GROUP BY client_no ORDER BY client_no"
    )
    found = await connection.execute(statement, {"partner_id": partner_id, "since": since})
    return found.mappings().all()


async def delete_before(connection: AsyncConnection, at: datetime, limit: int) -> int:
    """Delete the counts of hours before an instant, at most so many rows; how many."""
    statement = text(
        "DELETE FROM gateway.request_figure WHERE (partner_id, client_no, hour) IN "
        "(SELECT partner_id, client_no, hour FROM gateway.request_figure WHERE hour < :at ORDER BY hour LIMIT :limit)"
    )
    return (await connection.execute(statement, {"at": at, "limit": limit})).rowcount


async def insert_steps(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep what was done for the first time; what was done before stays as it is."""
    statement = text(
        "INSERT INTO gateway.first_step (partner_id, step, client_no, request_id, at) "
        "VALUES (:partner_id, :step, :client_no, :request_id, :at) ON CONFLICT DO NOTHING"
    )
    await connection.execute(statement, [dict(row) for row in rows])


async def steps(connection: AsyncConnection, partner_id: int) -> Sequence[RowMapping]:
    """What a partner's programs have done: step, client_id, request_id, at."""
    statement = text(
        "SELECT s.step, c.client_id, s.request_id, s.at FROM gateway.first_step s "
        "JOIN gateway.client c USING (client_no) WHERE s.partner_id = :partner_id"
    )
    return (await connection.execute(statement, {"partner_id": partner_id})).mappings().all()
