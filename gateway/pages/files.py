"""What a browser loads: our own styles and modules, and those of others that lie in `vendor/` with their licences.

All are served under one digest of everything, so that modules find each other by relative paths, and no browser ever
mixes two versions. They are packed once per process.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HERE = Path(__file__).parent
KINDS = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_VENDORED = (
    "basecoat-1.0.2/basecoat.cdn.min.css",
    "htmx-4.0.1/htmx.min.js",
    "htmx-4.0.1/hx-csp.min.js",
    "lean-qr-2.7.4/lean-qr.mjs",
    "jsqr-1.4.0/jsQR.js",
)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent: plain, and packed."""

    content: bytes
    packed: bytes
    kind: str


@lru_cache(maxsize=1)
def files() -> Mapping[str, File]:
    """Every file by its name."""
    found = [*sorted((HERE / "static").iterdir()), *(HERE / "vendor" / name for name in _VENDORED)]
    return {file.name: _read(file) for file in found if file.suffix in KINDS}


@lru_cache(maxsize=1)
def digest() -> str:
    """A digest of all files together."""
    everything = hashlib.sha256()
    for name, file in sorted(files().items()):
        everything.update(name.encode() + b"\0" + file.content)
    return everything.hexdigest()[:16]


def path(name: str) -> str:
    """Where a file is. Raises KeyError for one that is not there."""
    assert files()[name]
    return f"/static/{digest()}/{name}"


async def file(request: Request) -> Response:
    """GET /static/{digest}/{name}: a file, unchangeable under its path."""
    found = files().get(request.path_params["name"])
    if found is None or request.path_params["digest"] != digest():
        raise HTTPException(404, "Not Found")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    return sent(request, found, headers)


def sent(request: Request, found: File, headers: Mapping[str, str]) -> Response:
    """A file as an answer, packed for whoever takes that."""
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=found.kind)
    return Response(found.content, headers=dict(headers), media_type=found.kind)


def worker(kind: str, home: str, kept: Sequence[str]) -> Response:
    """What answers in a browser for the pages below a path where there is no network: the page `offline` there, and
    these files."""
    text = files()["worker.js"].content.decode()
    said = {"KIND-": f"{kind}-", "DIGEST": digest(), "HOME": home}
    for word, value in said.items():
        text = text.replace(f'"{word}"', f'"{value}"')
    text = text.replace('["FILES"]', orjson.dumps([path(name) for name in kept]).decode())
    headers = {
        "Content-Security-Policy": "default-src 'none'; connect-src 'self'",
        "Service-Worker-Allowed": home,
        "Cache-Control": "no-cache",
    }
    return Response(text, headers=headers, media_type="text/javascript")


def packed(content: bytes, kind: str) -> File:
    """Content and its packed form, the same whenever it is made."""
    return File(content, gzip.compress(content, 9, mtime=0), kind)


def _read(file: Path) -> File:
    return packed(file.read_bytes(), KINDS[file.suffix])


ROUTES = [Route("/static/{digest}/{name}", file, methods=["GET"])]
