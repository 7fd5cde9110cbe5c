"""PURE: which running rules meet a rule at the same tills at the same time, so that whoever writes it knows.

What meets is told by what rules say plainly: trigger, event, partners, outlets, channels, and the time. Conditions that
are expressions may still keep two apart; so this warns and forbids nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from partners.promotions.documents import RuleDocument

ADDS_UP, OUTRANKS, OUTRANKED = "ADDS_UP", "OUTRANKS", "OUTRANKED"
_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Overlap:
    """A rule that another meets in [since, until) (None: without an end). how: both give (ADDS_UP), or of one group
    with an exclusive rule in it the first to give anything: the one looked at (OUTRANKS) or the other (OUTRANKED)."""

    rule: RuleDocument
    since: datetime
    until: datetime | None
    how: str


def found(rule: RuleDocument, running: Iterable[RuleDocument]) -> list[Overlap]:
    """The rules of other promotions that a rule meets, in their codes' order."""
    told = []
    for other in running:
        if other.promotion == rule.promotion or not _meet(rule, other):
            continue
        since = max(rule.valid_from, other.valid_from)
        until = min(rule.valid_until or _END, other.valid_until or _END)
        if since < until:
            told.append(Overlap(other, since, None if until == _END else until, _how(rule, other)))
    return sorted(told, key=lambda one: one.rule.code)


def _meet(one: RuleDocument, other: RuleDocument) -> bool:
    if one.trigger != other.trigger or (one.event and other.event and one.event != other.event):
        return False
    channels, others = one.where.channels, other.where.channels
    if channels and others and not set(channels) & set(others):
        return False
    if one.where.outlets and other.where.outlets:
        return bool(set(one.where.outlets) & set(other.where.outlets))
    wanted, theirs = _partners(one), _partners(other)
    if wanted is not None and theirs is not None:
        return bool(wanted & theirs)
    named, open_one = (wanted, other) if wanted is not None else (theirs, one)
    return named is None or bool(named - set(open_one.where.exclude_partners))


def _partners(rule: RuleDocument) -> set[str] | None:
    """The partners at which it works, as far as it names any; None for all but those that it excludes."""
    where = rule.where
    if where.partners:
        return set(where.partners) - set(where.exclude_partners)
    if where.outlets:
        return {outlet.partition(":")[0] for outlet in where.outlets}
    return None


def _how(rule: RuleDocument, other: RuleDocument) -> str:
    mine, theirs = rule.stack, other.stack
    if mine.group != theirs.group or not (mine.exclusive or theirs.exclusive):
        return ADDS_UP
    if mine.priority < theirs.priority:
        return OUTRANKS if mine.exclusive else ADDS_UP
    return OUTRANKED if theirs.exclusive else ADDS_UP
