"""Persons: who somebody is whatever they are a member as, told by their phone number under a key of its own.

The hash cannot be joined with the one that a member is found by, and it stays when a member is forgotten: what a person
is given once, they are given once, though they leave and come again.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.secrets import Vault
from members import person_store


async def key_of(connection: AsyncConnection, vault: Vault, member_id: int) -> UUID | None:
    """The person whom a member is; None where no phone number is known."""
    lookup = await person_store.phone_lookup(connection, member_id)
    return None if lookup is None else vault.lookup("person", lookup.hex)


async def was_given(connection: AsyncConnection, person: UUID, what: str) -> bool:
    """Whether a person was given before what is given once."""
    return await person_store.was_given(connection, person, what)
