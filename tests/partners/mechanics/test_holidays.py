"""Holidays are data: a country's calendar, less what the programme leaves out, and its own days."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.database import Database
from kit.secrets import Vault
from partners.mechanics import documents, holidays
from partners.mechanics.documents import CalendarDocument, HolidayDocument
from tests.builders import a_receipt
from tests.partners.mechanics.fair import DAY, EARLIER, NOON, Fair, a_fair, met
from tests.partners.promotions.market import bonus


@pytest.mark.parametrize(
    "easter",
    ["2016-05-01", "2017-04-16", "2020-04-19", "2021-05-02", "2022-04-24", "2023-04-16", "2024-05-05", "2025-04-20", "2026-04-12"],
)  # fmt: skip
def test_easter_is_when_it_was_kept(easter: str) -> None:
    assert holidays.orthodox_easter(int(easter[:4])).isoformat() == easter


@given(st.integers(1900, 2099))
def test_easter_is_a_sunday_of_spring(year: int) -> None:
    easter = holidays.orthodox_easter(year)
    assert easter.isoweekday() == 7
    assert date(year, 4, 4) <= easter <= date(year, 5, 10)


def test_a_country_s_days_are_told_by_their_codes() -> None:
    moldova = CalendarDocument(country="MD")
    assert holidays.codes_on(moldova, date(2026, 8, 27)) == ("independence-day",)
    assert holidays.codes_on(moldova, date(2026, 4, 13)) == ("easter",)
    assert holidays.codes_on(moldova, date(2026, 4, 20)) == ("memorial-easter",)
    assert holidays.codes_on(CalendarDocument(country="RO"), date(2026, 4, 10)) == ("good-friday",)
    assert holidays.codes_on(CalendarDocument(country="RU"), date(2026, 4, 12)) == ()
    assert holidays.countries() == ("MD", "RO", "RU")


def test_a_programme_leaves_days_out_and_adds_its_own() -> None:
    own = HolidayDocument(code="city-day", dates=(date(2026, 10, 14), date(2027, 10, 14)))
    document = CalendarDocument(country="MD", without=("victory-day",), days=(own,))
    assert holidays.codes_on(document, date(2026, 5, 9)) == ()
    assert holidays.codes_on(document, date(2027, 10, 14)) == ("city-day",)
    assert holidays.codes_on(CalendarDocument(), date(2026, 1, 1)) == ()


@given(st.dates(date(1850, 1, 1), date(2150, 1, 1)))
def test_every_day_has_an_answer(day: date) -> None:
    for country in holidays.countries():
        codes = holidays.codes_on(CalendarDocument(country=country), day)  # type: ignore[arg-type]
        assert list(codes) == sorted(set(codes))


template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


async def test_an_offer_for_a_holiday_counts_on_that_day_only(fair: Fair) -> None:
    await fair.agree(documents.CALENDAR, "calendar", country="MD", days=[{"code": "city-day", "dates": ["2026-03-02"]}])
    await fair.market.publish(bonus("party", 500, when={"holidays": ["city-day", "womens-day"]}))
    card = await fair.coalition.add_member()
    given = [
        (await fair.market.buy(card, a_receipt(10_000, at=NOON + days * DAY))).receipt.awarded_points - 100
        for days in (0, 1, 6)
    ]
    assert given == [500, 0, 500]
    directory = await fair.coalition.desk.directory.get()
    assert directory.calendar.codes(NOON.date(), at=EARLIER - timedelta(days=1)) == ()
