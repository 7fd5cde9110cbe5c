"""What partners' programs asked, for those who mend them: noted in memory, written down in batches, kept for two weeks.

A request adds one entry to a list; within a write's interval a client adds no more than so many, and those that were
refused find room when those that went well have none left. What is personal or secret is taken out before it is
kept (`redaction`). What a process has noted and not written when it is killed is lost; the process's own log has
every request's id.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import redaction, request_log_store
from gateway.context import Viewer
from kit.clock import wall
from kit.database import Database

WRITE_SECONDS = 2.0
MOST_DONE = 20
MOST_OF_CLIENT = 100
MOST_WAITING = 1_000
KEPT = timedelta(days=14)
FORGOTTEN_AT_ONCE = 5_000
ANONYMOUS = "anonymous"


@dataclass(slots=True)
class Noted:
    """A request as it is kept in memory until it is written; nothing personal is in it any more."""

    partner_id: int
    client_no: int
    request_id: str
    asked_at: datetime
    operation: str
    document_hash: bytes | None
    status: int
    code: str | None
    took_ms: int
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as it was written down. code None: it was done; took_ms: milliseconds until its answer was ready."""

    entry_no: int
    partner_id: int
    client_id: str
    client_name: str
    request_id: str
    asked_at: datetime
    operation: str
    document_hash: bytes | None
    status: int
    code: str | None
    took_ms: int
    variables: Mapping[str, Any]


class RequestLog:
    """One process's requests since they were written last."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime] = wall,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._database = database
        self._now = now
        self._monotonic = monotonic
        self._waiting: list[Noted] = []
        self._done: Counter[tuple[int, int]] = Counter()
        self._noted: Counter[tuple[int, int]] = Counter()

    def began(self) -> float:
        """What `note` wants to know of a request's beginning."""
        return self._monotonic()

    def note(
        self,
        viewer: Viewer,
        request_id: str,
        *,
        began: float,
        status: int,
        code: str | None,
        operation: str | None = None,
        query: str = "",
        document_hash: bytes | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a request of a partner's, where there is room for it; nothing of anybody else's."""
        if viewer.partner_id is None:
            return
        whose = (viewer.partner_id, viewer.client_no)
        if self._noted[whose] >= MOST_OF_CLIENT or len(self._waiting) >= MOST_WAITING:
            return
        if code is None:
            if self._done[whose] >= MOST_DONE:
                return
            self._done[whose] += 1
        self._noted[whose] += 1
        took_ms = max(0, round((self._monotonic() - began) * 1_000))
        self._waiting.append(
            Noted(
                *whose, request_id, self._now(), (operation or ANONYMOUS)[:64],
                hashlib.sha256(query.encode()).digest() if query else document_hash, status, code, took_ms,
                redaction.redacted(variables or {}),
            )
        )  # fmt: skip

    async def write(self) -> None:
        """Write down what waits. Where that fails it is kept for the next time."""
        waiting, self._waiting = self._waiting, []
        self._done.clear()
        self._noted.clear()
        if not waiting:
            return
        try:
            async with self._database.transaction() as connection:
                await request_log_store.insert(connection, [_row(each) for each in waiting])
        except BaseException:
            self._waiting = [*waiting, *self._waiting][:MOST_WAITING]
            raise


async def page(
    connection: AsyncConnection,
    partner_id: int,
    *,
    limit: int,
    before: int | None = None,
    request_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    failed: bool = False,
) -> list[Entry]:
    """A partner's requests, the latest first: behind an entry, of one id, in [since, until), those refused alone."""
    wanted = {
        "partner_id": partner_id, "limit": limit, "before": before, "request_id": request_id, "since": since,
        "until": until, "failed": failed,
    }  # fmt: skip
    return [Entry(**row) for row in await request_log_store.page(connection, wanted)]


async def everywhere(connection: AsyncConnection, request_id: str, *, limit: int) -> list[Entry]:
    """Requests of one id, whosever they are, the latest first; for the programme's staff."""
    return [Entry(**row) for row in await request_log_store.everywhere(connection, request_id, limit)]


async def forget(connection: AsyncConnection, *, at: datetime) -> int:
    """Delete some of what is older than it is kept, by the wall's instant; how many, 0 when none is left."""
    return await request_log_store.delete_before(connection, at - KEPT, FORGOTTEN_AT_ONCE)


def _row(noted: Noted) -> dict[str, Any]:
    variables = orjson.dumps(noted.variables)
    if len(variables) > redaction.LARGEST_BYTES:
        variables = orjson.dumps({redaction.HIDDEN: len(variables)})
    return {
        "partner_id": noted.partner_id, "client_no": noted.client_no, "request_id": noted.request_id,
        "asked_at": noted.asked_at, "operation": noted.operation, "document_hash": noted.document_hash,
        "status": noted.status, "code": noted.code, "took_ms": noted.took_ms, "variables": variables.decode(),
    }  # fmt: skip


def code_of(answer: Mapping[str, Any], rejected: str | None) -> str | None:
    """Why a request was refused, by its answer and the rejection that became data in it; None where it was done."""
    if "errors" not in answer:
        return rejected
    extensions = answer["errors"][0].get("extensions", {})
    return str(extensions.get("rejection", extensions).get("code", "")) or None
