"""PURE: rule documents: what a marketer writes, validated, with what is wrong told by path.

A document is versioned and never edited. Who, where, what and when become conditions in CEL like the author's own
(`conditions`), so there is one meaning of each; numbers are computed by integer code, never by an expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from kit.amounts import BASIS
from kit.errors import FieldProblem
from partners.promotions import conditions, expressions
from partners.promotions.expressions import ExpressionInvalid
from partners.promotions.plain import canonical, digest
from partners.receipts.receipts import LINE_KINDS

LANGUAGES = ("en", "ru", "ro")
TRIGGERS = (
    "purchase",
    "enrolment",
    "event",
    "referral_qualified",
)  # what happens here; a rule of another would never fire
HERE, OPERATOR_PARTY = "HERE", "OPERATOR"  # funding parties that are not a partner's code
BASE_RULES = ("BASE", "TIER_BONUS")  # what the agreement gives; no rule may take these names
MOST_POINTS = 10**9
MOST_MINOR = 10**12
MOST_PIECES = 10_000
"""How many stamps, tickets or other pieces one rule gives at once, whatever a till says was bought."""

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
Code = Annotated[str, Field(pattern=f"^{CODE.pattern}$")]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Rate = Annotated[int, Field(ge=1, le=BASIS)]
Points = Annotated[int, Field(ge=1, le=MOST_POINTS)]
Minor = Annotated[int, Field(ge=1, le=MOST_MINOR)]
Days = Annotated[int, Field(ge=0, le=3660)]
Sort = Literal["earn", "discount", "redeem_limit", "grant", "benefit"]
Trigger = Literal["purchase", "enrolment", "event", "referral_qualified"]


class Document(BaseModel):
    """A part of a rule document: nothing unknown in it, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Texts(Document):
    """One text in the programme's three languages."""

    en: str = Field(min_length=1, max_length=300)
    ru: str = Field(min_length=1, max_length=300)
    ro: str = Field(min_length=1, max_length=300)

    def of(self, language: str) -> str:
        """The text in a language; English where the language is unknown."""
        return str(getattr(self, language if language in LANGUAGES else "en"))


class Span(Document):
    """From min to max, both included; None is open."""

    min: int | None = None
    max: int | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("expected min not above max")
        return self


class CounterSpan(Span):
    """A counter of basket.COUNTERS in a span: `partner.ever.count` at most 0 is the first purchase at the partner."""

    counter: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        where, _, rest = self.counter.partition(".")
        period, _, what = rest.partition(".")
        if where not in ("coalition", "partner") or period not in ("ever", "year", "month", "day"):
            raise ValueError("expected coalition|partner . ever|year|month|day . count|sum")
        if what not in ("count", "sum"):
            raise ValueError("expected a counter that ends in count or sum")
        return self


class Who(Document):
    """Members a rule is for; every list that is not empty must hold, one of its entries is enough."""

    tiers: tuple[Code, ...] = ()
    plans: tuple[Code, ...] = ()
    subscriber: bool | None = None
    benefits: tuple[Code, ...] = ()
    segments: tuple[Code, ...] = ()
    exclude_segments: tuple[Code, ...] = ()
    attributes: tuple[Code, ...] = ()
    badges: tuple[Code, ...] = ()
    membership_age_days: Span | None = None
    enrolled_here: bool | None = None
    in_household: bool | None = None
    counters: tuple[CounterSpan, ...] = ()


class Where(Document):
    """Partners, outlets (`partner:outlet`) and channels; no partners means all of them."""

    partners: tuple[Code, ...] = ()
    exclude_partners: tuple[Code, ...] = ()
    outlets: tuple[Name, ...] = ()
    channels: tuple[Literal["pos", "web", "app", "call", "machine"], ...] = ()


class What(Document):
    """Lines a rule looks at, which are also those its effect falls on; without kinds, goods and services.

    line_cel is an expression over one line `l`. Thresholds are over the lines looked at (min_quantity_milli in
    thousandths, min_amount_minor) or the whole bill (min_basket_minor); amounts are counted `of` GROSS, before our
    discounts; AFTER_DISCOUNTS, where points count like money; or MONEY, what is left for money to pay.
    """

    kinds: tuple[Name, ...] = ()
    categories: tuple[Name, ...] = ()
    skus: tuple[Name, ...] = ()
    classes: tuple[Name, ...] = ()
    exclude_kinds: tuple[Name, ...] = ()
    exclude_categories: tuple[Name, ...] = ()
    exclude_skus: tuple[Name, ...] = ()
    exclude_classes: tuple[Name, ...] = ()
    line_cel: str | None = Field(default=None, max_length=1000)
    min_quantity_milli: Annotated[int, Field(ge=1)] | None = None
    min_amount_minor: Minor | None = None
    min_basket_minor: Minor | None = None
    of: Literal["GROSS", "AFTER_DISCOUNTS", "MONEY"] = "AFTER_DISCOUNTS"

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := sorted({*self.kinds, *self.exclude_kinds} - LINE_KINDS):
            raise ValueError(f"expected kinds of {', '.join(sorted(LINE_KINDS))}, not {', '.join(unknown)}")
        return self

    @property
    def narrows(self) -> bool:
        """Whether fewer lines than all may be meant."""
        return bool(
            self.kinds or self.categories or self.skus or self.classes or self.exclude_kinds
            or self.exclude_categories or self.exclude_skus or self.exclude_classes or self.line_cel
        )  # fmt: skip


class Hours(Document):
    """Local hours from `start` up to and without `end`; over midnight where end is not above start."""

    start: int = Field(ge=0, le=23)
    end: int = Field(ge=1, le=24)


class BirthdayWindow(Document):
    """Days before and after the member's birthday, on the programme's calendar."""

    before: int = Field(ge=0, le=60)
    after: int = Field(ge=0, le=60)


class When(Document):
    """Local calendar of the outlet: dates, weekdays (1 is Monday), hours, holiday codes, days around the birthday."""

    dates: tuple[date, ...] = ()
    weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] = ()
    hours: Hours | None = None
    holidays: tuple[Code, ...] = ()
    birthday_window: BirthdayWindow | None = None


class Condition(Document):
    """The author's own condition: a CEL expression that must be true, with a label that people read."""

    id: Code
    label: Texts
    cel: str = Field(min_length=1, max_length=2000)


class Expiry(Document):
    """When points or a grant end: exactly one of days, months, the end of the n-th month after, or a date.

    end_of_day moves the instant to the end of that day at the outlet; dates and ends of months are ends of days.
    """

    days: Annotated[int, Field(ge=1, le=3660)] | None = None
    months: Annotated[int, Field(ge=1, le=120)] | None = None
    end_of_month_after: Annotated[int, Field(ge=0, le=120)] | None = None
    on: date | None = None
    end_of_day: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.days, self.months, self.end_of_month_after, self.on)) != 1:
            raise ValueError("expected exactly one of days, months, end_of_month_after, on")
        return self


class PointsEffect(Document):
    """What points share: activation_days after it occurred (None: the agreement's return window), and their end."""

    activation_days: Days | None = None
    expiry: Expiry | None = None


class PointsPerMoney(PointsEffect):
    """Points for money: the rate of the base of the lines looked at, rounded `at` the basket or each line.

    base: money_paid is what money pays of the line; net is the amount after our discounts, whatever pays; gross before
    them. What the agreement lets never earn earns nothing here either.
    """

    type: Literal["points_per_money"]
    rate_bp: Annotated[int, Field(ge=1, le=10 * BASIS)]
    base: Literal["money_paid", "net", "gross"] = "money_paid"
    rounding: Literal["floor", "half_up"] = "floor"
    at: Literal["basket", "line"] = "basket"


class PointsFixed(PointsEffect):
    """So many points per basket, per line looked at, or per whole unit of quantity on them."""

    type: Literal["points_fixed"]
    points: Points
    per: Literal["basket", "line", "unit"] = "basket"


class PointsMultiplier(PointsEffect):
    """Bonus of (factor - 1) times the base points of the lines looked at; several add up, none multiplies another."""

    type: Literal["points_multiplier"]
    factor_bp: Annotated[int, Field(gt=BASIS, le=100 * BASIS)]
    rounding: Literal["floor", "half_up"] = "floor"


class DiscountPercent(Document):
    """A share off each line looked at, `of` its initial amount or of what earlier discounts left."""

    type: Literal["discount_percent"]
    rate_bp: Rate
    of: Literal["initial", "remaining"] = "remaining"
    rounding: Literal["floor", "half_up"] = "floor"


class DiscountStep(Document):
    """From so much of the counter on, that rate."""

    from_amount: Annotated[int, Field(ge=0)]
    rate_bp: Rate


class DiscountCumulative(Document):
    """A share that rises with a counter of the member: the highest step reached applies."""

    type: Literal["discount_cumulative"]
    counter: str
    steps: tuple[DiscountStep, ...] = Field(min_length=1, max_length=50)
    of: Literal["initial", "remaining"] = "remaining"
    rounding: Literal["floor", "half_up"] = "floor"

    @model_validator(mode="after")
    def _rising(self) -> Self:
        CounterSpan(counter=self.counter, min=0)
        pairs = [(step.from_amount, step.rate_bp) for step in self.steps]
        if any(one[0] >= two[0] or one[1] >= two[1] for one, two in pairwise(pairs)):
            raise ValueError("expected steps that rise, both from_amount and rate_bp")
        return self


class DiscountAmount(Document):
    """So much off the lines looked at together, spread by what is left of them."""

    type: Literal["discount_amount"]
    amount_minor: Minor


class FixedPrice(Document):
    """A unit costs so much whatever the list says, never more than the list; prices by sku go before price_minor."""

    type: Literal["fixed_price"]
    price_minor: Annotated[int, Field(ge=0, le=MOST_MINOR)] | None = None
    prices: dict[Name, Annotated[int, Field(ge=0, le=MOST_MINOR)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.price_minor is None and not self.prices:
            raise ValueError("expected price_minor or prices")
        return self


class CheapestFree(Document):
    """Of every `buy` whole units looked at the `free` cheapest cost nothing; at most `most` times in a basket."""

    type: Literal["cheapest_free"]
    buy: Annotated[int, Field(ge=1, le=1000)]
    free: Annotated[int, Field(ge=1, le=1000)] = 1
    most: Annotated[int, Field(ge=1, le=1000)] | None = None

    @model_validator(mode="after")
    def _fewer(self) -> Self:
        if self.free > self.buy:
            raise ValueError("expected free not above buy")
        return self


class SetRedeemCap(Document):
    """Points pay at most that share, and leave that much for money; only ever lowers what was agreed. 0 forbids."""

    type: Literal["set_redeem_cap"]
    share_bp: Annotated[int, Field(ge=0, le=BASIS)] = BASIS
    minimum_money_minor: Annotated[int, Field(ge=0, le=MOST_MINOR)] = 0


class GrantEffect(Document):
    """What grants share: how many, per what, and when they end. Of what would be over when it is given nothing is."""

    quantity: Annotated[int, Field(ge=1, le=MOST_PIECES)] = 1
    expiry: Expiry | None = None


class GrantCoupon(GrantEffect):
    """Coupons of a batch for the member."""

    type: Literal["grant_coupon"]
    batch: Code


class GrantStamp(GrantEffect):
    """Stamps, a second unit with an end of its own: per basket, per line looked at, or per whole unit on them; at most
    MOST_PIECES."""

    type: Literal["grant_stamp"]
    unit: Code
    per: Literal["basket", "line", "unit"] = "basket"


class GrantBadge(GrantEffect):
    """A badge, worth nothing and seen by all."""

    type: Literal["grant_badge"]
    badge: Code


class GrantEntitlement(GrantEffect):
    """A right to something, so many times."""

    type: Literal["grant_entitlement"]
    entitlement: Code


class TierCredit(GrantEffect):
    """Credit toward a tier, which is no points."""

    type: Literal["tier_credit"]
    reason: Code


class RaffleTicket(GrantEffect):
    """Tickets of a raffle: quantity once, or for every so much money paid; at most MOST_PIECES."""

    type: Literal["raffle_ticket"]
    raffle: Code
    per_minor: Minor | None = None


Effect = Annotated[
    PointsPerMoney | PointsFixed | PointsMultiplier
    | DiscountPercent | DiscountCumulative | DiscountAmount | FixedPrice | CheapestFree
    | SetRedeemCap
    | GrantCoupon | GrantStamp | GrantBadge | GrantEntitlement | TierCredit | RaffleTicket,
    Field(discriminator="type"),
]  # fmt: skip
POINTS_EFFECTS = ("points_per_money", "points_fixed", "points_multiplier")
DISCOUNT_EFFECTS = ("discount_percent", "discount_cumulative", "discount_amount", "fixed_price", "cheapest_free")
GRANT_EFFECTS = ("grant_coupon", "grant_stamp", "grant_badge", "grant_entitlement", "tier_credit", "raffle_ticket")
_EFFECTS_OF: Mapping[str, tuple[str, ...]] = {
    "earn": POINTS_EFFECTS,
    "discount": DISCOUNT_EFFECTS,
    "redeem_limit": ("set_redeem_cap",),
    "grant": GRANT_EFFECTS,
    "benefit": (*POINTS_EFFECTS, *DISCOUNT_EFFECTS, *GRANT_EFFECTS, "set_redeem_cap"),
}
_EFFECT_TYPES = frozenset({*POINTS_EFFECTS, *DISCOUNT_EFFECTS, *GRANT_EFFECTS, "set_redeem_cap"})
_NEEDS_BASKET = ("points_per_money", "points_multiplier", *DISCOUNT_EFFECTS, "set_redeem_cap")


class Stack(Document):
    """Where a rule stands: its group (empty: the release's top, where all add up) and its priority there, lower first.

    exclusive: when it came to something, nothing after it in the group runs.
    """

    group: str = Field(default="", max_length=64)
    priority: Annotated[int, Field(ge=0, le=10**9)]
    exclusive: bool = False


class Funding(Document):
    """A party (a partner's code, HERE or OPERATOR) and the share it pays."""

    party: Code
    bp: Annotated[int, Field(ge=1, le=BASIS)]


class Codes(Document):
    """So many coupons of this batch must be presented; used up when the rule gives something, where `uses_up`.

    Rules that ask for the same batch share the coupons of a basket: one coupon may give a discount and a stamp.
    """

    required: Code
    quantity: Annotated[int, Field(ge=1, le=100)] = 1
    uses_up: bool = True


class Costs(Document):
    """Stamps that the rule uses up when it gives something; the member must have them before the basket."""

    unit: Code
    quantity: Annotated[int, Field(ge=1, le=10_000)]


class RuleDocument(Document):
    """One version of one rule. In force from valid_from until valid_until (instants), where a release holds it.

    experiment names a hold-out of its own; the programme's (GLOBAL) applies to every rule but benefits and limits,
    which are owed. visible says who may see the offer: everyone, or only who could use it (a closed club).
    """

    document: Literal[1] = 1
    code: Code
    version: Annotated[int, Field(ge=1)] = 1
    promotion: Code
    kind: Sort
    trigger: Trigger = "purchase"
    event: Code | None = None
    title: Texts
    who: Who = Who()
    where: Where = Where()
    what: What = What()
    when: When = When()
    conditions: tuple[Condition, ...] = Field(default=(), max_length=20)
    effect: Effect
    stack: Stack
    caps: tuple[Code, ...] = Field(default=(), max_length=10)
    funding: tuple[Funding, ...] = Field(default=(), max_length=10)
    codes: Codes | None = None
    costs: Costs | None = None
    experiment: Code | None = None
    visible: Literal["everyone", "eligible"] = "everyone"
    valid_from: datetime
    valid_until: datetime | None = None

    @property
    def source(self) -> dict[str, Any]:
        """The document as plain JSON, without what equals its default: what is stored and hashed."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"document": self.document}

    @property
    def doc_sha256(self) -> str:
        """The hash of the source."""
        return digest(self.source)


class BudgetDocument(Document):
    """A cap that one or several rules count against.

    unit: points awarded, money (minor units of discounts), or count of applications. scopes: whose it is, empty for
    one in all; period: over the local calendar of zone (an IANA name), or rolling:30, over any 30 days in a row.
    on_exceed: deny the whole effect, or give what is left.
    """

    code: Code
    unit: Literal["points", "money", "count"]
    scopes: tuple[
        Literal["member", "household", "card", "instrument", "partner", "outlet", "code", "referrer"], ...
    ] = ()
    period: Annotated[str, Field(pattern=r"^(total|year|month|week|day|rolling:[1-9][0-9]{0,2})$")] = "total"
    zone: str = Field(default="UTC", max_length=64)
    limit: Annotated[int, Field(ge=0, le=10**15)]
    on_exceed: Literal["deny", "partial"] = "deny"

    @property
    def rolling_days(self) -> int:
        """Over how many days in a row it counts; 0 where it counts by the calendar."""
        return int(self.period.removeprefix("rolling:")) if self.period.startswith("rolling:") else 0


class GroupDocument(Document):
    """A stacking group: members add up (SUM), the best for the member counts (BEST), the first that came to something
    counts (FIRST), or they add up and, when they came to something, nothing after the group in its parent runs
    (EXCLUSIVE). BEST and FIRST choose for the whole basket or line by line.
    """

    code: Code
    mode: Literal["SUM", "BEST", "FIRST", "EXCLUSIVE"]
    parent: str = Field(default="", max_length=64)
    priority: Annotated[int, Field(ge=0, le=10**9)]
    scope: Literal["basket", "line"] = "basket"


D = TypeVar("D", bound=Document)


@cache
def _adapter(kind: type[Document]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read(source: Mapping[str, Any]) -> RuleDocument:
    """The rule document of plain JSON. Raises pydantic.ValidationError; `problems` tells what is wrong instead."""
    return read_as(RuleDocument, source)


def read_as(kind: type[D], source: Mapping[str, Any]) -> D:
    """As `read`, of any part of a release: BudgetDocument, GroupDocument."""
    return cast("D", _adapter(kind).validate_json(canonical(dict(source))))


def problems(source: Mapping[str, Any] | RuleDocument) -> list[FieldProblem]:
    """What is wrong with a rule document: where, and what was expected; empty when it may go into a release.

    A condition that does not compile is told by its column. What needs the other rules of a release (groups, budgets,
    parties) is `checking.problems`.
    """
    if not isinstance(source, RuleDocument):
        try:
            source = read(source)
        except (ValidationError, TypeError) as refused:
            return _refused(refused)
    return [*_contradictions(source), *_expressions(source)]


def promotion_problems(code: str, names: Mapping[str, str]) -> list[FieldProblem]:
    """What is wrong with a promotion's code and names; empty where there can be such a one."""
    found = []
    if not CODE.fullmatch(code):
        found.append(FieldProblem(("code",), "CODE", "expected 1 to 64 letters, digits and _ . : -"))
    if set(names) != set(LANGUAGES) or not all(
        isinstance(name, str) and 0 < len(name) <= 300 for name in names.values()
    ):
        found.append(FieldProblem(("names",), "NAMES", f"expected 1 to 300 characters in {', '.join(LANGUAGES)}"))
    return found


def _refused(refused: ValidationError | TypeError) -> list[FieldProblem]:
    if isinstance(refused, TypeError):
        return [FieldProblem((), "NOT_PLAIN", "expected plain JSON: texts, whole numbers, lists, mappings")]
    return [
        FieldProblem(
            tuple(str(part) for part in one["loc"] if str(part) not in _EFFECT_TYPES),
            one["type"].upper(),
            one["msg"].removeprefix("Value error, "),
        )
        for one in refused.errors(include_url=False, include_input=False)
    ]


def _contradictions(rule: RuleDocument) -> Iterator[FieldProblem]:
    effect = rule.effect.type
    if effect not in _EFFECTS_OF[rule.kind]:
        yield _problem("effect", "KIND", f"expected an effect of kind {rule.kind}: {', '.join(_EFFECTS_OF[rule.kind])}")
    if effect in _NEEDS_BASKET and rule.trigger != "purchase":
        yield _problem("trigger", "TRIGGER", f"expected trigger purchase, since {effect} looks at a basket")
    for name, one in (("codes", rule.codes), ("costs", rule.costs)):
        if one is not None and (rule.trigger != "purchase" or effect == "set_redeem_cap"):
            yield _problem(name, "TRIGGER", "expected none: only what a purchase gives uses up coupons and stamps")
    if (rule.trigger == "event") != (rule.event is not None):
        yield _problem("event", "EVENT", "expected the event's code for trigger event, and for no other")
    if rule.code in BASE_RULES:
        yield _problem("code", "RESERVED", "expected another code: this one is the agreement's own")
    if rule.valid_until is not None and rule.valid_until <= rule.valid_from:
        yield _problem("valid_until", "ORDER", "expected an instant after valid_from")
    if any(at is not None and at.tzinfo is None for at in (rule.valid_from, rule.valid_until)):
        yield _problem("valid_from", "ZONE", "expected instants with an offset from UTC")
    if len(set(rule.caps)) != len(rule.caps):
        yield _problem("caps", "REPEATED", "expected every budget once")
    if rule.kind == "benefit" and not (rule.who.subscriber or rule.who.plans or rule.who.benefits or rule.who.tiers):
        yield _problem("who", "BENEFIT", "expected plans, benefits, tiers or subscriber: a benefit is somebody's right")
    if rule.what.of == "MONEY" and effect not in POINTS_EFFECTS + GRANT_EFFECTS:
        yield _problem("what.of", "ORDER", "expected GROSS or AFTER_DISCOUNTS: what money pays is not known before")
    yield from _funding(rule)
    yield from _names(rule)


def _funding(rule: RuleDocument) -> Iterator[FieldProblem]:
    costs = rule.effect.type in POINTS_EFFECTS + DISCOUNT_EFFECTS
    if (costs or rule.funding) and sum(one.bp for one in rule.funding) != BASIS:
        yield _problem("funding", "SUM", f"expected shares that sum to {BASIS} basis points: somebody pays")
    if len({one.party for one in rule.funding}) != len(rule.funding):
        yield _problem("funding", "REPEATED", "expected every party once")


def _names(rule: RuleDocument) -> Iterator[FieldProblem]:
    names = [one.id for one in rule.conditions]
    for index, name in enumerate(names):
        if name in names[:index] or name.startswith(("who.", "where.", "what.", "when.")):
            yield _problem(f"conditions.{index}.id", "REPEATED", "expected an id of its own")


def _expressions(rule: RuleDocument) -> Iterator[FieldProblem]:
    own = [(("conditions", str(index), "cel"), one.cel) for index, one in enumerate(rule.conditions)]
    for path, source in own:
        yield from _checked(path, source, expressions.check)
    wrong = [] if (line := rule.what.line_cel) is None else list(
        _checked(("what", "line_cel"), line, expressions.check_line)
    )  # fmt: skip
    yield from wrong
    if not wrong and (lines := conditions.line_source(rule.what)):  # of too many articles none would ever be asked
        yield from _checked(("what",), lines, expressions.selection)
    if whole := conditions.fused(rule):
        failed = list(_checked((), whole, expressions.predicate))
        if failed and not any(True for path, source in own for _ in _checked(path, source, expressions.check)):
            yield from failed


def _checked(path: tuple[str, ...], source: str, check: Callable[[str], Any]) -> Iterator[FieldProblem]:
    try:
        check(source)
    except ExpressionInvalid as refused:
        yield FieldProblem(path, "EXPRESSION", str(refused))


def _problem(path: str, code: str, message: str) -> FieldProblem:
    return FieldProblem(tuple(path.split(".")), code, message)
