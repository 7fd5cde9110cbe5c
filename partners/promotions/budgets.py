"""Budgets: caps that rules count against, their limits, and what was paid into those of money.

A limit is changed and its changes are kept. One that a published release counts against is raised by two people
(`budget_proposals`), because the release was judged under it; lowering it takes one. What is charged is written by the
purchase's own call, which is what keeps a budget; what is read here may be a moment old.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import FieldProblem, Rejection
from ledger.audit import Violation
from partners import store as partner_store
from partners.agreements import programme
from partners.promotions import store
from partners.promotions.documents import BudgetDocument, read_as
from partners.terms import LIMITS

MOST_SHOWN = 1000
MOST_LOOKED_AT = 1000
"""Of how many scopes (members, cards, outlets) what is used is looked at where there are more."""


class BudgetInvalid(Rejection):
    """The budget is not what a budget can be; the problems say why."""

    code = "BUDGET_INVALID"
    retryable = False


class BudgetExists(Rejection):
    """A budget of this code is there."""

    code = "BUDGET_EXISTS"
    retryable = False


class BudgetUnknown(Rejection):
    """There is no budget of this code."""

    code = "BUDGET_UNKNOWN"
    retryable = True


class BudgetIsFunded(Rejection):
    """A budget of money is as large as what was paid in: fund it instead of setting a limit."""

    code = "BUDGET_IS_FUNDED"
    retryable = False


class BudgetNotFunded(Rejection):
    """Only a budget of money takes payments."""

    code = "BUDGET_NOT_FUNDED"
    retryable = False


class FundingReused(Rejection):
    """The payer's reference was used for another payment into this budget."""

    code = "FUNDING_REUSED"
    retryable = False


class BudgetInForce(Rejection):
    """A published release counts against the budget: letting more be used takes two people."""

    code = "BUDGET_IN_FORCE"
    retryable = False


class BudgetReserved(Rejection):
    """A budget of this code is what settlement keeps a partner to: no marketer adds or changes it."""

    code = "BUDGET_RESERVED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget as people look at it; ceiling in points, times, or minor units of the currency, per scope and period."""

    document: BudgetDocument
    currency: str | None
    sponsor_id: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used of a budget in one scope and period; both empty where it counts in all.

    Of one that counts over days a period is one of them, and remaining what is left in the fullest run that it is in.
    """

    scope_key: str
    period_key: str
    used: int
    remaining: int


async def add(
    connection: AsyncConnection,
    *,
    source: Mapping[str, Any],
    sponsor_id: int,
    actor: int | str,
    at: datetime,
    currency: str | None = None,
) -> BudgetDocument:
    """Add a budget from its document. One of money takes a currency, and has nothing in it until it is funded.

    actor is a PROMOTION_MAKER, or the name of a part of the system. Rejects NOT_PERMITTED, BUDGET_INVALID,
    BUDGET_RESERVED, BUDGET_EXISTS.
    """
    author_id = await _require(connection, actor)
    document = await _checked(connection, source, currency)
    _check_reserved(document.code, actor)
    values = {
        "code": document.code, "unit": document.unit, "currency": currency, "scopes": list(document.scopes),
        "period": document.period, "zone": document.zone, "on_exceed": document.on_exceed, "sponsor_id": sponsor_id,
        "ceiling": 0 if document.unit == "money" else document.limit, "author_id": author_id, "at": at,
    }  # fmt: skip
    budget_id = await store.insert_budget(connection, values)
    if budget_id is None:
        raise BudgetExists(f"there is a budget {document.code} already")
    if document.unit != "money":
        await store.insert_limit(connection, budget_id, ceiling=document.limit, author_id=author_id, at=at)
    await note(connection, "BUDGET_ADDED", document.code, actor, at, {"ceiling": values["ceiling"]})
    await partner_store.bump_revision(connection)
    return document


async def set_limit(connection: AsyncConnection, code: str, ceiling: int, *, actor: int | str, at: datetime) -> None:
    """Let so much be used of a budget per scope and period from now on; what is used stays used, even above it.

    This is how settlement sets how far a partner's exposure may go (`partners.terms.exposure_code`): actor is then its
    name. Calls that began before may still see the old limit. Rejects NOT_PERMITTED, BUDGET_UNKNOWN, BUDGET_RESERVED,
    BUDGET_IS_FUNDED, BUDGET_INVALID, BUDGET_IN_FORCE.
    """
    await _require(connection, actor)
    if ceiling < 0:
        raise BudgetInvalid("a limit is not negative")
    row = await _opened(connection, code, actor)
    if row["unit"] == "money":
        raise BudgetIsFunded("a budget of money is as large as what was paid in: fund it")
    if ceiling > row["ceiling"]:
        await _require_alone(connection, code, actor)
    await write_limit(connection, row, ceiling, actor=actor, at=at)


async def fund(
    connection: AsyncConnection,
    code: str,
    amount_minor: int,
    *,
    payer_id: int,
    reference: str,
    actor: int | str,
    at: datetime,
) -> int:
    """Record a payment into a budget of money; returns what was paid in by now, minor units. Repeating it is harmless.

    Rejects NOT_PERMITTED, BUDGET_UNKNOWN, BUDGET_RESERVED, BUDGET_NOT_FUNDED, BUDGET_INVALID, FUNDING_REUSED,
    BUDGET_IN_FORCE.
    """
    await _require(connection, actor)
    if amount_minor <= 0 or not 1 <= len(reference) <= 64:
        raise BudgetInvalid("a payment is above zero and has a reference of 1 to 64 characters")
    row = await _opened(connection, code, actor)
    if row["unit"] != "money":
        raise BudgetNotFunded("only a budget of money takes payments")
    earlier = await store.funding_under(connection, row["budget_id"], reference)
    if earlier is not None:
        if (earlier["funded"], earlier["payer_id"]) != (amount_minor, payer_id):
            raise FundingReused("the reference was used for another payment")
        return int(row["ceiling"])
    await _require_alone(connection, code, actor)
    return await write_funding(
        connection, row, amount_minor, payer_id=payer_id, reference=reference, actor=actor, at=at
    )


async def held(connection: AsyncConnection, code: str) -> RowMapping:
    """A budget's row, held until the transaction ends. Rejects BUDGET_UNKNOWN."""
    row = await store.budget_for_update(connection, code)
    if row is None:
        raise BudgetUnknown(f"there is no budget {code}")
    return row


async def write_limit(
    connection: AsyncConnection,
    row: RowMapping,
    ceiling: int,
    *,
    actor: int | str,
    at: datetime,
    approval_id: int | None = None,
    in_spite: bool = False,
) -> None:
    """Set the limit of a budget that is held; whoever calls has asked who may. approval_id is of the proposal that was
    approved, in_spite of what stood against it."""
    await store.set_ceiling(connection, row["budget_id"], ceiling)
    await store.insert_limit(
        connection, row["budget_id"], ceiling=ceiling, at=at, author_id=_person(actor), approval_id=approval_id
    )
    detail = {"from": row["ceiling"], "to": ceiling} | _approved(approval_id) | ({"in_spite": True} if in_spite else {})
    await note(connection, "BUDGET_LIMIT_SET", row["code"], actor, at, detail)


async def write_funding(
    connection: AsyncConnection,
    row: RowMapping,
    amount_minor: int,
    *,
    payer_id: int,
    reference: str,
    actor: int | str,
    at: datetime,
    approval_id: int | None = None,
) -> int:
    """Write a payment into a budget that is held, likewise; returns what was paid in by now."""
    ceiling = int(row["ceiling"]) + amount_minor
    await store.set_ceiling(connection, row["budget_id"], ceiling)
    await store.insert_limit(
        connection, row["budget_id"], ceiling=ceiling, at=at, funded=amount_minor, payer_id=payer_id,
        reference=reference, author_id=_person(actor), approval_id=approval_id,
    )  # fmt: skip
    detail = {"amount": amount_minor, "payer": payer_id, "reference": reference} | _approved(approval_id)
    await note(connection, "BUDGET_FUNDED", row["code"], actor, at, detail)
    return ceiling


async def read(connection: AsyncConnection, code: str) -> Budget:
    """A budget. Rejects BUDGET_UNKNOWN."""
    rows = await store.budgets(connection, [code])
    if not rows:
        raise BudgetUnknown(f"there is no budget {code}")
    return budget_of(rows[0])


async def everything(connection: AsyncConnection) -> list[Budget]:
    """All budgets by code."""
    return [budget_of(row) for row in await store.budgets(connection)]


async def named(connection: AsyncConnection, codes: Sequence[str]) -> list[Budget]:
    """Those of these codes, by code."""
    return [budget_of(row) for row in await store.budgets(connection, codes)]


async def page(connection: AsyncConnection, *, after: int | None, limit: int) -> list[tuple[int, Budget]]:
    """Budgets with their numbers, in the order in which they were added, behind a number."""
    return [(row["budget_id"], budget_of(row)) for row in await store.budgets_behind(connection, after or 0, limit)]


async def currencies(connection: AsyncConnection) -> list[str]:
    """What a budget of money may be in: currencies in which a point has a value."""
    return sorted((await programme.read(connection)).point_value_micro)


async def usage(connection: AsyncConnection, code: str, *, limit: int = MOST_SHOWN) -> list[Usage]:
    """What is used of a budget, the latest period and the most used first. Rejects BUDGET_UNKNOWN.

    Of more than MOST_LOOKED_AT scopes only the first are looked at (`is_sampled`): there may be millions.
    """
    rows = await store.budgets(connection, [code])
    if not rows:
        raise BudgetUnknown(f"there is no budget {code}")
    found = await store.usage(connection, rows[0]["budget_id"], limit=limit, scopes=MOST_LOOKED_AT)
    ceiling = rows[0]["ceiling"]
    return [Usage(one["scope"], one["period"], one["used"], max(ceiling - one["counted"], 0)) for one in found]


async def is_sampled(connection: AsyncConnection, code: str) -> bool:
    """Whether `usage` looks only at some of those for whom something of a budget was used. Rejects BUDGET_UNKNOWN."""
    rows = await store.budgets(connection, [code])
    if not rows:
        raise BudgetUnknown(f"there is no budget {code}")
    return bool(rows[0]["scopes"]) and await store.has_more_scopes(connection, rows[0]["budget_id"], MOST_LOOKED_AT)


async def given_back(connection: AsyncConnection, code: str, *, since: int) -> int:
    """What returns gave back to a budget in transactions from a number on. Rejects BUDGET_UNKNOWN."""
    rows = await store.budgets(connection, [code])
    if not rows:
        raise BudgetUnknown(f"there is no budget {code}")
    return await store.given_back(connection, rows[0]["budget_id"], since)


async def violations(connection: AsyncConnection) -> list[Violation]:
    """What is wrong with budgets and with what parties owe each other for discounts; must be nothing."""
    return [
        Violation(row["rule"], row["holder_id"], row["unit"] or 0, row["detail"])
        for row in await store.audit(connection)
    ]


def budget_of(row: RowMapping) -> Budget:
    """The budget of a row of partners.budget, its document with the limit as it is now."""
    document = BudgetDocument(
        code=row["code"], unit=row["unit"], scopes=tuple(row["scopes"]), period=row["period"], zone=row["zone"],
        limit=row["ceiling"], on_exceed=row["on_exceed"],
    )  # fmt: skip
    return Budget(document, row["currency"], row["sponsor_id"], row["ceiling"])


async def _checked(connection: AsyncConnection, source: Mapping[str, Any], currency: str | None) -> BudgetDocument:
    """The budget of a document. Rejects BUDGET_INVALID with all that is wrong, not only what was found first."""
    document: BudgetDocument | None = None
    found: list[FieldProblem] = []
    try:
        document = read_as(BudgetDocument, source)
    except ValidationError as error:
        found = field_problems(error)
    if (source.get("unit") == "money") != (currency is not None):
        found.append(FieldProblem(("currency",), "CURRENCY", "a budget of money has a currency, another has none"))
    elif currency is not None and currency not in await currencies(connection):
        found.append(FieldProblem(("currency",), "NO_POINT_VALUE", "a point has no value in this currency"))
    if not _is_zone(source.get("zone", "UTC")):
        found.append(FieldProblem(("zone",), "UNKNOWN", "an IANA time zone such as Europe/Chisinau"))
    if document is None or found:
        raise BudgetInvalid("this is no budget", problems=found)
    return document


def _is_zone(name: object) -> bool:
    try:
        return ZoneInfo(str(name)).key == name
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is no zone, nor is a name too long for one
        return False


def field_problems(error: ValidationError) -> list[FieldProblem]:
    """What pydantic found wrong with a document, by path."""
    return [
        FieldProblem(tuple(str(part) for part in one["loc"]), one["type"].upper(), one["msg"])
        for one in error.errors(include_url=False)
    ]


async def note(
    connection: AsyncConnection, action: str, code: str, actor: int | str, at: datetime, detail: Mapping[str, Any]
) -> None:
    """Append to the trail what somebody did to a budget."""
    await audit.write(connection, actor=actor, action=action, subject=subject_of(code), detail=detail, at=at)


def subject_of(code: str) -> str:
    """What a proposal or an entry of the trail about a budget is said to be about."""
    return f"budget:{code}"


async def _opened(connection: AsyncConnection, code: str, actor: int | str) -> RowMapping:
    """The row of a budget that this actor may change, held; with what is published, where that matters."""
    if isinstance(actor, int):
        _check_reserved(code, actor)
        await store.hold_releases(connection)
    return await held(connection, code)


async def _require_alone(connection: AsyncConnection, code: str, actor: int | str) -> None:
    if isinstance(actor, int) and await store.is_published_budget(connection, code):
        raise BudgetInForce(f"a published release counts against {code}: somebody else has to approve more")


def _check_reserved(code: str, actor: int | str) -> None:
    if isinstance(actor, int) and code.startswith(LIMITS):
        raise BudgetReserved("its limit is settlement's, from what the partner's agreement and deposits allow")


async def _require(connection: AsyncConnection, actor: int | str) -> int | None:
    """The number of an actor who may; None for a part of the system, which nobody has to permit."""
    if isinstance(actor, int):
        await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    return _person(actor)


def _person(actor: int | str) -> int | None:
    return actor if isinstance(actor, int) else None


def _approved(approval_id: int | None) -> dict[str, int]:
    return {} if approval_id is None else {"proposal": approval_id}
