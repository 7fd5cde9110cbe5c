"""PURE: what a decision is made on and what it comes to, as plain values that are stored and hashed.

`Basket`, `Context` and `Counters` are everything that can vary; together with a release they give one `Outcome` for
ever. Amounts are minor units of the basket's currency, rates basis points, points whole, quantities thousandths.
The host computes calendar facts and member facts once; rules never look at a clock or a time zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from hashlib import sha256
from zoneinfo import ZoneInfo

from msgspec import field, json

from kit.instants import same_for_a_minute
from partners.promotions.plain import Pair, Plain, digest
from partners.terms import Programme, Terms

zone_of = lru_cache(maxsize=256)(ZoneInfo)  # which looks its own up by a weak reference each time
UNIT = 1000  # thousandths in a quantity of one
OPERATOR = 0  # the operator's number wherever a partner's stands

# What is counted and summed for a member: where, in which period of the programme's calendar, and what (minor units
# of the programme's base currency for sums). Always without the basket that is being decided.
COUNTERS = frozenset(
    f"{where}.{period}.{what}"
    for where in ("coalition", "partner")
    for period in ("ever", "year", "month", "day")
    for what in ("count", "sum")
)
SCOPES = ("member", "household", "card", "instrument", "partner", "outlet", "code", "referrer")


class BasketLine(Plain, frozen=True):
    """One line: amount_minor is after the till's own discounts, before ours and before points.

    list_minor is the amount before the till's own discounts (None: the same); classes are product classes such as
    `tobacco`; tax_minor is the tax contained in the amount.
    """

    line_id: str
    kind: str
    amount_minor: int
    quantity_milli: int = UNIT
    sku: str = ""
    category: str = ""
    classes: tuple[str, ...] = ()
    list_minor: int | None = None
    tax_minor: int = 0


class Payment(Plain, frozen=True):
    """A part of the bill that money paid, in minor units; instrument is the partner's token of a bank card."""

    kind: str
    amount_minor: int
    instrument: str = ""


class Basket(Plain, frozen=True):
    """What is bought. points are what the member wants to pay with, points_minor their value at the till.

    line_points_minor is how that value falls on the lines where it was decided before (a return decides what remains
    under the spread of the original); empty, the engine spreads it.
    """

    currency: str
    lines: tuple[BasketLine, ...] = ()
    payments: tuple[Payment, ...] = ()
    points: int = 0
    points_minor: int = 0
    line_points_minor: tuple[int, ...] = ()

    @property
    def total_minor(self) -> int:
        """The lines' amounts together: the bill before our discounts and before points."""
        return sum(line.amount_minor for line in self.lines)


class EarnBase(Plain, frozen=True):
    """What the agreement lets earn: kinds of lines, product classes that never do, and whether the tax in it does.

    Gift cards never earn, whatever kinds say.
    """

    kinds: tuple[str, ...] = ("GOODS", "SERVICE")
    excluded_classes: tuple[str, ...] = ()
    excluded_categories: tuple[str, ...] = ()
    without_tax: bool = False

    def left_out_by(self, line: BasketLine) -> str | None:
        """The category or product class for which a line of a kind that earns does not; None where it does."""
        if line.category in self.excluded_categories:
            return line.category
        return next((one for one in line.classes if one in self.excluded_classes), None)


class SpendBase(Plain, frozen=True):
    """What points may pay for under the agreement: kinds of lines that they may not, and the least money."""

    excluded_kinds: tuple[str, ...] = ()
    minimum_money_minor: int = 0


class BaseTerms(Plain, frozen=True):
    """What was signed, as far as a decision needs it; see partners.terms for the meaning of each.

    funder_id is who funds the agreed points where that is not the partner; issues whether points are given at all.
    """

    terms_id: int
    partner_id: int
    currency: str
    earn_rate_bp: int
    return_window_days: int
    expiry_months: int
    bill_share_bp: int
    bill_ceiling_bp: int
    point_value_micro: int
    tier_bonus_bp: Mapping[str, int] = field(default_factory=dict)
    earn: EarnBase = EarnBase()
    spend: SpendBase = SpendBase()
    proportional_returns: bool = False
    funder_id: int | None = None
    issues: bool = True

    @property
    def payer_id(self) -> int:
        """Who funds what the agreement gives."""
        return self.partner_id if self.funder_id is None else self.funder_id

    @classmethod
    def signed(cls, terms: Terms, programme: Programme) -> BaseTerms:
        """The agreement's version and the programme's rules as a decision sees them.

        Raises KeyError when the programme gives a point no value in the agreement's currency.
        """
        return cls(
            terms_id=terms.terms_id, partner_id=terms.partner_id, currency=terms.currency,
            earn_rate_bp=terms.earn_rate_bp, return_window_days=terms.return_window_days,
            expiry_months=terms.expiry_months, bill_share_bp=terms.bill_share_bp,
            bill_ceiling_bp=programme.bill_ceiling_bp, point_value_micro=programme.point_value_micro[terms.currency],
            tier_bonus_bp=terms.tier_bonus_bp,
            earn=EarnBase(
                terms.earn_kinds, terms.never_earn_classes, terms.never_earn_categories, not terms.earns_on_tax
            ),
            spend=SpendBase(terms.unpayable_kinds, terms.minimum_money_minor),
            proportional_returns=terms.returns_in_proportion,
            funder_id=None if terms.funder_id == terms.partner_id else terms.funder_id, issues=terms.issues,
        )  # fmt: skip


class Member(Plain, frozen=True):
    """Facts about the member at the instant of the decision, none of them personal.

    plan is the code of the umbrella plan in force, empty for none; attributes are verified and not expired;
    counters are named in COUNTERS; stamps are balances of second units by their code; days_to_birthday is 0 on the
    day, negative after it, None where no birthday is known.
    """

    tier: str = "BASE"
    plan: str = ""
    benefits: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    badges: tuple[str, ...] = ()
    age_days: int = 0
    enrolled_here: bool = False
    days_to_birthday: int | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    stamps: Mapping[str, int] = field(default_factory=dict)
    in_household: bool = False


class Local(Plain, frozen=True):
    """The calendar at the outlet: ISO date, weekday (1 is Monday), hour, minute, codes of the day's holidays."""

    date: str
    weekday: int
    hour: int
    minute: int = 0
    holidays: tuple[str, ...] = ()

    @classmethod
    def at(cls, occurred_at: datetime, zone: str, holidays: tuple[str, ...] = ()) -> Local:
        """The calendar facts of an instant in an IANA zone."""
        return _local(occurred_at, (zone, holidays))


@same_for_a_minute
def _local(minute: datetime, key: tuple[str, tuple[str, ...]]) -> Local:
    zone, holidays = key
    here = minute.astimezone(zone_of(zone))
    return Local(here.date().isoformat(), here.isoweekday(), here.hour, here.minute, tuple(sorted(holidays)))


class Coupon(Plain, frozen=True):
    """A code that was presented: the batch it is of, its number, and its state: VALID, or why it cannot be used."""

    batch: str
    coupon: str
    state: str = "VALID"


class Event(Plain, frozen=True):
    """What happened where it is no purchase: the partner's own code, and figures and words that came with it."""

    code: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


class Context(Plain, frozen=True):
    """Everything around the basket that a decision may look at.

    trigger is one of documents.TRIGGERS; partner and outlet are codes; zone is the outlet's, dates holds the local
    date of every zone that budgets of the release count in (`releases.Release.zones`); available is the points that
    the member could spend, None where it is not to count; arms tells the arm of each experiment, CONTROL or TREATED (of
    one that is not named the member is treated);
    scopes gives the value of each scope (SCOPES) that is known; denied are budgets that turned out exhausted in the
    write, whose rules are left out.
    """

    occurred_at: datetime
    received_at: datetime
    partner: str
    outlet: str
    zone: str
    local: Local
    terms: BaseTerms
    trigger: str = "purchase"
    channel: str = "pos"
    member: Member = Member()
    event: Event | None = None
    coupons: tuple[Coupon, ...] = ()
    available: int | None = None
    spend_locked: bool = False
    arms: Mapping[str, str] = field(default_factory=dict)
    scopes: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    denied: tuple[str, ...] = ()


class Counters(Plain, frozen=True):
    """What budgets had left when the decision was made: `key(budget, scope_key, period_key)` -> remaining.

    A budget that is missing here was never used and has its whole limit.
    """

    remaining: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def key(budget: str, scope_key: str, period_key: str) -> str:
        """The name of one counter: `code/member:17/2026-03`."""
        return f"{budget}/{scope_key}/{period_key}"

    @classmethod
    def of(cls, left: Mapping[tuple[str, str, str], int]) -> Counters:
        """What is left by (budget, scope_key, period_key)."""
        found = {}
        for each in sorted(left) if len(left) > 1 else left:
            budget, scope_key, period_key = each
            found[f"{budget}/{scope_key}/{period_key}"] = left[each]  # as `key`, which would be a call for each
        return cls(found)


class Lot(Plain, frozen=True, omit_defaults=True):
    """Points to be granted by one funder with one activation and one expiry; lot 1 holds the contractual base."""

    lot_no: int
    issuer_id: int
    funder_id: int
    terms_id: int
    points: int
    activates_at: datetime
    expires_at: datetime


class Share(Pair, frozen=True, array_like=True):
    """What one party pays of an effect: points of an award, minor units of a discount. A pair in JSON."""

    party_id: int
    amount: int


class LinePart(Pair, frozen=True, array_like=True):
    """What falls on one line: points of an award, minor units of a discount. A pair in JSON."""

    line_id: str
    amount: int


class Award(Plain, frozen=True, omit_defaults=True):
    """Points by one rule, or by the agreement (BASE, TIER_BONUS), split to lines and to funders; both sum to it."""

    rule: str
    version: int
    points: int
    lines: tuple[LinePart, ...] = ()
    funders: tuple[Share, ...] = ()
    activates_at: datetime | None = None
    expires_at: datetime | None = None
    facts: Mapping[str, int | str] = field(default_factory=dict)


class Discount(Plain, frozen=True, omit_defaults=True):
    """Money off one line by one rule, in minor units, and who pays it; source is PROGRAMME, or COUPON."""

    rule: str
    version: int
    line_id: str
    amount_minor: int
    source: str
    funders: tuple[Share, ...] = ()


class Grant(Plain, frozen=True, omit_defaults=True):
    """Something else that is given: COUPON, STAMP, BADGE, ENTITLEMENT, TIER_CREDIT or RAFFLE_TICKET.

    code is the batch, unit, badge, entitlement or raffle; expires_at is None where it does not end by itself.
    """

    rule: str
    version: int
    kind: str
    code: str
    quantity: int
    expires_at: datetime | None = None
    funders: tuple[Share, ...] = ()


class Use(Plain, frozen=True, omit_defaults=True):
    """Something that the decision uses up: kind COUPON (code is the coupon's number) or STAMP (code is the unit)."""

    rule: str
    kind: str
    code: str
    quantity: int = 1


class Charge(Plain, frozen=True, omit_defaults=True):
    """What a budget is charged in the write; on_exceed is `deny` or `partial`. One per budget, scope and period."""

    budget: str
    scope_key: str
    period_key: str
    amount: int
    limit: int
    on_exceed: str


class SpendLimit(Plain, frozen=True, omit_defaults=True):
    """The most points this bill takes, their value in minor units, and the cap that bound.

    bound_by is PROGRAMME_CEILING, AGREEMENT_SHARE, MINIMUM_MONEY, NOTHING_ELIGIBLE, BALANCE, SPEND_LOCK or RULE:<code>.
    """

    points: int
    value_minor: int
    bound_by: str


class Step(Plain, frozen=True, omit_defaults=True):
    """What became of one rule whose conditions held, or failed to be computed; reason is one of REASONS.

    computed is what its effect came to before caps, awarded what was given (points, minor units or pieces); by names
    the rule that outranked it, limited_by the budget that bound and remaining what that had left. Where a threshold was
    not reached limited_by names it and remaining is what was missing; of stamps remaining is what the member has.
    """

    rule: str
    version: int
    reason: str
    computed: int = 0
    awarded: int = 0
    by: str = ""
    limited_by: str = ""
    remaining: int | None = None


_ENCODER = json.Encoder(order="deterministic")
REASONS = (
    "APPLIED", "NOT_EFFECTIVE", "CONDITION_FALSE", "CONDITION_ERROR", "OUTRANKED_BY", "EXCLUSIVE_AFTER",
    "CODE_REQUIRED", "CODE_INVALID", "BUDGET_EXHAUSTED", "CAPPED", "ZERO_EFFECT", "HOLDOUT", "BELOW_THRESHOLD",
    "SCOPE_MISSING", "STAMPS_SHORT",
)  # fmt: skip


class Outcome(Plain, frozen=True, omit_defaults=True):
    """What a basket gets. points = Σ awards = Σ lots = Σ line_points; every award and discount sums over its parts."""

    points: int = 0
    line_points: tuple[LinePart, ...] = ()
    lots: tuple[Lot, ...] = ()
    awards: tuple[Award, ...] = ()
    discounts: tuple[Discount, ...] = ()
    grants: tuple[Grant, ...] = ()
    uses: tuple[Use, ...] = ()
    charges: tuple[Charge, ...] = ()
    spend_limit: SpendLimit | None = None
    line_points_minor: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def discount_minor(self) -> int:
        """Money off the whole bill, in minor units."""
        return sum(discount.amount_minor for discount in self.discounts)

    @property
    def outcome_sha256(self) -> str:
        """The hash under which a replay must come to the same.

        It is of the outcome as JSON, field by field as they are declared, without those that are as declared. msgspec
        tells these by identity: a default here is one of which there is only one object (0, 1, none, an empty text).
        """
        return sha256(_ENCODER.encode(self)).hexdigest()


def snapshot(basket: Basket, context: Context, counters: Counters) -> dict[str, object]:
    """What a decision was made on, as it is stored beside the release's number."""
    return {"basket": basket.to_json(), "context": context.to_json(), "counters": counters.to_json()}


def snapshot_sha256(basket: Basket, context: Context, counters: Counters) -> str:
    """The hash of what a decision was made on."""
    return digest(snapshot(basket, context, counters))


def days_to_birthday(day: int, month: int, on: date) -> int:
    """Days from a local date to the nearest birthday: 0 on it, negative after; 29 February is kept on the 28th."""
    nearest = None
    for year in (on.year - 1, on.year, on.year + 1):
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        there = date(year, month, 28 if (month, day) == (2, 29) and not leap else day)
        away = (there - on).days
        if nearest is None or abs(away) < abs(nearest):
            nearest = away
    assert nearest is not None
    return nearest
