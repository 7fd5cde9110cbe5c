"""Statements of sealing partners' id keys anew. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def id_keys(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next partners: partner_id, code, sealed_id_key."""
    statement = text(
        "SELECT partner_id, code, sealed_id_key FROM partners.partner WHERE partner_id > :after "
        "ORDER BY partner_id LIMIT :limit FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_id_keys(connection: AsyncConnection, partner_ids: Sequence[int], sealed: Sequence[bytes]) -> None:
    """Seal partners' id keys otherwise."""
    statement = text("""
        UPDATE partners.partner p SET sealed_id_key = n.sealed
        FROM unnest(CAST(:partner_ids AS int[]), CAST(:sealed AS bytea[])) AS n(partner_id, sealed)
        WHERE p.partner_id = n.partner_id
    """)
    await connection.execute(statement, {"partner_ids": list(partner_ids), "sealed": list(sealed)})
