"""PURE: what waits for a partner's people and what a promotion brought, in words; the catalogues have the languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages.catalogues import marked as _

ALERTS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "EARNING_PAUSED": (
            _("Your members earn nothing for now"),
            _("Far more points were given than ever. Look whether a till or a key is misused, then call the operator."),
            "/portal",
        ),
        "EXPOSURE": (
            _("What you may come to owe"),
            _("Deposit more, or ask for a higher limit before purchases stop earning."),
            "/portal/statements",
        ),
        "BUDGET": (
            _("A budget is near its end"),
            _("Ask the operator for a higher limit, or let the promotion end with it."),
            "/portal/promotions",
        ),
        "KEY_ENDS": (
            _("The credentials of a client end"),
            _("Register another key, or make another secret, and let the program use it before then."),
            "/portal/clients/",
        ),
        "ALLOWANCE": (
            _("A client asks nearly as much as it may"),
            _("Ask for less at once, or ask the operator for a larger allowance."),
            "/portal/requests/health",
        ),
        "DISPUTE": (
            _("A dispute waits for your answer"),
            _("Whoever says nothing in time has decided."),
            "/portal/disputes",
        ),
        "STATEMENT": (
            _("A statement is not accepted yet"),
            _("Look through it, then accept it or dispute a line. Silence is acceptance."),
            "/portal/statements/",
        ),
    }
)
"""Of each kind what it is, what to do, and where; a path that ends with / goes on with what it is about."""

VERDICTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "UP": (_("It brought more"), _("The whole interval is above zero.")),
        "DOWN": (_("It brought less"), _("The whole interval is below zero.")),
        "CANNOT_TELL": (_("Nobody can tell yet"), _("The interval holds zero: it may have brought nothing.")),
        "TOO_FEW": (_("Too few members to tell"), _("Each side of the draw needs thirty of your members.")),
        "NOT_AS_DRAWN": (
            _("The draw did not fall as agreed"),
            _("So lopsided a draw comes once in a thousand. No figure is shown until the operator knows why."),
        ),
        "NO_HOLDOUT": (
            _("Nobody was held out"),
            _("Without members who are left out by lot nobody can say what would have happened anyway."),
        ),
    }
)
