"""What a client may ask for, held across processes: nothing beyond the bucket, and few writes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.gate import allowance_store, client_rules
from gateway.gate.allowances import COST, LEASE_SECONDS, STANDARD, Allowance, Allowances, Exhausted, Key
from kit.database import Database
from kit.errors import Rejection
from tests.gateway import own_toys
from tests.gateway.toys import PLENTY, Toy

template = own_toys.a_toy()

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
SMALL = Allowance(100, 10)
KEY: Key = (1, 0, COST)
_clients = iter(range(1_000, 10**9))


class Hands:
    """Both clocks, moved by hand, the same for every process."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


def process(database: Database, hands: Hands) -> Allowances:
    return Allowances(database.pool, now=hands.now, monotonic=hands.monotonic)


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """The keys of the leases that were asked for."""
    asked: list[Key] = []
    original = allowance_store.lease

    async def counted(pool, key, **more):  # type: ignore[no-untyped-def]
        asked.append(key)
        return await original(pool, key, **more)

    monkeypatch.setattr(allowance_store, "lease", counted)
    return asked


async def spent(process: Allowances, points: int, allowance: Allowance = SMALL, key: Key = KEY) -> bool:
    try:
        await process.take(key, allowance, points)
    except Exhausted:
        return False
    return True


async def test_a_bucket_gives_what_it_holds_and_then_what_comes_back_by_the_second(
    database: Database, hands: Hands
) -> None:
    one = process(database, hands)
    assert [await spent(one, 25) for _ in range(5)] == [True, True, True, True, False]
    with pytest.raises(Exhausted) as no:
        await one.take(KEY, SMALL, 25)
    assert (no.value.wait_seconds, no.value.kind) == (3, COST)
    assert no.value.status.as_extension() == {"maximumAvailable": 100, "currentlyAvailable": 0, "restoreRate": 10}
    hands.seconds += 2.4
    assert not await spent(one, 25)
    hands.seconds += 0.1 + LEASE_SECONDS
    assert await spent(one, 25)
    hands.seconds += 3_600
    assert [await spent(one, 50) for _ in range(3)] == [True, True, False]


async def test_several_processes_hand_out_no_more_than_one_bucket(database: Database, hands: Hands) -> None:
    processes = [process(database, hands) for _ in range(4)]
    done = await asyncio.gather(*[spent(each, 1) for each in processes for _ in range(100)])
    assert sum(done) <= 100
    assert sum(done) >= 100 - 4 * 100 // 8  # the rest lies in shares that are not used up yet
    for each in processes:
        await each.give_back(all_of_it=True)
    assert sum([await spent(processes[0], 1) for _ in range(101)]) == 100 - sum(done)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 60), st.sampled_from([0.0, 0.0, 0.2, 1.5]), st.booleans()),
        max_size=40,
    )
)
def test_whatever_happens_no_more_is_handed_out_than_was_there_and_came_back(
    steps: list[tuple[int, int, float, bool]],
) -> None:
    """The bound of a bucket: its burst and what restored since, over all processes; checked on a model of the rows."""
    hands, rows = Hands(), Rows()

    async def story() -> None:
        processes = [Allowances(rows, now=hands.now, monotonic=hands.monotonic) for _ in range(3)]  # type: ignore[arg-type]
        handed = 0
        for number, points, wait, ends in steps:
            hands.seconds += wait
            handed += points * await spent(processes[number], points)
            if ends:
                await processes[number].give_back(all_of_it=True)
            assert handed <= SMALL.burst + SMALL.restore_per_second * hands.seconds + 1e-6

    asyncio.run(story())


class Rows:
    """A bucket's row as the statements keep it, in plain arithmetic: the oracle of `allowance_store`."""

    def __init__(self) -> None:
        self.level: dict[Key, int] = {}
        self.filled_at: dict[Key, datetime] = {}

    async def fetchrow(self, statement: str, *given: object) -> dict[str, int]:
        *key, needed, whole, wanted, returned, restored_per_second, at = given
        return self.lease(tuple(key), needed, whole, wanted, returned, restored_per_second, at)  # type: ignore[arg-type]

    def lease(
        self, key: Key, needed: int, whole: int, wanted: int, returned: int, restored: int, at: datetime
    ) -> dict[str, int]:
        level, filled_at = self.level.get(key, whole), self.filled_at.get(key, at)
        microseconds = max(0, (at - filled_at) // timedelta(microseconds=1))
        full = max(0, min(whole, level + returned + microseconds * restored // 1_000_000))
        granted = min(full, wanted) if full >= needed else 0
        self.level[key], self.filled_at[key] = full - granted, max(filled_at, at)
        return {"level": full - granted, "granted": granted}

    async def execute(self, statement: str, *columns: list[int]) -> None:
        for client, member, kind, whole, returned in zip(*columns, strict=True):
            key = (client, member, kind)
            self.level[key] = max(0, min(whole, self.level[key] + returned))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 200), st.integers(-30, 60), st.integers(-2_000_000, 9_000_000)),
        min_size=1, max_size=12,
    )
)  # fmt: skip
async def test_the_statement_does_what_the_arithmetic_says(
    database: Database, steps: list[tuple[int, int, int, int]]
) -> None:
    await database.pool.execute("SELECT 1")
    key: Key = (next(_clients), 0, COST)
    rows, at = Rows(), START
    for needed, wanted, returned, microseconds in steps:
        at += timedelta(microseconds=microseconds)
        values = {"needed": needed * 10**6, "whole": 100 * 10**6, "wanted": max(needed, wanted) * 10**6}
        level, granted = await allowance_store.lease(
            database.pool, key, **values, returned=returned * 10**6, restored_per_second=10 * 10**6, at=at
        )
        expected = rows.lease(key, *values.values(), returned * 10**6, 10 * 10**6, at)
        assert {"level": level, "granted": granted} == expected


async def test_a_thousand_requests_within_a_lease_are_a_handful_of_writes(
    database: Database, hands: Hands, leases: list[Key]
) -> None:
    one, allowance = process(database, hands), Allowance(20_000, 10_000)
    for _ in range(1_000):
        await one.take(KEY, allowance, 10)
        hands.seconds += 0.0005
    assert len(leases) <= 2


async def test_a_client_that_goes_on_asking_for_what_it_may_not_have_costs_no_more_writes(
    database: Database, hands: Hands, leases: list[Key]
) -> None:
    one = process(database, hands)
    while await spent(one, 10):
        pass
    before = len(leases)
    for _ in range(500):
        assert not await spent(one, 10)
    assert len(leases) == before
    hands.seconds += 1.0
    assert await spent(one, 10)


async def test_what_is_not_used_comes_back_and_what_a_dead_process_held_is_all_that_is_lost(
    database: Database, hands: Hands
) -> None:
    one, two = process(database, hands), process(database, hands)
    share = await one.take(KEY, STANDARD, 900)
    one.refund(share, 890)
    await one.give_back(all_of_it=True)
    assert [await spent(two, 995, STANDARD), await spent(two, 995, STANDARD)] == [True, True]
    await two.give_back(all_of_it=True)
    hands.seconds += 3_600
    assert await spent(one, 1, STANDARD)  # and then it is killed with its share of an eighth
    assert await spent(two, 2_000 - 2_000 // 8, STANDARD)
    assert not await spent(two, 1, STANDARD)


async def test_shares_are_given_back_when_their_lease_has_ended_and_not_before(
    database: Database, hands: Hands
) -> None:
    one, two = process(database, hands), process(database, hands)
    await one.take(KEY, SMALL, 1)
    await one.give_back()
    assert not await spent(two, 95)
    hands.seconds += LEASE_SECONDS
    await one.give_back()
    hands.seconds += LEASE_SECONDS
    assert await spent(two, 95)


async def test_a_request_that_went_wrong_at_the_database_leaves_the_share_as_it_was(
    database: Database, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = process(database, hands)
    share = await one.take(KEY, SMALL, 1)
    held = share.held

    async def away(*_: object, **__: object) -> tuple[int, int]:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(allowance_store, "lease", away)
        with pytest.raises(ConnectionResetError):
            await one.take(KEY, SMALL, 50)
    assert share.held == held
    assert await spent(one, 50)


async def test_the_database_refuses_a_level_below_nothing(database: Database) -> None:
    with pytest.raises(Exception, match="allowance_level_check"):
        await database.pool.execute("INSERT INTO gateway.allowance VALUES (1, 0, 1, -1, 0, now())")


# --- Rules of clients ---------------------------------------------------------------------------------------


async def test_a_client_gets_another_allowance_and_it_is_in_the_audit_trail(own_toy: Toy) -> None:
    async with own_toy.database.transaction() as connection:
        changed = await client_rules.change(
            connection, own_toy.client_id, by="anna", at=START, allowance=Allowance(500, 5), trusted_only=True
        )
        assert await client_rules.rule_of(connection, own_toy.client_id) == changed
    assert (changed.allowance, changed.trusted_only) == (Allowance(500, 5), True)
    async with own_toy.database.transaction() as connection:
        kept = await client_rules.change(connection, own_toy.client_id, by="anna", at=START, trusted_only=False)
    assert (kept.allowance, kept.trusted_only) == (Allowance(500, 5), False)
    trail = await own_toy.database.pool.fetch("SELECT detail FROM kit.audit_trail WHERE action = 'ALLOWANCE_CHANGED'")
    assert len(trail) == 3


@pytest.mark.parametrize(
    ("client", "by", "allowance", "code"),
    [
        ("cl_nobody", "anna", STANDARD, "CLIENT_UNKNOWN"),
        (None, "nobody", STANDARD, "ACTOR_UNKNOWN"),
        (None, "anna", Allowance(99, 1), "ALLOWANCE_INVALID"),
        (None, "anna", Allowance(2_000, 0), "ALLOWANCE_INVALID"),
        (None, "anna", Allowance(10**9 + 1, 1), "ALLOWANCE_INVALID"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused_and_nothing_changes(
    own_toy: Toy, client: str | None, by: str, allowance: Allowance, code: str
) -> None:
    with pytest.raises(Rejection) as no:
        async with own_toy.database.transaction() as connection:
            await client_rules.change(connection, client or own_toy.client_id, by=by, at=START, allowance=allowance)
    assert no.value.code == code
    async with own_toy.database.reading() as connection:
        assert (await client_rules.rule_of(connection, own_toy.client_id)).allowance == PLENTY


async def test_a_document_is_registered_once_listed_and_forgotten(own_toy: Toy) -> None:
    async with own_toy.database.transaction() as connection:
        name = await client_rules.register(connection, own_toy.client_id, "{ one }", by="anna", at=START)
        again = await client_rules.register(connection, own_toy.client_id, "{ one }", by="anna", at=START)
        assert name == again == client_rules.hash_of("{ one }")
        assert await client_rules.registered(connection, own_toy.client_id) == [(name, "{ one }")]
        await client_rules.forget(connection, own_toy.client_id, name, by="anna", at=START)
        assert await client_rules.registered(connection, own_toy.client_id) == []
    for wrong in ("", "x" * 16_385, "{ one \0 }"):
        with pytest.raises(client_rules.DocumentInvalid):
            async with own_toy.database.transaction() as connection:
                await client_rules.register(connection, own_toy.client_id, wrong, by="anna", at=START)
    with pytest.raises(client_rules.DocumentInvalid):
        async with own_toy.database.transaction() as connection:
            await client_rules.forget(connection, own_toy.client_id, name, by="anna", at=START)
    assert await own_toy.database.pool.fetchval("SELECT count(*) FROM gateway.trusted_document") == 0
