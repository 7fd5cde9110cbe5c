"""Where the gateway's processor time goes under a load: by layer, by function, and below the functions that matter."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processor, report, web
from benchmarks.coalition import Crowd
from benchmarks.sampling import Place
from kit import postgres

Stack = tuple[Place, ...]

FUNCTIONS = 25
FILE = "profile.txt"
LOADS = (("accruePoints", 64, 0, 0), ("accrueMany of 100 total-only receipts, per receipt", 4, 100, 0))

# A sample belongs to the first layer whose pattern is found, from the innermost place outwards.
LAYERS: Sequence[tuple[str, str]] = (
    ("structlog: logging", r"/structlog/"),
    ("OAuth: the token", r"/gateway/oauth/|/joserfc/|/cryptography/"),
    ("GraphQL: coercing input", r"/graphql/execution/values\.py|coerce_input_value\.py|validate_input_value\.py"
     r"|/strawberry/types/arguments\.py|/gateway/(gate/coercion|gate/plan_inputs|scalars|inputs)\.py"),
    ("GraphQL: executing and completing", r"/graphql/|/strawberry/|/gateway/gate/plans\.py"),
    ("gateway: admission, allowances, usage", r"/gateway/(usage\w*|gate/(admission|allowances"
     r"|allowance_store|client_rules|shedding|pricing|prepared))\.py"),
    ("gateway: resolvers and answers", r"/gateway/(purchase_api|types|slips|texts|rejections|context|member_api)\.py"
     r"|/babel/"),
    ("gateway: edge, endpoint, routing", r"/gateway/|/starlette/"),
    ("partners: deciding and recording", r"/partners/"),
    ("members: recognising", r"/members/"),
    ("asyncpg", r"/asyncpg/"),
    ("SQLAlchemy", r"/sqlalchemy/"),
    ("kit: lane", r"/kit/lane\.py"),
    ("kit: the rest", r"/kit/"),
    ("ledger", r"/ledger/"),
    ("uvicorn, httptools", r"/uvicorn/|/httptools/"),
    ("asyncio, uvloop", r"/asyncio/|/uvloop/"),
)  # fmt: skip
_COMPILED = [(name, re.compile(pattern)) for name, pattern in LAYERS]
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples of one load, and the processor time of an operation in µs that they are to be shared among."""

    name: str
    stacks: Mapping[Stack, int]
    cpu_us: float

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(self.stacks.values())

    def by_layer(self) -> Counter[str]:
        """Samples by layer."""
        found: Counter[str] = Counter()
        for stack, number in self.stacks.items():
            found[layer_of(stack)] += number
        return found

    def alone(self) -> Counter[Place]:
        """Samples by the function that ran."""
        found: Counter[Place] = Counter()
        for stack, number in self.stacks.items():
            found[stack[0]] += number
        return found

    def below(self) -> Counter[Place]:
        """Samples by every function that ran or waited for what ran."""
        found: Counter[Place] = Counter()
        for stack, number in self.stacks.items():
            for place in set(stack):
                found[place] += number
        return found


def layer_of(stack: Stack) -> str:
    """The layer that a sample belongs to."""
    for file, _, _ in stack:
        for name, pattern in _COMPILED:
            if pattern.search(file):
                return name
    return OTHER


def read(file: Path) -> dict[Stack, int]:
    """The stacks that `sampling` wrote."""
    return {tuple((f, q, n) for f, q, n in stack): number for stack, number in json.loads(file.read_text())}


def text(profiles: Sequence[Profile]) -> str:
    """The profiles as a page of plain text."""
    return "\n\n".join(_one(profile) for profile in profiles) + "\n"


def _one(profile: Profile) -> str:
    head = f"{profile.name}: {profile.cpu_us:.0f} µs of the gateway's processor time each, {profile.samples:,} samples"
    parts = [
        head + "\n" + "=" * len(head),
        "By layer\n" + _lines(profile, profile.by_layer().most_common(), lambda name: name),
        "By function alone\n" + _lines(profile, profile.alone().most_common(FUNCTIONS), _place),
        "By function with what it called\n" + _lines(profile, _ours(profile.below()), _place),
    ]
    return "\n\n".join(parts)


def _ours(below: Counter[Place]) -> list[tuple[Place, int]]:
    return [(place, number) for place, number in below.most_common(120) if "<module>" not in place[1]][: 2 * FUNCTIONS]


def _lines(profile: Profile, counted: Iterable[tuple[Any, int]], name: Callable[[Any], str]) -> str:
    whole = max(1, profile.samples)
    return "\n".join(
        f"{number / whole * profile.cpu_us:8.1f} µs {number / whole:6.1%}  {name(what)}" for what, number in counted
    )


def _place(place: Place) -> str:
    file, function, _ = place
    short = file.partition("site-packages/")[2] or "/".join(Path(file).parts[-2:])
    return f"{function}  ({short})"


async def measure(server: postgres.Server, crowd: Crowd, *, seconds: int, seed: int) -> list[Profile]:
    """Profiles of the gateway under the loads that have a bar, each in a process of its own."""
    return [await _measure(server, crowd, *load, seconds=seconds, seed=seed) for load in LOADS]


async def _measure(
    server: postgres.Server,
    crowd: Crowd,
    name: str,
    connections: int,
    items: int,
    lines: int,
    *,
    seconds: int,
    seed: int,
) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stacks.json")
        async with web.gateway(server, command=("-m", "benchmarks.sampling", str(file))) as served:
            token = await web.token_of(crowd.made, next(iter(crowd.made.callers)), served.port)
            tills = web.tills(
                served.port, token, crowd.cards, connections=connections, items=items, lines=lines, seed=seed
            )
            async with tills as load:
                await load(2)
                os.kill(served.pid, signal.SIGUSR1)
                costs = []
                for _ in range(max(1, seconds // 2)):
                    before = processor.spent_below(served.pid, processor.processes())
                    one = await load(2)
                    spent = processor.spent_below(served.pid, processor.processes()) - before
                    costs.append((spent.user + spent.system) * 1e6 / one.done)
        return Profile(name, read(file), statistics.median(costs))


def store(profiles: Sequence[Profile], folder: Path = report.RESULTS) -> Path:
    """Write the page of text."""
    folder.mkdir(exist_ok=True)
    path = folder / FILE
    path.write_text(text(profiles), encoding="utf-8")
    return path
