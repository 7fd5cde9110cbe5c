"""The ladder as data: any mix of what a member did, four ways to end, two ways down, never lowered by spending."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from members import tiers
from members.tiers import Activity, Ladder, Step, Way
from tests.members.people import AT

JOINED = datetime(2024, 5, 20, 9, tzinfo=UTC)
MIXED = Ladder(
    (
        Step("FRIEND", (Way(purchases=3), Way(amount_minor=50_000))),
        Step("GOLD", (Way(points=1_000, partners=3), Way(purchases=40, tenure_days=365))),
        Step("ELITE", (Way(points=9_000, amount_minor=1_000_000, partners=5, tenure_days=730),)),
    ),
    version=4,
)  # fmt: skip
activities = st.builds(
    Activity, points=st.integers(-100, 12_000), amount_minor=st.integers(-100, 2_000_000), purchases=st.integers(-2, 60),
    partners=st.integers(0, 8), tenure_days=st.integers(0, 1_000),
)  # fmt: skip
tier_names = st.sampled_from(["BASE", "FRIEND", "GOLD", "ELITE"])


def decide(ladder: Ladder, tier: str, done: Activity, *, until: datetime | None = None, at: datetime = AT):
    return tiers.decide(ladder, tier, until, done, at=at, enrolled_at=JOINED)


@pytest.mark.parametrize(
    ("done", "tier"),
    [
        (Activity(purchases=2, amount_minor=49_999), "BASE"), (Activity(purchases=3), "FRIEND"),
        (Activity(amount_minor=50_000), "FRIEND"), (Activity(points=1_000, partners=2), "BASE"),
        (Activity(points=1_000, partners=3), "GOLD"), (Activity(purchases=40, tenure_days=364), "FRIEND"),
        (Activity(purchases=40, tenure_days=365), "GOLD"),
        (Activity(9_000, 1_000_000, 1, 5, 730), "ELITE"), (Activity(9_000, 1_000_000, 1, 5, 729), "GOLD"),
    ],
)  # fmt: skip
def test_one_way_is_enough_and_takes_all_that_it_names(done: Activity, tier: str) -> None:
    assert MIXED.tier(MIXED.reached(done)) == tier


@given(activities, activities)
def test_more_of_everything_never_reaches_less(one: Activity, more: Activity) -> None:
    both = Activity(*(max(getattr(one, name), getattr(more, name)) for name in tiers.CRITERIA))
    assert MIXED.reached(both) >= max(MIXED.reached(one), MIXED.reached(more))


@given(activities, tier_names)
def test_what_is_missing_is_exactly_what_is_missing(done: Activity, tier: str) -> None:
    standing = tiers.standing_of(MIXED, tier, None, done)
    for missing in standing.ways:
        reached = replace(done, **{name: getattr(done, name) + number for name, number in missing.items()})
        assert MIXED.reached(reached) >= MIXED.rank(tier) + 1
        for name in missing:
            short = replace(reached, **{name: getattr(reached, name) - 1})
            way = MIXED.steps[MIXED.rank(tier)].ways[standing.ways.index(missing)]
            assert way.missing(short)
    assert (standing.points_to_next is None) == (tier == "ELITE")


@given(activities, tier_names, st.integers(1, 1_000))
def test_a_tier_only_rises_before_its_end(done: Activity, tier: str, days: int) -> None:
    change = decide(MIXED, tier, done, until=None if tier == "BASE" else AT + timedelta(days=days))
    assert change is None or MIXED.rank(change.tier) > MIXED.rank(tier)


@given(activities, tier_names.filter(lambda tier: tier != "BASE"))
def test_at_its_end_a_tier_falls_to_what_qualifies_or_by_one_step(done: Activity, tier: str) -> None:
    reached = MIXED.reached(done)
    fallen = decide(MIXED, tier, done, until=AT)
    stepped = decide(replace(MIXED, downgrade=tiers.ONE_STEP), tier, done, until=AT)
    assert fallen is not None
    assert stepped is not None
    assert MIXED.rank(fallen.tier) == reached
    assert MIXED.rank(stepped.tier) == max(reached, MIXED.rank(tier) - 1)


@pytest.mark.parametrize(
    ("expiry", "ends"),
    [
        (tiers.AFTER_MONTHS, "2027-03-01T12:00:00+00:00"),
        (tiers.END_OF_YEAR, "2027-12-31T21:00:00+00:00"),  # midnight in Moscow
        (tiers.ANNIVERSARY, "2027-05-20T09:00:00+00:00"),
        (tiers.FOR_EVER, None),
    ],
)  # fmt: skip
def test_a_tier_ends_as_the_ladder_says(expiry: str, ends: str | None) -> None:
    ladder = replace(MIXED, expiry=expiry, zone="Europe/Moscow")
    change = decide(ladder, "BASE", Activity(purchases=3))
    assert change is not None
    assert change.until == (None if ends is None else datetime.fromisoformat(ends))


@given(st.sampled_from(tiers.EXPIRIES), st.integers(1, 36), st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))
def test_a_tier_lasts_as_long_as_was_promised_at_least(expiry: str, months: int, at: datetime) -> None:
    at = at.replace(tzinfo=UTC)
    until = replace(MIXED, expiry=expiry, months=months).until(1, at=at, enrolled_at=JOINED)
    assert until is None or until >= tiers.months_later(at, months)


def test_a_tier_that_the_ladder_does_not_know_any_more_stays_to_its_end() -> None:
    assert decide(MIXED, "SILVER", Activity(), until=AT + timedelta(days=1)) is None
    over = decide(MIXED, "SILVER", Activity(), until=AT)
    assert over is not None
    assert over.tier == "BASE"


def a_ladder(*names: str) -> Ladder:
    """A ladder of tiers that so many purchases reach: 1, 2, 3..."""
    return Ladder(tuple(Step(name, (Way(purchases=number),)) for number, name in enumerate(names, 1)))


@pytest.mark.parametrize(
    ("before", "now", "kept", "risen"),
    [
        ("FRIEND SILVER GOLD", "FRIEND GOLD", 1, 2),  # taken off: the one below it is no rise, the one above is
        ("FRIEND SILVER", "FRIEND", 1, None),
        ("SILVER GOLD", "GOLD", 0, 1),
        ("FRIEND SILVER GOLD", "FRIEND STAR GOLD", 2, 3),  # another stands where it stood
        ("FRIEND SILVER", "FRIEND STAR ELITE", 2, 3),
        ("BRASS SILVER GOLD", "TIN STAR GOLD", 2, 3),
        ("SILVER", "TIN STAR", 1, 2),
        ("FRIEND SILVER GOLD", "GOLD FRIEND", 2, None),  # the ladder turned round
    ],
)  # fmt: skip
def test_a_tier_that_was_taken_off_never_falls_before_its_end_and_rises_at_once(
    before: str, now: str, kept: int, risen: int | None
) -> None:
    ladder = a_ladder(*now.split()).after([a_ladder(*before.split())])
    until = AT + timedelta(days=1)
    for purchases in range(kept + 1):
        assert decide(ladder, "SILVER", Activity(purchases=purchases), until=until) is None
    if risen is not None:
        higher = decide(ladder, "SILVER", Activity(purchases=risen), until=until)
        assert higher is not None
        assert higher.tier == ladder.tier(risen)
    for purchases in range(len(ladder.steps) + 1):
        over = decide(ladder, "SILVER", Activity(purchases=purchases), until=AT)
        assert over is not None
        assert over.tier == ladder.tier(purchases)


def test_of_several_earlier_ladders_the_latest_that_had_a_tier_says_where_it_stood() -> None:
    ladder = a_ladder("FRIEND", "GOLD").after([a_ladder("FRIEND", "GOLD", "SILVER"), a_ladder("SILVER", "FRIEND")])
    assert decide(ladder, "SILVER", Activity(purchases=2), until=AT + timedelta(days=1)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": (Step("A", (Way(points=1),)), Step("A", (Way(points=2),)))}, {"steps": (Step("A", ()),)},
        {"steps": (Step("A", (Way(),)),)}, {"expiry": "NEVER"}, {"downgrade": "UP"}, {"months": 0},
        {"steps": (Step("BASE", (Way(points=1),)),)},
    ],
)  # fmt: skip
def test_what_makes_no_ladder_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(MIXED, **wrong)  # type: ignore[arg-type]
