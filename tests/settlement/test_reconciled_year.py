"""A year of trade, files and payments: each break that was planted is found under its name, and no other; and when all
of them are resolved nothing is left anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from kit.database import Database
from kit.secrets import Vault
from members.cards import IssuedCard
from settlement import controls
from settlement.bank import paying, suspense
from settlement.reconciliation import comparing, intake, resolving, standing
from settlement.reconciliation.intake import FileRule
from settlement.reports import catalogue
from settlement.reports.catalogue import Wanted
from tests.builders import NOON
from tests.partners.returns.test_returns import cancel
from tests.settlement.bank_files import Paid
from tests.settlement.reconciling import CHECKER, IBANS, MAKER, House, Row, a_house_of, changed, met

MONTH = 28
SETTLED_IN = (0, 1, 2, 3, 4, 7, 11)
PLANTED = Counter(
    {
        "QUANTITY": 2, "AMOUNT": 1, "PRICE": 1, "TAX": 1, "MAPPING": 1, "REFERENCE": 1, "DUPLICATE": 1,
        "MISSING_OURS": 1, "MISSING_THEIRS": 1, "STATUS": 1, "TIMING": 1, "CURRENCY": 1, "FILE": 2,
        "UNIDENTIFIED_RECEIPT": 1, "PAYMENT_DIFFERENCE": 2, "RETURNED_PAYMENT": 1, "BANK_FEE": 1,
    }
)  # fmt: skip


template = a_house_of()


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    await made.books.coalition.desk.close()


@dataclass
class Year:
    """A year as it goes by."""

    house: House
    card: IssuedCard
    runs: list[int] = field(default_factory=list)

    def at(self, month: int, days: int = 0) -> datetime:
        return NOON + timedelta(days=month * MONTH + days)

    async def trade(self, month: int) -> None:
        """Sales at both partners, and some points that pay at one of them."""
        after = month * MONTH
        for n in range(4):
            await self.house.sell(self.card, 100 + n, "cafe", after=after, tax=20, reference=f"C{month}-{n}")
        spend = 0 if month == 11 else 50
        await self.house.sell(self.card, 7, "bakery", after=after, reference=f"B{month}-0", spend=spend)
        if month == 9:
            gone = await self.house.sell(self.card, 5, "cafe", after=after, tax=20, reference="C9-X")
            await cancel(self.house.books.coalition, gone, partner="cafe", after=after)
        if month == 10:
            await self.house.sell(self.card, 3, "cafe", after=after + 1, tax=20, reference="C10-T")

    async def files(self, month: int) -> None:
        """What the partners send of the month's day, with what was planted, and what it is compared with."""
        day, at = self.at(month).date(), self.at(month, 2)
        rows = [replace(r, tax=20) if r.kind == "SALE" else r for r in await self.house.rows("cafe", day)]
        made = await self.house.send("cafe", day, self.planted(month, rows), at=at)
        assert made.state == intake.TAKEN, made
        await self.house.compare(made, at=at)
        bakery = await self.house.rows("bakery", day)
        if month == 5:  # a trailer that does not count what came; then the right one
            refused = await self.house.send("bakery", day, bakery, at=at, records=99)
            assert (refused.state, refused.code) == (intake.REFUSED, "PARTNER_FILE_INVALID")
        if month == 6:  # the file after the next one
            self.house.sequences["bakery"] += 1
            refused = await self.house.send("bakery", day, bakery, at=at)
            assert refused.code == intake.FILE_GAP
            self.house.sequences["bakery"] -= 1
        made = await self.house.send("bakery", day, bakery, at=at, currency="USD" if month == 11 else "EUR")
        await self.house.compare(made, at=at)

    def planted(self, month: int, rows: list[Row]) -> list[Row]:
        first = f"C{month}-0"
        one = next(row for row in rows if row.reference == first)
        match month:
            case 0:
                return changed(rows, first, points=one.points - 9)
            case 1:
                return changed(rows, first, minor=one.minor + 1)
            case 2:
                return changed(rows, first, price_micro=9_000)
            case 3:
                return changed(rows, first, tax=21)
            case 4:
                return changed(rows, first, outlet="9")
            case 5:
                return changed(rows, first, reference="OTHER")
            case 6:
                return [*rows, one]
            case 7:
                return [*rows, replace(one, reference="NEVER", points=3, minor=300)]
            case 8:
                return [row for row in rows if row.reference != first]
            case 9:
                return [row for row in rows if row.kind != "CANCELLATION"]
            case 10:
                return [*rows, replace(one, reference="C10-T", points=3, minor=300)]
        return changed(rows, first, points=one.points - 1)

    async def resolve(self, month: int) -> None:
        """Everything that is open by now: a difference of points as a correction by two, others accepted."""
        at = self.at(month, 3)
        for one in await self.house.breaks():
            if not one.is_unresolved or one.leg == "BANK":
                continue
            if one.category == "QUANTITY" and month == 0:
                number = await self.house.do(resolving.post, one.break_id, cause="keyed in wrong", actor=MAKER, at=at)
                await self.house.do(resolving.decide, number, approved=True, actor=CHECKER, at=at)
            elif one.category == "DUPLICATE":
                assert await self.house.do(
                    resolving.write_off, one.break_id, cause="twice", actor=MAKER, at=at
                ) is None  # fmt: skip
            else:
                await self.house.do(resolving.accept, one.break_id, cause="seen", actor=MAKER, at=at)

    async def pay(self, month: int) -> None:
        """Settle the month, and what the bank says to it."""
        at = self.at(month, 5)
        (run_id,) = await self.house.settle(at=at)
        self.runs.append(run_id)
        await self.house.instruct(run_id, at=at)
        assert await self.house.state(run_id) == "INSTRUCTED"
        sent = await self.house.sent(run_id)
        paid = [self.payment(leg, sent, month) for leg in await self.house.legs(run_id)]
        more = {0: [Paid(500, text="hello")], 3: [Paid(-150, code="ACMT-MDOP-CHRG")]}.get(month, [])
        if month == 4:
            more = [replace(one, minor=-one.minor, is_reversal=True) for one in paid if one.minor < 0]
        await self.house.receive(self.house.bank.statement(*paid, *more), at=self.at(month, 6))
        await self.differences(month, run_id)
        assert await self.house.state(run_id) == "SETTLED"
        sealed = await self.house.do(paying.seal, run_id, actor=CHECKER, at=self.at(month, 9))
        assert sealed.state == "SEALED"

    def payment(self, leg: paying.PaymentLeg, sent: dict[int, str], month: int) -> Paid:
        if leg.direction == "PAY_OUT":
            return Paid(-leg.amount_minor, end_to_end_id=sent[leg.leg_id])
        off = {1: -30, 2: 40}.get(month, 0) if leg.partner_id == self.house.books.id_of("cafe") else 0
        if month % 3 == 0:  # without a reference, known by the account alone
            (code,) = [c for c in IBANS if self.house.books.id_of(c) == leg.partner_id]
            return Paid(leg.amount_minor + off, account=IBANS[code])
        text, reference = (f"for {leg.reference} thanks", None) if month % 3 == 1 else (None, leg.reference)
        return Paid(leg.amount_minor + off, text=text, reference=reference)

    async def differences(self, month: int, run_id: int) -> None:
        """What the bank said otherwise than it should: each is put right."""
        at = self.at(month, 7)
        async with self.house.database.reading() as connection:
            left = await suspense.items(connection)
        if month == 0:
            number = await self.house.do(
                suspense.propose_keep, left[0].item_id, cause="nobody asks", actor=MAKER, at=at
            )
            await self.house.do(suspense.decide, number, approved=True, actor=CHECKER, at=at)
        if month == 1:
            (short,) = [leg for leg in await self.house.legs(run_id) if leg.left_minor]
            assert await self.house.do(suspense.write_off, short.leg_id, cause="30", actor=MAKER, at=at) is None
        if month == 2:
            await self.house.do(suspense.credit, left[0].item_id, self.house.books.id_of("cafe"), actor=MAKER, at=at)
        if month == 3:
            (fee,) = [one for one in await self.house.breaks() if one.category == "BANK_FEE"]
            await self.house.do(resolving.accept, fee.break_id, cause="as agreed", actor=MAKER, at=at)
        if month == 4:  # what came back is sent again, under another id, and arrives
            (back,) = [leg for leg in await self.house.legs(run_id) if leg.state == paying.RETURNED]
            first = (await self.house.sent(run_id))[back.leg_id]
            await self.house.instruct(run_id, at=at)
            again = (await self.house.sent(run_id))[back.leg_id]
            assert again != first
            await self.house.receive(
                self.house.bank.statement(Paid(-back.amount_minor, end_to_end_id=again)), at=self.at(month, 8)
            )


async def reports_say_so(house: House, year: Year) -> None:
    """R5, R6 and R13 of the year."""
    run_id, at = year.runs[4], year.at(12)
    async with house.database.transaction() as connection:
        files = (await catalogue.make(connection, "R5", Wanted(run_id, None, at))).report.tables[0]
        paid = (await catalogue.make(connection, "R6", Wanted(run_id, None, at))).report.tables[0]
        aged = (await catalogue.make(connection, "R13", Wanted(None, None, at))).report
    assert [row[5] for row in files.rows] == [
        f"T{run_id}-{row[5].split('-')[1]}-{n}" for n, row in enumerate(files.rows, 1)
    ]
    assert {row[8].code for row in files.rows} == {"MATCHED"}
    sums = dict(zip([column.key for column in paid.columns], paid.totals() or (), strict=True))
    assert sums["instructed"] == sums["settled"] > 0 == sums["difference"]
    facts = {fact.key: fact.value for fact in aged.facts}
    assert (facts["found"], facts["unresolved"], len(aged.tables[0].rows)) == (sum(PLANTED.values()), 0, 0)
    assert facts["matched"] > facts["records"] - sum(PLANTED.values())


async def test_every_break_that_was_planted_is_found_once_and_nothing_is_left_when_all_are_resolved(
    a_house: House, database: Database
) -> None:
    year = Year(a_house, await a_house.books.member())
    rule = FileRule("WHOLE", write_off_minor=200)
    for code in IBANS:
        await a_house.do(intake.change_rule, a_house.books.id_of(code), rule, actor=CHECKER, at=NOON)
    for month in range(12):
        await year.trade(month)
        await year.files(month)
        await year.resolve(month)
        await year.pay(month)

    found = await a_house.breaks()
    assert Counter(one.category for one in found) == PLANTED
    assert [one for one in found if one.is_unresolved] == []
    again = await a_house.do(comparing.look_again, actor=MAKER, at=year.at(12))
    assert again == (0, 0)

    await reports_say_so(a_house, year)
    balances = await a_house.books.balances()
    assert {name for name in balances if name[:4] in ("1200", "1410", "2600", "1250")} == set()
    assert balances["1110"] == a_house.bank.balance * 10_000
    async with database.reading() as connection:
        assert await standing.late(connection, at=year.at(12)) == []
        assert [f"{v.code} {v.detail}" for v in await controls.run(connection)] == []
    assert await a_house.books.violations() == []
