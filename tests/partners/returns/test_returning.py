"""Returns as a pure decision: any order and number of returns ends where one whole return ends."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kit.amounts import allocate
from partners.decisions import earning
from partners.decisions.decisions import Basis, Decided, owed_of
from partners.decisions.earning import EarnLine
from partners.promotions.basket import Basket, Counters, Member
from partners.promotions.evaluation import evaluate
from partners.receipts.records import BudgetCharge
from partners.returns import returning
from partners.returns.returning import BoughtLine, GivenBack, Takeback, Wish
from tests.builders import NOON, PROGRAMME
from tests.partners.decisions.test_earning import TERMS
from tests.partners.promotions.offers import TERMS as RULED
from tests.partners.promotions.offers import basket, context, line, release, rule
from tests.partners.promotions.test_evaluation import bought, offers
from tests.partners.promotions.test_remaining import either


@st.composite
def purchases(draw: st.DrawFn) -> list[BoughtLine]:
    sums = draw(st.lists(st.integers(0, 50_000), min_size=1, max_size=5))
    paid = allocate(draw(st.integers(0, sum(sums) // 2)), sums)
    kinds = [draw(st.sampled_from(["GOODS", "GOODS", "TIP"])) for _ in sums]
    return [
        BoughtLine(str(number), kind, amount, points, points)
        for number, (kind, amount, points) in enumerate(zip(kinds, sums, paid, strict=True))
    ]


def awarded(lines: list[BoughtLine]) -> dict[int, int]:
    award = earning.evaluate(
        [EarnLine(line.line_id, line.kind, line.amount_minor, line.paid_minor) for line in lines],
        terms=TERMS, programme=PROGRAMME, tier="BASE", occurred_at=NOON,
    )  # fmt: skip
    return {lot.lot_no: lot.points for lot in award.lots}


def decide(lines: list[BoughtLine], wish: Wish, lots: dict[int, int]) -> Takeback:
    return returning.decide(
        lines, wish, lot_points=lots, terms=TERMS, programme=PROGRAMME, tier="BASE", occurred_at=NOON
    )


@settings(max_examples=200)
@given(purchases(), st.integers(0, 10**6))
def test_any_sequence_of_returns_takes_and_gives_exactly_what_one_whole_return_does(
    lines: list[BoughtLine], seed: int
) -> None:
    whole = decide(lines, Wish(), awarded(lines))
    dice, left, lots = random.Random(seed), lines, awarded(lines)
    taken = refunded = money = 0
    for _ in range(4):
        rest = sum(line.left_minor for line in left)
        wish = Wish(amount_minor=dice.randint(1, rest)) if rest and dice.random() < 0.7 else Wish(even_nothing=True)
        done = decide(left, wish, lots)
        taken, refunded, money = (
            taken + done.take_points,
            refunded + done.refund_points,
            money + done.refund_money_minor,
        )
        left = [line.after(done.line_minor.get(line.line_id)) for line in left]
        lots = {lot_no: points - done.lot_points[lot_no] for lot_no, points in lots.items()}
        assert min(done.take_points, done.refund_points, done.refund_money_minor) >= 0
        if wish.amount_minor is None:
            break
    if any(line.left_minor for line in left):
        done = decide(left, Wish(), lots)
        taken, refunded, money = (
            taken + done.take_points,
            refunded + done.refund_points,
            money + done.refund_money_minor,
        )
    assert (taken, refunded, money) == (whole.take_points, whole.refund_points, whole.refund_money_minor)
    assert (taken, refunded) == (sum(awarded(lines).values()), sum(line.paid_points for line in lines))


@given(purchases())
def test_what_remains_is_worth_exactly_what_it_would_have_earned_alone(lines: list[BoughtLine]) -> None:
    named = {lines[0].line_id: None}
    done = decide(lines, Wish(lines=named), awarded(lines))
    rest = lines[1:]
    assert done.left_points == sum(awarded(rest).values() if rest else [0])


def test_wrong_wishes_are_refused() -> None:
    lines = [BoughtLine("1", "GOODS", 1_000, 0, 0, returned_minor=600)]
    for wish, no in (
        (Wish(lines={"2": None}), returning.LineUnknown),
        (Wish(lines={"1": 401}), returning.LineAlreadyReturned),
        (Wish(lines={"1": -1}), returning.ReturnEmpty),
        (Wish(lines={}), returning.ReturnEmpty),
        (Wish(amount_minor=401), returning.ReturnExceedsOriginal),
        (Wish(amount_minor=0), returning.ReturnEmpty),
    ):
        with pytest.raises(no):
            decide(lines, wish, {1: 15})


@pytest.mark.parametrize("proportional", [False, True])
@given(offers(), bought(), st.integers(0, 10**6))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_of_returns_of_what_rules_decided_ends_where_one_whole_return_does(
    proportional: bool, made: tuple[list[object], list[object]], what: Basket, seed: int
) -> None:
    """Points, money, charges of budgets, debts between parties, grants and uses; in between no more is left of any than
    the rest deserves."""
    rules, others = made
    offer = release(*rules, *others, *either())  # type: ignore[arg-type]
    around = context(
        member=Member(stamps={"cup": 9}), terms=replace(RULED, proportional_returns=proportional),
    )  # fmt: skip
    outcome = evaluate(offer, what, around, Counters())
    decided = Decided(Basis(offer, around, Counters()), what, outcome)
    off = Counter[str]()
    for discount in outcome.discounts:
        off[discount.line_id] += discount.amount_minor
    paid = outcome.line_points_minor or (0,) * len(what.lines)
    left = [
        BoughtLine(one.line_id, one.kind, one.amount_minor - off[one.line_id], points, points)
        for one, points in zip(what.lines, paid, strict=True)
    ]
    charges = tuple(BudgetCharge(1, one.budget, one.scope_key, one.period_key, one.amount) for one in outcome.charges)
    rest = GivenBack(charges, owed_of(outcome, offer, around.terms), outcome.grants, outcome.uses)
    lots = {lot.lot_no: lot.points for lot in outcome.lots}
    dice, money, spent = random.Random(seed), 0, 0
    for number in range(4):
        some = sum(line.left_minor for line in left)
        wish = Wish(even_nothing=True)
        if number < 3:
            if not some:
                continue
            wish = (
                Wish(amount_minor=dice.randint(1, some))
                if dice.random() < 0.5
                else Wish(lines={dice.choice([line.line_id for line in left if line.left_minor]): None})
            )
        done = returning.decide_by_rules(left, wish, lot_points=lots, decided=decided, left=rest, refunded_minor=money)
        lots = {lot: lots[lot] - points for lot, points in done.lot_points.items()}
        money, spent = money + done.refund_money_minor, spent + done.refund_points_minor
        left = [line.after(done.line_minor.get(line.line_id)) for line in left]
        rest = less(rest, done.given_back)
        assert all(points >= 0 for points in lots.values())
        assert sum(lots.values()) <= done.left_points
    assert (sum(lots.values()), rest) == (0, GivenBack())
    assert money + spent == what.total_minor - outcome.discount_minor
    assert spent == sum(paid)


def less(had: GivenBack, gone: GivenBack) -> GivenBack:
    """What is left; taking more than there was is an error."""

    def minus(have: Sequence[Any], take: Sequence[Any], key: Callable[[Any], object], size: str) -> tuple[Any, ...]:
        amounts = Counter[object]()
        for one in take:
            amounts[key(one)] += getattr(one, size)
        found = []
        for one in have:
            cut = min(amounts[key(one)], getattr(one, size))
            amounts[key(one)] -= cut
            rest = getattr(one, size) - cut
            found += [dataclasses.replace(one, **{size: rest})] if rest and dataclasses.is_dataclass(one) else []
            found += [replace(one, **{size: rest})] if rest and not dataclasses.is_dataclass(one) else []
        assert not any(amounts.values())
        return tuple(found)

    def thing(one: Any) -> object:
        return one.kind, one.code

    return GivenBack(
        minus(had.charges, gone.charges, lambda one: (one.code, one.scope_key, one.period_key), "amount"),
        minus(had.owed, gone.owed, lambda one: (one.rule, one.payer_id, one.kind), "amount_minor"),
        minus(had.grants, gone.grants, thing, "quantity"),
        minus(had.uses, gone.uses, thing, "quantity"),
    )


def test_what_points_paid_comes_back_as_points_and_not_as_money_too() -> None:
    """A discount leaves two cents, which points paid; when half comes back the rest costs nothing under the rules."""
    offer = release(rule("off", {"type": "discount_amount", "amount_minor": 137}))
    what, around = basket(line(1, 139), points=2, points_minor=2), context()
    outcome = evaluate(offer, what, around, Counters())
    decided = Decided(Basis(offer, around, Counters()), what, outcome)
    assert outcome.line_points_minor == (2,)
    bought_line, money, points = BoughtLine("1", "GOODS", 2, 2, 2), 0, 0
    for _ in range(2):
        done = returning.decide_by_rules(
            [bought_line], Wish(amount_minor=1), lot_points={}, decided=decided, left=GivenBack(), refunded_minor=money
        )
        money, points = money + done.refund_money_minor, points + done.refund_points
        bought_line = bought_line.after(1)
    assert (money, points) == (0, 2)
