"""What a draft would have done: cost by funder, winners and losers, budgets that run out on the way."""

from __future__ import annotations

from msgspec.structs import replace

from partners.promotions.basket import Counters
from partners.promotions.evaluation import evaluate
from partners.promotions.releases import EMPTY, Release
from partners.promotions.simulation import Base, Change, Decided, Simulation, simulate
from tests.partners.promotions.offers import CAFE, ROASTER, TERMS, basket, budget, context, line, release, rule

OLD = release(rule("old", {"type": "points_fixed", "points": 20}, what={"categories": ["tea"]}))
NEW = release(
    rule("new", {"type": "points_fixed", "points": 50}, what={"categories": ["coffee"]}, caps=["all"],
         funding=[{"party": "cafe", "bp": 5_000}, {"party": "roaster", "bp": 5_000}]),
    rule("off", {"type": "discount_percent", "rate_bp": 1_000}, what={"categories": ["cake"]}),
    budget("all", limit=80, on_exceed="partial"),
)  # fmt: skip
BOUGHT = [
    ("1", "tea"),
    ("2", "coffee"),
    ("3", "coffee"),
    ("4", "coffee"),
    ("5", "cake"),
    ("6", "bread"),
    ("2", "bread"),
]


def stored(under: Release) -> list[Decided]:
    """Baskets as they were decided under a release."""
    found = []
    for member, category in BOUGHT:
        what, around = basket(line(1, 1_000, category)), context(scopes={"member": member})
        found.append(Decided(what, around, evaluate(under, what, around, Counters())))
    return found


def run(draft: Release, under: Release = OLD, **given: Release) -> Simulation:
    """A simulation over the baskets."""
    return simulate(draft, stored(under), **given)


def test_a_draft_is_told_against_what_was_in_force_by_rule_funder_and_member() -> None:
    told = run(NEW)
    assert told.baskets == 7
    assert told.was.points_by_rule == {"BASE": 350, "old": 20}
    assert told.draft.points_by_rule == {"BASE": 345, "new": 80}
    assert told.draft.applied_by_rule["new"] == 2
    assert told.draft.points_by_funder == {CAFE: 385, ROASTER: 40}
    assert (told.draft.discount_minor, told.draft.discount_by_funder) == (100, {CAFE: 100})
    assert told.obligation_points == 425 - 370
    assert (told.winners, told.losers, told.unchanged) == (3, 1, 2)
    assert told.most_gained == (Change("5", 95), Change("2", 50), Change("3", 30))
    assert told.most_lost == (Change("1", -20),)


def test_budgets_are_used_up_basket_by_basket() -> None:
    assert run(NEW).exhausted == {"all": 2}


def test_a_draft_like_what_was_changes_nothing_for_anybody() -> None:
    told = run(OLD)
    assert (told.was, told.winners, told.losers, told.unchanged) == (told.draft, 0, 0, 6)


def test_two_drafts_can_be_compared_without_what_was_recorded() -> None:
    told = run(NEW, under=OLD, against=EMPTY)
    assert told.was.points_by_rule == {"BASE": 350}


def test_money_of_several_currencies_is_told_in_one() -> None:
    """Where a point is a whole rouble and a euro cent, ten roubles off are ten cents."""
    roubles = replace(TERMS, currency="RUB", point_value_micro=1_000_000)
    draft = release(
        rule("gift", {"type": "points_fixed", "points": 30}),
        rule("off", {"type": "discount_amount", "amount_minor": 1_001}, stack={"priority": 11},
             funding=[{"party": "cafe", "bp": 5_000}, {"party": "roaster", "bp": 5_000}]),
    )  # fmt: skip
    past = []
    for member, terms in (("1", TERMS), ("2", roubles)):
        what = replace(basket(line(1, 10_000)), currency=terms.currency)
        around = context(scopes={"member": member}, terms=replace(terms, earn_rate_bp=0))
        past.append(Decided(what, around, evaluate(EMPTY, what, around, Counters())))
    told = simulate(draft, past, base=Base("EUR", 10_000))
    assert (told.was.worth_minor, told.draft.worth_minor) == (0, 30 + 30)
    assert (told.draft.discount_minor, told.draft.discount_by_rule) == (1_001 + 10, {"off": 1_011})
    assert told.draft.discount_by_funder == {CAFE: 501 + 5, ROASTER: 500 + 5}
    assert told.most_gained == (Change("1", 1_031), Change("2", 40))


def test_progress_is_told_to_the_end_and_nothing_is_no_error() -> None:
    seen: list[int] = []
    simulate(NEW, stored(OLD), progress=seen.append)
    assert seen == [7]
    assert simulate(NEW, []).baskets == 0
