"""What the pages of a partner's people stand on: a workplace below /portal.

A page belongs to a place of the top row, which asks for a role before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.context import Services, Viewer
from gateway.pages import desk_formats, desk_phrases, portal_phrases, rendering
from gateway.pages.catalogues import marked as _
from gateway.pages.rendering import Frame
from gateway.pages.workplace import Door, Problem, Screen, Sentences, Workplace
from gateway.sessions import answers, colleagues, people, session, viewers
from gateway.sessions.people import Colleague
from members.messages import COLLEAGUE

HOME = "/portal"
_EVERYBODY = frozenset(colleagues.SCOPES)


@dataclass(frozen=True, slots=True)
class Place:
    """A page of the top row: its name, its path, and the roles of which one opens it and what is below it."""

    name: str
    path: str
    roles: frozenset[str]
    of_sandbox: bool = False


PLACES = (
    Place(_("Overview"), HOME, _EVERYBODY),
    Place(_("Statements"), f"{HOME}/statements", frozenset({colleagues.MANAGER, colleagues.FINANCE})),
    Place(_("Differences"), f"{HOME}/differences", frozenset({colleagues.MANAGER, colleagues.FINANCE})),
    Place(_("Disputes"), f"{HOME}/disputes", frozenset({colleagues.FINANCE})),
    Place(_("Promotions"), f"{HOME}/promotions", frozenset({colleagues.MANAGER})),
    Place(_("Clients and keys"), f"{HOME}/clients", frozenset({colleagues.DEVELOPER})),
    Place(_("Requests"), f"{HOME}/requests", frozenset({colleagues.DEVELOPER})),
    Place(_("Webhooks"), f"{HOME}/webhooks", frozenset({colleagues.DEVELOPER})),
    Place(_("Sandbox"), f"{HOME}/sandbox", frozenset({colleagues.DEVELOPER}), of_sandbox=True),
    Place(_("Outlets and tills"), f"{HOME}/outlets", frozenset({colleagues.MANAGER})),
    Place(_("Colleagues"), f"{HOME}/colleagues", frozenset({colleagues.MANAGER})),
    Place(_("Till"), f"{HOME}/till", frozenset({colleagues.CASHIER})),
)


_OF_STATEMENTS = (f"{HOME}/receipts", f"{HOME}/reports/", f"{HOME}/packages/")


def open_to(roles: frozenset[str], *, is_sandbox: bool) -> list[Place]:
    """The places that one of these roles opens, in the order of the top row."""
    return [each for each in PLACES if each.roles & roles and (is_sandbox or not each.of_sandbox)]


def place_of(path: str) -> Place:
    """The place that a page belongs to; the overview where it is none of the others'."""
    wanted = PLACES[1].path if path.startswith(_OF_STATEMENTS) else path
    return next((each for each in PLACES[1:] if wanted == each.path or wanted.startswith(each.path + "/")), PLACES[0])


class Office(Workplace):
    """Somebody of a partner at a page."""

    audience, home = COLLEAGUE, HOME
    sentences = Sentences(portal_phrases.problem, portal_phrases.NOT_YOURS, portal_phrases.NOT_THERE)

    def __init__(self, request: Request, found: Colleague, viewer: Viewer, frame: Frame, partner: str) -> None:
        super().__init__(request, found, viewer, frame)
        self.partner = partner

    def page(self, template: str, *, problem: Problem | None = None, status: int = 200, **values: Any) -> Response:
        """A page for this person, in the portal's frame; with a problem it is answered 422."""
        person = self.viewer.person
        return self.drawn(
            f"portal/{template}", problem, status, office=self, partner=self.partner,
            places=open_to(self.found.roles, is_sandbox=self.frame.is_sandbox),
            place=place_of(self.request.url.path), portal_phrases=portal_phrases, desk_phrases=desk_phrases,
            is_fresh=person is not None and person.is_fresh, **desk_formats.formats(self.frame), **values,
        )  # fmt: skip


def routes(screens: Iterable[tuple[str, Screen]], deeds: Iterable[tuple[str, Screen]] = ()) -> list[BaseRoute]:
    """Routes of pages (GET) and of what their forms do (POST), each by its path below the portal."""
    return _DOOR.routes(
        ((HOME + path, screen) for path, screen in screens), ((HOME + path, deed) for path, deed in deeds)
    )


async def leave(office: Office, _: Mapping[str, str]) -> Response:
    """POST /portal/leave: the session at this browser is ended."""
    async with office.request.app.state.services.database.transaction() as connection:
        await session.end(connection, office.found.session, now=people.now_of(office.request))
    return answers.signed_out(office.request, COLLEAGUE)


async def _enter(request: Request, found: Colleague) -> Office | None:
    frame = await rendering.frame_of(request)
    if place_of(request.url.path) not in open_to(found.roles, is_sandbox=frame.is_sandbox):
        return None
    services: Services = request.app.state.services
    partner = (await services.directory.get()).partner(found.partner_id)
    name = "" if partner is None else partner.name
    return Office(request, found, await viewers.viewer_of(request, found), frame, name)


_DOOR = Door(Office, people.signed_in_colleague, _enter)
