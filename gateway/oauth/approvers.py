"""The people who approve: who is signed in at the pages, and whether they may decide for a client.

How somebody signs in is none of this package's business: it is given a port, and asks it on every page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from kit import actors


@dataclass(frozen=True, slots=True)
class Approver:
    """Somebody who is signed in: an actor, by name; a manager of one partner, or of the operator's staff (None).

    session is any text that is this sign-in's alone; the forms of a page are bound to it.
    """

    actor_id: int
    name: str
    partner_id: int | None
    session: str = field(repr=False)


SignedIn = Callable[[Request, str], Awaitable[Approver | Response]]
"""Who is signed in and has just proved it, or the answer that leads to that proof and back to a path of ours.

It answers only for people who may approve: of a partner, its managers; of the staff, whoever acts, whose role is asked
here.
"""


async def may_approve(connection: AsyncConnection, approver: Approver, partner_id: int | None) -> bool:
    """Whether somebody may decide for a client of a partner: its own managers, and staff in ONBOARDING."""
    if approver.partner_id is not None:
        return approver.partner_id == partner_id
    try:
        await actors.require_role(connection, approver.actor_id, actors.ONBOARDING)
    except actors.NotPermitted:
        return False
    return True
