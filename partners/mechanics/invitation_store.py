"""Statements on invitations. Private to the partners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_code(
    connection: AsyncConnection, lookup: UUID, holder_id: int, tail: str, device: UUID | None, at: datetime
) -> None:
    """Store a code of a member."""
    await connection.execute(
        text("""
            INSERT INTO partners.invitation (code_lookup, holder_id, tail, device, at)
            VALUES (:lookup, :holder_id, :tail, :device, :at)
        """),
        {"lookup": lookup, "holder_id": holder_id, "tail": tail, "device": device, "at": at},
    )


async def by_lookup(connection: AsyncConnection, lookup: UUID) -> Row[Any] | None:
    """Whose code it is: holder_id, device."""
    found = await connection.execute(
        text("SELECT holder_id, device FROM partners.invitation WHERE code_lookup = :lookup"), {"lookup": lookup}
    )
    return found.one_or_none()


async def lock_member(connection: AsyncConnection, holder_id: int) -> None:
    """One after the other of what is decided on who brought a member, until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(7305010, 0)"))
    await connection.execute(
        text("SELECT ledger.lock_accounts(ARRAY[CAST(:holder_id AS bigint)], 1::smallint)"), {"holder_id": holder_id}
    )


async def is_brought(connection: AsyncConnection, holder_id: int) -> bool:
    """Whether a member, or one merged into them, came by an invitation."""
    found = await connection.execute(
        text("""
            SELECT EXISTS (SELECT FROM partners.referral r WHERE r.holder_id IN (SELECT members.selves(:holder_id)))
        """),
        {"holder_id": holder_id},
    )
    return bool(found.scalar_one())


async def told_under(connection: AsyncConnection, idem_key: UUID) -> UUID | None:
    """What a call told under its key; None where none did."""
    found = await connection.execute(
        text("SELECT fingerprint FROM partners.referral WHERE idem_key = :idem_key"), {"idem_key": idem_key}
    )
    return found.scalar_one_or_none()


async def arrival(connection: AsyncConnection, holder_id: int, referrer_id: int, at: datetime) -> Row[Any]:
    """What is known of somebody who came and of who brought them, as `inviting.Arrival` names it; devices are those
    that the referrer's codes were asked for on and that the referrer came on."""
    found = await connection.execute(
        text("""
            WITH RECURSIVE self AS (SELECT array_agg(id) AS ids FROM members.selves(:holder_id) AS s(id)),
            referrer AS (SELECT array_agg(id) AS ids FROM members.selves(:referrer_id) AS s(id)),
            brought AS (
              SELECT r.referrer_id AS id FROM partners.referral r, referrer WHERE r.holder_id = ANY (referrer.ids)
              UNION SELECT r.referrer_id FROM brought b JOIN partners.referral r ON r.holder_id = b.id
            )
            SELECT self.ids AS member_ids, referrer.ids AS referrer_ids,
                   ARRAY(SELECT id FROM brought) AS brought_referrer,
                   (SELECT enrolled_at FROM members.facts(:holder_id, :at)) AS enrolled_at,
                   (SELECT count(*) FROM partners.receipt p
                    WHERE p.holder_id = ANY (self.ids) AND p.unit = 1 AND p.kind = 1) AS purchases,
                   members.shared_household(self.ids, referrer.ids) AS is_same_household,
                   ARRAY(SELECT i.device FROM partners.invitation i
                         WHERE i.holder_id = ANY (referrer.ids) AND i.device IS NOT NULL
                         UNION SELECT r.device FROM partners.referral r
                         WHERE r.holder_id = ANY (referrer.ids) AND r.device IS NOT NULL) AS devices,
                   (SELECT count(*) FROM partners.referral r
                    WHERE r.referrer_id = ANY (referrer.ids) AND r.at > CAST(:at AS timestamptz) - interval '1 year'
                      AND r.state <> 'LAPSED') AS brought_this_year
            FROM self, referrer
        """),
        {"holder_id": holder_id, "referrer_id": referrer_id, "at": at},
    )
    return found.one()


async def insert_referral(
    connection: AsyncConnection,
    holder_id: int,
    referrer_id: int,
    partner_id: int,
    device: UUID | None,
    at: datetime,
    lapses_at: datetime,
    *,
    idem_key: UUID | None,
    content: UUID,
) -> None:
    """Somebody was brought; under which call's key and content it was told."""
    await connection.execute(
        text("""
            INSERT INTO partners.referral (holder_id, referrer_id, state, partner_id, device, at, lapses_at, idem_key,
                                           fingerprint)
            VALUES (:holder_id, :referrer_id, 'REGISTERED', :partner_id, :device, :at, :lapses_at, :idem_key, :content)
        """),
        {
            "holder_id": holder_id,
            "referrer_id": referrer_id,
            "partner_id": partner_id,
            "device": device,
            "at": at,
            "lapses_at": lapses_at,
            "idem_key": idem_key,
            "content": content,
        },
    )


_KEPT = """
    p.total - coalesce((SELECT sum(b.total) FROM partners.receipt b
                        WHERE b.holder_id = p.holder_id AND b.unit = p.unit AND b.original_seq = p.seq
                          AND b.kind IN (3, 4)), 0)
"""


async def find_purchases(connection: AsyncConnection, minimum_minor: int, at: datetime, limit: int) -> int:
    """Find the first purchase of those who came that is large enough and kept so far; how many were found. Those who
    have bought nothing are passed over, however many they are."""
    done = await connection.execute(
        text(f"""
            UPDATE partners.referral r SET state = 'QUALIFYING', purchase_seq = f.seq, qualifies_at = f.over_at
            FROM (
              SELECT w.holder_id, x.seq, x.over_at
              FROM partners.referral w
              CROSS JOIN LATERAL (
                SELECT p.seq, p.occurred_at + g.return_window_days * interval '1 day' AS over_at
                FROM partners.receipt p JOIN partners.agreement g USING (terms_id)
                WHERE p.holder_id = w.holder_id AND p.unit = 1 AND p.kind = 1 AND p.occurred_at >= w.at
                  AND p.occurred_at < w.lapses_at AND p.at <= :at AND p.total > 0 AND {_KEPT} >= greatest(:minimum, 1)
                ORDER BY p.seq LIMIT 1
              ) x
              WHERE w.state = 'REGISTERED' ORDER BY w.holder_id LIMIT :limit FOR NO KEY UPDATE OF w SKIP LOCKED
            ) f WHERE r.holder_id = f.holder_id
        """),
        {"minimum": minimum_minor, "at": at, "limit": limit},
    )
    return done.rowcount


async def lapse(connection: AsyncConnection, at: datetime, limit: int) -> int:
    """End what nobody bought for in time; how many."""
    done = await connection.execute(
        text("""
            UPDATE partners.referral r SET state = 'LAPSED', decided_at = :at, reason = 'NO_PURCHASE'
            FROM (SELECT holder_id FROM partners.referral WHERE state = 'REGISTERED' AND lapses_at <= :at
                  ORDER BY holder_id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED) w
            WHERE r.holder_id = w.holder_id
        """),
        {"at": at, "limit": limit},
    )
    return done.rowcount


async def drop_returned(connection: AsyncConnection, minimum_minor: int, at: datetime, limit: int) -> None:
    """Let those wait for another purchase whose first one was not kept."""
    await connection.execute(
        text(f"""
            UPDATE partners.referral r SET state = 'REGISTERED', purchase_seq = NULL, qualifies_at = NULL
            FROM (
              SELECT w.holder_id FROM partners.referral w
              JOIN partners.receipt p ON p.holder_id = w.holder_id AND p.unit = 1 AND p.seq = w.purchase_seq
              WHERE w.state = 'QUALIFYING' AND w.qualifies_at <= :at AND {_KEPT} < greatest(:minimum, 1)
              ORDER BY w.holder_id LIMIT :limit FOR NO KEY UPDATE OF w SKIP LOCKED
            ) f WHERE r.holder_id = f.holder_id
        """),
        {"minimum": minimum_minor, "at": at, "limit": limit},
    )


async def due(connection: AsyncConnection, minimum_minor: int, at: datetime, limit: int) -> Sequence[Row[Any]]:
    """Those whose purchase outlived its return window and was kept: holder_id, referrer_id, partner_id."""
    found = await connection.execute(
        text(f"""
            SELECT w.holder_id, w.referrer_id, w.partner_id FROM partners.referral w
            JOIN partners.receipt p ON p.holder_id = w.holder_id AND p.unit = 1 AND p.seq = w.purchase_seq
            WHERE w.state = 'QUALIFYING' AND w.qualifies_at <= :at AND {_KEPT} >= greatest(:minimum, 1)
            ORDER BY w.holder_id LIMIT :limit
        """),
        {"minimum": minimum_minor, "at": at, "limit": limit},
    )
    return found.all()


async def reward(connection: AsyncConnection, holder_id: int, rewarded: int, at: datetime) -> None:
    """Write down that it is done, for how many of the two."""
    await connection.execute(
        text("""
            UPDATE partners.referral SET state = 'REWARDED', rewarded = :rewarded, decided_at = :at
            WHERE holder_id = :holder_id AND state = 'QUALIFYING'
        """),
        {"holder_id": holder_id, "rewarded": rewarded, "at": at},
    )


async def brought(connection: AsyncConnection, referrer_id: int) -> Sequence[Row[Any]]:
    """Whom a member brought: at, state, qualifies_at."""
    found = await connection.execute(
        text("""
            SELECT at, state, qualifies_at FROM partners.referral
            WHERE referrer_id IN (SELECT members.selves(:referrer_id)) ORDER BY at DESC, holder_id
        """),
        {"referrer_id": referrer_id},
    )
    return found.all()
