"""PURE: whether somebody who came counts as brought by a member, and why not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from partners.mechanics.documents import InvitationDocument

SELF, RING, HOUSEHOLD, DEVICE, NOT_NEW, CAP = "SELF", "RING", "HOUSEHOLD", "DEVICE", "NOT_NEW", "CAP"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who came by an invitation, as far as it matters: who (with all whom their number stood for), since when
    a member, how often they bought before; whether they are the referrer's person, of one household with them (now or
    ever), on the same device; who brought the referrer, and who brought those; how many the referrer brought this
    year; whether the same person was rewarded for coming once, though they left since."""

    member_ids: Collection[int]
    enrolled_at: datetime
    purchases: int
    referrer_ids: Collection[int]
    brought_referrer: Collection[int]
    is_same_person: bool
    is_same_household: bool
    is_same_device: bool
    brought_this_year: int
    was_brought_before: bool = False


def refusal(arrival: Arrival, rules: InvitationDocument, *, at: datetime) -> str | None:
    """Why it does not count; None where it does."""
    if arrival.is_same_person or set(arrival.member_ids) & set(arrival.referrer_ids):
        return SELF
    if set(arrival.member_ids) & set(arrival.brought_referrer):
        return RING
    if arrival.is_same_household:
        return HOUSEHOLD
    if arrival.is_same_device:
        return DEVICE
    if (
        arrival.was_brought_before
        or arrival.purchases > 0
        or arrival.enrolled_at + timedelta(days=rules.newcomer_days) <= at
    ):
        return NOT_NEW
    if arrival.brought_this_year >= rules.per_year:
        return CAP
    return None
