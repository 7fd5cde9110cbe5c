"""Which providers are at work: what the settings choose for new subscriptions, and each that older ones have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from urllib.parse import urlsplit

from pydantic import SecretStr

from gateway.charging.simulator import Simulator
from gateway.charging.stripe_payments import Stripe
from gateway.charging.yookassa_payments import YooKassa
from kit.secrets import Vault, fingerprint, load_master_key
from kit.settings import Settings
from members.subscription.providers import MANUAL, Provider

_HELD: dict[object, Provider] = {}
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


class BadProvider(Exception):  # noqa: N818 - a sentence for people
    """A provider's settings are not whole, or of the other place: tests' keys where money is real, or the reverse."""


def of(chosen: Settings, vault: Vault | None = None) -> Mapping[str, Provider]:
    """The providers of this process by name, each opened once; invoices by hand are always there. vault seals what
    names members' means; by default it is the settings' own.

    Raises simulator.NotInProduction, BadProvider.
    """
    found: dict[str, Provider] = {MANUAL.name: MANUAL}
    if chosen.charging == Simulator.name:
        found[Simulator.name] = _held((Simulator.name,), lambda: Simulator(chosen))
    stripe_key, yookassa_key = _secret(chosen.stripe_key), _secret(chosen.yookassa_key)
    if stripe_key or chosen.charging == Stripe.name:
        secrets = [one.strip() for one in _secret(chosen.stripe_webhook_secrets).split(",") if one.strip()]
        if not stripe_key or not secrets:
            raise BadProvider("Stripe needs TESSERA_STRIPE_KEY and TESSERA_STRIPE_WEBHOOK_SECRETS")
        address, keys_of = _address(chosen.stripe_address), _vault(chosen, vault)
        name = (Stripe.name, fingerprint(stripe_key, *secrets), address, keys_of.check_value())
        provider = _held(name, lambda: Stripe(keys_of, stripe_key, secrets, address=address))
        found[Stripe.name] = _of_this_place(chosen, provider)
    if yookassa_key or chosen.charging == YooKassa.name:
        shop = chosen.yookassa_shop
        if not yookassa_key or not shop:
            raise BadProvider("YooKassa needs TESSERA_YOOKASSA_SHOP and TESSERA_YOOKASSA_KEY")
        _networks(chosen)
        address, keys_of = _address(chosen.yookassa_address), _vault(chosen, vault)
        name = (YooKassa.name, fingerprint(shop, yookassa_key), address, keys_of.check_value())
        provider = _held(name, lambda: YooKassa(keys_of, shop, yookassa_key, address=address))
        found[YooKassa.name] = _of_this_place(chosen, provider)
    return found


def _held(key: object, opened: Callable[[], Provider]) -> Provider:
    if key not in _HELD:
        try:
            _HELD[key] = opened()
        except ValueError as wrong:
            raise BadProvider(str(wrong)) from wrong
    return _HELD[key]


def _of_this_place(chosen: Settings, provider: Provider) -> Provider:
    """Real money moves where the business clock is the wall's, and nowhere else."""
    if provider.is_test == (chosen.clock == "wall"):
        kind = "test" if provider.is_test else "live"
        raise BadProvider(f"the key of {provider.name} is a {kind} key, and TESSERA_CLOCK is {chosen.clock}")
    return provider


def _networks(chosen: Settings) -> None:
    for one in (chosen.yookassa_networks or "").split(","):
        try:
            ip_network(one.strip() or "::/0")
        except ValueError as wrong:
            raise BadProvider(f"TESSERA_YOOKASSA_NETWORKS: {one} is no network") from wrong


def _address(said: str | None) -> str | None:
    """Another address than the provider's own: encrypted, or on this machine."""
    if said is None:
        return None
    parts = urlsplit(said)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise BadProvider("a provider is spoken to over https")
    return said.rstrip("/")


def _vault(chosen: Settings, vault: Vault | None) -> Vault:
    return vault or Vault(load_master_key(chosen))


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()
