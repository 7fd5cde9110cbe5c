"""PURE: why a basket got what it got, and why not more: every rule, every condition with the value it found.

An explanation is made by replaying the decision on what was stored, so the same record serves the member, the cashier
and the auditor, and its parts sum to the outcome.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import field
from msgspec.structs import replace

from kit.amounts import decimal_from_minor
from partners.promotions import conditions, expressions
from partners.promotions.basket import Award, Basket, Context, Counters, Outcome, Share, SpendLimit, Step
from partners.promotions.compiling import DISCOUNTS, LIMITS, POINTS, Rule, book
from partners.promotions.conditions import Named
from partners.promotions.documents import GrantEffect
from partners.promotions.effects import granted
from partners.promotions.evaluation import evaluate
from partners.promotions.expressions import ERRED, FAILS, HOLDS, ExpressionInvalid, Facts
from partners.promotions.plain import Plain
from partners.promotions.releases import Release
from partners.promotions.texts import CONDITION_TEXTS, LANGUAGES, REASON_TEXTS, WEEKDAYS, WORDS, worded

_SPAN = re.compile(r"(-?\d*)\.\.(-?\d*)", re.ASCII)
_OF_STAFF = frozenset({"HOLDOUT", "CONDITION_ERROR", "SCOPE_MISSING"})


class ConditionFound(Plain, frozen=True):
    """One condition: OK, FALSE or ERROR, the values it was decided on, and what it asks for in three languages;
    of_member says whether it asks for something of the member."""

    id: str
    state: str
    actual: Any
    expected: str
    label: Mapping[str, str] = field(default_factory=dict)
    of_member: bool = False


class RuleFound(Plain, frozen=True):
    """What became of a rule: its reason, its conditions in declared order, what it came to and what was given.

    sentence says it in three languages. computed and awarded are points, minor units or pieces; funders pay awarded.
    by is the rule or group that outranked it, limited_by the budget that bound, with what remained in it.
    """

    rule: str
    version: int
    group: str
    priority: int
    reason: str
    visible: str
    title: Mapping[str, str]
    sentence: Mapping[str, str]
    conditions: tuple[ConditionFound, ...] = ()
    computed: int = 0
    awarded: int = 0
    by: str = ""
    limited_by: str = ""
    remaining: int | None = None
    funders: tuple[Share, ...] = ()


class AgreedFound(Plain, frozen=True):
    """A part of what the agreement gives or does not: BASE, TIER_BONUS, KIND_DOES_NOT_EARN,
    CLASS_DOES_NOT_EARN, PAID_WITH_POINTS, PARTNER_DOES_NOT_ISSUE."""

    reason: str
    points: int
    sentence: Mapping[str, str]


class Explanation(Plain, frozen=True):
    """Points are the sum of what the agreement and the rules gave; discount_minor that of the rules' discounts."""

    points: int
    discount_minor: int
    agreed: tuple[AgreedFound, ...]
    rules: tuple[RuleFound, ...]
    spend_limit: SpendLimit | None = None

    def for_member(self) -> Explanation:
        """Without what only staff may read: control groups, errors, offers of a club that one does not belong to."""
        return replace(self, rules=tuple(one for one in self.rules if _shown(one)))

    def why_not(self, rule: str) -> RuleFound | None:
        """What became of one rule; None where it was none for this basket."""
        return next((one for one in self.rules if one.rule == rule), None)


def explain(
    release: Release, basket: Basket, context: Context, counters: Counters, *, everywhere: bool = False
) -> Explanation:
    """Explain a decision from what it was made on. everywhere: rules of other partners, too, which say so."""
    ready = book(release)
    event = context.event.code if context.event else ""
    outcome = evaluate(release, basket, context, counters)
    rules = ready.rules if everywhere else ready.candidates(context.trigger, event, context.partner).rules
    steps = {step.rule: step for step in outcome.steps}
    facts = Facts(basket, context)
    titles = {rule.code: rule.doc.title.model_dump() for rule in ready.rules}
    found = [
        _rule(rule, steps.get(rule.code), basket, context, facts, outcome, titles)
        for rule in rules
        if rule.doc.trigger == context.trigger and (rule.doc.event or "") == event
    ]
    return Explanation(
        outcome.points, outcome.discount_minor, tuple(_agreed(outcome, basket, context)), tuple(found),
        outcome.spend_limit,
    )  # fmt: skip


def conditions_of(rule: Rule, facts: Facts) -> tuple[ConditionFound, ...]:
    """Every condition of a rule by itself, in declared order."""
    return tuple(_condition(one, facts) for one in conditions.of(rule.doc))


def _shown(rule: RuleFound) -> bool:
    if rule.reason in _OF_STAFF:
        return False
    return rule.visible == "everyone" or all(one.state == HOLDS for one in rule.conditions if one.of_member)


def _condition(one: Named, facts: Facts) -> ConditionFound:
    try:
        state = expressions.predicate(one.cel).answer(facts).state
    except ExpressionInvalid:
        state = ERRED
    subjects = (one.subject,) if one.subject else expressions.subjects(one.cel)
    values = {subject: expressions.actual(subject, facts) for subject in subjects}
    actual = values[one.subject] if one.subject else values
    label = one.label.model_dump() if one.label else {}
    return ConditionFound(
        one.id, state, actual, one.expected, label or _labels(one, actual), "member" in expressions.needed([one.cel])
    )


def _labels(one: Named, actual: Any) -> dict[str, str]:
    if one.id == "when.weekdays":
        return _weekdays(one.expected, actual)
    key = one.id
    if key.startswith("who.counters."):
        key = "who.sums" if key.endswith(".sum") else "who.counters"
    return {
        language: worded(
            CONDITION_TEXTS, key, language,
            expected=_word(one.expected, language), actual=_word(actual, language),
        )
        for language in LANGUAGES
    }  # fmt: skip


def _weekdays(expected: str, actual: Any) -> dict[str, str]:
    def named(number: str, language: str) -> str:
        return WEEKDAYS[language][int(number) - 1]

    return {
        language: worded(
            CONDITION_TEXTS, "when.weekdays", language, actual=named(str(actual), language),
            expected=", ".join(named(number, language) for number in expected.split(", ")),
        )
        for language in LANGUAGES
    }  # fmt: skip


def _word(value: Any, language: str) -> str:
    if isinstance(value, bool) or value in ("yes", "no"):
        return worded(WORDS, "yes" if value in (True, "yes") else "no", language)
    if value in ("", None, []):
        return worded(WORDS, "nothing", language)
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    span = _SPAN.fullmatch(str(value))
    if span is None:
        return str(value)
    low, high = span.groups()
    return worded(WORDS, "from_to" if low and high else "at_least" if low else "at_most", language, low=low, high=high)


def _rule(
    rule: Rule, step: Step | None, basket: Basket, context: Context, facts: Facts, outcome: Outcome,
    titles: Mapping[str, Mapping[str, str]],
) -> RuleFound:  # fmt: skip
    asked = conditions_of(rule, facts)
    step = step or Step(rule.code, rule.version, _reason(rule, context, asked))
    sentence = {
        language: _sentence(rule, step, asked, basket.currency, language, titles, outcome) for language in LANGUAGES
    }
    return RuleFound(
        rule=rule.code, version=rule.version, group=rule.doc.stack.group, priority=rule.priority, reason=step.reason,
        visible=rule.doc.visible, title=titles[rule.code], sentence=sentence, conditions=asked, computed=step.computed,
        awarded=step.awarded, by=step.by, limited_by=step.limited_by, remaining=step.remaining,
        funders=_funders(rule.code, outcome),
    )  # fmt: skip


def _reason(rule: Rule, context: Context, asked: tuple[ConditionFound, ...]) -> str:
    """Why a rule left no step: the first thing that was looked at and not found."""
    doc = rule.doc
    if context.occurred_at < doc.valid_from or (doc.valid_until is not None and context.occurred_at >= doc.valid_until):
        return "NOT_EFFECTIVE"
    if doc.codes is not None:
        shown = [coupon for coupon in context.coupons if coupon.batch == doc.codes.required]
        if sum(coupon.state == "VALID" for coupon in shown) < doc.codes.quantity:
            return "CODE_INVALID" if any(coupon.state != "VALID" for coupon in shown) else "CODE_REQUIRED"
    return "CONDITION_ERROR" if all(one.state != FAILS for one in asked) else "CONDITION_FALSE"


def _sentence(
    rule: Rule, step: Step, asked: tuple[ConditionFound, ...], currency: str, language: str,
    titles: Mapping[str, Mapping[str, str]], outcome: Outcome,
) -> str:  # fmt: skip
    failed = [one.label[language] for one in asked if one.state != HOLDS]
    costs = rule.doc.costs
    return worded(
        REASON_TEXTS, step.reason, language,
        title=titles[rule.code][language], given=_given(rule, step.awarded, currency, language),
        computed=_figure(rule, step.computed, currency), budget=step.limited_by or ", ".join(rule.doc.caps),
        conditions="; ".join(failed), by=titles[step.by][language] if step.by in titles else step.by,
        missing=_missing(step, currency, language), needed=costs.quantity if costs else 0, had=step.remaining or 0,
    )  # fmt: skip


def _given(rule: Rule, amount: int, currency: str, language: str) -> str:
    if rule.phase == POINTS:
        return worded(WORDS, "points", language, figure=amount)
    if rule.phase in (DISCOUNTS, LIMITS):
        return worded(WORDS, "off" if rule.phase == DISCOUNTS else "limit", language, figure=_money(amount, currency))
    assert isinstance(rule.doc.effect, GrantEffect)
    return worded(WORDS, granted(rule.doc.effect)[0], language, figure=amount)


def _figure(rule: Rule, amount: int, currency: str) -> str:
    return _money(amount, currency) if rule.phase in (DISCOUNTS, LIMITS) else str(amount)


def _missing(step: Step, currency: str, language: str) -> str:
    missing = step.remaining or 0
    if step.limited_by == "min_quantity_milli":
        return worded(WORDS, "units", language, figure=_plain(Decimal(missing).scaleb(-3)))
    return _money(missing, currency)


def _plain(figure: Decimal) -> str:
    return f"{figure.normalize():f}"


def _money(amount_minor: int, currency: str) -> str:
    return f"{decimal_from_minor(amount_minor, currency)} {currency}"


def _funders(rule: str, outcome: Outcome) -> tuple[Share, ...]:
    found: dict[int, int] = {}
    shares = [award.funders for award in outcome.awards if award.rule == rule]
    shares += [discount.funders for discount in outcome.discounts if discount.rule == rule]
    shares += [grant.funders for grant in outcome.grants if grant.rule == rule]
    for share in (one for part in shares for one in part):
        found[share.party_id] = found.get(share.party_id, 0) + share.amount
    return tuple(Share(party, amount) for party, amount in found.items())


def _agreed(outcome: Outcome, basket: Basket, context: Context) -> list[AgreedFound]:
    if not context.terms.issues:
        return [AgreedFound("PARTNER_DOES_NOT_ISSUE", 0, _all("PARTNER_DOES_NOT_ISSUE", {}))]
    found = [_contract(award, basket.currency) for award in outcome.awards if not award.version]
    kinds: dict[str, int] = {}
    classes: dict[str, int] = {}
    for line in basket.lines:
        if (line.kind not in context.terms.earn.kinds or line.kind == "GIFT_CARD") and line.amount_minor:
            kinds[line.kind] = kinds.get(line.kind, 0) + line.amount_minor
        elif line.amount_minor and (name := context.terms.earn.left_out_by(line)) is not None:
            classes[name] = classes.get(name, 0) + line.amount_minor
    for reason, left_out in (("KIND_DOES_NOT_EARN", kinds), ("CLASS_DOES_NOT_EARN", classes)):
        if left_out:
            figures = {"kinds": ", ".join(sorted(left_out)), "amount": _money(sum(left_out.values()), basket.currency)}
            found.append(AgreedFound(reason, 0, _all(reason, figures)))
    if paid := sum(outcome.line_points_minor):
        found.append(
            AgreedFound("PAID_WITH_POINTS", 0, _all("PAID_WITH_POINTS", {"amount": _money(paid, basket.currency)}))
        )
    return found


def _contract(award: Award, currency: str) -> AgreedFound:
    figures = {
        "points": award.points,
        "rate": _plain(Decimal(award.facts["rate_bp"]).scaleb(-2)),
        "tier": award.facts.get("tier", ""),
        "amount": _money(int(award.facts.get("eligible_minor", 0)), currency),
    }
    return AgreedFound(award.rule, award.points, _all(award.rule, figures))


def _all(reason: str, figures: Mapping[str, object]) -> dict[str, str]:
    return {language: worded(REASON_TEXTS, reason, language, **figures) for language in LANGUAGES}
