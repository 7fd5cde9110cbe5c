"""What reaches an OAuth endpoint: one form, each parameter once, and an answer that nobody may keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from starlette.requests import Request
from starlette.responses import Response

LARGEST_BODY = 16_384
MOST_PARAMETERS = 20
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class InvalidTarget(OAuth2Error):  # type: ignore[misc]  # noqa: N818 - it is what it says
    """A resource is asked for that is not ours (RFC 8707)."""

    error = "invalid_target"
    description = "The resource is not served here."


@dataclass(frozen=True, slots=True)
class Form:
    """A request's parameters: each once, but `resource`, which may be repeated."""

    values: dict[str, str]
    resources: tuple[str, ...] = ()


class Asked(OAuth2Request):  # type: ignore[misc]
    """A request as the library wants to see it, at our own address whatever the caller's said."""

    def __init__(self, uri: str, form: Mapping[str, str]) -> None:
        super().__init__("POST", uri)
        self.payload = BasicOAuth2Payload(dict(form))

    @property
    def form(self) -> dict[str, str]:
        """The parameters."""
        data: dict[str, str] = self.payload.data
        return data


@dataclass(slots=True)
class Events:
    """What happened during a request that the audit trail has to know: action, subject, detail, and whose deed."""

    at: datetime
    entries: list[tuple[str, str, dict[str, Any], int | str]] = field(default_factory=list)

    def add(self, action: str, subject: str, *, by: int | str = "oauth", **detail: Any) -> None:
        """Remember one."""
        self.entries.append((action, subject, detail, by))


async def form_of(request: Request) -> Form:
    """A body's parameters. Raises invalid_request for whatever is not one form with each parameter once."""
    if request.url.query:
        raise InvalidRequestError("Parameters belong in the body.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise InvalidRequestError("The body must be application/x-www-form-urlencoded.")
    try:
        return parsed((await _body(request)).decode("ascii"))
    except ValueError as error:
        raise InvalidRequestError("The body is not a form.") from error


def parsed(text: str) -> Form:
    """The parameters in a form or query. Raises ValueError for no form, invalid_request for a parameter given twice."""
    pairs = parse_qsl(
        text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=MOST_PARAMETERS
    )
    single = [pair for pair in pairs if pair[0] != "resource"]
    values = dict(single)
    if len(values) != len(single):
        raise InvalidRequestError("A parameter is given twice.")
    return Form(values, tuple(value for name, value in pairs if name == "resource"))


def check_resources(form: Form, resource: str) -> None:
    """Nothing where every resource asked for is ours. Raises invalid_target."""
    if any(each != resource for each in form.resources):
        raise InvalidTarget


def answer(status: int, body: Mapping[str, Any], headers: Sequence[tuple[str, str]] = ()) -> Response:
    """An answer in JSON that is not kept."""
    response = Response(orjson.dumps(body), status, dict(headers), "application/json")
    response.headers.update(NO_STORE)
    return response


def refusal(error: OAuth2Error) -> Response:
    """An error as its caller sees it; never by redirection."""
    error.redirect_uri = None
    status, body, headers = error()
    return answer(status, dict(body), headers)


async def _body(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > LARGEST_BODY:
            raise InvalidRequestError("The body is too large.")
    return bytes(received)
