"""What stands between a request that was read and its execution: which document, may it, how much, and is there room.

In this order, the cheap before the dear: the document by hash or text, a new one only within the client's budget for
new documents; scopes and variables; look-ups of members within the budget for those that find nobody; the cost within
the client's allowance; a place at the turnstile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway import masking, usage
from gateway.context import Services, Viewer
from gateway.gate import allowances
from gateway.gate.allowances import COST, DOCUMENTS, MEMBER, MISSES, Allowance, Allowances, Exhausted, Share
from gateway.gate.client_rules import ClientRule, ClientRules, hash_of
from gateway.gate.prepared import Prepared, Schema, Unacceptable
from gateway.gate.pricing import Operation
from gateway.gate.shedding import Overloaded, Turnstile
from gateway.integration import request_log
from gateway.integration.request_log import RequestLog
from gateway.usage import Usage
from kit.clock import wall

PLACES_PER_DATABASE_CONNECTION = 16
_MEMBER_MISSES = MEMBER.hundredth()
_MOST_MISSES = 30
"""What one request may add to the look-ups that found nobody, so that a file of old cards does not close the tills."""


@dataclass(slots=True)
class Asked:
    """What a request's body says. query is empty where the document is named by its hash alone.

    is_ours: the document is the gateway's own, which no budget for new ones has to bound.
    """

    query: str
    operation_name: str | None
    variables: dict[str, Any]
    document_hash: bytes | None = None
    is_ours: bool = False


@dataclass(slots=True)
class Admitted:
    """An operation that may run, and what was handed out for it."""

    prepared: Prepared
    operation: Operation
    requested: int
    share: Share
    misses: Share | None


class Admission:
    """One process's gate behind the endpoint. `admit`, `enter`, run, `leave`, then `settle`."""

    def __init__(
        self,
        schema: Schema,
        services: Services,
        *,
        now: Callable[[], datetime] = wall,
        turnstile: Turnstile | None = None,
    ) -> None:
        pool = services.database.pool
        self._schema = schema
        self.allowances = Allowances(pool, now=now)
        self.rules = ClientRules(pool)
        self.usage = Usage(services.database, now=now)
        self.requests = RequestLog(services.database, now=now)
        self.turnstile = turnstile or Turnstile(services.settings.pool_size * PLACES_PER_DATABASE_CONNECTION)

    async def admit(self, asked: Asked, viewer: Viewer) -> Admitted:
        """The operation that a request means, paid for. Raises Unacceptable or Exhausted."""
        rule = await self.rules.of(viewer.client_no)
        text = await self._document(asked, viewer, rule)
        try:
            prepared, operation = self._schema.admit(text, asked.operation_name, asked.variables, viewer.scopes)
        except Unacceptable:
            await self._take(viewer, rule, 1)
            raise
        self.usage.count(viewer.client_no, operation)
        misses = None
        if operation.names_member:
            allowance = _MEMBER_MISSES if viewer.member_id else rule.hundredth
            misses = await self.allowances.take((viewer.client_no, viewer.whose, MISSES), allowance, 1)
        requested = max(1, operation.cost(asked.variables))
        try:
            share = await self._take(viewer, rule, requested)
        except Exhausted:
            if misses is not None:
                self.allowances.refund(misses, 1)
            raise
        return Admitted(prepared, operation, requested, share, misses)

    async def enter(self, admitted: Admitted) -> None:
        """Wait for a place, to be left with `leave`. Raises Overloaded, and what was handed out is given back."""
        try:
            await self.turnstile.enter(admitted.operation.rank)
        except Overloaded as no:
            self.undo(admitted)
            await asyncio.sleep(no.hold_seconds)
            raise
        except BaseException:
            self.undo(admitted)
            raise

    def leave(self) -> None:
        """Give up the place."""
        self.turnstile.leave()

    def undo(self, admitted: Admitted) -> None:
        """Take back what was handed out for an operation that does not run."""
        self.allowances.refund(admitted.share, admitted.requested)
        self._settle_misses(admitted, 0)

    def settle(self, admitted: Admitted, data: Any, misses: int) -> dict[str, Any]:
        """Give back what the answer's data did not need of its cost; what the answer says of cost."""
        actual = max(1, admitted.operation.actual_cost(admitted.requested, data))
        if actual != admitted.requested:
            self.allowances.refund(admitted.share, admitted.requested - actual)
        self._settle_misses(admitted, misses)
        return self.told(admitted.share, admitted.requested, actual)

    def told(self, share: Share, requested: int, actual: int) -> dict[str, Any]:
        """The `cost` among an answer's extensions."""
        return said(self.allowances.status(share), requested, actual)

    async def standing(self, viewer: Viewer) -> dict[str, Any]:
        """What an answer says of cost to a request that was not worth more than a look at it."""
        rule = await self.rules.of(viewer.client_no)
        return self.told(await self._take(viewer, rule, 0), 1, 1)

    async def give_back(self) -> None:
        """Give back shares whose lease has ended."""
        await self.allowances.give_back()

    def _settle_misses(self, admitted: Admitted, misses: int) -> None:
        if admitted.misses is not None:
            self.allowances.refund(admitted.misses, 1 - min(misses, _MOST_MISSES))

    async def _take(self, viewer: Viewer, rule: ClientRule, points: int) -> Share:
        allowance = MEMBER if viewer.member_id else rule.allowance
        return await self.allowances.take((viewer.client_no, viewer.whose, COST), allowance, points)

    async def _document(self, asked: Asked, viewer: Viewer, rule: ClientRule) -> str:
        """The document's text, known or within the budget for new ones. Raises Unacceptable, Exhausted."""
        text = asked.query
        if asked.is_ours:
            return text
        if not asked.document_hash and not rule.trusted_only and self._schema.knows(text, viewer.scopes):
            return text
        name = asked.document_hash or hash_of(text)
        if text and name != hash_of(text):
            raise _unknown("The hash is not that of the document.")
        if asked.document_hash or rule.trusted_only:
            trusted = await self.rules.text(viewer.client_no, name)
            if trusted is not None:
                return trusted
            if rule.trusted_only or not text:
                await self._take_new(viewer, rule.hundredth)
                raise _unknown("This client has registered no such document.")
        if not self._schema.knows(text, viewer.scopes):
            await self._take_new(viewer, rule.hundredth)
        return text

    async def _take_new(self, viewer: Viewer, allowance: Allowance) -> None:
        await self.allowances.take((viewer.client_no, viewer.whose, DOCUMENTS), allowance, 1)


def said(status: allowances.Status, requested: int, actual: int) -> dict[str, Any]:
    """What an answer says of cost: what was asked for, what it came to, how the allowance stands."""
    return {
        "requestedQueryCost": requested,
        "actualQueryCost": actual,
        "throttleStatus": status.as_extension(),
    }


def _unknown(message: str) -> Unacceptable:
    return Unacceptable([masking.coded(masking.PERSISTED_QUERY_NOT_FOUND, message)])


@asynccontextmanager
async def opened(schema: Schema, services: Services, *, now: Callable[[], datetime] = wall) -> AsyncIterator[Admission]:
    """A process's admission, with what has to be done beside the requests: leases given back, uses written down."""
    made = Admission(schema, services, now=now)
    async with AsyncExitStack() as stack:
        for work, seconds in (
            (made.give_back, allowances.LEASE_SECONDS),
            (made.usage.write, usage.WRITE_SECONDS),
            (made.requests.write, request_log.WRITE_SECONDS),
        ):
            task = asyncio.create_task(allowances.every_second(work, seconds=seconds))
            stack.callback(task.cancel)
        yield made
    await allowances.at_the_end(made.usage.write())
    await allowances.at_the_end(made.requests.write())
    await allowances.at_the_end(made.allowances.give_back(all_of_it=True))
