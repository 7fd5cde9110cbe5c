"""PURE: R22, from the net of the previous statement to the net of this one, step by step, to the micro-unit.

Of points the change of a kind is cut in three: VOLUME is the change of its points at the average price of before; PRICE
is what this time's points of an agreement cost more than they did under the same partner's agreement before; MIX is the
rest, which comes of other shares of cheaper and dearer points. So the three are the change, whatever rounding does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kit.amounts import divide_half_even
from settlement.statements import Draft, Line

VOLUME, PRICE, MIX, RETURNS, BREAKAGE = "VOLUME", "PRICE", "MIX", "RETURNS", "BREAKAGE"
PROMOTIONS, SUBSCRIPTION, FEES, TAX, TIMING, DISPUTES, OTHER = (
    "PROMOTIONS", "SUBSCRIPTION", "FEES", "TAX", "TIMING", "DISPUTES", "OTHER",
)  # fmt: skip
STEPS = (VOLUME, PRICE, MIX, RETURNS, BREAKAGE, PROMOTIONS, SUBSCRIPTION, FEES, TAX, TIMING, DISPUTES, OTHER)
OPENING = "OPENING"

_POINTS = frozenset({
    "ACTIVATION", "ADJUSTMENT", "REDEMPTION", "REDEMPTION_BORNE", "FUNDED_REDEMPTION", "FUNDED_REPAYMENT",
})  # fmt: skip
_WHOLE: Mapping[str, str] = {
    **dict.fromkeys(("RETURN", "RETURN_OWED", "REFUND", "REFUND_BORNE", "FUNDED_REFUND", "FORGIVEN",
                     "ADJUSTMENT_TAKEN"), RETURNS),
    "EXPIRY": BREAKAGE,
    **dict.fromkeys(("DISCOUNT", "COUPON"), PROMOTIONS),
    **dict.fromkeys(("BENEFIT", "SUBSCRIPTION_SHARE"), SUBSCRIPTION),
    **dict.fromkeys(("PLATFORM_FEE", "MINIMUM_FEE", "TIER_REBATE", "VOLUME_REBATE"), FEES),
    **dict.fromkeys(("OUTPUT_TAX", "INPUT_TAX"), TAX),
    **dict.fromkeys((OPENING, "CARRIED_OUT", "HOLDBACK", "HOLDBACK_RELEASED", "ROUNDING"), TIMING),
    **dict.fromkeys(("DISPUTE_WITHHELD", "DISPUTE_UPHELD", "PRICE_ADJUSTMENT", "HOLDBACK_USED", "DEPOSIT_USED",
                     "DEFAULT_LOSS", "RECEIPT_CREDITED"), DISPUTES),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """What a kind of line contributes to a step; before_micro and now_micro are what its lines come to."""

    step: str
    kind: str
    before_micro: int
    now_micro: int
    amount_micro: int


def parts(before: Draft | None, now: Draft, families: Mapping[int, int]) -> list[Part]:
    """Every contribution, in order of steps and kinds; they sum to the change of the net.

    families says whose agreement a version is. before is None where there is no previous statement.
    """
    old, new = _by_kind(before), _by_kind(now)
    found: list[Part] = []
    for kind in sorted(old.keys() | new.keys()):
        found += _of_kind(kind, old.get(kind, []), new.get(kind, []), families)
    return sorted((part for part in found if part.amount_micro), key=lambda p: (STEPS.index(p.step), p.kind))


def _by_kind(draft: Draft | None) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    if draft is not None:
        found[OPENING].append(Line(0, OPENING, None, 0, 0, 0, draft.opening_micro, draft.opening_minor))
        for line in draft.lines:
            found["OPENING_STOCK" if line.kind == OPENING else line.kind].append(line)
    return found


def _of_kind(kind: str, old: list[Line], new: list[Line], families: Mapping[int, int]) -> list[Part]:
    was, is_now = _amount(old), _amount(new)
    if kind not in _POINTS:
        return [Part(_WHOLE.get(kind, OTHER), kind, was, is_now, is_now - was)]
    volume = _at(was, _points(new) - _points(old), _points(old)) if _points(old) else is_now - was
    price = sum(
        _amount(ours) - _at(_amount(theirs), _points(ours), _points(theirs))
        for family in {families.get(line.terms_id or 0) for line in new}
        if _points(theirs := _family(old, family, families))
        for ours in [_family(new, family, families)]
    )
    rest = is_now - was - volume - price
    return [Part(step, kind, was, is_now, amount) for step, amount in ((VOLUME, volume), (PRICE, price), (MIX, rest))]


def _family(lines: Iterable[Line], family: int | None, families: Mapping[int, int]) -> list[Line]:
    return [line for line in lines if families.get(line.terms_id or 0) == family]


def _at(amount_micro: int, points: int, of_points: int) -> int:
    """So many points at the average price of others."""
    return divide_half_even(amount_micro * points, of_points)


def _amount(lines: Iterable[Line]) -> int:
    return sum(line.amount_micro for line in lines)


def _points(lines: Iterable[Line]) -> int:
    return sum(line.points for line in lines)
