"""Rule documents and releases: what may be written, what is told about the rest, and that order means nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from partners.promotions import checking, conditions
from partners.promotions.documents import problems, read
from partners.promotions.releases import EMPTY, Release, pinned, suspended
from tests.partners.promotions.offers import NOON, TERMS, budget, document, group, release, rule, texts

RATE = {"type": "points_per_money", "rate_bp": 500}
PERCENT = {"type": "discount_percent", "rate_bp": 500}


@pytest.mark.parametrize(
    ("effect", "given", "path", "told"),
    [
        ({"type": "points_per_money", "rate": 5}, {}, "effect.rate_bp", "required"),
        ({"type": "points_per_monye", "rate_bp": 5}, {}, "effect", "points_per_money"),
        ({"type": "points_per_money", "rate_bp": 0.5}, {}, "effect.rate_bp", "integer"),
        ({"type": "points_per_money", "rate_bp": "5"}, {}, "effect.rate_bp", "integer"),
        (RATE, {"kind": "discount"}, "effect", "discount_percent"),
        (RATE, {"trigger": "enrolment"}, "trigger", "purchase"),
        (RATE, {"trigger": "birthday"}, "trigger", "'purchase', 'enrolment', 'event' or 'referral_qualified'"),
        (RATE, {"code": "BASE"}, "code", "agreement"),
        (RATE, {"funding": []}, "funding", "10000"),
        (RATE, {"funding": [{"party": "HERE", "bp": 5_000}, {"party": "cafe", "bp": 4_999}]}, "funding", "10000"),
        (RATE, {"funding": [{"party": "cafe", "bp": 5_000}, {"party": "cafe", "bp": 5_000}]}, "funding", "once"),
        (RATE, {"title": {"en": "a", "ru": "b"}}, "title.ro", "required"),
        (RATE, {"valid_until": "2025-01-01T00:00:00Z"}, "valid_until", "after"),
        (RATE, {"caps": ["a", "a"]}, "caps", "once"),
        (RATE, {"event": "review"}, "event", "trigger event"),
        (RATE, {"who": {"tier": ["GOLD"]}}, "who.tier", "not permitted"),
        (RATE, {"who": {"counters": [{"counter": "partner.week.sum", "min": 1}]}}, "who.counters.0", "coalition"),
        (RATE, {"what": {"kinds": ["FOOD"]}}, "what", "GOODS"),
        (RATE, {"when": {"weekdays": [0]}}, "when.weekdays.0", "greater"),
        (RATE, {"kind": "benefit"}, "who", "right"),
        (PERCENT, {"what": {"min_amount_minor": 5, "of": "MONEY"}}, "what.of", "AFTER_DISCOUNTS"),
        ({"type": "cheapest_free", "buy": 1, "free": 2}, {}, "effect", "not above"),
        ({"type": "discount_cumulative", "counter": "coalition.ever.sum", "steps": [
            {"from_amount": 5, "rate_bp": 5}, {"from_amount": 5, "rate_bp": 6}]}, {}, "effect", "rise"),
        ({"type": "points_fixed", "points": 5, "expiry": {"days": 1, "months": 1}}, {}, "effect.expiry", "exactly one"),
        (RATE, {"conditions": [{"id": "c", "label": texts(), "cel": "member.teir == 'x'"}]}, "conditions.0.cel", "column 7"),
        (RATE, {"conditions": [{"id": "who.tiers", "label": texts(), "cel": "true"}]}, "conditions.0.id", "own"),
        (RATE, {"what": {"line_cel": "l.categry == 'x'"}}, "what.line_cel", "expected category"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_path_with_what_was_expected(
    effect: dict[str, Any], given: dict[str, Any], path: str, told: str
) -> None:
    found = {".".join(one.path): one.message for one in problems(document("r", effect) | given)}
    assert path in found
    assert told in found[path]


def test_a_document_that_is_no_plain_json_is_a_problem_and_no_crash() -> None:
    assert [one.code for one in problems({"code": object()})] == ["NOT_PLAIN"]


def test_a_source_reads_back_to_the_same_document_and_the_same_hash() -> None:
    one = rule("r", RATE, who={"tiers": ["GOLD"]}, when={"dates": ["2026-03-08"]}, what={"categories": ['a"b', "чай"]})
    again = read(one.source)
    assert (again, again.doc_sha256) == (one, one.doc_sha256)


def test_who_where_what_and_when_are_conditions_like_the_authors_own() -> None:
    one = rule(
        "r", RATE, who={"tiers": ["GOLD"], "segments": ["vip", "fans"], "membership_age_days": {"min": 7}},
        where={"partners": ["cafe"], "channels": ["app"]}, what={"categories": ["coffee"]},
        when={"hours": {"start": 22, "end": 3}, "birthday_window": {"before": 3, "after": 3}},
        conditions=[{"id": "own", "label": texts("Mine"), "cel": "basket.total_minor > 5"}],
    )  # fmt: skip
    assert [named.id for named in conditions.of(one)] == [
        "who.tiers", "who.segments", "who.membership_age_days", "where.partners", "where.channels", "what.lines",
        "when.hours", "when.birthday_window", "own",
    ]  # fmt: skip
    fused = conditions.fused(one)
    assert "place.partner" not in fused  # candidates are looked up by partner
    assert "local.hour >= 22 || local.hour < 3" in fused


def test_a_comment_in_a_condition_does_not_swallow_the_next_one() -> None:
    source = document(
        "r", RATE,
        conditions=[{"id": "a", "label": texts(), "cel": "true // always"}, {"id": "b", "label": texts(), "cel": "false"}],
    )  # fmt: skip
    assert problems(source) == []


@pytest.mark.parametrize("name", ["codes", "costs"])
@pytest.mark.parametrize(
    ("effect", "given"),
    [
        ({"type": "points_fixed", "points": 5}, {"trigger": "enrolment"}),
        ({"type": "set_redeem_cap", "share_bp": 0}, {}),
    ],
)
def test_what_uses_nothing_up_asks_for_no_coupons_and_no_stamps(
    name: str, effect: dict[str, Any], given: dict[str, Any]
) -> None:
    """It would give the same for one set of stamps as often as it happens."""
    asked = {"codes": {"required": "spring"}, "costs": {"unit": "cup", "quantity": 9}}[name]
    assert [(one.path, one.code) for one in problems(document("a", effect, **given, **{name: asked}))] == [
        ((name,), "TRIGGER")
    ]
    assert problems(document("a", {"type": "points_fixed", "points": 5}, **{name: asked})) == []


# --- releases -------------------------------------------------------------------------------------------------


def codes(offer: Release) -> list[tuple[str, str]]:
    """What is wrong with a release: paths and codes."""
    return [(".".join(one.path), one.code) for one in checking.problems(offer, [TERMS])]


def test_a_sound_release_has_no_problems() -> None:
    offer = release(
        group("best", "BEST"), budget("all"), budget("money", unit="money"),
        rule("a", RATE, caps=["all"], funding=[{"party": "cafe", "bp": 10_000}]),
        rule("b", PERCENT, caps=["money"], stack={"group": "best", "priority": 1}),
        rule("c", PERCENT, stack={"group": "best", "priority": 2}),
    )  # fmt: skip
    assert codes(offer) == []


@pytest.mark.parametrize(
    ("parts", "path", "code"),
    [
        ([("a", RATE, {}), ("a", RATE, {"stack": {"priority": 2}})], "rules.a", "REPEATED"),
        ([("a", RATE, {}), ("b", RATE, {})], "rules.b.stack.priority", "REPEATED"),
        ([("a", RATE, {"stack": {"group": "none", "priority": 1}})], "rules.a.stack.group", "UNKNOWN"),
        ([("a", RATE, {"caps": ["none"]})], "rules.a.caps.0", "UNKNOWN"),
        ([("a", RATE, {"caps": ["money"]})], "rules.a.caps.0", "UNIT"),
        ([("a", RATE, {"funding": [{"party": "bakery", "bp": 10_000}]})], "rules.a.funding.0.party", "UNKNOWN"),
        ([("a", RATE, {"stack": {"group": "g", "priority": 1}}), ("b", PERCENT, {"stack": {"group": "g", "priority": 2}})],
         "groups.g", "PHASES"),
    ],
)  # fmt: skip
def test_what_cannot_be_released_together_is_told(parts: list[Any], path: str, code: str) -> None:
    rules = [rule(name, effect, **given) for name, effect, given in parts]
    assert (path, code) in codes(release(*rules, group("g", "BEST"), budget("money", unit="money")))


@pytest.mark.parametrize(
    ("effect", "given"),
    [({"type": "grant_badge", "badge": "fan"}, {}), ({"type": "points_fixed", "points": 5}, {"trigger": "enrolment"})],
)
def test_what_falls_on_no_line_stands_in_no_group_by_line(effect: dict[str, Any], given: dict[str, Any]) -> None:
    """Nothing could be chosen for a line: of grants a purchase would fail, of an event's points none would be given."""
    inside = rule("a", effect, stack={"group": "g", "priority": 1}, **given)
    assert codes(release(inside, group("g", "BEST", scope="line"))) == [("groups.g.scope", "NO_LINES")]
    assert codes(release(inside, group("g", "BEST"))) == []


def test_where_one_is_chosen_no_two_share_a_priority_though_one_looks_at_what_others_left() -> None:
    stack = {"group": "g", "priority": 1}
    two = rule("a", PERCENT, stack=stack), rule("b", PERCENT, stack=stack, what={"min_basket_minor": 5})
    for mode, found in (("FIRST", [("rules.b.stack.priority", "REPEATED")]), ("SUM", [])):
        assert codes(release(*two, group("g", mode))) == found


def test_rules_of_partners_apart_may_share_a_priority() -> None:
    at = [rule(name, RATE, where={"partners": [name]}) for name in ("cafe", "roaster")]
    assert codes(release(*at)) == []
    assert codes(release(*at, rule("all", RATE)))


def test_groups_that_stand_in_a_circle_are_refused() -> None:
    found = codes(release(group("a", "SUM", parent="b"), group("b", "SUM", parent="a", priority=2)))
    assert ("groups.a.parent", "CIRCLE") in found


def test_more_articles_than_the_engine_takes_are_told_before_a_till_finds_out() -> None:
    """Such a rule in force would fail every purchase that it might be for."""
    some, too_many = ([f"article-{n}" for n in range(count)] for count in (3_000, 10_000))
    assert problems(document("a", RATE, what={"skus": some})) == []
    [told] = problems(document("a", RATE, what={"skus": too_many}))
    assert (told.path, told.code) == (("what",), "EXPRESSION")
    assert "limit" in told.message


def test_groups_stand_a_few_deep_in_each_other_and_no_more() -> None:
    deep = [group(f"g{n}", "SUM", parent=f"g{n - 1}" if n else "", priority=n) for n in range(3_000)]
    assert codes(release(*deep[:8], rule("a", RATE, stack={"group": "g7", "priority": 1}))) == []
    assert ("groups.g8.parent", "DEPTH") in codes(release(*deep))


def test_of_releases_the_one_in_force_decides_and_none_published_after_it_was_heard_of() -> None:
    day = timedelta(days=1)
    one = replace(EMPTY, release_id=1, effective_from=NOON, published_at=NOON - day)
    two = replace(EMPTY, release_id=2, effective_from=NOON + day, published_at=NOON)
    late = replace(EMPTY, release_id=3, effective_from=NOON, published_at=NOON + 5 * day)
    known = [late, two, one]

    def at(occurred: int, received: int) -> int:
        return pinned(known, occurred_at=NOON + occurred * day, received_at=NOON + received * day).release_id

    assert [at(-1, 0), at(0, 0), at(1, 1), at(2, 3), at(0, 6), at(3, 6)] == [0, 1, 2, 2, 3, 2]


def test_suspending_a_rule_is_itself_a_release() -> None:
    offer = release(rule("a", RATE), rule("b", RATE, stack={"priority": 2}))
    without = suspended(offer, ["a"], release_id=2, at=NOON, author="nina")
    assert [one.code for one in without.rules] == ["b"]
    assert without.content_sha256 != offer.content_sha256
    assert (without.effective_from, without.author) == (NOON, "nina")
