"""PURE: what was signed. The programme's rules and an agreement's terms as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

HOLD_MINUTES = 24 * 60
ISSUER, REDEEMER, BOTH, HONOURS, RUN_OFF = "ISSUER", "REDEEMER", "BOTH", "HONOURS", "RUN_OFF"
"""What a partner may do: issue points, take them, both, honour cards without points, or only wind up."""
POOL, AT_BURN, HYBRID, BY_REDEEMER, BY_OPERATOR = "POOL", "AT_BURN", "HYBRID", "REDEEMER", "OPERATOR"
"""When and by whom the fund part of a point is paid."""
OPERATOR_BEARS, DATED_CORRECTION = "OPERATOR_BEARS", "DATED_CORRECTION"
"""Who bears fees that go back when they were allocated: the operator, or who got them, as a dated correction."""
OPERATOR = 0
ORDINARY_KINDS = ("GOODS", "SERVICE")
"""Kinds of lines that earn where an agreement does not say otherwise."""


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

    earn_kinds are the kinds of lines that earn (a gift card never does), never_earn_classes and -_categories what of
    them does not; earns_on_tax says whether the tax in an amount earns. Points pay for no line of unpayable_kinds and
    leave minimum_money_minor to money. returns_in_proportion: a part that comes back takes its share of everything;
    otherwise what remains is decided again.
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
    role: str = BOTH
    hybrid_fund_micro: int = 0
    breakage_share_bp: int = 0
    earn_kinds: tuple[str, ...] = ORDINARY_KINDS
    never_earn_classes: tuple[str, ...] = ()
    never_earn_categories: tuple[str, ...] = ()
    earns_on_tax: bool = True
    unpayable_kinds: tuple[str, ...] = ()
    minimum_money_minor: int = 0
    returns_in_proportion: bool = False

    @property
    def is_ordinary(self) -> bool:
        """Whether it says no more of what earns, of what points pay and of returns than every agreement must."""
        return not (
            self.never_earn_classes or self.never_earn_categories or self.unpayable_kinds or self.minimum_money_minor
            or self.returns_in_proportion or not self.earns_on_tax or self.earn_kinds != ORDINARY_KINDS
        )  # fmt: skip

    @property
    def issue_price_micro(self) -> int:
        """What the funder pays for one point in all: fund part plus service part, micro-units."""
        return self.fund_price_micro + self.service_price_micro

    @property
    def billed_fund_micro(self) -> int:
        """What of the fund part is billed when a point becomes spendable, micro-units; the rest when it is used."""
        if self.funding == HYBRID:
            return self.hybrid_fund_micro
        return self.fund_price_micro if self.funding in (POOL, BY_OPERATOR) else 0

    @property
    def funder_id(self) -> int:
        """Who funds points issued under these terms; 0 is the operator."""
        return OPERATOR if self.funding == BY_OPERATOR else self.partner_id

    @property
    def issues(self) -> bool:
        """Whether the partner grants points."""
        return self.role in (ISSUER, BOTH)

    @property
    def redeems(self) -> bool:
        """Whether points may be spent at the partner."""
        return self.role in (REDEEMER, BOTH)


@dataclass(frozen=True, slots=True)
class VolumeTier:
    """Of the points that a partner issues in a volume period, each one above so many costs that much less."""

    above_points: int
    rebate_micro: int


@dataclass(frozen=True, slots=True)
class VolumeRebate:
    """Whoever issues at least so many points in a volume period gets a share of the whole service fee back."""

    from_points: int
    rebate_bp: int


@dataclass(frozen=True, slots=True)
class SettlementTerms:
    """What settlement alone needs of the version of an agreement whose `Terms` have the same number.

    volume_period (MONTH, QUARTER, YEAR) is what tiers, rebates and the minimum fee are reckoned over;
    platform_fee_micro is per month; minimum_fee_micro is what service and platform fees of a volume period come to at
    least. debit_cap_micro is the most the partner may owe beyond its cover (None: no cap) and cap_policy what happens
    at it: ALERT, PENDING_HOLD, BLOCK. prefunding_micro and collateral_micro are what it has to have deposited;
    holdback_bp is retained of what it is paid. payment_days is how long after the statement it pays; is_netted False
    pays and is paid gross. tax_rule and fx_rule name the version of a rule. review_days is for objections before
    payment, dispute_days after; dispute_minimum_minor is the least amount worth one. tolerance_minor and
    tolerance_days bound what matches a bank entry. cycle (DAY, WEEK, MONTH) is how often it gets a statement; less than
    minimum_payout_minor is carried over. fee_return_policy says who bears fees of subscriptions that go back when their
    days are allocated: OPERATOR_BEARS, or DATED_CORRECTION, the partner gives back what it got of them.
    """

    terms_id: int
    partner_id: int
    version: int
    valid_from: datetime
    currency: str
    role: str = BOTH
    volume_period: str = "MONTH"
    volume_tiers: tuple[VolumeTier, ...] = ()
    volume_rebates: tuple[VolumeRebate, ...] = ()
    platform_fee_micro: int = 0
    minimum_fee_micro: int = 0
    debit_cap_micro: int | None = None
    cap_policy: str = "ALERT"
    prefunding_micro: int = 0
    collateral_micro: int = 0
    holdback_bp: int = 0
    payment_days: int = 2
    is_netted: bool = True
    tax_rule: str = "NONE"
    fx_rule: str = "DAILY_FIXING"
    review_days: int = 5
    dispute_days: int = 60
    dispute_minimum_minor: int = 0
    tolerance_minor: int = 0
    tolerance_days: int = 0
    cycle: str = "MONTH"
    minimum_payout_minor: int = 0
    fee_return_policy: str = OPERATOR_BEARS


LIMITS = ("exposure:", "holding:")
"""How the codes of budgets begin that settlement keeps partners to."""


def exposure_code(partner_code: str) -> str:
    """The code of the budget that limits what points of a partner's may be granted; where there is none, nothing does.

    It is one of points, in all, and its limit is settlement's to set. When it is used up the partner's purchases earn
    nothing, and members spend as before.
    """
    return f"exposure:{partner_code}"


def holding_code(partner_code: str) -> str:
    """The code of the budget that limits what points of a partner's may become spendable by themselves.

    Like `exposure_code`, but when it is used up purchases still earn, and their points stay pending until settlement
    lets them go.
    """
    return f"holding:{partner_code}"


def limit_codes(partner_code: str) -> tuple[str, str]:
    """The codes of both budgets that may limit a partner, the stricter first."""
    return exposure_code(partner_code), holding_code(partner_code)
