"""SQL of what members did in a qualifying period. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def bought(
    connection: AsyncConnection, member_ids: Sequence[int], since: datetime, until: datetime, zone: str
) -> Sequence[Row[Any]]:
    """What members and those merged into them bought on the days from since to until, as far as it is added up, and
    their credit: member_id, purchases, amount_minor, partners, credits. Whoever did nothing may be missing."""
    days = [instant.astimezone(ZoneInfo(zone)).date().isoformat() for instant in (since, until)]
    found = await connection.execute(
        text("""
            SELECT m.member_id, coalesce(b.purchases, 0) AS purchases, coalesce(b.amount_minor, 0) AS amount_minor,
                   coalesce(p.partners, 0) AS partners, coalesce(c.credits, 0) AS credits
            FROM unnest(CAST(:member_ids AS bigint[])) AS m(member_id)
            CROSS JOIN LATERAL (SELECT array_agg(id) AS ids FROM members.selves(m.member_id) AS s(id)) self
            LEFT JOIN LATERAL (
              SELECT sum(a.purchases)::bigint AS purchases, sum(a.amount_minor)::bigint AS amount_minor
              FROM members.activity a
              WHERE a.member_id = ANY (self.ids) AND a.period BETWEEN :first AND :last AND length(a.period) = 10
                AND a.partner_id = 0
            ) b ON true
            LEFT JOIN LATERAL (
              SELECT count(*) AS partners FROM (
                SELECT a.partner_id FROM members.activity a
                WHERE a.member_id = ANY (self.ids) AND a.period BETWEEN :first AND :last AND length(a.period) = 10
                  AND a.partner_id > 0
                GROUP BY a.partner_id HAVING sum(a.purchases) > 0) x
            ) p ON true
            LEFT JOIN LATERAL (
              SELECT sum(t.credits)::bigint AS credits FROM members.tier_credit t
              WHERE t.member_id = ANY (self.ids) AND t.at >= :since AND t.at < :until
                AND (t.revoked_at IS NULL OR t.revoked_at > :until)
            ) c ON true
        """),
        {"member_ids": list(member_ids), "first": days[0], "last": days[1], "since": since, "until": until},
    )
    return found.all()


async def enrolled_at(connection: AsyncConnection, member_id: int) -> datetime:
    """Since when a member who is there is one."""
    found = await connection.execute(
        text("SELECT enrolled_at FROM members.member WHERE member_id = :member_id"), {"member_id": member_id}
    )
    instant: datetime = found.scalar_one()
    return instant
