"""PURE: words of the operator's pages that stand for codes, and the rule that an empty editor begins with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from gateway.pages.catalogues import marked as _

PURPOSES: Mapping[str, str] = MappingProxyType(
    {
        "MEMBER_ASKED": _("the member asked"),
        "PARTNER_ASKED": _("a partner asked"),
        "COMPLAINT": _("a complaint"),
        "FRAUD": _("suspicion of fraud"),
        "SUPPORT": _("something does not work"),
    }
)
TRANSACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "PURCHASE": _("Purchase"),
        "REDEMPTION": _("Redemption"),
        "RETURN": _("Return"),
        "CANCELLATION": _("Cancellation"),
    }
)
RELEASES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "SUBMITTED": (_("Waits for a signature"), "busy"),
        "PUBLISHED": (_("Published"), "good"),
        "DECLINED": (_("Declined"), "bad"),
        "SUSPENSION": (_("Rules taken out of force"), "bad"),
    }
)
RAISES: Mapping[str, str] = MappingProxyType(
    {"BUDGET_LIMIT": _("A higher limit"), "BUDGET_FUNDING": _("A payment into it")}
)
RAISED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "APPROVED": (_("Approved"), "good"),
        "DECLINED": (_("Declined"), "bad"),
        "WITHDRAWN": (_("Taken back"), ""),
    }
)
AGAINST: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("objective", "MISSING"): _(
            "Nobody said what it is for: what is measured, the figure to reach, and by which day."
        ),
        ("objective.metric", "MISSING"): _("Nobody said in a few words what is measured."),
        ("objective.target", "NOT_POSITIVE"): _("The figure to reach is not above zero."),
        ("objective.due", "PAST"): _("The day by which it is to be reached is not after the launch."),
        ("margin", "MARGIN"): _("The margin is not above zero, or it is more than the whole."),
        ("addedSales", "GAIN_NOT_ABOVE_COST"): _(
            "A gain of %(gain)s is expected, which is not above the cost of %(cost)s."
        ),
        ("cover", "COVER_EXCEEDED"): _("As much as %(owed)s would be owed, and %(cover)s covers obligations."),
        ("simulation", "NOTHING_REHEARSED"): _("It was rehearsed on no purchase, so nobody knows what it costs."),
        ("cover", "MISSING"): _("Nobody said what covers obligations, and what is owed already."),
    }
)
"""What a gate finds against a launch or a raise, by its place and code, with the gate's figures."""
_COVER_NOT_KEPT = _("More would be owed than what covers obligations.")
BUDGET_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "member": _("per member"),
        "household": _("per household"),
        "card": _("per card"),
        "instrument": _("per bank card"),
        "partner": _("per partner"),
        "outlet": _("per outlet"),
        "code": _("per code"),
        "referrer": _("per friend who invited"),
    }
)
BUDGET_PERIODS: Mapping[str, str] = MappingProxyType(
    {
        "total": _("no period"),
        "year": _("every year"),
        "month": _("every month"),
        "week": _("every week"),
        "day": _("every day"),
    }
)
ROLES: Mapping[str, str] = MappingProxyType(
    {
        "ISSUER": _("gives points"),
        "REDEEMER": _("takes points"),
        "BOTH": _("gives and takes points"),
        "HONOURS": _("honours cards with a discount"),
        "RUN_OFF": _("is leaving"),
    }
)
MEMBERS: Mapping[str, str] = MappingProxyType(
    {
        "ACTIVE": _("takes part"),
        "ANONYMOUS": _("card not registered yet"),
        "HOUSEHOLD": _("household"),
        "CLOSED": _("has left"),
    }
)


def against(found: Mapping[str, Any], gate: Mapping[str, Any]) -> str | None:
    """What stands against a launch or a raise, in English, with places for its gate's figures; None of what is new."""
    key = (".".join(found["path"]), found["code"])
    if key == ("cover", "COVER_EXCEEDED") and gate["cover"] is None:
        return _COVER_NOT_KEPT
    return AGAINST.get(key)


def first_rule(promotion: str) -> str:
    """A small rule that is right, to begin with: ten points with every purchase."""
    document = {
        "code": promotion, "promotion": promotion, "kind": "earn",
        "title": {"en": promotion, "ru": promotion, "ro": promotion}, "valid_from": "2026-01-01T00:00:00Z",
        "effect": {"type": "points_fixed", "points": 10}, "stack": {"priority": 10},
        "funding": [{"party": "HERE", "bp": 10_000}],
    }  # fmt: skip
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
