"""An account that somebody keeps locked: the lane goes on, and whoever wants that account is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from kit.database import Database
from kit.errors import Rejection
from kit.lane import Busy, Lane
from kit.postgres import Server
from kit.secrets import Vault
from members.cards import IssuedCard
from members.identification import MemberRef
from partners.decisions import preparing
from partners.decisions.prepared import Prepared
from partners.outcomes import Recorded
from partners.purchases import purchases
from partners.tills import batches
from tests.builders import NOON, Coalition, a_receipt, identified, rows_written, violations
from tests.founded import a_coalition, met

FOR_EVER = "60s"  # longer than the pool's patience: whoever waits fails the test


template = a_coalition(bakery={"return_window_days": 0})


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    await made.desk.close()
    assert await violations(database.pool) == []


@pytest.fixture
async def owner(server: Server, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


async def wait_at_most(owner: asyncpg.Connection, patience: str) -> None:
    """How long the lane's calls wait for a lock, from here on."""
    rows = await owner.fetch("SELECT oid::regprocedure::text FROM pg_proc WHERE proname ~ '^record_purchases?$'")
    for (name,) in rows:
        await owner.execute(f"ALTER FUNCTION {name} SET lock_timeout = '{patience}'")


@asynccontextmanager
async def somebody_holds(coalition: Coalition, card: IssuedCard) -> AsyncIterator[None]:
    async with coalition.desk.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT ledger.lock_accounts($1, 1::smallint)", [card.member_id])
        yield


async def purchase_of(coalition: Coalition, card: IssuedCard) -> Prepared:
    return preparing.prepare(
        await coalition.desk.directory.get(), coalition.callers["bakery"], identified(card), a_receipt(1_000),
        at=NOON, idem_key=None,
    )  # fmt: skip


async def all_of(coalition: Coalition, items: list[Prepared]) -> list[Recorded | Rejection | BaseException]:
    return await asyncio.gather(*(purchases.accrue(coalition.desk, item) for item in items), return_exceptions=True)


async def test_the_others_are_recorded_while_somebody_keeps_one_account_locked(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    jammed, *others = [await coalition.add_member() for _ in range(6)]
    items = [await purchase_of(coalition, card) for card in (*others[:2], jammed, *others[2:])]
    await wait_at_most(owner, "50ms")
    async with somebody_holds(coalition, jammed):
        told = await all_of(coalition, items)
        assert [isinstance(one, Recorded) for one in told] == [True, True, False, True, True, True]
        assert isinstance(told[2], Busy)
        assert told[2].retryable
        assert (await rows_written(coalition.desk.pool))["partners.receipt"] == 5
    again = await purchases.accrue(coalition.desk, items[2])
    assert (again.replayed, again.receipt.awarded_points) == (False, 10)


async def test_what_comes_for_an_account_known_to_be_jammed_is_not_waited_for(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    jammed, other = [await coalition.add_member() for _ in range(2)]
    await wait_at_most(owner, "50ms")
    async with somebody_holds(coalition, jammed):
        assert isinstance((await all_of(coalition, [await purchase_of(coalition, jammed)]))[0], Busy)
        await wait_at_most(owner, FOR_EVER)
        for _ in range(3):
            told = await all_of(coalition, [await purchase_of(coalition, card) for card in (jammed, other)])
            assert isinstance(told[0], Busy)
            assert isinstance(told[1], Recorded)
    assert isinstance((await all_of(coalition, [await purchase_of(coalition, jammed)]))[0], Recorded)


async def test_a_file_is_answered_item_by_item_though_one_account_is_jammed(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    cards = [await coalition.add_member() for _ in range(40)]
    file = [(MemberRef(card_number=card.number), a_receipt(1_000)) for card in cards]
    await wait_at_most(owner, "50ms")
    async with somebody_holds(coalition, cards[17]):
        told = await batches.accrue_many(coalition.desk, coalition.callers["bakery"], file, at=NOON)
        assert [n for n, one in enumerate(told) if isinstance(one, Busy)] == [17]
        assert sum(isinstance(one, Recorded) for one in told) == 39
    again = await batches.accrue_many(coalition.desk, coalition.callers["bakery"], file, at=NOON)
    assert [n for n, one in enumerate(again) if isinstance(one, Recorded) and not one.replayed] == [17]


async def test_a_holder_without_an_account_is_not_taken_for_a_jam(coalition: Coalition) -> None:
    card = await coalition.add_member()
    async with somebody_holds(coalition, card):
        assert await coalition.desk.recorder.jams.look([card.member_id, 404]) == {card.member_id}
        assert await coalition.desk.recorder.jams.known([card.member_id, 404]) == {card.member_id}
    assert await coalition.desk.recorder.jams.known([card.member_id]) == set()
    assert await coalition.desk.recorder.jams.known([]) == set()


async def test_tills_are_served_before_a_file_and_a_file_too_long_for_the_queue_hears_busy_for_the_rest(
    coalition: Coalition,
) -> None:
    card = await coalition.add_member()
    items = [await purchase_of(coalition, card) for _ in range(12)]
    calls: list[list[Prepared]] = []

    async def noting(batch: list[Prepared]) -> list[Recorded | Exception]:
        calls.append(batch)
        while len(calls) == 1 and len(coalition.desk.lane._queues[False]) < 3:
            await asyncio.sleep(0)
        return await coalition.desk._record_batch(batch)

    await coalition.desk.lane.close()
    coalition.desk.lane = Lane(noting, batch_size=4, patient_size=7)  # type: ignore[arg-type]
    file = asyncio.create_task(purchases.accrue_file(coalition.desk, items[:9]))
    while not coalition.desk.lane._queues[True]:
        await asyncio.sleep(0)
    tills_told = asyncio.create_task(all_of(coalition, items[9:]))
    assert all(isinstance(one, Recorded) for one in await tills_told)
    told = await file
    assert [isinstance(one, Recorded) for one in told] == [True] * 7 + [False] * 2
    assert all(isinstance(one, Busy) for one in told[7:])
    assert [sum(item in items[9:] for item in call) for call in calls] == [0, 3, 0]


async def test_what_is_no_answer_to_an_item_is_raised_for_the_whole_file(coalition: Coalition) -> None:
    card = await coalition.add_member()
    items = [await purchase_of(coalition, card) for _ in range(3)]

    async def broken(batch: list[Prepared]) -> list[Recorded | Exception]:
        raise ConnectionResetError

    await coalition.desk.lane.close()
    coalition.desk.lane = Lane(broken)  # type: ignore[arg-type]
    with pytest.raises(ConnectionResetError):
        await purchases.accrue_file(coalition.desk, items)
