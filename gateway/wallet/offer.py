"""Which wallets this installation makes passes for: those whose keys it was given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gateway.wallet.apple import AppleSigner
from gateway.wallet.google import GoogleSigner
from kit.errors import Rejection
from kit.settings import Settings

APPLE, GOOGLE = "APPLE", "GOOGLE"


class WalletNotOffered(Rejection):
    """This installation makes no passes for this wallet."""

    code = "WALLET_NOT_OFFERED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Wallets:
    """Who signs passes; None for a wallet that none are made for."""

    apple: AppleSigner | None
    google: GoogleSigner | None

    @property
    def offered(self) -> tuple[str, ...]:
        """The wallets that passes are made for."""
        return tuple(name for name, signer in ((APPLE, self.apple), (GOOGLE, self.google)) if signer is not None)


def wallets(settings: Settings) -> Wallets:
    """The wallets of these settings. Raises apple.BadSigner, google.BadSigner where a file is not what it should be."""
    return _read(settings.apple_pass, settings.google_wallet, settings.google_wallet_issuer)


@lru_cache(maxsize=8)
def _read(apple: Path | None, google: Path | None, issuer: str) -> Wallets:
    return Wallets(
        None if apple is None else AppleSigner.read(apple),
        None if google is None else GoogleSigner.read(google, issuer),
    )
