"""Two currencies: each side on exchange clearing, and a sweep at a fixing that leaves it at zero."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.money import conversion, exchange
from settlement.money.conversion import Fixing
from tests.builders import DAY, NOON, a_receipt
from tests.partners.purchases.test_purchases import record
from tests.settlement.money.books import Books, micro

TODAY = date(2026, 3, 4)
rates = st.decimals("0.0001", "10000", places=4)


@given(st.integers(-(10**14), 10**14), rates)
def test_there_and_back_differs_by_rounding_only(amount: int, rate: Decimal) -> None:
    there = conversion.convert(amount, rate)
    assert abs(Decimal(there) - Decimal(amount) * rate) <= Decimal("0.5")
    assert conversion.convert(-amount, rate) == -there


@given(st.dictionaries(st.sampled_from(["EUR", "USD", "MDL", "JPY"]), st.integers(-(10**12), 10**12)), rates)
def test_a_sweep_leaves_nothing_and_every_entry_balances(balances: dict[str, int], rate: Decimal) -> None:
    fixings = {c: Fixing(TODAY, c, "EUR", rate, "BNM") for c in ("USD", "MDL", "JPY")}
    left = dict(balances)
    for entry in conversion.sweep(balances, fixings, "EUR"):
        assert sum(p.amount_micro for p in entry.postings) == 0
        clearing = entry.postings[0]
        left[clearing.currency] = left.get(clearing.currency, 0) + clearing.amount_micro
    assert not any(left.values())


@pytest.mark.parametrize("rate", ["0", "-1", "0.12345678901", "NaN"])
def test_a_rate_that_is_none_is_no_rate(rate: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        conversion.convert(1, Decimal(rate))


async def fix(books: Books, rate: str, currency: str = "USD", actor: str = "fina") -> None:
    async with books.database.transaction() as connection:
        fixing = Fixing(TODAY, currency, "EUR", exchange.rate_of(rate), "BNM")
        await exchange.fix(connection, fixing, actor=actor, at=NOON)


async def sweep(books: Books) -> object:
    async with books.database.transaction() as connection:
        return await exchange.sweep(connection, day=TODAY, base_currency="EUR", actor="fina", at=NOON + 3 * DAY)


async def test_points_of_one_currency_redeemed_in_another(books: Books) -> None:
    await books.partner("a")
    await books.partner("u", currency="USD", reimbursement_price_micro=9_000)
    card = await books.member()
    await books.earn(card, 600, "a")
    # A bill in dollars: points are worth a cent there too.
    await record(books.coalition, card, a_receipt(600, currency="USD"), partner="u", spend=600)
    await books.close(after=1)
    assert await books.balances() == {
        "1200.a": micro("6"), "2110.a": -micro("0.9"), "1900": -micro("5.1"),
    }  # fmt: skip
    assert await books.balances(currency="USD") == {"1200.u": -micro("5.4"), "1900": micro("5.4")}
    with pytest.raises(exchange.FixingMissing):
        await sweep(books)
    await fix(books, "0.9")
    assert await sweep(books) is not None
    assert await books.balances() == {
        "1200.a": micro("6"), "2110.a": -micro("0.9"), "4900": -micro("4.86"), "4120": -micro("0.24"),
    }  # fmt: skip
    assert await books.balances(currency="USD") == {"1200.u": -micro("5.4"), "4900": micro("5.4")}
    assert await sweep(books) is None


async def test_a_day_has_one_rate_and_the_same_again_changes_nothing(books: Books) -> None:
    await fix(books, "0.9")
    await fix(books, "0.900")
    with pytest.raises(exchange.FixingExists):
        await fix(books, "0.91")
    for rate, currency in (("0", "MDL"), ("-1", "MDL"), ("x", "MDL"), ("1.00000000001", "MDL"), ("1", "EUR")):
        with pytest.raises(exchange.FixingInvalid):
            await fix(books, rate, currency)
    assert await books.database.pool.fetchval("SELECT count(*) FROM settlement.fixing") == 1
