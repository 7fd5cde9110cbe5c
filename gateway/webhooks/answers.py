"""PURE: what an endpoint answered, as far as it is kept for its developers: the beginning, without what may be a
person's or a secret."""

from __future__ import annotations

import re

LONGEST_KEPT = 500
MOST_READ = 2_048
HIDDEN = "…"

_ADDRESS = re.compile(r"[^\s@\"'<>]{1,64}@[^\s@\"'<>]{1,190}")
_NUMBER = re.compile(r"\+?\d(?:[ .()/-]{0,3}\d){6,}")
_SECRET = re.compile(r"[A-Za-z0-9_+=.-]{20,}")
_UNSEEN = re.compile(r"[^\S ]+|[^\x20-\uffff]|[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


def kept(raw: bytes) -> str:
    """The beginning of an answer as text: addresses, long numbers and long words of a machine's are hidden."""
    text = _UNSEEN.sub(" ", raw[:MOST_READ].decode(errors="replace"))
    for hidden in (_ADDRESS, _SECRET, _NUMBER):
        text = hidden.sub(HIDDEN, text)
    seen = "".join(sign if sign.isprintable() else " " for sign in text)
    return seen[:LONGEST_KEPT].strip()
