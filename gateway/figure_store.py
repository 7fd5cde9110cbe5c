"""The statement behind the landing page's figures. It reads across the packages and names nobody."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_FIGURES = text("""
    SELECT p.name, p.base_currency,
           (SELECT count(*) FROM partners.partner) AS partners,
           (SELECT count(*) FROM members.member WHERE status <> 'CLOSED') AS members,
           (SELECT count(*) FROM partners.receipt WHERE kind = 1) AS receipts,
           (SELECT max(business_date) FROM partners.receipt) AS last_business_date,
           a.available, a.pending, a.held
    FROM partners.programme p
    CROSS JOIN (
      SELECT coalesce(sum(available), 0)::bigint AS available, coalesce(sum(pending), 0)::bigint AS pending,
             coalesce(sum(held), 0)::bigint AS held
      FROM ledger.account WHERE unit = 1
    ) a
""")


async def coalition_figures(connection: AsyncConnection) -> Row[Any] | None:
    """One row of sums over the whole coalition; None before a programme is founded."""
    return (await connection.execute(_FIGURES)).one_or_none()
