"""Agreements: what a partner and the operator signed, version by version.

A version is proposed by one person and approved by another, then never edited. In force at an instant is the
approved version with the latest valid_from at or before it. Nothing that was priced is priced again: a version
that follows another may not begin before it is approved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.amounts import BASIS, MICRO_PER_UNIT
from kit.errors import FieldProblem, Rejection
from partners import onboarding, programme, store
from partners.terms import HOLD_MINUTES, Programme, Terms

KIND = "AGREEMENT"
HIGHEST_PRICE_MICRO = 1000 * MICRO_PER_UNIT  # a thousand units of the currency for one point
LONGEST_HOLD_MINUTES = 30 * 24 * 60
FUNDINGS = ("POOL",)
RETURN_POLICIES = ("ISSUER_BEARS", "REFUND_DEDUCTION", "MEMBER_DEBT")


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
    """Terms as somebody proposes them; units as in `Terms`."""

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


@dataclass(frozen=True, slots=True)
class Version:
    """One version as people look at it: the terms, who made and who decided it, and what became of it."""

    terms: Terms
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
    values = {"partner_id": partner_id, "version": version, "approval_id": approval_id, **asdict(draft)}
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
    if draft.bill_share_bp > rules.bill_ceiling_bp:
        yield FieldProblem(("bill_share_bp",), "ABOVE_CEILING", f"the programme allows {rules.bill_ceiling_bp}")
    if draft.funding not in FUNDINGS:
        yield FieldProblem(("funding",), "UNKNOWN", " or ".join(FUNDINGS))
    if draft.return_policy not in RETURN_POLICIES:
        yield FieldProblem(("return_policy",), "UNKNOWN", " or ".join(RETURN_POLICIES))
    for tier, bonus_bp in draft.tier_bonus_bp.items():
        if not re.fullmatch("[A-Z][A-Z0-9_]*", tier) or not 0 <= bonus_bp <= BASIS:
            yield FieldProblem(("tier_bonus_bp", tier), "INVALID", f"a tier in capitals and 0 to {BASIS}")


_RANGES = {
    "earn_rate_bp": (0, BASIS),
    "fund_price_micro": (0, HIGHEST_PRICE_MICRO),
    "service_price_micro": (0, HIGHEST_PRICE_MICRO),
    "reimbursement_price_micro": (0, HIGHEST_PRICE_MICRO),
    "return_window_days": (0, 365),
    "expiry_months": (1, 120),
    "bill_share_bp": (0, BASIS),
    "hold_minutes": (1, LONGEST_HOLD_MINUTES),
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


def _as_json(draft: AgreementDraft) -> dict[str, Any]:
    return {**asdict(draft), "valid_from": draft.valid_from.astimezone(UTC).isoformat()}


def _version(row: RowMapping) -> Version:
    state: Literal["PROPOSED", "APPROVED", "DECLINED"] = "PROPOSED"
    if row["approved"] is not None:
        state = "APPROVED" if row["approved"] else "DECLINED"
    return Version(store.terms_of(row), row["maker"], row["checker"], row["decided_at"], state)
