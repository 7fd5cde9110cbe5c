"""Files of settlement: reports as CSV, workbook or PDF for whoever may have them, and the keys that sign packages."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import orjson
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from gateway import masking, scopes
from gateway.context import Services, Viewer
from gateway.endpoint import Endpoint, shown_by
from gateway.streams import Refused
from kit.errors import Rejection
from settlement.packages import keys
from settlement.reports import catalogue
from settlement.reports.catalogue import ReportIncomplete, ReportUnknown, Wanted

_STATUS = {ReportIncomplete.code: 400, ReportUnknown.code: 404, "RUN_UNKNOWN": 404, "REPORT_TOO_LONG": 413}


async def key_set(request: Request) -> Response:
    """GET /settlement/keys.json: every key that ever signed a package, as a JSON Web Key Set."""
    services: Services = request.app.state.services
    async with services.database.reading() as connection:
        found = await keys.public_keys(connection)
    return Response(orjson.dumps(found), 200, {"Cache-Control": "public, max-age=300"}, "application/json")


async def report(request: Request) -> Response:
    """GET /settlement/reports/{code}?run=&partner=&format=&language=: a report as a file.

    With the scope settlement:read; a partner has the reports of its own statements, the operator's staff all.
    """
    services: Services = request.app.state.services
    endpoint: Endpoint = request.app.state.endpoint
    try:
        viewer = await endpoint.viewer(shown_by(request.scope["headers"], "GET"))
        if scopes.SETTLEMENT_READ not in viewer.scopes or viewer.member_id is not None:
            raise Refused(403, masking.FORBIDDEN, f"This takes the scope {scopes.SETTLEMENT_READ}.")
        return await _file(services, viewer, request)
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
            made = await catalogue.make(connection, code, wanted, is_partner=is_partner)
            await catalogue.write(made, path, format=format, language=language)
    except BaseException:
        path.unlink()  # noqa: ASYNC240 - one call, of no time
        raise
    name = f"{code}{'' if wanted.run_id is None else f'-run-{wanted.run_id}'}.{format}"
    return FileResponse(
        path, media_type=catalogue.FORMATS[format], filename=name, headers={"Cache-Control": "private, no-store"},
        background=BackgroundTask(path.unlink),
    )  # fmt: skip


async def _wanted(services: Services, viewer: Viewer, request: Request) -> Wanted:
    """What is asked for; whose it is a partner does not choose."""
    asked = request.query_params
    run = asked.get("run")
    if run is not None and not (run.isascii() and run.isdecimal() and len(run) <= 9):
        raise ReportIncomplete("a run is a number")
    directory = await services.directory.get()
    partner_id = viewer.partner_id
    if partner_id is None and (code := asked.get("partner")) is not None:
        partner_id = next((one.partner_id for one in directory.partners() if one.code == code), None)
        if partner_id is None:
            raise ReportUnknown("there is no such partner")
    signed = None if partner_id is None else directory.partner(partner_id)
    id_key = None if signed is None else signed.id_key
    return Wanted(None if run is None else int(run), partner_id, await services.now(), id_key)


def _temporary(format: str) -> str:
    with tempfile.NamedTemporaryFile(prefix="tessera-report-", suffix=f".{format}", delete=False) as file:
        return file.name


ROUTES = [
    Route("/settlement/keys.json", key_set, methods=["GET"]),
    Route("/settlement/reports/{code}", report, methods=["GET"]),
]
