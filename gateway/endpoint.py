"""POST /graphql: from bytes to an admitted operation and back, with every way to be wrong answered before it costs.

Ours rather than the library's view, because of what must hold around execution: bounded bodies, one operation a
request, statuses by the media type that was asked for, and a write whose outcome is unknown never told as failed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from graphql import ExecutionResult, FieldNode, GraphQLError
from starlette.types import Receive, Scope, Send

from gateway import masking
from gateway.context import Context, Services, Viewer, language_of
from gateway.oauth.dpop import InvalidProof
from gateway.oauth.jose import ALGORITHMS
from gateway.oauth.tokens import Bearers, InvalidToken
from gateway.prepared import Prepared, Schema, Unacceptable
from gateway.pricing import Operation
from kit.errors import OutcomeUnknown

LARGEST_BODY = 2 * 1024 * 1024 + 65_536
READ_SECONDS = 10.0
WRITE_SECONDS = 30.0

JSON = b"application/json"
GRAPHQL_JSON = b"application/graphql-response+json"

_PROOF_ALGORITHMS = b'"' + " ".join(ALGORITHMS).encode() + b'"'
_UTF8_JSON = re.compile(rb'application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?', re.IGNORECASE)
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,127}")
# The status of a request error under application/graphql-response+json; under application/json it is 200.
_STATUS_BY_CODE = {masking.FORBIDDEN: 403}

log = structlog.get_logger("gateway.graphql")


class Refused(Exception):  # noqa: N818 - that is what happened to it
    """A request that never became GraphQL: the status, the code and a sentence of the answer."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request's body says."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


class Endpoint:
    """The ASGI application at /graphql."""

    def __init__(
        self,
        schema: Schema,
        services: Services,
        bearers: Bearers,
        *,
        read_seconds: float = READ_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._schema = schema
        self._services = services
        self._bearers = bearers
        self._read_seconds = read_seconds
        self._write_seconds = write_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = scope["request_id"]
        media_type = JSON
        try:
            headers = _single(scope["headers"])
            if scope["method"] != "POST":
                raise Refused(405, masking.BAD_REQUEST, "Use POST.", (b"allow", b"POST"))
            media_type = _media_type(headers.get(b"accept"))
            viewer = await self._viewer(headers.get(b"authorization"), scope["headers"])
            scope["noted"]["client_id"] = viewer.client_id
            _check_content_type(headers.get(b"content-type"))
            asked = parsed(await _body(headers.get(b"content-length"), receive))
            language = language_of(headers.get(b"accept-language", b"").decode("latin-1"))
            context = Context(viewer, self._services, request_id, language)
            status, answer, extra = await self._run(asked, context, media_type, scope["noted"])
        except Refused as no:
            extensions = {"code": no.code, "requestId": request_id}
            answer = {"errors": [masking.formatted(no.message, extensions)]}
            status, extra = no.status, no.headers
        await _send(send, status, media_type, answer, extra)

    async def _viewer(self, authorization: bytes | None, headers: Sequence[tuple[bytes, bytes]]) -> Viewer:
        if authorization is None:
            challenges = [(b"www-authenticate", b"Bearer"), (b"www-authenticate", b"DPoP algs=" + _PROOF_ALGORITHMS)]
            raise Refused(401, masking.UNAUTHENTICATED, "Send an access token.", *challenges)
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        is_bound = scheme.lower() == "dpop"
        try:
            if is_bound:
                proofs = [value.decode("latin-1") for name, value in headers if name == b"dpop"]
                return await self._bearers.bound_viewer(token.strip(), proofs, method="POST")
            if scheme.lower() != "bearer":
                raise InvalidToken("scheme")
            return await self._bearers.viewer(token.strip())
        except InvalidProof as no:
            log.warning("proof_refused", reason=str(no))
            challenge = b'DPoP error="invalid_dpop_proof", algs=' + _PROOF_ALGORITHMS
            message = "The DPoP proof is missing or not accepted."
            raise Refused(401, masking.UNAUTHENTICATED, message, (b"www-authenticate", challenge)) from no
        except InvalidToken as no:
            log.warning("token_refused", reason=str(no))
            challenge = (b"DPoP" if is_bound else b"Bearer") + b' error="invalid_token"'
            message = "The access token is not accepted."
            raise Refused(401, masking.UNAUTHENTICATED, message, (b"www-authenticate", challenge)) from no

    async def _run(
        self, asked: Asked, context: Context, media_type: bytes, noted: dict[str, Any]
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        try:
            prepared, operation = self._schema.admit(
                asked.query, asked.operation_name, asked.variables, context.viewer.scopes
            )
        except Unacceptable as no:
            errors = [_told(error, context.request_id) for error in no.errors]
            return _request_status(errors, media_type), {"errors": errors}, ()
        noted["operation"] = _operation_name(operation)
        return await self._execute(asked, prepared, operation, context, media_type)

    async def _execute(
        self, asked: Asked, prepared: Prepared, operation: Operation, context: Context, media_type: bytes
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        seconds = self._write_seconds if operation.is_mutation else self._read_seconds
        try:
            async with asyncio.timeout(seconds):
                result = await self._schema.run(prepared, asked.operation_name, asked.variables, context)
        except TimeoutError as late:
            return self._away(late, operation, context.request_id)
        if result.errors is None:
            return 200, {"data": result.data}, ()
        return self._with_errors(result, asked, operation, context.request_id, media_type)

    def _with_errors(
        self, result: ExecutionResult, asked: Asked, operation: Operation, request_id: str, media_type: bytes
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        assert result.errors is not None
        for error in result.errors:
            if masking.is_unavailable(cause := masking.root_cause(error)):
                return self._away(cause, operation, request_id)
        if all(error.path is None for error in result.errors):
            wrong = masking.variable_errors(self._schema.graphql, operation.definition, asked.variables)
            errors = [_told(error, request_id) for error in wrong]
            return _request_status(errors, media_type), {"errors": errors}, ()
        return 200, {"data": result.data, "errors": [_told(error, request_id) for error in result.errors]}, ()

    def _away(
        self, cause: Exception, operation: Operation, request_id: str
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        """Something was away. After a write nobody knows what happened, and the key makes it safe to ask again."""
        unknown = operation.is_mutation or isinstance(cause, OutcomeUnknown)
        code = masking.OUTCOME_UNKNOWN if unknown else masking.SERVICE_UNAVAILABLE
        log.error(code.lower(), exc_info=cause)
        extensions = {"code": code, "requestId": request_id}
        answer = {"errors": [masking.formatted(masking.EXCUSES[code], extensions)]}
        return 503, answer, ((b"retry-after", b"1"),)


def parsed(body: bytes) -> Asked:
    """What a body asks. Raises Refused (400) for anything but one GraphQL request."""
    if b"\\u0000" in body:  # PostgreSQL has no such character, and no field of ours wants it
        raise _bad("The character U+0000 is not accepted.")
    try:
        # The parser refuses bytes that are not UTF-8, lone surrogates, and nesting deeper than 1,024.
        said = orjson.loads(body)
    except ValueError as error:
        raise _bad("The body is not JSON in UTF-8.") from error
    if not isinstance(said, dict):
        raise _bad("The body must be one JSON object; batches are not accepted.")
    query, name, variables = said.get("query"), said.get("operationName"), said.get("variables")
    if not isinstance(query, str) or not query:
        raise _bad("`query` must be a string.")
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise _bad("`operationName` must be a name or null.")
    if variables is not None and not isinstance(variables, dict):
        raise _bad("`variables` must be an object or null.")
    if not isinstance(said.get("extensions"), dict | None):
        raise _bad("`extensions` must be an object or null.")
    return Asked(query, name, variables or {})


def _bad(message: str) -> Refused:
    return Refused(400, masking.BAD_REQUEST, message)


def _single(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found = dict(headers)
    if sum(1 for name, _ in headers if name == b"authorization") > 1:
        raise _bad("Send one Authorization header.")
    return found


def _media_type(accept: bytes | None) -> bytes:
    """The media type of the answer. Raises Refused (406) where the caller takes neither of ours."""
    if not accept:
        return JSON
    for part in accept.lower().split(b","):
        wanted = part.partition(b";")[0].strip()
        if wanted in (b"*/*", b"application/*", JSON):
            return JSON
        if wanted == GRAPHQL_JSON:
            return GRAPHQL_JSON
    raise Refused(406, masking.BAD_REQUEST, "Accept application/graphql-response+json or application/json.")


def _check_content_type(content_type: bytes | None) -> None:
    if content_type is None or not _UTF8_JSON.fullmatch(content_type.strip()):
        raise Refused(415, masking.BAD_REQUEST, "Send application/json in UTF-8.")


async def _body(content_length: bytes | None, receive: Receive) -> bytes:
    """The whole body. Raises Refused (413) as soon as it is known to be too large, whatever its header says."""
    if content_length is not None and content_length.isdigit() and int(content_length) > LARGEST_BODY:
        raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        received = bytearray(body)
        while message.get("more_body"):
            message = await receive()
            received += message.get("body", b"")
            if len(received) > LARGEST_BODY:
                raise _too_large()
        body = bytes(received)
    if len(body) > LARGEST_BODY:
        raise _too_large()
    return body


def _too_large() -> Refused:
    return Refused(413, masking.BAD_REQUEST, f"A body has at most {LARGEST_BODY} bytes.", (b"connection", b"close"))


def _operation_name(operation: Operation) -> str:
    named = operation.definition.name
    return named.value[:64] if named else "anonymous"


def _told(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """An error as the caller may see it; a defect is logged and excused."""
    extensions = masking.expected(error)
    message = error.message
    if extensions is None and masking.is_bad_argument(error):
        extensions, message = {"code": masking.BAD_USER_INPUT}, "An argument is not acceptable."
    if extensions is None:
        log.error("defect", field=_field(error), exc_info=masking.root_cause(error))
        extensions, message = {"code": masking.INTERNAL_SERVER_ERROR}, masking.EXCUSES[masking.INTERNAL_SERVER_ERROR]
    return masking.formatted(message, {**extensions, "requestId": request_id}, error)


def _field(error: GraphQLError) -> str | None:
    """The schema's name of the field that failed; the path in the answer has the caller's own names."""
    node = error.nodes[0] if error.nodes else None
    return node.name.value if isinstance(node, FieldNode) else None


def _request_status(errors: Sequence[dict[str, Any]], media_type: bytes) -> int:
    if media_type == JSON:
        return 200
    return max(_STATUS_BY_CODE.get(error["extensions"]["code"], 400) for error in errors)


async def _send(
    send: Send, status: int, media_type: bytes, answer: dict[str, Any], extra: Sequence[tuple[bytes, bytes]]
) -> None:
    body = orjson.dumps(answer)
    headers = [
        (b"content-type", media_type + b"; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
