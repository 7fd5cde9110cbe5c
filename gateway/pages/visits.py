"""What every page of the member app does alike: a member's screen is asked in their name, and a form of theirs is done
once, however often it is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.context import Viewer
from gateway.pages import documents, phrases, rendering
from gateway.pages.rendering import Frame
from gateway.sessions import forms, people, viewers
from gateway.sessions.asking import NotAnswered
from gateway.sessions.cookies import jar_of
from gateway.sessions.people import Member
from members.messages import MEMBER

HOME = "/app"


class Visitor:
    """A member at a page: who, with which rights, in which frame; asks documents in their name."""

    def __init__(self, request: Request, found: Member, viewer: Viewer, frame: Frame) -> None:
        self.request = request
        self.found = found
        self.viewer = viewer
        self.frame = frame

    async def ask(self, name: str, **variables: Any) -> Any:
        """The one root field's data of a document. Raises NotAnswered."""
        return await documents.ask(self.request, self.viewer, name, variables, language=self.frame.language)

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page for this member."""
        return rendering.page(
            self.request, f"member/{template}", self.frame, status=status, csrf=self.found.csrf, **values
        )


Screen = Callable[..., Awaitable[Response]]


def routes(screens: Sequence[tuple[str, Screen]], deeds: Sequence[tuple[str, Screen]]) -> list[BaseRoute]:
    """Routes of screens, which are shown, and of deeds, which are forms that were sent, by their paths below /app."""
    return [
        *(Route(HOME + path, partial(_shown, screen), methods=["GET"]) for path, screen in screens),
        *(Route(HOME + path, partial(_sent, deed), methods=["POST"]) for path, deed in deeds),
    ]


async def decided(
    visitor: Visitor, fields: Mapping[str, str], name: str, given: Mapping[str, Any], onward: str, again: Screen
) -> Response:
    """Do what a form says. Onward where it was done or had been; again, with the problem, where it was refused."""
    told = await done(visitor, fields, name, given, onward, again)
    return told if isinstance(told, Response) else RedirectResponse(onward, 303)


async def done(
    visitor: Visitor, fields: Mapping[str, str], name: str, given: Mapping[str, Any], onward: str, again: Screen
) -> Response | dict[str, Any]:
    """As `decided`, for a form whose answer is shown: what was told where it was done, else the page."""
    try:
        told: dict[str, Any] = await visitor.ask(name, input={"idempotencyKey": fields.get("key", ""), **given})
    except NotAnswered as no:
        if no.status >= 429:
            raise
        return await again(visitor, code_of(no))
    if told["__typename"] != "Rejection":
        return told
    if told["code"] == "STEP_UP_REQUIRED":
        return people.ask_to_confirm(visitor.request, MEMBER, onward=onward)
    return await again(visitor, told["code"])


def code_of(no: NotAnswered) -> str:
    """The code of what was not answered: the rejection's where there is one."""
    return no.code


def status_of(problem: str | None) -> int:
    """The status of a page with this problem."""
    return 422 if problem else 200


async def _shown(screen: Screen, request: Request) -> Response:
    found = await people.signed_in_member(request)
    if found is None:
        return people.ask_to_sign_in(request, MEMBER)
    return await _with(request, found, screen)


async def _sent(deed: Screen, request: Request) -> Response:
    token = jar_of(request, MEMBER).session(request)
    if token is None:
        return people.ask_to_sign_in(request, MEMBER, onward=HOME)
    try:
        fields = await forms.read_form(request, request.app.state.services.vault, token)
    except HTTPException as error:
        return await _refused(request, error.status_code)
    found = await people.signed_in_member(request)
    if found is None:
        return people.ask_to_sign_in(request, MEMBER, onward=HOME)
    return await _with(request, found, partial(_filled, deed, fields))


async def _filled(deed: Screen, fields: Mapping[str, str], visitor: Visitor) -> Response:
    return await deed(visitor, fields)


async def _with(request: Request, found: Member, screen: Screen) -> Response:
    frame = await rendering.frame_of(request, found.language)
    visitor = Visitor(request, found, await viewers.viewer_of(request, found), frame)
    try:
        return await screen(visitor)
    except NotAnswered as no:
        return rendering.page(
            request, "problem.html", frame, status=no.status if no.status >= 400 else 422,
            sentence=phrases.problem(code_of(no)), back=HOME,
        )  # fmt: skip


async def _refused(request: Request, status: int) -> Response:
    frame, sentence = await rendering.frame_of(request), phrases.failure(status)
    return rendering.page(request, "problem.html", frame, status=status, sentence=sentence, back=HOME)
