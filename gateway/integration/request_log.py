"""What partners' programs asked, for those who mend them: noted in memory, written down in batches, kept for two weeks.

A request adds one entry to a list; within a write's interval a client adds no more than so many, and those that were
refused find room when those that went well have none left. What is personal or secret is taken out before it is
kept (`redaction`). Beside the log all requests are counted (`request_figures`), and what a partner's programs did for
the first time is kept (`first_steps`). What a process has noted and not written when it is killed is lost; the
process's own log has every request's id.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.context import Viewer
from gateway.integration import first_steps, redaction, request_figures, request_log_store
from gateway.integration.first_steps import FirstSteps
from gateway.integration.request_figures import RequestFigures
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
    cost: int
    replayed: bool
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as it was written down. code None: it was done; took_ms: milliseconds until its answer was ready; cost:
    points of cost; replayed: the answer was an earlier one's."""

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
    cost: int
    replayed: bool
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of a partner's requests: behind an entry, of one id, of a client's id, of an operation, that were answered
    with a code, in [since, until), those refused alone. None: whichever."""

    before: int | None = None
    request_id: str | None = None
    client_id: str | None = None
    operation: str | None = None
    code: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Refusals:
    """Requests of a partner's that were refused alike: with a code, by an operation. client_ids are of those that
    asked; last_request_id and last_at are the latest's."""

    code: str
    operation: str
    requests: int
    client_ids: Sequence[str]
    last_request_id: str
    last_at: datetime


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
        self._figures = RequestFigures()
        self._steps = FirstSteps()

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
        cost: int = 0,
        replayed: bool = False,
        fields: tuple[str, ...] = (),
    ) -> None:
        """Count a request of a partner's, and keep it where there is room for it; nothing of anybody else's."""
        if viewer.partner_id is None:
            return
        at, took_ms = self._now(), max(0, round((self._monotonic() - began) * 1_000))
        self._figures.count(viewer, at, status=status, code=code, cost=cost, took_ms=took_ms, replayed=replayed)
        self._steps.note(viewer, request_id, fields, code=code, replayed=replayed, variables=variables or {}, at=at)
        whose = (viewer.partner_id, viewer.client_no)
        if self._noted[whose] >= MOST_OF_CLIENT or len(self._waiting) >= MOST_WAITING:
            return
        if code is None:
            if self._done[whose] >= MOST_DONE:
                return
            self._done[whose] += 1
        self._noted[whose] += 1
        self._waiting.append(
            Noted(
                *whose, request_id, at, (operation or ANONYMOUS)[:64],
                hashlib.sha256(query.encode()).digest() if query else document_hash, status, code, took_ms, cost,
                replayed, redaction.redacted(variables or {}),
            )
        )  # fmt: skip

    async def write(self) -> None:
        """Write down what waits. Where that fails it is kept for the next time."""
        waiting, self._waiting = self._waiting, []
        self._done.clear()
        self._noted.clear()
        counted, steps = self._figures.taken(), self._steps.taken()
        if not counted and not waiting and not steps:
            return
        try:
            async with self._database.transaction() as connection:
                if waiting:
                    await request_log_store.insert(connection, [_row(each) for each in waiting])
                await request_figures.write(connection, counted)
                await first_steps.write(connection, steps)
        except BaseException:
            self._waiting = [*waiting, *self._waiting][:MOST_WAITING]
            self._figures.put_back(counted)
            self._steps.put_back(steps)
            raise


async def page(connection: AsyncConnection, partner_id: int, wanted: Wanted, *, limit: int) -> list[Entry]:
    """A partner's requests, the latest first."""
    given = {"partner_id": partner_id, "limit": limit, **asdict(wanted)}
    return [Entry(**row) for row in await request_log_store.page(connection, given)]


async def refusals(
    connection: AsyncConnection, partner_id: int, *, since: datetime, until: datetime, limit: int
) -> list[Refusals]:
    """A partner's refused requests in [since, until) by code and operation, what was refused most first."""
    rows = await request_log_store.refusals(connection, partner_id, since, until, limit)
    return [Refusals(**row) for row in rows]


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
        "status": noted.status, "code": noted.code, "took_ms": noted.took_ms, "cost": noted.cost,
        "replayed": noted.replayed, "variables": variables.decode(),
    }  # fmt: skip


def code_of(answer: Mapping[str, Any], rejected: str | None) -> str | None:
    """Why a request was refused, by its answer and the rejection that became data in it; None where it was done."""
    if "errors" not in answer:
        return rejected
    extensions = answer["errors"][0].get("extensions", {})
    return str(extensions.get("rejection", extensions).get("code", "")) or None


def was_replayed(answer: Mapping[str, Any]) -> bool:
    """Whether a root field of an answer says that an earlier call did it; of a batch, any item of it."""
    data = answer.get("data")
    return data is not None and any(isinstance(each, dict) and bool(each.get("replayed")) for each in data.values())


def cost_of(answer: Mapping[str, Any]) -> int:
    """What an answer says that it cost, in points of cost; 0 where it says nothing."""
    extensions = answer.get("extensions")
    return int(extensions["cost"]["actualQueryCost"]) if extensions and "cost" in extensions else 0
