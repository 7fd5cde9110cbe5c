"""The explorer at /explorer: GraphiQL for partner developers, in a sandbox alone and from our own files alone."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from functools import lru_cache
from pathlib import Path

import orjson
from graphql import introspection_from_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.context import Services
from gateway.schema import schema
from partners.agreements.programme import ProgrammeUnknown

FILES = Path(__file__).parent / "explorer"
_TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8",
          "json": "application/json"}  # fmt: skip
HEADERS = {
    # GraphiQL's editor sets styles of its own; scripts come from our files and talk to us alone.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src data:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


async def page(request: Request) -> Response:
    """GET /explorer: the page, with the programme's currency and the sandbox's instant; 404 where the clock is the
    wall's."""
    response = _file(request, "explorer.html")
    services: Services = request.app.state.services
    with suppress(ProgrammeUnknown):
        currency = (await services.directory.get()).programme.base_currency
        now = (await services.now()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        html = bytes(response.body).replace(b'value="EUR"', f'value="{currency}"'.encode())
        html = html.replace(b'<input name="moment"', f'<input name="moment" value="{now}"'.encode())
        return Response(html, headers={**HEADERS, "Content-Type": _TYPES["html"]})
    return response


async def file(request: Request) -> Response:
    """GET /explorer/…: what the page needs; 404 for anything else."""
    name = request.path_params["name"]
    if name == "schema.json":
        _check(request)
        return Response(_introspected(), headers=HEADERS, media_type="application/json")
    return _file(request, name)


def _check(request: Request) -> None:
    services: Services = request.app.state.services
    if services.settings.clock != "sandbox":
        raise HTTPException(404)


def _file(request: Request, name: str) -> Response:
    _check(request)
    kind = _TYPES.get(name.rpartition(".")[2])
    if kind is None or name not in {path.name for path in FILES.iterdir()}:
        raise HTTPException(404)
    return Response((FILES / name).read_bytes(), headers={**HEADERS, "Content-Type": kind})


@lru_cache(maxsize=1)
def _introspected() -> bytes:
    return orjson.dumps(introspection_from_schema(schema.graphql))


ROUTES = [
    Route("/explorer", page, methods=["GET"]),
    Route("/explorer/{name}", file, methods=["GET"]),
]
