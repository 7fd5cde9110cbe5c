"""Returns as a pure decision: any order and number of returns ends where one whole return ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.amounts import allocate
from partners.decisions import earning
from partners.decisions.earning import EarnLine
from partners.returns import returning
from partners.returns.returning import BoughtLine, Takeback, Wish
from tests.builders import NOON, PROGRAMME
from tests.partners.decisions.test_earning import TERMS


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
        left = [line.after(done.line_minor.get(line.line_id, 0)) for line in left]
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
