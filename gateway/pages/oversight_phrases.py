"""PURE: parts of the programme in which something happened, in words; the catalogues have the other languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages import operator_phrases, phrases
from gateway.pages.catalogues import marked as _

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "JOURNAL": _("Points"),
        "RECEIPT": _("Receipt"),
        "CONSENT": _("Consent"),
        "CLAIM": _("Claim to missing points"),
        "SUBSCRIPTION": _("Subscription"),
        "SETTLEMENT": _("Settlement"),
        "TRAIL": _("Audit trail"),
    }
)
OVERLAPS: Mapping[str, str] = MappingProxyType(
    {
        "ADDS_UP": _("both give"),
        "OUTRANKS": _("this one keeps it out"),
        "OUTRANKED": _("it keeps this one out"),
    }
)
DEEDS: Mapping[str, str] = MappingProxyType(
    {
        "GRANTED": _("given"),
        "WITHDRAWN": _("withdrawn"),
        "FILED": _("filed"),
        "BEGUN": _("begun"),
        "CUT_OFF": _("cut off for settlement"),
    }
)


def what(part: str, code: str) -> str:
    """What happened, in English; a code that has no words of its own is the word."""
    of_part: Mapping[str, Mapping[str, str]] = {"JOURNAL": phrases.ENTRIES, "RECEIPT": operator_phrases.TRANSACTIONS}
    return of_part.get(part, DEEDS).get(code, code)
