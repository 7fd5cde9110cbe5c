"""The programme: the coalition's own rules, founded once per database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.amounts import BASIS
from kit.errors import FieldProblem, Rejection
from ledger import notices
from partners import store
from partners.terms import Programme


class ProgrammeExists(Rejection):
    """Another programme was founded in this database."""

    code = "PROGRAMME_EXISTS"
    retryable = False


class ProgrammeUnknown(Rejection):
    """No programme was founded in this database yet."""

    code = "PROGRAMME_UNKNOWN"
    retryable = True


class ProgrammeInvalid(Rejection):
    """The rules do not make a programme; the problems say which."""

    code = "PROGRAMME_INVALID"
    retryable = False


async def found(connection: AsyncConnection, programme: Programme) -> None:
    """Found the programme; nothing happens where exactly this one was founded before.

    Rejects PROGRAMME_INVALID, PROGRAMME_EXISTS, NOTICE_RULE_FIXED.
    """
    if problems := list(_problems(programme)):
        raise ProgrammeInvalid("these rules do not make a programme", problems=problems)
    if not await store.insert_programme(connection, programme):
        if await read(connection) != programme:
            raise ProgrammeExists("another programme was founded in this database")
        return
    await notices.require(connection, programme.notice_days)
    await store.insert_point_values(connection, programme.point_value_micro)
    await store.bump_revision(connection)


async def read(connection: AsyncConnection) -> Programme:
    """The programme. Rejects PROGRAMME_UNKNOWN."""
    programme = await store.programme(connection)
    if programme is None:
        raise ProgrammeUnknown("no programme was founded in this database yet")
    return programme


def _problems(programme: Programme) -> Iterator[FieldProblem]:
    if not programme.name:
        yield FieldProblem(("name",), "REQUIRED", "a programme has a name")
    if not programme.languages:
        yield FieldProblem(("languages",), "REQUIRED", "members are spoken to in at least one language")
    if not is_time_zone(programme.time_zone):
        yield FieldProblem(("time_zone",), "UNKNOWN", "not a time zone of the IANA database")
    if not 0 <= programme.bill_ceiling_bp <= BASIS:
        yield FieldProblem(("bill_ceiling_bp",), "OUT_OF_RANGE", f"0 to {BASIS} basis points")
    if programme.refund_grace_days < 1:
        yield FieldProblem(("refund_grace_days",), "OUT_OF_RANGE", "at least one day")
    if not 0 <= programme.notice_days <= notices.MOST_DAYS:
        yield FieldProblem(("notice_days",), "OUT_OF_RANGE", f"0 to {notices.MOST_DAYS} days")
    if programme.base_currency not in programme.point_value_micro:
        yield FieldProblem(("base_currency",), "NO_POINT_VALUE", "a point has no value in the base currency")
    for currency, value_micro in programme.point_value_micro.items():
        if not re.fullmatch("[A-Z]{3}", currency) or value_micro <= 0:
            yield FieldProblem(("point_value_micro", currency), "INVALID", "a positive value per currency code")


def is_time_zone(name: str) -> bool:
    """Whether the IANA database knows a zone of this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
