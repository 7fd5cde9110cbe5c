"""PURE: which published rules a partner may know of: those that work at it, and those that it pays for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from partners.promotions.documents import HERE, RuleDocument
from partners.promotions.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Published:
    """A rule as it was published last, and whether it is in force at the instant that was asked about."""

    rule: RuleDocument
    is_in_force: bool


def concerns(rule: RuleDocument, partner: str) -> bool:
    """Whether a rule is a partner's to know of."""
    if any(one.party == partner for one in rule.funding):
        return True
    where = rule.where
    if partner in where.exclude_partners or (where.partners and partner not in where.partners):
        return False
    return not where.outlets or any(outlet.startswith(f"{partner}:") for outlet in where.outlets)


def share_bp(rule: RuleDocument, partner: str) -> int:
    """What a partner pays of a rule at its own tills, in basis points."""
    return sum(one.bp for one in rule.funding if one.party in (partner, HERE))


def published(shelf: Shelf, partner: str, *, at: datetime) -> Mapping[str, list[Published]]:
    """The rules that a partner may know of, by the promotion's code, in order, each as it was published last."""
    last: dict[str, RuleDocument] = {}
    for release_id in sorted(shelf.known):
        last |= {rule.code: rule for rule in shelf.release(release_id).rules}
    now = {rule.code for rule in shelf.at(at, at).rules}
    found: dict[str, list[Published]] = {}
    for code in sorted(last):
        if concerns(last[code], partner):
            found.setdefault(last[code].promotion, []).append(Published(last[code], code in now))
    return found
