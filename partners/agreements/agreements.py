"""Agreements: what a partner and the operator signed, version by version.

A version is proposed by one person and approved by another, then never edited. In force at an instant is the
approved version with the latest valid_from at or before it. Nothing that was priced is priced again: a version
that follows another may not begin before it is approved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.amounts import BASIS, MICRO_PER_UNIT
from kit.errors import FieldProblem, Rejection
from partners import store
from partners.agreements import onboarding, programme
from partners.receipts.receipts import LINE_KINDS
from partners.terms import (
    AT_BURN,
    BOTH,
    BY_OPERATOR,
    BY_REDEEMER,
    DATED_CORRECTION,
    HOLD_MINUTES,
    HONOURS,
    HYBRID,
    ISSUER,
    OPERATOR_BEARS,
    ORDINARY_KINDS,
    POOL,
    REDEEMER,
    RUN_OFF,
    Programme,
    SettlementTerms,
    Terms,
    VolumeRebate,
    VolumeTier,
)

KIND = "AGREEMENT"
HIGHEST_PRICE_MICRO = 1000 * MICRO_PER_UNIT  # a thousand units of the currency for one point
LONGEST_HOLD_MINUTES = 30 * 24 * 60
FUNDINGS = (POOL, AT_BURN, HYBRID, BY_REDEEMER, BY_OPERATOR)
ROLES = (ISSUER, REDEEMER, BOTH, HONOURS, RUN_OFF)
CAP_POLICIES = ("ALERT", "PENDING_HOLD", "BLOCK")
CYCLES = ("DAY", "WEEK", "MONTH")
VOLUME_PERIODS = ("MONTH", "QUARTER", "YEAR")
RETURN_POLICIES = ("ISSUER_BEARS", "REFUND_DEDUCTION", "MEMBER_DEBT")
FEE_RETURN_POLICIES = (OPERATOR_BEARS, DATED_CORRECTION)


class AgreementInvalid(Rejection):
    """The terms cannot be signed; the problems say why."""

    code = "AGREEMENT_INVALID"
    retryable = False


class AgreementUnknown(Rejection):
    """There is no such version of an agreement."""

    code = "AGREEMENT_UNKNOWN"
    retryable = False


class AgreementRetroactive(Rejection):
    """The version would begin before its approval, while another version is signed."""

    code = "AGREEMENT_RETROACTIVE"
    retryable = False


@dataclass(frozen=True, slots=True)
class AgreementDraft:
    """Terms as somebody proposes them; words and units as in `Terms` and, behind hold_minutes, `SettlementTerms`."""

    valid_from: datetime
    currency: str
    earn_rate_bp: int
    fund_price_micro: int
    service_price_micro: int
    reimbursement_price_micro: int
    return_window_days: int
    expiry_months: int
    bill_share_bp: int
    funding: str = "POOL"
    return_policy: str = "ISSUER_BEARS"
    tier_bonus_bp: Mapping[str, int] = field(default_factory=dict)
    hold_minutes: int = HOLD_MINUTES
    role: str = BOTH
    hybrid_fund_micro: int = 0
    breakage_share_bp: int = 0
    volume_period: str = "MONTH"
    volume_tiers: tuple[VolumeTier, ...] = ()
    volume_rebates: tuple[VolumeRebate, ...] = ()
    platform_fee_micro: int = 0
    minimum_fee_micro: int = 0
    debit_cap_micro: int | None = None
    cap_policy: str = "ALERT"
    prefunding_micro: int = 0
    collateral_micro: int = 0
    holdback_bp: int = 0
    payment_days: int = 2
    is_netted: bool = True
    tax_rule: str = "NONE"
    fx_rule: str = "DAILY_FIXING"
    review_days: int = 5
    dispute_days: int = 60
    dispute_minimum_minor: int = 0
    tolerance_minor: int = 0
    tolerance_days: int = 0
    cycle: str = "MONTH"
    minimum_payout_minor: int = 0
    fee_return_policy: str = OPERATOR_BEARS
    earn_kinds: tuple[str, ...] = ORDINARY_KINDS
    never_earn_classes: tuple[str, ...] = ()
    never_earn_categories: tuple[str, ...] = ()
    earns_on_tax: bool = True
    unpayable_kinds: tuple[str, ...] = ()
    minimum_money_minor: int = 0
    returns_in_proportion: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """One version as people look at it: the terms, who made and who decided it, and what became of it."""

    terms: Terms
    settlement: SettlementTerms
    maker: str
    checker: str | None
    decided_at: datetime | None
    state: Literal["PROPOSED", "APPROVED", "DECLINED"]


async def propose(
    connection: AsyncConnection, *, partner_id: int, draft: AgreementDraft, maker: int, at: datetime
) -> int:
    """Store a version for somebody else to approve; returns its terms_id. It binds nobody yet.

    Rejects NOT_PERMITTED, AGREEMENT_INVALID, PARTNER_UNKNOWN.
    """
    await actors.require_role(connection, maker, actors.AGREEMENT_MAKER)
    if found := list(problems(draft, await programme.read(connection))):
        raise AgreementInvalid("these terms cannot be signed", problems=found)
    await onboarding.lock_partner(connection, partner_id)
    version = await store.next_version(connection, partner_id)
    subject = f"partner:{partner_id} version {version}"
    approval_id = await approvals.propose(
        connection, kind=KIND, subject=subject, detail=_as_json(draft), maker=maker, at=at
    )
    values = {"partner_id": partner_id, "version": version, "approval_id": approval_id, **_columns(draft)}
    terms_id = await store.insert_agreement(connection, values)
    await _note(connection, "AGREEMENT_PROPOSED", terms_id, subject, maker, at)
    return terms_id


async def approve(connection: AsyncConnection, terms_id: int, *, checker: int, at: datetime) -> None:
    """Sign a proposed version. From valid_from on it is in force.

    The first version that a partner signs may begin in the past, a later one may not: what was priced stays
    priced. Rejects AGREEMENT_UNKNOWN, NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED, AGREEMENT_RETROACTIVE.
    """
    row = await _examined(connection, terms_id, checker)
    if row["valid_from"] < at and await store.has_approved_agreement(connection, row["partner_id"]):
        raise AgreementRetroactive(
            f"version {row['version']} would begin at {row['valid_from']:%Y-%m-%d %H:%M:%S} UTC, which is past"
        )
    await _decide(connection, row, "AGREEMENT_APPROVED", checker, at)
    await store.bump_revision(connection)


async def decline(connection: AsyncConnection, terms_id: int, *, checker: int, at: datetime) -> None:
    """Refuse a proposed version; it will never be in force.

    Rejects AGREEMENT_UNKNOWN, NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED.
    """
    row = await _examined(connection, terms_id, checker)
    await _decide(connection, row, "AGREEMENT_DECLINED", checker, at)


async def versions(connection: AsyncConnection, partner_id: int) -> list[Version]:
    """All versions of a partner's agreement in order, proposed and declined ones too."""
    return [_version(row) for row in await store.agreements_of(connection, partner_id)]


def in_force(signed: Sequence[Terms], at: datetime) -> Terms | None:
    """Of approved versions the one in force: the latest valid_from at or before the instant.

    Of two that begin together the later version.
    """
    begun = [terms for terms in signed if terms.valid_from <= at]
    return max(begun, key=lambda terms: (terms.valid_from, terms.version), default=None)


def problems(draft: AgreementDraft, rules: Programme) -> Iterator[FieldProblem]:
    """What keeps these terms from being signed under the programme's rules; nothing where they can be."""
    if draft.valid_from.tzinfo is None:
        yield FieldProblem(("valid_from",), "NO_TIME_ZONE", "an instant with its time zone")
    if draft.currency not in rules.point_value_micro:
        yield FieldProblem(("currency",), "NO_POINT_VALUE", "a point has no value in this currency")
    for name, (least, most) in _RANGES.items():
        if not least <= getattr(draft, name) <= most:
            yield FieldProblem((name,), "OUT_OF_RANGE", f"{least} to {most}")
    if draft.debit_cap_micro is not None and not 0 <= draft.debit_cap_micro <= _MOST_MICRO:
        yield FieldProblem(("debit_cap_micro",), "OUT_OF_RANGE", f"0 to {_MOST_MICRO}, or none")
    if draft.bill_share_bp > rules.bill_ceiling_bp:
        yield FieldProblem(("bill_share_bp",), "ABOVE_CEILING", f"the programme allows {rules.bill_ceiling_bp}")
    for name, known in _CHOICES.items():
        if getattr(draft, name) not in known:
            yield FieldProblem((name,), "UNKNOWN", " or ".join(known))
    for name in ("tax_rule", "fx_rule"):
        if not re.fullmatch("[A-Z][A-Z0-9_]*", getattr(draft, name)):
            yield FieldProblem((name,), "INVALID", "the name of a rule in capitals")
    yield from _bases(draft)
    yield from _contradictions(draft)
    for tier, bonus_bp in draft.tier_bonus_bp.items():
        if not re.fullmatch("[A-Z][A-Z0-9_]*", tier) or not 0 <= bonus_bp <= BASIS:
            yield FieldProblem(("tier_bonus_bp", tier), "INVALID", f"a tier in capitals and 0 to {BASIS}")


def _bases(draft: AgreementDraft) -> Iterator[FieldProblem]:
    """What is wrong with what earns, and with what points may pay."""
    if not draft.earn_kinds:
        yield FieldProblem(("earn_kinds",), "EMPTY", "some kind of lines earns; a rate of 0 earns nothing")
    for name, known in (("earn_kinds", LINE_KINDS - {"GIFT_CARD"}), ("unpayable_kinds", LINE_KINDS)):
        if unknown := sorted({*getattr(draft, name)} - known):
            message = f"kinds of {', '.join(sorted(known))}, not {', '.join(unknown)}"
            yield FieldProblem((name,), "UNKNOWN", message)
    for name in ("never_earn_classes", "never_earn_categories"):
        if any(not _NAMED.fullmatch(one) for one in getattr(draft, name)):
            yield FieldProblem((name,), "INVALID", "names of 1 to 64 characters without commas and colons")


def _contradictions(draft: AgreementDraft) -> Iterator[FieldProblem]:
    """Terms that are possible one by one and make no sense together."""
    if draft.funding == BY_REDEEMER and draft.fund_price_micro:
        message = "points that whoever takes them gives away have no fund part"
        yield FieldProblem(("fund_price_micro",), "NOT_FUNDED", message)
    if draft.funding == HYBRID and not 0 < draft.hybrid_fund_micro < draft.fund_price_micro:
        message = "more than nothing and less than the fund part, or it is POOL or AT_BURN"
        yield FieldProblem(("hybrid_fund_micro",), "OUT_OF_RANGE", message)
    if draft.funding != HYBRID and draft.hybrid_fund_micro:
        yield FieldProblem(("hybrid_fund_micro",), "NOT_HYBRID", "only HYBRID bills a part at once and a part at use")
    if draft.funding == BY_OPERATOR and draft.service_price_micro:
        message = "the operator charges itself no fee"
        yield FieldProblem(("service_price_micro",), "NOT_BILLED", message)
    if draft.role == HONOURS and draft.bill_share_bp:
        yield FieldProblem(("bill_share_bp",), "NO_POINTS", "who only honours cards takes no points")
    if draft.debit_cap_micro is None and draft.cap_policy != "ALERT":
        yield FieldProblem(("cap_policy",), "NO_CAP", "without a cap there is nothing to keep")
    for name, values in (
        ("volume_tiers", [(tier.above_points, tier.rebate_micro) for tier in draft.volume_tiers]),
        ("volume_rebates", [(rebate.from_points, rebate.rebate_bp) for rebate in draft.volume_rebates]),
    ):
        steps = [step for step, _ in values]
        if steps != sorted(set(steps)) or any(step < 0 for step in steps):
            yield FieldProblem((name,), "NOT_ASCENDING", "each step begins above the one before")
    if any(not 0 <= tier.rebate_micro <= draft.service_price_micro for tier in draft.volume_tiers):
        # The fund part is what is owed to members: a discount on it would leave them uncovered.
        yield FieldProblem(("volume_tiers",), "OUT_OF_RANGE", "0 to the service part, per point")
    if any(not 0 <= rebate.rebate_bp <= BASIS for rebate in draft.volume_rebates):
        yield FieldProblem(("volume_rebates",), "OUT_OF_RANGE", f"0 to {BASIS} basis points of the service part")


_NAMED = re.compile(r"[^\s,:](?:[^,:]{0,62}[^\s,:])?")

_CHOICES = {
    "funding": FUNDINGS,
    "return_policy": RETURN_POLICIES,
    "fee_return_policy": FEE_RETURN_POLICIES,
    "role": ROLES,
    "cap_policy": CAP_POLICIES,
    "cycle": CYCLES,
    "volume_period": VOLUME_PERIODS,
}
_MOST_MICRO = 10**15  # a milliard of a currency's units

_RANGES = {
    "earn_rate_bp": (0, BASIS),
    "fund_price_micro": (0, HIGHEST_PRICE_MICRO),
    "service_price_micro": (0, HIGHEST_PRICE_MICRO),
    "reimbursement_price_micro": (0, HIGHEST_PRICE_MICRO),
    "return_window_days": (0, 365),
    "expiry_months": (1, 120),
    "bill_share_bp": (0, BASIS),
    "hold_minutes": (1, LONGEST_HOLD_MINUTES),
    "hybrid_fund_micro": (0, HIGHEST_PRICE_MICRO),
    "breakage_share_bp": (0, BASIS),
    "platform_fee_micro": (0, _MOST_MICRO),
    "minimum_fee_micro": (0, _MOST_MICRO),
    "prefunding_micro": (0, _MOST_MICRO),
    "collateral_micro": (0, _MOST_MICRO),
    "holdback_bp": (0, BASIS),
    "payment_days": (0, 120),
    "review_days": (0, 120),
    "dispute_days": (0, 730),
    "dispute_minimum_minor": (0, _MOST_MICRO),
    "tolerance_minor": (0, _MOST_MICRO),
    "tolerance_days": (0, 31),
    "minimum_payout_minor": (0, _MOST_MICRO),
    "minimum_money_minor": (0, _MOST_MICRO),
}


async def _examined(connection: AsyncConnection, terms_id: int, checker: int) -> RowMapping:
    """The version, which this checker may decide; its partner is held first, then its approval, as everywhere."""
    row = await store.agreement(connection, terms_id)
    if row is None:
        raise AgreementUnknown(f"there is no version of an agreement with number {terms_id}")
    await onboarding.lock_partner(connection, row["partner_id"])
    await approvals.examine(connection, row["approval_id"], checker=checker, role=actors.AGREEMENT_CHECKER)
    return row


async def _decide(connection: AsyncConnection, row: RowMapping, action: str, checker: int, at: datetime) -> None:
    await approvals.decide(
        connection,
        row["approval_id"],
        checker=checker,
        role=actors.AGREEMENT_CHECKER,
        approved=action == "AGREEMENT_APPROVED",
        at=at,
    )
    about = f"partner:{row['partner_id']} version {row['version']}"
    await _note(connection, action, row["terms_id"], about, checker, at)


async def _note(connection: AsyncConnection, action: str, terms_id: int, about: str, actor: int, at: datetime) -> None:
    subject = f"agreement:{terms_id}"
    await audit.write(connection, actor=actor, action=action, subject=subject, detail={"of": about}, at=at)


def _columns(draft: AgreementDraft) -> dict[str, Any]:
    found = {column.name: getattr(draft, column.name) for column in fields(draft)}
    return found | {name: list(found[name]) for name in _LISTS}


_LISTS = ("earn_kinds", "never_earn_classes", "never_earn_categories", "unpayable_kinds")


def _as_json(draft: AgreementDraft) -> dict[str, Any]:
    return {**asdict(draft), "valid_from": draft.valid_from.astimezone(UTC).isoformat()}


def _version(row: RowMapping) -> Version:
    state: Literal["PROPOSED", "APPROVED", "DECLINED"] = "PROPOSED"
    if row["approved"] is not None:
        state = "APPROVED" if row["approved"] else "DECLINED"
    return Version(
        terms=store.terms_of(row),
        settlement=store.settlement_terms_of(row),
        maker=row["maker"],
        checker=row["checker"],
        decided_at=row["decided_at"],
        state=state,
    )
