"""What members are found by besides cards: phone, e-mail, a partner's own number, a means of payment.

Only keyed hashes of them are stored, so a stolen table answers nobody's guess. Each is brought to one form first,
because a hash forgives no space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from kit.secrets import Vault

EVERYBODY = 0
LONGEST_NAME = 128

_PHONE = re.compile(r"[1-9][0-9]{7,14}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_BETWEEN_DIGITS = str.maketrans("", "", " \u00a0-().")


@dataclass(frozen=True, slots=True)
class Alias:
    """A keyed hash by which a member is found: its kind, and whose name it is (a partner's number, 0 everybody's)."""

    kind: str
    partner_id: int
    lookup: UUID


def normal_phone(text: str) -> str | None:
    """Country code and number as digits, without + or 00 in front; None for what is no international number."""
    digits = text.translate(_BETWEEN_DIGITS)
    digits = digits[1:] if digits.startswith("+") else digits.removeprefix("00")
    return digits if _PHONE.fullmatch(digits) else None


def normal_email(text: str) -> str | None:
    """An address in lower case; None for what is none."""
    address = text.strip().lower()
    return address if len(address) <= 254 and address.isprintable() and _EMAIL.fullmatch(address) else None


def normal_name(text: str) -> str | None:
    """A partner's own number or token without space around it; None for what is empty, long or unprintable."""
    name = text.strip()
    return name if 0 < len(name) <= LONGEST_NAME and name.isprintable() else None


def phone(vault: Vault, text: str) -> Alias | None:
    """The alias of a phone number; None for what is none."""
    return _alias(vault, "PHONE", EVERYBODY, normal_phone(text))


def email(vault: Vault, text: str) -> Alias | None:
    """The alias of an e-mail address; None for what is none."""
    return _alias(vault, "EMAIL", EVERYBODY, normal_email(text))


def external(vault: Vault, partner_id: int, text: str) -> Alias | None:
    """The alias of a partner's own number of a member; None for what cannot be one."""
    return _alias(vault, "EXTERNAL", partner_id, normal_name(text))


def instrument(vault: Vault, partner_id: int, text: str) -> Alias | None:
    """The alias of a partner's token of a means of payment; None for what cannot be one."""
    return _alias(vault, "INSTRUMENT", partner_id, normal_name(text))


def _alias(vault: Vault, kind: str, partner_id: int, normal: str | None) -> Alias | None:
    if normal is None:
        return None
    # The partner is inside the hash too: equal numbers at two partners must not look equal.
    return Alias(kind, partner_id, vault.lookup(f"{kind}:{partner_id}", normal))
