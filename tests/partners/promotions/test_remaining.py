"""Returns: what remains is decided again, or goes in proportion; never more comes back than was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from partners.promotions.basket import Basket, Context, Counters, Coupon, Member, Outcome
from partners.promotions.evaluation import evaluate
from partners.promotions.releases import Release
from partners.promotions.remaining import WHOLE, Left, Remaining, Rest, decide, left_of
from tests.partners.promotions.offers import (
    TERMS,
    assert_sums,
    basket,
    budget,
    context,
    group,
    line,
    release,
    rule,
)  # fmt: skip
from tests.partners.promotions.test_evaluation import bought, members, offers

GONE = Left(0, 0)
NONE = Counters()


def back(offer: Release, what: Basket, around: Context, *gone: str, before: Rest = WHOLE,
         original: Outcome | None = None) -> Remaining:  # fmt: skip
    """The return of whole lines."""
    original = original or evaluate(offer, what, around, NONE)
    lines = {**before.lines, **dict.fromkeys(gone, GONE)}
    return decide(offer, what, around, NONE, original=original, left=Rest(lines), before=before)


def test_falling_below_a_threshold_takes_the_bonus_back() -> None:
    offer = release(
        rule("bonus", {"type": "points_fixed", "points": 100}, what={"min_basket_minor": 1_000}, caps=["all"]),
        budget("all"),
    )
    what, around = basket(line(1, 600), line(2, 600)), context()
    found = back(offer, what, around, "2")
    assert (found.take_points, found.outcome.points) == (130, 30)
    assert found.lot_points == {1: 130}
    assert [(one.budget, one.amount) for one in found.charges] == [("all", 100)]
    assert found.refund_minor == 600


def test_a_returned_line_takes_back_what_it_earned_and_not_what_others_did() -> None:
    """Complaint C6: of 70 points 20 were for the returned item, and 35 were taken."""
    offer = release(rule("bonus", {"type": "points_per_money", "rate_bp": 1_250}, what={"categories": ["promo"]}))
    around = context(terms=replace(TERMS, earn_rate_bp=1_000))
    found = back(offer, basket(line(1, 200), line(2, 200, "promo"), line(3, 50)), around, "1")
    assert found.take_points == 20


def test_points_for_the_whole_bill_go_with_the_lines_to_the_last_one() -> None:
    """Complaint C7: what a bill as a whole earned stayed when lines came back."""
    offer, around = release(), context(terms=replace(TERMS, earn_rate_bp=333))
    what = basket(*(line(number, 100) for number in range(3)))
    original = evaluate(offer, what, around, NONE)
    taken, before, held = 0, WHOLE, {lot.lot_no: lot.points for lot in original.lots}
    for number in range(3):
        left = Rest({**before.lines, str(number): GONE})
        found = decide(offer, what, around, NONE, original=original, left=left, before=before, held=held)
        held = {lot: held[lot] - points for lot, points in found.lot_points.items()}
        taken, before = taken + found.take_points, left
    assert taken == original.points == 9
    assert held == {1: 0}


def test_the_rest_is_decided_on_what_budgets_had_left_then() -> None:
    """Half off had no room for 500 and has none for 350: with a full budget the rest would cost the half."""
    offer = release(
        group("one", "FIRST"), budget("fund", unit="money"),
        rule("half", {"type": "discount_percent", "rate_bp": 5_000}, caps=["fund"], stack={"group": "one", "priority": 1}),
        rule("tenth", {"type": "discount_percent", "rate_bp": 1_000}, stack={"group": "one", "priority": 2}),
    )  # fmt: skip
    what, left = basket(line(1, 700), line(2, 300)), Counters({Counters.key("fund", "", ""): 300})
    original = evaluate(offer, what, context(), left)
    assert original.discount_minor == 100
    found = decide(offer, what, context(), left, original=original, left=Rest({"2": GONE}))
    assert (found.outcome.discount_minor, found.refund_minor) == (70, 270)


def test_a_discount_that_is_lost_is_kept_from_the_refund() -> None:
    """Three for the price of two, and one comes back: two remain, which cost two."""
    offer = release(rule("third", {"type": "cheapest_free", "buy": 3}))
    found = back(offer, basket(line(1, 100), line(2, 100), line(3, 100)), context(), "3")
    assert (found.refund_minor, found.discount_minor) == (0, 100)


def test_in_proportion_every_line_keeps_its_part_whatever_the_thresholds_say() -> None:
    offer = release(rule("bonus", {"type": "points_fixed", "points": 100}, what={"min_basket_minor": 1_000}))
    around = context(terms=replace(TERMS, proportional_returns=True))
    what = basket(line(1, 600), line(2, 600))
    found = back(offer, what, around, "2")
    assert (found.take_points, found.outcome.points) == (80, 80)
    assert_sums(found.outcome, what)


def test_in_proportion_budgets_stay_charged_with_what_is_left_of_the_rules_that_count_against_them() -> None:
    """Only the coffee had a bonus: a line beside it that comes back makes no room for another."""
    coffee = {"categories": ["coffee"]}
    offer = release(
        budget("pot"), budget("times", unit="count"), budget("fund", unit="money"), budget("month", period="month"),
        rule("bonus", {"type": "points_fixed", "points": 100}, what=coffee, caps=["pot", "times", "month"]),
        rule("more", {"type": "points_fixed", "points": 60}, caps=["pot"], stack={"priority": 11}),
        rule("off", {"type": "discount_percent", "rate_bp": 1_000}, what=coffee, caps=["fund"]),
        rule("badge", {"type": "grant_badge", "badge": "fan"}, caps=["times"], stack={"priority": 12}),
    )  # fmt: skip
    around = context(terms=replace(TERMS, proportional_returns=True))
    what = basket(line(1, 1_000, "coffee"), line(2, 900, "cake"))
    part = back(offer, what, around, "2")
    assert [(one.budget, one.amount) for one in part.outcome.charges] == [
        ("fund", 100), ("month", 100), ("pot", 130), ("times", 2),
    ]  # fmt: skip
    assert [(one.budget, one.amount) for one in part.charges] == [("pot", 30)]
    assert [(one.budget, one.amount) for one in back(offer, what, around, "1").outcome.charges] == [
        ("pot", 30), ("times", 1),
    ]  # fmt: skip
    assert back(offer, what, around, "1", "2").outcome.charges == ()


def test_a_coupon_and_stamps_come_back_when_nothing_is_left_that_used_them() -> None:
    offer = release(
        rule("off", {"type": "discount_amount", "amount_minor": 50}, codes={"required": "leaf"}),
        rule("free", {"type": "cheapest_free", "buy": 1, "most": 1}, what={"categories": ["coffee"]},
             costs={"unit": "cup", "quantity": 9}, stack={"priority": 2}),
        rule("badge", {"type": "grant_badge", "badge": "first"}, stack={"priority": 3}),
    )  # fmt: skip
    around = context(coupons=(Coupon("leaf", "c1"),), member=Member(stamps={"cup": 9}))
    what = basket(line(1, 300), line(2, 200, "coffee"))
    part = back(offer, what, around, "2")
    assert [use.kind for use in part.uses] == ["STAMP"]
    whole = back(offer, what, around, "1", "2")
    assert [use.kind for use in whole.uses] == ["STAMP", "COUPON"]
    assert [one.kind for one in whole.grants] == ["BADGE"]


def test_a_part_of_a_line_shrinks_amount_and_quantity() -> None:
    assert left_of(line(1, 900, quantity_milli=3_000), 800, 400) == Left(450, 1_500)
    assert left_of(line(1, 900), 800, 800) == Left(0, 0)
    assert left_of(line(1, 900), 0, 0) == Left(900, 1_000)


@given(offers(), bought(), members, st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_returns_in_any_order_take_no_more_than_was_given_and_in_the_end_all_of_it(
    made: tuple[list[object], list[object]], what: Basket, member: Member, data: st.DataObject
) -> None:
    rules, others = made
    proportional = data.draw(st.booleans())
    offer = release(*rules, *others)  # type: ignore[arg-type]
    around = context(member=member, terms=replace(TERMS, proportional_returns=proportional))
    original = evaluate(offer, what, around, NONE)
    held = {lot.lot_no: lot.points for lot in original.lots}
    before, taken, refunded = WHOLE, 0, 0
    for line_id in data.draw(st.permutations([one.line_id for one in what.lines])):
        left = Rest({**before.lines, line_id: GONE})
        found = decide(
            offer, what, around, NONE, original=original, left=left, before=before, held=held, refunded_minor=refunded
        )
        assert all(0 <= points <= held[lot] for lot, points in found.lot_points.items())
        assert found.take_points == sum(found.lot_points.values())
        held = {lot: held[lot] - points for lot, points in found.lot_points.items()}
        assert sum(held.values()) >= 0
        taken, refunded, before = taken + found.take_points, refunded + found.refund_minor, left
    assert taken == original.points
    assert not any(held.values())
    assert refunded == what.total_minor - original.discount_minor


def things(found: Iterable[Any]) -> Counter[tuple[str, str]]:
    """Grants or uses by kind and code."""
    counted: Counter[tuple[str, str]] = Counter()
    for one in found:
        counted[one.kind, one.code] += one.quantity
    return counted


class Returning:
    """Returns of a basket one after the other; what is left, and what each remainder was worth."""

    def __init__(self, offer: Release, what: Basket, around: Context) -> None:
        self.offer, self.what, self.around = offer, what, around
        self.original = evaluate(offer, what, around, NONE)
        self.held = {lot.lot_no: lot.points for lot in self.original.lots}
        self.granted, self.used = things(self.original.grants), things(self.original.uses)
        self.refunded, self.before = 0, WHOLE
        self.worths = [self.original]
        self.costs = [what.total_minor - self.original.discount_minor]

    def back(self, lines: dict[str, Left]) -> Remaining:
        """A return after which so much is left of lines."""
        left = Rest({**self.before.lines, **lines})
        found = decide(
            self.offer, self.what, self.around, NONE, original=self.original, left=left, before=self.before,
            held=self.held, refunded_minor=self.refunded, granted=self.kept(self.original.grants, self.granted),
            used=self.kept(self.original.uses, self.used),
        )  # fmt: skip
        assert all(0 <= points <= self.held[lot] for lot, points in found.lot_points.items())
        self.held = {lot: self.held[lot] - points for lot, points in found.lot_points.items()}
        self.granted.subtract(things(found.grants))
        self.used.subtract(things(found.uses))
        self.refunded, self.before = self.refunded + found.refund_minor, left
        self.worths.append(found.outcome)
        self.costs.append(found.basket.total_minor - found.outcome.discount_minor)
        return found

    @staticmethod
    def kept(original: Iterable[Any], left: Counter[tuple[str, str]]) -> tuple[Any, ...]:
        named = {(one.kind, one.code): one for one in original}
        return tuple(replace(named[key], quantity=quantity) for key, quantity in left.items() if quantity)

    def assert_bound(self) -> None:
        """What is left is the least that any remainder so far was worth, and no more than this one is."""
        assert sum(self.held.values()) == min(worth.points for worth in self.worths)
        assert self.refunded == self.costs[0] - min(self.costs)
        for left, of_each in (
            (self.granted, [things(worth.grants) for worth in self.worths]),
            (self.used, [things(worth.uses) for worth in self.worths]),
        ):
            assert all(left[key] == min(each[key] for each in of_each) for key in of_each[0])


def either() -> list[Any]:
    """Rules of which the first counts: what a remainder is worth falls and rises again as lines come back."""
    parts: list[Any] = [group("one-benefit", "FIRST", priority=300), group("one-gift", "FIRST", priority=301)]
    for number, (category, quantity) in enumerate((("a", 3), ("b", 1), ("c", 2)), start=50):
        parts += [
            rule(f"free-{category}", {"type": "points_fixed", "points": 40 * quantity}, what={"categories": [category]},
                 costs={"unit": "cup", "quantity": quantity}, stack={"group": "one-benefit", "priority": number}),
            rule(f"gift-{category}", {"type": "grant_stamp", "unit": "leaf", "quantity": quantity},
                 what={"categories": [category]}, stack={"group": "one-gift", "priority": number}),
        ]  # fmt: skip
    return parts


def test_points_that_an_earlier_return_took_do_not_come_back_with_a_later_one() -> None:
    """The bound of `assert_bound`, where two returns leave less than one: what was left in between was worth less."""
    what = basket(line(1, 100, "a"), line(2, 100, "b"), line(3, 100, "c"))
    around = context(member=Member(stamps={"cup": 9}))
    at_once, one_by_one = Returning(release(*either()), what, around), Returning(release(*either()), what, around)
    at_once.back({"1": GONE, "2": GONE})
    one_by_one.back({"1": GONE})
    one_by_one.back({"2": GONE})
    for done, points in ((at_once, 85), (one_by_one, 50)):
        done.assert_bound()
        assert (sum(done.held.values()), done.refunded) == (points, 200)
    assert (at_once.used, one_by_one.used) == (Counter({("STAMP", "cup"): 2}), Counter({("STAMP", "cup"): 1}))


@pytest.mark.parametrize("proportional", [False, True])
@given(offers(), bought(), members, st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_returns_in_any_order_and_split_leave_the_least_that_a_remainder_was_worth_and_nothing_in_the_end(
    proportional: bool, made: tuple[list[object], list[object]], what: Basket, member: Member, data: st.DataObject
) -> None:
    rules, others = made
    offer = release(*rules, *others, *either())  # type: ignore[arg-type]
    around = context(member=replace(member, stamps={"cup": 9}), terms=replace(TERMS, proportional_returns=proportional))
    done = Returning(offer, what, around)
    rest = {one.line_id: one.amount_minor for one in what.lines}
    for _ in range(data.draw(st.integers(0, 3))):
        of, share = data.draw(st.sampled_from(sorted(rest))), data.draw(st.integers(0, 3))
        rest[of] = rest[of] * share // 4
        one = next(line for line in what.lines if line.line_id == of)
        done.back({of: left_of(one, one.amount_minor, one.amount_minor - rest[of]) if rest[of] else GONE})
        done.assert_bound()
    done.back({one.line_id: GONE for one in what.lines})
    assert sum(done.held.values()) == 0
    assert done.refunded == done.costs[0]
    assert not any(done.granted.values())
    assert not any(done.used.values())
