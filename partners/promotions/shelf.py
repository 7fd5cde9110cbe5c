"""PURE: the releases that a process has read, and what has to be read besides before one of them can decide.

A release is immutable, so what was read once stays; a shelf is never changed, only followed by a longer one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from partners.promotions import conditions, expressions, releases
from partners.promotions.compiling import DISCOUNTS, Rule, book, phase_of
from partners.promotions.documents import DiscountCumulative, GroupDocument
from partners.promotions.evaluation import GLOBAL
from partners.promotions.releases import EMPTY, Release

_HOUSEHOLD = frozenset({"household", "referrer"})  # scopes that only facts about the member tell
_STAMPS = re.compile(r"stamps\s*\[\s*(['\"])(.*?)\1")
_ON_THE_CARD = frozenset({"tier"})
_FIELD_OF = {"subscriber": "plan", "has_birthday": "days_to_birthday"}  # what is made of another field


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be known before the rules of a trigger at a partner can decide: nothing where there are no such rules
    (any is False); fields of `basket.Member` beside the tier, which the card tells, and the counters and stamps that
    are asked for by name; what is left of budgets, and whether whose they are has to be known first (household);
    the experiments that may hold the member out of some of them."""

    any: bool = False
    fields: frozenset[str] = frozenset()
    budgets: bool = False
    household: bool = False
    counters: frozenset[str] = frozenset()
    stamps: frozenset[str] = frozenset()
    experiments: frozenset[str] = frozenset()

    @property
    def facts(self) -> bool:
        """Whether anything has to be read of the member."""
        return bool(self.fields)

    @property
    def birthday(self) -> bool:
        """Whether a rule asks how far away the birthday is."""
        return "days_to_birthday" in self.fields

    @property
    def account(self) -> bool:
        """Whether a purchase that the decision does not know of would change it."""
        return not self.fields.isdisjoint(_OF_THE_ACCOUNT)


_OF_THE_ACCOUNT = frozenset({"counters", "stamps"})


NOTHING = Needs()


class Shelf:
    """Releases by number, and what was found out about them."""

    def __init__(self, held: Iterable[Release] = ()) -> None:
        self._releases = MappingProxyType({one.release_id: one for one in held})
        self._latest_first = releases.latest_first(self._releases.values())
        self._needs: dict[tuple[str, str, str, str], Needs] = {}
        self._narrowed: dict[tuple[int, frozenset[str]], Release] = {}

    @property
    def known(self) -> list[int]:
        """Numbers of the releases on it."""
        return list(self._releases)

    def knows(self, release_id: int) -> bool:
        """Whether the release of this number is on it; 0 stands for none."""
        return release_id == 0 or release_id in self._releases

    def extended(self, more: Iterable[Release]) -> Shelf:
        """The shelf with more releases; itself where there are none."""
        found = list(more)
        return Shelf([*self._releases.values(), *found]) if found else self

    def release(self, release_id: int) -> Release:
        """The release of this number; EMPTY for 0. Raises KeyError where this shelf has none."""
        return self._releases[release_id] if release_id else EMPTY

    def at(self, occurred_at: datetime, received_at: datetime) -> Release:
        """The release that decides what occurred then and was heard of at received_at; EMPTY where there is none."""
        return releases.pinned_of(self._latest_first, occurred_at=occurred_at, received_at=received_at)

    def needs(self, release: Release, trigger: str, event: str, partner: str) -> Needs:
        """What has to be read before the release can decide a trigger at a partner."""
        if not release.rules:
            return NOTHING
        key = (release.content_sha256, trigger, event, partner)
        found = self._needs.get(key)
        if found is None:
            found = self._needs[key] = needs_of(book(release).candidates(trigger, event, partner).rules)
        return found

    def honouring(self, release: Release, discounts: frozenset[str]) -> Release:
        """The release with no rules for discounts but these: a till that gave none of ours is not asked for any.

        Where it gave one, those that might keep that one out have their say, too: who gives one discount of a group of
        which the best counts would else choose who pays.
        Kept per release and set, so that it is made ready to run once; what a till names that is no rule makes no other
        set.
        """
        if discounts:
            discounts &= {rule.code for rule in release.rules}
        key = (release.release_id, discounts)
        found = self._narrowed.get(key)
        if found is None:
            found = self._narrowed[key] = _narrowed(release, discounts)
        return found


def _experiments(rule: Rule) -> frozenset[str]:
    if rule.owed:
        return frozenset()
    return frozenset({GLOBAL} | ({rule.doc.experiment} if rule.doc.experiment else set()))


def _narrowed(release: Release, discounts: frozenset[str]) -> Release:
    groups = {group.code: group for group in release.groups}
    tops = {rule.code: _top(rule.stack.group, groups) for rule in release.rules if phase_of(rule) == DISCOUNTS}
    choosing = {_top(code, groups) for code, one in groups.items() if one.mode in ("BEST", "FIRST") or one.parent}
    choosing |= {tops[rule.code] for rule in release.rules if rule.stack.exclusive and rule.code in tops}
    given = {tops[code] for code in discounts if code in tops}
    asked = given & choosing - {""}
    asked |= {code for code, one in groups.items() if one.mode == "EXCLUSIVE" and not one.parent and given - {code}}
    alone = {rule.code for rule in release.rules if rule.stack.exclusive and not rule.stack.group} if given else set()
    kept = discounts | alone | {code for code, top in tops.items() if top in asked}
    rules = tuple(rule for rule in release.rules if rule.code not in tops or rule.code in kept)
    return release if len(rules) == len(release.rules) else replace(release, rules=rules)


def _top(code: str, groups: Mapping[str, GroupDocument]) -> str:
    """The outermost group around one; empty where there is none."""
    while code in groups and groups[code].parent:
        code = groups[code].parent
    return code


def needs_of(rules: Iterable[Rule]) -> Needs:
    """What has to be known before these rules can decide: what their sources name, and what their effects and budgets
    look at. A name that stands in a source counts as asked for whatever it is a name of."""
    found = NOTHING
    for rule in rules:
        asked = f"{conditions.fused(rule.doc)} {rule.doc.what.line_cel or ''}"
        effect = rule.doc.effect
        counters = expressions.counters_named(asked)
        counters |= {effect.counter} if isinstance(effect, DiscountCumulative) else set()
        fields = {_FIELD_OF.get(name, name) for name in expressions.needed([asked]).get("member", ())} - _ON_THE_CARD
        household = any(not _HOUSEHOLD.isdisjoint(budget.scopes) for budget in rule.caps)
        fields |= {name for name, is_asked in (
            ("counters", counters), ("stamps", rule.doc.costs is not None), ("in_household", household),
        ) if is_asked}  # fmt: skip
        found = Needs(
            any=True,
            fields=found.fields | fields,
            budgets=found.budgets or bool(rule.caps),
            household=found.household or household,
            counters=found.counters | counters,
            stamps=found.stamps | {name for _, name in _STAMPS.findall(asked)},
            experiments=found.experiments | _experiments(rule),
        )
    return found
