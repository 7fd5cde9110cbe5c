"""PURE: what stands on a statement besides rated events: fees, tax, what is retained and let go, what is carried over.

Signs as everywhere in settlement: positive is what the partner receives. All of it has its other side at the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.amounts import BASIS
from partners.terms import SettlementTerms
from settlement.documents.drawing import NO_TAX, TaxRule

PLATFORM_FEE, MINIMUM_FEE = "PLATFORM_FEE", "MINIMUM_FEE"
OUTPUT_TAX, INPUT_TAX = "OUTPUT_TAX", "INPUT_TAX"
HOLDBACK, HOLDBACK_RELEASED = "HOLDBACK", "HOLDBACK_RELEASED"
CARRIED_OUT = "CARRIED_OUT"
ROUNDING = "ROUNDING"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the agreement in force says of how a partner is settled in a currency; amounts in minor units.

    holdback_bp of what it would be paid is retained; less than minimum_payout_minor, either way, is carried over;
    is_netted False pays and is paid gross. review_days are business days to object in.
    """

    is_netted: bool = True
    minimum_payout_minor: int = 0
    holdback_bp: int = 0
    review_days: int = 5
    tax: TaxRule = NO_TAX


@dataclass(frozen=True, slots=True)
class Brought:
    """What a partner comes to a run with: what was carried over, and what of its holdback is due to be let go, in
    minor units."""

    opening_minor: int = 0
    released_minor: int = 0
    conditions: Conditions = Conditions()

    @property
    def is_nothing(self) -> bool:
        """Whether it makes no line by itself."""
        return not (self.opening_minor or self.released_minor)


NOTHING = Brought()


def conditions(terms: SettlementTerms, tax: TaxRule) -> Conditions:
    """The conditions that a version of an agreement says, and the version of its tax rule that is in force."""
    return Conditions(
        is_netted=terms.is_netted,
        minimum_payout_minor=terms.minimum_payout_minor,
        holdback_bp=terms.holdback_bp,
        review_days=terms.review_days,
        tax=tax,
    )


def retained(own_minor: int, brought: Brought) -> list[tuple[str, int]]:
    """What stands between what came of a run's own lines and what is paid, as kinds of line with minor units.

    Holdback that is due is let go; of what the run itself would pay a share is retained, rounded down; and a rest below
    the least that is paid is carried over whole. A partner that is settled gross carries nothing.
    """
    payable = brought.opening_minor + own_minor
    held = max(0, min(own_minor, payable)) * brought.conditions.holdback_bp // BASIS
    payable += brought.released_minor - held
    found = [(HOLDBACK_RELEASED, brought.released_minor), (HOLDBACK, -held)]
    if brought.conditions.is_netted and abs(payable) < brought.conditions.minimum_payout_minor:
        found.append((CARRIED_OUT, -payable))
    return [(kind, amount) for kind, amount in found if amount]


def minimum_fee(*, minimum_micro: int, billed_micro: int) -> int:
    """What is missing of the least that a volume period must bring, micro-units; never below zero."""
    return max(0, minimum_micro - billed_micro)


def due_release(*, held_minor: int, released_minor: int, used_minor: int) -> int:
    """What of the holdback that is old enough has neither been let go nor used up in a default, minor units."""
    return max(0, held_minor - released_minor - used_minor)
