"""What has to be read before rules can decide: all that they name, found in their sources, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import fields

from partners.promotions.basket import Member
from partners.promotions.compiling import book
from partners.promotions.expressions import EVERYTHING
from partners.promotions.shelf import Needs, Shelf, needs_of
from tests.partners.promotions.offers import budget, release, rule, texts

POINTS: dict[str, Any] = {"type": "points_fixed", "points": 5}
OF_MEMBER = frozenset(part.name for part in fields(Member)) - {"tier"}


def needs(effect: dict[str, Any] = POINTS, **given: Any) -> Needs:
    """What one rule needs, with the budgets of its caps."""
    caps = [budget(code, scopes=(code,)) for code in given.get("caps", ())]
    return needs_of(book(release(rule("r", effect, **given), *caps)).rules)


def own(cel: str) -> list[dict[str, Any]]:
    return [{"id": "own", "label": texts(), "cel": cel}]


# A condition on every field of a member that an expression may speak of, and which field of Member it is made of.
CONDITIONS = {
    "plan": ("member.plan == 'PLUS'", "plan"), "subscriber": ("member.subscriber", "plan"),
    "benefits": ("'x' in member.benefits", "benefits"), "segments": ("'x' in member.segments", "segments"),
    "attributes": ("'x' in member.attributes", "attributes"), "badges": ("'x' in member.badges", "badges"),
    "age_days": ("member.age_days > 3", "age_days"), "enrolled_here": ("member.enrolled_here", "enrolled_here"),
    "in_household": ("member.in_household", "in_household"),
    "has_birthday": ("member.has_birthday", "days_to_birthday"),
    "days_to_birthday": ("member.days_to_birthday == 0", "days_to_birthday"),
    "counters": ("member.counters['coalition.month.count'] > 3", "counters"),
    "stamps": ("member.stamps['coffee'] > 3", "stamps"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(EVERYTHING["member"]) - {"tier"}))
def test_whatever_a_condition_names_of_the_member_is_read(name: str) -> None:
    cel, field = CONDITIONS[name]
    found = needs(conditions=own(cel))
    assert found.fields == {field} <= OF_MEMBER
    assert found.counters == ({"coalition.month.count"} if name == "counters" else set())
    assert found.account == (name in ("counters", "stamps"))
    hidden = needs(conditions=own(f"[member].exists(m, {cel.replace('member.', 'm.')})"))
    assert found.fields <= hidden.fields
    in_lines = needs(what={"line_cel": f"l.amount_minor > 0 && {cel}"})
    assert found.fields <= in_lines.fields


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, set()), ({"who": {"tiers": ["GOLD"]}}, set()), ({"when": {"hours": {"start": 8, "end": 12}}}, set()),
        ({"what": {"categories": ["member.segments"]}}, set()), ({"caps": ["member"]}, set()),
        ({"who": {"segments": ["x"], "tiers": ["GOLD"]}}, {"segments"}),
        ({"who": {"exclude_segments": ["x"]}}, {"segments"}), ({"who": {"plans": ["PLUS"]}}, {"plan"}),
        ({"when": {"birthday_window": {"before": 3, "after": 3}}}, {"days_to_birthday"}),
        ({"caps": ["household"]}, {"in_household"}),
        ({"costs": {"unit": "coffee", "quantity": 10}}, {"stamps"}),
    ],
)  # fmt: skip
def test_what_stands_elsewhere_in_a_rule_is_read_too(given: dict[str, Any], fields: set[str]) -> None:
    found = needs(**given)
    assert found.fields == fields
    assert (found.facts, found.household) == (bool(fields), given.get("caps") == ["household"])


def test_the_counter_of_a_cumulative_discount_is_read() -> None:
    steps = [{"from_amount": 0, "rate_bp": 100}]
    found = needs({"type": "discount_cumulative", "counter": "partner.ever.sum", "steps": steps})
    named = frozenset({"counters"}), frozenset({"partner.ever.sum"})
    assert (found.fields, found.counters, found.account) == (*named, True)


def test_what_tills_name_that_is_no_rule_is_not_kept_for_each() -> None:
    """A partner that writes its own numbers there would fill the memory, a name a receipt."""
    percent = {"type": "discount_percent", "rate_bp": 1_000}
    offer = release(rule("a", percent), rule("b", percent, stack={"priority": 11}))
    shelf = Shelf([offer])
    of_a = shelf.honouring(offer, frozenset({"a"}))
    assert [one.code for one in of_a.rules] == ["a"]
    assert shelf.honouring(offer, frozenset({"a", "receipt-17"})) is of_a
    assert shelf.honouring(offer, frozenset({"receipt-18"})) is shelf.honouring(offer, frozenset())
