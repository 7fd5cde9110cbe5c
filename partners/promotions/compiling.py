"""PURE: a release made ready: rules by trigger and partner, expressions compiled, stacking groups as trees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import Struct

from partners.promotions import conditions, effects, expressions
from partners.promotions.basket import OPERATOR
from partners.promotions.documents import (
    DISCOUNT_EFFECTS,
    GRANT_EFFECTS,
    HERE,
    OPERATOR_PARTY,
    POINTS_EFFECTS,
    BudgetDocument,
    Codes,
    Costs,
    GroupDocument,
    PointsEffect,
    RuleDocument,
)
from partners.promotions.effects import Compute, compute_of
from partners.promotions.expressions import Panel, Predicate, Selection
from partners.promotions.releases import Release

DISCOUNTS, LIMITS, POINTS, GRANTS = range(4)
LENGTHS = {"total": 0, "year": 4, "month": 7, "day": 10}
"""How much of an ISO date names a period."""


class Budget(Struct, frozen=True, gc=False):
    """A budget as rules count against it. scope is its only one, empty where it has several; length how much of an ISO
    date names its period, None where that takes more; rolling_days is 0 where it counts by the calendar; pieces says
    that it counts how often something is given, gives_rest that what is left of it is given where that is less than was
    to be."""

    code: str
    scope: str
    scopes: tuple[str, ...]
    length: int | None
    period: str
    rolling_days: int
    zone: str
    limit: int
    on_exceed: str
    pieces: bool
    gives_rest: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule ready to run. asks is its fused condition, selects its lines; None where there is nothing to ask.

    parties with their shares are who funds it; a party of -1 stands for the partner of the basket. thresholds says
    whether it has any, gated whether it uses up a coupon or stamps, owed that nobody is held out of it, late whether it
    waits for the other discounts, exclusive whether nothing after it runs in its group when it came to something,
    lives_as_agreed whether its points begin and end as the agreement's.
    """

    doc: RuleDocument
    code: str
    version: int
    phase: int
    priority: int
    asks: Predicate | None
    selects: Selection | None
    caps: tuple[Budget, ...]
    parties: tuple[int, ...]
    shares: tuple[int, ...]
    late: bool
    thresholds: bool
    gated: bool
    owed: bool
    exclusive: bool
    valid_from: datetime
    valid_until: datetime | None
    effect: Any  # of its phase's kind, which is quicker asked than a class of pydantic's
    compute: Compute | None
    lives_as_agreed: bool
    codes: Codes | None
    costs: Costs | None


@dataclass(frozen=True, slots=True)
class Group:
    """A stacking group with its members in order."""

    code: str
    mode: str
    scope: str
    priority: int
    members: tuple[Rule | Group, ...]
    late: bool

    @property
    def exclusive(self) -> bool:
        """Whether nothing after it runs in its parent when it came to something."""
        return self.mode == "EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rules that a basket at one partner may fall under: by code, those with budgets, and per phase as a tree where
    there is any.

    panels ask those that have something to ask.
    """

    rules: tuple[Rule, ...]
    capped: tuple[Rule, ...] = ()
    discounts: Group | None = None
    limits: tuple[Rule, ...] = ()
    points: Group | None = None
    grants: Group | None = None
    panels: tuple[Panel, ...] = ()


_NOTHING = Candidates(())


class Book:
    """A release ready to run."""

    def __init__(self, release: Release) -> None:
        self.release = release
        budgets = {budget.code: _budget(budget) for budget in release.budgets}
        self.rules = tuple(_rule(doc, budgets, release.parties) for doc in sorted(release.rules, key=_by_code))
        self._by_trigger: dict[tuple[str, str], list[Rule]] = {}
        for rule in self.rules:
            self._by_trigger.setdefault((rule.doc.trigger, rule.doc.event or ""), []).append(rule)
        self._candidates: dict[tuple[str, str, str], Candidates] = {}

    def candidates(self, trigger: str, event: str, partner: str) -> Candidates:
        """The rules of a trigger (and event) that name the partner or none."""
        if not self.rules:
            return _NOTHING
        key = (trigger, event, partner)
        found = self._candidates.get(key)
        if found is None:
            found = self._candidates[key] = self._find(trigger, event, partner)
        return found

    def _find(self, trigger: str, event: str, partner: str) -> Candidates:
        rules = tuple(
            rule
            for rule in self._by_trigger.get((trigger, event), ())
            if not rule.doc.where.partners or partner in rule.doc.where.partners
        )
        groups = self.release.groups
        return Candidates(
            rules,
            tuple(rule for rule in rules if rule.caps),
            _tree(rules, groups, DISCOUNTS),
            tuple(rule for rule in rules if rule.phase == LIMITS),
            _tree(rules, groups, POINTS),
            _tree(rules, groups, GRANTS),
            panels_of(rules),
        )


def panels_of(rules: Iterable[Rule], *, together: bool = True) -> tuple[Panel, ...]:
    """What asks those of the rules that have something to ask."""
    asking = {rule.code: (rule.asks, rule.selects) for rule in rules if rule.asks or rule.selects}
    return expressions.panels(asking, together=together)


_BOOKS: dict[str, Book] = {}
MOST_BOOKS = 64


def book(release: Release) -> Book:
    """The release ready to run, made once per content."""
    found = _BOOKS.get(release.content_sha256)
    if found is None:
        if len(_BOOKS) >= MOST_BOOKS:
            _BOOKS.pop(next(iter(_BOOKS)))
        found = _BOOKS[release.content_sha256] = Book(release)
    return found


def phase_of(doc: RuleDocument) -> int:
    """In which phase the rule's effect is decided."""
    kind = doc.effect.type
    if kind in DISCOUNT_EFFECTS:
        return DISCOUNTS
    if kind in POINTS_EFFECTS:
        return POINTS
    return GRANTS if kind in GRANT_EFFECTS else LIMITS


def has_thresholds(doc: RuleDocument) -> bool:
    """Whether the rule needs so much on its lines or on the bill."""
    what = doc.what
    return any(one is not None for one in (what.min_quantity_milli, what.min_amount_minor, what.min_basket_minor))


def is_late(doc: RuleDocument) -> bool:
    """Whether a discount waits for the others, because a threshold of it looks at what they left."""
    what = doc.what
    amounts = what.min_amount_minor is not None or what.min_basket_minor is not None
    return amounts and what.of == "AFTER_DISCOUNTS" and phase_of(doc) == DISCOUNTS


def waits_inside(doc: GroupDocument) -> bool:
    """Whether late members of a group wait for the others of it. Where one of them is chosen there is nothing to wait
    for: those that come before gave nothing. Nor does an exclusive one wait, after which nobody comes."""
    return doc.mode not in ("BEST", "FIRST")


def _budget(doc: BudgetDocument) -> Budget:
    pieces = doc.unit == "count"
    return Budget(
        code=doc.code,
        scope=doc.scopes[0] if len(doc.scopes) == 1 else "",
        scopes=doc.scopes,
        length=LENGTHS.get(doc.period),
        period=doc.period,
        rolling_days=doc.rolling_days,
        zone=doc.zone,
        limit=doc.limit,
        on_exceed=doc.on_exceed,
        pieces=pieces,
        gives_rest=doc.on_exceed == "partial" and not pieces,
    )


def _rule(doc: RuleDocument, budgets: Mapping[str, Budget], parties: Mapping[str, int]) -> Rule:
    known = {**parties, HERE: -1, OPERATOR_PARTY: OPERATOR}
    fused = conditions.fused(doc)
    lines = conditions.line_source(doc.what)
    return Rule(
        doc=doc,
        code=doc.code,
        version=doc.version,
        phase=phase_of(doc),
        priority=doc.stack.priority,
        asks=expressions.predicate(fused) if fused else None,
        selects=expressions.selection(lines) if lines else None,
        caps=tuple(budgets[code] for code in doc.caps),
        parties=tuple(known[one.party] for one in doc.funding) or (-1,),
        shares=tuple(one.bp for one in doc.funding) or (1,),
        late=is_late(doc),
        thresholds=has_thresholds(doc),
        gated=doc.codes is not None or doc.costs is not None,
        owed=doc.kind in ("benefit", "redeem_limit"),
        exclusive=doc.stack.exclusive,
        valid_from=doc.valid_from,
        valid_until=doc.valid_until,
        effect=doc.effect,
        compute=compute_of(doc.effect),
        lives_as_agreed=isinstance(doc.effect, PointsEffect) and effects.is_agreed_life(doc.effect),
        codes=doc.codes,
        costs=doc.costs,
    )


def _tree(rules: Iterable[Rule], groups: Sequence[GroupDocument], phase: int) -> Group | None:
    held: dict[str, list[Rule | Group]] = {}
    for rule in rules:
        if rule.phase == phase:
            held.setdefault(rule.doc.stack.group, []).append(rule)
    if not held:
        return None
    return _group(None, held, groups)


def _group(doc: GroupDocument | None, held: Mapping[str, list[Rule | Group]], groups: Sequence[GroupDocument]) -> Group:
    code = doc.code if doc else ""
    inner = (_group(one, held, groups) for one in groups if one.parent == code)
    members = [*held.get(code, ()), *(one for one in inner if one.members)]
    waits = doc is None or waits_inside(doc)
    members.sort(key=lambda one: (waits and one.late and not one.exclusive, one.priority, one.code))
    late = any(one.late for one in members)
    if doc is None:
        return Group("", "SUM", "basket", 0, tuple(members), late)
    return Group(code, doc.mode, doc.scope, doc.priority, tuple(members), late)


def _by_code(doc: RuleDocument) -> str:
    return doc.code
