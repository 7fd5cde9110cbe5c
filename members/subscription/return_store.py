"""Statements on what came for invoices and what goes back of it. Private to the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def came(connection: AsyncConnection, invoice_nos: Sequence[int]) -> Sequence[Row[Any]]:
    """What came for invoices, in order: the columns of `returns.Came`."""
    found = await connection.execute(
        text("""
            SELECT invoice_no, reference, amount_minor, charging_minor, is_surplus, evidence, actor, approval_id, at
            FROM members.fee_payment WHERE invoice_no = ANY (:numbers) ORDER BY invoice_no, at, reference
        """),
        {"numbers": list(invoice_nos)},
    )
    return found.all()


async def notes(connection: AsyncConnection, asked: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Credit notes, the latest first: the columns of `returns.CreditNote`."""
    found = await connection.execute(
        text("""
            SELECT n.note_no, n.invoice_no, n.holder_id, n.kind, i.currency, n.from_day, n.net_minor, n.tax_minor,
                   n.lost_minor, n.reason, n.at
            FROM members.credit_note n JOIN members.invoice i USING (holder_id, invoice_no)
            WHERE n.note_no < coalesce(CAST(:before AS bigint), 9223372036854775807)
              AND n.kind = coalesce(CAST(:kind AS text), n.kind)
              AND i.currency = coalesce(CAST(:currency AS text), i.currency)
            ORDER BY n.note_no DESC LIMIT :limit
        """),
        asked,
    )
    return found.all()


async def refunds(connection: AsyncConnection, asked: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Money that has to go back or went, the latest first: the columns of `returns.Refund`."""
    found = await connection.execute(
        text("""
            SELECT r.refund_no, r.invoice_no, r.holder_id, i.currency, i.provider, r.payment, r.amount_minor, r.reason,
                   r.at, d.reference, d.actor, d.at AS done_at
            FROM members.fee_refund r JOIN members.invoice i USING (holder_id, invoice_no)
            LEFT JOIN members.fee_refund_done d USING (holder_id, refund_no)
            WHERE r.refund_no < coalesce(CAST(:before AS bigint), 9223372036854775807)
              AND i.currency = coalesce(CAST(:currency AS text), i.currency)
              AND (CAST(:is_done AS boolean) IS NULL OR :is_done = (d.at IS NOT NULL))
            ORDER BY r.refund_no DESC LIMIT :limit
        """),
        asked,
    )
    return found.all()
