"""PURE: what a return takes back and gives back.

What remains of the basket is decided again under the terms, tier and points of the original, and the difference to
what was decided so far is taken back: falling below nothing, never more than was given. Points that paid a line come
back with it in proportion, exactly all of them when the line is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from msgspec import structs

from kit.amounts import allocate
from kit.errors import Rejection
from partners.decisions import earning
from partners.decisions.decisions import Decided, owed_of
from partners.decisions.earning import EarnLine
from partners.promotions import remaining
from partners.promotions.basket import Grant, Use
from partners.promotions.remaining import GONE, Remaining, Rest, left_of
from partners.receipts.records import BudgetCharge, OwedRow
from partners.terms import Programme, Terms, limit_codes


class LineUnknown(Rejection):
    """The original has no such line."""

    code = "LINE_UNKNOWN"
    retryable = False


class LineAlreadyReturned(Rejection):
    """The line is returned already, or less of it is left than asked."""

    code = "LINE_ALREADY_RETURNED"
    retryable = False


class ReturnExceedsOriginal(Rejection):
    """More is returned than was bought and not returned yet."""

    code = "RETURN_EXCEEDS_ORIGINAL"
    retryable = False


class ReturnEmpty(Rejection):
    """Nothing to return: the amount is zero or no line is named."""

    code = "RETURN_EMPTY"
    retryable = False


@dataclass(frozen=True, slots=True)
class BoughtLine:
    """A line of the original: its amount, what points paid of it (points and minor units), and what was returned.

    is_back tells of a line that cost nothing whether it came back: no amount can.
    """

    line_id: str
    kind: str
    amount_minor: int
    paid_points: int
    paid_minor: int
    returned_minor: int = 0
    is_back: bool = False

    @property
    def left_minor(self) -> int:
        """What is still bought, in minor units."""
        return self.amount_minor - self.returned_minor

    def after(self, amount_minor: int | None) -> BoughtLine:
        """The line when amount_minor more of it is returned, None where the return is not of this line."""
        return BoughtLine(
            self.line_id, self.kind, self.amount_minor, self.paid_points, self.paid_minor,
            self.returned_minor + (amount_minor or 0),
            self.is_back or (self.amount_minor == 0 and amount_minor is not None),
        )  # fmt: skip

    @property
    def refunded_points(self) -> int:
        """Points given back for what was returned so far: proportional, rounded down, all when the line is gone."""
        return self.paid_points * self.returned_minor // self.amount_minor if self.amount_minor else 0

    @property
    def refunded_minor(self) -> int:
        """The same in minor units of their value at the till."""
        return self.paid_minor * self.returned_minor // self.amount_minor if self.amount_minor else 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be returned: everything, an amount per line (None: all that is left of it), or an amount.

    Returning everything when nothing is left is refused, unless even_nothing: a cancellation is always accepted.
    """

    lines: Mapping[str, int | None] | None = None
    amount_minor: int | None = None
    even_nothing: bool = False


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What a return undoes of a decision by rules: what goes back to budgets, what the parties owe each other no more
    (as it was owed), what of grants is taken from the member, and what that was used up goes back to the member."""

    charges: tuple[BudgetCharge, ...] = ()
    owed: tuple[OwedRow, ...] = ()
    grants: tuple[Grant, ...] = ()
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True)
class Takeback:
    """The decision: amounts per line and in all, points to take per lot, points and their value to give back.

    lost_minor is what of the discounts on the rest is lost with what was returned, so that less money comes back; below
    zero where more was kept from an earlier return than is lost now. All returns together give back what was paid.
    """

    line_minor: Mapping[str, int]
    amount_minor: int
    lot_points: Mapping[int, int]
    take_points: int
    refund_points: int
    refund_points_minor: int
    left_points: int
    lost_minor: int = 0
    given_back: GivenBack = field(default_factory=GivenBack)

    @property
    def refund_money_minor(self) -> int:
        """Money to hand back, before any deduction for points that could not be taken back."""
        return max(self.amount_minor - self.refund_points_minor - self.lost_minor, 0)


def decide(
    lines: Sequence[BoughtLine],
    wish: Wish,
    *,
    lot_points: Mapping[int, int],
    terms: Terms,
    programme: Programme,
    tier: str,
    occurred_at: datetime,
) -> Takeback:
    """Decide a return. lot_points is what each lot of the original was decided to hold after earlier returns.

    Raises LineUnknown, LineAlreadyReturned, ReturnExceedsOriginal or ReturnEmpty.
    """
    returned = _amounts(lines, wish)
    after = [line.after(returned.get(line.line_id)) for line in lines]
    award = earning.evaluate(
        [EarnLine(line.line_id, line.kind, line.left_minor, line.paid_minor - line.refunded_minor) for line in after],
        terms=terms,
        programme=programme,
        tier=tier,
        occurred_at=occurred_at,
    )
    keep = {lot.lot_no: lot.points for lot in award.lots}
    take = {lot_no: max(points - keep.get(lot_no, 0), 0) for lot_no, points in lot_points.items()}
    return Takeback(
        line_minor=returned,
        amount_minor=sum(returned.values()),
        lot_points=take,
        take_points=sum(take.values()),
        refund_points=sum(new.refunded_points - old.refunded_points for new, old in zip(after, lines, strict=True)),
        refund_points_minor=sum(new.refunded_minor - old.refunded_minor for new, old in zip(after, lines, strict=True)),
        left_points=award.points,
    )


def decide_by_rules(
    lines: Sequence[BoughtLine],
    wish: Wish,
    *,
    lot_points: Mapping[int, int],
    decided: Decided,
    left: GivenBack,
    refunded_minor: int = 0,
    exposure_here: int | None = None,
) -> Takeback:
    """As `decide`, of a purchase that rules decided: what remains is decided again under its release, on its context
    and counters.

    left is what earlier returns left of charges, debts between parties, grants and uses, refunded_minor the money that
    they gave back; exposure_here the partner's number where the purchase was charged to what it may grant.
    """
    returned = _amounts(lines, wish)
    after = [line.after(returned.get(line.line_id)) for line in lines]
    basis = decided.basis
    found = remaining.decide(
        basis.release, decided.basket, basis.context, basis.counters, original=decided.outcome, held=lot_points,
        left=_rest(decided, after), before=_rest(decided, lines),
        granted=left.grants, used=left.uses, refunded_minor=refunded_minor + sum(line.refunded_minor for line in lines),
    )  # fmt: skip
    amount_minor = sum(returned.values())
    refund_points_minor = sum(new.refunded_minor - old.refunded_minor for new, old in zip(after, lines, strict=True))
    # A rest that costs nothing any more gives back what points paid of it too, which can only come back as points.
    money_left = sum(line.amount_minor - line.paid_minor for line in lines) - refunded_minor
    # Nor do goods give back more than was paid for them, though the rest would be given a discount now that it was not.
    paid_minor = (
        sum(line.returned_minor for line in after) - sum(line.refunded_minor for line in lines) - refunded_minor
    )
    refund_minor = min(found.refund_minor, refund_points_minor + money_left, paid_minor)
    return Takeback(
        line_minor=returned,
        amount_minor=amount_minor,
        lot_points=dict(found.lot_points),
        take_points=found.take_points,
        refund_points=sum(new.refunded_points - old.refunded_points for new, old in zip(after, lines, strict=True)),
        refund_points_minor=refund_points_minor,
        left_points=found.outcome.points,
        lost_minor=amount_minor - refund_minor,
        given_back=_given_back(found, decided, left, exposure_here),
    )


def _rest(decided: Decided, lines: Sequence[BoughtLine]) -> Rest:
    """What is left of the basket's lines, and what points still pay of each."""
    return Rest(
        {
            line.line_id: GONE if line.is_back else left_of(had, line.amount_minor, line.returned_minor)
            for had, line in zip(decided.basket.lines, lines, strict=True)
            if line.returned_minor or line.is_back
        },
        tuple(line.paid_minor - line.refunded_minor for line in lines) if decided.basket.points_minor else (),
    )


def _given_back(found: Remaining, decided: Decided, left: GivenBack, exposure_here: int | None) -> GivenBack:
    now = {(one.budget, one.scope_key, one.period_key): one.amount for one in found.outcome.charges}
    if exposure_here is not None:
        kept = sum(lot.points for lot in found.outcome.lots if lot.funder_id == exposure_here)
        now |= {(code, "", ""): kept for code in limit_codes(decided.basis.context.partner)}
    charges = (
        structs.replace(one, amount=one.amount - now.get((one.code, one.scope_key, one.period_key), 0))
        for one in left.charges
    )
    owes = {
        (one.rule, one.payer_id, one.kind): one.amount_minor
        for one in owed_of(found.outcome, decided.basis.release, decided.basis.context.terms)
    }
    owed = (
        replace(one, amount_minor=one.amount_minor - owes.get((one.rule, one.payer_id, one.kind), 0))
        for one in left.owed
    )
    return GivenBack(
        tuple(one for one in charges if one.amount > 0),
        tuple(one for one in owed if one.amount_minor > 0),
        found.grants,
        found.uses,
    )


def _amounts(lines: Sequence[BoughtLine], wish: Wish) -> dict[str, int]:
    if wish.lines is not None:
        return _by_lines(lines, wish.lines)
    left = {line.line_id: line.left_minor for line in lines}
    if wish.amount_minor is None:
        if (
            not wish.even_nothing
            and not any(left.values())
            and any(line.returned_minor or line.is_back for line in lines)
        ):
            raise ReturnExceedsOriginal("nothing is left of the purchase")
        return left
    if wish.amount_minor <= 0:
        raise ReturnEmpty("the amount to return must be above zero")
    if wish.amount_minor > sum(left.values()):
        raise ReturnExceedsOriginal("more is returned than is left of the purchase")
    parts = zip(left, allocate(wish.amount_minor, list(left.values())), strict=True)
    is_all = wish.amount_minor == sum(left.values())
    return {line_id: part for line_id, part in parts if part or is_all}


def _by_lines(lines: Sequence[BoughtLine], wished: Mapping[str, int | None]) -> dict[str, int]:
    if not wished:
        raise ReturnEmpty("name at least one line")
    known = {line.line_id: line for line in lines}
    found = {}
    for line_id, amount_minor in wished.items():
        if line_id not in known:
            raise LineUnknown("the purchase has no such line")
        left = known[line_id].left_minor
        asked = left if amount_minor is None else amount_minor
        if asked > left or (left == 0 and known[line_id].amount_minor > 0):
            raise LineAlreadyReturned("less of this line is left than is returned")
        if asked < 0:
            raise ReturnEmpty("the amount to return must be above zero")
        found[line_id] = asked
    return found
