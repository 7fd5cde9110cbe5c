"""Statements on receipts that somebody asks about. Private to the partners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_SEEN = """
    c.claim, c.holder_id, r.seq, r.outlet_id, r.terminal_id, r.total, r.awarded, r.at
    FROM partners.receipt_claim c
    LEFT JOIN partners.receipt r ON r.holder_id = c.holder_id AND r.unit = 1 AND r.claim = c.claim
"""


async def by_claims(connection: AsyncConnection, claims: Sequence[UUID]) -> Sequence[Row[Any]]:
    """What is recorded under identities of receipts; without a holder where one was cancelled before it came."""
    found = await connection.execute(text(f"SELECT {_SEEN} WHERE c.claim = ANY (:claims)"), {"claims": list(claims)})
    return found.all()


async def by_key(connection: AsyncConnection, idem_key: UUID) -> Row[Any] | None:
    """What is recorded under an idempotency key."""
    found = await connection.execute(text(f"SELECT {_SEEN} WHERE c.idem_key = :idem_key"), {"idem_key": idem_key})
    return found.one_or_none()


async def of_holder(
    connection: AsyncConnection, *, holder_ids: Sequence[int], partner_id: int, day: date, reference: str
) -> Sequence[Row[Any]]:
    """Purchases of holders at a partner with a reference on a day, in order."""
    found = await connection.execute(
        text("""
            SELECT r.claim, r.holder_id, r.seq, r.outlet_id, r.terminal_id, r.total, r.awarded, r.at
            FROM partners.receipt r
            WHERE r.holder_id = ANY (:holder_ids) AND r.unit = 1 AND r.kind = 1 AND r.partner_id = :partner_id
              AND r.business_date = :day AND r.reference = :reference
            ORDER BY r.seq
        """),
        {"holder_ids": list(holder_ids), "partner_id": partner_id, "day": day, "reference": reference},
    )
    return found.all()
