"""PURE: what a run comes to, from what is in its windows and what its partners bring; and the form it is hashed in.

The same material gives the same decision, byte for byte, on any machine and at any later time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Any

from partners.terms import Terms
from settlement import rating, statements
from settlement.charges import Brought, Conditions
from settlement.documents.drawing import TaxRule
from settlement.money import events
from settlement.money.events import MoneyEvent
from settlement.netting import Instruction
from settlement.rating import NO_STOCKS, ClearingGroup, Movement, RatedLine, Stocks
from settlement.statements import Draft, Sides
from settlement.windows import shares
from settlement.windows.shares import Moved


@dataclass(frozen=True, slots=True)
class Material:
    """All that a run is decided on. windows are their names in order; stocks are by cut-off, as clearing knows them;
    handed_over is what stock that changes hands with these cut-offs does to the obligation."""

    currency: str
    windows: tuple[str, ...]
    moved: tuple[Moved, ...]
    terms: Mapping[int, Terms]
    events: tuple[MoneyEvent, ...] = ()
    stocks: Mapping[int, Stocks] = field(default_factory=dict)
    brought: Mapping[int, Brought] = field(default_factory=dict)
    handed_over: tuple[Movement, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a run comes to: what was rated, the statements, the payments, and what it does to the obligation."""

    groups: tuple[ClearingGroup, ...]
    drafts: tuple[Draft, ...]
    payments: tuple[Instruction, ...]
    movements: tuple[Movement, ...]


def decide(material: Material) -> Decision:
    """Rate, draw and net. Raises statements.Imbalance, rating.Unrated: faults of the programme, nothing is settled."""
    parts = [
        (shares.groups(found), material.stocks.get(cutoff_id, NO_STOCKS)) for cutoff_id, found in _by_cutoff(material)
    ]
    sides = Sides(
        partners=_sum(line for groups, stocks in parts for line in rating.rate(groups, material.terms, stocks)),
        operator=_sum(
            line for groups, stocks in parts for line in rating.rate_operator(groups, material.terms, stocks)
        ),
        charged=events.rate(material.events),
    )
    drafts = statements.settle(sides, material.currency, material.brought)
    gross = {party for party, one in material.brought.items() if not one.conditions.is_netted}
    moved = [m for groups, stocks in parts for m in rating.rate_obligation(groups, material.terms, stocks)]
    moved += material.handed_over
    return Decision(
        groups=tuple(shares.groups(material.moved)),
        drafts=tuple(drafts),
        payments=tuple(statements.payments(drafts, gross)),
        movements=tuple(_movements(m for m in moved if m.currency == material.currency)),
    )


def input_hash(material: Material) -> bytes:
    """SHA-256 over the canonical form of what a run is decided on."""
    said = {
        "currency": material.currency,
        "windows": material.windows,
        "moved": [asdict(one) for one in material.moved],
        "terms": {str(n): asdict(one) for n, one in material.terms.items()},
        "events": [asdict(one) for one in material.events],
        "stocks": {
            str(n): [[*key, asdict(stock)] for key, stock in sorted(stocks.items())]
            for n, stocks in material.stocks.items()
        },
        "brought": {str(n): asdict(one) for n, one in material.brought.items()},
        "handed_over": [asdict(one) for one in material.handed_over],
    }
    return _hash(said)


def output_hash(decision: Decision) -> bytes:
    """SHA-256 over the canonical form of what a run came to."""
    return _hash(asdict(decision))


@dataclass(frozen=True, slots=True)
class Agreed:
    """What of a run's material is not in its windows: what partners bring, and money that moved without points."""

    brought: Mapping[int, Brought]
    events: tuple[MoneyEvent, ...] = ()
    handed_over: tuple[Movement, ...] = ()


def frozen(agreed: Agreed) -> dict[str, Any]:
    """The same as it is kept with the run."""
    return {
        "brought": {str(party): asdict(one) for party, one in sorted(agreed.brought.items())},
        "events": [asdict(event) for event in agreed.events],
        "handed_over": [asdict(one) for one in agreed.handed_over],
    }


def thawed(kept: Mapping[str, Any]) -> Agreed:
    """What `frozen` kept."""
    brought = {}
    for party, one in kept["brought"].items():
        said = dict(one["conditions"])
        conditions = Conditions(**{**said, "tax": TaxRule(**said["tax"])})
        brought[int(party)] = Brought(one["opening_minor"], one["released_minor"], conditions)
    return Agreed(
        brought,
        tuple(MoneyEvent(**event) for event in kept["events"]),
        tuple(Movement(**one) for one in kept["handed_over"]),
    )


def rated(material: Material) -> list[tuple[int, list[RatedLine]]]:
    """The partners' rated lines by cut-off, in order."""
    return [
        (cutoff_id, rating.rate(shares.groups(found), material.terms, material.stocks.get(cutoff_id, NO_STOCKS)))
        for cutoff_id, found in _by_cutoff(material)
    ]


def _by_cutoff(material: Material) -> list[tuple[int, list[Moved]]]:
    found: dict[int, list[Moved]] = {}
    for one in material.moved:
        found.setdefault(one.cutoff_id, []).append(one)
    return sorted(found.items())


def _sum(lines: Iterable[RatedLine]) -> list[RatedLine]:
    sums: dict[tuple[int, str, str, int, int], RatedLine] = {}
    for line in lines:
        key = (line.party_id, line.currency, line.kind, line.terms_id, line.unit_price_micro)
        sums[key] = line if key not in sums else rating.add(sums[key], line)
    return [sums[key] for key in sorted(sums)]


def _movements(found: Iterable[Movement]) -> list[Movement]:
    sums: dict[tuple[int, int, str, int], Movement] = {}
    for m in found:
        key = (m.funder_id, m.terms_id, m.kind, m.unit_price_micro)
        held = sums.get(key)
        more = (0, 0) if held is None else (held.points, held.amount_micro)
        sums[key] = replace(m, points=m.points + more[0], amount_micro=m.amount_micro + more[1])
    return [sums[key] for key in sorted(sums)]


def _hash(said: object) -> bytes:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).digest()


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value)} has no canonical form")
