"""Streams of a subscription, whatever carries them: watched over from their first event to their last.

Before each event, and at every beat between two, it is asked whether the token is still good. A stream ends with its
token, when its client is suspended, when the process drains, and when the one who listens goes away.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson
import structlog
from graphql import ExecutionResult, FieldNode, GraphQLError
from starlette.types import Receive, Send

from gateway import masking
from gateway.context import Context, Viewer
from gateway.gate.admission import Admitted, Asked
from gateway.gate.prepared import Schema
from kit.errors import Rejection

BEAT_SECONDS = 10.0
MOST_STREAMS, MOST_STREAMS_OF_A_CLIENT = 1_000, 100

log = structlog.get_logger("gateway.graphql")


class Refused(Exception):  # noqa: N818 - that is what happened to it
    """A request that is not executed: the status, the code and a sentence of the answer, and its extensions."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *headers: tuple[bytes, bytes],
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.extensions = extensions


class Ended(Exception):  # noqa: N818 - the stream has
    """The stream is over before its source was: the code and a sentence say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Stream:
    """One subscription of one listener. Iterate over it: an answer to send, or None at a beat without one.

    Raises Ended. `close` when the listener has gone.
    """

    def __init__(
        self,
        streams: Streams,
        admitted: Admitted,
        asked: Asked,
        context: Context,
        renewed: Callable[[], Awaitable[Viewer]],
        settled: Callable[[], object],
    ) -> None:
        self._settled = settled
        self._streams = streams
        self._admitted = admitted
        self._asked = asked
        self._context = context
        self._renewed = renewed
        self._source: AsyncIterator[ExecutionResult] | None = None
        self._step: asyncio.Task[ExecutionResult] | None = None
        self._is_open = True

    async def events(self) -> AsyncIterator[dict[str, Any] | None]:
        """Answers as they come, None at each beat between them."""
        asked, admitted = self._asked, self._admitted
        source = await self._streams.schema.follow(
            admitted.prepared, asked.operation_name, asked.variables, self._context
        )
        if isinstance(source, ExecutionResult):
            yield self._answer(source)
            return
        self._source = source
        while True:
            self._step = asyncio.ensure_future(anext(source))
            while not (await asyncio.wait({self._step}, timeout=self._streams.beat_seconds))[0]:
                await self._check()
                yield None
            try:
                result = self._step.result()
            except StopAsyncIteration:
                return
            except Exception as error:  # of the source: what would be a field's error in an answer
                yield {"errors": [self._told(error)]}
                return
            await self._check()
            yield self._answer(result)

    async def close(self) -> None:
        """End it, and with it whatever it listens to."""
        if self._step is not None and not self._step.done():
            self._step.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._step
        if self._source is not None and hasattr(self._source, "aclose"):
            with suppress(Exception):
                await self._source.aclose()
        if self._is_open:
            self._is_open = False
            self._streams.end((self._context.viewer.client_no, self._context.viewer.whose))
            self._settled()

    async def _check(self) -> None:
        """Raises Ended where the listener may not go on listening."""
        if self._streams.is_draining():
            raise Ended(masking.SERVICE_UNAVAILABLE, "This process ends. Subscribe again with the last cursor.")
        try:
            viewer = await self._renewed()
            self._admitted.operation.check(viewer.scopes, self._asked.variables, self._admitted.requested)
        except Refused as no:
            raise Ended(no.code, no.message) from no
        except GraphQLError as no:
            raise Ended(masking.FORBIDDEN, no.message) from no

    def _told(self, error: Exception) -> dict[str, Any]:
        if masking.is_unavailable(masking.root_cause(error) if isinstance(error, GraphQLError) else error):
            log.error("unavailable", exc_info=error)
            code = masking.SERVICE_UNAVAILABLE
            error = masking.coded(code, masking.EXCUSES[code])
        elif not isinstance(error, GraphQLError):
            error = GraphQLError(error.message if isinstance(error, Rejection) else "", original_error=error)
        return told(error, self._context.request_id)

    def _answer(self, result: ExecutionResult) -> dict[str, Any]:
        answer: dict[str, Any] = {"data": result.data} if result.data is not None else {}
        if result.errors:
            answer["errors"] = self._errors(result.errors)
        return answer

    def _errors(self, errors: list[GraphQLError]) -> list[dict[str, Any]]:
        request_id = self._context.request_id
        if all(error.path is None for error in errors) and any(error.original_error is None for error in errors):
            operation = self._admitted.operation.definition
            errors = masking.variable_errors(self._streams.schema.graphql, operation, self._asked.variables)
        return [told(error, request_id) for error in errors]


class Streams:
    """One process's open streams."""

    def __init__(
        self, schema: Schema, *, beat_seconds: float = BEAT_SECONDS, is_draining: Callable[[], bool] = lambda: False
    ) -> None:
        self.schema = schema
        self.beat_seconds = beat_seconds
        self.is_draining = is_draining
        self._open: Counter[tuple[int, int]] = Counter()

    def begin(
        self,
        admitted: Admitted,
        asked: Asked,
        context: Context,
        renewed: Callable[[], Awaitable[Viewer]],
        settled: Callable[[], object],
    ) -> Stream:
        """A stream, to be closed when it is over, which calls settled. renewed says whom it is for, or raises Refused.

        Raises Refused (429) where the client, or everybody together, has too many open.
        """
        listener = (context.viewer.client_no, context.viewer.whose)
        if self._open[listener] >= MOST_STREAMS_OF_A_CLIENT or self._open.total() >= MOST_STREAMS:
            wait = (b"retry-after", b"30")
            raise Refused(429, masking.THROTTLED, "Too many streams are open. End those that you do not need.", wait)
        self._open[listener] += 1
        return Stream(self, admitted, asked, context, renewed, settled)

    def end(self, listener: tuple[int, int]) -> None:
        """A stream was closed."""
        self._open[listener] -= 1
        if not self._open[listener]:
            del self._open[listener]

    def open_streams(self) -> int:
        """How many are open."""
        return self._open.total()


async def send_events(stream: Stream, receive: Receive, send: Send) -> None:
    """Send a stream as server-sent events, one connection each, until it is over or the listener hangs up."""
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
    writing = asyncio.ensure_future(_write_events(stream, send))
    listening = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({writing, listening}, return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            writing.result()
    finally:
        for task in (writing, listening):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        await stream.close()


async def _write_events(stream: Stream, send: Send) -> None:
    async def write(event: bytes, data: Mapping[str, Any] | None) -> None:
        body = b"event: " + event + b"\ndata: " + (orjson.dumps(data) if data is not None else b"") + b"\n\n"
        await send({"type": "http.response.body", "body": body, "more_body": True})

    try:
        async for answer in stream.events():
            if answer is None:
                await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
            else:
                await write(b"next", answer)
    except Ended as ended:
        await write(b"next", {"errors": [masking.formatted(ended.message, {"code": ended.code})]})
    await write(b"complete", None)
    await send({"type": "http.response.body", "body": b""})


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def told(error: GraphQLError, request_id: str) -> dict[str, Any]:
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
