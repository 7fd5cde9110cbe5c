"""Statements of the watch. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def step(connection: AsyncConnection, at: datetime, entries: int, accounts: int) -> Row[Any]:
    """What one step of the watch did."""
    done = await connection.execute(
        text("SELECT touched, visited, added AS found, cleared, is_behind FROM ledger.watch(:at, :entries, :accounts)"),
        {"at": at, "entries": entries, "accounts": accounts},
    )
    return done.one()


async def violations(connection: AsyncConnection, holder_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Violations of the rules that these holders' accounts can break: rule, holder_id, unit, detail."""
    found = await connection.execute(
        text("SELECT rule, holder_id, unit, detail FROM ledger.audit_accounts(CAST(:holder_ids AS bigint[]), NULL)"),
        {"holder_ids": list(holder_ids)},
    )
    return found.all()


_FINDINGS = text("""
    SELECT v.rule, v.holder_id, v.unit, v.places, v.detail, v.first_seen_at, c.cleared_at
    FROM ledger.violation v LEFT JOIN ledger.clearance c USING (violation_id)
    WHERE v.violation_id > :after ORDER BY v.violation_id LIMIT :limit
""")


async def findings(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """What the watch found, in its order."""
    return (await connection.execute(_FINDINGS, {"after": after, "limit": limit})).all()


async def counts(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Violations found and not cleared, by rule."""
    found = await connection.execute(
        text(
            "SELECT v.rule, count(*) AS found, count(*) FILTER (WHERE c.violation_id IS NULL) AS standing "
            "FROM ledger.violation v LEFT JOIN ledger.clearance c USING (violation_id) GROUP BY v.rule ORDER BY v.rule"
        )
    )
    return found.all()


async def position(connection: AsyncConnection) -> Row[Any]:
    """How far the watch has come."""
    found = await connection.execute(
        text("SELECT passes, accounts, pass_began_at, pass_ended_at, looked_at FROM ledger.watch_position")
    )
    return found.one()
