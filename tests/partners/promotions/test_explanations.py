"""Why, and why not: every rule with every condition and its value, in three languages, summing to the outcome."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from partners.promotions import texts as words
from partners.promotions.basket import REASONS, Basket, Counters, Coupon, EarnBase, Member
from partners.promotions.evaluation import evaluate
from partners.promotions.explanations import Explanation, explain
from partners.promotions.plain import canonical
from tests.partners.promotions.offers import (
    CAFE,
    ROASTER,
    TERMS,
    basket,
    budget,
    context,
    group,
    line,
    release,
    rule,
    texts,
)
from tests.partners.promotions.test_evaluation import bought, members, offers, worked_example

FIXED = {"type": "points_fixed", "points": 30}


def why(*parts: Any, what: Basket | None = None, left: dict[str, int] | None = None, **around: Any) -> Explanation:
    """The explanation of a decision on one line of tea."""
    return explain(release(*parts), what or basket(line(1, 1_000, "tea")), context(**around), Counters(left or {}))


def test_why_these_points_names_every_rule_its_version_its_reason_and_sums_to_them() -> None:
    """Complaint C14: "why did I get these points?"."""
    offer, what, around, left = worked_example()
    told = explain(offer, what, around, Counters(left))
    assert sum(one.points for one in told.agreed) + sum(
        one.awarded for one in told.rules if one.rule != "coffee-20"
    ) == told.points == 40  # fmt: skip
    coffee = told.why_not("coffee-month")
    assert coffee is not None
    assert (coffee.version, coffee.reason, coffee.computed, coffee.awarded) == (1, "CAPPED", 20, 15)
    assert (coffee.limited_by, coffee.remaining) == ("month", 15)
    assert coffee.sentence["en"] == (
        "coffee-month. Given: points 15 of 20, which is all that the limit month had left."
    )
    assert "15 из 20" in coffee.sentence["ru"]
    assert "15 din 20" in coffee.sentence["ro"]
    agreed = [one.sentence["en"] for one in told.agreed]
    assert agreed == [
        "For what you paid, 3.50 EUR at 5 %. Points: 17.",
        "Earns no points: GIFT_CARD, 10.00 EUR.",
        "What points paid earns no points: 3.50 EUR.",
    ]


def test_all_conditions_are_told_with_their_values_and_not_only_the_first_that_failed() -> None:
    told = why(
        rule("r", FIXED, who={"tiers": ["GOLD"], "counters": [{"counter": "partner.ever.count", "max": 0}]},
             when={"hours": {"start": 8, "end": 12}}, where={"partners": ["cafe"]},
             conditions=[{"id": "two", "label": texts("Two teas"), "cel": 'size(basket.lines.filter(l, l.category == "tea")) >= 2'}]),
        member=Member(counters={"partner.ever.count": 4}),
    ).why_not("r")  # fmt: skip
    assert told is not None
    assert told.reason == "CONDITION_FALSE"
    found = {one.id: (one.state, one.actual) for one in told.conditions}
    assert found == {
        "who.tiers": ("FALSE", "BASE"),
        "who.counters.partner.ever.count": ("FALSE", 4),
        "where.partners": ("OK", "cafe"),
        "when.hours": ("FALSE", 15),
        "two": ("FALSE", {'size(basket.lines.filter(l, l.category == "tea"))': 1}),
    }
    assert told.sentence["en"] == (
        "r. Not given: for level GOLD; it is BASE; earlier purchases: at most 0; there are 4; "
        "hours: 8-12, and it is 15; Two teas."
    )


def test_days_of_the_week_and_spans_are_told_in_words() -> None:
    counted = [{"counter": "partner.ever.count", "min": 1, "max": 3}, {"counter": "partner.ever.sum", "min": 500}]
    told = why(
        rule("r", FIXED, when={"weekdays": [6, 7]}, who={"counters": counted}),
        member=Member(counters={"partner.ever.count": 4, "partner.ever.sum": 1}),
    ).why_not("r")
    assert told is not None
    assert [one.label["en"] for one in told.conditions] == [
        "earlier purchases: 1 to 3; there are 4",
        "bought earlier, in minor units: at least 500; it is 1",
        "on these days: Saturday, Sunday; it is Monday",
    ]
    assert told.conditions[-1].label["ru"] == "в эти дни: суббота, воскресенье; сейчас понедельник"
    assert told.conditions[-1].label["ro"] == "în aceste zile: sâmbătă, duminică; acum este luni"


REASONS_SHOWN: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("APPLIED", [rule("r", FIXED)], {}, "Given: points 30."),
    ("NOT_EFFECTIVE", [rule("r", FIXED, valid_from="2027-01-01T00:00:00Z")], {}, "not in force"),
    ("CODE_REQUIRED", [rule("r", FIXED, codes={"required": "leaf"})], {}, "show the coupon"),
    ("CODE_INVALID", [rule("r", FIXED, codes={"required": "leaf"})], {"coupons": (Coupon("leaf", "c", "USED"),)}, "cannot be used"),
    ("BUDGET_EXHAUSTED", [rule("r", FIXED, caps=["b"]), budget("b", limit=10)], {}, "limit b is used up"),
    ("ZERO_EFFECT", [rule("r", {"type": "points_per_money", "rate_bp": 1}, what={"categories": ["tea"]})], {}, "nothing"),
    ("HOLDOUT", [rule("r", FIXED)], {"arms": {"GLOBAL": "CONTROL"}}, "control group"),
    ("BELOW_THRESHOLD", [rule("r", FIXED, what={"min_basket_minor": 1_250})], {}, "missing 2.50 EUR"),
    ("BELOW_THRESHOLD", [rule("r", FIXED, what={"min_quantity_milli": 2_500})], {}, "missing units 1.5"),
    ("SCOPE_MISSING", [rule("r", FIXED, caps=["b"]), budget("b", scopes=("household",))], {}, "whose limit b"),
    ("STAMPS_SHORT", [rule("r", FIXED, costs={"unit": "cup", "quantity": 9})], {"member": Member(stamps={"cup": 4})}, "takes 9 stamps, and you have 4"),
    ("CONDITION_ERROR", [rule("r", FIXED, conditions=[{"id": "c", "label": texts(), "cel": "1 / 0 == 1"}])], {}, "could not be checked"),
    ("OUTRANKED_BY", [group("g", "BEST"), rule("s", {"type": "points_fixed", "points": 40}, stack={"group": "g", "priority": 1}),
                      rule("r", FIXED, stack={"group": "g", "priority": 2})], {}, "s counts instead"),
    ("EXCLUSIVE_AFTER", [rule("s", FIXED, stack={"priority": 1, "exclusive": True}), rule("r", FIXED)], {}, "s does not go with"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "parts", "around", "says"), REASONS_SHOWN)
def test_every_reason_has_a_sentence(reason: str, parts: list[Any], around: dict[str, Any], says: str) -> None:
    told = why(*parts, what=basket(line(1, 1_000, "tea") if reason != "ZERO_EFFECT" else line(1, 9, "tea")), **around)
    found = told.why_not("r")
    assert found is not None
    assert found.reason == reason
    assert says in found.sentence["en"]
    assert len({found.sentence[language] for language in words.LANGUAGES}) == 3


def test_what_never_earns_by_the_agreement_is_named_with_its_amount() -> None:
    earn = EarnBase(excluded_classes=("tobacco",), excluded_categories=("stamps",))
    told = why(
        what=basket(line(1, 1_000, "tea"), line(2, 250, classes=("new", "tobacco")), line(3, 300, "stamps"),
                    line(4, 400, "stamps", kind="DEPOSIT")),
        terms=replace(TERMS, earn=earn),
    )  # fmt: skip
    assert [(one.reason, one.sentence["en"]) for one in told.agreed] == [
        ("BASE", "For what you paid, 10.00 EUR at 5 %. Points: 50."),
        ("KIND_DOES_NOT_EARN", "Earns no points: DEPOSIT, 4.00 EUR."),
        ("CLASS_DOES_NOT_EARN", "By the agreement earns no points: stamps, tobacco, 5.50 EUR."),
    ]


@pytest.mark.parametrize(
    ("better", "reason"),
    [
        (rule("r", FIXED, caps=["b"], stack={"group": "g", "priority": 2}), "BUDGET_EXHAUSTED"),
        (rule("r", FIXED, caps=["h"], stack={"group": "g", "priority": 2}), "SCOPE_MISSING"),
        (rule("r", FIXED, what={"kinds": ["DEPOSIT"]}, stack={"group": "g", "priority": 2}), "CONDITION_FALSE"),
        (rule("r", {"type": "points_per_money", "rate_bp": 1}, stack={"group": "g", "priority": 2}), "ZERO_EFFECT"),
        (rule("r", {"type": "points_fixed", "points": 19}, stack={"group": "g", "priority": 2}), "OUTRANKED_BY"),
    ],
)
def test_what_could_not_have_been_given_is_not_told_to_be_outranked(better: Any, reason: str) -> None:
    """Thirty points would have been best, had their budget not been used up."""
    worse = rule("s", {"type": "points_fixed", "points": 20}, stack={"group": "g", "priority": 1})
    told = why(
        group("g", "BEST"), worse, better, budget("b", limit=10), budget("h", scopes=("household",)),
        what=basket(line(1, 99, "tea")),
    )  # fmt: skip
    found = told.why_not("r")
    assert found is not None
    assert (found.reason, told.why_not("s").awarded) == (reason, 20)  # type: ignore[union-attr]


def test_who_pays_for_what_is_granted_is_told_too() -> None:
    shares = [{"party": "cafe", "bp": 5_000}, {"party": "roaster", "bp": 5_000}]
    told = why(rule("r", {"type": "grant_coupon", "batch": "next", "quantity": 3}, funding=shares)).why_not("r")
    assert told is not None
    assert [(one.party_id, one.amount) for one in told.funders] == [(CAFE, 2), (ROASTER, 1)]


def test_every_reason_is_shown_and_worded_in_every_language() -> None:
    assert {reason for reason, *_ in REASONS_SHOWN} | {"CAPPED", "CONDITION_FALSE"} == set(REASONS)
    for book in (words.REASON_TEXTS, words.CONDITION_TEXTS, words.WORDS):
        for key, found in book.items():
            assert set(found) == set(words.LANGUAGES), key
    assert set(REASONS) <= set(words.REASON_TEXTS)


def test_a_rule_of_another_partner_says_so_when_asked_about_everywhere() -> None:
    offer = release(rule("far", FIXED, where={"partners": ["roaster"]}))
    what = basket(line(1, 100))
    assert explain(offer, what, context(), Counters()).rules == ()
    (far,) = explain(offer, what, context(), Counters(), everywhere=True).rules
    assert far.reason == "CONDITION_FALSE"
    assert far.sentence["en"] == "far. Not given: at roaster, and this is cafe."


def test_a_member_does_not_read_of_control_groups_errors_and_clubs_of_others() -> None:
    told = why(
        rule("held", FIXED), rule("broken", FIXED, kind="benefit", who={"subscriber": False, "tiers": ["BASE"]},
                                  conditions=[{"id": "c", "label": texts(), "cel": "1 / 0 == 1"}], stack={"priority": 2}),
        rule("club", FIXED, who={"segments": ["vip"]}, visible="eligible", stack={"priority": 3}),
        rule("open", FIXED, who={"segments": ["vip"]}, stack={"priority": 4}), arms={"GLOBAL": "CONTROL"},
    )  # fmt: skip
    assert {one.rule for one in told.rules} == {"held", "broken", "club", "open"}
    assert [one.rule for one in told.for_member().rules] == ["open"]


def test_an_offer_of_a_club_is_shown_to_who_belongs_even_when_something_else_is_missing() -> None:
    offer = rule("club", FIXED, who={"segments": ["vip"]}, visible="eligible", when={"hours": {"start": 1, "end": 2}})
    told = why(offer, member=Member(segments=("vip",)))
    assert [one.rule for one in told.for_member().rules] == ["club"]


@pytest.mark.parametrize(
    "club",
    [
        {"conditions": [{"id": "c", "label": texts(), "cel": '"vip" in member.badges'}]},
        {"conditions": [{"id": "c", "label": texts(), "cel": 'member.tier == "GOLD" && basket.total_minor > 0'}]},
        {"when": {"birthday_window": {"before": 3, "after": 3}}},
    ],
)  # fmt: skip
def test_a_club_is_as_closed_however_its_author_wrote_who_is_in_it(club: dict[str, Any]) -> None:
    told = why(rule("club", FIXED, visible="eligible", **club))
    assert [one.rule for one in told.rules] == ["club"]
    assert told.for_member().rules == ()
    inside = Member(badges=("vip",), tier="GOLD", days_to_birthday=0)
    assert [
        one.rule for one in why(rule("club", FIXED, visible="eligible", **club), member=inside).for_member().rules
    ] == ["club"]


@given(offers(), bought(), members)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_explanation_always_sums_to_the_outcome_and_survives_being_stored(
    made: tuple[list[Any], list[Any]], what: Basket, member: Member
) -> None:
    rules, others = made
    offer, around = release(*rules, *others), context(member=member)
    outcome, told = evaluate(offer, what, around, Counters()), explain(offer, what, around, Counters())
    earns = {one.code for one in rules if one.kind == "earn"}
    given = sum(one.awarded for one in told.rules if one.rule in earns)
    assert sum(one.points for one in told.agreed) + given == outcome.points
    off = {one.code for one in rules if one.kind == "discount"}
    assert sum(one.awarded for one in told.rules if one.rule in off) == outcome.discount_minor
    for one in told.rules:
        if one.rule in earns | off:
            assert sum(share.amount for share in one.funders) == one.awarded
    assert Explanation.from_json(orjson.loads(canonical(told.to_json()))) == told
