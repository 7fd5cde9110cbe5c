"""Replays days of receipts through the running gateway, over HTTP alone, with each partner's own token.

What is sent is decided by `tills`; how it went is counted here. The business clock stands at the end of the day that
is being replayed, and a day is answered in full before the next begins.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any

import httpx2
import orjson

from gateway import scopes
from gateway.demo.coalition import TillCard, TillClient
from gateway.demo.data import TERMINAL, DemonstrationError, Journeys, Receipt
from gateway.demo.promotions import as_sold
from gateway.demo.tills import LONGEST_RETURN_DAYS, Day, Return, Schedule, Spending
from members import proofs

IN_FLIGHT = 16
ATTEMPTS = 6
RENEWED_BEFORE_SECONDS = 60

_REJECTED = "__typename ... on Rejection { code message retryable }"
DOCUMENTS = {
    "AccrueMany": "mutation AccrueMany($input: AccrueManyInput!) { accrueMany(input: $input) { __typename "
    "... on AccrueManySuccess { accepted replayed rejected results { " + _REJECTED + " } } "
    "... on Rejection { code message retryable } } }",
    "AccruePoints": "mutation AccruePoints($input: AccruePointsInput!) { accruePoints(input: $input) { "
    "... on AccruePointsSuccess { replayed } " + _REJECTED + " } }",
    "RecordPurchase": "mutation RecordPurchase($input: RecordPurchaseInput!) { recordPurchase(input: $input) { "
    "... on RecordPurchaseSuccess { replayed transaction { id points } } " + _REJECTED + " } }",
    "ReturnPurchase": "mutation ReturnPurchase($input: ReturnPurchaseInput!) { returnPurchase(input: $input) { "
    "... on ReturnPurchaseSuccess { replayed transaction { id takenBack unrecovered } } " + _REJECTED + " } }",
}


@dataclass(slots=True)
class Tally:
    """How a replay went. seconds is the time in which receipts were sent, and nothing else was done."""

    receipts: int = 0
    seconds: float = 0.0
    accepted: int = 0
    replayed: int = 0
    spendings: int = 0
    declined: int = 0
    returns: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def receipts_per_second(self) -> int:
        """Receipts of the days replayed, each of which was answered, per second."""
        return round(self.receipts / self.seconds) if self.seconds else 0


class Gateway:
    """The gateway as the partners' tills see it: one address, and a token per partner. Made by `reaching`."""

    def __init__(self, http: httpx2.AsyncClient, clients: Mapping[str, TillClient]) -> None:
        self._http = http
        self._clients = clients
        self._tokens: dict[str, tuple[str, float]] = {}
        self._signing_in = {partner: asyncio.Lock() for partner in clients}
        self._turn = asyncio.Semaphore(IN_FLIGHT)

    async def execute(self, partner: str, operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Send one of DOCUMENTS with its input, again where nobody knows what became of it; returns its field's answer.

        Rejects, with DemonstrationError, whatever is neither a success nor a Rejection.
        """
        body = orjson.dumps({
            "query": DOCUMENTS[operation], "operationName": operation, "variables": {"input": given},
        })  # fmt: skip
        async with self._turn:
            response = await self._send(partner, body)
        answer = orjson.loads(response.content)
        if answer.get("errors") or not answer.get("data"):
            raise DemonstrationError(f"The gateway refused {operation}: {_complaint(answer, response)}")
        return dict(next(iter(answer["data"].values())))

    async def _send(self, partner: str, body: bytes) -> httpx2.Response:
        said = ""
        for attempt in range(ATTEMPTS):
            await asyncio.sleep(attempt and 0.1 * 2**attempt)
            headers = {"authorization": f"Bearer {await self._token(partner)}", "content-type": "application/json"}
            try:
                response = await self._http.post("/graphql", content=body, headers=headers)
            except httpx2.TransportError as error:
                said = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == 401:
                self._tokens.pop(partner, None)
            elif response.status_code not in (429, 503):
                return response
            said = f"status {response.status_code}: {response.text[:200]}"
        raise DemonstrationError(f"The gateway did not answer {ATTEMPTS} times, at last with {said}")

    async def _token(self, partner: str) -> str:
        async with self._signing_in[partner]:
            token, good_until = self._tokens.get(partner, ("", 0.0))
            if time.monotonic() < good_until - RENEWED_BEFORE_SECONDS:
                return token
            token, seconds = await sign_in(self._http, self._clients[partner])
            self._tokens[partner] = (token, time.monotonic() + seconds)
            return token


async def sign_in(http: httpx2.AsyncClient, client: TillClient) -> tuple[str, float]:
    """An access token by client credentials, and for how many seconds it is good."""
    basic = b64encode(f"{client.client_id}:{client.secret}".encode()).decode()
    response = await http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "scope": " ".join(scopes.TILL)},
        headers={"authorization": f"Basic {basic}"},
    )
    if response.status_code != 200:
        raise DemonstrationError(
            f"The gateway gave {client.client_id} no token ({response.status_code}: {response.text[:200]}): "
            "start over with --fresh"
        )
    granted = orjson.loads(response.content)
    return str(granted["access_token"]), float(granted["expires_in"])


@asynccontextmanager
async def reaching(address: str, clients: Mapping[str, TillClient]) -> AsyncIterator[Gateway]:
    """The gateway at an address, for the time of a block."""
    limits = httpx2.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=60)
    async with httpx2.AsyncClient(base_url=address, timeout=60, limits=limits, trust_env=False) as http:
        yield Gateway(http, clients)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay of days needs: the gateway, the members' cards, the tally, and how to move the business clock."""

    gateway: Gateway
    cards: Mapping[int, TillCard]
    tally: Tally
    set_clock: Callable[[datetime], Awaitable[None]]

    async def day(self, work: Day) -> None:
        """Replay one day, many requests at once; a household pays with points once the day's other receipts earned.

        So the day ends the same way whatever is answered first.
        """
        at = end_of(work.day)
        await self.set_clock(at)
        started = time.perf_counter()
        sent: list[asyncio.Task[None]] = []
        earning: dict[int, list[asyncio.Task[None]]] = defaultdict(list)
        for number, batch in enumerate(work.batches):
            sent.append(asyncio.create_task(self._batch(number, batch)))
            for household in work.visits.keys() & {one.household for one in batch}:
                earning[household].append(sent[-1])
        for household, visits in work.visits.items():
            sent.append(asyncio.create_task(self._visits(visits, at, after=earning[household])))
        await asyncio.gather(*sent)
        self.tally.seconds += time.perf_counter() - started
        self.tally.receipts += work.receipt_count

    async def _batch(self, number: int, batch: Sequence[Receipt]) -> None:
        answer = await self.gateway.execute(batch[0].partner, "AccrueMany", {
            "idempotencyKey": f"demo-day/{batch[0].day}/{number}",
            "items": [
                {"member": {"cardNumber": self.cards[one.household].number}, "receipt": orjson.Fragment(one.json)}
                for one in batch
            ],
        })  # fmt: skip
        if "code" in answer:
            self.tally.rejected[answer["code"]] += len(batch)
            return
        self.tally.accepted += int(answer["accepted"])
        self.tally.replayed += int(answer["replayed"])
        self.tally.rejected.update(one["code"] for one in answer["results"] if "code" in one)

    async def _visits(
        self, visits: Sequence[Spending | Return], at: datetime, *, after: Sequence[asyncio.Task[None]]
    ) -> None:
        await asyncio.gather(*after)
        for visit in visits:
            if isinstance(visit, Spending):
                await self._spending(visit, at)
            else:
                await self._return(visit, at)

    async def _spending(self, spending: Spending, at: datetime) -> None:
        receipt, card = spending.receipt, self.cards[spending.receipt.household]
        code = proofs.code_for(card.secret, card.reference, proofs.step_at(at) + spending.code_step)
        bought = {
            "idempotencyKey": f"demo-purchase/{receipt.reference}",
            "member": {"cardNumber": card.number},
            "receipt": orjson.Fragment(receipt.json),
        }
        paid = {"redeem": {"points": str(spending.points), "proof": {"cardCode": code}}}
        answer = await self.gateway.execute(receipt.partner, "RecordPurchase", {**bought, **paid})
        if answer.get("code") == "INSUFFICIENT_POINTS":
            self.tally.declined += 1
            bought["idempotencyKey"] = f"demo-earning/{receipt.reference}"
            answer = await self.gateway.execute(receipt.partner, "AccruePoints", bought)
        elif "code" not in answer:
            self.tally.spendings += 1
        self._count(answer)

    async def _return(self, returned: Return, at: datetime) -> None:
        receipt = returned.receipt
        place = {"outlet": receipt.outlet, "terminal": TERMINAL}
        answer = await self.gateway.execute(receipt.partner, "ReturnPurchase", {
            "idempotencyKey": f"demo-return/{receipt.reference}",
            "original": {
                "receipt": {**place, "businessDate": str(receipt.day), "reference": receipt.reference},
            },
            "reference": f"R{receipt.reference}",
            **place,
            "businessDate": str(at.date()),
            "occurredAt": at.isoformat(),
            "what": returned.what,
            "reason": "CHANGED_MIND",
        })  # fmt: skip
        if "code" in answer:
            self.tally.rejected[answer["code"]] += 1
        else:
            self.tally.returns += 1

    def _count(self, answer: Mapping[str, Any]) -> None:
        if "code" in answer:
            self.tally.rejected[answer["code"]] += 1
        elif answer["replayed"]:
            self.tally.replayed += 1
        else:
            self.tally.accepted += 1


async def work_of(journeys: Journeys, seed: int, since: date, until: date) -> AsyncIterator[Day]:
    """The work of the days [since, until), read a week ahead in a thread while the one before is replayed.

    Reading begins earlier than that, because what was bought before may come back now.
    """
    schedule = Schedule(seed)
    start = since - timedelta(days=LONGEST_RETURN_DAYS)
    coming = asyncio.create_task(_week(journeys, schedule, start, until))
    while start < until:
        days = await coming
        start += timedelta(weeks=1)
        coming = asyncio.create_task(_week(journeys, schedule, start, until))
        for work in days:
            if work.day >= since:
                yield work
    await coming


async def _week(journeys: Journeys, schedule: Schedule, start: date, until: date) -> list[Day]:
    upto = min(start + timedelta(weeks=1), until)
    return await asyncio.to_thread(lambda: list(schedule.days(map(as_sold, journeys.receipts(start, upto)))))


def end_of(day: date) -> datetime:
    """The last second of a business day; the demonstration's programme keeps UTC, as its data does."""
    return datetime.combine(day, time_of_day(23, 59, 59), UTC)


def _complaint(answer: Mapping[str, Any], response: httpx2.Response) -> str:
    errors = answer.get("errors") or [{}]
    said = errors[0].get("message") or f"status {response.status_code}"
    return f"{said} (request {response.headers.get('x-request-id', 'without an id')})"
