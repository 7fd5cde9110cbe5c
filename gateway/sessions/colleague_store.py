"""The statements of colleagues: people of one partner who sign in to the portal. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_COLLEAGUE = "actor_id, partner_id, name, roles, sealed_address, language, invitation_until"


async def address_is_free(connection: AsyncConnection, lookup: UUID, actor_id: int) -> bool:
    """Whether no other colleague signs in with an address."""
    statement = text(
        "SELECT NOT EXISTS (SELECT FROM gateway.colleague WHERE address_lookup = :lookup AND actor_id <> :actor_id)"
    )
    return bool((await connection.execute(statement, {"lookup": lookup, "actor_id": actor_id})).scalar_one())


async def write(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """Let somebody sign in for a partner, or change their roles and where codes go."""
    statement = text(
        "INSERT INTO gateway.colleague (actor_id, partner_id, name, roles, address_lookup, sealed_address, language, "
        "invitation_hash, invitation_until) VALUES (:actor_id, :partner_id, :name, :roles, :lookup, :sealed_address, "
        ":language, :invitation_hash, :until) "
        "ON CONFLICT (actor_id) DO UPDATE SET roles = EXCLUDED.roles, address_lookup = EXCLUDED.address_lookup, "
        "sealed_address = EXCLUDED.sealed_address, language = EXCLUDED.language, "
        "invitation_hash = EXCLUDED.invitation_hash, invitation_until = EXCLUDED.invitation_until"
    )
    await connection.execute(statement, values)


async def by_lookup(connection: AsyncConnection, lookup: UUID) -> RowMapping | None:
    """The colleague under the keyed hash of an address."""
    statement = text(f"SELECT {_COLLEAGUE} FROM gateway.colleague WHERE address_lookup = :lookup")
    return (await connection.execute(statement, {"lookup": lookup})).mappings().one_or_none()


async def by_actor(connection: AsyncConnection, actor_id: int) -> RowMapping | None:
    """The colleague by the actor's number."""
    statement = text(f"SELECT {_COLLEAGUE} FROM gateway.colleague WHERE actor_id = :actor_id")
    return (await connection.execute(statement, {"actor_id": actor_id})).mappings().one_or_none()


async def of_partner(connection: AsyncConnection, partner_id: int) -> Sequence[RowMapping]:
    """A partner's colleagues by name."""
    statement = text(f"SELECT {_COLLEAGUE} FROM gateway.colleague WHERE partner_id = :partner_id ORDER BY name")
    return (await connection.execute(statement, {"partner_id": partner_id})).mappings().all()


async def use_invitation(connection: AsyncConnection, actor_id: int, invitation_hash: bytes, now: datetime) -> bool:
    """Use up a colleague's invitation; False where this is none that is good."""
    statement = text(
        "UPDATE gateway.colleague SET invitation_hash = NULL, invitation_until = NULL "
        "WHERE actor_id = :actor_id AND invitation_hash = :invitation_hash AND invitation_until > :now RETURNING 1"
    )
    values = {"actor_id": actor_id, "invitation_hash": invitation_hash, "now": now}
    return (await connection.execute(statement, values)).one_or_none() is not None


async def delete(connection: AsyncConnection, actor_id: int) -> bool:
    """Let somebody sign in for their partner no more; False where they could not."""
    statement = text("DELETE FROM gateway.colleague WHERE actor_id = :actor_id RETURNING 1")
    return (await connection.execute(statement, {"actor_id": actor_id})).one_or_none() is not None
