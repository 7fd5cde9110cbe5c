"""What names a means of payment at its provider, sealed: whoever reads the database can charge nobody."""

from __future__ import annotations

import base64

from kit.secrets import Vault

SEALED_BY = ("stripe", "yookassa")
"""Providers whose tokens are sealed. The simulator's are scripts."""


def sealed(vault: Vault, provider: str, token: str) -> str:
    """A token as it is kept."""
    return base64.urlsafe_b64encode(vault.seal(token.encode(), _context(provider))).decode()


def opened(vault: Vault, provider: str, kept: str) -> str:
    """The token that was sealed. Raises InvalidTag, ValueError for anything else."""
    return vault.open(base64.urlsafe_b64decode(kept), _context(provider)).decode()


def _context(provider: str) -> str:
    return f"means-of-payment:{provider}"
