"""The gateway really running: uvicorn on a port of this machine, in a thread with a loop of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from gateway import serving
from kit.settings import Settings


@contextmanager
def served(app: Starlette, settings: Settings) -> Iterator[str]:
    """The application at an address such as http://127.0.0.1:12345, until the block ends."""
    given = settings.model_copy(update={"port": 0, "drain_seconds": 4})
    listening = serving.listen(given)
    server = uvicorn.Server(serving.configuration(app, given))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="gateway")
    thread.start()
    try:
        patience = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < patience, "the gateway takes too long to start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
