"""A town whose operator settles: people of finance and of agreements, a run that is over, and more to be settled."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from kit import actors, postgres
from kit.secrets import Vault
from ledger import cutoffs
from settlement import archive, breakage, runs
from settlement.bank import accounts, bank_files, details, paying
from settlement.rating import OPERATOR
from settlement.reconciliation import disputes, register
from settlement.reconciliation.breaks import Category
from settlement.reconciliation.register import NewBreak
from tests.builders import a_receipt
from tests.gateway import town
from tests.gateway.test_session_matrix import colleague
from tests.gateway.town import HOSTILE, Town
from tests.settlement.bank_files import OWN, Bank, Paid
from tests.settlement.reconciling import IBANS

STAFF = {
    "mila": [actors.FINANCE_MAKER],
    "chen": [actors.FINANCE_CHECKER],
    "dora": [actors.FINANCE_MAKER, actors.FINANCE_CHECKER, actors.AGREEMENT_MAKER],
    "abel": [actors.AGREEMENT_CHECKER],
    "cara": [actors.MEMBER_CARE_MAKER],
}
FEE = "fee@example.org"


def address(name: str) -> str:
    """Where somebody is written to."""
    return f"{name}@example.org"


@asynccontextmanager
async def opened(server: postgres.Server, template: str, vault: Vault) -> AsyncIterator[Town]:
    """A town with a first run, approved, and a second month of trade behind it."""
    async with town.opened(server, template, vault, f"console_{os.getpid()}") as place:
        for name, roles in STAFF.items():
            await place.desk.invite(name, address(name), roles)
        await colleague(place.desk, "bakery", "Fee", FEE, "FINANCE")
        await _later(place, days=20)
        await _settled(place)
        await _disputed(place)
        await _trade(place)
        await _later(place, days=20)
        await _differ(place)
        await _banked(place)
        yield place


async def _later(place: Town, *, days: int) -> None:
    place.desk.wall.move(days=days)
    await place.desk.at_wall()


async def _settled(place: Town) -> None:
    """A run that one person made and another approved when its review was over."""
    database, at = place.desk.database, place.desk.wall()
    await cutoffs.close(database, at=at)
    async with database.transaction() as connection:
        [run] = await runs.settle(connection, actor="mila", at=at)
        await breakage.estimate(connection, as_of=at, actor="mila", at=at)
        over = at + timedelta(days=15)
        await runs.approve(connection, run.head.run_id, actor="chen", at=over)
    place.desk.wall.move(days=15)
    await place.desk.at_wall()


async def _trade(place: Town) -> None:
    """Points spent at another partner than gave them, and a sale at the place with the wicked name."""
    await place.fair.market.desk.directory.refresh()
    at = place.desk.wall()
    for number, cents in enumerate((4_000, 9_900)):
        receipt = a_receipt(cents, reference=f"H-{number}", at=at)
        await place.fair.market.buy(place.card, receipt, partner="grocer")
    receipt = a_receipt(6_000, reference="H-9", at=at)
    await place.fair.market.buy(place.card, receipt, partner="bakery", spend=300)
    receipt = a_receipt(7_500, reference="H-10", outlet="x", at=at)
    await place.fair.market.buy(place.card, receipt, partner="bakery")


async def _differ(place: Town) -> None:
    """Two receipts of the bakery's of which its own file says something else."""
    bakery = place.fair.coalition.callers["bakery"].partner_id
    found = [
        NewBreak(
            f"test:{number}", "FILE", Category.QUANTITY, partner_id=bakery, currency="EUR", points=number,
            value_micro=number * 10_000, detail={"reference": f"B-{number}"},
        )
        for number in (1, 2)
    ]  # fmt: skip
    async with place.desk.database.transaction() as connection:
        await register.open_breaks(connection, found, at=place.desk.wall())


async def _banked(place: Town) -> None:
    """Where the operator and its partners are paid, the first run's files, and what the bank says of it: one payment
    that is for something, and one of which nobody knows."""
    database, at = place.desk.database, place.desk.wall()
    parties = {OPERATOR: OWN}
    for code, iban in zip(("bakery", "grocer"), IBANS.values(), strict=False):
        parties[place.fair.coalition.callers[code].partner_id] = iban
    async with database.transaction() as connection:
        for party_id, iban in parties.items():
            account = accounts.account("Somebody", iban)
            number = await details.propose(connection, party_id, account, currency="EUR", maker="mila", at=at)
            await details.decide(connection, number, approved=True, checker="chen", at=at)
        await paying.instruct(connection, 1, actor="mila", at=at)
        legs = await paying.page(connection, partner_id=None, before=None, limit=1)
    content = Bank().statement(Paid(legs[0].amount_minor, reference=legs[0].reference), Paid(777))
    await bank_files.receive(database, io.BytesIO(content), actor="mila", at=at)


async def _disputed(place: Town) -> None:
    """What the bakery says is wrong with its statement of the first run, soon after it was issued."""
    bakery, at = place.fair.coalition.callers["bakery"].partner_id, place.desk.wall()
    async with place.desk.database.transaction() as connection:
        [statement] = await archive.statements_page(connection, run_id=1, partner_id=bakery, before=None, limit=1)
        await disputes.dispute(
            connection, statement.statement_id, 1, partner_id=bakery, reason="D03", amount_minor=1, note=HOSTILE,
            actor="bakery/fee", at=at,
        )  # fmt: skip
