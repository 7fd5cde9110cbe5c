"""What is in a package: a statement, its movements and the agreements, as values without numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kit import amounts
from kit.reports.csv_files import inert
from partners.terms import SettlementTerms, Terms
from settlement import charges, rating, volumes
from settlement.archive import RunHead, Statement
from settlement.charges import Brought
from settlement.money import events
from settlement.money.events import MoneyEvent
from settlement.packages.canonical import Value
from settlement.rating import Stocks
from settlement.statements import Detail, Line
from settlement.volumes import Volume

DETAIL_HEADER = "cutoff,kind,at,business_date,outlet,reference,member,points,agreement,unit_price_micro,amount_micro\n"
PERIOD = frozenset({volumes.TIER_REBATE, volumes.VOLUME_REBATE, volumes.PLATFORM_FEE, volumes.MINIMUM_FEE})
_TAX = frozenset({charges.OUTPUT_TAX, charges.INPUT_TAX})
_RETENTION = frozenset({charges.HOLDBACK, charges.HOLDBACK_RELEASED, charges.CARRIED_OUT})


@dataclass(frozen=True, slots=True)
class Facts:
    """What a statement was decided on besides its movements: what the partner brought, money events, its volumes."""

    brought: Brought
    events: tuple[MoneyEvent, ...]
    volumes: tuple[tuple[SettlementTerms, Sequence[Volume]], ...]


def basis(line: Line, money: frozenset[tuple[str, int]]) -> str:
    """What a line follows from: MOVEMENTS, PERIOD, EVENTS, TAX, RETENTION, ROUNDING. money: kinds and versions of
    money events that are no period's."""
    if line.kind in PERIOD:
        return "PERIOD"
    if line.kind in _TAX:
        return "TAX"
    if line.kind in _RETENTION:
        return "RETENTION"
    if line.kind == charges.ROUNDING:
        return "ROUNDING"
    return "EVENTS" if (line.kind, line.terms_id or 0) in money else "MOVEMENTS"


def statement(
    its: Statement, head: RunHead, facts: Facts, *, partner: str, windows: Sequence[str], previous_sha256: str | None
) -> dict[str, Value]:
    """A statement's canonical form in packages; it names the one before it."""
    own = [event for event in facts.events if event.kind not in PERIOD]
    money = frozenset((event.kind, event.terms_id) for event in own)
    carried_minor = -sum(line.amount_minor for line in its.lines if line.kind == charges.CARRIED_OUT)
    return {
        "statement": str(its.statement_id),
        "run": head.name,
        "partner": partner,
        "currency": its.currency,
        "micro_per_minor": str(amounts.micro_per_minor(its.currency)),
        "windows": list(windows),
        "opened_at": None if its.opened_at is None else its.opened_at.isoformat(),
        "cut_at": its.cut_at.isoformat(),
        "previous_statement_sha256": previous_sha256,
        "opening_micro": str(its.opening_micro),
        "opening_minor": str(its.opening_minor),
        "released_minor": str(facts.brought.released_minor),
        "net_micro": str(its.net_micro),
        "net_minor": str(its.net_minor),
        "carried_minor": str(carried_minor),
        "lines": [_line(line, basis(line, money)) for line in its.lines],
        "events": [_event(event, amount) for event in own for amount in _amounts(event, its)],
        "volumes": [
            _volume(terms, volume)
            for terms, covered in facts.volumes
            if terms.partner_id == its.partner_id
            for volume in covered
        ],
    }


def agreements(
    its: Statement,
    facts: Facts,
    terms: Mapping[int, Terms],
    signed: Mapping[int, SettlementTerms],
    stocks: Iterable[Stocks],
) -> dict[str, Value]:
    """The versions that priced a statement, with their prices by kind; and how the partner is settled."""
    used = {line.terms_id for line in its.lines if line.terms_id} | {t.terms_id for t, _ in facts.volumes}
    carried = {n: {terms[n].billed_fund_micro} for n in used if n in terms}
    for found in stocks:
        for (_, terms_id), stock in found.items():
            if terms_id in carried:
                carried[terms_id].add(stock.billed_fund_micro)
    conditions = facts.brought.conditions
    return {
        "versions": {
            str(n): _version(its, terms[n], signed[n], carried[n], facts) for n in sorted(carried) if n in signed
        },
        "conditions": {
            "is_netted": conditions.is_netted,
            "minimum_payout_minor": str(conditions.minimum_payout_minor),
            "holdback_bp": str(conditions.holdback_bp),
            "tax": {
                "code": conditions.tax.code, "version": str(conditions.tax.version),
                "rate_bp": str(conditions.tax.rate_bp), "rounding": conditions.tax.rounding,
            },
        },
    }  # fmt: skip


def detail_row(one: Detail) -> tuple[str, ...]:
    """A movement as its cells stand in detail.csv. What a till wrote is no formula in whatever opens it."""
    return (
        str(one.cutoff_id), one.kind, one.at.isoformat(),
        "" if one.business_date is None else one.business_date.isoformat(), inert(one.outlet or ""),
        inert(one.reference or ""),
        one.member, str(one.points), str(one.terms_id), str(one.unit_price_micro), str(one.amount_micro),
    )  # fmt: skip


def seals(found: Iterable[tuple[int, datetime, str, str | None]]) -> dict[str, Value]:
    """The ledger's seals of the period, each naming the one before."""
    return {
        "seals": [
            {"cutoff": str(n), "cut_at": at.isoformat(), "sha256": seal, "previous_sha256": previous}
            for n, at, seal, previous in found
        ]
    }


def _line(line: Line, based_on: str) -> dict[str, Value]:
    return {
        "line_no": str(line.line_no),
        "kind": line.kind,
        "basis": based_on,
        "agreement": None if line.terms_id is None else str(line.terms_id),
        "points": str(line.points),
        "postings": str(line.postings),
        "unit_price_micro": str(line.unit_price_micro),
        "amount_micro": str(line.amount_micro),
        "amount_minor": str(line.amount_minor),
    }


def _amounts(event: MoneyEvent, its: Statement) -> list[int]:
    if event.currency != its.currency:
        return []
    return [amount for party, amount in events.positions(event) if party == its.partner_id]


def _event(event: MoneyEvent, amount_micro: int) -> dict[str, Value]:
    return {
        "kind": event.kind,
        "agreement": str(event.terms_id) if event.terms_id else None,
        "points": str(event.points),
        "count": str(event.count),
        "amount_micro": str(amount_micro),
        "reference": event.reference,
    }


def _volume(terms: SettlementTerms, volume: Volume) -> dict[str, Value]:
    return {
        "agreement": str(terms.terms_id),
        "before_points": str(volume.before_points),
        "points": str(volume.points),
        "service_micro": str(volume.service_micro),
        "months": str(volume.months),
        "charged_months": str(volume.charged_months),
        "is_over": volume.is_over,
    }


def _version(
    its: Statement, terms: Terms, signed: SettlementTerms, billed: Iterable[int], facts: Facts
) -> dict[str, Value]:
    money = frozenset((event.kind, event.terms_id) for event in facts.events if event.kind not in PERIOD)
    priced = {
        (line.kind, _way(line.kind), line.unit_price_micro)
        for line in its.lines
        if line.terms_id == terms.terms_id and basis(line, money) == "MOVEMENTS"
    }
    prices: dict[str, list[Value]] = {}
    for kind, way, price in sorted(priced):
        prices.setdefault(kind, []).append({"sign": str(way), "unit_price_micro": str(price)})
    return {
        "version": str(terms.version),
        "valid_from": terms.valid_from.isoformat(),
        "funding": terms.funding,
        "fund_price_micro": str(terms.fund_price_micro),
        "service_price_micro": str(terms.service_price_micro),
        "reimbursement_price_micro": str(terms.reimbursement_price_micro),
        "breakage_share_bp": str(terms.breakage_share_bp),
        "billed_fund_micro": [str(one) for one in sorted(billed)],
        "prices": prices,
        "volume_tiers": [[str(t.above_points), str(t.rebate_micro)] for t in signed.volume_tiers],
        "volume_rebates": [[str(r.from_points), str(r.rebate_bp)] for r in signed.volume_rebates],
        "platform_fee_micro": str(signed.platform_fee_micro),
        "minimum_fee_micro": str(signed.minimum_fee_micro),
    }


def _way(kind: str) -> int:
    """What a partner's line of a kind does to what it receives."""
    if kind.startswith("FUNDED_"):
        return 1 if kind == "FUNDED_REFUND" else -1
    if kind == rating.EXPIRY:
        return 1
    return rating.sign(kind.removesuffix("_BORNE"))
