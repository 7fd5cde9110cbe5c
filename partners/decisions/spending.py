"""PURE: how much of a bill points may pay, what bound it, and how they fall on the lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.amounts import BASIS, allocate, micro_per_minor
from partners.decisions.earning import EarnLine
from partners.receipts.receipts import Line
from partners.terms import Programme, Terms


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """The most points that may be spent on a bill, what they are worth in minor units, and what bound them.

    bound_by is PROGRAMME_CEILING, AGREEMENT_SHARE, BALANCE or SPEND_LOCK, and where rules decide also MINIMUM_MONEY,
    NOTHING_ELIGIBLE or RULE:<code>.
    """

    points: int
    value_minor: int
    bound_by: str


def value_of(points: int, *, terms: Terms, programme: Programme) -> int:
    """What points pay at the till, in minor units of the agreement's currency, rounded down."""
    return points * programme.point_value_micro[terms.currency] // micro_per_minor(terms.currency)


def limit(
    total_minor: int, *, terms: Terms, programme: Programme, available: int | None = None, locked: bool = False
) -> SpendLimit:
    """The most points a bill of total_minor takes; available is the member's balance where it is to count."""
    share_bp, bound_by = min((programme.bill_ceiling_bp, "PROGRAMME_CEILING"), (terms.bill_share_bp, "AGREEMENT_SHARE"))
    ceiling_micro = total_minor * share_bp // BASIS * micro_per_minor(terms.currency)
    points = ceiling_micro // programme.point_value_micro[terms.currency]
    found = SpendLimit(points, value_of(points, terms=terms, programme=programme), bound_by)
    return within(found, terms=terms, programme=programme, available=available, locked=locked)


def within(most: SpendLimit, *, terms: Terms, programme: Programme, available: int | None, locked: bool) -> SpendLimit:
    """What of a bill's limit the member's balance and spend lock leave."""
    points, bound_by = most.points, most.bound_by
    if locked:
        points, bound_by = 0, "SPEND_LOCK"
    elif available is not None and available < points:
        points, bound_by = available, "BALANCE"
    return SpendLimit(points, value_of(points, terms=terms, programme=programme), bound_by)


def spread(lines: Sequence[Line], points: int, value_minor: int) -> tuple[list[int], list[EarnLine]]:
    """Points and their value spread over lines by amount, largest remainder: points per line, and what earning sees."""
    if not points and not value_minor:
        return [0] * len(lines), [EarnLine(line.line_id, line.kind, line.amount_minor) for line in lines]
    weights = [line.amount_minor for line in lines]
    paid_points = allocate(points, weights)
    paid_minor = allocate(value_minor, weights)
    return paid_points, [
        EarnLine(line.line_id, line.kind, line.amount_minor, paid) for line, paid in zip(lines, paid_minor, strict=True)
    ]
