"""PURE: what of a request's variables may be kept for developers to look at. What may stay is listed, not what may not.

A value stays where the schema's input field or argument of its name says nothing of a person and opens nothing: places,
amounts, kinds, a partner's own numbers. Of everything else stays only that it was there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

KEPT = frozenset(
    {
        "outlet", "terminal", "businessDate", "occurredAt", "sentAt", "usedAt", "currencyCode", "total", "amount",
        "points", "kind", "lineId", "sku", "category", "quantity", "listAmount", "taxRate", "taxAmount", "source",
        "promotion", "part", "entryMode", "terminalSeq", "releaseId", "reference", "whole", "event", "benefit", "units",
        "reward", "first", "allStates", "approved", "granted", "purpose", "textVersion", "run", "quoteId",
    }
)  # fmt: skip
HIDDEN = "…"
LONGEST_TEXT = 64
MOST_ITEMS = 3
MOST_VALUES = 200
DEEPEST = 8
LARGEST_BYTES = 2_000

_NAME = re.compile(r"[A-Za-z_]\w{0,39}", re.ASCII)
_PLAIN = re.compile(r"[\w .:,+/-]*", re.ASCII)


def redacted(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with everything hidden that is not known to be nobody's. Names of the caller's own making stay only
    where they look like names; of very many values only the first are shown."""
    return _Redaction().object(variables, 0)


class _Redaction:
    """One walk, which ends after so many values however large the input is."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def object(self, given: Mapping[str, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, value in given.items():
            if self._left <= 0:
                shown[HIDDEN] = len(given)
                break
            self._left -= 1
            name = key if _NAME.fullmatch(key) else HIDDEN
            shown[name] = self._value(name, value, depth + 1)
        return shown

    def _value(self, name: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if depth > DEEPEST:
            return HIDDEN
        if isinstance(value, Mapping):
            return self.object(value, depth)
        if isinstance(value, list):
            shown = [self._value(name, each, depth + 1) for each in value[:MOST_ITEMS]]
            return [*shown, f"{HIDDEN} {len(value)}"] if len(value) > MOST_ITEMS else shown
        if name not in KEPT:
            return HIDDEN
        if isinstance(value, str):
            return _text(value)
        return value if isinstance(value, int | float) else HIDDEN


def _text(value: str) -> str:
    """A short, plain text as it is; one that could say anything not at all."""
    return value if len(value) <= LONGEST_TEXT and _PLAIN.fullmatch(value) else HIDDEN
