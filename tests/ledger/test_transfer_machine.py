"""Random histories of several holders who transfer, pool, take back, and are adjusted, against an independent model.

The model shares no line with the ledger: a lot is a Python object that moves from list to list. A transfer's second half
may come at once, much later, twice, or never within the history; accounts close and open meanwhile.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import uuid4

import pytest

from kit.database import Database
from kit.errors import Rejection
from ledger import adjustments, transfers
from ledger.adjustments import AdjustmentExceedsBalance, Grant
from ledger.transfers import Order
from tests.ledger.test_operations import DAY, T0, Holder, open_holder


@dataclass
class ModelLot:
    points: int
    issuer: int
    activates: int
    expires: int
    active: bool
    contributor: int
    order: int = 0
    born: int = 0  # its order with its contributor, where it comes home to

    def facts(self) -> tuple[object, ...]:
        return (self.points, self.issuer, self.activates, self.expires, self.active, self.contributor)


@dataclass
class Letter:
    sender: int
    receiver: int
    lots: list[ModelLot]
    seq: int
    is_gift: bool


@dataclass
class Model:
    """What several people own, day by day."""

    lots: dict[int, list[ModelLot]]
    closed: set[int] = field(default_factory=set)
    letters: list[Letter] = field(default_factory=list)
    made: int = 0

    def settle(self, who: int, day: int) -> None:
        for lot in self.lots[who]:
            lot.active = lot.active or lot.activates <= day
        self.lots[who] = [lot for lot in self.lots[who] if lot.points and lot.expires > day]

    def queue(self, who: int) -> list[ModelLot]:
        return sorted(self.lots[who], key=lambda lot: (lot.expires, lot.order))

    def available(self, who: int) -> int:
        return sum(lot.points for lot in self.lots[who] if lot.active)

    def put(self, who: int, lot: ModelLot) -> None:
        self.made += 1
        lot.order = lot.born = self.made
        self.lots[who].append(lot)

    def take(self, who: int, points: int | None, *, of: int | None = None, pending: bool = False) -> list[ModelLot]:
        """What goes: copies of the lots with the points that left them."""
        gone = []
        for lot in self.queue(who):
            if (lot.active or pending) and (of is None or lot.contributor == of):
                part = lot.points if points is None else min(lot.points, points)
                if part:
                    gone.append(replace(lot, points=part))
                    lot.points -= part
                    points = None if points is None else points - part
        self.lots[who] = [lot for lot in self.lots[who] if lot.points]
        return gone

    def there(self, who: int, *, of: int | None = None, pending: bool = False) -> int:
        return sum(
            lot.points for lot in self.lots[who] if (lot.active or pending) and (of is None or lot.contributor == of)
        )

    def arrive(self, letter: Letter, day: int) -> str:
        self.letters.remove(letter)
        to = letter.sender if letter.receiver in self.closed else letter.receiver
        self.settle(to, day)
        for lot in letter.lots:
            self.made += 1
            if to == letter.sender:  # a gift that comes back was never given
                pass
            elif letter.is_gift:
                lot.contributor, lot.order, lot.born = to, self.made, self.made
            else:
                lot.order = lot.born if lot.contributor == to else self.made
            self.lots[to].append(lot)
        self.settle(to, day)
        return transfers.ARRIVED if to == letter.receiver else transfers.CAME_BACK

    def summary(self, who: int) -> list[tuple[object, ...]]:
        """Lots of equal facts as one: which of them a point is in, nobody can tell."""
        sums: dict[tuple[object, ...], int] = {}
        for lot in self.lots[who]:
            sums[lot.facts()[1:]] = sums.get(lot.facts()[1:], 0) + lot.points
        return sorted((points, *facts) for facts, points in sums.items())


async def owned(holder: Holder) -> list[tuple[object, ...]]:
    rows = await holder.pool.fetch(
        "SELECT sum(remaining)::bigint, issuer_id, activates_at, expires_at, active, coalesce(contributor_id, holder_id)"
        " FROM ledger.lot WHERE holder_id = $1 AND open GROUP BY 2, 3, 4, 5, 6", holder.holder_id,
    )  # fmt: skip
    return sorted((row[0], row[1], (row[2] - T0) // DAY, (row[3] - T0) // DAY, row[4], row[5]) for row in rows)


class Play:
    """One history: every move on both sides, which must agree."""

    def __init__(self, database: Database, holders: list[Holder], dice: random.Random) -> None:
        self.database, self.dice, self.day = database, dice, 0
        self.holders = {holder.holder_id: holder for holder in holders}
        self.model = Model({who: [] for who in self.holders})
        self.expiries = dice.sample(range(10, 910), 900)

    async def step(self) -> None:
        self.day += self.dice.choice((0, 0, 1, 3, 15))
        moves = (
            [self.accrue] * 4 + [self.redeem] * 2 + [self.send] * 5 + [self.complete] * 4 + [self.adjust, self.close]
        )
        await self.dice.choice(moves)()

    def somebody(self) -> int:
        return self.dice.choice(sorted(self.holders))

    async def accrue(self) -> None:
        who, points, issuer = self.somebody(), self.dice.randint(1, 200), self.dice.randint(1, 3)
        activates, expires = self.day + self.dice.choice((0, 0, 5, 14)), self.day + self.expiries.pop()
        self.model.settle(who, self.day)
        self.model.put(who, ModelLot(points, issuer, activates, expires, activates <= self.day, who))
        done = await self.holders[who].accrue(points, day=self.day, activates=activates, expires=expires, issuer=issuer)
        assert done["status"] == 0

    async def redeem(self) -> None:
        who, points = self.somebody(), self.dice.randint(1, 250)
        self.model.settle(who, self.day)
        is_enough = self.model.available(who) >= points
        if is_enough:
            self.model.take(who, points)
        assert (await self.holders[who].redeem(points, day=self.day))["status"] == (0 if is_enough else 3)

    async def send(self) -> None:
        sender = self.somebody()
        receiver = self.dice.choice(sorted(self.holders.keys() - {sender}))
        kind = self.dice.choice(("gift", "contribution", "everything", "own back"))
        points = self.dice.randint(1, 200) if kind in ("gift", "contribution") else None
        order = Order(
            sender, receiver, points, is_whole=True, takes_pending=kind == "everything",
            contributor_ids=[receiver] if kind == "own back" else None, keeps_contributor=kind != "gift",
        )  # fmt: skip
        of, pending = receiver if kind == "own back" else None, kind == "everything"
        if receiver in self.model.closed:
            expected: type[Rejection] | None = transfers.ReceiverClosed
        else:
            self.model.settle(sender, self.day)
            there = self.model.there(sender, of=of, pending=pending)
            expected = transfers.TransferExceedsBalance if there < (points or 1) else None
        at = T0 + self.day * DAY
        try:
            async with self.database.transaction() as connection:
                sent = await transfers.send(
                    connection, order, idem_key=uuid4(), fingerprint=uuid4(), at=at, day=at.date()
                )
        except Rejection as no:
            assert type(no) is expected
            return
        assert expected is None
        lots = self.model.take(sender, points, of=of, pending=pending)
        assert sent.points == sum(lot.points for lot in lots)
        self.model.letters.append(Letter(sender, receiver, lots, sent.seq, kind == "gift"))

    async def complete(self) -> None:
        if not self.model.letters:
            return
        letter = self.dice.choice(self.model.letters)
        how = self.model.arrive(letter, self.day)
        for _ in range(self.dice.choice((1, 1, 2))):
            done = await transfers.complete(self.database, letter.sender, letter.seq, at=T0 + self.day * DAY)
            assert done == how

    async def adjust(self) -> None:
        who, points = self.somebody(), self.dice.choice((-1, 1)) * self.dice.randint(1, 150)
        at, key = T0 + self.day * DAY, uuid4()
        self.model.settle(who, self.day)
        async with self.database.transaction() as connection:
            if points > 0:
                expires = self.day + self.expiries.pop()
                grant = Grant(3, 0, 3, T0 + timedelta(days=expires))
                await adjustments.give(connection, who, points, grant, key=key, at=at)
                self.model.put(who, ModelLot(points, 3, self.day, expires, True, who))
            elif self.model.available(who) >= -points:
                await adjustments.take(connection, who, -points, key=key, at=at)
                self.model.take(who, -points)
            else:
                with pytest.raises(AdjustmentExceedsBalance):
                    await adjustments.take(connection, who, -points, key=key, at=at)

    async def close(self) -> None:
        who = self.somebody()
        is_closed = who not in self.model.closed
        await self.database.pool.execute("SELECT ledger.close_account($1, 1::smallint, $2)", who, is_closed)
        (self.model.closed.add if is_closed else self.model.closed.remove)(who)

    async def agree(self) -> None:
        for who, holder in self.holders.items():
            await holder.sweep(self.day)
            self.model.settle(who, self.day)
            assert await owned(holder) == self.model.summary(who)
            pending = sum(lot.points for lot in self.model.lots[who] if not lot.active)
            assert await holder.balance() == (self.model.available(who), pending)


@pytest.mark.parametrize("seed", range(6))
async def test_random_histories_of_transfers_agree_with_an_independent_model(database: Database, seed: int) -> None:
    for history in range(2):
        play = Play(database, [await open_holder(database.pool) for _ in range(3)], random.Random(f"{seed}.{history}"))
        for step in range(70):
            await play.step()
            if step % 7 == 6:
                await play.agree()
        await play.agree()
    for audit in ("audit()", "audit_accounts(NULL, NULL)", "verify_chains()"):
        assert await database.pool.fetch(f"SELECT * FROM ledger.{audit}") == []
