"""Files of settlement: reports as CSV, workbook or PDF for whoever may have them, and the keys that sign packages."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from gateway import masking, scopes
from gateway.context import LANGUAGES, Services, Viewer
from gateway.endpoint import Endpoint, shown_by
from gateway.finance import question_params
from gateway.streams import Refused
from kit.errors import Rejection
from kit.reports import documents
from settlement.packages import building, keys
from settlement.reports import asking, catalogue
from settlement.reports.catalogue import Made, ReportIncomplete, ReportUnknown, Wanted

_STATUS = {ReportIncomplete.code: 400, ReportUnknown.code: 404, "RUN_UNKNOWN": 404, "REPORT_TOO_LONG": 413,
           "PACKAGE_UNKNOWN": 404, "WHAT_IF_INVALID": 400, "QUESTION_INVALID": 400}  # fmt: skip


async def key_set(request: Request) -> Response:
    """GET /settlement/keys.json: every key that ever signed a package, as a JSON Web Key Set."""
    services: Services = request.app.state.services
    async with services.database.reading() as connection:
        found = await keys.public_keys(connection)
    return Response(orjson.dumps(found), 200, {"Cache-Control": "public, max-age=300"}, "application/json")


async def report(request: Request) -> Response:
    """GET /settlement/reports/{code}?run=&partner=&at=&format=&language=&price=: a report as a file, or with
    table=&column=&where=&order= what it says to a question.

    With the scope settlement:read; a partner has the reports of its own statements, the operator's staff all.
    """
    return await _answered(request, _file)


async def package(request: Request) -> Response:
    """GET /settlement/packages/{run}?partner=: the signed package of a statement, as a zip file.

    With the scope settlement:read; a partner has its own, the operator's staff every partner's.
    """
    return await _answered(request, _package)


async def document(request: Request) -> Response:
    """GET /settlement/documents/{run}/{number}?partner=&language=: an invoice, a self-billed document, a credit note
    or an act of set-off as PDF.

    With the scope settlement:read; a partner has its own, the operator's staff every partner's.
    """
    return await _answered(request, _document)


async def report_for(request: Request, viewer: Viewer) -> Response:
    """The report that a request names, as a file for a viewer who has the scope; for pages of people who are signed in.

    Rejects REPORT_UNKNOWN, REPORT_INCOMPLETE, REPORT_TOO_LONG, RUN_UNKNOWN.
    """
    return await _file(request.app.state.services, viewer, request)


async def package_for(request: Request, viewer: Viewer) -> Response:
    """The package that a request names, likewise. Rejects PACKAGE_UNKNOWN, REPORT_UNKNOWN, REPORT_INCOMPLETE."""
    return await _package(request.app.state.services, viewer, request)


async def _answered(request: Request, made: Callable[[Services, Viewer, Request], Awaitable[Response]]) -> Response:
    """A file for whoever may have it, by a bearer's token or by one that is bound to a key."""
    services: Services = request.app.state.services
    endpoint: Endpoint = request.app.state.endpoint
    try:
        viewer = await endpoint.viewer(shown_by(request.scope["headers"], "GET", request.scope["path"]))
        if scopes.SETTLEMENT_READ not in viewer.scopes or viewer.member_id is not None:
            raise Refused(403, masking.FORBIDDEN, f"This takes the scope {scopes.SETTLEMENT_READ}.")
        return await made(services, viewer, request)
    except Refused as no:
        headers = {name.decode(): value.decode() for name, value in no.headers}
        return JSONResponse({"code": no.code, "message": no.message}, no.status, headers)
    except Rejection as no:
        return JSONResponse({"code": no.code, "message": str(no)}, _STATUS.get(no.code, 409))


async def _file(services: Services, viewer: Viewer, request: Request) -> Response:
    code, asked = request.path_params["code"], request.query_params
    format, language = asked.get("format", "csv"), asked.get("language", "en")
    is_partner = viewer.partner_id is not None
    catalogue.entry(code, is_partner=is_partner)
    if format not in catalogue.FORMATS:
        raise ReportIncomplete("a report is csv, xlsx or pdf")
    wanted = await _wanted(services, viewer, request)
    path = Path(await asyncio.to_thread(_temporary, format))
    try:
        async with services.database.transaction() as connection:
            question = question_params.read(asked)
            if question is None:
                made = await catalogue.make(connection, code, wanted, is_partner=is_partner)
            else:
                found = await asking.answer(connection, code, wanted, question, is_partner=is_partner)
                made = Made(found.report)
            await catalogue.write(made, path, format=format, language=language)
    except BaseException:
        await asyncio.to_thread(path.unlink)
        raise
    name = f"{code}{'' if wanted.run_id is None else f'-run-{wanted.run_id}'}.{format}"
    return FileResponse(
        path, media_type=catalogue.FORMATS[format], filename=name, headers={"Cache-Control": "private, no-store"},
        background=BackgroundTask(path.unlink),
    )  # fmt: skip


async def _package(services: Services, viewer: Viewer, request: Request) -> Response:
    asked = await _wanted(services, viewer, request)
    run_id = _number(request.path_params["run"])
    if asked.partner_id is None or asked.id_key is None:
        raise ReportIncomplete("a package is a partner's: name it")
    path = Path(await asyncio.to_thread(_temporary, "zip"))
    try:
        with await asyncio.to_thread(path.open, "w+b") as file:
            async with services.database.transaction() as connection:
                await building.write(
                    connection, services.vault, run_id, asked.partner_id, file, id_key=asked.id_key, at=asked.at
                )
    except BaseException:
        await asyncio.to_thread(path.unlink)
        raise
    signed = (await services.directory.get()).partner(asked.partner_id)
    name = f"{'package' if signed is None else signed.code}-{run_id}.zip"
    return FileResponse(
        path, media_type="application/zip", filename=name, headers={"Cache-Control": "private, no-store"},
        background=BackgroundTask(path.unlink),
    )  # fmt: skip


async def _document(services: Services, viewer: Viewer, request: Request) -> Response:
    asked, number = request.query_params, request.path_params["number"]
    wanted = replace(await _wanted(services, viewer, request), run_id=_number(request.path_params["run"]))
    async with services.database.reading() as connection:
        report = await catalogue.document(connection, number, wanted, is_partner=viewer.partner_id is not None)
    language = asked.get("language", "en")
    content = await asyncio.to_thread(documents.render, report, language=language if language in LANGUAGES else "en")
    headers = {"Cache-Control": "private, no-store", "Content-Disposition": f'inline; filename="{number}.pdf"'}
    return Response(content, headers=headers, media_type="application/pdf")


async def _wanted(services: Services, viewer: Viewer, request: Request) -> Wanted:
    """What is asked for; whose it is a partner does not choose."""
    asked = request.query_params
    run = asked.get("run")
    run_id = None if run is None else _number(run)
    directory = await services.directory.get()
    partner_id = viewer.partner_id
    if partner_id is None and (code := asked.get("partner")) is not None:
        partner_id = next((one.partner_id for one in directory.partners() if one.code == code), None)
        if partner_id is None:
            raise ReportUnknown("there is no such partner")
    signed = None if partner_id is None else directory.partner(partner_id)
    id_key = None if signed is None else signed.id_key
    changes = dict(_price(one) for one in asked.getlist("price"))
    return Wanted(run_id, partner_id, await services.now(), id_key, _instant(asked.get("at")), changes)


def _instant(said: str | None) -> datetime | None:
    """An instant with its offset. Rejects REPORT_INCOMPLETE."""
    if said is None:
        return None
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ReportIncomplete("at is an instant with its offset: 2026-03-01T18:00:00Z")
    return found.astimezone(UTC)


def _price(said: str) -> tuple[str, int]:
    """A price that R23 asks about, as NAME:VALUE in micro-units. Rejects REPORT_INCOMPLETE."""
    name, _, value = said.partition(":")
    if not (value.isascii() and value.isdecimal() and len(value) <= 18):
        raise ReportIncomplete("a price is a name and micro-units: service_price_micro:2500")
    return name, int(value)


def _number(run: str) -> int:
    if not (run.isascii() and run.isdecimal() and len(run) <= 9):
        raise ReportIncomplete("a run is a number")
    return int(run)


def _temporary(format: str) -> str:
    with tempfile.NamedTemporaryFile(prefix="tessera-report-", suffix=f".{format}", delete=False) as file:
        return file.name


ROUTES = [
    Route("/settlement/keys.json", key_set, methods=["GET"]),
    Route("/settlement/reports/{code}", report, methods=["GET"]),
    Route("/settlement/packages/{run}", package, methods=["GET"]),
    Route("/settlement/documents/{run}/{number}", document, methods=["GET"]),
]
