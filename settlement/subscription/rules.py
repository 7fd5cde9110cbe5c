"""How the fees of subscriptions in a currency are shared among partners: a document of two people, by versions.

A version holds for whole months, from one that is not closed yet. None is ever edited.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, time
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.amounts import BASIS
from kit.errors import Rejection
from partners.agreements import programme
from partners.clearing import clearing
from partners.terms import RUN_OFF
from settlement.subscription import store
from settlement.subscription.allocation import METHODS, Method, Rules, Shortage, ZeroUse

APPROVAL = "FEE_RULES"
Weigh = Literal["PURCHASES", "BENEFITS"]
_ZERO_USE = ("PRO_RATA", "OPERATOR", "CARRY")
_SHORTAGE = ("OPERATOR", "HAIRCUT")


class FeeRulesInvalid(Rejection):
    """Rules of sharing that cannot be, or of a month that is closed or has rules."""

    code = "FEE_RULES_INVALID"
    retryable = False


class FeeRulesMissing(Rejection):
    """Nobody has said how fees of the month in the currency are shared."""

    code = "FEE_RULES_MISSING"
    retryable = True


@dataclass(frozen=True, slots=True)
class Rate:
    """What a partner is paid for a unit of a benefit, micro-units, and the most for a month (None: all)."""

    partner_id: int
    benefit: str
    rate_micro: int
    most_micro: int | None = None


@dataclass(frozen=True, slots=True)
class FeeRules:
    """How fees are shared: what weighs (what was bought, or what benefits cost), the method, and the rest of the
    waterfall; see settlement.subscription.allocation."""

    weigh: Weigh = "PURCHASES"
    method: Method = "USER_CENTRIC"
    zero_use: ZeroUse = "PRO_RATA"
    shortage: Shortage = "OPERATOR"
    reserve_bp: int = 0
    operator_bp: int = 0
    fixed_weights: Mapping[int, int] = field(default_factory=dict)
    rates: tuple[Rate, ...] = ()

    def sharing(self, taking_part: Collection[int] | None) -> Rules:
        """What of it the allocation decides by, of a month in which these partners took part: the fixed weight of one
        that had left by its end is nobody's, and what it would have had is the others'. None: of a month that was
        closed before that was kept, when every weight counted."""
        weights = {
            partner_id: weight
            for partner_id, weight in self.fixed_weights.items()
            if taking_part is None or partner_id in taking_part
        }
        return Rules(self.method, self.zero_use, self.shortage, self.reserve_bp, self.operator_bp, weights)


async def propose(
    connection: AsyncConnection, rules: FeeRules, *, currency: str, valid_from: date, maker: str, at: datetime
) -> int:
    """Propose rules from a month on, on behalf of a FINANCE_MAKER; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, FEE_RULES_INVALID.
    """
    maker_id = await actors.by_name(connection, maker)
    await actors.require_role(connection, maker_id, actors.FINANCE_MAKER)
    _check(rules, valid_from)
    await _check_partners(connection, rules, currency, valid_from, at)
    detail = {"currency": currency, "valid_from": valid_from.isoformat(), "document": to_json(rules)}
    subject = f"fees in {currency} from {valid_from.isoformat()}"
    return await approvals.propose(connection, kind=APPROVAL, subject=subject, detail=detail, maker=maker_id, at=at)


async def approve(connection: AsyncConnection, approval_id: int, *, checker: str, at: datetime) -> int:
    """Put proposed rules in force, on behalf of a FINANCE_CHECKER who did not propose them; their version.

    Rejects what kit.approvals.decide rejects, FEE_RULES_INVALID.
    """
    checker_id = await actors.by_name(connection, checker)
    proposal = await approvals.examine(connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER)
    if proposal.kind != APPROVAL:
        raise FeeRulesInvalid(f"proposal {approval_id} is about something else")
    said = proposal.detail
    currency, valid_from = said["currency"], date.fromisoformat(said["valid_from"])
    await store.lock(connection)  # no month is closed meanwhile, and no other version comes in between
    closed = await store.last_month(connection, currency)
    latest = await store.latest_rules_from(connection, currency)
    if (closed is not None and valid_from <= closed) or (latest is not None and valid_from <= latest):
        raise FeeRulesInvalid("rules hold from a month that is not closed and has none of its own yet")
    await _check_partners(connection, from_json(said["document"]), currency, valid_from, at)
    await approvals.decide(
        connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER, approved=True, at=at
    )
    version = await store.insert_rules(connection, currency, valid_from, said["document"], approval_id)
    subject = f"fee-rules:{currency}:{version}"
    await audit.write(connection, actor=checker, action="FEE_RULES_APPROVED", subject=subject, detail=said, at=at)
    return version


@dataclass(frozen=True, slots=True)
class Version:
    """A version of rules: the currency, its number, the first day of the first month, and what it says."""

    currency: str
    version: int
    valid_from: date
    rules: FeeRules


async def versions(connection: AsyncConnection) -> list[Version]:
    """Every version that was put in force, the latest first."""
    return [
        Version(row.currency, row.version, row.valid_from, from_json(row.document))
        for row in await store.every_rules(connection)
    ]


async def in_force(connection: AsyncConnection, currency: str, month: date) -> tuple[int, FeeRules]:
    """The version that holds for a month, and what it says. Rejects FEE_RULES_MISSING."""
    row = await store.rules_at(connection, currency, month)
    if row is None:
        raise FeeRulesMissing(f"nobody has said how fees in {currency} of {month:%Y-%m} are shared")
    return row.version, from_json(row.document)


def to_json(rules: FeeRules) -> dict[str, Any]:
    """The rules as they are kept."""
    return {
        **asdict(rules), "fixed_weights": {str(n): weight for n, weight in sorted(rules.fixed_weights.items())},
        "rates": [asdict(rate) for rate in rules.rates],
    }  # fmt: skip


def from_json(kept: Mapping[str, Any]) -> FeeRules:
    """What `to_json` kept."""
    return FeeRules(
        weigh=cast(Weigh, kept["weigh"]), method=cast(Method, kept["method"]),
        zero_use=cast(ZeroUse, kept["zero_use"]), shortage=cast(Shortage, kept["shortage"]),
        reserve_bp=kept["reserve_bp"], operator_bp=kept["operator_bp"],
        fixed_weights={int(n): weight for n, weight in kept["fixed_weights"].items()},
        rates=tuple(Rate(**rate) for rate in kept["rates"]),
    )  # fmt: skip


async def taking_part(connection: AsyncConnection, currency: str, *, at: datetime) -> frozenset[int]:
    """The partners with an agreement in a currency that is in force at an instant and not running off."""
    signed = await clearing.signed_at(connection, at=at)
    return frozenset(one.partner_id for one, _ in signed if one.currency == currency and one.role != RUN_OFF)


async def _check_partners(
    connection: AsyncConnection, rules: FeeRules, currency: str, valid_from: date, at: datetime
) -> None:
    """A share of a partner without an agreement could be stated nowhere."""
    zone = ZoneInfo((await programme.read(connection)).time_zone)
    there = await taking_part(connection, currency, at=max(at, datetime.combine(valid_from, time(), zone)))
    named = {partner_id for partner_id, weight in rules.fixed_weights.items() if weight}
    if missing := (named | {rate.partner_id for rate in rules.rates}) - there:
        numbers = ", ".join(str(number) for number in sorted(missing))
        raise FeeRulesInvalid(f"partners without an agreement in {currency} then: {numbers}")


def _check(rules: FeeRules, valid_from: date) -> None:
    shares = rules.reserve_bp, rules.operator_bp
    fits = (
        valid_from.day == 1,
        rules.weigh in ("PURCHASES", "BENEFITS") and rules.method in METHODS,
        rules.zero_use in _ZERO_USE and rules.shortage in _SHORTAGE,
        min(shares) >= 0 and sum(shares) <= BASIS,
        all(weight >= 0 for weight in rules.fixed_weights.values()),
        rules.method != "FIXED" or any(rules.fixed_weights.values()),
        all(rate.rate_micro >= 0 and (rate.most_micro is None or rate.most_micro >= 0) for rate in rules.rates),
        len({(rate.partner_id, rate.benefit) for rate in rules.rates}) == len(rules.rates),
    )
    if not all(fits):
        raise FeeRulesInvalid("rules name a first day of a month, known methods, shares of a whole, and a rate once")
