"""Calls of a provider's library that blocks: in threads of their own, with a deadline. Whatever is not answered by
then, or not understood, is silence: the provider may have done it or not, and is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from members.subscription.providers import Silent

T = TypeVar("T")
CONNECT_SECONDS, READ_SECONDS = 5, 20
DEADLINE_SECONDS = 30
"""Longer than one call's own limits, for those that wait for a thread."""
THREADS = 16

log = structlog.get_logger("gateway.charging")


class Threads:
    """Threads in which a provider's library is called."""

    def __init__(self, name: str, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._name = name
        self._deadline_seconds = deadline_seconds
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=name)

    async def call(self, what: str, deed: Callable[[], T]) -> T:
        """What a call returns. Raises Silent for a deadline that passed and for anything that it raised but Silent
        itself: the log says what, by the kind of the error alone, since its text may name a person's card."""
        running = asyncio.get_running_loop().run_in_executor(self._pool, deed)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await running
        except Silent:
            raise
        except Exception as error:
            kind, code = type(error).__name__, getattr(error, "code", None)
            log.warning("provider_silent", provider=self._name, call=what, error=kind, code=code)
            raise Silent from error
