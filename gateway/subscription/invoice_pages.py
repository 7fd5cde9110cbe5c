"""Invoices of subscriptions and their credit notes as PDF: to the member who is signed in at the app, and to whoever
shows a token: a member their own, finance of the operator everybody's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import masking, scopes
from gateway.context import LANGUAGES, Services, Viewer
from gateway.endpoint import Endpoint, shown_by
from gateway.membership.own_ids import MEMBER, own_id
from gateway.pages import phrases, rendering
from gateway.sessions import people, viewers
from gateway.streams import Refused
from kit.errors import Rejection
from kit.reports import documents
from kit.reports.tables import Report
from members import messages
from members.subscription import invoices, papers, subscriptions
from members.subscription.invoices import Invoice, InvoiceUnknown
from members.subscription.subscriptions import SubscriptionUnknown

_STATUS = {InvoiceUnknown.code: 404}
_NUMBER_DIGITS = 18

Draw = Callable[[AsyncConnection, Viewer, Services, int], Awaitable[Report]]


async def invoice(connection: AsyncConnection, viewer: Viewer, services: Services, number: int) -> Report:
    """An invoice that the viewer may read. Rejects INVOICE_UNKNOWN, SELLER_UNKNOWN."""
    its = await invoices.numbered(connection, number)
    await _permit(connection, viewer, its)
    return await papers.invoice(connection, number, buyer=own_id(services.vault, MEMBER, its.holder_id))


async def credit_note(connection: AsyncConnection, viewer: Viewer, services: Services, number: int) -> Report:
    """A credit note that the viewer may read. Rejects INVOICE_UNKNOWN, SELLER_UNKNOWN."""
    its, _ = await papers.of_note(connection, number)
    await _permit(connection, viewer, its)
    return await papers.credit_note(connection, number, buyer=own_id(services.vault, MEMBER, its.holder_id))


async def _permit(connection: AsyncConnection, viewer: Viewer, its: Invoice) -> None:
    """Nothing where the invoice is the member's own, or finance of the operator asks."""
    if viewer.member_id is None:
        if viewer.partner_id is None and scopes.SETTLEMENT_READ in viewer.scopes:
            return
    elif scopes.MEMBER_SELF in viewer.scopes:
        try:
            await subscriptions.own(connection, viewer.member_id, its.subscription_no)
            return
        except SubscriptionUnknown:
            pass
    raise InvoiceUnknown(f"there is no invoice {its.invoice_no} of yours")


async def _by_token(draw: Draw, request: Request) -> Response:
    """GET /subscriptions/…/{number}?language=: a PDF for whoever shows a bearer's token, or one bound to a key."""
    services: Services = request.app.state.services
    endpoint: Endpoint = request.app.state.endpoint
    try:
        viewer = await endpoint.viewer(shown_by(request.scope["headers"], "GET", request.scope["path"]))
        if not {scopes.MEMBER_SELF, scopes.SETTLEMENT_READ} & viewer.scopes:
            raise Refused(403, masking.FORBIDDEN, f"This takes {scopes.MEMBER_SELF} or {scopes.SETTLEMENT_READ}.")
        return await _pdf(draw, services, viewer, request, "en")
    except Refused as no:
        headers = {name.decode(): value.decode() for name, value in no.headers}
        return JSONResponse({"code": no.code, "message": no.message}, no.status, headers)
    except Rejection as no:
        return JSONResponse({"code": no.code, "message": str(no)}, _STATUS.get(no.code, 409))


async def _by_session(draw: Draw, request: Request) -> Response:
    """GET /app/…/{number}?language=: a PDF for the member who is signed in, in their language if none is named."""
    found = await people.signed_in_member(request)
    if found is None:
        return people.ask_to_sign_in(request, messages.MEMBER)
    viewer = await viewers.viewer_of(request, found)
    try:
        return await _pdf(draw, request.app.state.services, viewer, request, found.language)
    except Rejection as no:
        frame = await rendering.frame_of(request, found.language)
        return rendering.page(
            request, "problem.html", frame, status=_STATUS.get(no.code, 409), sentence=phrases.problem(no.code),
            back="/app",
        )  # fmt: skip


async def _pdf(draw: Draw, services: Services, viewer: Viewer, request: Request, language: str) -> Response:
    asked = request.query_params.get("language", language)
    said = request.path_params["number"]
    if not (said.isascii() and said.isdecimal() and len(said) <= _NUMBER_DIGITS):
        raise InvoiceUnknown("an invoice has a number")
    async with services.database.reading() as connection:
        report = await draw(connection, viewer, services, int(said))
    content = await asyncio.to_thread(documents.render, report, language=asked if asked in LANGUAGES else "en")
    headers = {
        "Cache-Control": "private, no-store", "Content-Disposition": f'inline; filename="{report.subtitle}.pdf"',
    }  # fmt: skip
    return Response(content, headers=headers, media_type="application/pdf")


ROUTES: list[BaseRoute] = [
    Route(path, partial(way, draw), methods=["GET"])
    for name, draw in (("invoices", invoice), ("credit-notes", credit_note))
    for path, way in ((f"/subscriptions/{name}/{{number}}", _by_token), (f"/app/{name}/{{number}}", _by_session))
]
