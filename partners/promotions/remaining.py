"""PURE: what is left of a decision when a part of the basket comes back.

What remains is decided again under the stored release, context and counters, and the difference is taken back: a bonus
whose threshold is no longer reached goes, and no more than was given. Where the agreement says so everything goes in
proportion instead, line by line. Budgets are given back for the period in which they were charged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from kit.amounts import allocate
from partners.promotions.basket import (
    Award,
    Basket,
    BasketLine,
    Charge,
    Context,
    Counters,
    Discount,
    Grant,
    LinePart,
    Lot,
    Outcome,
    Share,
    Use,
)
from partners.promotions.evaluation import Cap, caps_of, evaluate
from partners.promotions.plain import Plain
from partners.promotions.releases import Release

_Thing = TypeVar("_Thing", Grant, Use)


class Left(Plain, frozen=True):
    """What is left of a line: amount as the basket has it, before our discounts, and quantity in thousandths."""

    amount_minor: int
    quantity_milli: int


GONE = Left(0, 0)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a return comes to.

    basket and outcome are what is left and what that is worth. lot_points are to be taken from the lots of the
    original, take_points together. discount_minor is discount that is lost; refund_minor is what all goods that came
    back cost after discounts, in money and points together, less what earlier returns gave back. charges, grants and
    uses are what goes back to budgets, is taken from the member, and goes back to the member.
    """

    basket: Basket
    outcome: Outcome
    lot_points: Mapping[int, int]
    take_points: int
    discount_minor: int
    refund_minor: int
    charges: tuple[Charge, ...]
    grants: tuple[Grant, ...]
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a basket: by line (all of those that are not named), and what points still pay of each line.

    line_points_minor is in the basket's order; empty, it is what points paid at first.
    """

    lines: Mapping[str, Left]
    line_points_minor: Sequence[int] = ()


WHOLE = Rest({})


def left_of(line: BasketLine, paid_minor: int, returned_minor: int) -> Left:
    """What is left of a line of which paid_minor stands on the receipt and returned_minor of that came back, in all.

    Amount and quantity shrink in proportion, rounded down.
    """
    rest = paid_minor - returned_minor
    if paid_minor <= 0:
        return Left(line.amount_minor, line.quantity_milli)
    return Left(line.amount_minor * rest // paid_minor, line.quantity_milli * rest // paid_minor)


def decide(
    release: Release,
    basket: Basket,
    context: Context,
    counters: Counters,
    *,
    original: Outcome,
    left: Rest,
    before: Rest = WHOLE,
    held: Mapping[int, int] | None = None,
    granted: Sequence[Grant] | None = None,
    used: Sequence[Use] | None = None,
    refunded_minor: int = 0,
) -> Remaining:
    """What a return comes to, from the stored decision and what is left after it, and what was left `before` it.

    original is the outcome as it was recorded, whose lots bear the numbers; held are the points that its lots were
    decided to hold after earlier returns, granted and used what these left of its grants and uses, None where there
    were none; refunded_minor is what they gave back.
    """
    _, was = _worth(release, basket, context, counters, original, before)
    rest, now = _worth(release, basket, context, counters, original, left)
    take = _lot_points(original, now, {lot.lot_no: lot.points for lot in original.lots} if held is None else held)
    return Remaining(
        basket=rest,
        outcome=now,
        lot_points=take,
        take_points=sum(take.values()),
        discount_minor=max(was.discount_minor - now.discount_minor, 0),
        refund_minor=max(_cost(basket, original) - _cost(rest, now) - refunded_minor, 0),
        charges=_charges(was.charges, now.charges),
        grants=_ungranted(original.grants if granted is None else granted, now.grants),
        uses=_beyond(original.uses if used is None else used, now.uses),
    )


def rest_of(basket: Basket, left: Rest) -> Basket:
    """The basket that is left. A line of which nothing is left is out of it."""
    paid = left.line_points_minor or basket.line_points_minor or (0,) * len(basket.lines)
    kept = [
        (_line(line, left.lines.get(line.line_id)), points)
        for line, points in zip(basket.lines, paid, strict=True)
        if not _gone(left.lines.get(line.line_id))
    ]
    points = tuple(part for _, part in kept)
    return replace(basket, lines=tuple(line for line, _ in kept), points_minor=sum(points), line_points_minor=points)


def in_proportion(outcome: Outcome, basket: Basket, left: Rest, caps: Mapping[str, Sequence[Cap]]) -> Outcome:
    """The outcome with every part scaled to what is left of its line, rounded down; grants stay while anything does.
    Budgets stay charged with what is left of the rules that count against them: caps, as `evaluation.caps_of`."""
    shares = {
        line.line_id: (_line(line, left.lines.get(line.line_id)).amount_minor, line.amount_minor)
        if not _gone(left.lines.get(line.line_id))
        else (0, 1)
        for line in basket.lines
    }
    awards = tuple(_scaled_award(award, shares) for award in outcome.awards)
    discounts = tuple(found for one in outcome.discounts if (found := _scaled_discount(one, shares)).amount_minor)
    amount = sum(rest for rest, _ in shares.values())
    lots = _scaled_lots(outcome.lots, awards)
    line_points = dict.fromkeys((line.line_id for line in basket.lines), 0)
    for award in awards:
        for part in award.lines:
            line_points[part.line_id] += part.amount
    return replace(
        outcome,
        points=sum(award.points for award in awards),
        line_points=tuple(LinePart(line_id, points) for line_id, points in line_points.items()),
        lots=lots,
        awards=awards,
        discounts=discounts,
        grants=outcome.grants if amount else (),
        uses=outcome.uses if amount else (),
        charges=_still_charged(outcome.charges, awards, discounts, outcome.grants if amount else (), caps),
    )


def _worth(
    release: Release, basket: Basket, context: Context, counters: Counters, original: Outcome, left: Rest
) -> tuple[Basket, Outcome]:
    spread = original.line_points_minor or basket.line_points_minor
    given = replace(basket, line_points_minor=spread) if spread else basket
    rest = rest_of(given, left)
    if not left.lines:
        return rest, original
    if context.terms.proportional_returns:
        return rest, in_proportion(original, basket, left, caps_of(release, context))
    return rest, evaluate(release, rest, context, counters)


def _gone(left: Left | None) -> bool:
    return left is not None and left.amount_minor <= 0 and left.quantity_milli <= 0


def _line(line: BasketLine, left: Left | None) -> BasketLine:
    if left is None or left == Left(line.amount_minor, line.quantity_milli):
        return line
    whole = max(line.amount_minor, 1)
    listed = None if line.list_minor is None else line.list_minor * left.amount_minor // whole
    return replace(
        line,
        amount_minor=left.amount_minor,
        quantity_milli=max(left.quantity_milli, 1),
        tax_minor=line.tax_minor * left.amount_minor // whole,
        list_minor=listed,
    )


def _cost(basket: Basket, outcome: Outcome) -> int:
    return basket.total_minor - outcome.discount_minor


def _lot_points(original: Outcome, now: Outcome, held: Mapping[int, int]) -> dict[int, int]:
    """What each lot of the original gives back: what it holds beyond what its like is worth now, and never more in all
    than the decision fell by."""
    worth: dict[object, int] = {}
    for lot in now.lots:
        worth[_key(lot)] = worth.get(_key(lot), 0) + lot.points
    beyond = {lot.lot_no: max(held.get(lot.lot_no, 0) - worth.get(_key(lot), 0), 0) for lot in original.lots}
    fell = max(sum(held.values()) - now.points, 0)
    if sum(beyond.values()) <= fell:
        return beyond
    return dict(zip(beyond, allocate(fell, list(beyond.values())), strict=True))


def _key(lot: Lot) -> object:
    return lot.funder_id, lot.activates_at, lot.expires_at


def _charges(was: Sequence[Charge], now: Sequence[Charge]) -> tuple[Charge, ...]:
    left = {(one.budget, one.scope_key, one.period_key): one.amount for one in now}
    back = [(one, one.amount - left.get((one.budget, one.scope_key, one.period_key), 0)) for one in was]
    return tuple(replace(one, amount=amount) for one, amount in back if amount > 0)


def _still_charged(
    charges: Sequence[Charge],
    awards: Sequence[Award],
    discounts: Sequence[Discount],
    grants: Sequence[Grant],
    caps: Mapping[str, Sequence[Cap]],
) -> tuple[Charge, ...]:
    given: dict[str, int] = {}
    for rule, amount in (
        *((one.rule, one.points) for one in awards),
        *((one.rule, one.amount_minor) for one in discounts),
        *((one.rule, one.quantity) for one in grants),
    ):
        given[rule] = given.get(rule, 0) + amount
    still: dict[tuple[str, str, str], int] = {}
    for rule, amount in given.items():
        for cap in caps.get(rule, ()) if amount else ():
            key = cap.budget.code, cap.scope_key, cap.period_key
            still[key] = still.get(key, 0) + (1 if cap.budget.pieces else amount)
    kept = (replace(one, amount=still.get((one.budget, one.scope_key, one.period_key), 0)) for one in charges)
    return tuple(one for one in kept if one.amount)


def _ungranted(had: Sequence[Grant], now: Sequence[Grant]) -> tuple[Grant, ...]:
    """Grants that go. A badge is one however many rules give it: it goes with the last of them."""
    still = {one.code for one in now if one.kind == "BADGE"}
    return tuple(one for one in _beyond(had, now) if one.kind != "BADGE" or one.code not in still)


def _beyond(had: Iterable[_Thing], now: Iterable[_Thing]) -> tuple[_Thing, ...]:
    """What was had beyond what is now, by kind and code, whichever rule it was of: of two rules that give or use the
    same the other may do so now."""
    left: dict[tuple[str, str], int] = {}
    for one in now:
        left[one.kind, one.code] = left.get((one.kind, one.code), 0) + one.quantity
    beyond: dict[tuple[str, str], _Thing] = {}
    for one in had:
        key = one.kind, one.code
        kept = min(left.get(key, 0), one.quantity)
        left[key] = left.get(key, 0) - kept
        if kept < one.quantity:
            before = beyond[key].quantity if key in beyond else 0
            beyond[key] = replace(one, quantity=before + one.quantity - kept)
    return tuple(beyond.values())


def _scaled_award(award: Award, shares: Mapping[str, tuple[int, int]]) -> Award:
    if not award.lines:
        return award
    lines = tuple(LinePart(part.line_id, _scaled(part.amount, shares[part.line_id])) for part in award.lines)
    points = sum(part.amount for part in lines)
    return replace(award, points=points, lines=lines, funders=_scaled_shares(award.funders, points))


def _scaled_discount(discount: Discount, shares: Mapping[str, tuple[int, int]]) -> Discount:
    amount = _scaled(discount.amount_minor, shares[discount.line_id])
    return replace(discount, amount_minor=amount, funders=_scaled_shares(discount.funders, amount))


def _scaled(amount: int, share: tuple[int, int]) -> int:
    rest, whole = share
    return amount * rest // whole if whole else amount


def _scaled_shares(funders: Sequence[Share], total: int) -> tuple[Share, ...]:
    if not funders:
        return ()
    parts = allocate(total, [share.amount for share in funders])
    return tuple(Share(share.party_id, part) for share, part in zip(funders, parts, strict=True) if part)


def _scaled_lots(lots: Sequence[Lot], awards: Sequence[Award]) -> tuple[Lot, ...]:
    worth: dict[object, int] = {}
    for award in awards:
        for share in award.funders:
            key = (share.party_id, award.activates_at, award.expires_at)
            worth[key] = worth.get(key, 0) + share.amount
    kept = (replace(lot, points=worth.get(_key(lot), 0)) for lot in lots)
    return tuple(lot for lot in kept if lot.points)
