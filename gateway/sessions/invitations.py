"""PURE: invitations, codes of 80 bits shown once to whoever invites, typed where a code from a message would be."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

INVITATION_LIFE = timedelta(days=3)

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 signs, none taken for another
_SIGNS = 16


def new_invitation() -> str:
    """A fresh one."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SIGNS))


def is_one(typed: str) -> bool:
    """Whether a text has the form of one."""
    return len(typed) == _SIGNS


def hash_of(invitation: str) -> bytes:
    """What the database keeps of one."""
    # 80 random bits: nothing to guess, so nothing to stretch.
    return hashlib.sha256(invitation.lower().encode()).digest()
