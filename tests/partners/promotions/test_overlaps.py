"""Which rules meet, and how fast budgets are used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from partners.promotions import burning, overlaps
from partners.promotions.documents import RuleDocument
from tests.builders import DAY, NOON
from tests.partners.promotions.market import bonus


def rule(code: str, **given: Any) -> RuleDocument:
    document = orjson.dumps(bonus(code, 5, **given) | {"promotion": f"p-{code}"})
    return RuleDocument.model_validate_json(document)


@pytest.mark.parametrize(
    ("one", "other", "met"),
    [
        ({}, {}, True),
        ({"where": {"partners": ["bakery"]}}, {"where": {"partners": ["grocer"]}}, False),
        ({"where": {"partners": ["bakery"]}}, {"where": {"partners": ["grocer", "bakery"]}}, True),
        ({"where": {"partners": ["bakery"]}}, {"where": {"exclude_partners": ["bakery"]}}, False),
        ({"where": {"exclude_partners": ["bakery"]}}, {"where": {"exclude_partners": ["grocer"]}}, True),
        ({"where": {"outlets": ["bakery:1"]}}, {"where": {"outlets": ["bakery:2"]}}, False),
        ({"where": {"outlets": ["bakery:1"]}}, {"where": {"partners": ["bakery"]}}, True),
        ({"where": {"channels": ["pos"]}}, {"where": {"channels": ["web"]}}, False),
        ({"valid_until": NOON.isoformat()}, {"valid_from": NOON.isoformat()}, False),
    ],
)
def test_two_rules_meet_where_and_when_both_work(one: dict[str, Any], other: dict[str, Any], met: bool) -> None:
    mine, theirs = rule("a", **one), rule("b", **other)
    assert bool(overlaps.found(mine, [theirs])) is met
    assert bool(overlaps.found(theirs, [mine])) is met  # whichever way round
    assert overlaps.found(mine, [mine]) == []  # one promotion's rules are written together


def test_of_an_exclusive_group_the_lower_priority_comes_first() -> None:
    def of(priority: int, *, exclusive: bool, group: str = "g") -> RuleDocument:
        return rule(f"r{priority}", stack={"group": group, "priority": priority, "exclusive": exclusive})

    first, second = of(1, exclusive=True), of(2, exclusive=False)
    assert [one.how for one in overlaps.found(first, [second])] == [overlaps.OUTRANKS]
    assert [one.how for one in overlaps.found(second, [first])] == [overlaps.OUTRANKED]
    assert [one.how for one in overlaps.found(of(1, exclusive=False), [of(2, exclusive=True)])] == [overlaps.ADDS_UP]
    assert [one.how for one in overlaps.found(first, [of(3, exclusive=False, group="")])] == [overlaps.ADDS_UP]


def test_a_budget_runs_out_when_the_rest_is_used_at_the_pace_so_far() -> None:
    found = burning.burn(300, 700, since=NOON, at=NOON + 3 * DAY, ends=None)
    assert (found.per_day, found.runs_out_at) == (100, NOON + 10 * DAY)
    assert burning.burn(300, 700, since=NOON, at=NOON + 3 * DAY, ends=NOON + 10 * DAY).runs_out_at is None
    assert burning.burn(0, 700, since=NOON, at=NOON + DAY, ends=None).runs_out_at is None
    assert burning.burn(7, 0, since=NOON, at=NOON + DAY, ends=None).runs_out_at == NOON + DAY
    assert burning.burn(1, 10**15, since=NOON, at=NOON + DAY, ends=None).runs_out_at is None
    assert burning.burn(1, 10, since=NOON, at=NOON + 2 * DAY, ends=None).per_day == 1  # rounded up


def test_a_period_is_the_calendars_where_the_budget_is() -> None:
    zone, first = "Europe/Chisinau", datetime(2026, 3, 10, tzinfo=UTC)
    at = datetime(2026, 3, 31, 21, 30, tzinfo=UTC)  # half past midnight of the first of April there
    assert burning.begins_at("month", at, zone=zone, first=first) == datetime(2026, 3, 31, 21, tzinfo=UTC)
    assert burning.ends_at("month", at, zone=zone) == datetime(2026, 4, 30, 21, tzinfo=UTC)
    assert burning.begins_at("year", at, zone=zone, first=first) == first
    assert burning.begins_at("total", at, zone=zone, first=first) == first
    assert burning.ends_at("total", at, zone=zone) is None
    for period in ("year", "month", "week", "day"):
        ends = burning.ends_at(period, at, zone=zone)
        assert ends is not None
        assert burning.begins_at(period, at, zone=zone, first=first - 900 * DAY) <= at < ends
        assert burning.begins_at(period, ends, zone=zone, first=first - 900 * DAY) == ends
        assert burning.begins_at(period, ends - timedelta(seconds=1), zone=zone, first=first - 900 * DAY) <= at
