"""What the OAuth endpoints of a process share, and what stands at the moment that a request is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.oauth.approvers import SignedIn
from gateway.oauth.authentication import Authentication
from gateway.oauth.clients import ClientCache
from gateway.oauth.dpop import Nonces
from gateway.oauth.keys import KeyRing
from gateway.oauth.server import Standing
from gateway.oauth.tokens import Bearers, resource_of
from gateway.oauth.used import UsedIds
from kit.clock import wall
from kit.database import Database
from kit.secrets import Vault

if TYPE_CHECKING:
    from partners.directory import Directory, DirectoryCache

ACTIVE = "ACTIVE"


@dataclass(frozen=True, slots=True)
class OAuth:
    """The OAuth services of a process; kept in the application's state. signed_in None: nobody can approve here."""

    issuer: str
    database: Database
    directory: DirectoryCache
    keys: KeyRing
    clients: ClientCache
    bearers: Bearers
    used: UsedIds
    authentication: Authentication
    vault: Vault
    signed_in: SignedIn | None = None
    nonces: Nonces | None = None
    now: Callable[[], datetime] = wall

    @property
    def resource(self) -> str:
        """The address that tokens are good at."""
        return resource_of(self.issuer)

    async def standing(self) -> Standing:
        """Who takes part as of a moment ago, the key that signs, and the wall's instant."""
        directory = await self.directory.get()
        return Standing(
            self.issuer,
            await self.keys.signer(),
            self.vault.derive("refresh-token"),
            lambda partner_id: partner_is_active(directory, partner_id),
            lambda terminal_id: terminal_is_active(directory, terminal_id),
            self.now(),
        )


def partner_is_active(directory: Directory, partner_id: int) -> bool:
    """Whether a partner takes part."""
    partner = directory.partner(partner_id)
    return partner is not None and partner.status == ACTIVE


def terminal_is_active(directory: Directory, terminal_id: int) -> bool:
    """Whether a terminal may be used."""
    terminal = directory.terminal_by_id(terminal_id)
    return terminal is not None and terminal.status == ACTIVE
