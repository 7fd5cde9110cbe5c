"""POST /graphql: from bytes to an admitted operation and back, with every way to be wrong answered before it costs.

Ours rather than the library's view, because of what must hold around execution: bounded bodies, one operation a
request, statuses by the media type that was asked for, and a write whose outcome is unknown never told as failed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from graphql import ExecutionResult
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from gateway import masking
from gateway.context import Context, Services, Viewer, language_of
from gateway.gate.admission import Admission, Admitted, Asked, said
from gateway.gate.allowances import COST, DOCUMENTS, MISSES, Exhausted
from gateway.gate.prepared import Schema, Unacceptable
from gateway.gate.pricing import Operation
from gateway.gate.shedding import Overloaded
from gateway.integration.request_log import code_of, cost_of, was_replayed
from gateway.oauth.dpop import InvalidProof, NonceWanted
from gateway.oauth.jose import ALGORITHMS
from gateway.oauth.tokens import Bearers, InvalidToken
from gateway.rejections import is_miss
from gateway.scopes import POINTS_ACCRUE
from gateway.streams import BEAT_SECONDS, Refused, Stream, Streams, send_events, told
from kit.errors import OutcomeUnknown

LARGEST_BODY = 64 * 1024
LARGEST_BATCH = 2 * 1024 * 1024
READ_SECONDS = 3.0
WRITE_SECONDS = 8.0

JSON = b"application/json"
GRAPHQL_JSON = b"application/graphql-response+json"
EVENT_STREAM = b"text/event-stream"

_PROOF_ALGORITHMS = b'"' + " ".join(ALGORITHMS).encode() + b'"'
_PLAIN_JSON = frozenset({b"application/json", b"application/json; charset=utf-8"})
_UTF8_JSON = re.compile(rb'application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?', re.IGNORECASE)
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,127}")
# The status of a request error under application/graphql-response+json; under application/json it is 200.
_STATUS_BY_CODE = {masking.FORBIDDEN: 403}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EXHAUSTED = {
    COST: "More was asked for than the client's allowance holds.",
    DOCUMENTS: "Too many new documents. Send the same text each time, with other variables.",
    MISSES: "Too many look-ups that found nobody.",
}

log = structlog.get_logger("gateway.graphql")


class Shown(Struct, frozen=True):
    """What a caller shows of itself: an Authorization header, and the DPoP proofs that it made for a method, at the
    endpoint or at another path of ours."""

    authorization: bytes | None
    proofs: tuple[str, ...] = ()
    method: str = "POST"
    path: str | None = None

    @property
    def token(self) -> tuple[str, str]:
        """The scheme, in lower case, and the token."""
        scheme, _, token = (self.authorization or b"").decode("latin-1").partition(" ")
        return scheme.lower(), token.strip()


def shown_by(headers: Sequence[tuple[bytes, bytes]], method: str, path: str | None = None) -> Shown:
    """What the headers of a request show; path where it is not for the endpoint itself."""
    authorization = None
    proofs: tuple[str, ...] = ()
    for name, value in headers:
        if name == b"authorization" and authorization is None:
            authorization = value
        elif name == b"dpop":
            proofs = (*proofs, value.decode("latin-1"))
    return Shown(authorization, proofs, method, path)


class Endpoint:
    """The ASGI application at /graphql."""

    def __init__(
        self,
        schema: Schema,
        services: Services,
        bearers: Bearers,
        admission: Admission | None = None,
        *,
        read_seconds: float = READ_SECONDS,
        write_seconds: float = WRITE_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._schema = schema
        self._services = services
        self._bearers = bearers
        self.admission = admission or Admission(schema, services)
        self.streams = Streams(schema, beat_seconds=beat_seconds)
        self._read_seconds = read_seconds
        self._write_seconds = write_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id, began = scope["request_id"], self.admission.requests.began()
        media_type = JSON
        viewer: Viewer | None = None
        asked: Asked | None = None
        fields: tuple[str, ...] = ()
        try:
            headers = _single(scope["headers"])
            if scope["method"] != "POST":
                raise Refused(405, masking.BAD_REQUEST, "Use POST.", (b"allow", b"POST"))
            media_type = media_type_of(headers.get(b"accept"))
            shown = shown_by(scope["headers"], scope["method"])
            viewer = await self.viewer(shown)
            scope["noted"]["client_id"] = viewer.client_id
            check_content_type(headers.get(b"content-type"))
            largest = LARGEST_BATCH if POINTS_ACCRUE in viewer.scopes else LARGEST_BODY
            body = await body_of(headers.get(b"content-length"), receive, largest)
            asked = parsed(body)
            language = language_of(headers.get(b"accept-language", b"").decode("latin-1"))
            context = self.context(viewer, request_id, language)
            if media_type == EVENT_STREAM:
                streamed = await self._streamed(asked, len(body), context, shown, scope["noted"])
                await send_events(streamed, receive, send)
                return
            status, answer, extra = await self._run(asked, len(body), context, media_type, scope["noted"])
            code, fields = code_of(answer, context.rejected), context.fields
        except Refused as no:
            status, answer, extra, code = no.status, refusal(no, request_id), no.headers, no.code
            media_type = JSON if media_type == EVENT_STREAM else media_type
        self.noted(scope, viewer, asked, began, status, code, answer, fields)
        await send_answer(send, status, media_type, answer, extra)

    async def answer(
        self,
        asked: Asked,
        size: int,
        context: Context,
        *,
        media_type: bytes = JSON,
        noted: dict[str, Any] | None = None,
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        """What is said to somebody who was let in by other means than a token: status, answer, headers."""
        try:
            return await self._run(asked, size, context, media_type, {} if noted is None else noted)
        except Refused as no:
            return no.status, refusal(no, context.request_id), no.headers

    def noted(
        self, scope: Scope, viewer: Viewer | None, asked: Asked | None, began: float, status: int, code: str | None,
        answer: Mapping[str, Any], fields: tuple[str, ...],
    ) -> None:  # fmt: skip
        """Keep a request that was answered for whoever mends the program that sent it."""
        if viewer is None or viewer.partner_id is None:
            return
        operation = scope["noted"].get("operation") or (asked.operation_name if asked else None)
        self.admission.requests.note(
            viewer, scope["request_id"], began=began, status=status, code=code, operation=operation,
            query=asked.query if asked else "", document_hash=asked.document_hash if asked else None,
            variables=asked.variables if asked else None, cost=cost_of(answer), replayed=was_replayed(answer),
            fields=fields,
        )  # fmt: skip

    async def _streamed(self, asked: Asked, size: int, context: Context, shown: Shown, noted: dict[str, Any]) -> Stream:
        try:
            admitted = await self.admitted(asked, size, context)
        except Unacceptable as no:
            first = no.errors[0]
            code = (first.extensions or {}).get("code", masking.BAD_REQUEST)
            raise Refused(_STATUS_BY_CODE.get(code, 400), code, first.message) from no
        noted["operation"] = operation_name(admitted.operation)
        if not admitted.operation.is_subscription:
            self.admission.undo(admitted)
            raise Refused(406, masking.BAD_REQUEST, "Only a subscription is answered with a stream of events.")
        return self.stream(admitted, asked, context, shown)

    def stream(self, admitted: Admitted, asked: Asked, context: Context, shown: Shown) -> Stream:
        """The stream of an admitted subscription, while the token that began it is good. Raises Refused (429)."""
        return self.streams.begin(
            admitted,
            asked,
            context,
            renewed=lambda: self.viewer_still(shown),
            settled=lambda: self.admission.settle(admitted, None, context.misses),
        )

    def context(self, viewer: Viewer, request_id: str, language: str) -> Context:
        """The context of one operation."""
        return Context(viewer, self._services, request_id, language)

    async def viewer(self, shown: Shown) -> Viewer:
        """Whom a caller speaks for here and now. Raises Refused (401)."""
        if shown.authorization is None:
            challenges = [(b"www-authenticate", b"Bearer"), (b"www-authenticate", b"DPoP algs=" + _PROOF_ALGORITHMS)]
            raise Refused(401, masking.UNAUTHENTICATED, "Send an access token.", *challenges)
        scheme, token = shown.token
        try:
            if scheme == "dpop":
                return await self._bearers.bound_viewer(token, shown.proofs, method=shown.method, path=shown.path)
            if scheme != "bearer":
                raise InvalidToken("scheme")
            return await self._bearers.viewer(token)
        except NonceWanted as wanted:
            challenge = b'DPoP error="use_dpop_nonce", algs=' + _PROOF_ALGORITHMS
            headers = ((b"www-authenticate", challenge), (b"dpop-nonce", wanted.nonce.encode()))
            message = "The DPoP proof has to carry the nonce of this answer."
            raise Refused(401, masking.UNAUTHENTICATED, message, *headers) from wanted
        except InvalidProof as no:
            log.warning("proof_refused", reason=str(no))
            challenge = b'DPoP error="invalid_dpop_proof", algs=' + _PROOF_ALGORITHMS
            message = "The DPoP proof is missing or not accepted."
            raise Refused(401, masking.UNAUTHENTICATED, message, (b"www-authenticate", challenge)) from no
        except InvalidToken as no:
            raise _token_refused(no, scheme) from no

    async def viewer_still(self, shown: Shown) -> Viewer:
        """Whom a caller still speaks for who was let in before and listens since. Raises Refused (401)."""
        scheme, token = shown.token
        try:
            return await self._bearers.viewer_still(token)
        except InvalidToken as no:
            raise _token_refused(no, scheme) from no

    async def _run(
        self, asked: Asked, size: int, context: Context, media_type: bytes, noted: dict[str, Any]
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        try:
            admitted = await self.admitted(asked, size, context)
        except Unacceptable as no:
            errors = [told(error, context.request_id) for error in no.errors]
            cost = await self.admission.standing(context.viewer)
            return _request_status(errors, media_type), {"errors": errors, "extensions": {"cost": cost}}, ()
        noted["operation"] = operation_name(admitted.operation)
        context.fields = admitted.operation.fields
        if admitted.operation.is_subscription:
            self.admission.undo(admitted)
            raise Refused(406, masking.BAD_REQUEST, "Accept text/event-stream for a subscription.")
        try:
            await self.admission.enter(admitted)
        except Overloaded as no:
            wait = (b"retry-after", str(no.retry_seconds).encode())
            excuse = masking.EXCUSES[masking.SERVICE_UNAVAILABLE]
            raise Refused(503, masking.SERVICE_UNAVAILABLE, excuse, wait) from no
        try:
            status, answer, extra = await self._execute(asked, admitted, context, media_type)
        finally:
            self.admission.leave()
        answer["extensions"] = {"cost": self.admission.settle(admitted, answer.get("data"), context.misses)}
        return status, answer, extra

    async def admitted(self, asked: Asked, size: int, context: Context) -> Admitted:
        """The operation of a request whose body had so many bytes. Raises Unacceptable, Refused (413, 429)."""
        try:
            admitted = await self.admission.admit(asked, context.viewer)
        except Exhausted as no:
            raise await self._throttled(no, context.viewer) from no
        if size > LARGEST_BODY and not admitted.operation.takes_batch:
            self.admission.undo(admitted)
            raise _too_large(LARGEST_BODY)
        return admitted

    async def _throttled(self, no: Exhausted, viewer: Viewer) -> Refused:
        cost = said(no.status, 0, 0) if no.kind == COST else await self.admission.standing(viewer)
        wait = (b"retry-after", str(no.wait_seconds).encode())
        return Refused(429, masking.THROTTLED, _EXHAUSTED[no.kind], wait, extensions={"cost": cost})

    async def _execute(
        self, asked: Asked, admitted: Admitted, context: Context, media_type: bytes
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        operation = admitted.operation
        seconds = self._write_seconds if operation.is_mutation else self._read_seconds
        try:
            async with asyncio.timeout(seconds):
                result = await self._schema.run(admitted.prepared, asked.operation_name, asked.variables, context)
        except TimeoutError as late:
            return self._away(late, operation, context.request_id)
        if result.errors is None:
            return 200, {"data": result.data}, ()
        return self._with_errors(result, asked, operation, context, media_type)

    def _with_errors(
        self, result: ExecutionResult, asked: Asked, operation: Operation, context: Context, media_type: bytes
    ) -> tuple[int, dict[str, Any], Sequence[tuple[bytes, bytes]]]:
        assert result.errors is not None
        request_id = context.request_id
        for error in result.errors:
            if masking.is_unavailable(cause := masking.root_cause(error)):
                return self._away(cause, operation, request_id)
            context.misses += is_miss(cause)
        if all(error.path is None for error in result.errors):
            wrong = masking.variable_errors(self._schema.graphql, operation.definition, asked.variables)
            errors = [told(error, request_id) for error in wrong]
            return _request_status(errors, media_type), {"errors": errors}, ()
        return 200, {"data": result.data, "errors": [told(error, request_id) for error in result.errors]}, ()

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


def refusal(no: Refused, request_id: str) -> dict[str, Any]:
    """The answer to a request that was not executed."""
    answer: dict[str, Any] = {"errors": [masking.formatted(no.message, {"code": no.code, "requestId": request_id})]}
    return {**answer, "extensions": no.extensions} if no.extensions else answer


def parsed(body: bytes) -> Asked:
    """What a body asks. Raises Refused (400) for anything but one GraphQL request."""
    if b"\\u0000" in body:  # PostgreSQL has no such character, and no field of ours wants it
        raise _bad("The character U+0000 is not accepted.")
    try:
        # The parser refuses bytes that are not UTF-8, lone surrogates, and nesting deeper than 1,024.
        body_says = orjson.loads(body)
    except ValueError as error:
        raise _bad("The body is not JSON in UTF-8.") from error
    if not isinstance(body_says, dict):
        raise _bad("The body must be one JSON object; batches are not accepted.")
    return asked_by(body_says)


def asked_by(body_says: Mapping[str, Any]) -> Asked:
    """What one GraphQL request asks. Raises Refused (400) where a part of it is not of its kind."""
    query, name, variables = body_says.get("query"), body_says.get("operationName"), body_says.get("variables")
    if query is not None and (not isinstance(query, str) or not query):
        raise _bad("`query` must be a string.")
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise _bad("`operationName` must be a name or null.")
    if variables is not None and not isinstance(variables, dict):
        raise _bad("`variables` must be an object or null.")
    extensions = body_says.get("extensions")
    if not isinstance(extensions, dict | None):
        raise _bad("`extensions` must be an object or null.")
    document_hash = None
    if extensions or "documentId" in body_says:
        document_hash = _document_hash(body_says.get("documentId"), extensions or {})
    if query is None and document_hash is None:
        raise _bad("Send `query`, or the hash of a registered document.")
    return Asked(query or "", name, variables or {}, document_hash)


def _document_hash(document_id: object, extensions: Mapping[str, Any]) -> bytes | None:
    """The hash that a registered document is named by: `documentId`, or `persistedQuery` among the extensions."""
    if document_id is None:
        persisted = extensions.get("persistedQuery")
        if persisted is None:
            return None
        document_id = persisted.get("sha256Hash") if isinstance(persisted, dict) else persisted
    hexadecimal = document_id.removeprefix("sha256:") if isinstance(document_id, str) else ""
    if not _SHA256.fullmatch(hexadecimal):
        raise _bad("A registered document is named by the SHA-256 of its text, in 64 hexadecimal digits.")
    return bytes.fromhex(hexadecimal)


def _bad(message: str) -> Refused:
    return Refused(400, masking.BAD_REQUEST, message)


def _token_refused(no: InvalidToken, scheme: str) -> Refused:
    log.warning("token_refused", reason=str(no))
    challenge = (b"DPoP" if scheme == "dpop" else b"Bearer") + b' error="invalid_token"'
    return Refused(401, masking.UNAUTHENTICATED, "The access token is not accepted.", (b"www-authenticate", challenge))


def _single(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found = dict(headers)
    if len(found) < len(headers) and sum(1 for name, _ in headers if name == b"authorization") > 1:
        raise _bad("Send one Authorization header.")
    return found


def media_type_of(accept: bytes | None) -> bytes:
    """The media type of the answer. Raises Refused (406) where the caller takes neither of ours."""
    if not accept:
        return JSON
    for part in accept.lower().split(b","):
        wanted = part.partition(b";")[0].strip()
        if wanted in (b"*/*", b"application/*", JSON):
            return JSON
        if wanted in (GRAPHQL_JSON, EVENT_STREAM):
            return wanted
    raise Refused(406, masking.BAD_REQUEST, "Accept application/graphql-response+json or application/json.")


def check_content_type(content_type: bytes | None) -> None:
    """Nothing where a body says that it is JSON in UTF-8. Raises Refused (415)."""
    if content_type in _PLAIN_JSON:
        return
    if content_type is None or not _UTF8_JSON.fullmatch(content_type.strip()):
        raise Refused(415, masking.BAD_REQUEST, "Send application/json in UTF-8.")


async def body_of(content_length: bytes | None, receive: Receive, largest: int) -> bytes:
    """The whole body. Raises Refused (413) as soon as it is known to be too large, whatever its header says."""
    if content_length is not None and content_length.isdigit() and int(content_length) > largest:
        raise _too_large(largest)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        received = bytearray(body)
        while message.get("more_body"):
            message = await receive()
            received += message.get("body", b"")
            if len(received) > largest:
                raise _too_large(largest)
        body = bytes(received)
    if len(body) > largest:
        raise _too_large(largest)
    return body


def _too_large(largest: int) -> Refused:
    return Refused(413, masking.BAD_REQUEST, f"Such a body has at most {largest} bytes.", (b"connection", b"close"))


def operation_name(operation: Operation) -> str:
    """What the log calls an operation."""
    named = operation.definition.name
    return named.value[:64] if named else "anonymous"


def _request_status(errors: Sequence[dict[str, Any]], media_type: bytes) -> int:
    if media_type == JSON:
        return 200
    return max(_STATUS_BY_CODE.get(error["extensions"]["code"], 400) for error in errors)


async def send_answer(
    send: Send, status: int, media_type: bytes, answer: dict[str, Any], extra: Sequence[tuple[bytes, bytes]]
) -> None:
    """Send an answer whole."""
    body = orjson.dumps(answer)
    headers = [
        (b"content-type", media_type + b"; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
