"""PURE: the releases that a process has read, and those of their rules that a basket at a place may meet.

A release is immutable, so what was read once stays; a shelf is never changed, only followed by a longer one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from partners.promotions import expressions, releases
from partners.promotions.documents import BudgetDocument, DiscountCumulative, RuleDocument
from partners.promotions.releases import EMPTY, Release

_PERSONAL = ("plans", "benefits", "segments", "exclude_segments", "attributes", "badges")


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be read before some rules can decide: counters of the member by name, other facts about the member,
    what is left of budgets. Nothing where all is known from the card."""

    counters: frozenset[str] = frozenset()
    facts: bool = False
    budgets: tuple[BudgetDocument, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.counters or self.facts or self.budgets)


class Shelf:
    """Releases by number, and what was made of them."""

    def __init__(self, held: Iterable[Release] = ()) -> None:
        self._releases = MappingProxyType({one.release_id: one for one in held})
        self._pinned: dict[tuple[int, str, str], tuple[Release, Needs]] = {}
        self._narrowed: dict[tuple[int, frozenset[str]], Release] = {}

    @property
    def known(self) -> list[int]:
        """Numbers of the releases on it."""
        return list(self._releases)

    def extended(self, more: Iterable[Release]) -> Shelf:
        """The shelf with more releases; itself where there are none."""
        found = list(more)
        return Shelf([*self._releases.values(), *found]) if found else self

    def release(self, release_id: int) -> Release:
        """The release of this number; EMPTY for 0. Raises KeyError where this shelf has none."""
        return self._releases[release_id] if release_id else EMPTY

    def at(self, occurred_at: datetime, received_at: datetime) -> Release:
        """The release that decides what occurred then and was heard of at received_at; EMPTY where there is none."""
        if not self._releases:
            return EMPTY
        return releases.pinned(self._releases.values(), occurred_at=occurred_at, received_at=received_at)

    def candidates(self, release: Release, partner: str, trigger: str) -> tuple[Release, Needs]:
        """The release narrowed to rules that may meet a trigger at a partner, and what has to be read for them."""
        key = (release.release_id, partner, trigger)
        if key not in self._pinned:
            rules = tuple(rule for rule in release.rules if _may_meet(rule, partner, trigger))
            self._pinned[key] = replace(release, rules=rules), needs_of(replace(release, rules=rules))
        return self._pinned[key]
