"""PURE: what was signed. The programme's rules and an agreement's terms as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

HOLD_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Programme:
    """The coalition's own rules; one per database.

    bill_ceiling_bp is the share of a bill that points may pay, in basis points; point_value_micro is what one point
    is worth at the till, in micro-units per currency (10,000 is 0.01); notice_days is how many days before they expire
    the holder of points must have been told, 0 where nobody needs to be.
    """

    name: str
    time_zone: str
    base_currency: str
    languages: tuple[str, ...]
    bill_ceiling_bp: int
    refund_grace_days: int
    point_value_micro: Mapping[str, int]
    notice_days: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """One version of an agreement between a partner and the operator; never edited.

    Rates and shares are basis points, prices integer micro-units of the currency per point; tier_bonus_bp is added to
    earn_rate_bp for members of a tier: 100 and 50 is 1.5 % of the amount. In force from valid_from until the next
    approved version's. return_policy says what becomes of points that were spent when their purchase is returned:
    ISSUER_BEARS, they are forgiven; REFUND_DEDUCTION, the partner keeps their worth from the refund; MEMBER_DEBT, other
    points of the member serve, and what is missing is owed. hold_minutes is the longest that points may stay
    set aside.
    """

    terms_id: int
    partner_id: int
    version: int
    valid_from: datetime
    currency: str
    earn_rate_bp: int
    fund_price_micro: int
    service_price_micro: int
    reimbursement_price_micro: int
    funding: str
    return_window_days: int
    expiry_months: int
    bill_share_bp: int
    return_policy: str
    tier_bonus_bp: Mapping[str, int] = field(default_factory=dict)
    hold_minutes: int = HOLD_MINUTES

    @property
    def issue_price_micro(self) -> int:
        """What the funder pays for one activated point: fund part plus service part, micro-units."""
        return self.fund_price_micro + self.service_price_micro


def exposure_code(partner_code: str) -> str:
    """The code of the budget that limits what points of a partner's may be granted; where there is none, nothing does.

    It is one of points, in all, and its limit is settlement's to set. When it is used up the partner's purchases earn
    nothing, and members spend as before.
    """
    return f"exposure:{partner_code}"
