"""Statements on plans, their prices and the tax in them. Private to the members."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_PLAN = """
    SELECT p.plan_id, p.code, p.names, p.seats, p.trial_days, p.notice_days, p.on_leaving,
           p.allotment_points, p.allotment_issuer, p.allotment_on_leaving,
           ARRAY(SELECT b.benefit FROM members.plan_benefit b WHERE b.plan_id = p.plan_id ORDER BY 1) AS benefits
    FROM members.plan p
"""
_PRICE = """
    SELECT x.price_no, x.plan_id, x.version, x.currency, x.interval, x.amount_minor, x.tax_code, x.valid_from
    FROM members.plan_price x
"""


async def insert_plan(connection: AsyncConnection, values: Mapping[str, Any], benefits: Sequence[str]) -> int | None:
    """Write a plan with its benefits; its number, None where the code is taken."""
    found = await connection.execute(
        text("""
            INSERT INTO members.plan
              (code, names, seats, trial_days, notice_days, on_leaving, at, allotment_points, allotment_issuer,
               allotment_on_leaving)
            VALUES (:code, CAST(:names AS jsonb), :seats, :trial_days, :notice_days, :on_leaving, :at,
                    :allotment_points, :allotment_issuer, :allotment_on_leaving)
            ON CONFLICT DO NOTHING RETURNING plan_id
        """),
        {**values, "names": json.dumps(values["names"])},
    )
    plan_id = found.scalar_one_or_none()
    if plan_id is not None:
        await connection.execute(
            text("INSERT INTO members.plan_benefit SELECT :plan_id, * FROM unnest(CAST(:benefits AS text[]))"),
            {"plan_id": plan_id, "benefits": sorted(set(benefits))},
        )
    return plan_id


async def plans(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every plan with its benefits, by code."""
    return (await connection.execute(text(f"{_PLAN} ORDER BY p.code"))).all()


async def plan(connection: AsyncConnection, plan_id: int) -> Row[Any]:
    """A plan by its number."""
    return (await connection.execute(text(f"{_PLAN} WHERE p.plan_id = :plan_id"), {"plan_id": plan_id})).one()


async def plan_by_code(connection: AsyncConnection, code: str) -> Row[Any] | None:
    """A plan by its code."""
    return (await connection.execute(text(f"{_PLAN} WHERE p.code = :code"), {"code": code})).one_or_none()


async def insert_price(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """Write the next version of a price; its number, None where one holds from that instant or later."""
    found = await connection.execute(
        text("""
            INSERT INTO members.plan_price (plan_id, version, currency, interval, amount_minor, tax_code, valid_from)
            SELECT :plan_id, coalesce(max(version), 0) + 1, :currency, :interval, :amount_minor, :tax_code, :valid_from
            FROM members.plan_price
            WHERE plan_id = :plan_id AND currency = :currency AND interval = :interval
            HAVING max(valid_from) IS NULL OR max(valid_from) < :valid_from
            ON CONFLICT DO NOTHING RETURNING price_no
        """),
        values,
    )
    return found.scalar_one_or_none()


async def prices_at(connection: AsyncConnection, at: datetime) -> Sequence[Row[Any]]:
    """The version of every price that holds at an instant, by plan, currency and amount."""
    found = await connection.execute(
        text(f"""
            SELECT * FROM (
              SELECT DISTINCT ON (plan_id, currency, interval) * FROM ({_PRICE} WHERE x.valid_from <= :at) v
              ORDER BY plan_id, currency, interval, version DESC
            ) p ORDER BY plan_id, currency, amount_minor
        """),
        {"at": at},
    )
    return found.all()


async def every_price(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every version of every price, by plan, currency and interval, the latest first."""
    return (await connection.execute(text(f"{_PRICE} ORDER BY plan_id, currency, interval, version DESC"))).all()


async def count_at_price(connection: AsyncConnection, plan_id: int, currency: str, interval: str) -> int:
    """How many subscriptions that are not over are at a price of a plan: the last that was taken, or that was planned
    and came true."""
    found = await connection.execute(
        text("""
            SELECT count(*) FROM members.subscription s
            CROSS JOIN LATERAL (
              SELECT e.price_no FROM members.subscription_event e
              WHERE e.holder_id = s.holder_id AND e.subscription_no = s.subscription_no
                AND (e.kind IN ('CREATED', 'PRICE_CHANGED') OR (e.kind = 'PRICE_CHANGE_PLANNED' AND EXISTS (
                  SELECT FROM members.subscription_event r
                  WHERE r.holder_id = e.holder_id AND r.subscription_no = e.subscription_no AND r.seq > e.seq
                    AND r.kind IN ('RENEWED', 'ACTIVATED') AND NOT EXISTS (
                      SELECT FROM members.subscription_event w
                      WHERE w.holder_id = e.holder_id AND w.subscription_no = e.subscription_no
                        AND w.seq > e.seq AND w.seq < r.seq AND w.kind LIKE 'PRICE_CHANGE%'))))
              ORDER BY e.seq DESC LIMIT 1
            ) l JOIN members.plan_price p USING (price_no)
            WHERE p.plan_id = :plan_id AND p.currency = :currency AND p.interval = :interval AND NOT s.is_gift
              AND NOT EXISTS (
                SELECT FROM members.subscription_event e
                WHERE e.holder_id = s.holder_id AND e.subscription_no = s.subscription_no
                  AND e.kind IN ('ENDED', 'EXPIRED', 'GIVEN'))
        """),
        {"plan_id": plan_id, "currency": currency, "interval": interval},
    )
    return int(found.scalar_one())


async def price(connection: AsyncConnection, price_no: int) -> Row[Any] | None:
    """A version of a price by its number."""
    found = await connection.execute(text(f"{_PRICE} WHERE x.price_no = :price_no"), {"price_no": price_no})
    return found.one_or_none()


async def insert_tax(connection: AsyncConnection, code: str, rate_bp: int, valid_from: datetime) -> int | None:
    """Write the next version of a rule of tax; its version, None where one holds from that instant or later."""
    found = await connection.execute(
        text("""
            INSERT INTO members.fee_tax (code, version, valid_from, rate_bp)
            SELECT :code, coalesce(max(version), 0) + 1, :valid_from, :rate_bp FROM members.fee_tax WHERE code = :code
            HAVING max(valid_from) IS NULL OR max(valid_from) < :valid_from
            ON CONFLICT DO NOTHING RETURNING version
        """),
        {"code": code, "rate_bp": rate_bp, "valid_from": valid_from},
    )
    return found.scalar_one_or_none()


async def tax_at(connection: AsyncConnection, code: str, at: datetime) -> Row[Any] | None:
    """The version of a rule of tax that holds at an instant: code, version, rate_bp."""
    found = await connection.execute(
        text(
            "SELECT code, version, rate_bp FROM members.fee_tax WHERE code = :code AND valid_from <= :at "
            "ORDER BY version DESC LIMIT 1"
        ),
        {"code": code, "at": at},
    )
    return found.one_or_none()


async def taxes_at(connection: AsyncConnection, wanted: Sequence[tuple[str, datetime]]) -> Sequence[Row[Any]]:
    """The versions of rules of tax that hold at instants, one for each, in their order: code, version, rate_bp."""
    found = await connection.execute(
        text("""
            SELECT t.code, t.version, t.rate_bp
            FROM unnest(CAST(:codes AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS w(code, at, place)
            CROSS JOIN LATERAL (
              SELECT code, version, rate_bp FROM members.fee_tax
              WHERE code = w.code AND valid_from <= w.at ORDER BY version DESC LIMIT 1
            ) t
            ORDER BY w.place
        """),
        {"codes": [code for code, _ in wanted], "instants": [at for _, at in wanted]},
    )
    return found.all()


async def tax_version(connection: AsyncConnection, code: str, version: int) -> int:
    """The rate of a version of a rule of tax, basis points."""
    found = await connection.execute(
        text("SELECT rate_bp FROM members.fee_tax WHERE code = :code AND version = :version"),
        {"code": code, "version": version},
    )
    return int(found.scalar_one())


async def insert_seller(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """Write the next version of the seller; its number, None where one holds from that instant or later."""
    found = await connection.execute(
        text("""
            INSERT INTO members.seller (version, valid_from, name, address, registration, tax_id, bank, account)
            SELECT coalesce(max(version), 0) + 1, :valid_from, :name, :address, :registration, :tax_id, :bank, :account
            FROM members.seller HAVING max(valid_from) IS NULL OR max(valid_from) < :valid_from
            ON CONFLICT DO NOTHING RETURNING version
        """),
        values,
    )
    return found.scalar_one_or_none()


async def seller_at(connection: AsyncConnection, at: datetime) -> Row[Any] | None:
    """The version of the seller that holds at an instant, the first one before all of them."""
    found = await connection.execute(
        text("""
            SELECT name, address, registration, tax_id, bank, account FROM members.seller
            ORDER BY valid_from <= :at DESC, CASE WHEN valid_from <= :at THEN -version ELSE version END LIMIT 1
        """),
        {"at": at},
    )
    return found.one_or_none()
