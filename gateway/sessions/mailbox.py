"""The mailbox: what was written to people and what became of it, most of all where no channel is configured.

In a sandbox on this machine it is open, so that whoever tries the programme out can read their code. Anywhere else it
takes an OPERATOR_ADMIN, every opened message is in the audit trail, and a sign-in code is not shown to them either:
whoever reads a code can be its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.context import Services
from gateway.sessions import pages, people, views
from gateway.sessions.people import Staff
from kit import actors, audit
from members import messages
from members.messages import COLLEAGUE, MEMBER, SIGN_IN_CODE, STAFF, Message

SHOWN: Final = 100


async def mailbox(request: Request) -> Response:
    """GET /mailbox: the last messages, without their words."""
    refusal, reader = await _reader(request)
    if refusal is not None:
        return refusal
    services: Services = request.app.state.services
    async with services.database.reading() as connection:
        found = await messages.latest(connection, SHOWN + 1)
        # An address is personal: only where everybody is made up does the list tell it.
        addresses = {} if reader is not None else await _addresses(connection, services, found[:SHOWN])
    return await views.page(
        request, "mailbox.html", STAFF, messages=found[:SHOWN], addresses=addresses, is_cut=len(found) > SHOWN,
        shown=str(SHOWN),
    )  # fmt: skip


async def _addresses(connection: AsyncConnection, services: Services, found: Sequence[Message]) -> dict[UUID, str]:
    opened = {
        each.message_id: await messages.read(connection, services.vault, each.audience, each.person_id, each.message_id)
        for each in found
    }
    return {number: words.to for number, words in opened.items() if words is not None}


async def message(request: Request) -> Response:
    """GET /mailbox/{audience}/{person}/{message}: one message."""
    refusal, reader = await _reader(request)
    if refusal is not None:
        return refusal
    audience, person_id, message_id = _key(request)
    services: Services = request.app.state.services
    async with services.database.transaction() as connection:
        head = await messages.proof(connection, audience, person_id, message_id)
        if head is None:
            raise HTTPException(404, "Not Found")
        is_hidden = reader is not None and head.purpose == SIGN_IN_CODE
        words = None
        if not is_hidden:
            words = await messages.read(connection, services.vault, audience, person_id, message_id)
        if reader is not None and words is not None:
            await audit.write(
                connection, actor=reader.actor_id, action="MESSAGE_READ", subject=f"message:{message_id}",
                detail={}, at=people.now_of(request),
            )  # fmt: skip
    return await views.page(request, "message.html", STAFF, head=head, words=words, is_hidden=is_hidden)


async def _reader(request: Request) -> tuple[Response | None, Staff | None]:
    """What to answer to somebody who may not read here, and who reads (None: anybody, in a sandbox)."""
    if pages.is_open_sandbox(request):
        return None, None
    found = await people.signed_in_staff(request)
    if found is None:
        return people.ask_to_sign_in(request, STAFF), None
    if actors.OPERATOR_ADMIN not in found.roles:
        role = actors.OPERATOR_ADMIN
        return await views.page(request, "forbidden.html", STAFF, status=403, role=role), None
    return None, found


def _key(request: Request) -> tuple[str, int, UUID]:
    path = request.path_params
    try:
        key = path["audience"].upper(), int(path["person"]), UUID(path["message"])
    except ValueError:
        raise HTTPException(404, "Not Found") from None
    if key[0] not in (MEMBER, STAFF, COLLEAGUE) or not 0 <= key[1] < 2**63:
        raise HTTPException(404, "Not Found")
    return key


ROUTES: list[BaseRoute] = [
    Route("/mailbox", mailbox, methods=["GET"]),
    Route("/mailbox/{audience}/{person}/{message}", message, methods=["GET"]),
]
