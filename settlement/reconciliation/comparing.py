"""A partner's file compared with our receipts: what is equal is matched where it lies, the rest by the pure rules.

What is equal in everything and once on either side is most of it and never leaves the database; only what differs is
held in memory, and there is a limit to that. Each line ends in one match or one break.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import exponent
from partners.agreements import programme
from partners.clearing import clearing
from partners.terms import SettlementTerms, Terms
from settlement.reconciliation import breaks, file_store, intake, matching, register
from settlement.reconciliation.breaks import Category
from settlement.reconciliation.intake import Acknowledgement, FileUnknown
from settlement.reconciliation.matching import RULES_VERSION, Break, Item, Match, Tolerance, TooManyDifferences
from settlement.reconciliation.register import NewBreak, Side

_DAY = timedelta(days=1)
_CANCELLATION = "CANCELLATION"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a file: how many of its records are matched, how many breaks it made."""

    file_id: int
    rules_version: int
    tolerance_minor: int
    tolerance_days: int
    records: int
    matched: int
    breaks: int
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class _Prices:
    """What a point of the partner is worth between it and us, micro-units: given, and taken."""

    issue_micro: int
    reimbursement_micro: int


async def compare(connection: AsyncConnection, file_id: int, *, actor: str, at: datetime) -> Comparison:
    """Compare a file that was taken, once, on behalf of a FINANCE_MAKER; again it answers what came of it.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, FILE_UNKNOWN, TOO_MANY_DIFFERENCES.
    """
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    return await compare_waiting(connection, file_id, actor=actor, at=at)


async def compare_waiting(
    connection: AsyncConnection, file_id: int, *, at: datetime, actor: str = register.SYSTEM
) -> Comparison:
    """The same by the programme itself, which a file need not wait for people for.

    Rejects FILE_UNKNOWN, TOO_MANY_DIFFERENCES.
    """
    its = await intake.acknowledgement(connection, file_id, partner_id=None)
    await file_store.lock_partner(connection, its.partner_id)
    if (earlier := await comparison(connection, file_id)) is not None:
        return earlier
    if its.state != intake.TAKEN or its.business_date is None or its.currency is None:
        raise FileUnknown(f"file {file_id} was refused: there is nothing to compare")
    terms, more = await _signed(connection, its.partner_id, at)
    tolerance = Tolerance(more.tolerance_minor, more.tolerance_days) if more else Tolerance()
    zone = (await programme.read(connection)).time_zone
    values = _values(its, its.business_date, its.currency, actor, at)
    await file_store.allow_sorting(connection)
    await file_store.insert_exact_matches(connection, values)
    opened = await _compare_rest(connection, its, values, tolerance, _prices(terms), breaks.local_day(at, zone), at)
    matched = await file_store.match_count(connection, file_id)
    made = Comparison(
        file_id, RULES_VERSION, tolerance.amount_minor, tolerance.days, its.records - its.refused, matched, opened,
        actor, at,
    )  # fmt: skip
    await file_store.insert_comparison(
        connection, {name: getattr(made, name) for name in Comparison.__dataclass_fields__}
    )
    detail = {"records": made.records, "matched": matched, "breaks": opened}
    await audit.write(connection, actor=actor, action="FILE_COMPARED", subject=f"file:{file_id}", detail=detail, at=at)
    return made


async def comparison(connection: AsyncConnection, file_id: int) -> Comparison | None:
    """What came of comparing a file; None where it was not compared yet."""
    row = await file_store.comparison(connection, file_id)
    return None if row is None else Comparison(**row._mapping)


async def waiting(connection: AsyncConnection) -> list[int]:
    """Files that were taken and not compared yet, in order."""
    return await file_store.uncompared(connection)


async def look_again(connection: AsyncConnection, *, actor: str, at: datetime) -> tuple[int, int]:
    """Look after what could not be told when files were compared, on behalf of a FINANCE_MAKER: how many missing lines
    of ours arrived since and are matched, and how many of theirs are due by now and missing.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    await register.permit(connection, actor, actors.FINANCE_MAKER)
    arrived = await _match_arrived(connection, actor, at)
    zone = (await programme.read(connection)).time_zone
    found = []
    for row in await file_store.overdue_ours(connection, on=breaks.local_day(at, zone)):
        terms, _ = await _signed(connection, row.partner_id, at)
        its = await intake.acknowledgement(connection, row.file_id, partner_id=None)
        one = Break(Category.MISSING_THEIRS, (0,), (), row.points, row.amount_minor)
        found.append(_new_break(its, one, [row], [], _prices(terms)))
    return arrived, len(await register.open_breaks(connection, found, at=at))


async def rates(connection: AsyncConnection, *, partner_id: int | None = None) -> dict[str, int]:
    """How many records were compared and matched, how many breaks were found and stand: of one, or all."""
    row = await file_store.rates(connection, partner_id)
    return {"records": row.records, "matched": row.matched, "found": row.found, "unresolved": row.unresolved}


# --- What is left after what is equal -------------------------------------------------------------------------


async def _compare_rest(
    connection: AsyncConnection, its: Acknowledgement, values: Mapping[str, Any], tolerance: Tolerance,
    prices: _Prices, on: date, at: datetime,
) -> int:  # fmt: skip
    theirs = await file_store.leftover_theirs(connection, its.file_id, matching.MOST_DIFFERENCES + 1)
    ours = await file_store.leftover_ours(connection, values, matching.MOST_DIFFERENCES + 1)
    if len(theirs) + len(ours) > matching.MOST_DIFFERENCES:
        raise TooManyDifferences(f"more than {matching.MOST_DIFFERENCES:,} lines differ: is it the right file?")
    day, currency = values["day"], values["currency"]
    found = matching.reconcile(
        [_our_item(n, row, day, currency, tolerance) for n, row in enumerate(ours)],
        [_their_item(row, currency) for row in theirs],
        tolerance=tolerance, on=on,
    )  # fmt: skip
    by_line = {row.line_no: row for row in theirs}
    matches, new = [], []
    for one in found:
        mine, yours = [ours[n] for n in one.ours], [by_line[n] for n in one.theirs]
        if isinstance(one, Match):
            matches += _matches(values, mine, yours, one.stage)
        elif one.category != Category.EXPECTED:
            new.append(_new_break(its, one, mine, yours, prices))
    await file_store.insert_matches(connection, matches)
    await _close_arrived(connection, [*(m for m in matches), *_paired(new)], its.file_id, at)
    return len(await register.open_breaks(connection, new, at=at))


async def _close_arrived(
    connection: AsyncConnection, lines: Sequence[Mapping[str, Any]], file_id: int, at: datetime
) -> None:
    """Lines of ours that a file before did not have, and this one has."""
    for line in lines:
        if line["holder_id"] is None:  # a line of theirs that is a part of one of ours
            continue
        side = Side("OURS", holder_id=line["holder_id"], unit=line["unit"], seq=line["seq"], kind=line["kind"])
        await register.close_missing(
            connection, side, category=Category.MISSING_THEIRS, reason=f"came with file {file_id}", at=at
        )


def _paired(new: Sequence[NewBreak]) -> list[dict[str, Any]]:
    """Lines of ours in breaks that have their line too."""
    return [
        {"holder_id": side.holder_id, "unit": side.unit, "seq": side.seq, "kind": side.kind}
        for one in new
        if len({side.side for side in one.sides}) > 1
        for side in one.sides
        if side.side == "OURS"
    ]


async def _match_arrived(connection: AsyncConnection, actor: str, at: datetime) -> int:
    done: set[int] = set()
    used: set[tuple[int, int, int, str]] = set()
    for row in await file_store.arrived_since(connection):
        line = (row.holder_id, row.unit, row.seq, row.kind)
        if row.break_id in done or line in used:
            continue
        done.add(row.break_id)
        used.add(line)
        values = {"file_id": row.file_id, "rules_version": RULES_VERSION, "actor": actor, "at": at}
        await file_store.insert_matches(connection, [_match(values, row, row, "ARRIVED")])
        await register.close(connection, row.break_id, register.ARRIVED, reason="our line came later", at=at)
    return len(done)


def _matches(
    values: Mapping[str, Any], mine: Sequence[Row[Any]], yours: Sequence[Row[Any]], stage: str
) -> list[dict[str, Any]]:
    """Rows of one match. Each line stands once; several that are one share the number of the first line of theirs."""
    if len(mine) == len(yours) == 1:
        return [_match(values, mine[0], yours[0], stage)]
    group, rows = min(row.line_no for row in yours), []
    for n in range(max(len(mine), len(yours))):
        one, other = mine[n] if n < len(mine) else None, yours[n] if n < len(yours) else None
        rows.append(_match(values, one, other, stage) | {"group_line": group})
    return rows


def _match(values: Mapping[str, Any], mine: Row[Any] | None, yours: Row[Any] | None, stage: str) -> dict[str, Any]:
    ours = {name: None if mine is None else getattr(mine, name) for name in ("holder_id", "unit", "seq", "kind")}
    return {
        "file_id": values["file_id"], "line_no": None if yours is None else yours.line_no, **ours, "stage": stage,
        "rules_version": values["rules_version"], "actor": values["actor"], "at": values["at"], "group_line": None,
    }  # fmt: skip


# --- Lines ----------------------------------------------------------------------------------------------------


def _values(its: Acknowledgement, day: date, currency: str, actor: str, at: datetime) -> dict[str, Any]:
    return {
        "partner_id": its.partner_id, "file_id": its.file_id, "day": day, "first": day - _DAY, "last": day + _DAY,
        "currency": currency, "per_unit": 10 ** exponent(currency), "rules_version": RULES_VERSION, "actor": actor,
        "at": at,
    }  # fmt: skip


def _our_item(number: int, row: Row[Any], day: date, currency: str, tolerance: Tolerance) -> Item:
    return Item(
        item_no=number, key=(row.reference, row.kind), outlet=row.outlet, business_date=row.business_date,
        points=row.points, amount_minor=row.amount_minor, currency=row.currency,
        unit_price_micro=row.unit_price_micro, tax_minor=_whole(row.tax_minor) if row.currency == currency else None,
        window=(row.business_date > day) - (row.business_date < day), due_on=day + tolerance.days * _DAY,
    )  # fmt: skip


def _their_item(row: Row[Any], currency: str) -> Item:
    return Item(
        item_no=row.line_no, key=(row.reference, row.kind), outlet=row.outlet, business_date=row.business_date,
        points=row.points, amount_minor=row.amount_minor, currency=currency, unit_price_micro=row.unit_price_micro,
        tax_minor=row.tax_minor,
    )  # fmt: skip


def _whole(tax: Decimal | None) -> int | None:
    return None if tax is None else int(tax)


def _new_break(
    its: Acknowledgement, one: Break, ours: Sequence[Row[Any]], theirs: Sequence[Row[Any]], prices: _Prices
) -> NewBreak:
    category = _category(one, [row.kind for row in (*ours, *theirs)])
    sides = [Side("OURS", holder_id=r.holder_id, unit=r.unit, seq=r.seq, kind=r.kind) for r in ours]
    sides += [Side("THEIRS", file_id=its.file_id, line_no=r.line_no) for r in theirs]
    first = (*ours, *theirs)[0]
    return NewBreak(
        source=_source(its.file_id, ours, theirs), leg="FILE", category=category, partner_id=its.partner_id,
        currency=its.currency, points=one.points, amount_minor=one.amount_minor,
        value_micro=_value(category, one, ours, theirs, prices), file_id=its.file_id,
        detail={"reference": first.reference, "kind": first.kind, "outlet": first.outlet,
                "business_date": first.business_date.isoformat()},
        sides=tuple(sides),
    )  # fmt: skip


def _category(one: Break, kinds: Sequence[str]) -> Category:
    """A cancellation that one side alone knows is a difference of status, not a missing line."""
    is_missing = one.category in (Category.MISSING_OURS, Category.MISSING_THEIRS)
    return Category.STATUS if is_missing and _CANCELLATION in kinds else one.category


def _source(file_id: int, ours: Sequence[Row[Any]], theirs: Sequence[Row[Any]]) -> str:
    """What a break is of: a line of a file, or where it has none our own entry."""
    if theirs:
        return f"record:{file_id}/{theirs[0].line_no}"
    return f"entry:{ours[0].holder_id}/{ours[0].unit}/{ours[0].seq}/{ours[0].kind}"


def _value(
    category: Category, one: Break, ours: Sequence[Row[Any]], theirs: Sequence[Row[Any]], prices: _Prices
) -> int:
    """What a break is about in money between the partner and us: points at the price of points given or taken; for a
    difference of prices the points at it."""
    kind = (*ours, *theirs)[0].kind
    if category == Category.PRICE:
        return int(ours[0].points * (ours[0].unit_price_micro - theirs[0].unit_price_micro))
    return one.points * (prices.reimbursement_micro if kind == "REDEMPTION" else prices.issue_micro)


async def _signed(
    connection: AsyncConnection, partner_id: int, at: datetime
) -> tuple[Terms | None, SettlementTerms | None]:
    for terms, more in await clearing.signed_at(connection, at=at):
        if terms.partner_id == partner_id:
            return terms, more
    return None, None


def _prices(terms: Terms | None) -> _Prices:
    if terms is None:
        return _Prices(0, 0)
    return _Prices(terms.fund_price_micro + terms.service_price_micro, terms.reimbursement_price_micro)
