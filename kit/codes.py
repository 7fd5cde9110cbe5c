"""Codes that people type: twelve random characters and one that catches a slip of the finger.

Crockford's base 32 has no I, L, O and U, so that nobody mistakes one for another; what is typed instead of them is read
as what was meant. The check character is the remainder of the code's number by 37, as Crockford describes it. Sixty
random bits: ten thousand guesses a day for a year among a million live codes find one three times in a million.
"""

from __future__ import annotations

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHECKS = ALPHABET + "*~$=U"
LENGTH = 12
TAIL = 3
LONGEST = 64

_MEANT = str.maketrans("ILO", "110", " -\u00a0")
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def draw() -> str:
    """A new code: twelve random characters and the check character."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return body + check_character(body)


def check_character(body: str) -> str:
    """The character that follows a body of the alphabet's characters (Crockford: its number modulo 37)."""
    number = 0
    for character in body:
        number = number * len(ALPHABET) + _VALUES[character]
    return _CHECKS[number % len(_CHECKS)]


def normal(text: str) -> str | None:
    """A code in one form, without spaces and hyphens; None for what cannot be one: a slip of the finger."""
    if len(text) > LONGEST:
        return None
    code = text.upper().translate(_MEANT)
    body, check = code[:LENGTH], code[LENGTH:]
    if len(code) != LENGTH + 1 or any(character not in _VALUES for character in body):
        return None
    return code if check_character(body) == check else None


def normal_word(text: str) -> str | None:
    """A word that many people use (`SUMMER-26`), 4 to 32 letters, digits and hyphens; None for what is none.

    It has no check character and may look like anything but a code of ours.
    """
    word = text.strip().upper()
    if not 4 <= len(word) <= 32 or not all(each.isascii() and (each.isalnum() or each == "-") for each in word):
        return None
    return None if normal(word) else word


def shown(code: str) -> str:
    """A code as people read it: `7K3M-9QXT-2ABC-5`."""
    return "-".join([code[0:4], code[4:8], code[8:12], code[12:]])
