"""kill -9 of whoever renews, at every step of a renewal: charged exactly once, entitled as paid, the books clean."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.charging import tokens
from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault
from members.subscription import entitlements, subscriptions
from settlement import controls, runs
from settlement.money import controls as money_controls
from settlement.subscription import months, rules
from settlement.subscription.rules import FeeRules
from tests.builders import found
from tests.deep import renewing
from tests.gateway import paying
from tests.gateway.paying import STRIPE, YOOKASSA, Server
from tests.members import people
from tests.members.subscribers import START, Club

pytestmark = pytest.mark.deep

ENDS = START + timedelta(days=31)
ENOUGH = 9
"""So many steps a renewal has at least: two transactions of three, a call of two, and a transaction's end."""


@pytest.fixture(scope="module")
def payments() -> Iterator[Server]:
    with paying.serving() as running:
        yield running


async def renewed(url: str, name: str, address: str, to: datetime, last_step: int) -> bool:
    """Whether a process that renews came to its end; False where it died at the step."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.deep.renewing"])
    process = context.Process(target=renewing.renew, args=(url, name, address, to, last_step))
    process.start()
    await asyncio.to_thread(process.join, 120)
    assert process.exitcode in (0, -9), process.exitcode
    return process.exitcode == 0


async def subscribed(database: Database, vault: Vault, name: str, address: str, word: str) -> int:
    """Somebody who has paid a month, in a coalition; what their card does about what comes is the word."""
    await found(database, vault)
    club = Club(database, vault, renewing.opened(name, vault, address))
    await club.open()
    member_id = (await people.enrol(database, vault)).member_id
    for number, script in enumerate(("ok", word)):
        token = f"cus_{member_id}/pm_{script}" if name == STRIPE else f"pm_{script}"
        await club.do(
            subscriptions.give_means, club.provider, member_id, token=tokens.sealed(vault, name, token), mark=None,
            text_version="1",
        )  # fmt: skip
        if number == 0:
            await club.subscribe(member_id)
            await club.pass_time(timedelta(0))
    return member_id


@pytest.mark.parametrize(
    ("name", "word"), [(STRIPE, "ok"), (STRIPE, "silent"), (YOOKASSA, "ok"), (YOOKASSA, "lost"), (STRIPE, "soft-ok")]
)
async def test_whoever_renews_is_killed_at_every_step_and_members_are_charged_once(
    payments: Server, server: postgres.Server, template: str, vault: Vault, name: str, word: str,
    tell: Callable[..., None],
) -> None:  # fmt: skip
    ready, step, crashes, wrong = f"renewal_{name}_{word.replace('-', '_')}", 0, 0, []
    bank = payments.banks[name]
    bank.__init__()  # type: ignore[misc]
    postgres.create_database(server, ready, template=template)
    async with connect(server.url(ready, APPLICATION_ROLE)) as database:
        member_id = await subscribed(database, vault, name, payments.address, word)
    first = dict(bank.payments)
    while True:
        step += 1
        bank.back_to(first)
        postgres.create_database(server, f"{ready}_{step}", template=ready)
        url = server.url(f"{ready}_{step}", APPLICATION_ROLE)
        survived = await renewed(url, name, payments.address, ENDS, step)
        crashes += not survived
        for later in (timedelta(hours=2), timedelta(days=2)):  # whoever comes next, and comes again
            assert await renewed(url, name, payments.address, ENDS + later, 0)
        async with connect(url) as database:
            wrong += [f"step {step}: {what}" for what in await differences(database, bank, member_id)]
        postgres.drop_database(server, f"{ready}_{step}")
        if survived:
            break
    postgres.drop_database(server, ready)
    tell(provider=name, card=word, steps=step - 1, crashes=crashes, violations=len(wrong))
    assert wrong == []
    assert crashes == step - 1 >= ENOUGH


async def differences(database: Database, bank: paying.Bank, member_id: int) -> list[str]:
    """What is not as it should be after a renewal that somebody died in."""
    at, pool, found = ENDS + timedelta(days=2), database.pool, []
    taken = [one.key for one in bank.taken]
    if len(taken) != 2 or len(set(taken)) != 2:
        found.append(f"charged {taken}")
    paid = await pool.fetch("SELECT invoice_no, reference, is_surplus FROM members.fee_payment ORDER BY 1")
    if [(row["invoice_no"], row["is_surplus"]) for row in paid] != [(1, False), (2, False)]:
        found.append(f"payments {[tuple(row) for row in paid]}")
    if {row["reference"] for row in paid} != {one.payment_id for one in bank.taken}:
        found.append("a payment that the provider does not know")
    async with database.reading() as connection:
        [its] = await subscriptions.of_member(connection, member_id)
        entitled = await entitlements.entitled(connection, member_id, at=at)
    if its.status(at) != "ACTIVE" or its.contract.period_index != 1:
        found.append(f"{its.status(at)} in period {its.contract.period_index}")
    if [one.valid_until for one in entitled] != [its.contract.period_end]:
        found.append(f"entitled {entitled}")
    due = await pool.fetch("SELECT kind FROM members.subscription_due ORDER BY 1")
    if [row["kind"] for row in due] != ["NOTICE", "PERIOD"]:
        found.append(f"due {[row['kind'] for row in due]}")
    found += [str(tuple(row)) for row in await pool.fetch("SELECT * FROM ledger.audit()")]
    return found + await _settled(database)


async def _settled(database: Database) -> list[str]:
    """What settlement's controls find after the month of the first fee was closed and its run made."""
    at = datetime(2026, 4, 3, 12, tzinfo=UTC)
    async with database.transaction() as connection:
        number = await rules.propose(
            connection, FeeRules(), currency="EUR", valid_from=date(2026, 3, 1), maker="maker", at=at
        )
        await rules.approve(connection, number, checker="checker", at=at)
        month = await months.close(connection, month=date(2026, 3, 1), currency="EUR", actor="maker", at=at)
    if not 0 < month.pool_micro <= 10_000_000:
        return [f"the month has {month.pool_micro}"]
    await runs.close_cutoff(database, actor="maker", at=at)
    with suppress(runs.NothingToSettle):  # nobody bought anything: the operator keeps the fee
        async with database.transaction() as connection:
            await runs.settle(connection, actor="maker", at=at)
    async with database.transaction() as connection:
        found = [f"{one.code} {one.detail}" for one in await controls.run(connection)]
        return found + await money_controls.violations(connection)
