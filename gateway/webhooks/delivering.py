"""Delivering: what waits is sent to its endpoint, after it was committed, as often as it needs, under one id.

Delivery is at least once: who dies between the endpoint's answer and our note of it sends again when the lease is over,
and the receiver knows it by its id. Endpoints are served side by side, so that a slow one keeps nobody else waiting:
each has a few calls at a time, a partner has a few endpoints at a time, and one that fails again and again rests. What
was signed, and what an endpoint answered, is never logged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.masking import is_unavailable
from gateway.webhooks import answers, delivery_store, endpoint_store, endpoints, kinds, retrying, telling
from gateway.webhooks.calling import Answer, Call, Caller
from gateway.webhooks.gathering import Sources
from gateway.webhooks.kinds import Event
from kit.secrets import opaque_id
from partners.directory import Partner

LEASE = timedelta(minutes=2)
ENDPOINTS_AT_ONCE = 24
ENDPOINTS_OF_PARTNER = 3
CALLS_OF_ENDPOINT = 4
DELIVERIES_AT_ONCE = 8  # of one endpoint: sent in two rounds of calls at most, well within the lease

WAITING, DELIVERED, FAILED = "WAITING", "DELIVERED", "FAILED"
EVENT_ID, DELIVERY_ID = "evt", "dlv"

log = structlog.get_logger("gateway.webhooks")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A delivery that was sent: by whose row, under which id of the attempt, what came of it."""

    row: RowMapping
    request_id: str
    answer: Answer
    sent_at: datetime


class Round:
    """Sends what is due, endpoints side by side, within one process."""

    def __init__(self, sources: Sources, caller: Caller, *, site: str, now: Callable[[], datetime]) -> None:
        self._sources = sources
        self._caller = caller
        self._site = site
        self._now = now
        self._busy: dict[asyncio.Task[int], tuple[int, int]] = {}  # of each task: its endpoint and partner
        self._broken: set[int] = set()  # endpoints at which we failed ourselves: left to the next round
        self.sent = 0

    async def start(self, *, at: datetime) -> bool:
        """Begin with endpoints that have something due by a business instant; whether any is being served now."""
        busy = [endpoint_no for endpoint_no, _ in self._busy.values()] + list(self._broken)
        async with self._sources.database.reading() as connection:
            due = await delivery_store.due_endpoints(connection, at=at, now=self._now(), busy=busy)
        served = Counter(partner_id for _, partner_id in self._busy.values())
        for row in due:
            if len(self._busy) >= ENDPOINTS_AT_ONCE:
                break
            if served[row["partner_id"]] < ENDPOINTS_OF_PARTNER:
                served[row["partner_id"]] += 1
                task = asyncio.create_task(self._serve(row["endpoint_no"], at), name=f"webhook {row['endpoint_no']}")
                self._busy[task] = (row["endpoint_no"], row["partner_id"])
        return bool(self._busy)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until an endpoint was served, and no longer than so many seconds."""
        if not self._busy:
            return
        done, _ = await asyncio.wait(self._busy, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            endpoint_no, _ = self._busy.pop(task)
            if (error := task.exception()) is not None:
                self._broken.add(endpoint_no)
                log.error("unavailable" if is_unavailable(error) else "defect", exc_info=error)
            else:
                self.sent += task.result()

    async def finish(self) -> None:
        """Wait for the calls that are on their way."""
        while self._busy:
            await self.wait()

    async def _serve(self, endpoint_no: int, at: datetime) -> int:
        """Send what is due to one endpoint, a handful of it; how many."""
        now = self._now()
        async with self._sources.database.transaction() as connection:
            rows = await delivery_store.take(
                connection, endpoint_no, at=at, now=now, until=now + LEASE, most=DELIVERIES_AT_ONCE, most_of_failing=1,
                tripped_after=retrying.TRIPPED_AFTER,
            )  # fmt: skip
            secrets = await endpoints.signing_secrets(connection, self._sources.vault, endpoint_no, now=now)
        gate = asyncio.Semaphore(CALLS_OF_ENDPOINT)
        await asyncio.gather(*(self._send(row, secrets, gate, at) for row in rows))
        return len(rows)

    async def _send(self, row: RowMapping, secrets: Sequence[bytes], gate: asyncio.Semaphore, at: datetime) -> None:
        partner = await partner_of(self._sources, row["partner_id"])
        body = kinds.document(event_of(row), event_id=event_id(partner, row["event_no"]), sequence=row["sequence"])
        call = Call(row["url"], delivery_id(partner, row["delivery_no"]), uuid4().hex, body, secrets)
        async with gate:
            sent_at = self._now()
            answer = await self._caller.call(call, now=sent_at)
        async with self._sources.database.transaction() as connection:
            await self._note(connection, _Sent(row, call.request_id, answer, sent_at), at)

    async def _note(self, connection: AsyncConnection, sent: _Sent, at: datetime) -> None:
        """Keep what came of a call. Of a delivery that was taken meanwhile, by another, only the attempt is kept."""
        row, answer, delivery_no = sent.row, sent.answer, sent.row["delivery_no"]
        endpoint = await endpoint_store.lock(connection, row["endpoint_no"])
        held = await delivery_store.lock_delivery(connection, delivery_no)
        if held is None:
            return
        attempt_no, tries = held["attempts"] + 1, held["tries"] + 1
        await delivery_store.insert_attempt(
            connection,
            {"delivery_no": delivery_no, "attempt_no": attempt_no, "at": at, "sent_at": sent.sent_at,
             "took_ms": answer.took_ms, "request_id": sent.request_id, "status": answer.status, "error": answer.error,
             "answer": answers.kept(answer.body)},
        )  # fmt: skip
        state, next_at = DELIVERED, None
        if not answer.is_taken and held["state"] != DELIVERED:
            next_at = retrying.next_at(delivery_no, tries, at=at, asked=answer.asked)
            state = FAILED if next_at is None else WAITING
        await delivery_store.set_delivery(
            connection, delivery_no, state=state, tries=tries, attempts=attempt_no, next_at=next_at
        )
        await self._note_endpoint(connection, endpoint, answer, at, sent.sent_at)

    async def _note_endpoint(
        self, connection: AsyncConnection, endpoint: RowMapping, answer: Answer, at: datetime, now: datetime
    ) -> None:
        endpoint_no = endpoint["endpoint_no"]
        if answer.is_taken:
            await endpoint_store.note_taken(connection, endpoint_no, now)
            return
        log.warning("webhook not taken", endpoint=endpoint_no, status=answer.status, error=answer.error)
        failures, since = endpoint["failures"] + 1, endpoint["failing_since"] or at
        await endpoint_store.note_failure(
            connection, endpoint_no, failures=failures, since=since,
            rests_until=retrying.rests_until(failures, at=at), now=now,
        )  # fmt: skip
        reason = endpoints.GONE if answer.status == 410 else endpoints.FAILING
        if endpoint["status"] == endpoints.ACTIVE and (reason == endpoints.GONE or retrying.is_given_up(since, at=at)):
            await endpoints.give_up(connection, endpoint_no, reason, now=now)
            await telling.disabled(connection, self._sources.vault, self._site, endpoint, reason, at=at, now=now)


async def deliver(
    sources: Sources, caller: Caller, *, site: str, at: datetime, now: Callable[[], datetime],
    stopping: asyncio.Event | None = None,
) -> int:  # fmt: skip
    """Send everything that is due by a business instant; how many calls. site is the address of our pages, now the
    wall's clock. Stops between two handfuls of an endpoint's."""
    going = Round(sources, caller, site=site, now=now)
    try:
        while not (stopping is not None and stopping.is_set()) and await going.start(at=at):
            await going.wait()
    finally:
        await going.finish()
    return going.sent


async def partner_of(sources: Sources, partner_id: int) -> Partner:
    """A partner, also one that came since this process looked."""
    found = (await sources.directory.get()).partner(partner_id)
    found = found or (await sources.directory.refresh()).partner(partner_id)
    assert found is not None, partner_id
    return found


def event_of(row: RowMapping) -> Event:
    """The event of a row."""
    return Event(
        row["partner_id"], row["type"], row["source"], row["at"], row["data"], row["is_sample"], row["version"]
    )


def event_id(partner: Partner, event_no: int) -> str:
    """An event's id as its partner knows it: the same at all of its endpoints."""
    return opaque_id(partner.id_key, EVENT_ID, event_no.to_bytes(8, "big"))


def delivery_id(partner: Partner, delivery_no: int) -> str:
    """A delivery's id as its partner knows it: the same however often it is sent."""
    return opaque_id(partner.id_key, DELIVERY_ID, delivery_no.to_bytes(8, "big"))
