"""PURE: what the effects of rules come to, in whole numbers: points, minor units, pieces; and when they begin and end.

Each is computed once, rounded at its declared place, and split to the lines by largest remainder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct

from kit.amounts import BASIS, allocate, micro_per_minor
from kit.instants import add_months
from partners.promotions.basket import UNIT, BaseTerms, BasketLine, Context
from partners.promotions.documents import (
    MOST_PIECES,
    CheapestFree,
    DiscountAmount,
    DiscountCumulative,
    DiscountPercent,
    Expiry,
    FixedPrice,
    GrantBadge,
    GrantCoupon,
    GrantEffect,
    GrantEntitlement,
    GrantStamp,
    PointsEffect,
    PointsFixed,
    PointsMultiplier,
    PointsPerMoney,
    RaffleTicket,
    TierCredit,
)


class Result(Struct, frozen=True, gc=False):
    """What an effect comes to, in all and per line of the basket; parts are empty where it falls on no line."""

    total: int
    parts: tuple[int, ...]

    def clamped(self, total: int) -> Result:
        """No more than total, taken from the lines in proportion."""
        return Result(total, tuple(allocate(total, self.parts)) if any(self.parts) else self.parts)

    def only(self, parts: Sequence[int]) -> Result:
        """Only these parts of it."""
        return Result(sum(parts), tuple(parts))


class Ground(Protocol):
    """What an effect is computed on: the basket as the phases before have left it.

    bought says that something is (or was) bought, so an effect needs a line; otherwise it falls on none.
    """

    bought: bool
    lines: tuple[BasketLine, ...]
    gross: list[int]
    amounts: list[int]
    money: list[int]
    base: list[int]
    terms: BaseTerms
    context: Context

    def earning(self, index: int, amount_minor: int) -> int:
        """What of an amount on a line may earn."""

    def counted(self, of: str) -> list[int]:
        """Amounts per line: GROSS, AFTER_DISCOUNTS or MONEY."""


Compute = Callable[[Any, Sequence[int], Ground], Result]
"""What an effect comes to on some lines. Raises KeyError where it needs a counter that nobody gave."""


def compute_of(effect: Any) -> Compute | None:
    """What computes an effect; None of one that gives nothing itself."""
    return _EFFECTS.get(type(effect))


def rounded(numerator: int, denominator: int, rounding: str) -> int:
    """A quotient of what is not negative: floor, or half_up to the nearer with halves up."""
    if rounding == "half_up":
        return (2 * numerator + denominator) // (2 * denominator)
    return numerator // denominator


def _spread(total: int, weights: dict[int, int], ground: Ground) -> Result:
    """A total on the lines by weight; where something is bought there is nothing to give without a weight."""
    if not ground.bought:
        return Result(total, ())
    if not any(weights.values()):
        return Result(0, (0,) * len(ground.lines))
    if len(ground.lines) == 1:
        return Result(total, (total,))
    return _vector(dict(zip(weights, allocate(total, list(weights.values())), strict=True)), ground)


def _vector(parts: dict[int, int], ground: Ground) -> Result:
    found = [0] * len(ground.lines)
    for index, part in parts.items():
        found[index] = part
    return Result(sum(found), tuple(found))


# --- points -------------------------------------------------------------------------------------------------


def _per_money(effect: PointsPerMoney, lines: Sequence[int], ground: Ground) -> Result:
    amounts = {index: _earning_base(effect.base, index, ground) for index in lines}
    factor = micro_per_minor(ground.terms.currency) * effect.rate_bp
    scale = BASIS * ground.terms.point_value_micro
    if effect.at == "line":
        parts = {index: rounded(amount * factor, scale, effect.rounding) for index, amount in amounts.items()}
        return _vector(parts, ground)
    return _spread(rounded(sum(amounts.values()) * factor, scale, effect.rounding), amounts, ground)


def _earning_base(base: str, index: int, ground: Ground) -> int:
    if base == "money_paid":
        return ground.money[index]
    return ground.earning(index, ground.gross[index] if base == "gross" else ground.amounts[index])


def _fixed_points(effect: PointsFixed, lines: Sequence[int], ground: Ground) -> Result:
    """Fixed points need money that earns: what points or a gift card pay for earns no fixed points either."""
    if not ground.bought:
        return Result(effect.points, ())
    if effect.per == "basket" and len(ground.lines) == 1:  # a total alone: nothing to spread
        return Result(effect.points, (effect.points,)) if lines and ground.money[0] else Result(0, (0,))
    paid = [index for index in lines if ground.money[index]]
    if effect.per == "basket":
        return _spread(effect.points, {index: ground.money[index] for index in paid}, ground)
    counts = {index: 1 if effect.per == "line" else ground.lines[index].quantity_milli // UNIT for index in paid}
    return _vector({index: effect.points * count for index, count in counts.items()}, ground)


def _multiplied(effect: PointsMultiplier, lines: Sequence[int], ground: Ground) -> Result:
    if ground.bought and len(ground.lines) == 1:  # a total alone: nothing to spread
        base_points = ground.base[0] if lines else 0
        bonus = rounded(base_points * (effect.factor_bp - BASIS), BASIS, effect.rounding)
        return Result(bonus, (bonus,))
    base = {index: ground.base[index] for index in lines}
    bonus = rounded(sum(base.values()) * (effect.factor_bp - BASIS), BASIS, effect.rounding)
    return _spread(bonus, base, ground)


# --- discounts ----------------------------------------------------------------------------------------------


def _percent(effect: DiscountPercent, lines: Sequence[int], ground: Ground) -> Result:
    return _share_off(effect.rate_bp, effect.of, effect.rounding, lines, ground)


def _cumulative(effect: DiscountCumulative, lines: Sequence[int], ground: Ground) -> Result:
    reached = ground.context.member.counters[effect.counter]
    rates = [step.rate_bp for step in effect.steps if step.from_amount <= reached]
    return _share_off(rates[-1] if rates else 0, effect.of, effect.rounding, lines, ground)


def _share_off(rate_bp: int, of: str, rounding: str, lines: Sequence[int], ground: Ground) -> Result:
    amounts = ground.gross if of == "initial" else ground.amounts
    return _off({index: rounded(amounts[index] * rate_bp, BASIS, rounding) for index in lines}, ground)


def _amount_off(effect: DiscountAmount, lines: Sequence[int], ground: Ground) -> Result:
    left = {index: ground.amounts[index] for index in lines}
    return _spread(min(effect.amount_minor, sum(left.values())), left, ground)


def _fixed_price(effect: FixedPrice, lines: Sequence[int], ground: Ground) -> Result:
    parts = {}
    for index in lines:
        line = ground.lines[index]
        price = effect.prices.get(line.sku, effect.price_minor)
        if price is not None:
            parts[index] = max(ground.amounts[index] - rounded(price * line.quantity_milli, UNIT, "half_up"), 0)
    return _off(parts, ground)


def _cheapest_free(effect: CheapestFree, lines: Sequence[int], ground: Ground) -> Result:
    """Whole units, the dearest first: of every `buy` of them the last `free` cost nothing.

    Of the units of one line the one that is free is worth the line's amount by its quantity, rounded down.
    """
    # Counted, not listed: a till may say that a line is a milliard of something.
    counts = {index: ground.lines[index].quantity_milli // UNIT for index in lines}
    counts = {index: count for index, count in counts.items() if count}
    each = {index: ground.amounts[index] * UNIT // ground.lines[index].quantity_milli for index in counts}
    whole = sum(counts.values())
    sets = min(whole // effect.buy, effect.most or whole)
    first, last = sets * (effect.buy - effect.free), sets * effect.buy
    parts: dict[int, int] = {}
    place = 0
    for index in sorted(counts, key=lambda index: (-each[index], index)):
        free = min(place + counts[index], last) - max(place, first)
        parts[index] = each[index] * max(free, 0)
        place += counts[index]
    return _off(parts, ground)


def _off(parts: dict[int, int], ground: Ground) -> Result:
    return _vector({index: min(part, ground.amounts[index]) for index, part in parts.items()}, ground)


# --- grants -------------------------------------------------------------------------------------------------


def _pieces(effect: GrantEffect, lines: Sequence[int], ground: Ground) -> Result:
    return Result(effect.quantity if lines or not ground.bought else 0, ())


def _stamps(effect: GrantStamp, lines: Sequence[int], ground: Ground) -> Result:
    """Stamps for what still costs something: a unit that is free gives none."""
    if not ground.bought:
        return Result(effect.quantity, ())
    paid = [index for index in lines if ground.amounts[index]]
    if effect.per == "basket":
        return Result(effect.quantity if paid else 0, ())
    if effect.per == "line":
        return _at_most(effect.quantity * len(paid))
    return _at_most(effect.quantity * sum(ground.lines[index].quantity_milli // UNIT for index in paid))


def _tickets(effect: RaffleTicket, lines: Sequence[int], ground: Ground) -> Result:
    if effect.per_minor is None:
        return _pieces(effect, lines, ground)
    money = ground.counted("MONEY")
    return _at_most(effect.quantity * (sum(money[index] for index in lines) // effect.per_minor))


def _at_most(pieces: int) -> Result:
    """Pieces that no line has: a till may say that a line is a milliard of something, and its purchase must not write
    as many rows, or fail for ever."""
    return Result(min(pieces, MOST_PIECES), ())


_EFFECTS: dict[type, Compute] = {
    PointsPerMoney: _per_money,
    PointsFixed: _fixed_points,
    PointsMultiplier: _multiplied,
    DiscountPercent: _percent,
    DiscountCumulative: _cumulative,
    DiscountAmount: _amount_off,
    FixedPrice: _fixed_price,
    CheapestFree: _cheapest_free,
    GrantCoupon: _pieces,
    GrantStamp: _stamps,
    GrantBadge: _pieces,
    GrantEntitlement: _pieces,
    TierCredit: _pieces,
    RaffleTicket: _tickets,
}


def granted(effect: GrantEffect) -> tuple[str, str]:
    """Kind and code of what a grant gives."""
    if isinstance(effect, GrantCoupon):
        return "COUPON", effect.batch
    if isinstance(effect, GrantStamp):
        return "STAMP", effect.unit
    if isinstance(effect, GrantBadge):
        return "BADGE", effect.badge
    if isinstance(effect, GrantEntitlement):
        return "ENTITLEMENT", effect.entitlement
    if isinstance(effect, TierCredit):
        return "TIER_CREDIT", effect.reason
    assert isinstance(effect, RaffleTicket)
    return "RAFFLE_TICKET", effect.raffle


# --- when they begin and end --------------------------------------------------------------------------------


def agreed_life(context: Context) -> tuple[datetime, datetime]:
    """Activation and expiry that the agreement gives points of this instant (UTC)."""
    terms = context.terms
    activates_at = context.occurred_at + timedelta(days=terms.return_window_days)
    return activates_at, _after(activates_at, add_months(context.occurred_at, terms.expiry_months))


def is_agreed_life(effect: PointsEffect) -> bool:
    """Whether an effect's points begin and end as the agreement's."""
    return effect.activation_days is None and effect.expiry is None


def life(effect: PointsEffect, context: Context, agreed: tuple[datetime, datetime]) -> tuple[datetime, datetime]:
    """Activation and expiry of an effect's points: its own where it says so, else those agreed (UTC)."""
    if is_agreed_life(effect):
        return agreed
    activates_at, expires_at = agreed
    if effect.activation_days is not None:
        activates_at = context.occurred_at + timedelta(days=effect.activation_days)
    if effect.expiry is not None:
        expires_at = end(effect.expiry, context)
    return activates_at, _after(activates_at, expires_at)


def end(expiry: Expiry, context: Context) -> datetime:
    """The instant at which something given now ends (UTC). Days, months and dates are those of the outlet's zone."""
    zone = ZoneInfo(context.zone)
    here = context.occurred_at.astimezone(zone)
    if expiry.on is not None:
        last = datetime.combine(expiry.on, time(), zone)
    elif expiry.end_of_month_after is not None:
        first = datetime.combine(here.date().replace(day=1), time(), zone)
        return _utc(add_months(first, expiry.end_of_month_after + 1), context)
    else:
        last = add_months(here, expiry.months) if expiry.months is not None else here + timedelta(days=expiry.days or 0)
        if not expiry.end_of_day:
            return _utc(last, context)
    return _utc(datetime.combine(last.date() + timedelta(days=1), time(), zone), context)


def _utc(at: datetime, context: Context) -> datetime:
    return at.astimezone(context.occurred_at.tzinfo)


def _after(activates_at: datetime, expires_at: datetime) -> datetime:
    """Points that end before they begin would be none: they live a day at least."""
    return max(expires_at, activates_at + timedelta(days=1))
