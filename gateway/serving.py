"""`tessera serve`: one process of the gateway, from the socket to the last answered request."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
from types import FrameType

import structlog
import uvicorn
from starlette.applications import Starlette

from gateway import logs, store
from gateway.health import wanted_migration
from gateway.sockets import LARGEST_MESSAGE
from kit import console, keyring
from kit.clock import wall
from kit.database import connect
from kit.secrets import Vault
from kit.settings import Settings

CONNECTIONS_PER_DATABASE_CONNECTION = 256
"""A last resort, whose refusals say little: before it, gateway.gate.shedding refuses by rank and with Retry-After."""
KEEP_ALIVE_SECONDS = 30
PING_SECONDS = 15.0
"""A socket that does not answer for twice as long is closed."""

log = structlog.get_logger("gateway.serving")


class Server(uvicorn.Server):
    """On SIGTERM says that it is draining first, for a quarter of the time it has, so that nothing new is sent to it;
    then takes no more connections and ends when the requests in flight are answered. Ctrl-C skips the first part,
    a second signal the rest. The process ends by returning, so that whatever is open around it is closed too.
    """

    def __init__(self, config: uvicorn.Config, app: Starlette, notice_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._notice_seconds = notice_seconds
        self._told = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or end at once."""
        readiness = getattr(self._app.state, "readiness", None)
        if self._told or readiness is None:
            self.should_exit = self.force_exit = True
            return
        self._told = readiness.draining = True
        notice_seconds = self._notice_seconds if sig == signal.SIGTERM else 0.0
        log.info("draining", notice_seconds=notice_seconds)
        asyncio.get_running_loop().call_later(notice_seconds, self._end)

    def _end(self) -> None:
        self.should_exit = True


def configuration(app: Starlette, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the application: no banner, no access log of its own, sockets with small messages."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=LARGEST_MESSAGE,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        limit_concurrency=settings.pool_size * CONNECTIONS_PER_DATABASE_CONNECTION,
        backlog=1024,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, settings.drain_seconds - round(notice_seconds(settings))),
    )


def notice_seconds(settings: Settings) -> float:
    """How long the process answers on while it already says that it is draining."""
    return settings.drain_seconds / 4


def listen(settings: Settings) -> socket.socket:
    """A socket bound to the settings' address. Fails with a sentence where somebody else has it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            console.fail(f"port {settings.port} on {settings.host} is in use: choose another with TESSERA_PORT")
        console.fail(f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}")
    listening.set_inheritable(True)
    return listening


async def check(database_url: str, vault: Vault) -> None:
    """Fail with a sentence where the database cannot be served from: unreachable, not of this version or this key."""
    async with connect(database_url, pool_size=1) as database, database.reading() as connection:
        found = await store.migration(connection)
    if found != wanted_migration():
        console.fail(f"the database stands at {found or 'nothing'}, not at {wanted_migration()}: run `tessera migrate`")
    async with connect(database_url, pool_size=1) as database, database.transaction() as connection:
        await keyring.admit(connection, vault, now=wall())


def _spare_the_collector() -> None:
    # A request makes thousands of small objects that die by themselves; looking through the schema and the modules for
    # garbage every 700 of them took nearly a third of the process's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def serve(app: Starlette, settings: Settings) -> None:
    """Serve until a signal says otherwise. Returns when all is answered and closed."""
    listening = listen(settings)
    logs.configure(settings.log_level)
    _spare_the_collector()
    log.info("serving", host=settings.host, port=settings.port)
    Server(configuration(app, settings), app, notice_seconds(settings)).run(sockets=[listening])
