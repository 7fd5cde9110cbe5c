"""Batches of many accounts write and answer what their items would one by one, and agree with the model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from uuid import UUID, uuid4

import asyncpg
import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from ledger import batches
from ledger.batches import ASK_AGAIN, CAPTURE, HOLD, REDEMPTION, RELEASE, Outcome, Resolution, Return, Spending
from tests.ledger.test_ledger_machine import Model
from tests.ledger.test_operations import DAY, NOTHING, T0, Holder, open_holder

Item = Spending | Resolution | Return
NOBODY = 404
_numbers = count(1)


def on(day: int) -> datetime:
    """The instant that a day begins."""
    return T0 + day * DAY


async def together(pool: asyncpg.Pool, items: Sequence[Item], day: int) -> list[Outcome]:
    """The answers of one batch; its items are of one kind."""
    if isinstance(items[0], Spending):
        return await batches.spend(pool, items, at=on(day), day=on(day).date())  # type: ignore[arg-type]
    if isinstance(items[0], Resolution):
        return await batches.resolve(pool, items, at=on(day))  # type: ignore[arg-type]
    return await batches.take_back(pool, items, at=on(day))  # type: ignore[arg-type]


async def alone(pool: asyncpg.Pool, item: Item, day: int) -> Outcome:
    """The answer of the single call."""
    if isinstance(item, Spending):
        row = await pool.fetchrow(
            "SELECT * FROM ledger.spend($1, $2, 1::smallint, $3, $4, $5, $6, $7, $8, $9, $10)",
            item.kind, item.holder_id, item.points, item.lapses_at, item.partner_id, item.terms_id, item.idem_key,
            item.fingerprint, on(day), on(day).date(),
        )  # fmt: skip
    elif isinstance(item, Resolution):
        row = await pool.fetchrow(
            "SELECT * FROM ledger.resolve_hold($1, $2, 1::smallint, $3, $4, $5, $6, $7, $8, $9)",
            item.kind, item.holder_id, item.hold_seq, item.points, item.partner_id, item.terms_id, item.idem_key,
            item.fingerprint, on(day),
        )  # fmt: skip
    else:
        row = await pool.fetchrow(
            "SELECT * FROM ledger.return_accrual($1, 1::smallint, $2, $3, $4, $5, $6, $7, $8, $9)",
            item.holder_id, item.accrual_seq, list(item.lot_points), list(item.lot_points.values()), item.partner_id,
            item.idem_key, item.fingerprint, on(day), item.shortfall,
        )  # fmt: skip
    returned = (row.get(name) for name in ("taken", "owed", "forgiven"))
    return Outcome(row["status"], row["seq"], row["available"], row["pending"], *returned)


def redemption(holder_id: int, points: int, *, key: UUID | None = None) -> Spending:
    return Spending(holder_id, REDEMPTION, points, 2, 2, key or uuid4(), NOTHING)


def hold(holder_id: int, points: int, *, until: int, key: UUID | None = None) -> Spending:
    return Spending(holder_id, HOLD, points, 2, 2, key or uuid4(), NOTHING, on(until))


def capture(holder_id: int, seq: int, points: int, *, key: UUID | None = None) -> Resolution:
    return Resolution(holder_id, CAPTURE, seq, points, 2, 2, key or uuid4(), NOTHING)


def release(holder_id: int, seq: int, *, key: UUID | None = None) -> Resolution:
    return Resolution(holder_id, RELEASE, seq, 0, 2, 2, key or uuid4(), NOTHING)


def taking_back(holder_id: int, seq: int, points: int, *, key: UUID | None = None, shortfall: int = 0) -> Return:
    return Return(holder_id, seq, {1: points}, 1, key or uuid4(), NOTHING, shortfall)


async def sound(pool: asyncpg.Pool) -> None:
    assert await pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await pool.fetch("SELECT * FROM ledger.verify_chains()") == []


# --- A batch and its twin -------------------------------------------------------------------------------------


@pytest.fixture
def twin_name(server: postgres.Server, template: str) -> Iterator[str]:
    """A second database like the first, for the single calls."""
    name = f"twin_{next(_numbers)}"
    postgres.create_database(server, name, template=template)
    yield name
    postgres.drop_database(server, name)


@pytest.fixture
async def twin(server: postgres.Server, twin_name: str) -> AsyncIterator[Database]:
    async with connect(server.url(twin_name, APPLICATION_ROLE)) as opened:
        yield opened


@dataclass
class Twins:
    """Random items of a few accounts, done in batches in the one database and one by one in the other."""

    at_once: asyncpg.Pool
    one_by_one: asyncpg.Pool
    dice: random.Random
    holders: list[int]
    day: int = 0
    keys: Iterator[int] = field(default_factory=lambda: count(1))
    done: list[Item] = field(default_factory=list)
    holds: list[tuple[int, int]] = field(default_factory=list)
    accruals: list[tuple[int, int]] = field(default_factory=list)
    statuses: set[tuple[str, int]] = field(default_factory=set)

    async def accrue(self) -> None:
        """Some accounts get an accrual of one to three lots in both databases."""
        for holder_id in self.dice.sample(self.holders, 4):
            n, key = self.dice.randint(1, 3), UUID(int=next(self.keys))
            activates = [self.day + self.dice.choice((-2, 0, 3, 9)) for _ in range(n)]
            expires = [max(self.day, start) + self.dice.randint(1, 60) for start in activates]
            parties = [self.dice.randint(1, 3) for _ in range(n)]
            points = [self.dice.randint(1, 120) for _ in range(n)]
            for pool in (self.at_once, self.one_by_one):
                row = await pool.fetchrow(
                    "SELECT * FROM ledger.accrue($1, 1::smallint, 1, $2, $3, $4, $5, $5, $5, $6, $7, $8)",
                    holder_id, key, NOTHING, on(self.day), parties, points, [on(day) for day in activates],
                    [on(day) for day in expires],
                )  # fmt: skip
                assert row["status"] == 0
            self.accruals.append((holder_id, row["seq"]))

    def items(self, kind: type[Item]) -> list[Item]:
        """A batch of one kind: mostly one item of an account, some repeated, some of nobody, some impossible."""
        made = [self._item(kind) for _ in range(self.dice.randint(1, 14))]
        known = [item for item in self.done if isinstance(item, kind)]
        for _ in range(self.dice.randint(0, 3)):
            if known:
                again = self.dice.choice(known)
                made.append(replace(again, fingerprint=UUID(int=7)) if self.dice.random() < 0.3 else again)
        self.dice.shuffle(made)
        return made

    def _item(self, kind: type[Item]) -> Item:
        key, dice = UUID(int=next(self.keys)), self.dice
        holder_id = NOBODY if dice.random() < 0.06 else dice.choice(self.holders)
        if kind is Spending:
            points = dice.choice((1, dice.randint(1, 100), dice.randint(50, 400)))
            is_hold = dice.random() < 0.5
            return Spending(
                holder_id, HOLD if is_hold else REDEMPTION, points, dice.choice((2, 3)), dice.choice((2, 3)), key,
                NOTHING, on(self.day + dice.randint(1, 12)) if is_hold else None,
            )  # fmt: skip
        if kind is Resolution:
            holder_id, seq = dice.choice(self.holds[-25:] or [(holder_id, 1)])
            captures = dice.random() < 0.6
            points = dice.choice((0, 1, 20, 60, 150, 300)) if captures else 0
            return Resolution(
                holder_id, CAPTURE if captures else RELEASE, seq, points, dice.choice((2, 2, 3)), 5, key, NOTHING
            )
        holder_id, seq = (
            dice.choice(self.accruals) if holder_id != NOBODY and dice.random() < 0.9 else (holder_id, 10_000)
        )
        lots = {lot_no: dice.randint(0, 90) for lot_no in dice.sample((1, 2, 3, 4), dice.randint(0, 4))}
        return Return(holder_id, seq, lots, 4, key, NOTHING, dice.randrange(3))

    async def play(self, items: list[Item]) -> None:
        """A batch, and what was to be asked again in another, against the single calls in the same order."""
        waiting = items
        while waiting:
            answers = await together(self.at_once, waiting, self.day)
            seen: set[int] = set()
            for item, answer in zip(waiting, answers, strict=True):
                self.statuses.add((type(item).__name__, answer.status))
                if answer.status == ASK_AGAIN:
                    assert item.holder_id in seen
                    continue
                single = await alone(self.one_by_one, item, self.day)
                assert answer == single, item
                seen.add(item.holder_id)
                self._remember(item, answer)
            waiting = [item for item, answer in zip(waiting, answers, strict=True) if answer.status == ASK_AGAIN]

    def _remember(self, item: Item, answer: Outcome) -> None:
        if answer.status not in (0, 3):
            return
        self.done.append(item)
        if answer.status == 0 and isinstance(item, Spending) and item.kind == HOLD:
            assert answer.seq is not None
            self.holds.append((item.holder_id, answer.seq))

    async def compare(self) -> None:
        """Both databases hold the same rows, hashes and all."""
        for table in ("account", "journal", "posting", "lot", "hold", "shortfall"):
            statement = f"SELECT to_jsonb(t) - 'xid' AS row FROM ledger.{table} t ORDER BY 1"
            rows = [await pool.fetch(statement) for pool in (self.at_once, self.one_by_one)]
            assert rows[0] == rows[1], table


async def _cap_and_lock(server: postgres.Server, name: str, capped: Sequence[int], locked: int) -> None:
    owner = await asyncpg.connect(server.dsn(name, server.superuser))
    await owner.execute("UPDATE ledger.account SET daily_cap = 90 WHERE holder_id = ANY ($1)", list(capped))
    await owner.execute("UPDATE ledger.account SET spend_locked = true WHERE holder_id = $1", locked)
    await owner.close()


# Every answer that the single calls know, and the one that only a batch gives.
ANSWERS = {
    *(("Spending", status) for status in (0, 1, 2, 3, 4, 6, 7, ASK_AGAIN)),
    *(("Resolution", status) for status in (0, 1, 2, 5, 8, 9, 10, ASK_AGAIN)),
    *(("Return", status) for status in (0, 1, 2, 4, 5, ASK_AGAIN)),
}


async def test_random_batches_write_and_answer_what_the_single_calls_do(
    database: Database, twin: Database, server: postgres.Server, database_name: str, twin_name: str
) -> None:
    statuses: set[tuple[str, int]] = set()
    for seed in range(4):
        pools = database.pool, twin.pool
        opened = [await pool.fetch("SELECT ledger.open_accounts(9, 1::smallint)") for pool in pools]
        assert opened[0] == opened[1]
        holders = [row[0] for row in opened[0]]
        for name in (database_name, twin_name):
            await _cap_and_lock(server, name, holders[:2], holders[2])
        twins = Twins(*pools, random.Random(seed), holders, keys=count(seed * 1_000_000 + 1))
        for _ in range(30):
            twins.day += twins.dice.choice((0, 0, 1, 4, 11))
            await twins.accrue()
            await twins.play(twins.items(twins.dice.choice((Spending, Spending, Resolution, Return))))
        await twins.compare()
        statuses |= twins.statuses
    assert statuses >= ANSWERS
    await sound(database.pool)
    await sound(twin.pool)


# --- A batch and the model ------------------------------------------------------------------------------------


async def _redeem_many(pool: asyncpg.Pool, dice: random.Random, of: dict[int, tuple[Holder, Model]], day: int) -> None:
    items, expected = [], []
    for holder_id, (_, model) in of.items():
        points, days = dice.randint(1, 250), dice.randint(1, 30)
        if dice.random() < 0.5:
            items.append(redemption(holder_id, points))
            expected.append(model.redeem(points, day))
        else:
            items.append(hold(holder_id, points, until=day + days))
            expected.append(model.hold(points, day, days))
    assert [(one.status, one.seq) for one in await together(pool, items, day)] == expected


async def _resolve_many(pool: asyncpg.Pool, dice: random.Random, of: dict[int, tuple[Holder, Model]], day: int) -> None:
    items, expected = [], []
    for holder_id, (_, model) in of.items():
        if model.holds:
            chosen, points = dice.choice(model.holds[-2:]), dice.choice((0, 1, 50, 100, 150))
            items.append(capture(holder_id, chosen.seq, points) if points else release(holder_id, chosen.seq))
            expected.append(model.resolve(chosen, points, day))
    if items:
        assert [one.status for one in await together(pool, items, day)] == expected


async def _return_many(pool: asyncpg.Pool, dice: random.Random, of: dict[int, tuple[Holder, Model]], day: int) -> None:
    items, expected = [], []
    for holder_id, (_, model) in of.items():
        if model.lots:
            seq, points = dice.choice(model.lots).seq, dice.randint(1, 250)
            shortfall = dice.randrange(3)
            items.append(taking_back(holder_id, seq, points, shortfall=shortfall))
            expected.append(model.take_back(seq, points, day, shortfall))
    if items:
        assert [(one.taken, one.owed, one.forgiven) for one in await together(pool, items, day)] == expected


@pytest.mark.parametrize("seed", range(4))
async def test_random_batches_agree_with_an_independent_model(database: Database, seed: int) -> None:
    dice, day = random.Random(seed), 0
    of: dict[int, tuple[Holder, Model]] = {}
    for _ in range(6):
        holder = await open_holder(database.pool)
        of[holder.holder_id] = holder, Model()
    for _ in range(60):
        day += dice.choice((0, 0, 0, 1, 3, 20))
        for holder, model in of.values():
            if dice.random() < 0.5:
                points, activates = dice.randint(1, 200), day + dice.choice((-3, 0, 5, 14))
                expires = max(activates, day) + dice.randint(1, 90)
                done = await holder.accrue(points, day=day, activates=activates, expires=expires)
                assert done["seq"] == model.accrue(points, day, activates, expires)
        chosen = dict(dice.sample(sorted(of.items(), key=lambda each: each[0]), dice.randint(1, len(of))))
        move = dice.choice((_redeem_many, _redeem_many, _resolve_many, _resolve_many, _return_many))
        await move(database.pool, dice, chosen, day)
        for holder, model in of.values():
            assert (*await holder.balance(), await holder.held()) == (*model.balance(), model.held())
            assert await holder.lots() == {lot.seq: lot.left for lot in model.lots}
    await sound(database.pool)


# --- What a batch promises beside -------------------------------------------------------------------------------


async def test_of_two_items_of_an_account_the_first_is_done_and_the_second_is_asked_again(database: Database) -> None:
    holder, other = await open_holder(database.pool), await open_holder(database.pool)
    for each in (holder, other):
        await each.accrue(100)
    items = [
        redemption(holder.holder_id, 60), redemption(holder.holder_id, 60), redemption(other.holder_id, 60),
        redemption(holder.holder_id, 10),
    ]  # fmt: skip
    first = await together(database.pool, items, 0)
    assert [one.status for one in first] == [0, ASK_AGAIN, 0, ASK_AGAIN]
    assert await holder.balance() == await other.balance() == (40, 0)
    second = await together(database.pool, [items[1], items[3]], 0)
    assert [one.status for one in second] == [3, ASK_AGAIN]
    assert [one.status for one in await together(database.pool, items, 0)] == [0 + 1, 3, 1, 0]
    await sound(database.pool)


async def test_of_two_resolutions_or_returns_of_an_account_the_second_is_asked_again_too(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100)
    holds = [(await holder.hold(10))["seq"] for _ in range(2)]
    for batch in (
        [capture(holder.holder_id, holds[0], 10), release(holder.holder_id, holds[1])],
        [taking_back(holder.holder_id, 1, 10), taking_back(holder.holder_id, 1, 20)],
    ):
        assert [one.status for one in await together(database.pool, batch, 0)] == [0, ASK_AGAIN]
        assert [one.status for one in await together(database.pool, batch, 0)] == [1, 0]
    assert (await holder.balance(), await holder.held()) == ((60, 0), 0)
    await sound(database.pool)


async def test_points_forgiven_in_a_batch_that_come_back_are_not_taken_a_second_time(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100)
    spent = (await holder.redeem(100))["seq"]
    for expected in ((0, 0, 100), (0, 0, 0)):
        [told] = await together(database.pool, [taking_back(holder.holder_id, 1, 100, shortfall=2)], 0)
        assert (told.taken, told.owed, told.forgiven) == expected
        await holder.refund(spent, 100)
    assert await holder.balance() == (100, 0)
    await sound(database.pool)


async def test_a_batch_repeated_answers_as_the_first_time(database: Database) -> None:
    holders = [await open_holder(database.pool) for _ in range(3)]
    for holder in holders:
        await holder.accrue(100)
    batch: list[Item] = [
        hold(holder.holder_id, points, until=5) for holder, points in zip(holders, (60, 200, 100), strict=True)
    ]
    first = await together(database.pool, batch, 0)
    assert [one.status for one in first] == [0, 3, 0]
    assert [one.status for one in await together(database.pool, batch, 1)] == [1, 3, 1]
    placed = [(holders[0], 60), (holders[2], 100)]
    batch = [capture(holder.holder_id, 2, points - 20) for holder, points in placed]
    first = await together(database.pool, batch, 1)
    again = await together(database.pool, batch, 2)
    assert [(one.seq, one.available, one.pending) for one in again] == [
        (one.seq, one.available, one.pending) for one in first
    ]
    assert [one.status for one in again] == [1, 1]
    batch = [taking_back(holder.holder_id, 1, 70) for holder in holders]
    first = await together(database.pool, batch, 2)
    assert [one.taken for one in first] == [60, 70, 20]
    assert [replace(one, status=0) for one in await together(database.pool, batch, 3)] == first
    await sound(database.pool)


async def test_a_capture_that_frees_points_of_an_expired_lot_tells_and_retells_what_is_left(database: Database) -> None:
    holders = [await open_holder(database.pool) for _ in range(2)]
    for holder in holders:
        await holder.accrue(100, expires=10)
        await holder.accrue(7, expires=90)
        await holder.hold(60, day=9, days=5)
    batch = [capture(holder.holder_id, 3, 40) for holder in holders]
    first = await together(database.pool, batch, 12)
    assert [(one.status, one.available) for one in first] == [(0, 7), (0, 7)]
    for holder in holders:
        assert [entry[:2] for entry in (await holder.entries())[3:]] == [(7, 40), (5, 60), (7, 20)]
    again = await together(database.pool, batch, 12)
    assert [(one.status, one.available, one.seq) for one in again] == [(1, 7, one.seq) for one in first]
    await sound(database.pool)


async def test_an_empty_batch_is_answered_with_nothing(database: Database) -> None:
    assert await batches.spend(database.pool, [], at=T0, day=T0.date()) == []
    assert await batches.resolve(database.pool, [], at=T0) == []
    assert await batches.take_back(database.pool, [], at=T0) == []


async def test_an_account_whose_lots_do_not_hold_what_it_says_stops_the_whole_batch(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    holders = [await open_holder(database.pool) for _ in range(2)]
    for holder in holders:
        await holder.accrue(100)
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE ledger.account SET available = 150 WHERE holder_id = $1", holders[1].holder_id)
    await owner.close()
    with pytest.raises(asyncpg.PostgresError, match="ledger corrupt") as raised:
        await together(
            database.pool, [redemption(holder.holder_id, 120 if holder is holders[1] else 10) for holder in holders], 0
        )
    assert raised.value.sqlstate == "LX001"
    assert await holders[0].balance() == (100, 0)
    assert len(await holders[0].entries()) == 1


async def test_a_spend_lock_and_a_daily_cap_bind_batches_too(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    locked, capped = await open_holder(database.pool), await open_holder(database.pool)
    for holder in (locked, capped):
        await holder.accrue(200)
    await _cap_and_lock(server, database_name, [capped.holder_id], locked.holder_id)
    for points, expected in ((91, 7), (60, 0), (31, 7), (30, 0), (1, 7)):
        batch = [redemption(locked.holder_id, points), redemption(capped.holder_id, points)]
        assert [one.status for one in await together(database.pool, batch, 0)] == [6, expected]
    assert [one.status for one in await together(database.pool, [redemption(capped.holder_id, 90)], 1)] == [0]
    assert (await locked.balance(), await capped.balance()) == ((200, 0), (20, 0))
    assert len(await locked.entries()) == 1
    await sound(database.pool)


async def test_a_decline_in_a_batch_does_not_count_for_the_day(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(80)
    await _cap_and_lock(server, database_name, [holder.holder_id], 0)
    assert [
        (await together(database.pool, [redemption(holder.holder_id, points)], 0))[0].status for points in (5, 76, 75)
    ] == [0, 3, 0]
    await sound(database.pool)


async def test_a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself_in_batches_too(
    database: Database,
) -> None:
    holder, late = await open_holder(database.pool), await open_holder(database.pool)
    for each in (holder, late):
        await each.accrue(100)
    await holder.hold(60, days=5)
    await late.hold(60, days=1)

    async def said(item: Resolution) -> int:
        return (await together(database.pool, [item, capture(late.holder_id, 2, 60)], 1))[0].status

    assert await said(replace(capture(holder.holder_id, 2, 10), partner_id=3)) == 5
    assert await said(capture(holder.holder_id, 99, 10)) == 5
    assert await said(capture(holder.holder_id, 2, 61)) == 10
    assert await said(capture(holder.holder_id, 2, 0)) == 5
    assert (await together(database.pool, [capture(late.holder_id, 2, 60)], 1))[0].status == 9
    assert len(await holder.entries()) == len(await late.entries()) == 2
    assert await said(capture(holder.holder_id, 2, 60)) == 0
    assert [await said(capture(holder.holder_id, 2, 1)), await said(release(holder.holder_id, 2))] == [8, 8]
    assert (await holder.balance(), await holder.held(), await late.held()) == ((40, 0), 0, 60)
    await sound(database.pool)


async def test_what_was_no_accrual_cannot_be_taken_back_in_a_batch_either(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100, activates=14)
    await holder.accrue(50)
    await holder.redeem(10)
    for seq in (3, 99):
        assert (await together(database.pool, [taking_back(holder.holder_id, seq, 10)], 0))[0].status == 5
    assert len(await holder.entries()) == 3
    [done] = await together(database.pool, [taking_back(holder.holder_id, 1, 60)], 0)
    assert (done.available, done.pending, done.taken) == (40, 40, 60)
    await sound(database.pool)


async def test_a_key_used_for_another_input_is_refused_in_batches_too(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100)
    key, other = uuid4(), UUID(int=7)
    batch: list[Item] = [redemption(holder.holder_id, 10, key=key)]
    assert (await together(database.pool, batch, 0))[0].status == 0
    assert (await together(database.pool, [replace(batch[0], fingerprint=other)], 0))[0].status == 2
    await holder.hold(10)
    for item in (release(holder.holder_id, 3), taking_back(holder.holder_id, 1, 5)):
        assert (await together(database.pool, [item], 0))[0].status == 0
        assert (await together(database.pool, [replace(item, fingerprint=other)], 0))[0].status == 2
    assert await holder.balance() == (85, 0)
    await sound(database.pool)


# --- Races ------------------------------------------------------------------------------------------------------


async def test_fifty_batches_and_single_calls_for_one_balance_leave_one_winner(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100)
    calls = [
        together(database.pool, [redemption(holder.holder_id, 100)], 0) if n % 2 else holder.redeem(100)
        for n in range(50)
    ]
    found = [one[0].status if isinstance(one, list) else one["status"] for one in await asyncio.gather(*calls)]
    assert sorted(found) == [0] + [3] * 49
    assert await holder.balance() == (0, 0)
    await sound(database.pool)


async def test_one_key_in_batches_and_single_calls_at_once_has_one_effect(database: Database) -> None:
    holder = await open_holder(database.pool)
    await holder.accrue(100)
    key = uuid4()
    item = replace(redemption(holder.holder_id, 10, key=key))
    found = await asyncio.gather(
        *(together(database.pool, [item], 0) for _ in range(8)),
        *(alone(database.pool, item, 0) for _ in range(8)),
    )
    answers = [one[0] if isinstance(one, list) else one for one in found]
    assert sorted(one.status for one in answers) == [0] + [1] * 15
    assert {(one.seq, one.available) for one in answers} == {(2, 90)}
    await sound(database.pool)


async def test_batches_of_captures_and_single_releases_at_once_leave_one_winner_a_hold(database: Database) -> None:
    holders = [await open_holder(database.pool) for _ in range(6)]
    for holder in holders:
        await holder.accrue(10)
        await holder.hold(10)
    found = await asyncio.gather(
        together(database.pool, [capture(holder.holder_id, 2, 10) for holder in holders], 0),
        together(database.pool, [capture(holder.holder_id, 2, 5) for holder in reversed(holders)], 0),
        *(holder.release(2) for holder in holders),
    )
    captured, reversed_captured = found[0], found[1][::-1]
    for n, released in enumerate(found[2:]):
        assert sorted((captured[n].status, reversed_captured[n].status, released["status"])) == [0, 8, 8]
    await sound(database.pool)


async def test_eight_connections_with_overlapping_batches_never_deadlock_and_add_up(
    server: postgres.Server, database_name: str
) -> None:
    async with connect(server.url(database_name, APPLICATION_ROLE), pool_size=8) as database:
        pool = database.pool
        holders = [await open_holder(pool) for _ in range(12)]
        for holder in holders:
            for expires in (50, 20, 90):
                await holder.accrue(400, expires=expires)
        told = await asyncio.gather(*(_worker(pool, [one.holder_id for one in holders], seed) for seed in range(8)))
        for holder in holders:
            spent = sum(of.get(holder.holder_id, 0) for of in told)
            available, _ = await holder.balance()
            assert available + await holder.held() == 1_200 - spent
        await sound(pool)


async def _worker(pool: asyncpg.Pool, holders: Sequence[int], seed: int) -> dict[int, int]:
    """Batches of every kind over the same accounts in any order; the points that its own calls took for good."""
    dice, spent, placed = random.Random(seed), dict.fromkeys(holders, 0), []
    for _ in range(25):
        chosen = dice.sample(list(holders), dice.randint(2, len(holders)))
        move, items = dice.random(), []
        if move < 0.5:
            items = [
                redemption(holder_id, dice.randint(1, 40)) if dice.random() < 0.5
                else hold(holder_id, dice.randint(1, 40), until=5)
                for holder_id in chosen
            ]  # fmt: skip
        elif move < 0.8 and placed:
            items = [capture(*each) if dice.random() < 0.5 else release(*each[:2]) for each in placed]
            placed = []
        else:
            items = [taking_back(holder_id, dice.randint(1, 3), dice.randint(1, 15)) for holder_id in chosen]
        for item, answer in zip(items, await together(pool, items, 1), strict=True):
            assert answer.status in (0, 3, 8, ASK_AGAIN), answer
            if answer.status == 0:
                assert answer.seq is not None
                if isinstance(item, Return):
                    spent[item.holder_id] += answer.taken or 0
                elif isinstance(item, Spending) and item.kind == HOLD:
                    placed.append((item.holder_id, answer.seq, dice.randint(1, item.points)))
                elif isinstance(item, Spending) or item.kind == CAPTURE:
                    spent[item.holder_id] += item.points
    return spent


# --- Cost -----------------------------------------------------------------------------------------------------


async def test_a_batch_reads_rows_in_proportion_to_its_items_though_nothing_was_ever_analysed(
    server: postgres.Server, database_name: str
) -> None:
    read = (
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables "
        "WHERE schemaname = 'ledger'"
    )
    async with connect(server.url(database_name, APPLICATION_ROLE), pool_size=1) as database:
        pool = database.pool
        holders = [row[0] for row in await pool.fetch("SELECT ledger.open_accounts(600, 1::smallint)")]
        for holder_id in holders:
            await Holder(pool, holder_id).accrue(100)
        async with pool.acquire() as connection:
            for make in (
                lambda one: redemption(one, 5),
                lambda one: hold(one, 5, until=3),
                lambda one: taking_back(one, 1, 5),
            ):
                async with connection.transaction():
                    before = await connection.fetchval(read)
                    told = await together(connection, [make(one) for one in holders[:20]], 1)  # type: ignore[arg-type]
                    assert [one.status for one in told] == [0] * 20
                    assert await connection.fetchval(read) - before < 20 * 20
            placed = await together(connection, [hold(one, 5, until=3) for one in holders[:20]], 1)  # type: ignore[arg-type]
            async with connection.transaction():
                before = await connection.fetchval(read)
                items = [capture(one, told.seq or 0, 5) for one, told in zip(holders, placed, strict=False)]
                assert [one.status for one in await together(connection, items, 1)] == [0] * 20  # type: ignore[arg-type]
                assert await connection.fetchval(read) - before < 20 * 20
