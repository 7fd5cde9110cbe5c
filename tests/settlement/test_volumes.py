"""Volume periods: tiers that add up however a period is cut, rebates, and the minimum."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.terms import SettlementTerms, VolumeRebate, VolumeTier
from settlement import volumes
from settlement.volumes import PeriodLine, Volume

TIERS = (VolumeTier(0, 10), VolumeTier(1_000, 100), VolumeTier(5_000, 250))
REBATES = (VolumeRebate(1_000, 500), VolumeRebate(10_000, 1_000))


def terms(**more: object) -> SettlementTerms:
    return SettlementTerms(1, 1, 1, datetime(2026, 1, 1, tzinfo=UTC), "EUR", **more)  # type: ignore[arg-type]


steps = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 500)), unique_by=lambda s: s[0], max_size=5).map(
    lambda found: tuple(VolumeTier(*step) for step in sorted(found))
)


@given(steps, st.lists(st.integers(0, 5_000), max_size=8))
def test_however_a_period_is_cut_the_parts_sum_to_the_whole(tiers: tuple[VolumeTier, ...], parts: list[int]) -> None:
    given_so_far, before = 0, 0
    for points in parts:
        given_so_far += volumes.tier_rebate(tiers, before=before, points=points)
        before += points
    assert given_so_far == volumes.tier_rebate(tiers, before=0, points=before)


@given(steps, st.integers(0, 20_000))
def test_the_rebate_of_tiers_is_that_of_each_point_alone(tiers: tuple[VolumeTier, ...], points: int) -> None:
    points %= 3_000
    one_by_one = sum(
        max((tier for tier in tiers if tier.above_points < number), key=lambda t: t.above_points, default=VolumeTier(0, 0))
        .rebate_micro
        for number in range(1, points + 1)
    )  # fmt: skip
    assert volumes.tier_rebate(tiers, before=0, points=points) == one_by_one


@given(steps, st.integers(0, 9_000), st.integers(0, 9_000))
def test_what_is_given_back_takes_its_rebate_back(tiers: tuple[VolumeTier, ...], before: int, points: int) -> None:
    forth = volumes.tier_rebate(tiers, before=before, points=points)
    assert volumes.tier_rebate(tiers, before=before + points, points=-points) == -forth


def test_only_points_above_a_step_cost_less() -> None:
    assert volumes.tier_rebate(TIERS, before=0, points=1_000) == 10_000
    assert volumes.tier_rebate(TIERS, before=900, points=200) == 100 * 10 + 100 * 100
    assert volumes.tier_rebate(TIERS, before=4_999, points=2) == 100 + 250


def test_whoever_reached_a_step_gets_a_share_of_all_of_it_back() -> None:
    assert volumes.volume_rebate(REBATES, points=999, service_micro=10**6) == 0
    assert volumes.volume_rebate(REBATES, points=1_000, service_micro=10**6) == 50_000
    assert volumes.volume_rebate(REBATES, points=10_000, service_micro=10**6) == 100_000
    assert volumes.volume_rebate(REBATES, points=10_000, service_micro=-5) == 0
    assert volumes.volume_rebate((), points=10_000, service_micro=5) == 0


def test_the_lines_of_the_design_a_platform_fee_and_what_is_missing_of_the_minimum() -> None:
    signed = terms(platform_fee_micro=50_000_000, minimum_fee_micro=60_000_000)
    found = volumes.lines(signed, Volume(0, 1_000, 1_500_000, months=1, is_over=True))
    assert found == [PeriodLine("PLATFORM_FEE", -50_000_000), PeriodLine("MINIMUM_FEE", -8_500_000)]


def test_the_minimum_is_asked_for_once_the_period_is_over_and_after_rebates() -> None:
    signed = terms(minimum_fee_micro=2_000, volume_tiers=TIERS, volume_rebates=REBATES)
    early = volumes.lines(signed, Volume(0, 1_000, 1_500))
    assert early == [PeriodLine("TIER_REBATE", 10_000)]
    late = volumes.lines(signed, Volume(1_000, 0, 12_500, is_over=True))
    rebate = 12_500 * 500 // 10_000
    assert late == [
        PeriodLine("VOLUME_REBATE", rebate),
        PeriodLine("MINIMUM_FEE", -(2_000 - (12_500 - 10_000 - rebate))),
    ]


@pytest.mark.parametrize(
    ("day", "kind", "bounds"),
    [
        (date(2026, 3, 31), "MONTH", (date(2026, 3, 1), date(2026, 4, 1))),
        (date(2026, 12, 31), "MONTH", (date(2026, 12, 1), date(2027, 1, 1))),
        (date(2026, 11, 5), "QUARTER", (date(2026, 10, 1), date(2027, 1, 1))),
        (date(2026, 1, 1), "YEAR", (date(2026, 1, 1), date(2027, 1, 1))),
    ],
)
def test_where_a_period_begins_and_ends(day: date, kind: str, bounds: tuple[date, date]) -> None:
    assert volumes.period_of(day, kind) == bounds


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.sampled_from(["MONTH", "QUARTER", "YEAR"]))
def test_periods_follow_each_other_without_a_gap(day: date, kind: str) -> None:
    begin, end = volumes.period_of(day, kind)
    assert begin <= day < end
    assert volumes.period_of(end, kind)[0] == end
    assert volumes.period_of(end - timedelta(days=1), kind)[0] == begin
