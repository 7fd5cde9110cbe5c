"""GraphQL in the name of somebody who is signed in at a browser: by a page on the server, and by a page's own script.

A page asks with `ask`: a document of ours, in this process, with the rights of who is signed in. A script POSTs JSON to
`/session/graphql` (`/staff…`, `/portal…`) with the cookie that it cannot read and the token of its page, which nothing
has that another site makes a browser send. No access token is ever in a browser. `/graphql` itself takes no cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway import endpoint, masking
from gateway.context import Context, Viewer, language_of
from gateway.endpoint import EVENT_STREAM, GRAPHQL_JSON, JSON, LARGEST_BODY, Endpoint
from gateway.gate.admission import Asked
from gateway.gate.prepared import Unacceptable
from gateway.integration.request_log import code_of
from gateway.sessions import forms
from gateway.sessions.cookies import jar_of
from gateway.sessions.people import PREFIXES
from gateway.sessions.viewers import viewer_at
from gateway.streams import Refused, send_events


class NotAnswered(Exception):  # noqa: N818 - it is what it says
    """A document that a page asked was answered with errors, in the form that GraphQL has them. status as over HTTP."""

    def __init__(self, status: int, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["extensions"].get("code", ""))
        self.status = status
        self.errors = errors

    @property
    def code(self) -> str:
        """The code of what was not answered: the rejection's where there is one."""
        extensions = self.errors[0].get("extensions", {})
        return str(extensions.get("rejection", extensions).get("code", ""))


async def ask(
    request: Request, viewer: Viewer, document: str, variables: Mapping[str, Any] | None = None, *, language: str = "en"
) -> dict[str, Any]:
    """The data of a document of ours, asked by a page for whoever is signed in (`viewers.viewer_of`).

    It passes the same gate as what comes over HTTP: scopes, cost and the person's allowance, room, deadlines. Raises
    NotAnswered.
    """
    gate: Endpoint = request.app.state.endpoint
    context = Context(viewer, request.app.state.services, request.scope["request_id"], language)
    asked = Asked(document, None, dict(variables or {}), is_ours=True)
    status, answer, _ = await gate.answer(asked, 0, context, media_type=GRAPHQL_JSON)
    if "errors" in answer:
        raise NotAnswered(status, answer["errors"])
    data: dict[str, Any] = answer["data"]
    return data


class SessionEndpoint:
    """The ASGI application at an audience's …/session/graphql."""

    def __init__(self, audience: str) -> None:
        self._audience = audience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a page's script."""
        request = Request(scope, receive)
        gate: Endpoint = scope["app"].state.endpoint
        began, media_type = gate.admission.requests.began(), JSON
        viewer: Viewer | None = None
        asked: Asked | None = None
        fields: tuple[str, ...] = ()
        try:
            media_type = endpoint.media_type_of(request.headers.get("accept", "").encode() or None)
            viewer = await self._viewer(request)
            scope["noted"]["client_id"] = viewer.client_id
            body = await _body(request)
            asked = endpoint.parsed(body)
            language = language_of(request.headers.get("accept-language", ""))
            context = Context(viewer, scope["app"].state.services, scope["request_id"], language)
            if media_type == EVENT_STREAM:
                await self._stream(request, asked, len(body), context, send)
                return
            status, answer, extra = await gate.answer(
                asked, len(body), context, media_type=media_type, noted=scope["noted"]
            )
            code, fields = code_of(answer, context.rejected), context.fields
        except Refused as no:
            status, answer, extra, code = no.status, endpoint.refusal(no, scope["request_id"]), no.headers, no.code
            media_type = JSON if media_type == EVENT_STREAM else media_type
        gate.noted(scope, viewer, asked, began, status, code, answer, fields)
        await endpoint.send_answer(send, status, media_type, answer, extra)

    async def _viewer(self, request: Request) -> Viewer:
        """Who is signed in at the browser, whose page sent this. Raises Refused (401, 403, 415)."""
        _check_sender(request)
        token = jar_of(request, self._audience).session(request)
        if token is None:
            raise Refused(401, masking.UNAUTHENTICATED, "Nobody is signed in at this browser.")
        try:
            forms.require_own(request, request.app.state.services.vault, token, request.headers.get(forms.HEADER))
        except HTTPException:
            raise _not_ours() from None
        return await self._still(request)

    async def _still(self, request: Request) -> Viewer:
        viewer = await viewer_at(request, self._audience)
        if viewer is None:
            raise Refused(401, masking.UNAUTHENTICATED, "Nobody is signed in at this browser.")
        return viewer

    async def _stream(self, request: Request, asked: Asked, size: int, context: Context, send: Send) -> None:
        gate: Endpoint = request.app.state.endpoint
        try:
            admitted = await gate.admitted(asked, size, context)
        except Unacceptable as no:
            first = no.errors[0]
            raise Refused(400, (first.extensions or {}).get("code", masking.BAD_REQUEST), first.message) from no
        if not admitted.operation.is_subscription:
            gate.admission.undo(admitted)
            raise Refused(406, masking.BAD_REQUEST, "Only a subscription is answered with a stream of events.")
        stream = gate.streams.begin(
            admitted,
            asked,
            context,
            renewed=lambda: self._still(request),
            settled=lambda: gate.admission.settle(admitted, None, context.misses),
        )
        await send_events(stream, request.receive, send)


def _check_sender(request: Request) -> None:
    """A browser says where a script's POST comes from; it must be a page of ours. Raises Refused (403, 405, 415)."""
    if request.method != "POST":
        raise Refused(405, masking.BAD_REQUEST, "Use POST.", (b"allow", b"POST"))
    origin = request.headers.get("origin")
    own = urlsplit(request.app.state.oauth.issuer)
    if origin is not None and origin != f"{own.scheme}://{own.netloc}":
        raise _not_ours()
    endpoint.check_content_type(request.headers.get("content-type", "").encode() or None)


def _not_ours() -> Refused:
    return Refused(403, masking.FORBIDDEN, "This did not come from a page of this site.")


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length")
    return await endpoint.body_of(length.encode() if length else None, request.receive, LARGEST_BODY)


ROUTES: list[BaseRoute] = [
    Route(f"{prefix}/session/graphql", SessionEndpoint(audience)) for audience, prefix in PREFIXES.items()
]
