"""What tests say about reconciliation: partners' files made from real receipts, payments, a bank, and finance people."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from msgspec import structs

from kit.database import Database
from kit.secrets import Vault
from members.cards import IssuedCard
from partners.receipts.receipts import Line, Receipt
from settlement import archive, runs
from settlement.bank import accounts, details, paying, receiving
from settlement.reconciliation import comparing, intake, register
from settlement.reconciliation.intake import Acknowledgement
from tests.builders import DAY, NOON, a_receipt
from tests.founded import a_template
from tests.partners.purchases.test_purchases import record
from tests.settlement.bank_files import OWN, Bank
from tests.settlement.money import books
from tests.settlement.money.books import Books, opened

IBANS = {"cafe": "FR1420041010050500013M02606", "bakery": "MD24AG000225100013104168"}
MAKER, CHECKER = "fina", "finn"


@dataclass(frozen=True)
class Row:
    """A line of a partner's file, as the partner has it."""

    outlet: str
    day: date
    reference: str
    kind: str
    points: int
    minor: int
    tax: int | None = None
    price_micro: int | None = None

    def cells(self) -> str:
        tax = "" if self.tax is None else str(Decimal(self.tax).scaleb(-2))
        price = "" if self.price_micro is None else str(Decimal(self.price_micro).scaleb(-6))
        amount = Decimal(self.minor).scaleb(-2)
        return f"D,{self.outlet},1,{self.day},{self.reference},{self.kind},{self.points},{amount},{tax},,,{price}"


def file_of(
    partner: str, day: date, sequence: int, rows: Sequence[Row], *, currency: str = "EUR", records: int | None = None
) -> bytes:
    """A partner's file; records is what its trailer says, where it is wrong."""
    lines = [f"H,1,{partner},RECEIPTS,{day},{sequence},{currency}", *(row.cells() for row in rows)]
    points, minor = sum(r.points for r in rows), sum(r.minor for r in rows)
    lines.append(f"T,{len(rows) if records is None else records},{points},{Decimal(minor).scaleb(-2)}")
    return ("\n".join(lines) + "\n").encode()


@dataclass
class House:
    """A coalition whose finance people reconcile."""

    books: Books
    bank: Bank = field(default_factory=Bank)
    sequences: dict[str, int] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.books.database

    async def found(self, **terms: object) -> None:
        """Two partners and the operator with bank accounts that are good."""
        for code in IBANS:
            await self.books.partner(code, **{"review_days": 0, "payment_days": 2, **terms})
        for party, iban in ((0, OWN), *((self.books.id_of(code), iban) for code, iban in IBANS.items())):
            await self.account(party, iban, at=NOON)

    async def account(self, party: int, iban: str, *, at: datetime) -> datetime | None:
        checked = accounts.account(f"Party {party}", iban)
        number = await self.do(details.propose, party, checked, currency="EUR", maker=MAKER, at=at)
        return await self.do(details.decide, number, approved=True, checker=CHECKER, at=at)

    async def do(self, use_case: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """A use case in a transaction of its own."""
        async with self.database.transaction() as connection:
            return await use_case(connection, *args, **more)

    async def sell(
        self, card: IssuedCard, points: int, partner: str, *, after: int, tax: int | None = None, spend: int = 0,
        reference: str | None = None,
    ) -> Receipt:  # fmt: skip
        """A purchase at a till."""
        at, total = NOON + after * DAY, points * 100 + spend
        receipt = a_receipt(total, at=at, reference=reference)
        facts = {} if tax is None else {"taxAmount": str(Decimal(tax).scaleb(-2))}
        receipt = structs.replace(receipt, lines=(Line("1", "GOODS", total, facts),))
        done = await record(self.books.coalition, card, receipt, partner=partner, after=after, spend=spend)
        assert done.receipt.redeemed_points == spend
        return receipt

    async def rows(self, partner: str, day: date) -> list[Row]:
        """What an honest partner writes down of a day, from its own receipts."""
        rows = await self.database.pool.fetch(
            "SELECT r.*, o.code AS outlet FROM partners.receipt r JOIN partners.outlet o USING (outlet_id) "
            "WHERE r.partner_id = $1 AND r.business_date = $2 ORDER BY r.at, r.seq",
            self.books.id_of(partner), day,
        )  # fmt: skip
        found = []
        for r in rows:
            kind = {1: "SALE", 2: "REDEMPTION", 3: "RETURN", 4: "CANCELLATION"}[r["kind"]]
            gained = {1: r["awarded"], 2: -r["redeemed"]}.get(r["kind"], r["redeemed"] - r["awarded"])
            way = 1 if r["kind"] in (1, 2) else -1
            found.append(Row(r["outlet"], day, r["reference"], kind, gained, way * r["total"]))
            if r["kind"] == 1 and r["redeemed"]:
                found.append(Row(r["outlet"], day, r["reference"], "REDEMPTION", -r["redeemed"], 0))
        return found

    async def send(
        self, partner: str, day: date, rows: Sequence[Row], *, at: datetime, content: bytes | None = None, **more: Any
    ) -> Acknowledgement:
        """Send a partner's next file."""
        sequence = self.sequences.get(partner, 0) + 1
        source = content if content is not None else file_of(partner, day, sequence, rows, **more)
        made = await intake.receive(
            self.database, io.BytesIO(source), "CSV", partner_id=self.books.id_of(partner), actor=MAKER, at=at
        )
        if made.state == intake.TAKEN:
            self.sequences[partner] = sequence
        return made

    async def compare(self, made: Acknowledgement, *, at: datetime) -> comparing.Comparison:
        return await self.do(comparing.compare, made.file_id, actor=MAKER, at=at)

    async def settle(self, *, at: datetime) -> list[int]:
        """Close the cut-off and bring what is in it to approved runs."""
        await runs.close_cutoff(self.database, actor=MAKER, at=at)
        made = await self.do(runs.settle, actor=MAKER, at=at)
        for one in made:
            await self.do(runs.approve, one.head.run_id, actor=CHECKER, at=at)
        return [one.head.run_id for one in made]

    async def instruct(self, run_id: int, *, at: datetime) -> list[paying.PaymentOrder]:
        """The payment files of a run, made by one and let go by another."""
        made = await self.do(paying.instruct, run_id, actor=MAKER, at=at)
        return [await self.do(paying.release, one.order_id, actor=CHECKER, at=at) for one in made]

    async def legs(self, run_id: int) -> list[paying.PaymentLeg]:
        async with self.database.reading() as connection:
            return await paying.of_run(connection, run_id)

    async def sent(self, run_id: int) -> dict[int, str]:
        """The latest end-to-end id of each leg of a run."""
        rows = await self.database.pool.fetch(
            "SELECT leg_id, end_to_end_id FROM settlement.order_leg JOIN settlement.payment_order USING (order_id) "
            "WHERE run_id = $1 ORDER BY order_id", run_id,
        )  # fmt: skip
        return {row["leg_id"]: row["end_to_end_id"] for row in rows}

    async def receive(self, content: bytes, *, at: datetime) -> list[receiving.Received]:
        return await receiving.receive(self.database, io.BytesIO(content), actor=MAKER, at=at)

    async def breaks(self) -> list[register.Break]:
        async with self.database.reading() as connection:
            return await register.page(connection, limit=1_000)

    async def state(self, run_id: int) -> str:
        async with self.database.reading() as connection:
            return (await archive.head(connection, run_id)).state

    async def written(self) -> dict[str, int]:
        """How many rows there are in what reconciliation writes."""
        tables = ("partner_file", "partner_record", "record_match", "break", "break_step", "correction", "payment_leg",
                  "leg_step", "leg_payment", "bank_statement", "bank_entry", "bank_payment", "suspense_item",
                  "suspense_end", "booking", "money_posting", "run_step")  # fmt: skip
        return {t: await self.database.pool.fetchval(f"SELECT count(*) FROM settlement.{t}") for t in tables}


def a_house_of(**terms: object) -> Any:
    """A file's own `template`: in each of its databases there is a house to be `met`, whose partners signed terms."""

    async def build(database: Database, vault: Vault) -> None:
        made = House(await opened(database, vault))
        await made.found(**terms)
        await made.books.coalition.desk.close()

    return a_template(build)


async def met(database: Database, vault: Vault) -> House:
    """The house that is in a database already."""
    return House(await books.met(database, vault))


def changed(rows: Iterable[Row], which: str, **changes: Any) -> list[Row]:
    """The rows, one of them said otherwise."""
    return [replace(row, **changes) if row.reference == which else row for row in rows]
