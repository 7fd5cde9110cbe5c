"""Statements on how fast partners give points. Private to this package."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def given_before(connection: AsyncConnection, instant: datetime) -> dict[int, int]:
    """What each partner had given in all at the last look before an instant, or else at the first look after it."""
    statement = text("""
        SELECT DISTINCT ON (partner_id) partner_id, points FROM partners.award_pace
        ORDER BY partner_id, (at <= :instant) DESC, CASE WHEN at <= :instant THEN at END DESC, at
    """)
    return {row.partner_id: row.points for row in await connection.execute(statement, {"instant": instant})}


async def note(connection: AsyncConnection, given: Mapping[int, int], at: datetime, *, forget_before: datetime) -> None:
    """Note what each partner has given in all; what was noted long ago goes."""
    statement = text(
        "INSERT INTO partners.award_pace (partner_id, at, points) "
        "SELECT n.partner_id, :at, n.points FROM unnest(CAST(:ids AS int[]), CAST(:points AS bigint[])) "
        "AS n(partner_id, points) JOIN partners.partner USING (partner_id) ON CONFLICT DO NOTHING"
    )
    await connection.execute(statement, {"at": at, "ids": list(given), "points": list(given.values())})
    await connection.execute(text("DELETE FROM partners.award_pace WHERE at < :before"), {"before": forget_before})


async def insert_brake(
    connection: AsyncConnection,
    partner_id: int,
    *,
    at: datetime,
    until: datetime,
    points: int,
    most: int,
    lifted_after: datetime,
) -> bool | None:
    """Stop a partner (True), or go on stopping it (False); None where staff let it go on since an instant."""
    lifted = text("SELECT EXISTS (SELECT FROM partners.brake WHERE partner_id = :id AND lifted_at > :after)")
    if (await connection.execute(lifted, {"id": partner_id, "after": lifted_after})).scalar_one():
        return None
    longer = text(
        "UPDATE partners.brake SET ends_at = :until WHERE partner_id = :id AND lifted_at IS NULL AND ends_at > :at "
        "RETURNING 1"
    )
    given = {"id": partner_id, "at": at, "until": until, "points": points, "most": most}
    if (await connection.execute(longer, given)).one_or_none() is not None:
        return False
    statement = text(
        "INSERT INTO partners.brake (partner_id, began_at, ends_at, points, most) "
        "VALUES (:id, :at, :until, :points, :most) ON CONFLICT DO NOTHING RETURNING 1"
    )
    return (await connection.execute(statement, given)).one_or_none() is not None


async def lift(connection: AsyncConnection, partner_id: int, at: datetime) -> bool:
    """Let a partner go on; False where it is not stopped."""
    statement = text(
        "UPDATE partners.brake SET lifted_at = :at WHERE partner_id = :id AND lifted_at IS NULL AND ends_at > :at "
        "RETURNING 1"
    )
    return (await connection.execute(statement, {"id": partner_id, "at": at})).one_or_none() is not None
