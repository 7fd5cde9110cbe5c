"""PURE: releases: immutable sets of rules, budgets and stacking groups, under a hash of their sources.

What decides is always a release. The release in force when something occurred decides it, and never one that was
published after it was received.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from partners.promotions.documents import BudgetDocument, GroupDocument, RuleDocument, read, read_as
from partners.promotions.plain import digest

ENGINE_VERSION = 3


@dataclass(frozen=True)
class Release:
    """Rules, budgets and groups that decide together; never edited.

    parties gives the number of every partner's code that funds something. effective_from is when it begins to decide,
    published_at when it was made known; author and approver are actors' names, and differ.
    """

    release_id: int
    rules: tuple[RuleDocument, ...] = ()
    groups: tuple[GroupDocument, ...] = ()
    budgets: tuple[BudgetDocument, ...] = ()
    parties: Mapping[str, int] = field(default_factory=dict)
    effective_from: datetime = datetime(1, 1, 1, tzinfo=UTC)
    published_at: datetime = datetime(1, 1, 1, tzinfo=UTC)
    author: str = ""
    approver: str = ""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content as plain JSON: sources sorted by code, so that the order of insertion means nothing."""
        return {
            "engine": ENGINE_VERSION,
            "rules": [rule.source for rule in sorted(self.rules, key=lambda rule: rule.code)],
            "groups": [one.model_dump(mode="json") for one in sorted(self.groups, key=lambda group: group.code)],
            "budgets": [one.model_dump(mode="json") for one in sorted(self.budgets, key=lambda budget: budget.code)],
            "parties": dict(sorted(self.parties.items())),
        }

    @cached_property
    def content_sha256(self) -> str:
        """The hash of the content; two releases of one content decide alike."""
        return digest(self.manifest)

    @cached_property
    def zones(self) -> tuple[str, ...]:
        """The zones in which its budgets count, for Context.dates."""
        return tuple(sorted({budget.zone for budget in self.budgets}))

    @classmethod
    def from_manifest(
        cls,
        release_id: int,
        manifest: Mapping[str, Any],
        *,
        effective_from: datetime,
        published_at: datetime,
        author: str,
        approver: str,
    ) -> Release:
        """The release of a stored manifest. Raises pydantic.ValidationError for what is no manifest."""
        return cls(
            release_id,
            tuple(read(rule) for rule in manifest["rules"]),
            tuple(read_as(GroupDocument, group) for group in manifest["groups"]),
            tuple(read_as(BudgetDocument, budget) for budget in manifest["budgets"]),
            dict(manifest["parties"]),
            effective_from,
            published_at,
            author,
            approver,
        )


EMPTY = Release(0)


def pinned(releases: Iterable[Release], *, occurred_at: datetime, received_at: datetime) -> Release:
    """The release that decides what occurred then and was heard of at received_at; EMPTY before the first.

    Of those published when it was received, the one that was last to begin by the time it occurred; of two that begin
    together the later published.
    """
    return pinned_of(latest_first(releases), occurred_at=occurred_at, received_at=received_at)


def latest_first(releases: Iterable[Release]) -> tuple[Release, ...]:
    """Releases in the order in which they go before each other."""
    return tuple(sorted(releases, key=lambda one: (one.effective_from, one.published_at, one.release_id), reverse=True))


def pinned_of(ordered: Iterable[Release], *, occurred_at: datetime, received_at: datetime) -> Release:
    """As `pinned`, of releases that are in order."""
    for one in ordered:
        if one.effective_from <= occurred_at and one.published_at <= received_at:
            return one
    return EMPTY


def suspended(release: Release, rules: Sequence[str], *, release_id: int, at: datetime, author: str) -> Release:
    """The release without some rules, in force from `at`: suspending is itself a release."""
    left = tuple(rule for rule in release.rules if rule.code not in rules)
    return Release(release_id, left, release.groups, release.budgets, release.parties, at, at, author, release.approver)
