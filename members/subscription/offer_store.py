"""Statements on offers, their codes, and who used them. Private to the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

AnyRow = Row[Any]


async def insert_offer(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """Write an offer; its number, None where the code is taken."""
    found = await connection.execute(
        text("""
            INSERT INTO members.plan_offer
              (code, kind, plan_id, interval, percent_bp, amount_minor, currency, periods, is_for_new, most_uses,
               valid_from, valid_until)
            VALUES (:code, :kind, :plan_id, :interval, :percent_bp, :amount_minor, :currency, :periods, :is_for_new,
                    :most_uses, :valid_from, :valid_until)
            ON CONFLICT DO NOTHING RETURNING offer_id
        """),
        values,
    )
    return found.scalar_one_or_none()


async def offer(connection: AsyncConnection, offer_id: int) -> AnyRow:
    """An offer by its number."""
    found = await connection.execute(
        text("SELECT * FROM members.plan_offer WHERE offer_id = :offer_id"), {"offer_id": offer_id}
    )
    return found.one()


async def page(connection: AsyncConnection, before: int | None, limit: int) -> Sequence[AnyRow]:
    """Offers, the latest first, with numbers below one: their columns, the plan's code, how many codes there are."""
    found = await connection.execute(
        text("""
            SELECT o.*, p.code AS plan,
                   (SELECT count(*) FROM members.plan_code c WHERE c.offer_id = o.offer_id) AS codes
            FROM members.plan_offer o LEFT JOIN members.plan p USING (plan_id)
            WHERE o.offer_id < coalesce(CAST(:before AS int), 2147483647) ORDER BY o.offer_id DESC LIMIT :limit
        """),
        {"before": before, "limit": limit},
    )
    return found.all()


async def offer_by_code(connection: AsyncConnection, code: str) -> int | None:
    """The number of an offer."""
    found = await connection.execute(text("SELECT offer_id FROM members.plan_offer WHERE code = :code"), {"code": code})
    return found.scalar_one_or_none()


async def stop(connection: AsyncConnection, offer_id: int, at: datetime) -> None:
    """Stop an offer, once."""
    await connection.execute(
        text("UPDATE members.plan_offer SET stopped_at = coalesce(stopped_at, :at) WHERE offer_id = :offer_id"),
        {"offer_id": offer_id, "at": at},
    )


async def insert_codes(
    connection: AsyncConnection, offer_id: int, lookups: Sequence[UUID], tails: Sequence[str], is_word: bool
) -> list[UUID]:
    """Write codes of an offer; those that are new, in order."""
    found = await connection.execute(
        text("""
            INSERT INTO members.plan_code (lookup, tail, offer_id, is_word)
            SELECT c.lookup, c.tail, :offer_id, :is_word
            FROM unnest(CAST(:lookups AS uuid[]), CAST(:tails AS text[])) AS c(lookup, tail)
            ON CONFLICT DO NOTHING RETURNING lookup
        """),
        {"offer_id": offer_id, "lookups": list(lookups), "tails": list(tails), "is_word": is_word},
    )
    made = set(found.scalars())
    return [one for one in lookups if one in made]


async def insert_gift_code(connection: AsyncConnection, gift_no: int, lookup: UUID, tail: str) -> bool:
    """Write the code of a gift; False where there is such a code."""
    done = await connection.execute(
        text("""
            INSERT INTO members.plan_code (lookup, tail, gift_no, is_word) VALUES (:lookup, :tail, :gift_no, false)
            ON CONFLICT DO NOTHING
        """),
        {"gift_no": gift_no, "lookup": lookup, "tail": tail},
    )
    return done.rowcount == 1


async def code(connection: AsyncConnection, lookup: UUID, at: datetime) -> AnyRow | None:
    """A code that is good at an instant: code_no, is_word, offer_id, gift_no. Of a gift one that is paid, not given
    back and not used; of an offer one of its time that is not used up."""
    found = await connection.execute(
        text("""
            SELECT c.code_no, c.is_word, c.offer_id, c.gift_no
            FROM members.plan_code c
            LEFT JOIN members.plan_offer o USING (offer_id)
            LEFT JOIN members.gift g ON g.gift_no = c.gift_no
            WHERE c.lookup = :lookup AND (
              (o.stopped_at IS NULL AND o.valid_from <= :at AND o.valid_until > :at
               AND NOT EXISTS (SELECT FROM members.offer_use u WHERE u.code_no = c.code_no AND u.released_at IS NULL))
              OR (EXISTS (SELECT FROM members.fee_payment p WHERE p.invoice_no = g.invoice_no AND NOT p.is_surplus)
                  AND NOT EXISTS (SELECT FROM members.credit_note n WHERE n.invoice_no = g.invoice_no)
                  AND NOT EXISTS (SELECT FROM members.gift_use u WHERE u.gift_no = g.gift_no)))
        """),
        {"lookup": lookup, "at": at},
    )
    return found.one_or_none()


async def uses_of(connection: AsyncConnection, holder_id: int, offer_id: int) -> Sequence[AnyRow]:
    """When a member, whoever they were before, used an offer, and when that was released."""
    found = await connection.execute(
        text("""
            SELECT at, released_at FROM members.offer_use
            WHERE holder_id IN (SELECT members.selves(:holder_id)) AND offer_id = :offer_id
        """),
        {"holder_id": holder_id, "offer_id": offer_id},
    )
    return found.all()


async def once(connection: AsyncConnection, person: UUID, what: str, at: datetime) -> bool:
    """Write that a person was given something that is given once; False where they were."""
    done = await connection.execute(
        text("INSERT INTO members.person_once (person, what, at) VALUES (:person, :what, :at) ON CONFLICT DO NOTHING"),
        {"person": person, "what": what, "at": at},
    )
    return done.rowcount == 1


async def count_use(connection: AsyncConnection, offer_id: int) -> bool:
    """Count a use of an offer; False where it was used as often as it may be."""
    done = await connection.execute(
        text("""
            UPDATE members.plan_offer SET uses = uses + 1
            WHERE offer_id = :offer_id AND (most_uses IS NULL OR uses < most_uses)
        """),
        {"offer_id": offer_id},
    )
    return done.rowcount == 1


async def insert_use(connection: AsyncConnection, values: Mapping[str, Any]) -> bool:
    """Write whose code was used for which subscription; False where the code, or the offer by them, is in use."""
    done = await connection.execute(
        text("""
            INSERT INTO members.offer_use (holder_id, subscription_no, offer_id, code_no, at)
            VALUES (:holder_id, :subscription_no, :offer_id, :code_no, :at) ON CONFLICT DO NOTHING
        """),
        values,
    )
    return done.rowcount == 1


async def release(connection: AsyncConnection, holder_id: int, subscription_no: int, at: datetime) -> None:
    """A subscription's use of an offer counts no more; nothing where there is none."""
    await connection.execute(
        text("""
            WITH released AS (
              UPDATE members.offer_use SET released_at = :at
              WHERE holder_id = :holder_id AND subscription_no = :number AND released_at IS NULL RETURNING offer_id
            )
            UPDATE members.plan_offer SET uses = uses - 1 WHERE offer_id IN (SELECT offer_id FROM released)
        """),
        {"holder_id": holder_id, "number": subscription_no, "at": at},
    )


async def in_use(connection: AsyncConnection, holder_id: int, subscription_no: int) -> AnyRow | None:
    """The offer that a subscription has, and for how many periods it was used."""
    found = await connection.execute(
        text("""
            SELECT o.*, (SELECT count(*) FROM members.offer_period p
                         WHERE p.holder_id = u.holder_id AND p.subscription_no = u.subscription_no) AS used_periods
            FROM members.offer_use u JOIN members.plan_offer o USING (offer_id)
            WHERE u.holder_id = :holder_id AND u.subscription_no = :number AND u.released_at IS NULL
        """),
        {"holder_id": holder_id, "number": subscription_no},
    )
    return found.one_or_none()


async def insert_period(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write that a period was made cheaper."""
    await connection.execute(
        text("""
            INSERT INTO members.offer_period (holder_id, subscription_no, starts_at, offer_id, off_minor, invoice_no)
            VALUES (:holder_id, :subscription_no, :starts_at, :offer_id, :off_minor, :invoice_no)
        """),
        values,
    )


async def last_period(connection: AsyncConnection, holder_id: int, subscription_no: int) -> AnyRow | None:
    """The last period of a subscription that was made cheaper: starts_at, off_minor, invoice_no."""
    found = await connection.execute(
        text("""
            SELECT starts_at, off_minor, invoice_no FROM members.offer_period
            WHERE holder_id = :holder_id AND subscription_no = :number ORDER BY starts_at DESC LIMIT 1
        """),
        {"holder_id": holder_id, "number": subscription_no},
    )
    return found.one_or_none()
