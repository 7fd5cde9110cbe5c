"""Statements on what is owed and not paid yet. Private to the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

# Whatever is open is to end one day, for good (END) or as if it had never been (EXPIRE): few rows beside all invoices.
_OPEN = """
    SELECT d.holder_id, d.subscription_no, i.invoice_no, i.reference, i.price_no, i.currency, i.gross_minor, i.provider,
           i.is_test, i.due_at, d.due_at AS over_at,
           CASE WHEN i.kind = 'CHANGE' THEN 'CHANGE' WHEN i.kind = 'GIFT' THEN 'PRESENT'
                WHEN d.kind = 'EXPIRE' THEN 'FIRST_PAYMENT'
                WHEN i.due_at <= :held_since THEN 'ON_HOLD' ELSE 'GRACE' END AS step
    FROM members.subscription_due d
    JOIN members.invoice i ON i.holder_id = d.holder_id AND i.invoice_no = d.about
    WHERE d.kind IN ('END', 'EXPIRE') AND i.due_at <= :at
"""


async def page(connection: AsyncConnection, asked: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Open invoices behind a number, the oldest first, with what was tried and what is due about each."""
    found = await connection.execute(
        text(f"""
            SELECT o.*, p.code AS plan, coalesce(t.tries, 0) AS tries, t.last_outcome, c.due_at AS charge_at,
                   a.due_at AS ask_at
            FROM (
              SELECT * FROM ({_OPEN}) x
              WHERE invoice_no > :after AND step = coalesce(CAST(:step AS text), step)
                AND currency = coalesce(CAST(:currency AS text), currency)
              ORDER BY invoice_no LIMIT :limit
            ) o
            JOIN members.plan_price r USING (price_no) JOIN members.plan p USING (plan_id)
            LEFT JOIN members.subscription_due c ON c.holder_id = o.holder_id
              AND c.subscription_no = o.subscription_no AND c.about = o.invoice_no AND c.kind = 'CHARGE'
            LEFT JOIN members.subscription_due a ON a.holder_id = o.holder_id
              AND a.subscription_no = o.subscription_no AND a.about = o.invoice_no AND a.kind = 'ASK'
            LEFT JOIN LATERAL (
              SELECT n.attempt_no AS tries, u.outcome AS last_outcome
              FROM members.charge_attempt n LEFT JOIN members.charge_outcome u USING (holder_id, invoice_no, attempt_no)
              WHERE n.holder_id = o.holder_id AND n.invoice_no = o.invoice_no ORDER BY n.attempt_no DESC LIMIT 1
            ) t ON true
            ORDER BY o.invoice_no
        """),
        asked,
    )
    return found.all()


async def sums(connection: AsyncConnection, asked: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Open invoices summed: currency, step, invoices, gross_minor."""
    found = await connection.execute(
        text(f"""
            SELECT currency, step, CAST(count(*) AS int) AS invoices, CAST(sum(gross_minor) AS bigint) AS gross_minor
            FROM ({_OPEN}) x GROUP BY currency, step ORDER BY currency, step
        """),
        asked,
    )
    return found.all()


async def notices(connection: AsyncConnection, invoice_nos: Sequence[int]) -> Sequence[Row[Any]]:
    """What was written about invoices, in order: invoice_no, kind, message_id, at, outcome, outcome_at. The letter that
    announced a renewal is about the invoice of the period that it announced."""
    found = await connection.execute(
        text("""
            SELECT w.invoice_no, w.kind, w.message_id, w.at, o.outcome, o.at AS outcome_at
            FROM (
              SELECT i.holder_id, i.invoice_no, 'RENEWAL' AS kind, n.message_id, n.at
              FROM members.invoice i
              JOIN members.renewal_notice n ON n.holder_id = i.holder_id
                AND n.subscription_no = i.subscription_no AND n.renews_at = i.period_from
              WHERE i.invoice_no = ANY (:numbers) AND i.kind = 'PERIOD'
              UNION ALL
              SELECT holder_id, invoice_no, step, message_id, at FROM members.arrears_letter
              WHERE invoice_no = ANY (:numbers)
            ) w
            LEFT JOIN members.message_outcome o
              ON o.person_id = w.holder_id AND o.audience = 'MEMBER' AND o.message_id = w.message_id
            ORDER BY w.invoice_no, w.at, w.kind
        """),
        {"numbers": list(invoice_nos)},
    )
    return found.all()
