"""Statements on answers that the operator owes. Private to the settlement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

# The last steps, where the operator is the side that is waited for.
_OWED = """
    SELECT 'DISPUTE' AS kind, s.dispute_id AS subject_id, s.step_no, s.deadline,
           (SELECT o.actor FROM settlement.dispute_step o
            WHERE o.dispute_id = s.dispute_id AND o.side = 'OPERATOR' ORDER BY o.step_no DESC LIMIT 1) AS owner
    FROM settlement.dispute_step s
    WHERE s.to_state IN ('OPENED', 'ACKNOWLEDGED', 'ESCALATED') AND s.deadline <= :by AND NOT EXISTS (
      SELECT FROM settlement.dispute_step n WHERE n.dispute_id = s.dispute_id AND n.step_no > s.step_no)
    UNION ALL
    SELECT 'CLAIM', s.claim_id, s.step_no, s.deadline,
           (SELECT k.name FROM kit.approval a JOIN kit.actor k ON k.actor_id = a.maker_id
            WHERE a.kind = 'CLAIM' AND a.subject = 'claim:' || s.claim_id ORDER BY a.approval_id DESC LIMIT 1)
    FROM settlement.claim_step s
    WHERE s.to_state = 'CONTESTED' AND s.deadline <= :by AND NOT EXISTS (
      SELECT FROM settlement.claim_step n WHERE n.claim_id = s.claim_id AND n.step_no > s.step_no)
"""


async def owed(connection: AsyncConnection, *, by: datetime) -> Sequence[Row[Any]]:
    """Answers that are due by an instant, the earliest first."""
    found = await connection.execute(text(f"{_OWED} ORDER BY deadline, kind, subject_id"), {"by": by})
    return found.all()


async def insert(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    """That an answer went to a role; False where it did before."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.late_answer (kind, subject_id, step_no, level, role, owner, deadline, at) "
            "VALUES (:kind, :subject_id, :step_no, :level, :role, :owner, :deadline, :at) ON CONFLICT DO NOTHING"
        ),
        row,
    )
    return bool(made.rowcount)


async def standing(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Answers that are owed still, with the highest role that they went to."""
    found = await connection.execute(
        text(f"""
            SELECT DISTINCT ON (l.deadline, l.kind, l.subject_id) l.*
            FROM settlement.late_answer l JOIN ({_OWED}) q USING (kind, subject_id, step_no)
            ORDER BY l.deadline, l.kind, l.subject_id, l.level DESC
        """),
        {"by": datetime.max.replace(tzinfo=UTC)},
    )
    return found.all()
