"""Overload: what a gateway still does, and for whom, when ten times as much is wanted of it as it can do.

The server (gateway and PostgreSQL) has one core, the callers another. First the capacity: as many callers as keep the
gateway busy, each asking again when it is answered; each kind of request alone, which tells what it costs, then all of
them mixed. Then requests become due at ten times that rate, over as many connections as tills of a large coalition hold
open, and nobody heeds Retry-After. Then the first load again, second by second, until it is as it was.

Goodput is weighed: an answer counts as much as it costs, since who sheds the cheap for the dear answers fewer.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from uuid import uuid4

from benchmarks import figures, processor, web
from benchmarks.coalition import Crowd
from benchmarks.web import Connection, Form
from gateway.context import Viewer
from gateway.schema import schema
from gateway.scopes import SCOPES
from kit import clock, postgres
from members import cards, proofs
from members.cards import IssuedCard

PARTNER = "besieged"
CAPACITY_CALLERS = 64
CAPACITY_SECONDS = 10
NORMAL_SHARE = 0.9
"""Of the capacity: what counts as normal again. A second is short, and the machine itself moves by a tenth."""
MOST_SECONDS_TO_NORMAL = 30

REDEEM = """mutation Redeem($input: RedeemPointsInput!) { redeemPoints(input: $input) { __typename
  ... on RedeemPointsSuccess { replayed transaction { id points } } ... on Rejection { code } } }"""
CANCEL = """mutation Cancel($input: CancelPurchaseInput!) { cancelPurchase(input: $input) { __typename
  ... on CancelPurchaseSuccess { known replayed } ... on Rejection { code } } }"""
READ, EARN, SPEND, UNDO = "reads", "earns", "spends", "undoes"
MIX = {READ: 40, EARN: 40, SPEND: 10, UNDO: 10}
"""Of a hundred requests."""
_MIXED = [kind for kind, number in MIX.items() for _ in range(number)]
_DOCUMENTS = {READ: web.MEMBER, EARN: web.ONE, SPEND: REDEEM, UNDO: CANCEL}


@dataclass(slots=True)
class Tally:
    """What became of the requests of one kind. refused: 503; failed: anything else that is no answer."""

    sent: int = 0
    answered: int = 0
    refused: int = 0
    told_when: int = 0
    failed: int = 0
    latencies_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Kind:
    """What became of the requests of one kind: rank says how late it is shed, 2 the last; latencies of answers."""

    name: str
    rank: int
    sent: int
    answered: int
    refused: int
    told_when: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None

    @property
    def answered_share(self) -> float:
        """Of those that were sent."""
        return self.answered / max(1, self.sent)


@dataclass(frozen=True, slots=True)
class Siege:
    """Everything that was found. Rates are answers a second; due is how many requests became due in the flood; alone is
    the rate of each kind by itself, work the share of a second's capacity that answers were worth: in the mix before
    the flood, and in the flood."""

    capacity: float
    alone: dict[str, float]
    work_before: float
    work: float
    due: int
    seconds: float
    connections: int
    kinds: list[Kind]
    seconds_to_normal: int | None
    normal_p99_ms: float
    audit_violations: int

    @property
    def goodput(self) -> float:
        """Answers a second in the flood."""
        return sum(kind.answered for kind in self.kinds) / self.seconds

    @property
    def share(self) -> float:
        """Goodput of the capacity, weighed by what each kind costs."""
        return self.work / self.work_before

    def content(self) -> dict[str, object]:
        """As it is stored."""
        return {**asdict(self), "goodput": self.goodput, "share": self.share}


@contextmanager
def pinned(server: Sequence[int], core: int, mine: int) -> Iterator[None]:
    """The server's processes, with all that they started, on one core, this process on another; all free afterwards."""
    every = os.sched_getaffinity(0)
    now = processor.processes()
    theirs = [pid for pid in now if any(_is_below(pid, root, now) for root in server)]
    for pid in theirs:
        os.sched_setaffinity(pid, {core})
    os.sched_setaffinity(0, {mine})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)
        for pid in [pid for pid in theirs if pid in processor.processes()]:
            os.sched_setaffinity(pid, every)


def _is_below(pid: int, root: int, among: dict[int, processor.Process]) -> bool:
    while pid in among and pid != root:
        pid = among[pid].parent
    return pid == root


def rank_of(kind: str) -> int:
    """How late the gateway sheds a kind, by the gateway itself."""
    viewer = Viewer(1, "bench", 1, frozenset(SCOPES))
    variables = {"input": {}, "ref": {}}
    _, operation = schema.admit(_DOCUMENTS[kind], None, variables, viewer.scopes)
    return operation.rank


class Callers:
    """Connections that ask a mix of things of one gateway and count what becomes of it."""

    def __init__(self, crowd: Crowd, served: web.Gateway, token: str, seed: int) -> None:
        self._vault = crowd.made.vault
        self._cards = crowd.cards
        self._served = served
        self._token = token
        self._drawn = random.Random(seed)
        self._kinds = _MIXED
        self._spenders = itertools.cycle(self._drawn.sample(crowd.cards, len(crowd.cards)))
        self._recorded: deque[bytes] = deque(maxlen=100_000)
        self._opened: list[Connection] = []
        self._forms = _forms()
        self.tallies = {kind: Tally() for kind in MIX}

    async def open(self, connections: int) -> None:
        """Have so many connections."""
        while len(self._opened) < connections:
            some = min(100, connections - len(self._opened))
            self._opened += await asyncio.gather(
                *(Connection(self._served.port, self._token).open() for _ in range(some))
            )
        self._head = self._opened[0].head("/graphql")

    def close(self) -> None:
        """Hang up."""
        for connection in self._opened:
            connection.close()

    async def ask_again_and_again(
        self, seconds: float, callers: int = CAPACITY_CALLERS, *, kinds: Sequence[str] = ()
    ) -> float:
        """A closed loop of the mix, or of some kinds alone; answers a second."""
        self.tallies = {kind: Tally() for kind in MIX}
        self._kinds = list(kinds) or _MIXED
        began = time.perf_counter()

        async def one(number: int) -> None:
            while time.perf_counter() < began + seconds:
                await self._ask(number)

        await asyncio.gather(*(one(number) for number in range(callers)))
        answered = sum(tally.answered for tally in self.tallies.values())
        return answered / (time.perf_counter() - began)

    async def flood(self, per_second: float, seconds: float) -> float:
        """Requests due at a rate, over all connections; how long it took. One that is due when every connection waits
        for an answer is sent when one is free."""
        self.tallies = {kind: Tally() for kind in MIX}
        self._kinds = _MIXED
        began, due = time.perf_counter(), itertools.count()

        async def one(number: int) -> None:
            while (now := time.perf_counter()) < began + seconds:
                wait = began + next(due) / per_second - now
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._ask(number)

        await asyncio.gather(*(one(number) for number in range(len(self._opened))))
        return time.perf_counter() - began

    async def _ask(self, number: int) -> None:
        kind = self._drawn.choice(self._kinds)
        tally, body, reference = self.tallies[kind], *self._body(kind)
        began = time.perf_counter()
        tally.sent += 1
        try:
            status, head, answer = await self._opened[number].answer(self._head, body)
        except OSError:
            tally.failed += 1
            self._opened[number] = await Connection(self._served.port, self._token).open()
            return
        if status == 503:
            tally.refused += 1
            tally.told_when += b"\r\nretry-after: " in head.lower()
        elif status != 200 or b'"errors"' in answer or b'"BUSY"' in answer:
            tally.failed += 1
        else:
            tally.answered += 1
            tally.latencies_ms.append((time.perf_counter() - began) * 1000)
            if kind == EARN:
                self._recorded.append(reference)

    def _body(self, kind: str) -> tuple[bytes, bytes]:
        """A request of a kind, and its reference. Where nothing was recorded yet, what is undone never came."""
        key = uuid4().hex.encode()
        form, card = self._forms[kind], self._drawn.choice(self._cards).number.encode()
        if kind == READ:
            return form.filled(card), key
        if kind == SPEND:
            spender = next(self._spenders)
            return form.filled(key, spender.number.encode(), key, self._code(spender)), key
        if kind == UNDO:
            return form.filled(key, self._recorded.popleft() if self._recorded else key), key
        return form.filled(key, card, key), key

    def _code(self, card: IssuedCard) -> bytes:
        step = proofs.step_at(clock.wall())
        return proofs.code_for(card.secret, cards.ref(self._vault, card.card_id), step).encode()


def _forms() -> dict[str, Form]:
    now = clock.wall()
    place = {"outlet": "1", "terminal": "1", "businessDate": now.date().isoformat()}
    redeem = {
        "idempotencyKey": web.KEY, "member": {"cardNumber": web.CARD}, "reference": web.REFERENCE, **place,
        "occurredAt": now.isoformat(), "points": "1", "proof": {"cardCode": "@code"},
    }  # fmt: skip
    cancel = {"idempotencyKey": web.KEY, "receipt": {"reference": web.REFERENCE, **place}}
    earn, _ = web.forms_of(0, 0)
    return {
        READ: Form.of({"query": web.MEMBER, "variables": {"ref": {"cardNumber": web.CARD}}}, web.CARD),
        EARN: earn,
        SPEND: Form.of({"query": REDEEM, "variables": {"input": redeem}}, web.KEY, web.CARD, web.REFERENCE, "@code"),
        UNDO: Form.of({"query": CANCEL, "variables": {"input": cancel}}, web.KEY, web.REFERENCE),
    }


async def measure(
    server: postgres.Server, crowd: Crowd, *, seconds: int, times: int, connections: int, seed: int
) -> Siege:
    """Besiege a gateway for some seconds with so many times its capacity. Raises RuntimeError on a machine of one
    core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("this takes two cores: one for the server, one for the callers")
    postmaster = int((server.data_folder / "postmaster.pid").read_text().split("\n")[0])
    async with web.gateway(server) as served:
        token = await web.token_of(crowd.made, PARTNER, served.port)
        with pinned([postmaster, served.pid], cores[0], cores[1]):
            callers = Callers(crowd, served, token, seed)
            await callers.open(CAPACITY_CALLERS)
            await callers.ask_again_and_again(3)
            alone = {kind: await callers.ask_again_and_again(4, kinds=[kind]) for kind in MIX}
            capacity = await callers.ask_again_and_again(CAPACITY_SECONDS)
            work_before = _work(callers.tallies, alone) / CAPACITY_SECONDS
            latencies = sorted(ms for tally in callers.tallies.values() for ms in tally.latencies_ms)
            normal_p99_ms = figures.percentile(latencies, 0.99) or 0.0
            await callers.open(connections)
            took = await callers.flood(capacity * times, seconds)
            work = _work(callers.tallies, alone) / took
            kinds = [_kind(kind, tally) for kind, tally in callers.tallies.items()]
            to_normal = await _seconds_to_normal(callers, capacity, normal_p99_ms)
            callers.close()
    violations: int = await crowd.pool.fetchval("SELECT count(*) FROM ledger.audit()", timeout=600)
    due = round(capacity * times * seconds)
    return Siege(
        capacity, alone, work_before, work, due, took, connections, kinds, to_normal, normal_p99_ms, violations
    )


def _work(tallies: Mapping[str, Tally], alone: Mapping[str, float]) -> float:
    """How many seconds the answers would have taken, each kind by itself."""
    return sum(tally.answered / max(alone[kind], 1e-9) for kind, tally in tallies.items())


def _kind(name: str, tally: Tally) -> Kind:
    latencies = sorted(tally.latencies_ms)
    return Kind(
        name, rank_of(name), tally.sent, tally.answered, tally.refused, tally.told_when, tally.failed,
        figures.percentile(latencies, 0.5), figures.percentile(latencies, 0.99),
    )  # fmt: skip


async def _seconds_to_normal(callers: Callers, capacity: float, normal_p99_ms: float) -> int | None:
    """After how many whole seconds a second was normal: nearly the rate before, nothing refused, latencies at most
    doubled. None where none was."""
    for second in range(1, MOST_SECONDS_TO_NORMAL + 1):
        rate = await callers.ask_again_and_again(1)
        refused = sum(tally.refused + tally.failed for tally in callers.tallies.values())
        latencies = sorted(ms for tally in callers.tallies.values() for ms in tally.latencies_ms)
        p99_ms = figures.percentile(latencies, 0.99) or 0.0
        if rate >= NORMAL_SHARE * capacity and not refused and p99_ms <= 2 * normal_p99_ms:
            return second
    return None
