"""A crew of processes that works when it is told: the driver of a peer. Nothing here but the standard library, because
a peer may live in an environment of its own.

Orders come as lines of JSON on standard input and are answered by lines on standard output; the end of input ends it.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

PROCESSES = 4
CALLERS = 4  # in each process: as many together as TPC-B has clients


@dataclass(frozen=True)
class Order:
    """Work for some seconds, at one partner (hot) or at all of them."""

    seconds: int
    hot: bool
    seed: int


@dataclass(frozen=True)
class Yield:
    """Operations done, and the latency of each in ms."""

    done: int
    latencies_ms: list[float]


Work = Callable[[Order], Yield]


def serve(hire: Callable[[], Work]) -> None:
    """Say that it is ready, then carry out orders until there are no more. hire makes a worker, in its own process."""
    context = multiprocessing.get_context("fork")
    crew: list[Connection] = []
    for _ in range(PROCESSES):
        here, there = context.Pipe()
        context.Process(target=_work, args=(hire, there), daemon=True).start()
        crew.append(here)
    _say({"ready": True})
    for line in sys.stdin:
        order = Order(**json.loads(line))
        began = time.perf_counter()
        for number, worker in enumerate(crew):
            worker.send(Order(order.seconds, order.hot, order.seed * PROCESSES + number))
        done = [worker.recv() for worker in crew]
        _say({
            "done": sum(one.done for one in done),
            "seconds": time.perf_counter() - began,
            "latencies_ms": [latency for one in done for latency in one.latencies_ms],
        })  # fmt: skip


def _work(hire: Callable[[], Work], orders: Connection) -> None:
    work = hire()
    with suppress(EOFError):
        while True:
            orders.send(work(orders.recv()))


def _say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def as_line(order: Order) -> bytes:
    """An order as it is sent."""
    return json.dumps(asdict(order)).encode() + b"\n"
