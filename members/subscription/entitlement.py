"""PURE: who may have a benefit now. Grants less blocks, derived and never stored as a flag.

Blocks are of one subscription: an unpaid second one takes nothing from a first that is paid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """A benefit for a member, [from, until): from a subscription, a seat of one, a promotion or goodwill."""

    benefit: str
    valid_from: datetime
    valid_until: datetime | None
    subscription_no: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Nothing of a subscription for a while, [from, until): arrears, a pause, fraud."""

    subscription_no: int
    reason: str
    valid_from: datetime
    valid_until: datetime | None


def benefits_at(grants: Iterable[Grant], blocks: Iterable[Block], at: datetime) -> frozenset[str]:
    """The benefits that a member is entitled to at an instant (UTC)."""
    blocked = {block.subscription_no for block in blocks if _covers(block.valid_from, block.valid_until, at)}
    return frozenset(
        grant.benefit
        for grant in grants
        if _covers(grant.valid_from, grant.valid_until, at)
        and (grant.subscription_no is None or grant.subscription_no not in blocked)
    )


def _covers(valid_from: datetime, valid_until: datetime | None, at: datetime) -> bool:
    return valid_from <= at and (valid_until is None or at < valid_until)
