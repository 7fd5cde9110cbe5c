"""Is the process alive, and may traffic be sent to it."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from pathlib import Path

import orjson
import structlog
from alembic.script import ScriptDirectory
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import migrations
from gateway import metrics, store
from gateway.context import Services
from kit.errors import Rejection

ANSWER_SECONDS = 2.0
REMEMBER_SECONDS = 1.0

log = structlog.get_logger("gateway.health")


@cache
def wanted_migration() -> str | None:
    """The migration that this code is written for: to know the last of them, each of their files has to be read."""
    return ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()


class Readiness:
    """Whether this process can serve: not draining, database there and migrated to what this code wants, founded.

    Asked by whoever likes, so the database is asked at most once a second.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._wanted = wanted_migration()
        self._asked_at = float("-inf")
        self._problem: str | None = None
        self._lock = asyncio.Lock()
        self.draining = False

    async def problem(self) -> str | None:
        """Why not, in a word; None when ready."""
        if self.draining:
            return "draining"
        async with self._lock:
            if time.monotonic() - self._asked_at >= REMEMBER_SECONDS:
                self._problem = await self._ask()
                self._asked_at = time.monotonic()
        return self._problem

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with self._services.database.reading() as connection:
                    found = await store.migration(connection)
                if found != self._wanted:
                    return "migrations"
                await self._services.directory.get()
        except Rejection:
            return "programme"
        except Exception as error:  # whatever it is, traffic must not come here
            log.warning("not_ready", exc_info=error)
            return "database"
        return None


async def alive(request: Request) -> Response:
    """GET /healthz: the process answers."""
    return _said(200, {"status": "ok"})


async def ready(request: Request) -> Response:
    """GET /readyz: 200 when traffic may come, 503 with the reason in a word when not."""
    readiness: Readiness = request.app.state.readiness
    problem = await readiness.problem()
    if problem is None:
        return _said(200, {"status": "ready"})
    return _said(503, {"status": "not ready", "because": problem})


def _said(status: int, content: dict[str, str]) -> Response:
    return Response(orjson.dumps(content), status, {"Cache-Control": "no-store"}, "application/json")


ROUTES = [
    Route("/healthz", alive, methods=["GET"]),
    Route("/readyz", ready, methods=["GET"]),
    Route("/metrics", metrics.metrics, methods=["GET"]),
]
