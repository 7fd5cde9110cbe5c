"""PURE: words of the operator's pages that stand for codes, and the rule that an empty editor begins with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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


def first_rule(promotion: str) -> str:
    """A small rule that is right, to begin with: ten points with every purchase."""
    document = {
        "code": promotion, "promotion": promotion, "kind": "earn",
        "title": {"en": promotion, "ru": promotion, "ro": promotion}, "valid_from": "2026-01-01T00:00:00Z",
        "effect": {"type": "points_fixed", "points": 10}, "stack": {"priority": 10},
        "funding": [{"party": "HERE", "bp": 10_000}],
    }  # fmt: skip
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
