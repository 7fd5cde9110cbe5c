"""Structured logs on standard error: one JSON object a line, with the request's id.

What may be in them is listed, not what may not: an exception is logged as its type and the places in our code, never
with its message, because messages quote values (a driver's parameters, a card number, a part of a document).
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import orjson
import structlog

_QUIET = (
    "authlib",
    "strawberry",
    "graphql",
    "asyncpg",
    "sqlalchemy",
    "httpx2",
    "alembic",
)  # their messages hold values
_DEEPEST = 25

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that this task serves; it stands in every line."""


def configure(level: str = "info") -> None:
    """Set up the process's logs from a level (debug, info, warning, error) on."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            _with_request_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _places,
            structlog.processors.JSONRenderer(serializer=_serialized),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = _Structured()
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def described(error: BaseException) -> dict[str, Any]:
    """An exception for the log: types of it and its causes, the database's state, where it was raised."""
    chain: list[str] = []
    each: BaseException | None = error
    while each is not None and len(chain) < 5:
        chain.append(f"{type(each).__module__}.{type(each).__qualname__}")
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    said: dict[str, Any] = {"error": chain, "at": _frames(error.__traceback__)}
    state = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    return {**said, "sqlstate": state} if state else said


def _frames(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_DEEPEST:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _with_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (served := request_id.get()) is not None:
        event.setdefault("request_id", served)
    return event


def _places(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        event.update(described(raised))
    return event


def _serialized(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=repr)


class _Structured(logging.Handler):
    """Sends what libraries log through the same lines: the template of the message, never its arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        said: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            said.update(described(record.exc_info[1]))
        structlog.get_logger().log(record.levelno, str(record.msg).partition("\n")[0][:200], **said)
