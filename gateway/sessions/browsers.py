"""PURE: what a browser says of itself, brought down to a few words by which its owner knows it in a list."""

from __future__ import annotations

_FAMILIES = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)
UNKNOWN = "?"


def name_of(user_agent: str) -> str:
    """Family and system of a browser, for instance `Firefox, Linux`; nothing else of the header is kept."""
    family = next((name for sign, name in _FAMILIES if sign in user_agent), UNKNOWN)
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), UNKNOWN)
    return f"{family}, {system}"
