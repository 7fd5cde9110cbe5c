"""What the pages of everybody who works here stand on, staff and partners' people alike: who is at one, what their
roles open, and forms that are done once.

A door says whose pages they are. A form carries the page's token and a key of its own; it is answered with a
redirection, with what is shown once, or with its page and the problem.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.context import LANGUAGES, Viewer
from gateway.pages import documents, phrases, rendering
from gateway.pages.rendering import Frame
from gateway.sessions import asking, forms, people, uploads, views
from gateway.sessions.asking import NotAnswered
from gateway.sessions.cookies import jar_of
from gateway.sessions.people import Colleague, Staff

_YEAR_SECONDS = 365 * 24 * 3_600

Screen = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not done: the API's code, its sentence for developers, what was wrong with which part, and the
    names of these parts; sentence is what the page tells of it where it knows better than the code does."""

    code: str
    message: str = ""
    details: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Sentences:
    """What an audience is told, in English: of a code, of a page that its roles do not open, of what is not there."""

    problem: Callable[[str], str]
    not_yours: str
    not_there: str


class Workplace:
    """Somebody at a page: who, with which rights, in which frame; asks documents in their name."""

    audience: str
    home: str
    sentences: Sentences

    def __init__(self, request: Request, found: Staff | Colleague, viewer: Viewer, frame: Frame) -> None:
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
        return self.request.query_params.get(name, "")[:most].replace("\0", "")

    def drawn(self, template: str, problem: Problem | None, status: int, **values: Any) -> Response:
        """A page for this person; with a problem it is answered 422."""
        return rendering.page(
            self.request, template, self.frame, status=422 if problem else status, csrf=self.found.csrf, home=self.home,
            problem=problem,
            sentence=None if problem is None else problem.sentence or self.sentences.problem(problem.code),
            person=self.found, **values,
        )  # fmt: skip

    def missing(self, back: str) -> Response:
        """The page for what is not there, or is not theirs."""
        sentence = self.sentences.not_there
        return rendering.page(self.request, "problem.html", self.frame, status=404, sentence=sentence, back=back)


At = TypeVar("At", bound=Workplace)


@dataclass(frozen=True, slots=True)
class Door(Generic[At]):
    """Whose pages they are, and how somebody comes to one: who is signed in, and as whom they are at the page; None
    where their roles do not open it."""

    kind: type[At]
    signed_in: Callable[[Request], Awaitable[Any]]
    enter: Callable[[Request, Any], Awaitable[At | None]]

    def routes(
        self, screens: Iterable[tuple[str, Screen]], deeds: Iterable[tuple[str, Screen]] = (),
        files: Iterable[tuple[str, Screen, int]] = (),
    ) -> list[BaseRoute]:  # fmt: skip
        """Routes of pages (GET) and of what their forms do (POST), each by its path. A screen takes the workplace; a
        deed the workplace and the form's fields; what takes a file also the file, of so many bytes at most. All find
        the path's parts in its request."""
        return [
            *(Route(path, partial(self._shown, screen), methods=["GET"]) for path, screen in screens),
            *(Route(path, partial(self._sent, deed), methods=["POST"]) for path, deed in deeds),
            *(Route(path, partial(self._brought, deed, most), methods=["POST"]) for path, deed, most in files),
        ]

    async def _shown(self, screen: Screen, request: Request) -> Response:
        found = await self.signed_in(request)
        if found is None:
            return people.ask_to_sign_in(request, self.kind.audience)
        return await self._with(request, found, screen)

    async def _sent(self, deed: Screen, request: Request) -> Response:
        async def read(token: str) -> tuple[Any, ...]:
            return (await forms.read_form(request, request.app.state.services.vault, token),)

        return await self._filled(request, deed, read)

    async def _brought(self, deed: Screen, most_bytes: int, request: Request) -> Response:
        async def read(token: str) -> tuple[Any, ...]:
            return await uploads.read(request, request.app.state.services.vault, token, most_bytes=most_bytes)

        return await self._filled(request, deed, read)

    async def _filled(
        self, request: Request, deed: Screen, read: Callable[[str], Awaitable[tuple[Any, ...]]]
    ) -> Response:
        audience, home = self.kind.audience, self.kind.home
        token = jar_of(request, audience).session(request)
        if token is None:
            return people.ask_to_sign_in(request, audience, onward=home)
        try:
            sent = await read(token)
        except HTTPException as error:
            return await self._refused(request, error.status_code, phrases.failure(error.status_code))
        found = await self.signed_in(request)
        if found is None:
            return people.ask_to_sign_in(request, audience, onward=home)

        async def done(at: At) -> Response:
            return await deed(at, *sent)

        return await self._with(request, found, done)

    async def _with(self, request: Request, found: Any, screen: Screen) -> Response:
        at = await self.enter(request, found)
        if at is None:
            return await self._refused(request, 403, self.kind.sentences.not_yours)
        try:
            return await screen(at)
        except NotAnswered as no:
            status = no.status if no.status >= 400 else 422
            return await self._refused(request, status, at.sentences.problem(problem_of(no).code))

    async def _refused(self, request: Request, status: int, sentence: str) -> Response:
        frame = await rendering.frame_of(request)
        return rendering.page(request, "problem.html", frame, status=status, sentence=sentence, back=self.kind.home)


async def decided(
    at: At, fields: Mapping[str, str], name: str, given: Mapping[str, Any], *, onward: str,
    again: Callable[[At, Problem], Awaitable[Response]],
    shown: Callable[[At, dict[str, Any]], Awaitable[Response]] | None = None,
) -> Response:  # fmt: skip
    """Do what a form says by a mutation. Onward where it was done or had been, or what it made is shown; by way of a
    fresh proof where that is asked for; again, with the problem, where it was refused."""
    try:
        [told] = (await at.ask(name, input={"idempotencyKey": fields.get("key", ""), **given})).values()
    except NotAnswered as no:
        if no.status >= 429:
            raise
        return await again(at, problem_of(no))
    if told["__typename"] != "Rejection":
        return RedirectResponse(onward, 303) if shown is None else await shown(at, told)
    if told["code"] == "STEP_UP_REQUIRED":
        return people.ask_to_confirm(at.request, at.audience, onward=onward)
    wrong = told.get("fields", ())
    details = tuple(f"{'.'.join(each['path'])}: {each['message']}" for each in wrong)
    parts = tuple(each["path"][0] for each in wrong if each["path"])
    return await again(at, Problem(told["code"], told["message"], details, parts))


def problem_of(no: NotAnswered) -> Problem:
    """Why a document was not answered: the rejection's code and sentence where there is one."""
    first = no.errors[0]
    extensions = first.get("extensions", {})
    found = extensions.get("rejection", extensions)
    return Problem(str(found.get("code", "")), str(found.get("message", first.get("message", ""))))


async def language(at: Workplace, fields: Mapping[str, str]) -> Response:
    """POST …/language: pages are in another language from now on, in this browser."""
    response = RedirectResponse(forms.local_path(fields.get("next"), at.home), 303)
    if fields.get("language") in LANGUAGES:
        response.set_cookie(
            views.LANGUAGE_COOKIE, fields["language"], max_age=_YEAR_SECONDS, path="/",
            secure=jar_of(at.request, at.audience).is_https, httponly=True, samesite="lax",
        )  # fmt: skip
    return response
