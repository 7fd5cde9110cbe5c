"""Whose a rule is to know: those at whose tills it works, and those who pay for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from partners.promotions.concerns import concerns, published, share_bp
from partners.promotions.shelf import Shelf
from tests.partners.promotions.offers import NOON, release, rule

GIFT = {"type": "points_fixed", "points": 5}


@pytest.mark.parametrize(
    ("given", "cafe", "roaster"),
    [
        ({}, True, True),
        ({"where": {"partners": ["cafe"]}}, True, False),
        ({"where": {"exclude_partners": ["cafe"]}}, False, True),
        ({"where": {"outlets": ["cafe:1"]}}, True, False),
        ({"where": {"outlets": ["caf:1"]}}, False, False),
        ({"where": {"partners": ["cafe"]}, "funding": [{"party": "roaster", "bp": 10_000}]}, True, True),
    ],
)
def test_a_rule_concerns_where_it_works_and_who_pays(given: dict[str, Any], cafe: bool, roaster: bool) -> None:
    one = rule("gift", GIFT, **given)
    assert (concerns(one, "cafe"), concerns(one, "roaster")) == (cafe, roaster)


def test_what_a_partner_pays_is_its_share_and_what_is_paid_here() -> None:
    shared = [{"party": "HERE", "bp": 3_000}, {"party": "roaster", "bp": 5_000}, {"party": "OPERATOR", "bp": 2_000}]
    one = rule("gift", GIFT, funding=shared)
    assert (share_bp(one, "cafe"), share_bp(one, "roaster")) == (3_000, 8_000)


def test_what_was_published_is_shown_as_it_was_last_and_whether_it_is_in_force() -> None:
    first = replace(release(rule("old", GIFT), rule("gift", GIFT, stack={"priority": 11})), release_id=1)
    later = replace(release(rule("gift", GIFT, version=2)), release_id=2)
    found = published(Shelf([first, later]), "cafe", at=NOON)
    assert [(one.rule.code, one.rule.version, one.is_in_force) for one in found["test"]] == [
        ("gift", 2, True), ("old", 1, False),
    ]  # fmt: skip
    assert published(Shelf(), "cafe", at=NOON) == {}
