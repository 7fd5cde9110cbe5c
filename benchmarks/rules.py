"""What rules cost: processor time of a decision by the number of candidates, of its hashes, and of a simulation.

No database: what is measured is the pure part, on one core. Figures are the median of repeated runs on this machine,
and mean something beside each other: the first row is the agreement alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from time import process_time, process_time_ns
from typing import Any

from partners.promotions.basket import (
    BaseTerms,
    Basket,
    BasketLine,
    Context,
    Counters,
    Local,
    Member,
    Outcome,
    snapshot_sha256,
)
from partners.promotions.documents import BudgetDocument, RuleDocument, read
from partners.promotions.evaluation import evaluate
from partners.promotions.explanations import explain
from partners.promotions.releases import EMPTY, Release
from partners.promotions.simulation import Decided, simulate

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
REPEATS, RUNS = 9, 200
CATEGORIES = ("coffee", "tea", "bread", "cake")
TERMS = BaseTerms(7, 3, "EUR", 150, 14, 12, 5_000, 10_000, 10_000, {"GOLD": 50})
_WORDS = {"en": "An offer", "ru": "Предложение", "ro": "O ofertă"}


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time of one operation, and how many rules of it gave something."""

    name: str
    micros: int
    applied: int = 0


def measure() -> list[Cost]:
    """Decisions without rules and with up to thirty candidates, one line and twelve; their hashes; an explanation."""
    found = []
    for lines in (1, 12):
        what = basket(lines)
        for candidates in (0, 1, 3, 10, 30):
            offer, around = release(candidates), context()
            outcome = evaluate(offer, what, around, Counters())
            name = f"{candidates} candidate rules, {lines} lines"
            cost = _micros(lambda o=offer, w=what, a=around: evaluate(o, w, a, Counters()))  # type: ignore[misc]
            found.append(Cost(name, cost, len([step for step in outcome.steps if step.reason == "APPLIED"])))
    what, around, thirty = basket(12), context(), release(30)
    outcome = evaluate(release(3), what, around, Counters())
    found.append(Cost("hash of the snapshot, 12 lines", _micros(lambda: snapshot_sha256(what, around, Counters()))))
    found.append(Cost("hash of the outcome, 3 rules", _micros(lambda: outcome.outcome_sha256)))
    found.append(Cost("explanation, 30 rules, 12 lines", _micros(lambda: explain(thirty, what, around, Counters()))))
    return found


def simulated(baskets: int, progress: Callable[[int], None] | None = None) -> tuple[float, int]:
    """Seconds of processor time to simulate ten rules over so many stored baskets, and the points they come to."""
    stored = list(_stored(baskets))
    began = process_time()
    told = simulate(release(10, capped=True), stored, progress=progress)
    return process_time() - began, told.draft.points


def release(rules: int, *, capped: bool = False) -> Release:
    """A release of rules of which about half apply: by tier, category, hours, weekday and an expression each."""
    budgets = (BudgetDocument(code="month", unit="points", limit=5_000, scopes=("member",), period="month"),)
    return (
        Release(1, tuple(_rule(number, capped) for number in range(rules)), (), budgets if capped else (), {})
        if (rules)
        else EMPTY
    )


def _rule(number: int, capped: bool) -> RuleDocument:
    source: dict[str, Any] = {
        "code": f"rule-{number:02}",
        "promotion": "bench",
        "kind": "earn",
        "title": _WORDS,
        "who": {"tiers": ["GOLD", "BASE"] if number % 2 == 0 else ["SILVER", "ELITE"]},
        "what": {"categories": [CATEGORIES[number % len(CATEGORIES)]]},
        "when": {"weekdays": [1, 2, 3, 4, 5], "hours": {"start": 8, "end": 22}},
        "conditions": [{"id": "least", "label": _WORDS, "cel": f"basket.total_minor > {number}"}],
        "effect": {"type": "points_per_money", "rate_bp": 100 + number},
        "stack": {"priority": number},
        "caps": ["month"] if capped else [],
        "funding": [{"party": "HERE", "bp": 7_000}, {"party": "OPERATOR", "bp": 3_000}],
        "valid_from": "2026-01-01T00:00:00Z",
    }
    return read(source)


def basket(lines: int) -> Basket:
    """So many lines over all categories."""
    return Basket(
        "EUR",
        tuple(
            BasketLine(
                str(number), "GOODS", 250 + 10 * number, 1_000, f"sku-{number}", CATEGORIES[number % len(CATEGORIES)]
            )
            for number in range(lines)
        ),
    )


def context(at: datetime = NOON, member: int = 17) -> Context:
    """A member of the lowest tier at a cafe."""
    zone = "Europe/Chisinau"
    return Context(
        at, at, "cafe", "1", zone, Local.at(at, zone), TERMS, member=Member(), scopes={"member": str(member)},
        dates={"UTC": at.date().isoformat()},
    )  # fmt: skip


def _stored(count: int) -> Iterator[Decided]:
    chance = random.Random(17)
    outcome = Outcome()
    for _ in range(count):
        at = NOON + timedelta(minutes=chance.randrange(60 * 24 * 60))
        yield Decided(basket(chance.randint(1, 8)), context(at, chance.randrange(2_000)), outcome)


def _micros(call: Callable[[], object]) -> int:
    call()
    found = []
    for _ in range(REPEATS):
        began = process_time_ns()
        for _ in range(RUNS):
            call()
        found.append((process_time_ns() - began) // RUNS)
    return round(median(found) / 1000)
