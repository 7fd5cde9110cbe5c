"""Codes of coupons: what `kit.codes` draws and reads, found by a keyed hash that nothing else is stored of."""

from __future__ import annotations

from uuid import UUID

from kit.codes import (
    ALPHABET,
    LENGTH,
    LONGEST,
    TAIL,
    check_character,
    draw,
    normal,
    normal_word,
    shown,
)
from kit.secrets import Vault

__all__ = [
    "ALPHABET", "LENGTH", "LONGEST", "TAIL", "check_character", "draw", "lookup", "normal", "normal_word", "shown",
]  # fmt: skip


def lookup(vault: Vault, code: str) -> UUID:
    """The keyed hash under which a normal code or word is found; nothing else of it is stored."""
    return vault.lookup("coupon", code)
