"""PURE: what a run covers of volume periods, and the money that fees and rebates of them come to.

A cut-off belongs to the period of the day that ends with it, where the programme is. A period is over for the run in
whose time its end lies; a month is charged by the run in whose time its end lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from partners.terms import SettlementTerms, Terms
from settlement import rating, volumes
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR, RatedLine
from settlement.volumes import Volume

_ADDED = frozenset({rating.ACTIVATION, rating.ADJUSTMENT})
_TAKEN = frozenset({rating.RETURN, rating.RETURN_OWED, rating.ADJUSTMENT_TAKEN})
_TO_PARTNER = frozenset({volumes.TIER_REBATE, volumes.VOLUME_REBATE})


@dataclass(frozen=True, slots=True)
class Billed:
    """Points that a partner was billed for in a cut-off, those given back taken off, and the service part of them."""

    cut_at: datetime
    points: int
    service_micro: int


def needs_them(terms: SettlementTerms) -> bool:
    """Whether an agreement says anything that volume periods are needed for."""
    return bool(terms.volume_tiers or terms.volume_rebates or terms.platform_fee_micro or terms.minimum_fee_micro)


def billed(lines: Iterable[RatedLine], cut_at: datetime, terms: Mapping[int, Terms]) -> dict[int, Billed]:
    """What the partners' rated lines of a cut-off billed each of them for."""
    sums: dict[int, list[int]] = {}
    for line in lines:
        way = 1 if line.kind in _ADDED else -1 if line.kind in _TAKEN else 0
        if way and line.party_id != OPERATOR:
            total = sums.setdefault(line.party_id, [0, 0])
            total[0] += way * line.points
            total[1] += way * line.points * terms[line.terms_id].service_price_micro
    return {party: Billed(cut_at, *total) for party, total in sums.items()}


def covered(
    terms: SettlementTerms, *, earlier: Sequence[Billed], own: Sequence[Billed], agreed_since: datetime,
    since: datetime, until: datetime, zone: str,
) -> list[Volume]:  # fmt: skip
    """The volume of every period that a run from `since` to `until` has something of, in order.

    earlier are cut-offs of runs before, own those of this run. agreed_since is when the partner's first version began.
    """
    local = ZoneInfo(zone)
    months = _ends(since, until, local)
    spans = {_span(one.cut_at, terms, local) for one in own}
    spans |= {volumes.period_of(end - timedelta(days=1), terms.volume_period) for end in months}
    found = []
    for span in sorted(spans):
        before = [one for one in earlier if _span(one.cut_at, terms, local) == span]
        now = [one for one in own if _span(one.cut_at, terms, local) == span]
        begins = datetime.combine(span[0], time(), local)
        found.append(
            Volume(
                before_points=sum(one.points for one in before),
                points=sum(one.points for one in now),
                service_micro=sum(one.service_micro for one in [*before, *now]),
                months=sum(span[0] < end <= span[1] for end in months),
                charged_months=len(_ends(max(begins, agreed_since), since, local)),
                is_over=span[1] in months,
            )
        )
    return found


def charges(terms: SettlementTerms, found: Iterable[Volume]) -> list[MoneyEvent]:
    """What volumes come to by an agreement, as money events between its partner and the operator."""
    sums: dict[str, int] = {}
    for volume in found:
        for line in volumes.lines(terms, volume):
            sums[line.kind] = sums.get(line.kind, 0) + line.amount_micro
    return [_event(terms, kind, amount) for kind, amount in sums.items() if amount]


def _event(terms: SettlementTerms, kind: str, amount_micro: int) -> MoneyEvent:
    is_given = kind in _TO_PARTNER
    payer, payee = (OPERATOR, terms.partner_id) if is_given else (terms.partner_id, OPERATOR)
    amount = amount_micro if is_given else -amount_micro
    return MoneyEvent(kind, payer, payee, terms.currency, amount, terms_id=terms.terms_id)


def _span(cut_at: datetime, terms: SettlementTerms, local: ZoneInfo) -> tuple[date, date]:
    day = (cut_at - timedelta(microseconds=1)).astimezone(local).date()
    return volumes.period_of(day, terms.volume_period)


def _ends(since: datetime, until: datetime, local: ZoneInfo) -> list[date]:
    """The first days of months, as ends of the months before, whose midnight lies behind `since` and not `until`."""
    found = []
    day = since.astimezone(local).date().replace(day=1)
    while (midnight := datetime.combine(day, time(), local)) <= until:
        if midnight > since:
            found.append(day)
        day = volumes.period_of(day, "MONTH")[1]
    return found
