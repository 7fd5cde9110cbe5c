"""Plans of the umbrella subscription, their prices by versions, and the tax in them.

What a plan gives is said by rules of promotions that ask for the plan or for one of its benefits; here stands which
benefits those are. A plan never changes and a price is never edited: whoever subscribed has what was said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import BASIS
from kit.errors import FieldProblem, Rejection
from members.subscription import plan_store
from members.subscription.periods import Interval, half_up

KEEP, CREDIT, TAKE_BACK = "KEEP", "CREDIT", "TAKE_BACK"
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_BENEFIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_INTERVALS = ("MONTH", "QUARTER", "YEAR")


class PlanUnknown(Rejection):
    """There is no such plan, or it has no such price now."""

    code = "PLAN_UNKNOWN"
    retryable = True


class PlanInvalid(Rejection):
    """A plan, a price or a tax of one that cannot be; `problems` says what of it."""

    code = "PLAN_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """What a plan is to be: a code, names by language, the benefits, seats beside the owner's, days of a trial (0:
    none), how many days before a renewal it is announced, and whether days that are paid are credited to who leaves at
    once (CREDIT) or only kept until the period's end (KEEP). For each month that is paid it may give points, issued
    under the agreement of a partner (its number), which are kept or taken back as far as a month is not served."""

    code: str
    names: Mapping[str, str]
    benefits: tuple[str, ...]
    seats: int = 0
    trial_days: int = 0
    notice_days: int = 7
    on_leaving: str = CREDIT
    allotment_points: int = 0
    allotment_issuer: int | None = None
    allotment_on_leaving: str = KEEP


@dataclass(frozen=True, slots=True)
class PriceDraft:
    """What a plan is to cost per interval for whoever subscribes from an instant on: minor units, tax among them."""

    plan: str
    currency: str
    interval: Interval
    amount_minor: int
    tax_code: str
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it is."""

    plan_id: int
    code: str
    names: Mapping[str, str]
    seats: int
    trial_days: int
    notice_days: int
    on_leaving: str
    allotment_points: int
    allotment_issuer: int | None
    allotment_on_leaving: str
    benefits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Price:
    """A version of what a plan costs per interval: minor units, tax among them."""

    price_no: int
    plan_id: int
    version: int
    currency: str
    interval: Interval
    amount_minor: int
    tax_code: str
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class FeeTax:
    """A version of a rule of tax: basis points of the amount without it."""

    code: str
    version: int
    rate_bp: int

    def within(self, gross_minor: int) -> int:
        """The tax in an amount that holds it, minor units, half-up."""
        return half_up(gross_minor * self.rate_bp, BASIS + self.rate_bp)


async def add(connection: AsyncConnection, draft: PlanDraft, *, actor: str, at: datetime) -> Plan:
    """Add a plan on behalf of a PROMOTION_MAKER, as whoever founds a programme does; else see `plan_proposals`.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_INVALID.
    """
    await permit(connection, actor)
    return await write_plan(connection, draft, actor=actor, at=at)


async def check_plan(connection: AsyncConnection, draft: PlanDraft) -> None:
    """Nothing where this can be a plan. Rejects PLAN_INVALID."""
    if problems := list(_problems(draft)):
        raise PlanInvalid("this cannot be a plan", problems=problems)
    if await plan_store.plan_by_code(connection, draft.code) is not None:
        raise PlanInvalid(f"there is a plan {draft.code} already; plans are not edited")


async def write_plan(connection: AsyncConnection, draft: PlanDraft, *, actor: str, at: datetime) -> Plan:
    """Write a plan that somebody may add. Rejects PLAN_INVALID."""
    await check_plan(connection, draft)
    values = {
        "code": draft.code, "names": dict(draft.names), "seats": draft.seats, "trial_days": draft.trial_days,
        "notice_days": draft.notice_days, "on_leaving": draft.on_leaving, "at": at,
        "allotment_points": draft.allotment_points, "allotment_issuer": draft.allotment_issuer,
        "allotment_on_leaving": draft.allotment_on_leaving,
    }  # fmt: skip
    plan_id = await plan_store.insert_plan(connection, values, draft.benefits)
    if plan_id is None:
        raise PlanInvalid(f"there is a plan {draft.code} already; plans are not edited")
    await audit.write(connection, actor=actor, action="PLAN_ADDED", subject=f"plan:{draft.code}", detail={}, at=at)
    return _plan(await plan_store.plan(connection, plan_id))


async def publish_price(
    connection: AsyncConnection,
    *,
    plan: str,
    currency: str,
    interval: Interval,
    amount_minor: int,
    tax_code: str = "NONE",
    valid_from: datetime,
    actor: str,
    at: datetime,
) -> Price:
    """The next version of a price, for whoever subscribes from an instant on, on behalf of a PROMOTION_MAKER, as
    whoever founds a programme does; else see `plan_proposals`. amount_minor is what a member pays, tax among it.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_UNKNOWN, PLAN_INVALID.
    """
    await permit(connection, actor)
    draft = PriceDraft(plan, currency, interval, amount_minor, tax_code, valid_from)
    return await write_price(connection, draft, actor=actor, at=at)


async def check_price(connection: AsyncConnection, draft: PriceDraft, *, at: datetime) -> Plan:
    """The plan, where this can be its price. Rejects PLAN_UNKNOWN, PLAN_INVALID."""
    its = await named(connection, draft.plan)
    can_be = (
        0 < draft.amount_minor < 2**53 and draft.interval in _INTERVALS and draft.valid_from >= at
        and re.fullmatch("[A-Z]{3}", draft.currency) is not None
    )  # fmt: skip
    if not can_be:
        raise PlanInvalid("a price is above zero, in a currency, per MONTH, QUARTER or YEAR, and not of the past")
    if await plan_store.tax_at(connection, draft.tax_code, draft.valid_from) is None:
        raise PlanInvalid(f"there is no rule of tax {draft.tax_code} then")
    return its


async def write_price(connection: AsyncConnection, draft: PriceDraft, *, actor: str, at: datetime) -> Price:
    """Write the next version of a price that somebody may publish. Rejects PLAN_UNKNOWN, PLAN_INVALID."""
    its = await check_price(connection, draft, at=at)
    price_no = await plan_store.insert_price(
        connection,
        {"plan_id": its.plan_id, "currency": draft.currency, "interval": draft.interval,
         "amount_minor": draft.amount_minor, "tax_code": draft.tax_code, "valid_from": draft.valid_from},
    )  # fmt: skip
    if price_no is None:
        raise PlanInvalid("a later version of this price was published already")
    detail = {
        "price": price_no, "amount": draft.amount_minor, "currency": draft.currency, "interval": draft.interval,
    }  # fmt: skip
    subject = f"plan:{draft.plan}"
    await audit.write(connection, actor=actor, action="PRICE_PUBLISHED", subject=subject, detail=detail, at=at)
    return await price(connection, price_no)


async def publish_tax(
    connection: AsyncConnection, *, code: str, rate_bp: int, valid_from: datetime, actor: str, at: datetime
) -> int:
    """The next version of a rule of tax, on behalf of a FINANCE_MAKER; its number. Invoices that were issued keep
    theirs. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_INVALID."""
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    if code == "NONE" or not re.fullmatch("[A-Z0-9_]{1,32}", code) or not 0 <= rate_bp <= BASIS or valid_from < at:
        raise PlanInvalid("a rule of tax has a code, a rate in basis points, and holds from now on at the earliest")
    version = await plan_store.insert_tax(connection, code, rate_bp, valid_from)
    if version is None:
        raise PlanInvalid("a later version of this rule was published already")
    detail = {"version": version, "rate_bp": rate_bp}
    await audit.write(connection, actor=actor, action="FEE_TAX_PUBLISHED", subject=f"tax:{code}", detail=detail, at=at)
    return version


async def offered(connection: AsyncConnection, *, at: datetime) -> list[tuple[Plan, list[Price]]]:
    """Plans that can be had at an instant, by code, each with its prices in force."""
    prices = [_price(row) for row in await plan_store.prices_at(connection, at)]
    every = [_plan(row) for row in await plan_store.plans(connection)]
    found = [(plan, [one for one in prices if one.plan_id == plan.plan_id]) for plan in every]
    return [(plan, own) for plan, own in found if own]


async def catalogue(connection: AsyncConnection) -> list[tuple[Plan, list[Price]]]:
    """Every plan, by code, each with every version of its prices, the latest first."""
    prices = [_price(row) for row in await plan_store.every_price(connection)]
    every = [_plan(row) for row in await plan_store.plans(connection)]
    return [(plan, [one for one in prices if one.plan_id == plan.plan_id]) for plan in every]


async def named(connection: AsyncConnection, code: str) -> Plan:
    """The plan of a code. Rejects PLAN_UNKNOWN."""
    row = await plan_store.plan_by_code(connection, code)
    if row is None:
        raise PlanUnknown(f"there is no plan '{code}'")
    return _plan(row)


async def plan(connection: AsyncConnection, plan_id: int) -> Plan:
    """A plan that there is."""
    return _plan(await plan_store.plan(connection, plan_id))


async def price(connection: AsyncConnection, price_no: int) -> Price:
    """A version of a price that there is."""
    row = await plan_store.price(connection, price_no)
    assert row is not None, "prices are never removed"
    return _price(row)


async def price_in_force(
    connection: AsyncConnection, plan_id: int, currency: str, interval: str, *, at: datetime
) -> Price:
    """What a plan costs at an instant. Rejects PLAN_UNKNOWN."""
    for row in await plan_store.prices_at(connection, at):
        if (row.plan_id, row.currency, row.interval) == (plan_id, currency, interval):
            return _price(row)
    raise PlanUnknown(f"the plan has no price in {currency} per {interval} now")


async def tax(connection: AsyncConnection, code: str, *, at: datetime) -> FeeTax:
    """The version of a rule of tax that holds at an instant."""
    row = await plan_store.tax_at(connection, code, at)
    assert row is not None, "a price names a rule that holds"
    return FeeTax(**row._mapping)


async def taxes(connection: AsyncConnection, wanted: Sequence[tuple[str, datetime]]) -> list[FeeTax]:
    """The versions of rules of tax that hold at instants, one for each code and instant, in their order."""
    return [FeeTax(row.code, row.version, row.rate_bp) for row in await plan_store.taxes_at(connection, wanted)]


async def permit(connection: AsyncConnection, actor: str) -> int:
    """The number of an actor who may draft plans. Rejects ACTOR_UNKNOWN, NOT_PERMITTED."""
    number = await actors.by_name(connection, actor)
    await actors.require_role(connection, number, actors.PROMOTION_MAKER)
    return number


def _problems(draft: PlanDraft) -> list[FieldProblem]:
    checks = (
        ("code", bool(_CODE.fullmatch(draft.code)), "1 to 32 small letters, digits and -"),
        ("names", bool(draft.names) and all(draft.names.values()), "a name in at least one language"),
        ("benefits", all(_BENEFIT.fullmatch(one) for one in draft.benefits), "codes of 1 to 64 letters and digits"),
        ("seats", 0 <= draft.seats <= 10, "0 to 10"),
        ("trial_days", 0 <= draft.trial_days <= 92, "0 to 92"),
        ("notice_days", 1 <= draft.notice_days <= 31, "1 to 31"),
        ("on_leaving", draft.on_leaving in (KEEP, CREDIT), f"{KEEP} or {CREDIT}"),
        ("allotment_points", 0 <= draft.allotment_points <= 1_000_000, "0 to 1000000"),
        ("allotment_issuer", (draft.allotment_points > 0) == ((draft.allotment_issuer or 0) > 0), "with points alone"),
        ("allotment_on_leaving", draft.allotment_on_leaving in (KEEP, TAKE_BACK), f"{KEEP} or {TAKE_BACK}"),
    )
    return [FieldProblem((name,), "INVALID", wanted) for name, holds, wanted in checks if not holds]


def _plan(row: Row[tuple[object, ...]]) -> Plan:
    return Plan(**{**row._mapping, "benefits": tuple(row.benefits)})


def _price(row: Row[tuple[object, ...]]) -> Price:
    return Price(**row._mapping)
