"""PURE: what a code takes off the price of a period. A discount is never more than the price, nor below zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kit.amounts import BASIS
from members.subscription.periods import Interval, half_up

Off = Literal["PERCENT", "AMOUNT", "FREE"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What an offer takes off so many periods: PERCENT in basis points, AMOUNT in minor units of a currency, or all of
    it (FREE); of one plan and interval, or of any (None)."""

    kind: Off
    periods: int
    percent_bp: int | None = None
    amount_minor: int | None = None
    currency: str | None = None
    plan_id: int | None = None
    interval: Interval | None = None

    def fits(self, *, plan_id: int, interval: Interval, currency: str) -> bool:
        """Whether it is for a price of this plan, interval and currency."""
        return (
            self.plan_id in (None, plan_id) and self.interval in (None, interval) and self.currency in (None, currency)
        )

    def off(self, price_minor: int) -> int:
        """What it takes off a price, minor units: a percentage half-up, an amount at most the price."""
        if self.kind == "FREE":
            return price_minor
        if self.kind == "PERCENT":
            return half_up(price_minor * (self.percent_bp or 0), BASIS)
        return min(self.amount_minor or 0, price_minor)
