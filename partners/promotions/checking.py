"""PURE: whether rules, groups and budgets can be released together, and what stands against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from kit.errors import FieldProblem
from partners.promotions import cycles, documents
from partners.promotions.basket import BaseTerms
from partners.promotions.compiling import DISCOUNTS, GRANTS, LIMITS, POINTS, is_late, phase_of, waits_inside
from partners.promotions.documents import (
    HERE,
    OPERATOR_PARTY,
    GrantCoupon,
    GrantStamp,
    GroupDocument,
    RaffleTicket,
    RuleDocument,
)
from partners.promotions.releases import Release

DEEPEST = 8
_UNITS = {POINTS: ("points", "count"), DISCOUNTS: ("money", "count")}  # of other effects, only how often


def problems(release: Release, terms: Iterable[BaseTerms] = ()) -> list[FieldProblem]:
    """What is wrong with a release, by path; empty when it may be published.

    terms are the agreements in force, for what points may pay for. A circle in which points become more points is told
    as it runs.
    """
    found = [*_rules(release), *_groups(release), *_order(release)]
    if not found and (circle := cycles.find(release, terms)):
        found.append(FieldProblem(("rules",), "POINTS_EARN_POINTS", f"expected no circle: {circle}"))
    return found


def leant_on(rule: RuleDocument) -> Iterator[tuple[str, str, str]]:
    """What a rule names that must be there for it ever to give anything: path, kind, name. Kinds are PARTNER, OUTLET,
    EVENT, BATCH, STAMPS and RAFFLE."""
    if rule.event is not None:
        yield "event", "EVENT", rule.event
    yield from (("where.partners", "PARTNER", one) for one in (*rule.where.partners, *rule.where.exclude_partners))
    yield from (("where.outlets", "OUTLET", one) for one in rule.where.outlets)
    if rule.codes is not None:
        yield "codes.required", "BATCH", rule.codes.required
    if rule.costs is not None:
        yield "costs.unit", "STAMPS", rule.costs.unit
    effect = rule.effect
    if isinstance(effect, GrantCoupon):
        yield "effect.batch", "BATCH", effect.batch
    elif isinstance(effect, GrantStamp):
        yield "effect.unit", "STAMPS", effect.unit
    elif isinstance(effect, RaffleTicket):
        yield "effect.raffle", "RAFFLE", effect.raffle


def _rules(release: Release) -> Iterator[FieldProblem]:
    groups = {group.code for group in release.groups} | {""}
    for code, count in Counter(rule.code for rule in release.rules).items():
        if count > 1:
            yield FieldProblem(("rules", code), "REPEATED", "expected one version of a rule")
    for rule in release.rules:
        path = ("rules", rule.code)
        for problem in documents.problems(rule):
            yield FieldProblem((*path, *problem.path), problem.code, problem.message)
        if rule.stack.group not in groups:
            yield FieldProblem((*path, "stack", "group"), "UNKNOWN", "expected a group of the release")
        for index, one in enumerate(rule.funding):
            if one.party not in (HERE, OPERATOR_PARTY) and one.party not in release.parties:
                message = "expected HERE, OPERATOR or a partner of the release"
                yield FieldProblem((*path, "funding", str(index), "party"), "UNKNOWN", message)
        yield from _caps(rule, release)


def _caps(rule: RuleDocument, release: Release) -> Iterator[FieldProblem]:
    budgets = {budget.code: budget for budget in release.budgets}
    units = _UNITS.get(phase_of(rule), ("count",))
    for index, code in enumerate(rule.caps):
        path = ("rules", rule.code, "caps", str(index))
        if code not in budgets:
            yield FieldProblem(path, "UNKNOWN", "expected a budget of the release")
        elif budgets[code].unit not in units:
            yield FieldProblem(path, "UNIT", f"expected a budget of {' or '.join(units)}")
        elif phase_of(rule) == LIMITS:
            yield FieldProblem(path, "LIMIT", "expected no budget: a limit gives nothing")


def _groups(release: Release) -> Iterator[FieldProblem]:
    groups = {group.code: group for group in release.groups}
    for code, count in Counter(group.code for group in release.groups).items():
        if count > 1:
            yield FieldProblem(("groups", code), "REPEATED", "expected a group once")
    deep = [one.code for one in groups.values() if not _loops(one, groups) and _depth(one, groups) > DEEPEST]
    for code in deep:
        message = f"expected at most {DEEPEST} groups in each other"
        yield FieldProblem(("groups", code, "parent"), "DEPTH", message)
    if deep:
        return
    for group in groups.values():
        if group.parent and group.parent not in groups:
            yield FieldProblem(("groups", group.code, "parent"), "UNKNOWN", "expected a group of the release")
        elif _loops(group, groups):
            yield FieldProblem(("groups", group.code, "parent"), "CIRCLE", "expected a group that is not above itself")
        elif group.scope == "line" and any(one.parent == group.code for one in groups.values()):
            yield FieldProblem(("groups", group.code, "scope"), "NESTED", "expected rules only in a group by line")
        elif len(phases := {phase_of(rule) for rule in _held(group, groups, release)}) > 1 or LIMITS in phases:
            message = "expected rules of one sort: all discounts, all points or all grants"
            yield FieldProblem(("groups", group.code), "PHASES", message)
        elif group.scope == "line" and group.mode not in ("BEST", "FIRST"):
            yield FieldProblem(("groups", group.code, "scope"), "MODE", "expected BEST or FIRST to choose by line")
        elif group.scope == "line" and (GRANTS in phases or _has_no_lines(group, groups, release)):
            message = "expected discounts, or points for purchases: anything else falls on no line"
            yield FieldProblem(("groups", group.code, "scope"), "NO_LINES", message)


def _has_no_lines(group: GroupDocument, groups: dict[str, GroupDocument], release: Release) -> bool:
    return any(rule.trigger != "purchase" for rule in _held(group, groups, release))


def _loops(group: GroupDocument, groups: dict[str, GroupDocument]) -> bool:
    seen, here = {group.code}, group.parent
    while here in groups:
        if here in seen:
            return True
        seen.add(here)
        here = groups[here].parent
    return False


def _depth(group: GroupDocument, groups: dict[str, GroupDocument]) -> int:
    found = 1
    while group.parent in groups:
        group, found = groups[group.parent], found + 1
    return found


def _held(group: GroupDocument, groups: dict[str, GroupDocument], release: Release) -> Iterator[RuleDocument]:
    yield from (rule for rule in release.rules if rule.stack.group == group.code)
    for inner in groups.values():
        if inner.parent == group.code:
            yield from _held(inner, groups, release)


def _order(release: Release) -> Iterator[FieldProblem]:
    """Priorities are unique among those that are decided together, so there is no order left to chance."""
    chosen = {group.code for group in release.groups if not waits_inside(group)}
    held: dict[tuple[str, object], list[str]] = {}
    for rule in release.rules:
        late = is_late(rule) and rule.stack.group not in chosen and not rule.stack.exclusive
        place = (rule.stack.group, (phase_of(rule), late, rule.trigger, rule.stack.priority))
        held.setdefault(place, []).append(rule.code)
    for codes in held.values():
        for code in codes[1:] if len(codes) > 1 and _meet(release, codes) else ():
            message = f"expected a priority of its own in the group: {codes[0]} has it"
            yield FieldProblem(("rules", code, "stack", "priority"), "REPEATED", message)
    places = Counter((group.parent, group.priority) for group in release.groups)
    for group in release.groups:
        if places[group.parent, group.priority] > 1:
            message = "expected a priority of its own among groups of one parent"
            yield FieldProblem(("groups", group.code, "priority"), "REPEATED", message)


def _meet(release: Release, codes: list[str]) -> bool:
    """Whether two of the rules can be candidates of one basket: partners apart, they never meet."""
    taken: set[str] = set()
    for rule in release.rules:
        if rule.code in codes:
            here = set(rule.where.partners) or {""}
            if taken & here or ("" in here and taken) or "" in taken:
                return True
            taken |= here
    return False
