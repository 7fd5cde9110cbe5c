"""What people of finance ask to be done in their own name: each once under its key, with a proof of a moment ago."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import person_calls, scopes
from gateway.context import Context, Person
from members.messages import STAFF

MAKE, DECIDE = (scopes.SETTLEMENT_MAKE,), (scopes.SETTLEMENT_DECIDE,)
DESK = MAKE + DECIDE
"""Who makes, who decides, and either of them."""

Done = TypeVar("Done")
Do = Callable[[AsyncConnection, str, datetime], Awaitable[Done]]


def person(info: Info[Context, None], audience: str = STAFF) -> Person:
    """Who is signed in. Raises FORBIDDEN where it is nobody of this audience."""
    return person_calls.person_of(info.context.viewer, audience)


async def known_as(info: Info[Context, None], who: Person) -> str:
    """Somebody as the audit trail knows them: staff by their name, a partner's people behind its code."""
    partner_id = info.context.viewer.partner_id
    if who.audience == STAFF or partner_id is None:
        return who.name
    partner = (await info.context.services.directory.get()).partner(partner_id)
    assert partner is not None, "whoever is signed in is of a partner that there is"
    return f"{partner.code}/{who.name}"


async def once(
    info: Info[Context, None], operation: str, key: str, do: Do[Done], *content: str, audience: str = STAFF
) -> tuple[Done | None, bool]:
    """Do something in the person's name once under its key, in one transaction with what keeps the key; and whether it
    was done now. Rejects STEP_UP_REQUIRED where who they are was not proved a moment ago."""
    who, services, at = person(info, audience), info.context.services, await info.context.now()
    async with services.database.transaction() as connection:
        is_new = await person_calls.is_new(connection, services.vault, who, operation, key, *content, at=at)
        if not is_new:
            return None, False
        person_calls.require_fresh(who)
        return await do(connection, who.name, at), True
