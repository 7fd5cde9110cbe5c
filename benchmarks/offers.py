"""Rules for the loads: three candidates at some partners, once such as read nothing and once such as count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.coalition import Crowd
from kit import actors
from partners.promotions import budgets, publishing
from partners.promotions.publishing import Change
from tests.builders import DAY, NOON

_TEXT = {"en": "An offer", "ru": "Предложение", "ro": "O ofertă"}
_BEFORE = NOON - DAY


def _rule(code: str, priority: int, partners: Sequence[str], effect: dict[str, Any], **given: Any) -> dict[str, Any]:
    return {
        "code": code, "promotion": "bench", "kind": "earn", "title": _TEXT, "effect": effect,
        "stack": {"priority": priority}, "funding": [{"party": "HERE", "bp": 10_000}],
        "where": {"partners": list(partners)}, "valid_from": "2026-01-01T00:00:00Z", **given,
    }  # fmt: skip


async def publish(crowd: Crowd, reading_nothing: Sequence[str], counting: Sequence[str]) -> None:
    """Put rules in force at partners: three that look at the receipt alone, and three of which one counts against a
    budget of the member's month and one asks what the member bought this month."""
    fixed = {"type": "points_fixed", "points": 2}
    twice = {"type": "points_multiplier", "factor_bp": 20_000}
    rules = [
        _rule("plain-1", 1, reading_nothing, fixed),
        _rule("plain-2", 2, reading_nothing, twice, when={"hours": {"start": 0, "end": 24}}),
        _rule("plain-3", 3, reading_nothing, fixed, who={"tiers": ["GOLD"]}),
        _rule("count-1", 4, counting, fixed, caps=["bench-month"]),
        _rule("count-2", 5, counting, twice, who={"counters": [{"counter": "coalition.month.count", "min": 3}]}),
        _rule("count-3", 6, counting, fixed, who={"tiers": ["GOLD"]}),
    ]
    async with crowd.made.database.transaction() as connection:
        maker = await actors.ensure_actor(connection, "bench maker", [actors.PROMOTION_MAKER])
        checker = await actors.ensure_actor(connection, "bench checker", [actors.PROMOTION_CHECKER])
        await publishing.add_promotion(connection, code="bench", names=_TEXT, sponsor_id=0, actor=maker, at=_BEFORE)
        budget = {"code": "bench-month", "unit": "points", "scopes": ["member"], "period": "month", "limit": 10**9}
        await budgets.add(connection, source=budget, sponsor_id=0, actor=maker, at=_BEFORE)
        for source in rules:
            await publishing.draft(connection, source=source, author=maker, at=_BEFORE)
        change = Change({source["code"]: None for source in rules})
        release_id = await publishing.submit(connection, change, effective_from=_BEFORE, maker=maker, at=_BEFORE)
        await publishing.approve(connection, release_id, checker=checker, at=_BEFORE)
    await crowd.made.desk.directory.refresh()
