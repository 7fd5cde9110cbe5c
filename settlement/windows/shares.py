"""PURE: in which currency what moved is cleared, and which window it therefore belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from partners.terms import Terms
from settlement import rating
from settlement.rating import OPERATOR, REDEMPTION, REFUND, ClearingGroup, Unrated

if TYPE_CHECKING:
    from ledger.cutoffs import Turnover


@dataclass(frozen=True, slots=True)
class Moved:
    """Postings of one cut-off with the same parties and terms. origin_cutoff is an earlier one where they came late."""

    cutoff_id: int
    origin_cutoff: int
    turnover: Turnover


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Points that somebody funds, under one version of terms: pending, and spendable (available or held)."""

    funder_id: int
    lot_terms_id: int
    pending: int
    spendable: int


def currencies_of(group: ClearingGroup, terms: Mapping[int, Terms], base: str) -> frozenset[str]:
    """The currencies in which a group moves something: that of the lot, and where points are used also that of who
    took them. What has no agreement, as the operator's own gifts, is in the base currency. Raises Unrated.
    """
    found = {_currency(terms, group.lot_terms_id, base)}
    if group.kind in (REDEMPTION, REFUND) and group.partner_id != OPERATOR:
        found.add(_currency(terms, group.terms_id, base))
    return frozenset(found)


def groups(moved: Iterable[Moved]) -> list[ClearingGroup]:
    """One group per kind and parties, whenever they moved: a lot activated later and one active at once are the same.

    Raises Unrated for a movement that has no price.
    """
    sums: dict[tuple[str, int, int, int, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for one in moved:
        t = one.turnover
        kind = rating.kind_of(t.debit, t.credit)
        total = sums[kind, t.issuer_id, t.funder_id, t.partner_id, t.lot_terms_id, t.terms_id]
        total[0] += t.points
        total[1] += t.postings
    return [ClearingGroup(*key, *sums[key]) for key in sorted(sums)]


def in_currency(moved: Iterable[Moved], currency: str, terms: Mapping[int, Terms], base: str) -> list[Moved]:
    """What of it is cleared in a currency."""
    return [one for one in moved for [group] in [groups([one])] if currency in currencies_of(group, terms, base)]


def by_window(
    moved: Iterable[Moved], late: Collection[tuple[int, int]], currency: str, terms: Mapping[int, Terms], base: str
) -> dict[tuple[int, int], list[Moved]]:
    """What is cleared in a currency, by cut-off and origin. late are those that have a window for what came late;
    where there is none, it belongs to the cut-off's own window.
    """
    found: dict[tuple[int, int], list[Moved]] = defaultdict(list)
    for one in in_currency(moved, currency, terms, base):
        key = (one.cutoff_id, one.origin_cutoff)
        found[key if key in late else (one.cutoff_id, one.cutoff_id)].append(one)
    return dict(found)


def terms_ids(moved: Iterable[Moved]) -> set[int]:
    """The agreement versions that price what moved."""
    return {n for one in moved for n in (one.turnover.lot_terms_id, one.turnover.terms_id) if n}


def _currency(terms: Mapping[int, Terms], terms_id: int, base: str) -> str:
    if terms_id == 0:
        return base
    if terms_id not in terms:
        raise Unrated(f"agreement version {terms_id} is unknown")
    return terms[terms_id].currency
