"""PURE: personal data shown back masked: enough to see a slip of the finger, too little to learn anything from."""

from __future__ import annotations

_HIDDEN = "***"


def name(text: str) -> str:
    """The first letter of each word: `A*** L***`."""
    return " ".join(word[0] + _HIDDEN for word in text.split())


def phone(text: str) -> str:
    """The last two digits: `***67`."""
    digits = [character for character in text if character.isdigit()]
    return _HIDDEN + "".join(digits[-2:])


def email(text: str) -> str:
    """The first letter and the domain's last part: `a***@***.org`."""
    local, _, domain = text.strip().rpartition("@")
    return f"{local[:1]}{_HIDDEN}@{_HIDDEN}.{domain.rpartition('.')[2]}"
