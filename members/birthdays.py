"""Birthdays: when a member's is, and that it does not move from party to party.

The date lies sealed under the member's own key and is opened where a rule asks for it. It may be corrected once, and
not shortly before either day: who celebrates when is not chosen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime

from cryptography.exceptions import InvalidTag
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import Vault, open_with
from members import birthday_store, enrolment, store
from members.cards import MemberUnknown

FROZEN_DAYS = 30
"""So many days before a birthday, the old one or the new, its date stays what it is."""


class BirthDateFixed(Rejection):
    """The birth date was corrected once already, or one of both birthdays is less than a month away."""

    code = "BIRTH_DATE_FIXED"
    retryable = True


@dataclass(frozen=True, slots=True)
class MonthAndDay:
    """A birthday without its year."""

    month: int
    day: int


def month_and_day(vault: Vault, member_id: int, sealed_key: bytes, sealed: bytes) -> MonthAndDay | None:
    """The birthday in what is sealed of a member; None where none was told, or the key does not fit."""
    try:
        told = json.loads(open_with(vault.open(sealed_key, f"member_key:{member_id}"), sealed, f"personal:{member_id}"))
    except InvalidTag:
        return None
    born = told.get("birth_date")
    if not born:
        return None
    on = date.fromisoformat(born)
    return MonthAndDay(on.month, on.day)


def days_until(birthday: MonthAndDay, on: date) -> int:
    """Days from a date to the next birthday, 0 on it; 29 February is kept on the 28th where there is none."""
    for year in (on.year, on.year + 1):
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        is_moved = (birthday.month, birthday.day) == (2, 29) and not leap
        there = date(year, birthday.month, 28 if is_moved else birthday.day)
        if there >= on:
            return (there - on).days
    raise AssertionError("unreachable")


async def correct(connection: AsyncConnection, vault: Vault, member_id: int, born: date, *, at: datetime) -> None:
    """Correct a member's birth date, or tell it where none was told.

    Rejects MEMBER_UNKNOWN, BIRTH_DATE_FIXED, PERSONAL_INVALID.
    """
    if not await store.lock_member(connection, member_id):
        raise MemberUnknown
    told = await enrolment.personal(connection, vault, member_id)
    if told is None:
        raise MemberUnknown
    if told.birth_date is not None:
        days = [days_until(MonthAndDay(each.month, each.day), at.date()) for each in (told.birth_date, born)]
        if min(days) < FROZEN_DAYS or not await birthday_store.insert_change(connection, member_id, at):
            raise BirthDateFixed("a birth date is corrected once, and not shortly before a birthday")
    await enrolment.rewrite(connection, vault, member_id, replace(told, birth_date=born), at=at)
