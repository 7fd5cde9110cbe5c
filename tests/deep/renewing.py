"""Whoever renews, as a process of its own that dies at a step: kill -9 by its own hand, before or after a commit or a
call of the provider. A step is whatever another process could see: a transaction that begins, is about to be committed,
is committed; an order that goes out, an answer that came."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.charging.stripe_payments import Stripe
from gateway.charging.yookassa_payments import YooKassa
from kit.database import Database, connect
from kit.secrets import Vault
from members.subscription import due_work
from members.subscription.due_work import Renewal
from members.subscription.providers import MANUAL, Answer, ChargeOrder, Provider, RefundOrder
from tests.gateway import paying


@dataclass
class Steps:
    """Counts steps and dies at one; 0: at none."""

    last: int
    taken: int = 0

    def here(self) -> None:
        self.taken += 1
        if self.taken == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """A database whose user may die around every commit."""

    def __init__(self, database: Database, steps: Steps) -> None:
        self._database, self._steps = database, steps
        self.reading, self.pool, self.engine = database.reading, database.pool, database.engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        self._steps.here()
        async with self._database.transaction() as connection:
            yield connection
            self._steps.here()
        self._steps.here()


class Called:
    """A provider whose caller may die before the call, and before it has the answer in hand."""

    def __init__(self, provider: Any, steps: Steps) -> None:
        self._provider, self._steps = provider, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def charge(self, order: ChargeOrder) -> Answer:
        return await self._around(self._provider.charge(order))

    async def fetch(self, order: ChargeOrder) -> Answer:
        return await self._around(self._provider.fetch(order))

    async def refund(self, order: RefundOrder) -> Answer:
        return await self._around(self._provider.refund(order))

    async def _around(self, call: Any) -> Answer:
        self._steps.here()
        try:
            answer: Answer = await call
        finally:
            self._steps.here()
        return answer


def opened(name: str, vault: Vault, address: str) -> Provider:
    """The adapter of a provider at an address of this machine."""
    if name == paying.STRIPE:
        return Stripe(vault, paying.LIVE_STRIPE, ["whsec_of_nobody"], address=address)
    return YooKassa(vault, paying.SHOP, paying.LIVE_YOOKASSA, address=f"{address}/v3")


async def nobody(connection: AsyncConnection, renewal: Renewal, at: datetime) -> UUID | None:
    """Nobody is written to."""
    return None


def renew(url: str, name: str, address: str, to: datetime, last_step: int) -> None:
    """Do all that is due by an instant, and die at a step; the body of a process."""

    async def run() -> None:
        steps, provider = Steps(last_step), opened(name, Vault(bytes(range(32))), address)
        async with connect(url, pool_size=2) as database:
            providers: Any = {MANUAL.name: MANUAL, name: Called(provider, steps)}
            mortal: Any = Mortal(database, steps)
            await due_work.advance(mortal, providers, nobody, to=to)

    asyncio.run(run())
