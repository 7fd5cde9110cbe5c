"""Statements on breaks and their way. Private to the package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_BREAK = """
    SELECT b.break_id, b.source, b.leg, b.category, b.partner_id, b.currency, b.points, b.amount_minor, b.value_micro,
           b.file_id, b.detail, b.seen_at, s.to_state AS state, s.step_no, s.resolution, s.reason, s.at AS state_at,
           (SELECT o.owner FROM settlement.break_step o WHERE o.break_id = b.break_id AND o.owner IS NOT NULL
            ORDER BY o.step_no DESC LIMIT 1) AS owner,
           (SELECT o.due_on FROM settlement.break_step o WHERE o.break_id = b.break_id AND o.due_on IS NOT NULL
            ORDER BY o.step_no DESC LIMIT 1) AS due_on,
           (SELECT e.role FROM settlement.break_escalation e WHERE e.break_id = b.break_id
            ORDER BY e.due_on DESC, e.level DESC LIMIT 1) AS escalated_to
    FROM settlement.break b
    JOIN LATERAL (SELECT * FROM settlement.break_step t WHERE t.break_id = b.break_id
                  ORDER BY t.step_no DESC LIMIT 1) s ON true
"""


async def insert_break(connection: AsyncConnection, row: Mapping[str, Any]) -> int | None:
    """A break with its first step; None where it is known already."""
    made = await connection.execute(
        text(
            """
            WITH b AS (
              INSERT INTO settlement.break (source, leg, category, partner_id, currency, points, amount_minor,
                                            value_micro, file_id, detail, seen_at)
              VALUES (:source, :leg, :category, :partner_id, :currency, :points, :amount_minor, :value_micro, :file_id,
                      CAST(:detail AS jsonb), :at)
              ON CONFLICT (source) DO NOTHING RETURNING break_id
            ), s AS (
              INSERT INTO settlement.break_step (break_id, step_no, from_state, to_state, actor, reason, at)
              SELECT break_id, 1, NULL, 'OPEN', 'reconciliation', 'found', :at FROM b
            )
            SELECT break_id FROM b
            """
        ),
        {**row, "detail": json.dumps(row["detail"])},
    )
    return made.scalar_one_or_none()


async def insert_sides(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """The lines that breaks are about."""
    if rows:
        await connection.execute(
            text(
                "INSERT INTO settlement.break_side (break_id, side_no, side, file_id, line_no, holder_id, unit, seq, "
                "                                   kind) "
                "VALUES (:break_id, :side_no, :side, :file_id, :line_no, :holder_id, :unit, :seq, :kind)"
            ),
            list(rows),
        )


async def lock_break(connection: AsyncConnection, break_id: int) -> None:
    """Hold, until the transaction ends, the right to move a break on."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(32449, CAST(:id AS int))"), {"id": break_id % 2**31})


async def insert_step(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A step of a break. The database refuses one that does not begin where the break is, or follows no edge."""
    values = {
        "resolution": None, "owner": None, "due_on": None, "approval_id": None, "value_micro": 0, **row,
    }  # fmt: skip
    await connection.execute(
        text(
            "INSERT INTO settlement.break_step (break_id, step_no, from_state, to_state, resolution, owner, due_on, "
            "                                   actor, reason, approval_id, value_micro, at) "
            "SELECT :break_id, 1 + max(step_no), :from_state, :to_state, :resolution, :owner, :due_on, :actor, "
            "       :reason, :approval_id, :value_micro, :at FROM settlement.break_step WHERE break_id = :break_id"
        ),
        values,
    )


async def one(connection: AsyncConnection, break_id: int) -> Row[Any] | None:
    """A break and where it stands."""
    found = await connection.execute(text(f"{_BREAK} WHERE b.break_id = :break_id"), {"break_id": break_id})
    return found.one_or_none()


async def page(
    connection: AsyncConnection, *, partner_id: int | None, states: Sequence[str] | None, category: str | None,
    after: int, limit: int,
) -> Sequence[Row[Any]]:  # fmt: skip
    """Breaks behind a number, in order: of a partner, in some states, of a category, as asked for."""
    found = await connection.execute(
        text(
            f"{_BREAK} WHERE b.break_id > :after AND (CAST(:partner_id AS int) IS NULL OR b.partner_id = :partner_id) "
            "  AND (CAST(:states AS text[]) IS NULL OR s.to_state = ANY (:states)) "
            "  AND (CAST(:category AS text) IS NULL OR b.category = :category) ORDER BY b.break_id LIMIT :limit"
        ),
        {
            "partner_id": partner_id,
            "states": None if states is None else list(states),
            "category": category,
            "after": after,
            "limit": limit,
        },
    )
    return found.all()


async def steps(connection: AsyncConnection, break_id: int) -> Sequence[Row[Any]]:
    """How a break got where it is."""
    found = await connection.execute(
        text(
            "SELECT step_no, from_state, to_state, resolution, owner, due_on, actor, reason, approval_id, value_micro, "
            "       at FROM settlement.break_step WHERE break_id = :break_id ORDER BY step_no"
        ),
        {"break_id": break_id},
    )
    return found.all()


async def sides(connection: AsyncConnection, break_id: int) -> Sequence[Row[Any]]:
    """The lines that a break is about."""
    found = await connection.execute(
        text(
            "SELECT side, file_id, line_no, holder_id, unit, seq, kind FROM settlement.break_side "
            "WHERE break_id = :break_id ORDER BY side_no"
        ),
        {"break_id": break_id},
    )
    return found.all()


async def open_of_line(
    connection: AsyncConnection, *, holder_id: int, unit: int, seq: int, kind: str, category: str
) -> list[int]:
    """Breaks of a category about a line of ours that are not resolved."""
    found = await connection.execute(
        text(
            f"SELECT break_id FROM ({_BREAK}) b JOIN settlement.break_side x USING (break_id) "
            "WHERE x.side = 'OURS' AND (x.holder_id, x.unit, x.seq, x.kind) = (:holder_id, :unit, :seq, :kind) "
            "  AND b.category = :category AND b.state IN ('OPEN', 'ASSIGNED', 'EXPLAINED') ORDER BY break_id"
        ),
        {"holder_id": holder_id, "unit": unit, "seq": seq, "kind": kind, "category": category},
    )
    return list(found.scalars())


async def open_of_source(connection: AsyncConnection, source: str) -> list[int]:
    """Breaks of a source that are not resolved; of all that begin with it where it ends with a slash."""
    found = await connection.execute(
        text(
            f"SELECT break_id FROM ({_BREAK}) b WHERE b.state IN ('OPEN', 'ASSIGNED', 'EXPLAINED') "
            "  AND (b.source = :source OR right(:source, 1) = '/' AND starts_with(b.source, :source)) "
            "ORDER BY break_id"
        ),
        {"source": source},
    )
    return list(found.scalars())


async def open_file_breaks(connection: AsyncConnection, partner_id: int, sequence: int) -> list[int]:
    """Breaks about a file of a partner that did not come as it should, not resolved."""
    found = await connection.execute(
        text(
            f"SELECT break_id FROM ({_BREAK}) b WHERE b.category = 'FILE' AND b.partner_id = :partner_id "
            "  AND CAST(b.detail ->> 'sequence' AS int) = :sequence "
            "  AND b.detail ->> 'code' <> 'FILE_DUPLICATE' "
            "  AND b.state IN ('OPEN', 'ASSIGNED', 'EXPLAINED') ORDER BY break_id"
        ),
        {"partner_id": partner_id, "sequence": sequence},
    )
    return list(found.scalars())


async def written_off(connection: AsyncConnection, partner_id: int, since: datetime, until: datetime) -> int:
    """What one person alone wrote off of differences with a partner's files in a time, micro-units, without signs."""
    found = await connection.execute(
        text(
            "SELECT coalesce(sum(abs(s.value_micro)), 0) FROM settlement.break_step s "
            "JOIN settlement.break b USING (break_id) WHERE b.partner_id = :partner_id AND b.leg = 'FILE' "
            "  AND s.resolution = 'WRITE_OFF' AND s.approval_id IS NULL AND s.at >= :since AND s.at < :until"
        ),
        {"partner_id": partner_id, "since": since, "until": until},
    )
    return int(found.scalar_one())


async def relieved(
    connection: AsyncConnection, partner_id: int, since: datetime, until: datetime
) -> Sequence[Row[Any]]:
    """What one person alone wrote off of a partner's payments in a time: minor units by currency. Whether the break of
    it was still open then says nothing."""
    found = await connection.execute(
        text("""
            SELECT l.currency, CAST(sum(r.amount_minor) AS bigint) AS amount_minor
            FROM settlement.leg_relief r JOIN settlement.payment_leg l USING (leg_id)
            WHERE l.partner_id = :partner_id AND r.approval_id IS NULL AND r.at >= :since AND r.at < :until
            GROUP BY l.currency
        """),
        {"partner_id": partner_id, "since": since, "until": until},
    )
    return found.all()


async def counts(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """How many breaks of each partner and category there are, and how many are not resolved; what they are about."""
    found = await connection.execute(
        text(
            f"SELECT b.partner_id, b.category, b.leg, count(*) AS found, "
            "       count(*) FILTER (WHERE b.state IN ('OPEN', 'ASSIGNED', 'EXPLAINED')) AS unresolved, "
            "       CAST(coalesce(sum(abs(b.value_micro)) FILTER (WHERE b.state IN ('OPEN', 'ASSIGNED', 'EXPLAINED')), "
            "         0) AS bigint) AS open_micro "
            f"FROM ({_BREAK}) b GROUP BY b.partner_id, b.category, b.leg ORDER BY 1 NULLS FIRST, 2, 3"
        )
    )
    return found.all()


async def late(connection: AsyncConnection, on: date) -> Sequence[Row[Any]]:
    """Breaks that should have been resolved before a day, or that went to another role for it."""
    found = await connection.execute(
        text(
            f"SELECT * FROM ({_BREAK}) b WHERE b.state IN ('OPEN', 'ASSIGNED', 'EXPLAINED') "
            "  AND (b.due_on < :on OR b.due_on IS NULL AND b.escalated_to IS NOT NULL) "
            "ORDER BY b.due_on, b.break_id"
        ),
        {"on": on},
    )
    return found.all()


async def is_disputed(connection: AsyncConnection, break_id: int) -> bool:
    """Whether a break was resolved by a dispute."""
    found = await connection.execute(
        text("SELECT EXISTS (SELECT FROM settlement.dispute_break WHERE break_id = :break_id)"), {"break_id": break_id}
    )
    return bool(found.scalar_one())


async def insert_note(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """What somebody says about a break, which the caller has locked; its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.break_note (break_id, note_no, note, actor, at) "
            "SELECT :break_id, 1 + coalesce(max(note_no), 0), :note, :actor, :at "
            "FROM settlement.break_note WHERE break_id = :break_id RETURNING note_no"
        ),
        row,
    )
    return int(made.scalar_one())


async def notes(connection: AsyncConnection, break_id: int, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """What was said about a break, behind a number, in order."""
    found = await connection.execute(
        text(
            "SELECT note_no, note, actor, at FROM settlement.break_note "
            "WHERE break_id = :break_id AND note_no > :after ORDER BY note_no LIMIT :limit"
        ),
        {"break_id": break_id, "after": after, "limit": limit},
    )
    return found.all()


async def measured(
    connection: AsyncConnection, *, partner_id: int | None, after: int, limit: int
) -> Sequence[Row[Any]]:
    """Breaks behind a number with when each was explained first and resolved at last (none where it is open), and what
    was written off of it, without its sign."""
    found = await connection.execute(
        text(
            """
            SELECT b.break_id, b.leg, b.category, b.currency, b.value_micro, b.seen_at,
                   (SELECT min(s.at) FROM settlement.break_step s WHERE s.break_id = b.break_id
                    AND s.to_state IN ('EXPLAINED', 'RESOLVED')) AS explained_at,
                   CASE WHEN t.to_state IN ('RESOLVED', 'VERIFIED') THEN (
                     SELECT max(s.at) FROM settlement.break_step s
                     WHERE s.break_id = b.break_id AND s.to_state = 'RESOLVED') END AS resolved_at,
                   (SELECT CAST(coalesce(sum(abs(s.value_micro)), 0) AS bigint) FROM settlement.break_step s
                    WHERE s.break_id = b.break_id AND s.resolution = 'WRITE_OFF') AS written_off_micro
            FROM settlement.break b
            JOIN LATERAL (SELECT to_state FROM settlement.break_step s WHERE s.break_id = b.break_id
                          ORDER BY step_no DESC LIMIT 1) t ON true
            WHERE b.break_id > :after AND (CAST(:partner_id AS int) IS NULL OR b.partner_id = :partner_id)
            ORDER BY b.break_id LIMIT :limit
            """
        ),
        {"partner_id": partner_id, "after": after, "limit": limit},
    )
    return found.all()


async def insert_escalation(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    """That a break went to a role; False where it is known."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.break_escalation (break_id, due_on, level, role, owner, days_late, at) "
            "VALUES (:break_id, :due_on, :level, :role, :owner, :days_late, :at) "
            "ON CONFLICT (break_id, due_on, level) DO NOTHING RETURNING level"
        ),
        row,
    )
    return made.scalar_one_or_none() is not None


async def escalations(connection: AsyncConnection, break_id: int) -> Sequence[Row[Any]]:
    """Whom a break went to, in order."""
    found = await connection.execute(
        text(
            "SELECT break_id, due_on, level, role, owner, days_late, at FROM settlement.break_escalation "
            "WHERE break_id = :break_id ORDER BY at, due_on, level"
        ),
        {"break_id": break_id},
    )
    return found.all()
