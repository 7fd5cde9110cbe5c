"""Statements of sealing partners' id keys anew. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

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


async def coupons(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next coupons: coupon_id, code_lookup."""
    statement = text(
        "SELECT coupon_id, code_lookup FROM partners.coupon WHERE coupon_id > :after "
        "ORDER BY coupon_id LIMIT :limit FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_coupons(connection: AsyncConnection, coupon_ids: Sequence[int], lookups: Sequence[UUID]) -> None:
    """Give coupons other hashes."""
    statement = text("""
        UPDATE partners.coupon c SET code_lookup = n.lookup
        FROM unnest(CAST(:coupon_ids AS bigint[]), CAST(:lookups AS uuid[])) AS n(coupon_id, lookup)
        WHERE c.coupon_id = n.coupon_id
    """)
    await connection.execute(statement, {"coupon_ids": list(coupon_ids), "lookups": list(lookups)})


async def inviting_holders(connection: AsyncConnection, after: int, limit: int) -> list[int]:
    """The next members who invited somebody or came by an invitation."""
    statement = text(
        "SELECT holder_id FROM "
        "(SELECT holder_id FROM partners.invitation UNION SELECT holder_id FROM partners.referral) h "
        "WHERE holder_id > :after ORDER BY holder_id LIMIT :limit"
    )
    return list((await connection.execute(statement, {"after": after, "limit": limit})).scalars())


async def invitations(connection: AsyncConnection, holder_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Members' invitations: code_lookup, device."""
    statement = text(
        "SELECT code_lookup, device FROM partners.invitation WHERE holder_id = ANY (:holder_ids) FOR UPDATE"
    )
    return (await connection.execute(statement, {"holder_ids": list(holder_ids)})).all()


async def write_invitation(connection: AsyncConnection, old: UUID, fresh: UUID, device: UUID | None) -> None:
    """Give an invitation other hashes."""
    statement = text("UPDATE partners.invitation SET code_lookup = :fresh, device = :device WHERE code_lookup = :old")
    await connection.execute(statement, {"old": old, "fresh": fresh, "device": device})


async def referrals(connection: AsyncConnection, holder_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Who of members came by an invitation on a known device: holder_id, device."""
    statement = text(
        "SELECT holder_id, device FROM partners.referral "
        "WHERE holder_id = ANY (:holder_ids) AND device IS NOT NULL FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"holder_ids": list(holder_ids)})).all()


async def write_referral(connection: AsyncConnection, holder_id: int, device: UUID) -> None:
    """Give the device of one who came another hash."""
    statement = text("UPDATE partners.referral SET device = :device WHERE holder_id = :holder_id")
    await connection.execute(statement, {"holder_id": holder_id, "device": device})


async def raffle_seeds(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every raffle: code, sealed_seed."""
    return (await connection.execute(text("SELECT code, sealed_seed FROM partners.raffle FOR NO KEY UPDATE"))).all()


async def write_raffle_seed(connection: AsyncConnection, code: str, sealed: bytes) -> None:
    """Seal a raffle's seed otherwise."""
    statement = text("UPDATE partners.raffle SET sealed_seed = :sealed WHERE code = :code")
    await connection.execute(statement, {"code": code, "sealed": sealed})
