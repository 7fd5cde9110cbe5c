"""PURE: what stands for the API's codes on the staff's pages, in English; the catalogues have the other languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages import phrases
from gateway.pages.catalogues import marked as _

PROBLEMS: Mapping[str, str] = MappingProxyType({})

NOT_YOURS = _("Your roles do not open this page. Ask whoever grants roles in the programme.")
NOT_THERE = _("There is no such thing any more, or there never was. Go back to the list.")


def problem(code: str) -> str:
    """What to tell staff of a code."""
    return PROBLEMS.get(code) or phrases.problem(code)
