"""Statements on presents. Private to the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_GIFT = """
    SELECT g.holder_id, g.gift_no, g.price_no, g.intervals, g.invoice_no, g.at, p.code AS plan, x.interval, c.tail,
           CASE WHEN u.gift_no IS NOT NULL THEN 'USED' WHEN n.note_no IS NOT NULL THEN 'TAKEN_BACK'
                WHEN v.invoice_no IS NOT NULL THEN 'VOID' WHEN f.invoice_no IS NOT NULL THEN 'WAITING'
                ELSE 'OPEN' END AS state
    FROM members.gift g
    JOIN members.plan_price x USING (price_no) JOIN members.plan p USING (plan_id)
    JOIN members.plan_code c USING (gift_no)
    LEFT JOIN members.gift_use u USING (gift_no)
    LEFT JOIN members.credit_note n ON n.invoice_no = g.invoice_no
    LEFT JOIN members.invoice_void v ON v.holder_id = g.holder_id AND v.invoice_no = g.invoice_no
    LEFT JOIN members.fee_payment f ON f.invoice_no = g.invoice_no AND NOT f.is_surplus
"""


async def insert_gift(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write a present."""
    await connection.execute(
        text("""
            INSERT INTO members.gift (holder_id, gift_no, price_no, intervals, invoice_no, at)
            VALUES (:holder_id, :gift_no, :price_no, :intervals, :invoice_no, :at)
        """),
        values,
    )


async def gift(connection: AsyncConnection, gift_no: int) -> Any:
    """A present by its number, with its state, its plan and what is left of its code; None where there is none."""
    found = await connection.execute(text(f"{_GIFT} WHERE g.gift_no = :gift_no"), {"gift_no": gift_no})
    return found.one_or_none()


async def of_giver(connection: AsyncConnection, giver_id: int) -> Sequence[Row[Any]]:
    """The presents of who gave them, whoever they were before, the latest first."""
    found = await connection.execute(
        text(f"{_GIFT} WHERE g.holder_id IN (SELECT members.selves(:giver_id)) ORDER BY g.gift_no DESC"),
        {"giver_id": giver_id},
    )
    return found.all()


async def insert_use(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write who got a present, and when it is served."""
    await connection.execute(
        text("""
            INSERT INTO members.gift_use
              (holder_id, subscription_no, gift_no, invoice_no, starts_at, ends_at, service_from, service_until,
               price_no, price_no_before, at)
            VALUES (:holder_id, :subscription_no, :gift_no, :invoice_no, :starts_at, :ends_at, :service_from,
                    :service_until, :price_no, :price_no_before, :at)
        """),
        values,
    )


async def covering(
    connection: AsyncConnection, holder_id: int, subscription_no: int, starts_at: datetime
) -> Row[Any] | None:
    """The present that pays a period which begins at an instant: invoice_no, ends_at, price_no_before."""
    found = await connection.execute(
        text("""
            SELECT invoice_no, ends_at, price_no_before FROM members.gift_use
            WHERE holder_id = :holder_id AND subscription_no = :number AND starts_at <= :at AND ends_at > :at
        """),
        {"holder_id": holder_id, "number": subscription_no, "at": starts_at},
    )
    return found.one_or_none()


async def ahead(connection: AsyncConnection, holder_id: int, subscription_no: int, at: datetime) -> bool:
    """Whether a subscription has a present that has not ended at an instant."""
    found = await connection.execute(
        text("""
            SELECT EXISTS (SELECT FROM members.gift_use
                           WHERE holder_id = :holder_id AND subscription_no = :number AND ends_at > :at)
        """),
        {"holder_id": holder_id, "number": subscription_no, "at": at},
    )
    return bool(found.scalar_one())
