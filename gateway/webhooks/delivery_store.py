"""Statements on events, deliveries and attempts, and on how far the journal was read. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

# --- Gathering ----------------------------------------------------------------------------------------------


async def lock_position(connection: AsyncConnection) -> RowMapping:
    """How far was read: xid, looked_at. Whoever gathers at the same time waits."""
    statement = text("SELECT xid::text::bigint AS xid, looked_at FROM gateway.webhook_position FOR UPDATE")
    return (await connection.execute(statement)).mappings().one()


async def set_position(connection: AsyncConnection, xid: int) -> None:
    """The journal was read up to a transaction number."""
    statement = text("UPDATE gateway.webhook_position SET xid = CAST(CAST(:xid AS text) AS xid8)")
    await connection.execute(statement, {"xid": str(xid)})


async def set_looked_at(connection: AsyncConnection, at: datetime) -> None:
    """The rest was looked through as of a business instant."""
    await connection.execute(text("UPDATE gateway.webhook_position SET looked_at = :at"), {"at": at})


async def insert_events(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """Add events, in order; their numbers, None of each that there was."""
    statement = text(
        "INSERT INTO gateway.webhook_event (partner_id, type, version, source, is_sample, data, at, written_at) "
        "VALUES (:partner_id, :type, :version, :source, :is_sample, CAST(:data AS jsonb), :at, :now) "
        "ON CONFLICT DO NOTHING RETURNING event_no"
    )
    return [(await connection.execute(statement, dict(row))).scalar_one_or_none() for row in rows]


async def insert_deliveries(
    connection: AsyncConnection, endpoint_no: int, event_nos: Sequence[int], at: datetime
) -> list[int]:
    """Put events on their way to an endpoint, in order, in its sequence; the deliveries' numbers."""
    statement = text(
        "WITH e AS (UPDATE gateway.webhook_endpoint SET sequence = sequence + :count WHERE endpoint_no = :endpoint_no "
        "           RETURNING sequence - :count AS before) "
        "INSERT INTO gateway.webhook_delivery (endpoint_no, event_no, sequence, next_at) "
        "SELECT :endpoint_no, v.event_no, e.before + v.ord, :at "
        "FROM e, unnest(CAST(:event_nos AS bigint[])) WITH ORDINALITY AS v(event_no, ord) ORDER BY v.ord "
        "RETURNING delivery_no"
    )
    values = {"endpoint_no": endpoint_no, "event_nos": list(event_nos), "count": len(event_nos), "at": at}
    return list((await connection.execute(statement, values)).scalars())


# --- Delivering ---------------------------------------------------------------------------------------------

_MAY_BE_SENT = "d.state = 'WAITING' AND d.next_at <= :at AND (d.leased_until IS NULL OR d.leased_until <= :now) "
_MAY_BE_CALLED = "e.status = 'ACTIVE' AND (e.rests_until IS NULL OR e.rests_until <= :at) "


async def due_endpoints(
    connection: AsyncConnection, *, at: datetime, now: datetime, busy: Sequence[int]
) -> Sequence[RowMapping]:
    """Endpoints with something due that are not busy, whoever was served longest ago first: endpoint_no, partner_id."""
    statement = text(
        f"SELECT e.endpoint_no, e.partner_id FROM gateway.webhook_endpoint e WHERE {_MAY_BE_CALLED} "
        "AND e.endpoint_no <> ALL (CAST(:busy AS int[])) AND EXISTS (SELECT FROM gateway.webhook_delivery d "
        f"  WHERE d.endpoint_no = e.endpoint_no AND {_MAY_BE_SENT}) "
        "ORDER BY e.tried_at NULLS FIRST, e.endpoint_no LIMIT 200"
    )
    return (await connection.execute(statement, {"at": at, "now": now, "busy": list(busy)})).mappings().all()


async def take(
    connection: AsyncConnection, endpoint_no: int, *, at: datetime, now: datetime, until: datetime, most: int,
    most_of_failing: int, tripped_after: int,
) -> Sequence[RowMapping]:  # fmt: skip
    """Take an endpoint's due deliveries in hand until an instant, the first in sequence; of one that fails fewer. Each
    with its endpoint and its event."""
    statement = text(
        "WITH e AS (SELECT * FROM gateway.webhook_endpoint e "
        f"           WHERE e.endpoint_no = :endpoint_no AND {_MAY_BE_CALLED}), "
        "due AS (SELECT d.delivery_no FROM gateway.webhook_delivery d, e WHERE d.endpoint_no = e.endpoint_no "
        f"        AND {_MAY_BE_SENT} ORDER BY d.sequence "
        "        LIMIT (SELECT CASE WHEN failures >= :tripped_after THEN CAST(:most_of_failing AS bigint) "
        "               ELSE CAST(:most AS bigint) END FROM e) "
        "        FOR NO KEY UPDATE OF d SKIP LOCKED), "
        "taken AS (UPDATE gateway.webhook_delivery d SET leased_until = :until FROM due "
        "          WHERE d.delivery_no = due.delivery_no RETURNING d.*) "
        "SELECT t.delivery_no, t.endpoint_no, t.sequence, t.tries, e.url, v.event_no, v.partner_id, v.type, v.version, "
        "       v.source, v.is_sample, v.data, v.at "
        "FROM taken t JOIN gateway.webhook_event v USING (event_no), e ORDER BY t.sequence"
    )
    values = {
        "endpoint_no": endpoint_no, "at": at, "now": now, "until": until, "most": most,
        "most_of_failing": most_of_failing, "tripped_after": tripped_after,
    }  # fmt: skip
    return (await connection.execute(statement, values)).mappings().all()


async def lock_delivery(connection: AsyncConnection, delivery_no: int) -> RowMapping | None:
    """A delivery that nobody else changes until the transaction ends: state, tries, attempts. None where it is gone."""
    statement = text(
        "SELECT state, tries, attempts FROM gateway.webhook_delivery WHERE delivery_no = :delivery_no FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"delivery_no": delivery_no})).mappings().one_or_none()


async def insert_attempt(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """Keep what became of a sending."""
    statement = text(
        "INSERT INTO gateway.webhook_attempt (delivery_no, attempt_no, at, sent_at, took_ms, request_id, status, "
        "error, answer) VALUES (:delivery_no, :attempt_no, :at, :sent_at, :took_ms, :request_id, :status, :error, "
        ":answer)"
    )
    await connection.execute(statement, dict(row))


async def set_delivery(
    connection: AsyncConnection, delivery_no: int, *, state: str, tries: int, attempts: int, next_at: datetime | None
) -> None:
    """How a delivery stands after an attempt; nobody has it in hand any more."""
    statement = text(
        "UPDATE gateway.webhook_delivery SET state = :state, tries = :tries, attempts = :attempts, next_at = :next_at, "
        "leased_until = NULL WHERE delivery_no = :delivery_no"
    )
    values = {"delivery_no": delivery_no, "state": state, "tries": tries, "attempts": attempts, "next_at": next_at}
    await connection.execute(statement, values)


async def send_again(
    connection: AsyncConnection, endpoint_no: int, *, at: datetime, limit: int, delivery_no: int | None = None,
    since: datetime | None = None,
) -> int:  # fmt: skip
    """Let an endpoint's deliveries be due at once as if they were new: one, or those that failed of events written down
    since an instant, the first in sequence; how many."""
    statement = text(
        "UPDATE gateway.webhook_delivery SET state = 'WAITING', tries = 0, next_at = :at, leased_until = NULL "
        "WHERE delivery_no IN (SELECT d.delivery_no FROM gateway.webhook_delivery d "
        "  JOIN gateway.webhook_event v USING (event_no) WHERE d.endpoint_no = :endpoint_no "
        "  AND (d.delivery_no = CAST(:delivery_no AS bigint) OR CAST(:delivery_no AS bigint) IS NULL "
        "       AND d.state = 'FAILED' AND v.at >= CAST(:since AS timestamptz)) "
        "  ORDER BY d.sequence LIMIT :limit FOR NO KEY UPDATE OF d)"
    )
    values = {"endpoint_no": endpoint_no, "at": at, "delivery_no": delivery_no, "since": since, "limit": limit}
    return (await connection.execute(statement, values)).rowcount


# --- Reading ------------------------------------------------------------------------------------------------

_SHOWN = (
    "d.delivery_no, d.endpoint_no, d.sequence, d.state, d.attempts, d.next_at, v.event_no, v.partner_id, v.type, "
    "v.version, v.source, v.is_sample, v.data, v.at, e.url, e.status AS endpoint_status "
)


async def page(connection: AsyncConnection, wanted: Mapping[str, Any]) -> Sequence[RowMapping]:
    """A partner's deliveries, the latest first; each condition counts that is not None."""
    statement = text(
        f"SELECT {_SHOWN} FROM gateway.webhook_endpoint e CROSS JOIN LATERAL ("
        "  SELECT * FROM gateway.webhook_delivery x WHERE x.endpoint_no = e.endpoint_no "
        "  AND (CAST(:before AS bigint) IS NULL OR x.delivery_no < :before) "
        "  AND (CAST(:state AS text) IS NULL OR x.state = :state) ORDER BY x.delivery_no DESC LIMIT :limit) d "
        "JOIN gateway.webhook_event v USING (event_no) WHERE e.partner_id = :partner_id "
        "AND (CAST(:endpoint_no AS int) IS NULL OR e.endpoint_no = :endpoint_no) "
        "ORDER BY d.delivery_no DESC LIMIT :limit"
    )
    return (await connection.execute(statement, dict(wanted))).mappings().all()


async def one(connection: AsyncConnection, partner_id: int, delivery_no: int) -> RowMapping | None:
    """A partner's delivery."""
    statement = text(
        f"SELECT {_SHOWN} FROM gateway.webhook_delivery d JOIN gateway.webhook_event v USING (event_no) "
        "JOIN gateway.webhook_endpoint e USING (endpoint_no) "
        "WHERE e.partner_id = :partner_id AND d.delivery_no = :delivery_no"
    )
    values = {"partner_id": partner_id, "delivery_no": delivery_no}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def attempts(connection: AsyncConnection, delivery_nos: Sequence[int]) -> Sequence[RowMapping]:
    """The last attempts of deliveries, each delivery's latest first."""
    statement = text(
        "SELECT a.* FROM unnest(CAST(:delivery_nos AS bigint[])) AS w(delivery_no) CROSS JOIN LATERAL ("
        "  SELECT * FROM gateway.webhook_attempt t WHERE t.delivery_no = w.delivery_no "
        "  ORDER BY t.attempt_no DESC LIMIT 10) a ORDER BY a.delivery_no, a.attempt_no DESC"
    )
    return (await connection.execute(statement, {"delivery_nos": list(delivery_nos)})).mappings().all()


async def counts(connection: AsyncConnection, endpoint_nos: Sequence[int], latest: int) -> Sequence[RowMapping]:
    """How endpoints do: endpoint_no, waiting, failed; attempts, taken and took_ms (the 95th of a hundred) of so many of
    the latest attempts."""
    statement = text(
        "SELECT w.endpoint_no, "
        "  (SELECT count(*) FROM gateway.webhook_delivery d "
        "   WHERE d.endpoint_no = w.endpoint_no AND d.state = 'WAITING') AS waiting, "
        "  (SELECT count(*) FROM gateway.webhook_delivery d "
        "   WHERE d.endpoint_no = w.endpoint_no AND d.state = 'FAILED') AS failed, a.attempts, a.taken, a.took_ms "
        "FROM unnest(CAST(:endpoint_nos AS int[])) AS w(endpoint_no) CROSS JOIN LATERAL ("
        "  SELECT count(*) AS attempts, count(*) FILTER (WHERE n.status BETWEEN 200 AND 299) AS taken, "
        "         percentile_disc(0.95) WITHIN GROUP (ORDER BY n.took_ms) AS took_ms "
        "  FROM (SELECT t.status, t.took_ms FROM gateway.webhook_delivery d JOIN gateway.webhook_attempt t "
        "        USING (delivery_no) WHERE d.endpoint_no = w.endpoint_no "
        "        ORDER BY d.delivery_no DESC, t.attempt_no DESC LIMIT :latest) n) a"
    )
    values = {"endpoint_nos": list(endpoint_nos), "latest": latest}
    return (await connection.execute(statement, values)).mappings().all()


async def forget(connection: AsyncConnection, *, before: datetime, lasting: Sequence[str], limit: int) -> int:
    """Delete events written down before a wall instant, with their deliveries and attempts, at most so many; how many.

    What is on its way to an endpoint that is called stays, and what could be found anew: for a while, or of lasting
    types for ever.
    """
    old = text(
        "SELECT v.event_no FROM gateway.webhook_event v, gateway.webhook_position p "
        "WHERE v.written_at < :before AND v.at < p.looked_at - interval '14 days' "
        "AND (v.is_sample OR v.type <> ALL (:lasting)) "
        "AND NOT EXISTS (SELECT FROM gateway.webhook_delivery d JOIN gateway.webhook_endpoint e USING (endpoint_no) "
        "  WHERE d.event_no = v.event_no AND d.state = 'WAITING' AND e.status = 'ACTIVE') "
        "ORDER BY v.written_at LIMIT :limit"
    )
    values = {"before": before, "lasting": list(lasting), "limit": limit}
    event_nos = list((await connection.execute(old, values)).scalars())
    deliveries = text("DELETE FROM gateway.webhook_delivery WHERE event_no = ANY (CAST(:event_nos AS bigint[]))")
    await connection.execute(deliveries, {"event_nos": event_nos})
    events = text("DELETE FROM gateway.webhook_event WHERE event_no = ANY (CAST(:event_nos AS bigint[]))")
    return (await connection.execute(events, {"event_nos": event_nos})).rowcount
