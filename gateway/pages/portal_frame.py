"""What the pages of a partner's people stand on: who is at one, what their roles open, and forms that are done once.

A page below /portal belongs to a place, which asks for a role before anything is read. A form carries the page's token
and a key of its own; it is answered with a redirection, with what is shown once, or with its page and the problem.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.context import LANGUAGES, Services, Viewer
from gateway.pages import documents, phrases, portal_phrases, rendering
from gateway.pages.catalogues import marked as _
from gateway.pages.rendering import Frame
from gateway.sessions import asking, colleagues, forms, pages, people, session, viewers
from gateway.sessions.asking import NotAnswered
from gateway.sessions.cookies import jar_of
from gateway.sessions.people import Colleague
from members.messages import COLLEAGUE

HOME = "/portal"
_YEAR_SECONDS = 365 * 24 * 3_600
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
    Place(_("Clients and keys"), f"{HOME}/clients", frozenset({colleagues.DEVELOPER})),
    Place(_("Requests"), f"{HOME}/requests", frozenset({colleagues.DEVELOPER})),
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


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not done: the API's code and its sentence for developers."""

    code: str
    message: str = ""

    @property
    def sentence(self) -> str:
        """What to tell people, in English; the catalogues have the other languages."""
        return portal_phrases.problem(self.code)


class Office:
    """Somebody of a partner at a page: who, with which rights, in which frame; asks documents in their name."""

    def __init__(self, request: Request, found: Colleague, viewer: Viewer, frame: Frame, partner: str) -> None:
        self.request = request
        self.found = found
        self.viewer = viewer
        self.frame = frame
        self.partner = partner

    async def ask(self, name: str, **variables: Any) -> dict[str, Any]:
        """The data of a document by its root fields. Raises NotAnswered."""
        text = documents.documents()[name]
        return await asking.ask(self.request, self.viewer, text, variables, language=self.frame.language)

    def may(self, scope: str) -> bool:
        """Whether the person has a scope, for what a page offers to do."""
        return scope in self.viewer.scopes

    def asked(self, name: str, most: int = 200) -> str:
        """What the address says of a name; nothing where it says nothing."""
        return self.request.query_params.get(name, "")[:most].replace("\0", "")

    def page(self, template: str, *, problem: Problem | None = None, status: int = 200, **values: Any) -> Response:
        """A page for this person; with a problem it is answered 422."""
        person = self.viewer.person
        return rendering.page(
            self.request, f"portal/{template}", self.frame, status=422 if problem else status, csrf=self.found.csrf,
            office=self, problem=problem, person=self.found, partner=self.partner,
            places=open_to(self.found.roles, is_sandbox=self.frame.is_sandbox),
            place=place_of(self.request.url.path), portal_phrases=portal_phrases,
            is_fresh=person is not None and person.is_fresh, **values,
        )  # fmt: skip

    def missing(self, back: str) -> Response:
        """The page for what is not there, or is another partner's."""
        return rendering.page(
            self.request, "problem.html", self.frame, status=404, sentence=portal_phrases.NOT_THERE, back=back
        )


Screen = Callable[..., Awaitable[Response]]


async def decided(
    office: Office, fields: Mapping[str, str], name: str, given: Mapping[str, Any], *, onward: str,
    again: Callable[[Office, Problem], Awaitable[Response]],
    shown: Callable[[Office, dict[str, Any]], Awaitable[Response]] | None = None,
) -> Response:  # fmt: skip
    """Do what a form says by a mutation. Onward where it was done or had been, or what it made is shown, once; by way
    of a fresh proof where that is asked for; again, with the problem, where it was refused."""
    try:
        [told] = (await office.ask(name, input={"idempotencyKey": fields.get("key", ""), **given})).values()
    except NotAnswered as no:
        if no.status >= 429:
            raise
        return await again(office, problem_of(no))
    if told["__typename"] != "Rejection":
        return RedirectResponse(onward, 303) if shown is None else await shown(office, told)
    if told["code"] == "STEP_UP_REQUIRED":
        return people.ask_to_confirm(office.request, COLLEAGUE, onward=onward)
    return await again(office, Problem(told["code"], told["message"]))


def problem_of(no: NotAnswered) -> Problem:
    """Why a document was not answered: the rejection's code where there is one."""
    extensions = no.errors[0].get("extensions", {})
    found = extensions.get("rejection", extensions)
    return Problem(str(found.get("code", "")))


def routes(screens: Iterable[tuple[str, Screen]], deeds: Iterable[tuple[str, Screen]] = ()) -> list[BaseRoute]:
    """Routes of pages (GET) and of what their forms do (POST), each by its path below the portal."""
    return [
        *(Route(HOME + path, partial(_shown, screen), methods=["GET"]) for path, screen in screens),
        *(Route(HOME + path, partial(_sent, deed), methods=["POST"]) for path, deed in deeds),
    ]


async def language(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/language: pages are in another language from now on, in this browser."""
    response = RedirectResponse(forms.local_path(fields.get("next"), HOME), 303)
    if fields.get("language") in LANGUAGES:
        response.set_cookie(
            rendering.LANGUAGE_COOKIE, fields["language"], max_age=_YEAR_SECONDS, path="/",
            secure=jar_of(office.request, COLLEAGUE).is_https, httponly=True, samesite="lax",
        )  # fmt: skip
    return response


async def leave(office: Office, _: Mapping[str, str]) -> Response:
    """POST /portal/leave: the session at this browser is ended."""
    async with office.request.app.state.services.database.transaction() as connection:
        await session.end(connection, office.found.session, now=people.now_of(office.request))
    return pages.signed_out(office.request, COLLEAGUE)


async def _shown(screen: Screen, request: Request) -> Response:
    found = await people.signed_in_colleague(request)
    if found is None:
        return people.ask_to_sign_in(request, COLLEAGUE)
    return await _with(request, found, screen)


async def _sent(deed: Screen, request: Request) -> Response:
    token = jar_of(request, COLLEAGUE).session(request)
    if token is None:
        return people.ask_to_sign_in(request, COLLEAGUE, onward=HOME)
    try:
        fields = await forms.read_form(request, request.app.state.services.vault, token)
    except HTTPException as error:
        return await _refused(request, error.status_code, phrases.failure(error.status_code))
    found = await people.signed_in_colleague(request)
    if found is None:
        return people.ask_to_sign_in(request, COLLEAGUE, onward=HOME)
    return await _with(request, found, partial(_filled, deed, fields))


async def _filled(deed: Screen, fields: Mapping[str, str], office: Office) -> Response:
    return await deed(office, fields)


async def _with(request: Request, found: Colleague, screen: Screen) -> Response:
    frame = await rendering.frame_of(request)
    if place_of(request.url.path) not in open_to(found.roles, is_sandbox=frame.is_sandbox):
        return await _refused(request, 403, portal_phrases.NOT_YOURS)
    services: Services = request.app.state.services
    partner = (await services.directory.get()).partner(found.partner_id)
    name = "" if partner is None else partner.name
    office = Office(request, found, await viewers.viewer_of(request, found), frame, name)
    try:
        return await screen(office)
    except NotAnswered as no:
        status = no.status if no.status >= 400 else 422
        return await _refused(request, status, problem_of(no).sentence)


async def _refused(request: Request, status: int, sentence: str) -> Response:
    frame = await rendering.frame_of(request)
    return rendering.page(request, "problem.html", frame, status=status, sentence=sentence, back=HOME)
