"""PURE: what a draft release would have done to baskets that were decided before, against what was in force.

Budgets of the draft start full and are used up basket by basket, in the order given. Nothing is written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from heapq import nlargest, nsmallest

from kit.amounts import divide_half_even, micro_per_minor
from partners.promotions.basket import BaseTerms, Basket, Charge, Context, Counters, Outcome
from partners.promotions.evaluation import budget_keys, evaluate
from partners.promotions.releases import Release

STEP = 1000  # baskets between two words of progress
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Decided:
    """A stored basket with what it was decided on and what it came to; denied of it are budgets that pay nothing there
    whatever is left, not those that were exhausted then."""

    basket: Basket
    context: Context
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Base:
    """The currency that money is told in, and what a point is worth in it, in micro-units.

    An amount of another currency is as much as the points that pay it there.
    """

    currency: str
    point_value_micro: int

    def worth(self, points: int) -> int:
        """What points are worth, in minor units."""
        return points * self.point_value_micro // micro_per_minor(self.currency)

    def minor(self, amount_minor: int, terms: BaseTerms) -> int:
        """An amount of an agreement's currency, in minor units of this one; halves to the even."""
        if terms.currency == self.currency:
            return amount_minor
        return divide_half_even(
            amount_minor * micro_per_minor(terms.currency) * self.point_value_micro,
            terms.point_value_micro * micro_per_minor(self.currency),
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """What baskets came to: points and discounts in all, by rule and by funder; worth_minor is points at the till.

    Money is in minor units of one currency.
    """

    points: int
    worth_minor: int
    discount_minor: int
    points_by_rule: Mapping[str, int]
    discount_by_rule: Mapping[str, int]
    applied_by_rule: Mapping[str, int]
    points_by_funder: Mapping[int, int]
    discount_by_funder: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """How much better (or worse) off a member would have been, in minor units of points at the till and discounts."""

    member: str
    worth_minor: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """Draft against what was: totals of both, how many members gain, lose or stay, and who most.

    obligation_points is what the draft would have added to what the members may spend.
    """

    baskets: int
    was: Totals
    draft: Totals
    winners: int
    losers: int
    unchanged: int
    most_gained: tuple[Change, ...]
    most_lost: tuple[Change, ...]
    exhausted: Mapping[str, int]

    @property
    def obligation_points(self) -> int:
        """Points more (or less) than were given."""
        return self.draft.points - self.was.points


@dataclass(slots=True)
class _Sum:
    base: Base | None = None
    points: int = 0
    worth_minor: int = 0
    discount_minor: int = 0
    points_by_rule: Counter[str] = field(default_factory=Counter)
    discount_by_rule: Counter[str] = field(default_factory=Counter)
    applied_by_rule: Counter[str] = field(default_factory=Counter)
    points_by_funder: Counter[int] = field(default_factory=Counter)
    discount_by_funder: Counter[int] = field(default_factory=Counter)

    def add(self, outcome: Outcome, context: Context) -> int:
        """Count an outcome; answers what it is worth to the member, in minor units."""
        for award in outcome.awards:
            self.points_by_rule[award.rule] += award.points
            self.applied_by_rule[award.rule] += 1
            for share in award.funders:
                self.points_by_funder[share.party_id] += share.amount
        terms = context.terms
        base, off = self.base or Base(terms.currency, terms.point_value_micro), 0
        for discount in outcome.discounts:
            for share in discount.funders:
                amount = base.minor(share.amount, terms)
                self.discount_by_rule[discount.rule] += amount
                self.discount_by_funder[share.party_id] += amount
                off += amount
        for rule in {discount.rule for discount in outcome.discounts} | {grant.rule for grant in outcome.grants}:
            self.applied_by_rule[rule] += 1
        worth = base.worth(outcome.points)
        self.points += outcome.points
        self.worth_minor += worth
        self.discount_minor += off
        return worth + off

    def totals(self) -> Totals:
        return Totals(
            self.points,
            self.worth_minor,
            self.discount_minor,
            dict(sorted(self.points_by_rule.items())),
            dict(sorted(self.discount_by_rule.items())),
            dict(sorted(self.applied_by_rule.items())),
            {party: amount for party, amount in sorted(self.points_by_funder.items()) if amount},
            {party: amount for party, amount in sorted(self.discount_by_funder.items()) if amount},
        )


def simulate(
    draft: Release,
    decided: Iterable[Decided],
    *,
    against: Release | None = None,
    base: Base | None = None,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Decide stored baskets under a draft. against: decide under it, too, instead of taking what was recorded.

    base: what money is told in; None where all agreements are of one currency. progress is told how many baskets are
    done, every thousand.
    """
    run, other = _Run(draft), None if against is None else _Run(against)
    was, now = _Sum(base), _Sum(base)
    changes: Counter[str] = Counter()
    count = 0
    for count, one in enumerate(decided, start=1):
        before = one.outcome if other is None else other.decide(one)
        after = run.decide(one)
        changes[one.context.scopes.get("member", "")] += now.add(after, one.context) - was.add(before, one.context)
        if progress is not None and count % STEP == 0:
            progress(count)
    if progress is not None:
        progress(count)
    gained = [Change(member, worth) for member, worth in changes.items() if worth > 0]
    lost = [Change(member, worth) for member, worth in changes.items() if worth < 0]
    return Simulation(
        baskets=count,
        was=was.totals(),
        draft=now.totals(),
        winners=len(gained),
        losers=len(lost),
        unchanged=len(changes) - len(gained) - len(lost),
        most_gained=tuple(nlargest(SHOWN, gained, key=lambda change: (change.worth_minor, change.member))),
        most_lost=tuple(nsmallest(SHOWN, lost, key=lambda change: (change.worth_minor, change.member))),
        exhausted=dict(sorted(run.exhausted.items())),
    )


class _Run:
    """A release deciding baskets one after another, with budgets of its own."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.limits = {budget.code: budget.limit for budget in release.budgets}
        self.used: Counter[tuple[str, str, str]] = Counter()
        self.days: defaultdict[tuple[str, str], Counter[date]] = defaultdict(Counter)  # of those that count over days
        self.exhausted: Counter[str] = Counter()

    def decide(self, one: Decided) -> Outcome:
        """The outcome, after which its budgets are charged."""
        counters, context = Counters(), one.context
        if self.limits:
            keys = budget_keys(self.release, context)
            counters = Counters({Counters.key(*key): self.limits[key[0]] - self._used(*key) for key in keys})
        outcome = evaluate(self.release, one.basket, context, counters)
        for charge in outcome.charges:
            self._charge(charge)
        for step in outcome.steps:
            if step.reason in ("BUDGET_EXHAUSTED", "CAPPED"):
                self.exhausted[step.limited_by] += 1
        return outcome

    def _used(self, budget: str, scope_key: str, period_key: str) -> int:
        day, _, days = period_key.partition("/")
        if not days:
            return self.used[budget, scope_key, period_key]
        return fullest(self.days[budget, scope_key], date.fromisoformat(day), int(days))

    def _charge(self, charge: Charge) -> None:
        day, _, days = charge.period_key.partition("/")
        if days:
            self.days[charge.budget, charge.scope_key][date.fromisoformat(day)] += charge.amount
        else:
            self.used[charge.budget, charge.scope_key, charge.period_key] += charge.amount


def fullest(used: Mapping[date, int], day: date, days: int) -> int:
    """The most that is used in any run of so many days that a day is in."""
    near = sorted((one, amount) for one, amount in used.items() if abs((one - day).days) < days)
    ends = [day, *(one for one, _ in near if one > day)]
    return max(sum(amount for one, amount in near if 0 <= (end - one).days < days) for end in ends)
