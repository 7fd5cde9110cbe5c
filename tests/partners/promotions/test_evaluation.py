"""What a basket gets: the worked examples of the design, stacking, caps, and what must hold whatever the rules are."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners import earning
from partners.promotions.basket import (
    Basket, BasketLine, BaseTerms, Context, Counters, Coupon, EarnBase, Event, Local, Member, Outcome, SpendBase, Use,
)  # fmt: skip
from partners.promotions.documents import RuleDocument
from partners.promotions.evaluation import evaluate
from partners.promotions.releases import EMPTY, Release
from partners.terms import Terms
from tests.builders import PROGRAMME
from tests.partners.promotions.offers import (
    CAFE, NOON, ROASTER, TERMS, assert_sums, basket, budget, context, decide, document, group, line, reasons, release,
    rule,
)  # fmt: skip

# --- the agreement alone --------------------------------------------------------------------------------------


amounts = st.integers(0, 10**9)
kinds = st.sampled_from(["GOODS", "SERVICE", "TIP", "GIFT_CARD", "DEPOSIT", "DELIVERY", "FEE"])


@given(
    st.lists(st.tuples(kinds, amounts, st.integers(0, 100)), min_size=1, max_size=8),
    st.integers(0, 5_000), st.sampled_from(["BASE", "GOLD"]), st.integers(0, 400), st.integers(1, 36),
)  # fmt: skip
def test_without_rules_the_outcome_is_the_award_that_the_agreement_always_gave(
    drawn: list[tuple[str, int, int]], rate_bp: int, tier: str, window: int, months: int
) -> None:
    terms = Terms(7, 3, 1, NOON, "EUR", rate_bp, 8_500, 1_500, 8_000, "POOL", window, months, 5_000, "ISSUER_BEARS",
                  {"GOLD": 50})  # fmt: skip
    paid = [amount * share // 100 for _, amount, share in drawn]
    before = earning.evaluate(
        [earning.EarnLine(str(n), kind, amount, paid[n]) for n, (kind, amount, _) in enumerate(drawn)],
        terms=terms, programme=PROGRAMME, tier=tier, occurred_at=NOON,
    )  # fmt: skip
    what = Basket(
        "EUR", tuple(BasketLine(str(n), kind, amount) for n, (kind, amount, _) in enumerate(drawn)),
        points_minor=sum(paid), line_points_minor=tuple(paid),
    )  # fmt: skip
    found = decide(EMPTY, what, context(terms=BaseTerms.signed(terms, PROGRAMME), member=Member(tier=tier)))
    assert found.points == before.points
    assert {part.line_id: part.amount for part in found.line_points} == dict(before.line_points)
    assert [tuple(lot.to_json().values())[1:] for lot in found.lots] == [
        (
            lot.issuer_id,
            lot.funder_id,
            lot.terms_id,
            lot.points,
            lot.activates_at.isoformat(),
            lot.expires_at.isoformat(),
        )
        for lot in before.lots
    ]
    told = {reason.code: reason.points for reason in before.reasons if reason.code in ("BASE", "TIER_BONUS")}
    assert {award.rule: award.points for award in found.awards} == told


# --- the design's worked examples -----------------------------------------------------------------------------


def worked_example() -> tuple[Release, Basket, Context, dict[str, int]]:
    """Oracle A-9: a coupon, the share that points pay, base, tier, and a co-funded campaign under a month's cap."""
    offer = release(
        rule("coffee-20", {"type": "discount_percent", "rate_bp": 2_000}, what={"categories": ["coffee"]},
             codes={"required": "spring"}),
        rule("gold", {"type": "points_multiplier", "factor_bp": 15_000}, who={"tiers": ["GOLD"]},
             stack={"priority": 1}),
        rule("coffee-month", {"type": "points_per_money", "rate_bp": 1_000}, what={"categories": ["coffee"]},
             caps=["month"], funding=[{"party": "cafe", "bp": 7_000}, {"party": "roaster", "bp": 3_000}],
             stack={"priority": 2}),
        budget("month", limit=40, scopes=("member",), period="month", zone="Europe/Moscow", on_exceed="partial"),
    )  # fmt: skip
    what = basket(
        line(1, 500, "coffee", quantity_milli=2_000), line(2, 300, "sandwich"), line(3, 1_000, kind="GIFT_CARD"),
        points=350, points_minor=350,
    )  # fmt: skip
    around = context(
        terms=replace(TERMS, spend=SpendBase(("GIFT_CARD",))), member=Member(tier="GOLD"), available=400,
        coupons=(Coupon("spring", "c1"),),
    )  # fmt: skip
    return offer, what, around, {"month/member:17/2026-03": 15}


def test_the_worked_example_comes_to_forty_points_funded_eleven_and_four() -> None:
    offer, what, around, left = worked_example()
    found = decide(offer, what, around, left)
    assert found.discount_minor == 100
    assert found.spend_limit is not None
    assert (found.spend_limit.points, found.spend_limit.bound_by) == (350, "AGREEMENT_SHARE")
    assert found.line_points_minor == (200, 150, 0)
    assert {award.rule: award.points for award in found.awards} == {"BASE": 17, "gold": 8, "coffee-month": 15}
    assert found.points == 40
    coffee = next(award for award in found.awards if award.rule == "coffee-month")
    assert [(share.party_id, share.amount) for share in coffee.funders] == [(CAFE, 11), (ROASTER, 4)]
    assert [(lot.funder_id, lot.points) for lot in found.lots] == [(CAFE, 36), (ROASTER, 4)]
    step = next(step for step in found.steps if step.rule == "coffee-month")
    assert (step.reason, step.computed, step.awarded, step.limited_by, step.remaining) == (
        "CAPPED",
        20,
        15,
        "month",
        15,
    )
    assert [(one.budget, one.scope_key, one.period_key, one.amount) for one in found.charges] == [
        ("month", "member:17", "2026-03", 15)
    ]
    assert found.uses == (Use("coffee-20", "COUPON", "c1"),)
