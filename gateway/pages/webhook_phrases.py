"""PURE: what stands for the API's codes on the pages about webhooks, in English; the catalogues have the rest."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages.catalogues import marked as _

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "purchase.recorded": _("a purchase was recorded, and points given or spent"),
        "purchase.returned": _("a purchase came back, whole or in part"),
        "purchase.cancelled": _("a purchase was cancelled"),
        "redemption.recorded": _("points were spent without a purchase that earns"),
        "hold.lapsed": _("points that were set aside went back to the member"),
        "points.adjusted": _("the operator gave or took points of yours"),
        "statement.published": _("a statement was issued"),
        "dispute.answered": _("a dispute was answered"),
        "budget.near_its_end": _("a budget that you pay for is nearly used"),
    }
)
STATUSES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ACTIVE": (_("enabled"), "good"),
        "DISABLED": (_("disabled"), "bad"),
        "REMOVED": (_("removed"), "bad"),
    }
)
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "PARTNER": _("One of you disabled it. What happens is kept for 30 days, and sent when you enable it."),
        "FAILING": _("It took nothing for five days. What happens is kept for 30 days, and sent when you enable it."),
        "GONE": _("It answered that it is gone (410). What happens is kept for 30 days, and sent when you enable it."),
    }
)
STATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "WAITING": (_("on its way"), "busy"),
        "DELIVERED": (_("delivered"), "good"),
        "FAILED": (_("given up"), "bad"),
    }
)
ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "TIMEOUT": _("no answer in time"),
        "NO_CONNECTION": _("no connection"),
        "BROKEN_OFF": _("broken off"),
        "NOT_HTTP": _("no answer that is HTTP"),
        "NOT_PUBLIC": _("not a public address"),
    }
)
