"""Points that go between holders change nothing that anybody owes; adjustments are paid for by whom they name."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest

from kit.database import Database
from ledger import adjustments, transfers
from ledger.adjustments import Grant
from ledger.transfers import Order, Sent
from settlement import archive

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported


async def send(coalition: Coalition, sender: int, receiver: int, points: int | None = None, **how: Any) -> Sent | None:
    """The first half; None where there is nothing to go."""
    order = Order(sender, receiver, points, takes_pending=points is None, **how)
    try:
        async with coalition.database.transaction() as connection:
            return await transfers.send(
                connection, order, idem_key=uuid4(), fingerprint=uuid4(), at=coalition.at, day=coalition.at.date()
            )
    except transfers.TransferExceedsBalance:
        return None


async def arrive(coalition: Coalition, sent: Sent | None) -> None:
    if sent is not None:
        await transfers.complete(coalition.database, sent.sender_id, sent.seq, at=coalition.at)


class Owner:
    """Points that one person owns, in one account or going to and fro between two."""

    def __init__(self, coalition: Coalition, accounts: list[int], dice: random.Random) -> None:
        self.coalition, self.accounts, self.dice = coalition, accounts, dice

    async def move(self) -> None:
        """All points to the other account, pending ones too, a while or a cut-off underway now and then."""
        if len(self.accounts) == 2:
            sent = await send(self.coalition, *self.accounts)
            self.accounts.reverse()
            if self.dice.random() < 0.3:
                await self.coalition.close()
            await arrive(self.coalition, sent)

    async def play(self, terms: dict[str, int], steps: list[tuple[Any, ...]]) -> None:
        for days, what, partner, points, pending, lasts in steps:
            self.coalition.at += days * DAY
            await self.move()
            if what == "earn":
                await self.coalition.earn(
                    self.accounts[0], partner, terms[partner], points, pending_for=pending * DAY, lasts=lasts * DAY
                )
            else:
                await self.coalition.spend(self.accounts[0], partner, terms[partner], points)


def steps_of(dice: random.Random) -> list[tuple[Any, ...]]:
    """A history; every expiry is another day, so that it is told which points go first."""
    lasts = dice.sample(range(5, 400), 40)
    return [
        (dice.choice((0, 1, 4, 9)), dice.choice(("earn", "earn", "spend")), dice.choice("abc"), dice.randint(1, 400),
         dice.choice((0, 0, 3, 14)), lasts[n])
        for n in range(25)
    ]  # fmt: skip


def owed(statements: tuple[archive.Statement, ...]) -> list[tuple[Any, ...]]:
    """What everybody receives and pays, whatever number of postings it took to say so."""
    return sorted(
        (s.partner_id, s.currency, line.kind, line.terms_id or 0, line.points, line.amount_micro, line.amount_minor)
        for s in statements
        for line in s.lines
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in (1, 2, 3))])
async def test_what_is_owed_is_the_same_with_and_without_transfers_in_between(
    coalition: Coalition, database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    terms = {code: await coalition.partner(code, fund=8_000 + n, service=n) for n, code in enumerate("abc")}
    steps = steps_of(dice)
    begin, told, kept_before = coalition.at, [], {}
    for holders in (2, 1):
        coalition.at = begin
        owner = Owner(coalition, [await coalition.member() for _ in range(holders)], dice)
        await owner.play(terms, steps)
        coalition.at = begin + 1000 * DAY
        told.append(owed((await coalition.settle()).statements))
        async with database.reading() as connection:
            kept = {o.terms_id: o.points for o in await archive.obligation(connection)}
        told[-1] += sorted((terms_id, points - kept_before.get(terms_id, 0)) for terms_id, points in kept.items())
        kept_before = kept
        assert await coalition.violations() == []
    assert told[0] == told[1]
    assert len(told[0]) > 3


async def test_points_on_their_way_across_a_settlement_stay_an_obligation(
    coalition: Coalition, database: Database
) -> None:
    a = await coalition.partner("a")
    sender, receiver = await coalition.member(), await coalition.member()
    await coalition.earn(sender, "a", a, 1000)
    await coalition.earn(sender, "a", a, 70, pending_for=14 * DAY)
    sent = await send(coalition, sender, receiver)
    run = await coalition.settle()
    assert [(line.kind, line.points) for line in coalition.of(run, "a").lines] == [("ACTIVATION", 1000)]
    assert await coalition.violations() == []
    await arrive(coalition, sent)
    assert await coalition.violations() == []
    coalition.at += 20 * DAY
    run = await coalition.settle()
    assert [(line.kind, line.points) for line in coalition.of(run, "a").lines] == [("ACTIVATION", 70)]
    async with database.reading() as connection:
        assert [o.points for o in await archive.obligation(connection)] == [1070]
    assert await coalition.violations() == []


async def test_an_activation_elsewhere_is_shown_with_the_receipt_that_earned_it(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    sender, receiver = await coalition.member(), await coalition.member()
    seq = await coalition.earn(sender, "a", a, 70, pending_for=14 * DAY)
    await coalition.receipt(sender, seq, "a", "R-7")
    await arrive(coalition, await send(coalition, sender, receiver))
    coalition.at += 20 * DAY
    run = await coalition.settle()
    statement = coalition.of(run, "a")
    async with coalition.database.transaction() as connection:
        shown = [detail async for detail in archive.detail(connection, statement, id_key=bytes(64))]
    assert [(d.kind, d.reference, d.points, d.business_date) for d in shown] == [
        ("ACTIVATION", "R-7", 70, date(2026, 3, 1))
    ]  # fmt: skip


async def adjust(coalition: Coalition, holder: int, points: int, grant: Grant | None = None) -> None:
    async with coalition.database.transaction() as connection:
        if grant:
            await adjustments.give(connection, holder, points, grant, key=uuid4(), at=coalition.at)
        else:
            await adjustments.take(connection, holder, points, key=uuid4(), at=coalition.at)


@pytest.mark.parametrize("funder", ["a", ""])
async def test_points_given_are_paid_by_their_funder_and_points_taken_paid_back(
    coalition: Coalition, database: Database, funder: str
) -> None:
    a = await coalition.partner("a")
    member, issuer = await coalition.member(), coalition.partners["a"]
    grant = Grant(issuer, coalition.partners.get(funder, 0), a, coalition.at + 365 * DAY)
    await adjust(coalition, member, 100, grant)
    run = await coalition.settle()
    billed = [("ADJUSTMENT", 100, -1_000_000)] if funder else []
    assert [(n.kind, n.points, n.amount_micro) for s in run.statements if s.partner_id for n in s.lines] == billed
    async with database.reading() as connection:
        assert [(o.points, o.amount_micro) for o in await archive.obligation(connection)] == [(100, 850_000)]
    assert await coalition.violations() == []
    await adjust(coalition, member, 40)
    run = await coalition.settle()
    back = [("ADJUSTMENT_TAKEN", 40, 400_000)] if funder else []
    assert [(n.kind, n.points, n.amount_micro) for s in run.statements if s.partner_id for n in s.lines] == back
    async with database.reading() as connection:
        assert [(o.points, o.amount_micro) for o in await archive.obligation(connection)] == [(60, 510_000)]
    assert await coalition.violations() == []
