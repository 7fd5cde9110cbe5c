"""Partners' files over HTTP: sent as a stream, answered by an acknowledgement, and by what came of each line."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway import masking, scopes
from gateway.connections import id_key, id_keys
from gateway.context import Services, Viewer
from gateway.endpoint import Endpoint, shown_by
from gateway.streams import Refused
from kit.amounts import decimal_from_minor
from kit.errors import Rejection
from kit.secrets import Vault, opaque_id, read_opaque_id
from settlement.reconciliation import intake
from settlement.reconciliation.files import Format
from settlement.reconciliation.intake import Acknowledgement

LARGEST_FILE = 64 * 1024 * 1024
READ_SECONDS = 120.0  # for a whole file
MOST_AT_ONCE = 2  # files that a process takes at the same time; they take the processor and a connection
_IN_MEMORY = 1024 * 1024
_FORMATS: dict[str, Format] = {"csv": "CSV", "jsonl": "JSONL"}
_IDS, _PREFIX = "partner file id", "fil"
_taking = asyncio.Semaphore(MOST_AT_ONCE)


def file_id(vault: Vault, number: int) -> str:
    """A file's id as its partner sees it."""
    return opaque_id(id_key(vault, _IDS), _PREFIX, number.to_bytes(8, "big"))


def file_number(vault: Vault, opaque: str) -> int | None:
    """The number inside a file's id; None where it is none."""
    raws = (read_opaque_id(key, _PREFIX, opaque) for key in id_keys(vault, _IDS))
    raw = next((raw for raw in raws if raw is not None), None)
    return None if raw is None else int.from_bytes(raw, "big")


async def send(request: Request) -> Response:
    """POST /settlement/files?format=csv|jsonl: a file of the partner that asks, with the scope settlement:files.

    The body is the file, 64 MiB at most, and is read as a stream. A file that was taken answers 200, one that was
    refused 422, both with the acknowledgement; the same one again is refused as FILE_DUPLICATE.
    """
    services: Services = request.app.state.services
    try:
        viewer = await _viewer(request, "POST", scopes.SETTLEMENT_FILES)
        file_format = _FORMATS.get(request.query_params.get("format", "csv"))
        if viewer.partner_id is None or file_format is None:
            raise Refused(400, masking.BAD_USER_INPUT, "A partner sends its own file, as csv or jsonl.")
        if _taking.locked():
            raise Refused(503, masking.SERVICE_UNAVAILABLE, "Other files are being taken; send it again in a moment.")
        async with _taking:
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
                await _spool(request, file)
                made = await intake.receive(
                    services.database, file, file_format, partner_id=viewer.partner_id,
                    actor=f"client:{viewer.client_id}", at=await services.now(), most_bytes=LARGEST_FILE,
                )  # fmt: skip
        return JSONResponse(_told(made, services.vault), 200 if made.state == intake.TAKEN else 422)
    except Refused as no:
        return _refusal(no)


async def acknowledgement(request: Request) -> Response:
    """GET /settlement/files/{id}: what became of a file as a whole, with the scope settlement:files."""
    services: Services = request.app.state.services
    try:
        made = await _own(request, services)
        return JSONResponse(_told(made, services.vault), headers={"Cache-Control": "private, no-store"})
    except Refused as no:
        return _refusal(no)


async def result(request: Request) -> Response:
    """GET /settlement/files/{id}/result: JSON lines, what came of each line of a file, with the scope
    settlement:files."""
    services: Services = request.app.state.services
    try:
        made = await _own(request, services)
    except Refused as no:
        return _refusal(no)
    return StreamingResponse(
        _lines(services, made.file_id), media_type="application/jsonl", headers={"Cache-Control": "private, no-store"}
    )


async def _lines(services: Services, number: int) -> AsyncIterator[bytes]:
    async with services.database.reading() as connection:
        async for line in intake.result_lines(connection, number):
            yield line.encode()


async def _own(request: Request, services: Services) -> Acknowledgement:
    viewer = await _viewer(request, "GET", scopes.SETTLEMENT_FILES)
    number = file_number(services.vault, request.path_params["id"])
    try:
        async with services.database.reading() as connection:
            return await intake.acknowledgement(connection, number or 0, partner_id=viewer.partner_id)
    except Rejection as no:
        raise Refused(404, no.code, no.message) from no


async def _viewer(request: Request, method: str, scope: str) -> Viewer:
    endpoint: Endpoint = request.app.state.endpoint
    viewer = await endpoint.viewer(shown_by(request.scope["headers"], method))
    if scope not in viewer.scopes or viewer.member_id is not None:
        raise Refused(403, masking.FORBIDDEN, f"This takes the scope {scope}.")
    return viewer


async def _spool(request: Request, file: IO[bytes]) -> None:
    size = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for block in request.stream():
                size += len(block)
                if size > LARGEST_FILE:
                    raise Refused(413, masking.BAD_USER_INPUT, "A file sent over HTTP has 64 MiB at most.")
                await asyncio.to_thread(file.write, block)
    except (ClientDisconnect, TimeoutError) as gone:
        raise Refused(408, masking.BAD_USER_INPUT, "The file did not come whole; send it again.") from gone
    file.seek(0)


def _told(made: Acknowledgement, vault: Vault) -> dict[str, Any]:
    amount = None if made.currency is None else str(decimal_from_minor(made.amount_minor, made.currency))
    return {
        "id": file_id(vault, made.file_id), "state": made.state, "code": made.code, "message": made.message,
        "type": made.type, "sequence": made.sequence, "currencyCode": made.currency, "amount": amount,
        "businessDate": None if made.business_date is None else made.business_date.isoformat(),
        "records": made.records, "refused": made.refused, "points": str(made.points),
        "sha256": None if made.content_sha256 is None else made.content_sha256.hex(), "at": made.at.isoformat(),
    }  # fmt: skip


def _refusal(no: Refused) -> Response:
    headers = {name.decode(): value.decode() for name, value in no.headers}
    return JSONResponse({"code": no.code, "message": no.message}, no.status, headers)


ROUTES = [
    Route("/settlement/files", send, methods=["POST"]),
    Route("/settlement/files/{id}", acknowledgement, methods=["GET"]),
    Route("/settlement/files/{id}/result", result, methods=["GET"]),
]
