"""Tax rules: versions with a rate and a way of rounding. One proposes, another approves; none is ever edited."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.amounts import BASIS
from kit.errors import Rejection
from settlement.documents import store
from settlement.documents.drawing import DOCUMENT, LINE, TaxRule

APPROVAL = "TAX_RULE"


class TaxRuleInvalid(Rejection):
    """A version of a tax rule that cannot be: no rate, no way of rounding, or not later than the one before."""

    code = "TAX_RULE_INVALID"
    retryable = False


class TaxRuleUnknown(Rejection):
    """No version of the tax rule is in force then."""

    code = "TAX_RULE_UNKNOWN"
    retryable = True


async def propose(connection: AsyncConnection, *, rule: TaxRule, valid_from: datetime, maker: str, at: datetime) -> int:
    """Propose another version of a tax rule on behalf of a FINANCE_MAKER; its own version number is not looked at.

    Returns the proposal's number. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, TAX_RULE_INVALID.
    """
    maker_id = await actors.by_name(connection, maker)
    await actors.require_role(connection, maker_id, actors.FINANCE_MAKER)
    _check(rule)
    detail = {
        "code": rule.code, "rate_bp": rule.rate_bp, "rounding": rule.rounding, "tax_code": rule.tax_code,
        "valid_from": valid_from.isoformat(),
    }  # fmt: skip
    return await approvals.propose(
        connection, kind=APPROVAL, subject=f"tax rule {rule.code}", detail=detail, maker=maker_id, at=at
    )


async def approve(connection: AsyncConnection, approval_id: int, *, checker: str, at: datetime) -> TaxRule:
    """Put a proposed version in force, on behalf of a FINANCE_CHECKER who did not propose it.

    Rejects what kit.approvals.decide rejects, and TAX_RULE_INVALID where it would hold before the last version, or
    before now: what was taxed stays taxed.
    """
    checker_id = await actors.by_name(connection, checker)
    proposal = await approvals.examine(connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER)
    said: Mapping[str, Any] = proposal.detail
    if proposal.kind != APPROVAL:
        raise TaxRuleInvalid(f"proposal {approval_id} is about something else: {proposal.subject}")
    valid_from = datetime.fromisoformat(said["valid_from"])
    latest = await store.latest_rule_from(connection, said["code"])
    if valid_from < at or (latest is not None and valid_from <= latest):
        raise TaxRuleInvalid(
            "a version holds from the instant of its approval at the earliest, and after the one before"
        )
    await approvals.decide(
        connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER, approved=True, at=at
    )
    fields = {name: said[name] for name in ("code", "rate_bp", "rounding", "tax_code")}
    version = await store.insert_rule(connection, fields | {"valid_from": valid_from, "approval_id": approval_id})
    subject = f"tax-rule:{said['code']}:{version}"
    await audit.write(connection, actor=checker, action="TAX_RULE_APPROVED", subject=subject, detail=dict(said), at=at)
    return TaxRule(version=version, **fields)


async def in_force(connection: AsyncConnection, *, at: datetime) -> dict[str, TaxRule]:
    """The version of every tax rule that holds at an instant, by code."""
    return {row.code: TaxRule(**row._mapping) for row in await store.rules_at(connection, at)}


def _check(rule: TaxRule) -> None:
    if not 0 <= rule.rate_bp <= BASIS or rule.rounding not in (LINE, DOCUMENT):
        raise TaxRuleInvalid(f"a rate of 0 to {BASIS} basis points, rounded per {LINE} or per {DOCUMENT}")
    if rule.code == "NONE" or not rule.tax_code:
        raise TaxRuleInvalid("NONE is what is not taxed; any other rule names its tax code")
