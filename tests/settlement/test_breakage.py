"""Breakage: the chain ladder against a triangle worked by hand, bounds that always hold, and runs that replace runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors
from kit.database import Database
from kit.secrets import Vault
from settlement import breakage
from settlement.breakage import PPM, BreakageRun, Cohort
from settlement.money import journal
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books, micro, opened


@pytest.fixture
async def books(database: Database, vault: Vault) -> AsyncIterator[Books]:
    made = await opened(database, vault)
    yield made
    assert await made.violations() == []
    await made.coalition.desk.close()


def cohort(month: int, issued: int, *redeemed: int, expired: int = 0) -> Cohort:
    return Cohort(1, 1, date(2026, month, 1), issued, redeemed, expired)


def test_a_triangle_worked_by_hand() -> None:
    """Accumulated 100 200 250 | 120 240 | 80: factors 440/220 = 2 and 250/200 = 1.25."""
    triangle = [cohort(1, 1_000, 100, 100, 50), cohort(2, 1_000, 120, 120), cohort(3, 500, 80)]
    assert breakage.ultimate_rates(triangle) == [250_000, 300_000, 400_000]


def test_a_cohort_that_nobody_redeemed_from_takes_the_rate_of_the_others() -> None:
    assert breakage.ultimate_rates([cohort(1, 1_000, 300, 0), cohort(2, 500, 0)]) == [300_000, 300_000]


def test_where_nobody_redeemed_anything_all_of_it_is_expected_to_be() -> None:
    assert breakage.ultimate_rates([cohort(1, 1_000, 0), cohort(2, 10, 0, expired=4)]) == [PPM, 600_000]
    assert breakage.ultimate_rates([]) == []


cohorts = st.lists(
    st.builds(
        lambda month, redeemed, left, expired: cohort(month, sum(redeemed) + left + expired, *redeemed, expired=expired),
        st.integers(1, 12), st.lists(st.integers(0, 10**6), min_size=1, max_size=12), st.integers(0, 10**6),
        st.integers(0, 10**6),
    ).filter(lambda c: c.issued > 0),
    min_size=1, max_size=12,
)  # fmt: skip


@given(cohorts, st.integers(0, 10**6))
def test_a_rate_is_between_what_was_redeemed_and_what_can_be_and_no_more_is_expected_than_is_left(
    some: list[Cohort], price: int
) -> None:
    for one, rate in zip(some, breakage.ultimate_rates(some), strict=True):
        assert one.used * PPM - one.issued <= rate * one.issued <= (one.issued - one.expired) * PPM + one.issued
        amount = breakage.expected_micro(one, urr_ppm=rate, price_micro=price)
        assert 0 <= amount <= one.left * price
        assert one.left or not amount


@given(cohorts, cohorts)
def test_the_change_from_one_estimate_to_the_next_leaves_the_next(one: list[Cohort], other: list[Cohort]) -> None:
    def estimates(found: list[Cohort]) -> list[breakage.Estimate]:
        unique = {c.month: c for c in found}.values()
        return [breakage.Estimate(c, "EUR", PPM, c.issued) for c in unique]

    held: dict[tuple[int, int, date], tuple[str, int]] = {}
    for wanted in (estimates(one), estimates(other), []):
        for entry in breakage.change(wanted, held):
            assert {p.account for p in entry.postings} == {"2105", "4200E"}
            assert sum(p.amount_micro for p in entry.postings) == 0
            first = entry.postings[0]
            assert first.cohort_month is not None
            key = (first.party_id, first.cohort_id, first.cohort_month)
            held[key] = ("EUR", held.get(key, ("", 0))[1] + first.amount_micro)
        held = {key: amount for key, amount in held.items() if amount[1]}
        assert {key[2]: amount for key, (_, amount) in held.items()} == {
            e.cohort.month: e.estimate_micro for e in wanted if e.estimate_micro
        }


async def estimate(connection: AsyncConnection, after: int, actor: str = "fina") -> BreakageRun:
    at = NOON + after * DAY
    return await breakage.estimate(connection, as_of=at, actor=actor, at=at)


async def test_a_run_of_the_model_is_kept_and_can_be_taken_back_whole(books: Books) -> None:
    await books.partner("a")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.spend(card, 500, "a", after=1)
    await books.close(after=2)
    async with books.database.transaction() as connection:
        first = await estimate(connection, 3)
    assert first.booking_id is not None
    assert (await books.balances())["2105.a"] == micro("4.25")
    async with books.database.transaction() as connection:
        second = await estimate(connection, 3)
    assert (second.breakage_run_id, second.booking_id) == (2, None)  # nothing has changed, and it is on record
    async with books.database.transaction() as connection:
        await journal.reverse(connection, first.booking_id, at=NOON + 4 * DAY, actor="fina")
    assert "2105.a" not in await books.balances()
    kept = await books.database.pool.fetchval("SELECT count(*) FROM settlement.breakage_estimate")
    assert kept == 2
    async with books.database.transaction() as connection:
        await estimate(connection, 5)  # the next one books what is expected anew
    assert (await books.balances())["2105.a"] == micro("4.25")


async def test_who_may_not_estimate_is_refused_and_nothing_is_written(books: Books) -> None:
    with pytest.raises(actors.NotPermitted):
        async with books.database.transaction() as connection:
            await estimate(connection, 1, "finn")
    assert await books.database.pool.fetchval("SELECT count(*) FROM settlement.breakage_run") == 0
