"""Two sides matched line by line: what was planted is found, once, under its name, and nothing else is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.reconciliation import matching
from settlement.reconciliation.breaks import Category, bucket, business_days_open
from settlement.reconciliation.matching import Break, Item, Match, Tolerance, TooManyDifferences

DAY = date(2026, 3, 31)
NONE = Tolerance()


def item(number: int, **changes: object) -> Item:
    made = Item(number, (f"R-{number:05}", "SALE"), "OUT-1", DAY, 100 + number, 1000 + number, "EUR", f"m{number}",
                10_000, 50, "BOOKED")  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def run(ours: list[Item], theirs: list[Item], tolerance: Tolerance = NONE, on: date = DAY) -> list[Match | Break]:
    def order(line: Item) -> tuple[tuple[str, str], int]:
        return line.key, line.item_no

    return list(matching.reconcile(sorted(ours, key=order), sorted(theirs, key=order), tolerance=tolerance, on=on))


def breaks(found: list[Match | Break]) -> list[Break]:
    return [one for one in found if isinstance(one, Break)]


def test_equal_sides_match_exactly_and_leave_nothing():
    found = run([item(n) for n in range(50)], [item(n) for n in range(50)])
    assert found == [Match("EXACT", (n,), (n,)) for n in range(50)]


PLANTED: list[tuple[Category, Callable[[Item], Item]]] = [
    (Category.QUANTITY, lambda one: replace(one, points=one.points + 1)),
    (Category.AMOUNT, lambda one: replace(one, amount_minor=one.amount_minor + 5)),
    (Category.PRICE, lambda one: replace(one, unit_price_micro=9_999, amount_minor=one.amount_minor - 1)),
    (Category.CURRENCY, lambda one: replace(one, currency="USD")),
    (Category.TAX, lambda one: replace(one, tax_minor=49)),
    (Category.STATUS, lambda one: replace(one, status="REVERSED", points=0)),
    (Category.MAPPING, lambda one: replace(one, outlet="OUT-9")),
    (Category.TIMING, lambda one: replace(one, window=1)),
    (Category.REFERENCE, lambda one: replace(one, key=("X" + one.key[0], one.key[1]))),
]


@pytest.mark.parametrize(("category", "change"), PLANTED, ids=[category.value for category, _ in PLANTED])
def test_each_kind_of_difference_gets_its_name(category, change):
    ours = [item(n) for n in range(20)]
    theirs = [change(one) if one.item_no == 7 else one for one in ours]
    found = run(ours, theirs)
    assert [(one.category, one.ours, one.theirs) for one in breaks(found)] == [(category, (7,), (7,))]
    assert len(found) == 20


def test_what_one_side_lacks_and_what_one_has_twice():
    ours = [item(n) for n in range(10)]
    theirs = [one for one in ours if one.item_no != 3] + [item(20), replace(item(5), item_no=99)]
    found = {(one.category, one.ours, one.theirs) for one in breaks(run(ours, theirs))}
    assert found == {
        (Category.MISSING_THEIRS, (3,), ()),
        (Category.MISSING_OURS, (), (20,)),
        (Category.DUPLICATE, (), (99,)),
    }


def test_what_is_not_due_yet_is_expected_and_no_break_of_the_other_kinds():
    ours = [item(1, due_on=DAY + timedelta(days=2))]
    assert [one.category for one in breaks(run(ours, []))] == [Category.EXPECTED]
    assert [one.category for one in breaks(run(ours, [], on=DAY + timedelta(days=2)))] == [Category.MISSING_THEIRS]


def test_a_tolerance_lets_amounts_and_days_pass_and_never_points():
    theirs = [item(1, amount_minor=1002, business_date=DAY + timedelta(days=1))]
    assert run([item(1)], theirs, Tolerance(1, 1)) == [Match("TOLERANCE", (1,), (1,))]
    assert [one.category for one in breaks(run([item(1)], theirs))] == [Category.AMOUNT]
    far = [item(1, points=102)]
    assert [one.category for one in breaks(run([item(1)], far, Tolerance(10**6, 30)))] == [Category.QUANTITY]


def test_two_receipts_that_the_other_side_has_as_one_are_a_group():
    ours = [item(1, member="m"), item(2, member="m")]
    whole = item(9, member="m", points=203, amount_minor=2003)
    assert run(ours, [whole]) == [Match("GROUPED", (1, 2), (9,))]
    assert run([whole], ours) == [Match("GROUPED", (9,), (1, 2))]
    almost = replace(whole, points=204)
    assert len(breaks(run(ours, [almost]))) == 3


def test_a_near_line_is_suggested_and_left_to_a_person():
    mine, yours = item(1), item(2, points=101, amount_minor=1099, business_date=DAY + timedelta(days=1))
    found = breaks(run([mine], [yours]))
    assert [one.category for one in found] == [Category.MISSING_THEIRS, Category.MISSING_OURS]
    assert {one.suggestion for one in found} == {((1,), (2,))}


def test_neighbouring_windows_are_there_to_be_found_and_are_no_breaks_themselves():
    assert run([item(1, window=-1), item(2, window=1)], []) == []


def test_sides_that_hardly_meet_are_refused(monkeypatch):
    monkeypatch.setattr(matching, "MOST_DIFFERENCES", 10)
    with pytest.raises(TooManyDifferences):
        run([item(n) for n in range(20)], [])


def test_an_unsorted_side_is_a_fault_of_ours():
    with pytest.raises(ValueError, match="not sorted"):
        list(matching.reconcile([item(2), item(1)], [], tolerance=NONE, on=DAY))


changes = st.sampled_from([change for _, change in PLANTED] + [lambda one: one] * 6 + [lambda _: None])


@given(st.lists(changes, max_size=25), st.lists(changes, max_size=25), st.integers(0, 3))
@settings(max_examples=200)
def test_every_line_is_in_one_match_or_break_and_the_differences_are_those_of_the_sides(left, right, cents):
    """The independent account: sums over breaks are the difference of the sums of both sides, whatever was planted."""
    ours = [made for n, change in enumerate(left) if (made := change(item(n))) is not None]
    theirs = [made for n, change in enumerate(right) if (made := change(item(n))) is not None]
    found = run(ours, theirs, Tolerance(cents, 0))
    for side, items in (("ours", ours), ("theirs", theirs)):
        counted = Counter(number for one in found for number in getattr(one, side))
        assert max(counted.values(), default=1) == 1
        missing = [one for one in items if one.item_no not in counted]
        assert all(one.window != 0 for one in missing)
    seen = {side: {n for one in found for n in getattr(one, side)} for side in ("ours", "theirs")}
    points = sum(o.points for o in ours if o.item_no in seen["ours"]) - sum(
        t.points for t in theirs if t.item_no in seen["theirs"]
    )
    assert sum(one.points for one in breaks(found)) == points


@pytest.mark.parametrize(
    ("days", "named"), [(0, "0-1"), (1, "0-1"), (2, "2-5"), (10, "6-10"), (60, "31-60"), (61, "61+"), (400, "61+")]
)
def test_a_break_ages_in_buckets(days, named):
    assert bucket(days) == named


def test_age_counts_business_days_alone():
    friday = date(2026, 4, 3)
    assert business_days_open(friday, friday) == 0
    assert business_days_open(friday, friday + timedelta(days=3)) == 1
    assert business_days_open(friday, friday + timedelta(days=3), is_holiday=lambda day: day == date(2026, 4, 6)) == 0
    assert business_days_open(date(2026, 1, 1), date(2026, 12, 31)) == 260


PARTS = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 500)), min_size=2, max_size=6)


@given(parts=PARTS, off=st.sampled_from([0, 0, 1, -1]), is_ours=st.booleans(), elsewhere=st.booleans())
def test_several_lines_of_one_key_are_one_of_the_other_side_to_the_point_or_not_at_all(parts, off, is_ours, elsewhere):
    def line(number: int, points: int, minor: int) -> Item:
        return item(number, key=("R", "SALE"), points=points, amount_minor=minor, tax_minor=None)

    pieces = [line(n, points, minor) for n, (points, minor) in enumerate(parts, start=10)]
    whole = line(1, sum(p for p, _ in parts) + off, sum(m for _, m in parts))
    if elsewhere:
        whole = replace(whole, outlet="other")
    ours, theirs = (pieces, [whole]) if is_ours else ([whole], pieces)
    found = run(ours, theirs)
    groups = [one for one in found if isinstance(one, Match) and one.stage == "GROUPED"]
    assert bool(groups) == (off == 0 and not elsewhere)
    assert sorted(n for one in found for n in one.ours) == sorted(item.item_no for item in ours)
    assert sorted(n for one in found for n in one.theirs) == sorted(item.item_no for item in theirs)
