"""Random histories against an independent model: the same answers, the same lots, and a refusal changes nothing.

The model below shares no line with the ledger: it keeps lots in a list and walks them one by one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from kit.database import Database
from tests.ledger.test_operations import Holder, open_holder


@dataclass
class ModelLot:
    seq: int
    left: int
    activates: int
    expires: int
    active: bool


@dataclass
class ModelHold:
    seq: int
    parts: list[tuple[ModelLot, int]]
    lapses: int
    open: bool = True


@dataclass
class Model:
    """One account as a child would keep it: day by day."""

    seq: int = 0
    lots: list[ModelLot] = field(default_factory=list)
    holds: list[ModelHold] = field(default_factory=list)
    redemptions: dict[int, list[tuple[ModelLot, int]]] = field(default_factory=dict)

    def settle(self, day: int) -> None:
        instants = {lot.activates for lot in self.lots} | {lot.expires for lot in self.lots}
        for instant in sorted(instants | {hold.lapses for hold in self.holds}):
            if instant <= day:
                self._settle_instant(instant)

    def _settle_instant(self, instant: int) -> None:
        ripe = [lot for lot in self.lots if not lot.active and lot.activates <= instant and lot.left]
        for lot in ripe:
            lot.active = True
        self.seq += bool(ripe)
        for hold in self.holds:
            if hold.open and hold.lapses <= instant:
                hold.open = False
                self.seq += 1
                for lot, points in hold.parts:
                    lot.left += points
        self._expire(instant)

    def _expire(self, instant: int) -> None:
        old = [lot for lot in self.lots if lot.left and lot.expires <= instant]
        for lot in old:
            lot.left = 0
        self.seq += bool(old)

    def held(self) -> int:
        return sum(points for hold in self.holds if hold.open for _, points in hold.parts)

    def hold(self, points: int, day: int, days: int) -> tuple[int, int]:
        status, seq = self.redeem(points, day)
        if status == 0:
            self.holds.append(ModelHold(seq, self.redemptions.pop(seq), day + days))
        return status, seq

    def resolve(self, hold: ModelHold, points: int, day: int) -> int:
        if not hold.open or hold.lapses <= day:
            return 9 if hold.lapses <= day and (hold.open or hold.seq not in self.resolved) else 8
        if points > sum(amount for _, amount in hold.parts):
            return 10
        self.settle(day)
        self.seq += 1
        hold.open = False
        self.resolved.add(hold.seq)
        taken = []
        for lot, amount in hold.parts:
            take = min(points, amount)
            points -= take
            lot.left += amount - take
            if take:
                taken.append((lot, take))
        if taken:
            self.redemptions[self.seq] = taken
        for instant in sorted({lot.expires for lot in self.lots if lot.expires <= day}):  # an entry for each
            self._expire(instant)
        return 0

    resolved: set[int] = field(default_factory=set)

    def balance(self) -> tuple[int, int]:
        return sum(lot.left for lot in self.lots if lot.active), sum(lot.left for lot in self.lots if not lot.active)

    def accrue(self, points: int, day: int, activates: int, expires: int) -> int:
        self.settle(day)
        self.seq += 1
        self.lots.append(ModelLot(self.seq, points, activates, expires, activates <= day))
        return self.seq

    def redeem(self, points: int, day: int) -> tuple[int, int]:
        self.settle(day)
        self.seq += 1
        if self.balance()[0] < points:
            return 3, self.seq
        taken = []
        for lot in sorted(self.lots, key=lambda each: (each.expires, each.seq)):
            take = min(lot.left, points) if lot.active else 0
            if take:
                lot.left -= take
                points -= take
                taken.append((lot, take))
        self.redemptions[self.seq] = taken
        return 0, self.seq

    def take_back(self, seq: int, points: int, day: int) -> int:
        self.settle(day)
        self.seq += 1
        lot = next(each for each in self.lots if each.seq == seq)
        taken = min(lot.left, points)
        lot.left -= taken
        return taken

    def refund(self, seq: int, points: int, day: int) -> int:
        if points > sum(amount for _, amount in self.redemptions[seq]):
            return 5
        self.settle(day)
        self.seq += 1
        rest = []
        for lot, amount in reversed(self.redemptions[seq]):
            give = min(points, amount)
            points -= give
            lot.left += give
            if give and lot.expires <= day:
                lot.expires = day + 30
            if amount > give:
                rest.append((lot, amount - give))
        self.redemptions[seq] = list(reversed(rest))
        return 0


async def play(holder: Holder, model: Model, dice: random.Random, steps: int) -> None:
    """One history; after every step the real account and the model agree."""
    day = 0
    for _ in range(steps):
        day += dice.choice((0, 0, 1, 3, 20))
        move = dice.random()
        if move < 0.45:
            points, activates = dice.randint(1, 200), day + dice.choice((-3, 0, 5, 14))
            expires = max(activates, day) + dice.randint(1, 90)
            done = await holder.accrue(points, day=day, activates=activates, expires=expires)
            assert (done["status"], done["seq"]) == (0, model.accrue(points, day, activates, expires))
        elif move < 0.75:
            points = dice.randint(1, 250)
            done = await holder.redeem(points, day=day)
            assert (done["status"], done["seq"]) == model.redeem(points, day)
        elif move < 0.80:
            points, days = dice.randint(1, 200), dice.randint(1, 30)
            done = await holder.hold(points, day=day, days=days)
            assert (done["status"], done["seq"]) == model.hold(points, day, days)
        elif move < 0.88 and model.holds:
            hold, points = dice.choice(model.holds), dice.choice((0, 1, 50, 100, 150))
            call = holder.capture(hold.seq, points, day=day) if points else holder.release(hold.seq, day=day)
            assert (await call)["status"] == model.resolve(hold, points, day)
        elif move < 0.94 and model.lots:
            seq, points = dice.choice(model.lots).seq, dice.randint(1, 250)
            assert (await holder.take_back(seq, points, day=day))["taken"] == model.take_back(seq, points, day)
        elif model.redemptions:
            seq, points = dice.choice(list(model.redemptions)), dice.randint(1, 150)
            assert (await holder.refund(seq, points, day=day))["status"] == model.refund(seq, points, day)
        assert (*await holder.balance(), await holder.held()) == (*model.balance(), model.held())
        assert await holder.lots() == {lot.seq: lot.left for lot in model.lots}


@pytest.mark.parametrize("seed", range(6))
async def test_random_histories_agree_with_an_independent_model(database: Database, seed: int) -> None:
    for history in range(4):
        holder, model = await open_holder(database.pool), Model()
        await play(holder, model, random.Random(f"{seed}.{history}"), 40)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []
