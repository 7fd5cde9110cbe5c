"""Statements on corrections that runs state and book. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert(connection: AsyncConnection, row: Mapping[str, Any]) -> int | None:
    """Money that the next run states; None where it is told already."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.correction (source, kind, partner_id, currency, amount_micro, reason, actor, at) "
            "VALUES (:source, :kind, :partner_id, :currency, :amount_micro, :reason, :actor, :at) "
            "ON CONFLICT (source) DO NOTHING RETURNING correction_id"
        ),
        row,
    )
    return made.scalar_one_or_none()


async def claim(connection: AsyncConnection, run_id: int, currency: str) -> None:
    """Let a run state every correction of its currency that no other run states that is still there."""
    await connection.execute(
        text(
            """
            INSERT INTO settlement.run_correction (run_id, correction_id)
            SELECT :run_id, c.correction_id FROM settlement.correction c
            WHERE c.currency = :currency AND NOT EXISTS (
              SELECT FROM settlement.run_correction x
              WHERE x.correction_id = c.correction_id AND (
                SELECT s.to_state FROM settlement.run_step s WHERE s.run_id = x.run_id
                ORDER BY s.step_no DESC LIMIT 1) NOT IN ('ABORTED', 'SUPERSEDED'))
            ON CONFLICT DO NOTHING
            """
        ),
        {"run_id": run_id, "currency": currency},
    )


async def of_run(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """What a run states of corrections, summed by partner and kind."""
    found = await connection.execute(
        text(
            "SELECT c.partner_id, c.kind, c.currency, CAST(sum(c.amount_micro) AS bigint) AS amount_micro, "
            "       count(*) AS facts "
            "FROM settlement.run_correction JOIN settlement.correction c USING (correction_id) "
            "WHERE run_id = :run_id GROUP BY c.partner_id, c.kind, c.currency ORDER BY 1, 2"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def unstated(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Corrections that no run states yet."""
    found = await connection.execute(
        text(
            """
            SELECT c.correction_id, c.source, c.kind, c.partner_id, c.currency, c.amount_micro, c.reason, c.at
            FROM settlement.correction c WHERE NOT EXISTS (
              SELECT FROM settlement.run_correction x
              WHERE x.correction_id = c.correction_id AND (
                SELECT s.to_state FROM settlement.run_step s WHERE s.run_id = x.run_id
                ORDER BY s.step_no DESC LIMIT 1) NOT IN ('ABORTED', 'SUPERSEDED'))
            ORDER BY c.correction_id
            """
        )
    )
    return found.all()
