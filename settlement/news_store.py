"""Statements on what settlement has to tell partners. Private to the package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def issued(connection: AsyncConnection, since: datetime) -> Sequence[Row[Any]]:
    """Partners' statements that were issued since an instant, in order."""
    found = await connection.execute(
        text(
            "SELECT s.statement_id, s.run_id, s.partner_id, s.currency, s.net_minor, i.issued_at, i.review_ends_at "
            "FROM settlement.issued_statement i JOIN settlement.statement s USING (statement_id) "
            "WHERE i.issued_at >= :since AND s.partner_id <> 0 ORDER BY s.statement_id"
        ),
        {"since": since},
    )
    return found.all()


async def dispute_steps(connection: AsyncConnection, since: datetime) -> Sequence[Row[Any]]:
    """Steps of disputes that were taken since an instant, in order, each with its dispute."""
    found = await connection.execute(
        text(
            "SELECT d.dispute_id, s.step_no, d.statement_id, d.line_no, d.partner_id, d.currency, s.from_state, "
            "       s.to_state, s.side, s.awarded_minor, s.deadline, s.at "
            "FROM settlement.dispute_step s JOIN settlement.dispute d USING (dispute_id) "
            "WHERE s.at >= :since ORDER BY d.dispute_id, s.step_no"
        ),
        {"since": since},
    )
    return found.all()
