"""PURE: the steps on the way to going live, in English; the catalogues have the other languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages.catalogues import marked as _

STEPS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "PURCHASE": (_("A purchase earned points"), _("recordPurchase or accruePoints, with a receipt of your own.")),
        "POINTS_SPENT": (_("Points paid for a purchase"), _("recordPurchase with `redeem`, and the member's proof.")),
        "HOLD_CAPTURED": (
            _("Points were set aside, then spent"),
            _("placeHold, then captureHold: for orders that are paid later."),
        ),
        "RETURN": (_("Goods came back"), _("returnPurchase; ask quoteReturn before money is handed over.")),
        "CANCELLATION": (_("A receipt was cancelled"), _("cancelPurchase, for a sale that did not happen after all.")),
        "SENT_AGAIN": (
            _("The same was sent twice and counted once"),
            _("Send a call again with its idempotency key and ask for `replayed`: the answer says true."),
        ),
        "OFFLINE": (
            _("A sale was sent in later"),
            _("A receipt with `entryMode: OFFLINE` and the till's own time, after a time without a network."),
        ),
        "REFUSED": (_("A refusal was heard"), _("Your program shows the cashier's text and goes on.")),
        "KEY_ROTATED": (
            _("A key or secret was replaced"),
            _("Under Clients and keys: the old one stays good for the hours that you choose."),
        ),
    }
)
