"""PURE: what a basket gets under a release.

`evaluate` is the one entry: the same release, basket, context and counters give the same outcome for ever. Without a
rule it gives what `decisions.earning` gives, to the point and to the lot. Phases see what those before them left:
discounts, what points may pay, base points, bonus points, grants. Caps bind where an effect is decided, so "the best"
is the best that can really be had.

Conditions look only at the basket as it came, so a rule that is added never changes whether another's hold; what sees
the other rules' work (thresholds after discounts) waits for them, whatever its priority.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct

from kit.amounts import BASIS, allocate, micro_per_minor
from partners.promotions import effects
from partners.promotions.basket import (
    OPERATOR,
    Award,
    Basket,
    BasketLine,
    Charge,
    Context,
    Counters,
    Coupon,
    Discount,
    Event,
    Grant,
    LinePart,
    Lot,
    Outcome,
    Share,
    SpendLimit,
    Step,
    Use,
)
from partners.promotions.compiling import GRANTS, LENGTHS, POINTS, Budget, Candidates, Group, Rule, book
from partners.promotions.conditions import ORDINARY_KINDS
from partners.promotions.documents import Codes, RuleDocument, SetRedeemCap
from partners.promotions.effects import Result
from partners.promotions.expressions import Found, Panel
from partners.promotions.releases import Release

GLOBAL = "GLOBAL"  # the programme's own hold-out
CONTROL = "CONTROL"
NEVER_EARNS = "GIFT_CARD"
_ALWAYS: Found = (True, None)
_amount_of = attrgetter("amount_minor")


def evaluate(release: Release, basket: Basket, context: Context, counters: Counters) -> Outcome:
    """The outcome of a basket under a release: points with lots, discounts, grants, charges to budgets, and why."""
    candidates = book(release).candidates(context.trigger, context.event.code if context.event else "", context.partner)
    return Decision(candidates, basket, context, counters).outcome()


class Whose(Protocol):
    """What of a context says which counters of budgets it looks at."""

    @property
    def trigger(self) -> str: ...
    @property
    def event(self) -> Event | None: ...
    @property
    def partner(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def scopes(self) -> Mapping[str, str]: ...
    @property
    def dates(self) -> Mapping[str, str]: ...
    @property
    def coupons(self) -> Sequence[Coupon]: ...


class Calendar(Protocol):
    """What of a budget says in which period a day is."""

    @property
    def period(self) -> str: ...
    @property
    def rolling_days(self) -> int: ...
    @property
    def zone(self) -> str: ...


class Cap(Struct, frozen=True, gc=False):
    """One budget as it stands for this basket, and the key of its counter."""

    budget: Budget
    scope_key: str
    period_key: str
    key: str


class Mark(NamedTuple):
    """How far a decision had come, to come back to it."""

    lengths: tuple[int, ...]
    amounts: list[int]
    remaining: dict[str, int]
    stamps: dict[str, int]


class Decision:
    """One basket being decided. Holds what the phases have left for each other; `outcome` runs them once."""

    __slots__ = (
        "agreed", "alone", "amounts", "answers", "awards", "base", "basket", "bought", "candidates", "charged",
        "context", "counters", "discounts", "grants", "gross", "lines", "money", "ordinary", "payer", "remaining",
        "stamps", "steps", "tender", "terms", "uses",
    )  # fmt: skip

    def __init__(self, candidates: Candidates, basket: Basket, context: Context, counters: Counters) -> None:
        self.candidates, self.basket, self.context, self.counters = candidates, basket, context, counters
        self.terms = context.terms
        self.payer = context.terms.payer_id  # of what the agreement gives
        self.lines = basket.lines
        self.bought = bool(basket.lines) or context.trigger == "purchase"
        self.gross = list(map(_amount_of, basket.lines))
        self.amounts = self.gross.copy()  # what discounts leave of each line
        self.tender: Sequence[int] = ()  # what points pay of each line
        self.money: list[int] = []  # what earns of each line: money really paid for what may earn
        self.base: list[int] = []  # base points of each line
        self.remaining: dict[str, int] = {}
        self.charged: list[tuple[Cap, int]] = []
        self.stamps: dict[str, int] = {}
        self.steps: list[Step] = []
        self.awards: list[Award] = []
        self.discounts: list[Discount] = []
        self.grants: list[Grant] = []
        self.uses: list[Use] = []
        self.answers = _asked(candidates.panels, basket, context)
        self.ordinary: Sequence[int] | None = None
        self.agreed = effects.agreed_life(context)
        self.alone = True  # whether all points live as agreed and one party funds them, as most do

    # --- the phases -------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        """Run the phases and put together what they came to."""
        candidates = self.candidates
        if candidates.discounts:
            self._run(candidates.discounts)
        limit = self._spend_limit() if self.context.trigger == "purchase" else None
        if self.basket.points_minor or self.basket.line_points_minor:
            self._spread_tender()
        else:
            self.tender = [0] * len(self.lines)
        contract = self._base()
        if candidates.points and self.terms.issues:
            self._run(candidates.points)
        elif candidates.points:
            self._pass_over(candidates.points, "ZERO_EFFECT", "")
        if candidates.grants:
            self._run(candidates.grants)
        awards = (*contract, *self.awards)
        points = 0
        for award in awards:
            points += award.points
        return Outcome(
            points=points,
            line_points=self._line_points(awards, points),
            lots=self._lots(awards, points),
            awards=awards,
            discounts=tuple(self.discounts),
            grants=tuple(self.grants),
            uses=tuple(self.uses),
            charges=self._charges(),
            spend_limit=limit,
            line_points_minor=tuple(self.tender) if self.basket.points_minor else (),
            steps=tuple(self.steps),
        )

    def _spend_limit(self) -> SpendLimit:
        """The most points the bill takes: ceiling, agreement's share, rules, minimum money, balance, spend lock."""
        terms, excluded = self.terms, self.terms.spend.excluded_kinds
        payable = sum(self.amounts)
        if excluded:
            payable -= sum(
                amount for line, amount in zip(self.lines, self.amounts, strict=True) if line.kind in excluded
            )
        share_bp, bound_by = terms.bill_share_bp, "AGREEMENT_SHARE"
        if terms.bill_ceiling_bp < share_bp:
            share_bp, bound_by = terms.bill_ceiling_bp, "PROGRAMME_CEILING"
        cap = payable * share_bp // BASIS
        if (left := max(payable - terms.spend.minimum_money_minor, 0)) < cap:
            cap, bound_by = left, "MINIMUM_MONEY"
        if not payable and any(self.amounts):
            cap, bound_by = 0, "NOTHING_ELIGIBLE"
        for rule in self.candidates.limits:
            cap, bound_by = self._rule_limit(rule, payable, cap, bound_by)
        per_minor = micro_per_minor(terms.currency)
        points = cap * per_minor // terms.point_value_micro
        if self.context.spend_locked:
            points, bound_by = 0, "SPEND_LOCK"
        elif self.context.available is not None and self.context.available < points:
            points, bound_by = self.context.available, "BALANCE"
        return SpendLimit(points, points * terms.point_value_micro // per_minor, bound_by)

    def _rule_limit(self, rule: Rule, payable: int, cap: int, bound_by: str) -> tuple[int, str]:
        if not self._fires(rule):
            return cap, bound_by
        effect = rule.effect
        assert isinstance(effect, SetRedeemCap)
        if rule.thresholds and (missing := self._missing(rule, self._looked_at(rule))):
            self._step(rule, "BELOW_THRESHOLD", limited_by=missing[0], remaining=missing[1])
            return cap, bound_by
        ours = min(payable * effect.share_bp // BASIS, max(payable - effect.minimum_money_minor, 0))
        self.steps.append(Step(rule.code, rule.version, "APPLIED", ours, min(ours, cap)))
        return (ours, f"RULE:{rule.code}") if ours < cap else (cap, bound_by)

    def _spread_tender(self) -> None:
        """What points pay of each line: as it was decided before, or by what the line may be paid with points."""
        if self.basket.line_points_minor:
            self.tender = self.basket.line_points_minor
        else:
            excluded = self.terms.spend.excluded_kinds
            weights = [
                0 if line.kind in excluded else amount for line, amount in zip(self.lines, self.amounts, strict=True)
            ]
            self.tender = allocate(min(self.basket.points_minor, sum(weights)), weights)

    def _base(self) -> tuple[Award, ...]:
        """What the agreement gives: no rule can switch it off."""
        terms, context = self.terms, self.context
        amounts, tender = self.amounts, self.tender
        self.money = money = []
        for line, amount, paid in zip(self.lines, amounts, tender, strict=True):
            money.append(self._earning(line, amount - paid))
        bonus_bp = terms.tier_bonus_bp.get(context.member.tier, 0)
        eligible = sum(money)
        base_micro = eligible * micro_per_minor(terms.currency)
        scale = BASIS * terms.point_value_micro
        base = base_micro * terms.earn_rate_bp // scale
        points = base_micro * (terms.earn_rate_bp + bonus_bp) // scale
        if not self.lines:
            return ()
        if not terms.issues:
            self.base = [0] * len(self.lines)
            return ()
        if len(self.lines) == 1:
            split, self.base = [points], [base]
        else:
            split = allocate(points, money)
            self.base = allocate(base, split) if base != points else split
        activates_at, expires_at = self.agreed
        payer = self.payer
        found = [
            Award("BASE", 0, base, self._parts(self.base), (Share(payer, base),), activates_at, expires_at,
                  {"eligible_minor": eligible, "rate_bp": terms.earn_rate_bp})
        ]  # fmt: skip
        if bonus_bp:
            over = [whole - part for whole, part in zip(split, self.base, strict=True)]
            found.append(
                Award("TIER_BONUS", 0, points - base, self._parts(over), (Share(payer, points - base),), activates_at,
                      expires_at, {"tier": context.member.tier, "rate_bp": bonus_bp})
            )  # fmt: skip
        return tuple(found)

    def _earning(self, line: BasketLine, amount_minor: int) -> int:
        """What of an amount on a line may earn: the kind and classes agreed, the tax in it left out where agreed."""
        earn = self.terms.earn
        if line.kind not in earn.kinds or line.kind == NEVER_EARNS or amount_minor <= 0:
            return 0
        if (earn.excluded_categories or earn.excluded_classes) and earn.left_out_by(line) is not None:
            return 0
        if earn.without_tax and line.tax_minor:
            return amount_minor * max(line.amount_minor - line.tax_minor, 0) // line.amount_minor
        return amount_minor

    # --- stacking ---------------------------------------------------------------------------------------

    def _run(self, group: Group) -> int:
        """Decide a group's members in order and give what its mode says; answers what it came to in all."""
        if group.mode == "BEST":
            return self._best_by_line(group) if group.scope == "line" else self._best(group)
        if group.mode == "FIRST" and group.scope == "line":
            return self._best_by_line(group)
        first, total, answers = group.mode == "FIRST", 0, self.answers
        for place, member in enumerate(group.members, start=1):
            if type(member) is Rule:
                if answers.get(member.code, _ALWAYS)[0] is False:  # as of most: not worth a call
                    continue
                came_to = self._apply(member)
            else:
                came_to = self._decide(member)
            if came_to:
                total += came_to
                if first or member.exclusive:
                    for one in group.members[place:]:
                        self._pass_over(one, "OUTRANKED_BY" if first else "EXCLUSIVE_AFTER", member.code)
                    break
        return total

    def _decide(self, member: Rule | Group) -> int:
        return self._apply(member) if isinstance(member, Rule) else self._run(member)

    def _best(self, group: Group) -> int:
        """Try every member on the same ground; keep the one that is best for the member. Ties: the lower priority."""
        start = self._mark()
        best, most = None, 0
        for member in group.members:
            came_to = self._decide(member)
            self._return_to(start)
            if came_to > most or best is None:
                best, most = member, came_to
        if best is None or not most:
            for member in group.members:  # nobody gives anything: each says why
                self._decide(member)
            return 0
        here = len(self.steps)
        for member in group.members:  # on the same ground as the best, before that changes it
            if member is not best:
                self._try(member, best.code)
        beaten = self.steps[here:]
        del self.steps[here:]
        self._decide(best)
        self.steps += beaten
        return most

    def _try(self, member: Rule | Group, outranked_by: str) -> None:
        """What a member that was not kept would have come to, as its step says it."""
        if isinstance(member, Group):
            for one in member.members:
                self._try(one, outranked_by)
        elif self._fires(member):
            result = self._compute(member)
            if result is None:
                return
            start = self._mark()
            if self._give(member, result):  # where it comes to nothing its step says why
                self._return_to(start)
                self._step(member, "OUTRANKED_BY", result.total, by=outranked_by)

    def _pass_over(self, member: Rule | Group, reason: str, by: str) -> None:
        if isinstance(member, Group):
            for one in member.members:
                self._pass_over(one, reason, by)
        elif self._fires(member):
            self._step(member, reason, by=by)

    def _best_by_line(self, group: Group) -> int:
        """As `_best`, or the first that comes to something, for every line by itself."""
        results: list[tuple[Rule, Result]] = []
        for member in group.members:
            assert isinstance(member, Rule)
            if self._fires(member) and (result := self._compute(member)) is not None:
                results.append((member, result))
        offered = [self._affordable(rule, result).parts for rule, result in results]
        denied: dict[int, Step] = {}
        start = self._mark()
        while True:
            kept: list[list[int]] = [[0] * len(self.lines) for _ in results]
            for line in range(len(self.lines)):
                offers = [(parts[line], -n) for n, parts in enumerate(offered) if parts[line] and n not in denied]
                if offers:
                    place = -(max(offers) if group.mode == "BEST" else max(offers, key=lambda offer: offer[1]))[1]
                    kept[place][line] = results[place][1].parts[line]
            won = [n for n, parts in enumerate(kept) if any(parts)]
            if group.mode == "BEST" and any(results[n][0].costs for n in won):  # who gives more has the stamps
                won.sort(key=lambda n: -sum(kept[n]))
            total = 0
            for place in won:
                rule, result = results[place]
                given = self._give(rule, result.only(kept[place]))
                if not given:
                    denied[place] = self.steps[-1]  # what it had won goes to the next best
                    break
                total += given
            else:
                break
            self._return_to(start)
        for place, (rule, result) in enumerate(results):
            if place in denied:
                self.steps.append(denied[place])
            elif place not in won:
                self._step(rule, "OUTRANKED_BY" if result.total else "ZERO_EFFECT", result.total, by=group.code)
        return total

    def _affordable(self, rule: Rule, result: Result) -> Result:
        """What of a result budgets that give what is left would let be given."""
        caps = _caps(rule, self.context) or ()
        partial = [self._left(cap) for cap in caps if cap.budget.gives_rest]
        least = max(min(partial, default=result.total), 0)
        return result.clamped(least) if least < result.total else result

    def _mark(self) -> Mark:
        lists = (self.charged, self.steps, self.awards, self.discounts, self.grants, self.uses)
        return Mark(tuple(len(one) for one in lists), list(self.amounts), dict(self.remaining), dict(self.stamps))

    def _return_to(self, mark: Mark) -> None:
        lists: tuple[list[Any], ...] = (
            self.charged, self.steps, self.awards, self.discounts, self.grants, self.uses,
        )  # fmt: skip
        for held, length in zip(lists, mark.lengths, strict=True):
            del held[length:]
        self.amounts[:] = mark.amounts
        self.remaining, self.stamps = dict(mark.remaining), dict(mark.stamps)

    # --- one rule ---------------------------------------------------------------------------------------

    def _fires(self, rule: Rule) -> bool:
        """Whether the rule's conditions hold; an error is told in a step, and does not fire."""
        held = self.answers.get(rule.code, _ALWAYS)[0]
        if held is False:  # as most of many
            return False
        context = self.context
        if context.occurred_at < rule.valid_from or (
            rule.valid_until is not None and context.occurred_at >= rule.valid_until
        ):
            return False
        if rule.codes is not None and len(_coupons(rule, self.context)) < rule.codes.quantity:
            return False
        if held is None:
            self._step(rule, "CONDITION_ERROR")
            return False
        if context.arms and is_held_out(rule, context.arms):
            self._step(rule, "HOLDOUT")
            return False
        return True

    def _looked_at(self, rule: Rule) -> Sequence[int]:
        if rule.selects is not None and (lines := self.answers[rule.code][1]) is not None:
            return lines
        if self.ordinary is None:
            if len(self.lines) == 1:
                self.ordinary = (0,) if self.lines[0].kind in ORDINARY_KINDS else ()
            else:
                self.ordinary = tuple([index for index, line in enumerate(self.lines) if line.kind in ORDINARY_KINDS])
        return self.ordinary

    def _apply(self, rule: Rule) -> int:
        """Decide one rule wholly; answers what it gave."""
        if not self._fires(rule):
            return 0
        result = self._compute(rule)
        return 0 if result is None else self._give(rule, result)

    def _compute(self, rule: Rule) -> Result | None:
        """What the effect comes to before caps; None where it does not come to it, told in a step."""
        lines = self._looked_at(rule)
        if rule.thresholds and (missing := self._missing(rule, lines)):
            self._step(rule, "BELOW_THRESHOLD", limited_by=missing[0], remaining=missing[1])
            return None
        costs = rule.costs
        if costs is not None and self._stamps(costs.unit) < costs.quantity:
            self._step(rule, "STAMPS_SHORT", remaining=self._stamps(costs.unit))
            return None
        if rule.phase == GRANTS and self._would_be_over(rule):
            self._step(rule, "ZERO_EFFECT")
            return None
        assert rule.compute is not None
        try:
            return rule.compute(rule.effect, lines, self)
        except KeyError:  # a counter that nobody gave
            self._step(rule, "CONDITION_ERROR")
            return None

    def _would_be_over(self, rule: Rule) -> bool:
        """Whether a grant ends before it is heard of: what a till tells late, or a date that has passed."""
        expiry = rule.effect.expiry
        return expiry is not None and effects.end(expiry, self.context) <= self.context.received_at

    def _missing(self, rule: Rule, lines: Sequence[int]) -> tuple[str, int] | None:
        """The first threshold that is not reached, and how much is missing to it."""
        what = rule.doc.what
        amounts = self.counted(what.of)
        for name, least, there in (
            ("min_quantity_milli", what.min_quantity_milli, (self.lines[index].quantity_milli for index in lines)),
            ("min_amount_minor", what.min_amount_minor, (amounts[index] for index in lines)),
            ("min_basket_minor", what.min_basket_minor, iter(amounts)),
        ):
            if least is not None and (missing := least - sum(there)) > 0:
                return name, missing
        return None

    def counted(self, of: str) -> list[int]:
        """Amounts per line as a threshold counts them: GROSS, AFTER_DISCOUNTS or MONEY."""
        if of == "GROSS":
            return self.gross
        if of == "MONEY" and self.tender:
            return [amount - paid for amount, paid in zip(self.amounts, self.tender, strict=True)]
        return self.amounts

    def earning(self, index: int, amount_minor: int) -> int:
        """What of an amount on a line may earn."""
        return self._earning(self.lines[index], amount_minor)

    def _stamps(self, unit: str) -> int:
        return self.stamps.get(unit, self.context.member.stamps.get(unit, 0))

    # --- caps and giving --------------------------------------------------------------------------------

    def _give(self, rule: Rule, result: Result) -> int:
        """Clamp to the budgets, write down what is given and to whose cost; answers how much it is."""
        total = result.total
        if not total:
            self._step(rule, "ZERO_EFFECT")
            return 0
        costs = rule.costs
        if costs is not None and self._stamps(costs.unit) < costs.quantity:  # by line, another that won took them
            self._step(rule, "STAMPS_SHORT", total, remaining=self._stamps(costs.unit))
            return 0
        if rule.caps:
            return self._give_capped(rule, result)
        self._write(rule, result)
        if rule.gated:
            self._use_up(rule)
        self.steps.append(Step(rule.code, rule.version, "APPLIED", total, total))
        return total

    def _give_capped(self, rule: Rule, result: Result) -> int:
        caps = _caps(rule, self.context)
        if caps is None:
            self._step(rule, "SCOPE_MISSING", result.total)
            return 0
        allowed, bound = self._allowed(rule, result.total, caps)
        if not allowed:
            left = None if bound is None else self._left(bound)
            limited_by = bound.budget.code if bound else ""
            self._step(rule, "BUDGET_EXHAUSTED", result.total, limited_by=limited_by, remaining=left)
            return 0
        limited_by, left = ("", None) if bound is None else (bound.budget.code, self._left(bound))
        for cap in caps:
            amount = 1 if cap.budget.pieces else allowed
            self.remaining[cap.key] = self._left(cap) - amount
            self.charged.append((cap, amount))
        given = result if allowed == result.total else result.clamped(allowed)
        self._write(rule, given)
        if rule.gated:
            self._use_up(rule)
        reason = "CAPPED" if limited_by else "APPLIED"
        self.steps.append(Step(rule.code, rule.version, reason, result.total, allowed, "", limited_by, left))
        return allowed

    def _left(self, cap: Cap) -> int:
        denied, key = self.context.denied, cap.key
        if denied and cap.budget.code in denied:
            return 0
        left = self.remaining.get(key)
        return left if left is not None else self.counters.remaining.get(key, cap.budget.limit)

    def _allowed(self, rule: Rule, wanted: int, caps: Sequence[Cap]) -> tuple[int, Cap | None]:
        """How much budgets allow, and the one that bound: first those that give what is left, then those that deny."""
        allowed, bound = wanted, None
        for cap in caps:
            if cap.budget.gives_rest:
                left = max(self._left(cap), 0)
                if left < allowed:
                    allowed, bound = left, cap
        for cap in caps:
            if (1 if cap.budget.pieces else allowed) > self._left(cap):
                return 0, cap
        return allowed, bound

    def _write(self, rule: Rule, given: Result) -> None:
        effect, total = rule.effect, given.total
        if rule.phase == POINTS:
            life = self.agreed if rule.lives_as_agreed else effects.life(effect, self.context, self.agreed)
            funders = self._funders(rule, total)
            if life is not self.agreed or len(funders) > 1 or funders[0].party_id != self.payer:
                self.alone = False
            self.awards.append(Award(rule.code, rule.version, total, self._parts(given.parts), funders, *life))
        elif rule.phase == GRANTS:
            ends = effects.end(effect.expiry, self.context) if effect.expiry else None
            kind, code = effects.granted(effect)
            funders = self._funders(rule, given.total) if rule.doc.funding else ()
            self.grants.append(Grant(rule.code, rule.version, kind, code, given.total, ends, funders))
        else:
            self._write_discounts(rule, given)

    def _write_discounts(self, rule: Rule, given: Result) -> None:
        """The funders share the whole; each line's share of each funder is cut so that both sums hold."""
        source = "COUPON" if rule.codes else "PROGRAMME"
        left, rest = allocate(given.total, rule.shares), given.total
        parties = self._parties(rule)
        for index, amount in enumerate(given.parts):
            if not amount:
                continue
            shares = allocate(amount, left) if amount < rest else list(left)
            left, rest = [have - took for have, took in zip(left, shares, strict=True)], rest - amount
            self.amounts[index] -= amount
            funders = tuple(Share(party, took) for party, took in zip(parties, shares, strict=True) if took)
            line_id = self.lines[index].line_id
            self.discounts.append(Discount(rule.code, rule.version, line_id, amount, source, funders))

    def _parties(self, rule: Rule) -> list[int]:
        return [self.terms.partner_id if party < OPERATOR else party for party in rule.parties]

    def _funders(self, rule: Rule, total: int) -> tuple[Share, ...]:
        parties = rule.parties
        if len(parties) == 1:
            party = parties[0]
            return (Share(party if party >= OPERATOR else self.terms.partner_id, total),)
        shares = allocate(total, rule.shares)
        return tuple(Share(party, share) for party, share in zip(self._parties(rule), shares, strict=True) if share)

    def _use_up(self, rule: Rule) -> None:
        codes, costs = rule.codes, rule.costs
        if codes is not None and codes.uses_up:
            used = {use.code for use in self.uses if use.kind == "COUPON"}
            for coupon in _coupons(rule, self.context)[: codes.quantity]:
                if coupon not in used:
                    self.uses.append(Use(rule.code, "COUPON", coupon))
        if costs is not None:
            self.stamps[costs.unit] = self._stamps(costs.unit) - costs.quantity
            self.uses.append(Use(rule.code, "STAMP", costs.unit, costs.quantity))

    def _step(
        self, rule: Rule, reason: str, computed: int = 0, *, awarded: int = 0, by: str = "", limited_by: str = "",
        remaining: int | None = None,
    ) -> None:  # fmt: skip
        self.steps.append(Step(rule.code, rule.version, reason, computed, awarded, by, limited_by, remaining))

    # --- putting together -------------------------------------------------------------------------------

    def _parts(self, parts: Sequence[int]) -> tuple[LinePart, ...]:
        lines = self.lines
        if len(parts) == 1:
            return (LinePart(lines[0].line_id, parts[0]),) if parts[0] else ()
        return tuple([LinePart(lines[index].line_id, part) for index, part in enumerate(parts) if part])

    def _line_points(self, awards: Sequence[Award], points: int) -> tuple[LinePart, ...]:
        if not self.lines:
            return ()
        if len(self.lines) == 1:
            return (LinePart(self.lines[0].line_id, points),)
        found: dict[str, int] = {line.line_id: 0 for line in self.lines}
        for award in awards:
            for part in award.lines:
                found[part.line_id] += part.amount
        return tuple(LinePart(line_id, part) for line_id, part in found.items())

    def _lots(self, awards: Sequence[Award], points: int) -> tuple[Lot, ...]:
        """One lot per funder, activation and expiry; the agreement's first."""
        terms = self.terms
        if self.alone:
            issuer, (activates_at, expires_at) = terms.partner_id, self.agreed
            return (Lot(1, issuer, self.payer, terms.terms_id, points, activates_at, expires_at),) if points else ()
        found: dict[tuple[Any, ...], int] = {}
        for award in awards:
            for share in award.funders:
                if share.amount:
                    key = (share.party_id, award.activates_at, award.expires_at)
                    found[key] = found.get(key, 0) + share.amount
        return tuple(
            Lot(number, terms.partner_id, funder, terms.terms_id, amount, activates_at, expires_at)
            for number, ((funder, activates_at, expires_at), amount) in enumerate(found.items(), start=1)
        )

    def _charges(self) -> tuple[Charge, ...]:
        if not self.charged:
            return ()
        if len(self.charged) == 1:
            return (_charge(*self.charged[0]),)
        found: dict[str, tuple[Cap, int]] = {}
        for cap, amount in self.charged:
            before = found.get(cap.key)
            found[cap.key] = (cap, amount + (before[1] if before else 0))
        return tuple([_charge(*found[key]) for key in sorted(found)])


def _charge(cap: Cap, amount: int) -> Charge:
    budget = cap.budget
    return Charge(budget.code, cap.scope_key, cap.period_key, amount, budget.limit, budget.on_exceed)


def _asked(panels: Sequence[Panel], basket: Basket, context: Context) -> Mapping[str, Found]:
    """Of each rule that asks something whether its conditions hold (None: asking failed), and which lines it means."""
    if len(panels) == 1:
        return panels[0].answers(basket, context)
    return {code: one for panel in panels for code, one in panel.answers(basket, context).items()}


def is_held_out(rule: Rule, arms: Mapping[str, str]) -> bool:
    """Whether a member of these arms gets nothing by the rule, so that what it brings can be measured."""
    if rule.owed:
        return False
    experiment = rule.doc.experiment
    return arms.get(GLOBAL) == CONTROL or (experiment is not None and arms.get(experiment) == CONTROL)


def _coupons(rule: Rule, context: Whose) -> list[str]:
    """The good coupons that were presented for a rule that asks for some."""
    assert rule.codes is not None
    return _good(rule.codes, context)


def _good(codes: Codes, context: Whose) -> list[str]:
    return sorted(one.coupon for one in context.coupons if one.batch == codes.required and one.state == "VALID")


def coupons_of(rules: Iterable[RuleDocument], context: Whose) -> set[str]:
    """The coupons that some rules use up when they give something."""
    used = [rule.codes for rule in rules if rule.codes is not None and rule.codes.uses_up]
    return {coupon for codes in used for coupon in _good(codes, context)[: codes.quantity]}


def _caps(rule: Rule, context: Whose) -> list[Cap] | None:
    """What a rule counts against; None where it is not known whose that is."""
    found = []
    for budget in rule.caps:
        scope, length, day = budget.scope, budget.length, context.dates.get(budget.zone)
        if scope and rule.codes is None:
            value = context.scopes.get(scope)
            scope_key = None if value is None else f"{scope}:{value}"
        else:
            scope_key = _scope_key(budget, rule, context)
        if scope_key is None:
            return None
        period = period_key(budget, context) if day is None or length is None else day[:length]
        found.append(Cap(budget, scope_key, period, f"{budget.code}/{scope_key}/{period}"))  # as Counters.key
    return found


def _scope_key(budget: Budget, rule: Rule, context: Whose) -> str | None:
    parts = []
    for scope in budget.scopes:
        value = context.scopes.get(scope)
        if scope == "code" and rule.codes is not None:
            value = _coupons(rule, context)[0]
        if value is None:
            return None
        parts.append(f"{scope}:{value}")
    return ",".join(parts)


def period_key(budget: Calendar, context: Whose) -> str:
    """The period of the budget's calendar in which the basket falls, as `period_of` writes it."""
    day = context.dates.get(budget.zone)
    if day is None:
        day = context.occurred_at.astimezone(ZoneInfo(budget.zone)).date().isoformat()
    return period_of(budget, day)


def period_of(budget: Calendar, day: str) -> str:
    """The period of the budget's calendar that has a day (`2026-03-01`): `2026-03`, `2026-W09`, `2026-03-01`, or empty;
    of one that counts over days the day and their number: `2026-03-01/30`."""
    length = LENGTHS.get(budget.period)
    if length is not None:
        return day[:length]
    if budget.rolling_days:
        return f"{day}/{budget.rolling_days}"
    year, week, _ = date.fromisoformat(day).isocalendar()
    return f"{year}-W{week:02}"


def budget_keys(release: Release, context: Whose) -> list[tuple[str, str, str]]:
    """Every counter that a decision may look at: (budget, scope_key, period_key), for the host to read beforehand.

    A budget counted by code has one key per presented coupon; one whose scope is not known has none.
    """
    found = {
        (cap.budget.code, cap.scope_key, cap.period_key) for caps in caps_of(release, context).values() for cap in caps
    }
    return sorted(found)


def caps_of(release: Release, context: Whose) -> dict[str, Sequence[Cap]]:
    """What each rule that a decision may look at counts against, by the rule's code."""
    event = context.event.code if context.event else ""
    return {
        rule.code: _caps(rule, context) or ()
        for rule in book(release).candidates(context.trigger, event, context.partner).capped
        if rule.codes is None or len(_coupons(rule, context)) >= rule.codes.quantity
    }
