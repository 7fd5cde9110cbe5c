"""Who approves at the OAuth pages: staff or a partner's manager, signed in here, who proved it a moment ago.

Allowing an app or a till hands out a credential that moves points, so an old sign-in is not enough. Staff decide for
any partner where their role lets them, a manager for the own partner alone.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.oauth.approvers import Approver
from gateway.sessions import colleagues, people
from gateway.sessions.cookies import jar_of
from gateway.sessions.people import Colleague
from members.messages import COLLEAGUE, STAFF


async def signed_in(request: Request, here: str) -> Approver | Response:
    """Who may approve at this browser, of both the staff; or the way to sign in or to prove it anew, and back here."""
    found = await people.signed_in_staff(request) or await _manager(request)
    if found is None:
        # Whoever signed in to the portal from here before is shown the way in there, all others the staff's.
        audience = COLLEAGUE if jar_of(request, COLLEAGUE).known(request) else STAFF
        return people.ask_to_sign_in(request, audience, onward=here)
    if not found.session.is_fresh(people.now_of(request)):
        return people.ask_to_confirm(request, found.session.person.audience, onward=here)
    partner_id = found.partner_id if isinstance(found, Colleague) else None
    return Approver(found.actor_id, found.name, partner_id, str(found.session.session_id))


async def _manager(request: Request) -> Colleague | None:
    found = await people.signed_in_colleague(request)
    return found if found is not None and colleagues.MANAGER in found.roles else None
