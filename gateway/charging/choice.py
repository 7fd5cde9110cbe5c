"""Which provider is at work: what the settings choose for new subscriptions, and each that older ones have."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.charging.simulator import Simulator
from kit.settings import Settings
from members.subscription.providers import MANUAL, Provider

_HELD: dict[str, Provider] = {}


def of(chosen: Settings) -> Mapping[str, Provider]:
    """The providers of this process by name, each opened once; invoices by hand are always there.

    Raises simulator.NotInProduction.
    """
    found: dict[str, Provider] = {MANUAL.name: MANUAL}
    if chosen.charging == Simulator.name:
        if Simulator.name not in _HELD:
            _HELD[Simulator.name] = Simulator(chosen)
        found[Simulator.name] = _HELD[Simulator.name]
    return found
