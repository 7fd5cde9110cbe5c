"""Settings of a process, read once from the environment. Every name begins with TESSERA_, but DATABASE_URL."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a process needs to know before it starts. Secrets never print."""

    model_config = SettingsConfigDict(env_prefix="TESSERA_", extra="ignore", populate_by_name=True)

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="postgresql:// address that the application's role signs in to; unset: the embedded PostgreSQL",
    )
    migration_url: SecretStr | None = Field(
        default=None, description="address of the owner of the schema, for `tessera migrate`; unset: DATABASE_URL"
    )
    data: Path = Field(default=Path(".data"), description="folder of the embedded PostgreSQL and local secrets")
    master_key: SecretStr | None = Field(
        default=None, description="32 bytes in base64url that wrap every other key; unset: a file in the data folder"
    )
    issuer: str = Field(default="http://127.0.0.1:8000", description="public address, the OAuth issuer")
    host: str = "127.0.0.1"
    port: int = 8000
    clock: Literal["wall", "sandbox"] = Field(
        default="wall", description="business clock: the wall's, or the row that a sandbox and tests set"
    )
    pool_size: int = Field(default=8, ge=1, le=64)
    smtp_url: SecretStr | None = Field(
        default=None,
        description="smtps://user:password@host (TLS), smtp://host (STARTTLS, plain on this machine alone); unset: no "
        "e-mail is sent, and messages lie in the mailbox",
    )
    mail_from: str = Field(default="tessera@localhost", description="address that e-mail is sent from")
    sms_url: SecretStr | None = Field(
        default=None,
        description="https address of an SMS provider that takes id, to and text as JSON; unset: no message is sent to "
        "phones, and those lie in the mailbox",
    )
    sms_token: SecretStr | None = Field(default=None, description="Bearer token that the SMS provider knows us by")
    charging: Literal["manual", "simulator", "stripe", "yookassa"] = Field(
        default="manual",
        description="who charges members who subscribe from now on: nobody (an invoice that somebody records the "
        "payment of), a provider, or in a sandbox a simulator",
    )
    stripe_key: SecretStr | None = Field(
        default=None, description="Stripe's secret key, of test mode in a sandbox; set as long as it charges anybody"
    )
    stripe_webhook_secrets: SecretStr | None = Field(
        default=None, description="whsec_ secrets of our endpoint at Stripe, with commas while one is replaced"
    )
    stripe_address: str | None = Field(default=None, description="another address of Stripe's interface, for tests")
    yookassa_shop: str | None = Field(default=None, description="number of the shop at YooKassa")
    yookassa_key: SecretStr | None = Field(
        default=None,
        description="secret key of that shop, a test shop's in a sandbox; set as long as it charges anybody",
    )
    yookassa_networks: str | None = Field(
        default=None, description="networks that YooKassa's notifications come from, with commas; unset: not looked at"
    )
    yookassa_address: str | None = Field(default=None, description="another address of YooKassa's interface, for tests")
    apple_pass: Path | None = Field(
        default=None,
        description="PEM file of a pass type's private key, its certificate and those above it; unset: no passes for "
        "Apple's wallet",
    )
    google_wallet: Path | None = Field(
        default=None, description="JSON file of the service account that issues passes; unset: none for Google's wallet"
    )
    google_wallet_issuer: str = Field(default="", description="number of the issuer of passes at Google")
    dpop_nonces: bool = Field(
        default=False, description="demand a nonce of ours in every proof of a key, so that none can be made in advance"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_seconds: int = Field(default=20, ge=0, description="longest wait for requests in flight at shutdown")


@lru_cache
def settings() -> Settings:
    """The process's settings. Raises pydantic's ValidationError with every wrong variable named."""
    return Settings()
