"""Forms and small JSON bodies that pages send, and the proof that our own page sent them.

Every change takes a token made of the browser's own cookie, so another site cannot know it; and what the browser says
of the sender must not be another site. Nothing is changed by a GET.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from kit.secrets import Vault

FIELD = "csrf"
HEADER = "x-csrf-token"
LARGEST_BODY = 65_536
MOST_FIELDS = 20
LONGEST_NEXT = 512


def token_for(vault: Vault, cookie: str) -> str:
    """The token that forms of whoever holds this cookie carry."""
    return hmac.digest(vault.derive("csrf"), cookie.encode(), "sha256").hex()


async def read_form(request: Request, vault: Vault, cookie: str | None) -> dict[str, str]:
    """The fields of a form that our page sent to the holder of this cookie.

    Raises HTTPException: 403 where it was not our page, 413, 415, 400 for what is no form of ours.
    """
    _require_type(request, "application/x-www-form-urlencoded")
    body = await read_body(request)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(400, "not a form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise HTTPException(400, "a field twice")
    require_own(request, vault, cookie, fields.get(FIELD))
    require_text(fields.values())
    return fields


async def read_json(request: Request, vault: Vault, cookie: str | None) -> dict[str, Any]:
    """The JSON object that our page's script sent. Raises HTTPException as `read_form` does."""
    _require_type(request, "application/json")
    require_own(request, vault, cookie, request.headers.get(HEADER))
    try:
        told = orjson.loads(await read_body(request))
    except orjson.JSONDecodeError:
        raise HTTPException(400, "not JSON") from None
    if not isinstance(told, dict):
        raise HTTPException(400, "not an object")
    return told


def require_text(said: Iterable[str]) -> None:
    """Nothing where no text has U+0000, which the database has no place for. Raises HTTPException (400)."""
    if any("\0" in text for text in said):
        raise HTTPException(400, "the character U+0000 is not accepted")


def local_path(text: object, otherwise: str) -> str:
    """A path of this site to go on to, as it was asked for; anything that could lead elsewhere is the other one."""
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_NEXT or not text.isascii() or not text.isprintable():
        return otherwise
    if not text.startswith("/") or text.startswith("//") or "\\" in text or " " in text:
        return otherwise
    parts = urlsplit(text)
    return otherwise if parts.scheme or parts.netloc else text


def _require_type(request: Request, wanted: str) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise HTTPException(415, f"only {wanted}")


def require_own(request: Request, vault: Vault, cookie: str | None, token: str | None) -> None:
    """Nothing where a page of ours sent this for the holder of a cookie. Raises HTTPException (403)."""
    sender = request.headers.get("sec-fetch-site", "same-origin")
    if sender != "same-origin" or cookie is None or token is None:
        raise HTTPException(403, "not from a page of this site")
    if not hmac.compare_digest(token.encode(), token_for(vault, cookie).encode()):
        raise HTTPException(403, "not from a page of this site")


async def read_body(request: Request, most_bytes: int = LARGEST_BODY) -> bytes:
    """A request's body. Raises HTTPException (413) as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise HTTPException(413, "too large")
    return bytes(body)
