"""Reports on payment files and notices: what they bring back, what they join, and that they move no money by themselves."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import AsyncIterator
from datetime import datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import actors
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from settlement.bank import bank_files, camt, pain_reports, paying, receiving
from settlement.bank.camt import BankFileInvalid
from settlement.bank.notices import Noticed
from settlement.bank.reporting import Reported
from settlement.reconciliation import standing
from tests.builders import DAY, NOON
from tests.settlement.bank_files import OWN, Bank, Paid, entry, notice, report, statement
from tests.settlement.reconciling import CHECKER, MAKER, House, a_house_of, met

AT = NOON + DAY


template = a_house_of()


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    async with database.reading() as connection:
        assert await standing.unbalanced(connection) == []
    assert await made.books.violations() == []
    await made.books.coalition.desk.close()


async def instructed(house: House) -> tuple[int, paying.PaymentOrder, paying.PaymentLeg, paying.PaymentLeg]:
    """An instructed run: café pays 5.00, the bakery is paid 0.33."""
    card = await house.books.member()
    await house.sell(card, 500, "cafe", after=0)
    await house.sell(card, 7, "bakery", after=0, spend=50)
    (run_id,) = await house.settle(at=AT)
    (order,) = await house.instruct(run_id, at=AT)
    found = {leg.direction: leg for leg in await house.legs(run_id)}
    return run_id, order, found["PAY_IN"], found["PAY_OUT"]


async def take(house: House, content: bytes, *, by: str = MAKER, at: datetime = AT) -> list[bank_files.Taken]:
    return list(await bank_files.receive(house.database, io.BytesIO(content), actor=by, at=at))


async def test_what_a_report_rejects_comes_back_once_and_is_sent_again(a_house: House) -> None:
    run_id, order, pay_in, pay_out = await instructed(a_house)
    first = (await a_house.sent(run_id))[pay_out.leg_id]
    before = await a_house.written()
    for content, why in (
        (report("TESSERA-99-1", {first: "RJCT"}), paying.OrderUnknown),
        (report(order.message_id, {"other": "RJCT"}), paying.OrderUnknown),
        (report(order.message_id, {}), BankFileInvalid),
        (report(order.message_id, {first: "rejected"}), BankFileInvalid),
    ):
        with pytest.raises(why):
            await take(a_house, content)
    with pytest.raises(actors.NotPermitted):
        await take(a_house, report(order.message_id, {first: "RJCT"}), by=CHECKER)
    assert await a_house.written() == before
    assert await take(a_house, report(order.message_id, {first: "PDNG"})) == [Reported("P1", order.order_id, 0, 0)]
    assert {leg.state for leg in await a_house.legs(run_id)} == {"DUE", "INSTRUCTED"}
    refused = report(order.message_id, {first: "RJCT"}, number=2)
    assert await take(a_house, refused) == [Reported("P2", order.order_id, 0, 1)]
    assert (await a_house.books.balances()).get("1410") is None
    [one] = await a_house.breaks()
    assert (one.category, one.detail["code"], one.partner_id) == ("RETURNED_PAYMENT", "AC04", pay_out.partner_id)
    before = await a_house.written()
    assert await take(a_house, refused) == [Reported("P2", order.order_id, 0, 1, is_replayed=True)]
    assert await a_house.written() == before

    orders = await a_house.instruct(run_id, at=AT)
    with pytest.raises(paying.LegState):  # a late word about the first try says nothing of the second
        await take(a_house, report(order.message_id, {first: "RJCT"}, number=3))
    assert await take(a_house, report(orders[-1].message_id, {}, number=4, status="ACCP")) == [
        Reported("P4", orders[-1].order_id, 1, 0)
    ]
    again = (await a_house.sent(run_id))[pay_out.leg_id]
    await a_house.receive(
        a_house.bank.statement(Paid(500, reference=pay_in.reference), Paid(-33, end_to_end_id=again)), at=AT
    )
    assert await a_house.state(run_id) == "SETTLED"
    assert [one.state for one in await a_house.breaks()] == ["RESOLVED"]


async def test_a_notice_moves_no_money_and_says_what_a_bare_entry_is_made_of(a_house: House) -> None:
    run_id, _, pay_in, pay_out = await instructed(a_house)
    sent = (await a_house.sent(run_id))[pay_out.leg_id]
    told = entry([Paid(500, reference=pay_in.reference), Paid(-33, end_to_end_id=sent)], reference="B-77")
    before = await a_house.written()
    first = await take(a_house, notice([told]))
    assert first == [Noticed("NT1", "EUR", 1)]
    assert await take(a_house, notice([told])) == [Noticed("NT1", "EUR", 1, is_replayed=True)]
    with pytest.raises(receiving.BankStatementChanged):
        await take(a_house, notice([told, told]))
    with pytest.raises(receiving.BankAccountNotOurs):
        await take(a_house, notice([told], number=2, iban="FR1420041010050500013M02606"))
    assert await a_house.written() == before  # no entry, no payment, no leg, nothing in the books
    with pytest.raises(BankFileInvalid):  # by the reader of statements it is no statement, whatever it holds
        await a_house.receive(notice([told], number=3), at=AT)

    bare = entry([Paid(467)], reference="B-77", bare=True)
    other = entry([Paid(10)], reference="B-78", bare=True)
    (taken,) = await a_house.receive(statement([bare, other], number=1, opening=0, closing=477), at=AT)
    assert (taken.payments, taken.matched, taken.left_over) == (3, 2, 1)
    assert await a_house.state(run_id) == "SETTLED"


def of_the_whole_part(message_id: str, status: str, *, group: str | None, number: int = 1) -> bytes:
    """A report that names no payment and says one word of all of the file's, beside what it says of the message."""
    made = report(message_id, {"x": "RJCT"}, number=number, status=group).decode()
    head, _, rest = made.partition("<TxInfAndSts>")
    return (head + f"<PmtInfSts>{status}</PmtInfSts>" + rest.partition("</TxInfAndSts>")[2]).encode()


@pytest.mark.parametrize("group", ["RCVD", "ACTC", "PART", None])
async def test_what_is_said_of_a_files_payments_counts_before_what_is_said_of_its_message(
    a_house: House, group: str | None
) -> None:
    run_id, order, _, pay_out = await instructed(a_house)
    said = of_the_whole_part(order.message_id, "RJCT", group=group)
    assert await take(a_house, said) == [Reported("P1", order.order_id, 0, 1)]
    assert {leg.leg_id: leg.state for leg in await a_house.legs(run_id)}[pay_out.leg_id] == "REJECTED"


async def test_a_report_of_a_number_that_was_taken_with_another_content_is_refused(a_house: House) -> None:
    run_id, order, _, pay_out = await instructed(a_house)
    sent = (await a_house.sent(run_id))[pay_out.leg_id]
    await take(a_house, report(order.message_id, {sent: "PDNG"}))
    before = await a_house.written()
    with pytest.raises(receiving.BankStatementChanged):
        await take(a_house, report(order.message_id, {sent: "RJCT"}))
    assert await a_house.written() == before


async def test_a_statement_of_a_number_that_was_taken_with_other_entries_is_refused(a_house: House) -> None:
    _, _, pay_in, _ = await instructed(a_house)
    bank = a_house.bank
    await a_house.receive(bank.statement(Paid(500), Paid(20)), at=AT)
    before = await a_house.written()
    other = [entry([Paid(400)], reference="E-1"), entry([Paid(120)], reference="E-2")]
    for entries in (other, [*other[:1], entry([Paid(120, reference=pay_in.reference)], reference="E-2")]):
        with pytest.raises(receiving.BankStatementChanged):
            await a_house.receive(statement(entries, number=1, opening=0, closing=520), at=AT)
    after = await a_house.written()
    assert {table for table in after if after[table] != before[table]} <= {"break", "break_step"}
    (again,) = await a_house.receive(bank.written[0], at=AT)
    assert again.is_replayed


async def test_a_notice_that_comes_last_takes_its_entry_out_of_suspense_whole_or_not_at_all(a_house: House) -> None:
    card = await a_house.books.member()
    await a_house.sell(card, 500, "cafe", after=0)
    await a_house.sell(card, 700, "bakery", after=0)
    (run_id,) = await a_house.settle(at=AT)
    await a_house.instruct(run_id, at=AT)
    one, other = await a_house.legs(run_id)
    bare = [entry([Paid(1200)], reference="B-1", bare=True), entry([Paid(90)], reference="B-2", bare=True)]
    (taken,) = await a_house.receive(statement(bare, number=1, opening=0, closing=1290), at=AT)
    assert taken.left_over == 2
    # What sums to nothing of it, is for nothing of ours in part, or is of a number that stands twice, changes nothing.
    for number, told in enumerate(
        ([Paid(600, reference=one.reference), Paid(600)], [Paid(500, reference=one.reference)]), start=1
    ):
        before = await a_house.written()
        await take(a_house, notice([entry(told, reference="B-1")], number=number))
        assert await a_house.written() == before
    paid = [
        Paid(200, reference=one.reference),
        Paid(300, reference=one.reference),
        Paid(700, reference=other.reference),
    ]
    last = notice([entry(paid, reference="B-1"), entry([Paid(90)], reference="B-2")], number=3)
    await take(a_house, last, at=AT + DAY)
    assert await a_house.state(run_id) == "SETTLED"
    assert [(leg.state, leg.left_minor) for leg in await a_house.legs(run_id)] == [("MATCHED", 0)] * 2
    assert [found.state for found in await a_house.breaks()] == ["RESOLVED", "OPEN"]
    before = await a_house.written()
    await take(a_house, last)
    assert await a_house.written() == before
    again = statement(bare[:1], number=2, opening=1290, closing=2490)  # the bank gives its number once more
    (taken,) = await a_house.receive(again, at=AT + 2 * DAY)
    assert (taken.payments, taken.left_over) == (1, 1)


async def test_what_a_notice_told_stands_for_one_entry_alone(a_house: House) -> None:
    _, _, pay_in, _ = await instructed(a_house)
    await take(a_house, notice([entry([Paid(100, reference=pay_in.reference)], reference="NONREF")]))
    bare = entry([Paid(100)], reference="NONREF", bare=True)
    (first,) = await a_house.receive(statement([bare], number=1, opening=0, closing=100), at=AT)
    (second,) = await a_house.receive(statement([bare], number=2, opening=100, closing=200), at=AT)
    assert (first.matched, second.matched, second.left_over) == (1, 0, 1)


async def test_a_notice_that_does_not_sum_to_the_entry_is_not_believed(a_house: House) -> None:
    _, _, pay_in, _ = await instructed(a_house)
    await take(a_house, notice([entry([Paid(500, reference=pay_in.reference)], reference="B-1")]))
    bare = entry([Paid(400)], reference="B-1", bare=True)
    (taken,) = await a_house.receive(statement([bare], number=1, opening=0, closing=400), at=AT)
    assert (taken.payments, taken.left_over) == (1, 1)


GOOD = {
    "camt.053": Bank().statement(Paid(500, reference="RF18X"), Paid(-20), batch=True),
    "camt.054": notice([entry([Paid(500), Paid(3)], reference="B")]),
    "pain.002": report("M-1", {"A": "RJCT", "B": "ACCP"}),
}


@pytest.mark.parametrize("kind", GOOD)
@given(content=st.binary(max_size=60), cut=st.integers(0, 900), place=st.integers(0, 1_500), swaps=st.integers(0, 9))
@settings(max_examples=30)
def test_whatever_a_bank_sends_is_read_or_refused_within_bounded_memory(kind, content, cut, place, swaps):
    good = GOOD[kind]
    spoilt = good[:place] + content + good[place : max(place, len(good) - cut)]
    for n in range(swaps):
        spoilt = spoilt.replace(b">%d" % n, b">-%d9999999999999999999" % n)
    tracemalloc.start()
    try:
        for read in (camt.read, camt.read_notices, lambda source: [pain_reports.read(source)]):
            try:
                list(read(io.BytesIO(spoilt)))
            except BankFileInvalid as no:
                assert len(no.message) < 600
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_bomb_in_a_report_or_a_notice_is_refused_before_it_grows():
    bomb = b"<!DOCTYPE d [<!ENTITY a '" + b"A" * 90 + b"'><!ENTITY b '" + b"&a;" * 90 + b"'>]>"
    for good in (GOOD["camt.054"], GOOD["pain.002"]):
        spoilt = good.replace(b"<?xml version='1.0'?>", bomb).replace(b"<MsgId>", b"<MsgId>&b;")
        for read in (camt.read_notices, lambda source: [pain_reports.read(source)]):
            with pytest.raises(BankFileInvalid):
                list(read(io.BytesIO(spoilt)))
    with pytest.raises(BankFileInvalid):
        pain_reports.read(io.BytesIO(b" " * 100), most_bytes=99)
    assert OWN in GOOD["camt.054"].decode()


async def test_of_a_spoilt_file_of_the_bank_nothing_is_written_but_a_break(a_house: House) -> None:
    draws = Random(11)
    for kind, good in GOOD.items():
        for _ in range(12):
            place, cut = draws.randrange(len(good)), draws.randrange(1, 30)
            spoilt = good[:place] + draws.randbytes(draws.randrange(5)) + good[place + cut :]
            before = await a_house.written()
            try:
                await take(a_house, spoilt)
            except Rejection:
                after = await a_house.written()
                assert {t for t in after if after[t] != before[t]} <= {"break", "break_step"}, kind
