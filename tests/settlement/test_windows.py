"""Windows: named from the cut-off, late where they are, balanced by two countings, and never moved but along an edge."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from ledger import cutoffs
from settlement import runs, states
from settlement.windows import cycle, names, positions, standing
from settlement.windows.names import WindowName

DAY = timedelta(days=1)
FIRST = "NET.EUR.0001.01.01.00.00.1"
Coalition = Any  # of conftest, which is not imported


async def bring_to_date(coalition: Coalition) -> None:
    async with coalition.database.transaction() as connection:
        await cycle.bring_to_date(connection, at=coalition.at)


# --- Names ------------------------------------------------------------------------------------------------------


@given(
    st.from_regex("[A-Z]{3}", fullmatch=True), st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 1, 1)),
    st.integers(1, 10**6),
)  # fmt: skip
def test_a_name_says_what_it_was_made_of_and_the_same_makes_the_same(currency: str, at: datetime, seq: int) -> None:
    since = names.minute_of(at.replace(tzinfo=UTC))
    name = WindowName(names.NET, currency, since, seq)
    assert names.parse(str(name)) == name
    assert str(names.parse(str(name))) == str(name)


def test_the_very_first_window_is_named_for_the_beginning() -> None:
    assert str(WindowName("NET", "EUR", names.minute_of(None), 1)) == FIRST
    assert names.parse(FIRST).since == names.BEGINNING


@pytest.mark.parametrize(
    "text", ["NET.EUR.2026.03.01.09.00", "NET.EUR.2026.3.1.9.0.1", "net.EUR.2026.03.01.09.00.1", ""]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        names.parse(text)


# --- Their way --------------------------------------------------------------------------------------------------


async def test_a_window_follows_its_cutoff_and_is_balanced_by_what_was_added_up(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    await bring_to_date(coalition)
    assert await coalition.states() == {FIRST: "OPEN"}
    await coalition.earn(await coalition.member(), "a", a, 1000)
    coalition.at += DAY

    await runs.close_cutoff(coalition.database, actor="maker", at=coalition.at)

    assert await coalition.states() == {FIRST: "BALANCED", "NET.EUR.2026.03.02.09.00.1": "OPEN"}
    async with coalition.database.reading() as connection:
        [window, _] = await cycle.windows(connection)
        way = await cycle.trail(connection, window.window_id)
    assert (window.postings, window.points, window.cut_at) == (1, 1000, coalition.at)
    assert [s.to_state for s in way] == ["OPEN", "DRAINING", "CUT", "BALANCED"]
    assert all(s.actor in ("maker", "settlement") and s.reason for s in way)
    assert await coalition.violations() == []


async def test_an_empty_window_is_settled_at_once_and_no_run_is_made_of_it(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    await coalition.partner("j", currency="JPY")
    await coalition.earn(await coalition.member(), "a", a, 10)
    done = await coalition.settle()

    assert [r.head.currency for r in done.runs] == ["EUR"]
    found = await coalition.states()
    assert found["NET.JPY.0001.01.01.00.00.1"] == "SETTLED"
    assert found[FIRST] == "CLAIMED"
    coalition.at += DAY
    await coalition.close()
    assert (await coalition.settle_closed()).runs == ()


async def test_what_comes_late_is_a_window_of_its_own_named_for_its_time(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    member, other = await coalition.member(), await coalition.member()
    await coalition.earn(member, "a", a, 100)
    coalition.at += DAY
    first = await coalition.settle()
    coalition.at += DAY
    await coalition.earn(member, "a", a, 20)
    coalition.at -= DAY + timedelta(hours=5)  # a till that was offline tells of the day before the cut
    await coalition.earn(other, "a", a, 7)
    coalition.at += 2 * DAY

    second = await coalition.settle()

    [run] = second.runs
    assert [(w.name, w.is_late, w.origin_cutoff, w.postings) for w in run.windows] == [
        ("NET.EUR.2026.03.02.09.00.1", False, 2, 1), ("NET.EUR.0001.01.01.00.00.2", True, 1, 1),
    ]  # fmt: skip
    assert coalition.of(first, "a").net_minor == -100
    assert coalition.of(second, "a").net_minor == -27
    assert await coalition.violations() == []


async def test_cutoffs_that_open_in_the_same_minute_have_names_of_their_own(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    member = await coalition.member()
    for _ in range(3):
        await coalition.earn(member, "a", a, 1)
        await coalition.close()
        coalition.at += timedelta(seconds=1)
    await bring_to_date(coalition)

    assert list(await coalition.states()) == [
        FIRST, "NET.EUR.2026.03.01.09.00.1", "NET.EUR.2026.03.01.09.00.2", "NET.EUR.2026.03.01.09.00.3",
    ]  # fmt: skip


async def test_bringing_windows_to_date_again_changes_nothing(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)
    await coalition.close()
    await bring_to_date(coalition)
    before, states_before = await coalition.rows(), await coalition.states()

    await bring_to_date(coalition)
    await asyncio.gather(*(bring_to_date(coalition) for _ in range(4)))

    assert (await coalition.rows(), await coalition.states()) == (before, states_before)


async def test_a_transaction_older_than_the_cut_keeps_a_window_from_being_settled_and_makes_it_never_wrong(
    coalition: Coalition, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cycle, "PATIENCE", 2)
    a = await coalition.partner("a")
    old = await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE))
    try:
        hanging = old.transaction()
        await hanging.start()
        await old.fetchval("SELECT pg_current_xact_id()")
        await coalition.earn(await coalition.member(), "a", a, 10)
        await runs.close_cutoff(coalition.database, actor="maker", at=coalition.at)
        assert (await coalition.states())[FIRST] == "CUT"
        before = await coalition.rows()

        with pytest.raises(cycle.WindowUnread):
            await coalition.step(runs.settle)

        assert await coalition.rows() == before
        await hanging.rollback()
    finally:
        await old.close()
    done = await coalition.settle_closed()
    assert coalition.of(done, "a").net_minor == -10
    assert await coalition.violations() == []


async def test_a_window_that_is_not_what_its_cutoff_was_counted_with_is_broken_and_nobody_settles_it(
    coalition: Coalition, owner: asyncpg.Connection
) -> None:
    a = await coalition.partner("a")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 10)
    await coalition.close()
    # An entry that slips into a cut-off after it was counted, as it would without the lock.
    await owner.execute("ALTER TABLE ledger.cutoff DROP CONSTRAINT IF EXISTS cutoff_check2")
    await owner.execute("UPDATE ledger.cutoff SET posting_count = posting_count + 1 WHERE cutoff_id = 1")
    await bring_to_date(coalition)
    assert (await coalition.states())[FIRST] == "BROKEN"
    before = await coalition.rows()

    with pytest.raises(cycle.WindowBroken):
        await coalition.step(runs.settle)

    assert await coalition.rows() == before
    assert {v.split()[0] for v in await coalition.violations()} >= {"S8"}


def test_the_tables_of_edges_are_those_of_the_database(server: Server, template: str) -> None:
    async def edges() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        connection = await asyncpg.connect(server.dsn(template, server.superuser))
        try:
            found = [await connection.fetch(f"SELECT * FROM settlement.{t}_edge") for t in ("window", "run")]
        finally:
            await connection.close()
        return {tuple(r) for r in found[0]}, {tuple(r) for r in found[1]}

    assert asyncio.run(edges()) == (states.WINDOW_EDGES, states.RUN_EDGES)


async def test_the_database_refuses_a_step_that_is_no_edge_or_does_not_begin_where_the_window_is(
    coalition: Coalition, database: Database
) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)
    await coalition.close()
    await bring_to_date(coalition)
    way = {"OPEN", "DRAINING", "CUT", "BALANCED", "BROKEN", "CLAIMED", "SETTLED"}
    insert = (
        "INSERT INTO settlement.window_step (window_id, step_no, from_state, to_state, actor, reason, at) "
        "VALUES (1, $1, $2, $3, 'x', 'x', now())"
    )
    for number in (1, 3, 5, 6):
        for before in (*way, None):
            for after in way:
                if (number, before, after) == (5, "BALANCED", "CLAIMED"):
                    continue  # refused for want of a run
                with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                    await database.pool.execute(insert, number, before, after)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.pool.execute(insert, 5, "BALANCED", "CLAIMED")


# --- Positions --------------------------------------------------------------------------------------------------


async def test_positions_are_the_same_in_however_many_batches_they_are_added_up(
    coalition: Coalition, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    members = [await coalition.member() for _ in range(3)]
    for member in members:
        await coalition.earn(member, "a", a, 1000)
        await coalition.spend(member, "b", b, 300)
        async with coalition.database.transaction() as connection:
            assert await positions.add_up(connection, at=coalition.at, limit=1) >= 1
    await positions.catch_up(coalition.database, at=coalition.at)
    async with coalition.database.reading() as connection:
        moved = await positions.moved(connection, [1])
        assert moved == await positions.recounted(connection, [1])
        now = await standing.now(connection)
    assert {(p.partner_id, p.moved_micro) for p in now} == {(1, -30_000_000), (2, 7_200_000)}
    batches = await coalition.database.pool.fetch(
        "SELECT from_xid::text::bigint, until_xid::text::bigint FROM settlement.position_batch ORDER BY batch_no"
    )
    assert all(one["until_xid"] == other["from_xid"] for one, other in pairwise(batches))


async def test_many_that_add_up_at_once_add_everything_once(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    member = await coalition.member()
    for _ in range(20):
        await coalition.earn(member, "a", a, 5)

    async def add_up() -> int:
        done = 0
        while True:
            async with coalition.database.transaction() as connection:
                taken = await positions.add_up(connection, at=coalition.at, limit=3)
            if not taken:
                return done
            done += taken

    taken = await asyncio.gather(*(add_up() for _ in range(4)))
    assert sum(taken) == 20
    async with coalition.database.reading() as connection:
        assert [one.turnover.postings for one in await positions.moved(connection, [1])] == [20]


async def test_a_position_of_the_past_is_not_changed_by_what_is_recorded_later(coalition: Coalition) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b", says={"minimum_payout_minor": 10_000})
    member = await coalition.member()
    seen: list[tuple[datetime, list[Any]]] = []

    async def look() -> None:
        async with coalition.database.reading() as connection:
            seen.append((coalition.at, await standing.as_of(connection, at=coalition.at)))

    for step in range(4):
        await coalition.earn(member, "a", a, 1000)
        await coalition.spend(member, "b", b, 100 * (step + 1))
        await look()
        coalition.at += DAY
        if step % 2:
            await coalition.settle()
            await look()
            coalition.at += timedelta(hours=1)
    async with coalition.database.reading() as connection:
        for at, found in seen:
            assert await standing.as_of(connection, at=at) == found
        assert await standing.now(connection) == await standing.as_of(connection, at=coalition.at)
    assert len({str(found) for _, found in seen}) == len(seen)


async def test_the_stock_that_is_carried_from_cut_to_cut_is_what_the_lots_hold(coalition: Coalition) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    for step in range(3):
        await coalition.earn(member, "a", a, 1000, pending_for=step * DAY)
        await coalition.spend(member, "b", b, 50)
        await coalition.close()
        coalition.at += timedelta(hours=20)
    await coalition.earn(member, "a", a, 1)
    await bring_to_date(coalition)
    async with coalition.database.reading() as connection:
        found = await positions.outstanding(connection)
    lots: Counter[bool] = Counter()
    for row in await coalition.database.pool.fetch("SELECT active, remaining + held AS points FROM ledger.lot"):
        lots[row["active"]] += row["points"]
    assert (sum(o.spendable for o in found), sum(o.pending for o in found)) == (lots[True], lots[False])


# --- Under load -------------------------------------------------------------------------------------------------


async def test_closing_windows_under_eight_writers_loses_nothing_and_every_window_is_right(
    coalition: Coalition, server: Server, database_name: str
) -> None:
    terms = {"a": await coalition.partner("a"), "j": await coalition.partner("j", currency="JPY", fund=1_000_000)}
    writers = [await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE)) for _ in range(8)]
    written: Counter[str] = Counter()
    stop = asyncio.Event()

    async def write(connection: asyncpg.Connection, number: int) -> None:
        holder, code = await coalition.member(), "aj"[number % 2]
        while not stop.is_set() or written[code] < 20:
            at = coalition.at - (DAY if number == 3 and written[code] % 5 == 0 else timedelta(0))
            status = await connection.fetchval(
                "SELECT status FROM ledger.accrue($1, 1::smallint, $2, $3, $3, $4, ARRAY[$2::int], ARRAY[$2::int],"
                " ARRAY[$5::int], ARRAY[10::bigint], ARRAY[$4::timestamptz], ARRAY[$4::timestamptz + interval '1 year'])",
                holder, coalition.partners[code], uuid4(), at, terms[code],
            )  # fmt: skip
            assert status == 0
            written[code] += 1

    tasks = [asyncio.create_task(write(w, n)) for n, w in enumerate(writers)]
    try:
        for _ in range(8):
            before = sum(written.values())
            while sum(written.values()) < before + 40:  # the closer runs beside writers, however slow the machine is
                assert not any(task.done() for task in tasks), [t.exception() for t in tasks if t.done()]
                await asyncio.sleep(0.01)
            coalition.at += timedelta(minutes=3)
            await runs.close_cutoff(coalition.database, actor="maker", at=coalition.at)
        stop.set()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            await writer.close()
    coalition.at += timedelta(minutes=3)
    done = await coalition.settle()

    async with coalition.database.reading() as connection:
        found = await cycle.windows(connection)
        counted = Counter({"EUR": 0, "JPY": 0})
        for window in found:
            counted[window.currency] += window.postings or 0
        numbers = [c.cutoff_id for c in await cutoffs.cutoffs(connection)]
        assert await positions.moved(connection, numbers) == await positions.recounted(connection, numbers)
    assert counted == {"EUR": written["a"], "JPY": written["j"]}
    assert {w.state for w in found} <= {"CLAIMED", "SETTLED", "OPEN"}
    assert any(w.is_late for w in found)
    assert sum(1 for w in found if w.postings) >= 10
    assert coalition.of(done, "a").net_minor == -10 * written["a"]
    assert await coalition.violations() == []


LOCK = "v_locked := pg_advisory_xact_lock_shared(7305002, v_cutoff) IS NOT NULL;"


async def test_without_the_cutoff_s_lock_a_writer_that_commits_late_breaks_its_window(
    coalition: Coalition, owner: asyncpg.Connection, server: Server, database_name: str
) -> None:
    """The guard is taken away, and the other countings, which know nothing of it, see what it would have kept out."""
    source = await owner.fetchval("SELECT pg_get_functiondef('ledger.enter_cutoff'::regproc)")
    assert LOCK in source
    await owner.execute(source.replace(LOCK, ""))
    a = await coalition.partner("a")
    late, early = await coalition.member(), await coalition.member()
    writer = await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE))
    try:
        writing = writer.transaction()
        await writing.start()
        await writer.fetchval(
            "SELECT status FROM ledger.accrue($1, 1::smallint, 1, $2, $2, $3, ARRAY[1], ARRAY[1], ARRAY[$4::int],"
            " ARRAY[10::bigint], ARRAY[$3::timestamptz], ARRAY[$3::timestamptz + interval '1 year'])",
            late, uuid4(), coalition.at, a,
        )  # fmt: skip
        await coalition.earn(early, "a", a, 5)
        await coalition.close()
        await bring_to_date(coalition)
        assert (await coalition.states())[FIRST] == "CUT"  # what was before it still runs
        await writing.commit()
    finally:
        await writer.close()

    await bring_to_date(coalition)

    assert (await coalition.states())[FIRST] == "BROKEN"
    with pytest.raises(cycle.WindowBroken):
        await coalition.step(runs.settle)
    assert {"S8", "A16"} <= {v.split()[0] for v in await coalition.violations()}


# --- Shapes of faults that others had ---------------------------------------------------------------------------


async def test_what_expires_is_what_is_left_of_a_lot_and_not_what_was_spent_of_it_too(coalition: Coalition) -> None:
    """An expiry that filters credits and not the debits paired to them makes the balance collapse."""
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 100, lasts=10 * DAY)
    await coalition.earn(member, "a", a, 100, lasts=90 * DAY)
    await coalition.spend(member, "b", b, 60)
    coalition.at += 20 * DAY
    await coalition.settle()
    again = await coalition.settle()  # an expiry that was done is done

    assert again.runs == ()
    expired = await coalition.database.pool.fetch("SELECT amount FROM ledger.posting WHERE credit = 12")
    assert [row["amount"] for row in expired] == [40]
    assert await coalition.database.pool.fetchval("SELECT sum(available) FROM ledger.account") == 100
    assert await coalition.spend(member, "b", b, 101) is None
    assert await coalition.violations() == []


async def test_points_of_every_origin_are_spent_once(coalition: Coalition) -> None:
    """A redemption that is checked against all and deducted from one kind alone can be repeated for ever."""
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 30)
    await coalition.earn(member, "b", b, 30, funder="")
    redemption = await coalition.spend(member, "b", b, 60)
    assert redemption is not None
    assert await coalition.spend(member, "a", a, 1) is None
    await coalition.refund(member, redemption, 10, "b")
    assert await coalition.spend(member, "a", a, 10)
    assert await coalition.spend(member, "a", a, 1) is None
    done = await coalition.settle()
    assert coalition.of(done, "b").net_micro == 400_000
    assert await coalition.violations() == []
