"""PURE: what stands on a statement besides rated events: fees, tax, what is retained and let go, what is carried over.

Signs as everywhere in settlement: positive is what the partner receives. All of it has its other side at the operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kit.amounts import BASIS
from partners.terms import SettlementTerms

PLATFORM_FEE, MINIMUM_FEE = "PLATFORM_FEE", "MINIMUM_FEE"
TAX_ON_INVOICE, TAX_ON_SELF_BILLED = "TAX_ON_INVOICE", "TAX_ON_SELF_BILLED"
HOLDBACK_RELEASED, HELD_BACK = "HOLDBACK_RELEASED", "HELD_BACK"
CARRIED_OUT = "CARRIED_OUT"
ROUNDING = "ROUNDING"

MIRRORED = frozenset(
    {PLATFORM_FEE, MINIMUM_FEE, TAX_ON_INVOICE, TAX_ON_SELF_BILLED, HOLDBACK_RELEASED, HELD_BACK, CARRIED_OUT}
)
"""Kinds of line whose other side the operator's statement shows summed over all partners."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A line that no price made: micro-units, positive where the partner receives it."""

    kind: str
    amount_micro: int
    terms_id: int | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the agreement in force says of how a partner is settled in a currency; amounts in minor units.

    holdback_bp of what it would be paid is retained; less than minimum_payout_minor, either way, is carried over;
    is_netted False pays and is paid gross.
    """

    is_netted: bool = True
    minimum_payout_minor: int = 0
    holdback_bp: int = 0


@dataclass(frozen=True, slots=True)
class Brought:
    """What a partner comes to a run with: what was carried over, what of its holdback is due to be let go (minor
    units), and the fees that fall due."""

    opening_minor: int = 0
    released_minor: int = 0
    fees: tuple[Charge, ...] = ()
    conditions: Conditions = Conditions()

    @property
    def is_nothing(self) -> bool:
        """Whether it makes no line by itself."""
        return not (self.opening_minor or self.released_minor or any(fee.amount_micro for fee in self.fees))


NOTHING = Brought()


def conditions(terms: SettlementTerms) -> Conditions:
    """The conditions that a version of an agreement says."""
    return Conditions(
        is_netted=terms.is_netted, minimum_payout_minor=terms.minimum_payout_minor, holdback_bp=terms.holdback_bp
    )


def retained(payable_minor: int, brought: Brought) -> list[tuple[str, int]]:
    """What stands between what came of all lines and what is paid, as kinds of line with minor units.

    Holdback that is due is let go, of what would then be paid a share is retained, rounded down, and a rest below the
    least that is paid is carried over whole; a partner that is settled gross carries nothing.
    """
    found = [(HOLDBACK_RELEASED, brought.released_minor)]
    payable = payable_minor + brought.released_minor
    held = max(0, payable_minor) * brought.conditions.holdback_bp // BASIS
    found.append((HELD_BACK, -held))
    payable -= held
    if brought.conditions.is_netted and abs(payable) < brought.conditions.minimum_payout_minor:
        found.append((CARRIED_OUT, -payable))
    return [(kind, amount) for kind, amount in found if amount]


def minimum_fee(*, minimum_micro: int, billed_micro: int) -> int:
    """What is missing of the least that a volume period must bring, micro-units; never below zero."""
    return max(0, minimum_micro - billed_micro)


def due_release(*, held_minor: int, released_minor: int, consumed_minor: int) -> int:
    """What of the holdback that is old enough has neither been let go nor used up in a default, minor units."""
    return max(0, held_minor - released_minor - consumed_minor)


def sum_of(charges: Iterable[Charge]) -> int:
    """Micro-units of charges together."""
    return sum(charge.amount_micro for charge in charges)
