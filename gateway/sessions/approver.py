"""Who approves at the OAuth pages: staff who are signed in at this browser and proved it a moment ago.

Allowing an app or a till hands out a credential that moves points, so an old sign-in is not enough.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.oauth.approvers import Approver
from gateway.sessions import people
from members.messages import STAFF


async def signed_in(request: Request, here: str) -> Approver | Response:
    """The staff at this browser as an approver, or the way to sign in or to prove it anew, and back here."""
    found = await people.signed_in_staff(request)
    if found is None:
        return people.ask_to_sign_in(request, STAFF, onward=here)
    if not found.session.is_fresh(people.now_of(request)):
        return people.ask_to_confirm(request, STAFF, onward=here)
    return Approver(found.actor_id, found.name, None, str(found.session.session_id))
