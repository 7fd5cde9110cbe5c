"""Statements on rewards. Private to the partners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

if TYPE_CHECKING:
    from partners.mechanics.rewards import RewardDraft


async def insert(connection: AsyncConnection, draft: RewardDraft) -> int | None:
    """Store a reward; its number, None where the partner has one of this code."""
    done = await connection.execute(
        text("""
            INSERT INTO partners.reward (partner_id, code, names, points, stock, tiers, badges, segments, valid_from,
                                         valid_until)
            VALUES (:partner_id, :code, CAST(:names AS jsonb), :points, :stock, CAST(:tiers AS text[]),
                    CAST(:badges AS text[]), CAST(:segments AS text[]), :valid_from, :valid_until)
            ON CONFLICT (partner_id, code) DO NOTHING RETURNING reward_id
        """),
        {
            "partner_id": draft.partner_id,
            "code": draft.code,
            "names": json.dumps(dict(draft.names)),
            "points": draft.points,
            "stock": draft.stock,
            "tiers": list(draft.tiers),
            "badges": list(draft.badges),
            "segments": list(draft.segments),
            "valid_from": draft.valid_from,
            "valid_until": draft.valid_until,
        },
    )
    return done.scalar_one_or_none()


async def set_stock(connection: AsyncConnection, reward_id: int, stock: int) -> bool:
    """Say how many there are; False where more were taken, or there is no such reward."""
    done = await connection.execute(
        text("UPDATE partners.reward SET stock = :stock WHERE reward_id = :reward_id AND taken <= :stock"),
        {"reward_id": reward_id, "stock": stock},
    )
    return done.rowcount == 1


async def by_code(connection: AsyncConnection, partner_id: int, code: str) -> Row[Any] | None:
    """A partner's reward."""
    found = await connection.execute(
        text("SELECT * FROM partners.reward WHERE partner_id = :partner_id AND code = :code"),
        {"partner_id": partner_id, "code": code},
    )
    return found.one_or_none()


async def offered(connection: AsyncConnection, partner_id: int | None, at: datetime) -> Sequence[Row[Any]]:
    """Rewards that may be taken at an instant, of a partner or of all that are active, the cheapest first."""
    found = await connection.execute(
        text("""
            SELECT w.* FROM partners.reward w JOIN partners.partner p USING (partner_id)
            WHERE w.valid_from <= :at AND w.valid_until > :at AND p.status = 'ACTIVE'
              AND (CAST(:partner_id AS int) IS NULL OR w.partner_id = :partner_id)
            ORDER BY w.points, w.reward_id
        """),
        {"partner_id": partner_id, "at": at},
    )
    return found.all()


async def taken_under(connection: AsyncConnection, idem_key: UUID) -> Row[Any] | None:
    """What was taken under a key: reward_id, redeemed, occurred_at."""
    found = await connection.execute(
        text("""
            SELECT o.reward_id, r.redeemed, r.occurred_at
            FROM partners.receipt_claim c
            JOIN partners.receipt r ON r.holder_id = c.holder_id AND r.claim = c.claim AND r.kind = 2
            JOIN partners.reward_order o ON o.holder_id = r.holder_id AND o.unit = r.unit AND o.seq = r.seq
            WHERE c.idem_key = :idem_key
        """),
        {"idem_key": idem_key},
    )
    return found.one_or_none()


async def order_of(connection: AsyncConnection, holder_id: int, seq: int, partner_id: int) -> Row[Any] | None:
    """The order of a partner's reward that an entry made: fulfilled_at, returned_at."""
    found = await connection.execute(
        text("""
            SELECT o.fulfilled_at, o.returned_at
            FROM partners.reward_order o JOIN partners.reward w USING (reward_id)
            WHERE o.holder_id = :holder_id AND o.unit = 1 AND o.seq = :seq AND w.partner_id = :partner_id
        """),
        {"holder_id": holder_id, "seq": seq, "partner_id": partner_id},
    )
    return found.one_or_none()


async def open_orders(
    connection: AsyncConnection, partner_id: int, after: tuple[datetime, int, int] | None, limit: int
) -> Sequence[Row[Any]]:
    """Orders of a partner's rewards that wait to be handed over, the earliest first, behind a place (at, holder, seq):
    at, holder_id, seq, code, names, redeemed, reference, outlet_id, business_date."""
    found = await connection.execute(
        text("""
            SELECT o.at, o.holder_id, o.seq, w.code, w.names, r.redeemed, r.reference, r.outlet_id, r.business_date
            FROM partners.reward_order o
            JOIN partners.reward w USING (reward_id)
            JOIN partners.receipt r ON r.holder_id = o.holder_id AND r.unit = o.unit AND r.seq = o.seq
            WHERE o.fulfilled_at IS NULL AND o.returned_at IS NULL AND w.partner_id = :partner_id
              AND (CAST(:at AS timestamptz) IS NULL OR (o.at, o.holder_id, o.seq)
                   > (CAST(:at AS timestamptz), CAST(:holder_id AS bigint), CAST(:seq AS bigint)))
            ORDER BY o.at, o.holder_id, o.seq LIMIT :limit
        """),
        {
            "partner_id": partner_id,
            "at": after[0] if after else None,
            "holder_id": after[1] if after else None,
            "seq": after[2] if after else None,
            "limit": limit,
        },
    )
    return found.all()


async def fulfil(connection: AsyncConnection, holder_id: int, seq: int, partner_id: int, at: datetime) -> bool:
    """Say that it was handed over; False where it was, was returned, or is another partner's."""
    done = await connection.execute(
        text("""
            UPDATE partners.reward_order o SET fulfilled_at = :at FROM partners.reward w
            WHERE o.holder_id = :holder_id AND o.unit = 1 AND o.seq = :seq AND o.fulfilled_at IS NULL
              AND o.returned_at IS NULL AND w.reward_id = o.reward_id AND w.partner_id = :partner_id
        """),
        {"holder_id": holder_id, "seq": seq, "partner_id": partner_id, "at": at},
    )
    return done.rowcount == 1


async def restock(connection: AsyncConnection, at: datetime, limit: int) -> int:
    """Put back what was returned; how many."""
    found = await connection.execute(text("SELECT partners.restock_rewards(:at, :limit)"), {"at": at, "limit": limit})
    return int(found.scalar_one())
