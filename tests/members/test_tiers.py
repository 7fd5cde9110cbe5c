from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from members import tiers
from tests.members.people import AT

RANKS = {"BASE": 0, "SILVER": 1, "GOLD": 2}
points = st.integers(-10_000, 20_000)
instants = st.timedeltas(timedelta(0), timedelta(days=20 * 365)).map(lambda since: AT + since)


@pytest.mark.parametrize(
    ("qualifying", "tier", "to_next"),
    [
        (-5, "BASE", 1_005), (0, "BASE", 1_000), (999, "BASE", 1),
        (1_000, "SILVER", 4_000), (4_999, "SILVER", 1), (5_000, "GOLD", None), (10**12, "GOLD", None),
    ],
)  # fmt: skip
def test_a_tier_begins_at_exactly_its_threshold(qualifying: int, tier: str, to_next: int | None) -> None:
    standing = tiers.qualify(qualifying, at=AT)
    assert (standing.tier, standing.points_to_next) == (tier, to_next)
    assert standing.until == (None if tier == "BASE" else datetime(2027, 3, 1, 12, 0, tzinfo=UTC))


@given(points, points, instants)
def test_more_points_never_mean_a_lower_tier(fewer: int, more: int, at: datetime) -> None:
    fewer, more = sorted((fewer, more))
    assert RANKS[tiers.qualify(fewer, at=at).tier] <= RANKS[tiers.qualify(more, at=at).tier]


@given(points, instants)
def test_the_points_missing_are_exactly_what_is_missing(qualifying: int, at: datetime) -> None:
    standing = tiers.qualify(qualifying, at=at)
    if standing.points_to_next is None:
        assert standing.tier == "GOLD"
    else:
        assert standing.points_to_next > 0
        above = tiers.qualify(qualifying + standing.points_to_next, at=at).tier
        below = tiers.qualify(qualifying + standing.points_to_next - 1, at=at).tier
        assert RANKS[above] == RANKS[standing.tier] + 1
        assert below == standing.tier


@given(st.sampled_from(["BASE", "SILVER", "GOLD"]), instants, st.integers(1, 1_000), points)
def test_a_tier_is_never_lost_before_its_end(tier: str, at: datetime, days: int, qualifying: int) -> None:
    until = None if tier == "BASE" else at + timedelta(days=days)
    change = tiers.reassess(tier, until, qualifying, at=at)
    assert change is None or RANKS[change.tier] > RANKS[tier]


@given(st.sampled_from(["SILVER", "GOLD"]), instants, points)
def test_at_its_end_a_tier_is_decided_again(tier: str, at: datetime, qualifying: int) -> None:
    assert tiers.reassess(tier, at, qualifying, at=at) == tiers.qualify(qualifying, at=at)


@given(instants, st.integers(-60, 60))
def test_months_later_lands_in_the_right_month_on_the_same_day_or_its_last(at: datetime, months: int) -> None:
    later = tiers.months_later(at, months)
    assert (later.year * 12 + later.month) - (at.year * 12 + at.month) == months
    assert later.time() == at.time()
    assert later.day == at.day or (later.day < at.day and (later + timedelta(days=1)).day == 1)


def test_a_leap_day_ends_on_the_last_of_february() -> None:
    assert tiers.months_later(datetime(2028, 2, 29, tzinfo=UTC), 12) == datetime(2029, 2, 28, tzinfo=UTC)
