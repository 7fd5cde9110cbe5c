"""What the pages of the operator's staff stand on: who is at one, what their roles open, and forms that are done once.

A page below /console belongs to a section (`sections`), which asks for a role before anything is read. A form carries
the page's token and a key of its own; it is answered with a redirection, or with its page and the problem.
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

from gateway.context import LANGUAGES, Viewer
from gateway.pages import desk_formats, desk_phrases, documents, phrases, rendering, sections
from gateway.pages.rendering import Frame
from gateway.pages.sections import HOME
from gateway.sessions import asking, forms, people, viewers
from gateway.sessions.asking import NotAnswered
from gateway.sessions.cookies import jar_of
from gateway.sessions.people import Staff
from members.messages import STAFF

_YEAR_SECONDS = 365 * 24 * 3_600


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not done: the API's code and its sentence for developers, and the path of what was wrong."""

    code: str
    message: str = ""

    @property
    def sentence(self) -> str:
        """What to tell staff, in English; the catalogues have the other languages."""
        return desk_phrases.problem(self.code)


class Desk:
    """Somebody of staff at a page: who, with which rights, in which frame; asks documents in their name."""

    def __init__(self, request: Request, found: Staff, viewer: Viewer, frame: Frame) -> None:
        self.request = request
        self.found = found
        self.viewer = viewer
        self.frame = frame

    async def ask(self, name: str, **variables: Any) -> dict[str, Any]:
        """The data of a document by its root fields. Raises NotAnswered."""
        text = documents.documents()[name]
        return await asking.ask(self.request, self.viewer, text, variables, language=self.frame.language)

    def may(self, *scopes: str) -> bool:
        """Whether the person has one of these scopes, for what a page offers to do."""
        return bool(self.viewer.scopes & set(scopes))

    def asked(self, name: str, most: int = 200) -> str:
        """What the address says of a name; nothing where it says nothing."""
        return self.request.query_params.get(name, "")[:most]

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])[:200]

    def number(self, name: str) -> int:
        """A part of the path that is a number; 0, which nothing has, for anything else."""
        return whole(self.part(name))

    def page(self, template: str, *, problem: Problem | None = None, status: int = 200, **values: Any) -> Response:
        """A page for this person, in the console's frame; with a problem it is answered 422."""
        return rendering.page(
            self.request, template, self.frame, status=422 if problem else status, csrf=self.found.csrf, desk=self,
            problem=problem, sections=sections, person=self.found, own_sections=sections.open_to(self.found.roles),
            section=sections.section_of(self.request.url.path), desk_phrases=desk_phrases,
            query=self.request.url.query, is_first="after" not in self.request.query_params,
            numbers=desk_formats.NUMBERS, **desk_formats.formats(self.frame), **values,
        )  # fmt: skip

    def missing(self, back: str) -> Response:
        """The page for what is not there."""
        sentence = desk_phrases.NOT_THERE
        return rendering.page(self.request, "problem.html", self.frame, status=404, sentence=sentence, back=back)


Screen = Callable[..., Awaitable[Response]]


async def decided(
    desk: Desk, fields: Mapping[str, str], name: str, given: Mapping[str, Any], *, onward: str,
    again: Callable[[Desk, Problem], Awaitable[Response]], made: Callable[[dict[str, Any]], str] | None = None,
) -> Response:  # fmt: skip
    """Do what a form says by a mutation. Onward where it was done or had been (to where `made` says what was made is),
    by way of a fresh proof where that is asked for; again, with the problem, where it was refused."""
    try:
        [told] = (await desk.ask(name, input={"idempotencyKey": fields.get("key", ""), **given})).values()
    except NotAnswered as no:
        if no.status >= 429:
            raise
        return await again(desk, problem_of(no))
    if told["__typename"] != "Rejection":
        return RedirectResponse(onward if made is None else made(told), 303)
    if told["code"] == "STEP_UP_REQUIRED":
        return people.ask_to_confirm(desk.request, STAFF, onward=onward)
    return await again(desk, Problem(told["code"], told["message"]))


def problem_of(no: NotAnswered) -> Problem:
    """Why a document was not answered: the rejection's code and sentence where there is one."""
    first = no.errors[0]
    extensions = first.get("extensions", {})
    found = extensions.get("rejection", extensions)
    return Problem(str(found.get("code", "")), str(found.get("message", first.get("message", ""))))


def whole(text: str) -> int:
    """A number that somebody typed, or a path has; 0, which nothing has, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def routes(
    screens: Iterable[tuple[str, Screen]], deeds: Iterable[tuple[str, Screen]] = ()
) -> list[BaseRoute]:  # fmt: skip
    """Routes of pages (GET) and of what their forms do (POST), each by its path. A screen takes the desk; a deed the
    desk and the form's fields. Both find the path's parts in `desk.request.path_params`."""
    return [
        *(Route(path, partial(_shown, screen), methods=["GET"]) for path, screen in screens),
        *(Route(path, partial(_sent, deed), methods=["POST"]) for path, deed in deeds),
    ]


async def language(desk: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/language: pages are in another language from now on, in this browser."""
    response = RedirectResponse(forms.local_path(fields.get("next"), HOME), 303)
    if fields.get("language") in LANGUAGES:
        response.set_cookie(
            rendering.LANGUAGE_COOKIE, fields["language"], max_age=_YEAR_SECONDS, path="/",
            secure=jar_of(desk.request, STAFF).is_https, httponly=True, samesite="lax",
        )  # fmt: skip
    return response


async def _shown(screen: Screen, request: Request) -> Response:
    found = await people.signed_in_staff(request)
    if found is None:
        return people.ask_to_sign_in(request, STAFF)
    return await _with(request, found, screen)


async def _sent(deed: Screen, request: Request) -> Response:
    token = jar_of(request, STAFF).session(request)
    if token is None:
        return people.ask_to_sign_in(request, STAFF, onward=HOME)
    try:
        fields = await forms.read_form(request, request.app.state.services.vault, token)
    except HTTPException as error:
        return await _refused(request, error.status_code, phrases.failure(error.status_code))
    found = await people.signed_in_staff(request)
    if found is None:
        return people.ask_to_sign_in(request, STAFF, onward=HOME)
    return await _with(request, found, partial(_filled, deed, fields))


async def _filled(deed: Screen, fields: Mapping[str, str], desk: Desk) -> Response:
    return await deed(desk, fields)


async def _with(request: Request, found: Staff, screen: Screen) -> Response:
    section = sections.section_of(request.url.path)
    if section is not None and not section.roles & found.roles:
        return await _refused(request, 403, desk_phrases.NOT_YOURS)
    frame = await rendering.frame_of(request)
    desk = Desk(request, found, await viewers.viewer_of(request, found), frame)
    try:
        return await screen(desk)
    except NotAnswered as no:
        status = no.status if no.status >= 400 else 422
        return await _refused(request, status, problem_of(no).sentence)


async def _refused(request: Request, status: int, sentence: str) -> Response:
    frame = await rendering.frame_of(request)
    return rendering.page(request, "problem.html", frame, status=status, sentence=sentence, back=HOME)
