"""Rules, releases and baskets for tests: small words for what a story says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from partners.promotions.basket import BaseTerms, Basket, BasketLine, Context, Counters, Local, Member, Outcome
from partners.promotions.documents import BudgetDocument, GroupDocument, RuleDocument, problems, read
from partners.promotions.evaluation import evaluate
from partners.promotions.releases import Release

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
BEFORE = "2026-01-01T00:00:00Z"
CAFE, ROASTER = 3, 4
TERMS = BaseTerms(
    terms_id=7, partner_id=CAFE, currency="EUR", earn_rate_bp=500, return_window_days=14, expiry_months=12,
    bill_share_bp=5_000, bill_ceiling_bp=10_000, point_value_micro=10_000,
)  # fmt: skip
PARTIES = {"cafe": CAFE, "roaster": ROASTER}


def texts(text: str = "An offer") -> dict[str, str]:
    """One text for three languages."""
    return {"en": text, "ru": text, "ro": text}


def document(code: str, effect: dict[str, Any], **given: Any) -> dict[str, Any]:
    """A rule document as plain JSON: kind and funding follow from the effect, the rest is given."""
    kind = effect["type"]
    found: dict[str, Any] = {
        "code": code, "promotion": "test", "title": texts(code), "effect": effect, "valid_from": BEFORE,
        "stack": {"priority": 10},
        "kind": "earn" if kind.startswith("points_") else
                "discount" if kind.startswith("discount_") or kind in ("fixed_price", "cheapest_free") else
                "redeem_limit" if kind == "set_redeem_cap" else "grant",
    }  # fmt: skip
    if found["kind"] in ("earn", "discount"):
        found["funding"] = [{"party": "HERE", "bp": 10_000}]
    return found | given


def rule(code: str, effect: dict[str, Any], **given: Any) -> RuleDocument:
    """A rule that nothing is wrong with."""
    source = document(code, effect, **given)
    assert problems(source) == []
    return read(source)


def budget(code: str, **given: Any) -> BudgetDocument:
    """A budget of points for all, unless said otherwise."""
    return BudgetDocument(**{"code": code, "unit": "points", "limit": 1_000_000, **given})


def group(code: str, mode: str, **given: Any) -> GroupDocument:
    """A stacking group at the top."""
    return GroupDocument(**{"code": code, "mode": mode, "priority": 10, **given})


def release(*parts: RuleDocument | BudgetDocument | GroupDocument) -> Release:
    """A release of rules, budgets and groups in any order."""
    return Release(
        1,
        tuple(one for one in parts if isinstance(one, RuleDocument)),
        tuple(one for one in parts if isinstance(one, GroupDocument)),
        tuple(one for one in parts if isinstance(one, BudgetDocument)),
        PARTIES,
    )


def line(number: int, amount_minor: int, category: str = "", **given: Any) -> BasketLine:
    """A line of goods."""
    return BasketLine(
        **{"line_id": str(number), "kind": "GOODS", "amount_minor": amount_minor, "category": category, **given}
    )


def basket(*lines: BasketLine, **given: Any) -> Basket:
    """A basket in euros."""
    return Basket("EUR", lines, **given)


def context(at: datetime = NOON, **given: Any) -> Context:
    """A member at the cafe's only outlet, in Moscow."""
    zone = given.pop("zone", "Europe/Moscow")
    return Context(
        **{
            "occurred_at": at, "received_at": at, "partner": "cafe", "outlet": "1", "zone": zone,
            "local": Local.at(at, zone), "terms": TERMS, "member": Member(), "scopes": {"member": "17"},
            **given,
        }
    )  # fmt: skip


def decide(offer: Release, what: Basket, around: Context | None = None, left: dict[str, int] | None = None) -> Outcome:
    """The outcome, under which every sum of parts was checked."""
    found = evaluate(offer, what, around or context(), Counters(left or {}))
    assert_sums(found, what)
    return found


def assert_sums(found: Outcome, what: Basket) -> None:
    """Points are their awards, lots and lines; awards and discounts are their parts; no line is below zero."""
    assert found.points == sum(award.points for award in found.awards) == sum(lot.points for lot in found.lots)
    for award in found.awards:
        assert sum(share.amount for share in award.funders) == award.points
        if what.lines:
            assert sum(part.amount for part in award.lines) == award.points
    if what.lines:
        assert sum(part.amount for part in found.line_points) == found.points
    assert all(part.amount >= 0 for part in found.line_points)
    assert all(lot.points > 0 and lot.activates_at < lot.expires_at for lot in found.lots)
    off = dict.fromkeys((one.line_id for one in what.lines), 0)
    for discount in found.discounts:
        assert sum(share.amount for share in discount.funders) == discount.amount_minor > 0
        off[discount.line_id] += discount.amount_minor
    assert all(off[one.line_id] <= one.amount_minor for one in what.lines)
    assert sum(found.line_points_minor) <= what.points_minor


def reasons(found: Outcome) -> dict[str, str]:
    """What became of each rule that a step tells about."""
    return {step.rule: step.reason for step in found.steps}
