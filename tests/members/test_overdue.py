"""What is owed and not paid: who is in which step since when, what it waits for, which letters were written."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from kit.database import Database
from kit.secrets import Vault
from members.subscription import charging, overdue, recognition, returns, subscriptions
from members.subscription.charging import Receipt
from members.subscription.invoices import InvoiceNotOpen
from members.subscription.overdue import Overdue
from members.subscription.providers import MANUAL, Answer, Told
from tests.members.subscribers import DAY, START, Club, Scripted, a_club

DUE = START + timedelta(days=31)


template = a_club()


@pytest.fixture
async def desk(database: Database, vault: Vault) -> Club:
    """A programme whose invoices somebody pays at a bank."""
    return Club(database, vault)


@pytest.fixture
async def shop(database: Database, vault: Vault) -> Club:
    """A programme that charges cards."""
    return Club(database, vault, Scripted())


async def owed(club: Club, **asked: Any) -> list[Overdue]:
    given = {"step": None, "currency": None, "after": 0, "limit": 50} | asked
    async with club.database.reading() as connection:
        return await overdue.page(connection, **given, at=club.at)


async def letters(club: Club, invoice_no: int) -> list[tuple[str, int]]:
    """The letters about an invoice, and how many days after its due date each was written."""
    async with club.database.reading() as connection:
        found = (await overdue.notices(connection, [invoice_no]))[invoice_no]
    return [(one.kind, (one.at - DUE).days) for one in found]


async def test_who_owes_is_written_to_once_for_each_step_and_finance_sees_what_it_waits_for(shop: Club) -> None:
    shop.provider.script = ["PAID", "SOFT", "SOFT", "HARD"]  # type: ignore[attr-defined]
    its = await shop.subscribe(await shop.person())
    [first] = await owed(shop)
    assert (first.step, first.waits_for, first.over_at) == ("FIRST_PAYMENT", "CHARGE", START + timedelta(hours=23))
    await shop.pass_time(timedelta(0))
    assert await owed(shop) == []
    await shop.pass_time(DUE)
    [one] = await owed(shop)
    assert (one.step, one.since, one.waits_for, one.next_try_at, one.over_at, one.tries, one.last_outcome) == (
        "GRACE", DUE, "CHARGE", DUE + DAY, DUE + 21 * DAY, 1, "SOFT"
    )  # fmt: skip
    assert (one.invoice_no, one.gross_minor, one.plan, one.holder_id) == (2, 1000, "plus", its.holder_id)
    await shop.pass_time(DUE + 8 * DAY)
    [one] = await owed(shop)
    assert (one.step, one.since, one.waits_for, one.next_try_at, one.tries) == (
        "ON_HOLD", DUE + 7 * DAY, "MEANS", None, 3
    )  # fmt: skip
    assert await owed(shop, step="GRACE") == await owed(shop, after=2) == await owed(shop, currency="USD") == []
    async with shop.database.reading() as connection:
        assert await overdue.sums(connection, at=shop.at) == [("EUR", "ON_HOLD", 1, 1000)]
    await shop.pass_time(DUE + 30 * DAY)
    assert (await owed(shop), await shop.status(its)) == ([], "ENDED")
    assert await letters(shop, 2) == [("RENEWAL", -7), ("UNPAID", 0), ("ON_HOLD", 7), ("ENDED", 21)]
    assert [(each.step, each.amount_minor, each.over_at) for each in shop.reminded] == [
        ("UNPAID", 1000, DUE + 21 * DAY), ("ON_HOLD", 1000, DUE + 21 * DAY), ("ENDED", 1000, DUE + 21 * DAY),
    ]  # fmt: skip


async def test_nobody_is_written_to_while_the_provider_has_yet_to_say_what_became_of_a_charge(shop: Club) -> None:
    shop.provider.script = ["PAID", "SOFT", "SILENT"]  # type: ignore[attr-defined]
    await shop.subscribe(await shop.person())
    await shop.pass_time(timedelta(0))
    await shop.pass_time(DUE)
    provider: Scripted = shop.provider  # type: ignore[assignment]
    provider.script = ["PENDING"]
    await shop.pass_time(DUE + 8 * DAY)
    [one] = await owed(shop)
    assert (one.step, one.waits_for) == ("ON_HOLD", "PROVIDER")
    assert await letters(shop, 2) == [("RENEWAL", -7), ("UNPAID", 0)]
    for key, answer in provider.taken.items():
        provider.taken[key] = answer if answer.state != "PENDING" else Answer("PAID", f"late-{key}")
    await shop.pass_time(DUE + 20 * DAY)
    assert (await owed(shop), len(await letters(shop, 2))) == ([], 2)


async def test_whoever_pays_at_a_bank_is_reminded_after_three_days_and_not_once_it_came(desk: Club) -> None:
    await desk.subscribe(await desk.person())
    await desk.receive(1)
    await desk.pass_time(DUE + 2 * DAY)
    assert await letters(desk, 2) == [("RENEWAL", -7)]
    await desk.pass_time(DUE + 4 * DAY)
    [one] = await owed(desk)
    assert (one.step, one.waits_for, one.next_try_at) == ("GRACE", "MONEY", None)
    assert await letters(desk, 2) == [("RENEWAL", -7), ("UNPAID", 3)]
    await desk.receive(2)
    await desk.pass_time(DUE + 25 * DAY)
    assert (await owed(desk), await letters(desk, 2)) == ([], [("RENEWAL", -7), ("UNPAID", 3)])


async def test_finance_reads_what_is_deferred_and_recognised_on_any_day_and_what_went_back(shop: Club) -> None:
    """B-9 and B-10 as finance reads them: 120.00 for a year, left after 100 days; a bank takes another payment back."""
    reader, other = await shop.person(), await shop.person()
    its = await shop.subscribe(reader, interval="YEAR")
    await shop.pass_time(timedelta(hours=1))
    await shop.pass_time(START + 100 * DAY)
    await shop.do(subscriptions.cancel, reader, its.subscription_no, at_once=True)
    await shop.pass_time(timedelta(hours=1))
    await shop.subscribe(other)
    await shop.pass_time(timedelta(hours=1))
    key = shop.provider.charged[-1]  # type: ignore[attr-defined]
    await shop.pass_time(5 * DAY)
    await shop.do(charging.hear, shop.provider, [Told(key, "CHARGEBACK", f"pay-{key}")])
    first = START.date()
    days = [first, first + DAY, first + 31 * DAY, first + 100 * DAY, first + 101 * DAY, first + 110 * DAY]
    async with shop.database.reading() as connection:
        told = await recognition.standings(connection, "EUR", days, zone="UTC")
        both = await recognition.stretches(connection, "EUR", days[2:4], zone="UTC")
        notes = await returns.notes(connection, kind=None, currency="EUR", before=None, limit=9)
        back = await returns.refunds(connection, is_done=True, currency="EUR", before=None, limit=9)
        waiting = await returns.refunds(connection, is_done=False, currency=None, before=None, limit=9)
        came = await returns.came(connection, [1, 2])
    # 120.00 over 365 days: 32 cents a day, and 33 on the first 320 of them.
    assert [one.recognised_minor for one in told[:4]] == [0, 33, 31 * 33, 100 * 33]
    assert [one.deferred_minor for one in told[:4]] == [0, 12_000 - 33, 12_000 - 31 * 33, 12_000 - 100 * 33]
    assert (both[0].brought.recognised_minor, both[0].deferred_minor) == (69 * 33, 12_000 - 100 * 33)
    left, last = told[4], told[5]
    assert (left.credited_minor, left.refunded_minor) == (12_000 - 3_300, 12_000 - 3_300)
    # 10.00 of a month, begun on its first day and taken back on the sixth: five days are served, and lost.
    served = 5 * 33 + min(5, 1000 - 30 * 33)
    assert (last.recognised_minor, last.deferred_minor, last.lost_minor) == (3_300 + served, 0, served)
    assert [(one.kind, one.lost_minor) for one in notes] == [("CHARGEBACK", served), ("UNSERVED", 0)]
    assert [(one.amount_minor, one.reason, one.actor) for one in back] == [(8_700, "CREDIT_NOTE", "scripted")]
    assert (waiting, [one.charging_minor for one in came]) == ([], [30, 30])
    assert first == date(2026, 3, 1)


async def test_of_many_at_once_one_receipt_and_one_chargeback_are_written(desk: Club) -> None:
    its = await desk.subscribe(await desk.person())
    receipts = [Receipt(1, 1000, f"bank-{number}", "statement 7") for number in range(5)]
    told = await asyncio.gather(
        *(desk.do(charging.record_receipt, MANUAL, one, actor="maker") for one in receipts), return_exceptions=True
    )
    assert [isinstance(one, InvoiceNotOpen) for one in told].count(True) == 4
    back = await asyncio.gather(
        *(desk.do(charging.record_chargeback, 1, reference=f"r-{n}", actor="maker") for n in range(5))
    )
    assert {one.state for one in back} == {"CREDITED"}
    counted = "SELECT (SELECT count(*) FROM members.fee_payment), (SELECT count(*) FROM members.credit_note)"
    assert tuple(await desk.database.pool.fetchrow(counted)) == (1, 1)
    trail = "SELECT count(*) FROM kit.audit_trail WHERE action IN ('FEE_RECEIVED', 'FEE_CHARGED_BACK')"
    assert await desk.database.pool.fetchval(trail) == 2
    assert await desk.status(its) == "ENDED"
