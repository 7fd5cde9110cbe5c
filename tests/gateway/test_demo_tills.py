"""The rule by which the demonstration's tills spend points and take purchases back."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import TypeVar

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo import tills
from gateway.demo.data import FIRST_DAY, Receipt
from gateway.demo.tills import Day, Return, Schedule, Spending

Visit = TypeVar("Visit", Spending, Return)

receipts = st.builds(
    lambda day, partner, household, number, cents: a_receipt(
        FIRST_DAY + timedelta(days=day), partner, household, number, cents
    ),
    st.integers(0, 30), st.sampled_from(["bakery", "fuel"]), st.integers(1, 3), st.integers(0, 10**6),
    st.one_of(st.just(0), st.integers(0, 100_000)),
)  # fmt: skip


def a_receipt(day: date, partner: str, household: int, number: int, cents: int) -> Receipt:
    amount = f"{cents // 100}.{cents % 100:02d}"
    lines = [{"lineId": "1", "amount": "0.00"}, {"lineId": "2", "amount": amount}]
    content = orjson.dumps({"reference": str(number), "lines": lines}).decode()
    return Receipt(day, partner, household, 330, str(number), cents, content)


def many(count: int) -> list[Receipt]:
    return [
        a_receipt(FIRST_DAY + timedelta(days=number // 400), "bakery", number % 7, number, 500 + number % 20_000)
        for number in range(count)
    ]


def everything(days: list[Day]) -> list[Receipt]:
    earned = [one for work in days for batch in work.batches for one in batch]
    return earned + [one.receipt for work in days for one in visits(work, Spending)]


def visits(work: Day, kind: type[Visit]) -> list[Visit]:
    return [one for some in work.visits.values() for one in some if isinstance(one, kind)]


@given(receipts, st.integers(0, 5))
def test_points_pay_at_most_half_of_a_bill_and_nothing_of_nothing_comes_back(one: Receipt, seed: int) -> None:
    intended = tills.intention(seed, one)
    assert intended.points_spent in (0, 100, 200, 500)
    assert intended.points_spent * tills.POINT_VALUE_MINOR * 2 <= one.total_minor
    assert 0 <= intended.returned_after_days <= 10
    assert one.total_minor > 0 or intended.returned_after_days == 0


@given(receipts)
def test_the_same_seed_decides_the_same_and_what_returns_is_worth_something(one: Receipt) -> None:
    assert tills.intention(7, one) == tills.intention(7, one)
    if one.total_minor:
        assert tills.what_returns(one, "WHOLE") == {"whole": True}
        assert tills.what_returns(one, "LINE")["lines"][0]["lineId"] == "2"
        assert 0 < float(tills.what_returns(one, "AMOUNT")["amount"]) * 100 <= one.total_minor


def test_about_one_receipt_in_sixty_is_paid_with_points_and_one_in_eighty_returned() -> None:
    intended = [tills.intention(2017, one) for one in many(40_000)]
    assert 0.8 < 60 * sum(one.points_spent > 0 for one in intended) / 40_000 < 1.1
    assert 0.9 < 80 * sum(one.returned_after_days > 0 for one in intended) / 40_000 < 1.1
    assert {one.points_spent for one in intended} == {0, 100, 200, 500}
    assert {one.returned_how for one in intended} == {"WHOLE", "LINE", "AMOUNT"}


def test_another_seed_decides_otherwise() -> None:
    some = many(2_000)
    assert [tills.intention(1, one) for one in some] != [tills.intention(2, one) for one in some]


@given(st.lists(receipts, unique_by=lambda one: one.reference, max_size=60), st.integers(0, 50))
def test_every_receipt_is_sent_exactly_once(some: list[Receipt], seed: int) -> None:
    some.sort(key=lambda one: (one.day, one.partner))
    days = list(Schedule(seed).days(some))
    assert Counter(everything(days)) == Counter(some)
    assert sum(work.receipt_count for work in days) == len(some)
    assert all({one.day for one in batch} == {work.day} for work in days for batch in work.batches)


def test_batches_are_of_one_partner_and_at_most_two_hundred() -> None:
    for work in Schedule(2017).days(many(4_000)):
        assert all(1 <= len(batch) <= 200 and len({one.partner for one in batch}) == 1 for batch in work.batches)
        assert len(work.batches) == 2


def test_a_card_shows_another_code_at_each_of_its_three_purchases_a_day() -> None:
    # Four hundred receipts of one household on one day: more would spend than a card has codes.
    some = [a_receipt(FIRST_DAY, "bakery", 1, number, 10_000) for number in range(400)]
    [work] = Schedule(2017).days(some)
    assert [one.code_step for one in visits(work, Spending)] == [0, -1, 1]
    assert len(everything([work])) == 400


def test_members_spend_more_often_where_they_treat_themselves() -> None:
    treats = [a_receipt(FIRST_DAY, "fish", 1, number, 10_000) for number in range(6_000)]
    assert 0.9 < 3 * sum(tills.intention(2017, one).points_spent > 0 for one in treats) / 6_000 < 1.1


def test_what_was_bought_comes_back_on_its_day_once() -> None:
    some = many(8_000)
    came_back = {
        (one.receipt.reference, work.day) for work in Schedule(2017).days(some) for one in visits(work, Return)
    }
    last = some[-1].day
    expected = {
        (one.reference, one.day + timedelta(days=days))
        for one in some
        if (days := tills.intention(2017, one).returned_after_days) and one.day + timedelta(days=days) <= last
    }
    assert came_back == expected
    assert len(expected) > 30


def test_what_comes_back_on_a_day_without_receipts_comes_back_on_the_next_one() -> None:
    some = [one for one in many(8_000) if one.day.day % 2]
    returned = [one for work in Schedule(2017).days(some) for one in visits(work, Return)]
    due = [one for one in some if tills.intention(2017, one).returned_after_days]
    assert len(returned) > 0.5 * len(due) > 5


def test_a_schedule_that_begins_ten_days_earlier_knows_everything_that_comes_back() -> None:
    some = many(8_000)
    since = FIRST_DAY + timedelta(days=14)
    whole = [work for work in Schedule(2017).days(some) if work.day >= since]
    late = [one for one in some if one.day >= since - timedelta(days=tills.LONGEST_RETURN_DAYS)]
    assert [work for work in Schedule(2017).days(late) if work.day >= since] == whole
