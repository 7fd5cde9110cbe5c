"""Points between holders: two halves, the same facts, once, and nothing that anybody owes changes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from kit import postgres
from kit.database import Database
from kit.errors import Rejection
from ledger import history, transfers
from ledger import transfer_store as store
from ledger.transfers import Order, Sent
from tests.ledger.test_operations import DAY, NOTHING, T0, Holder, open_holder


@pytest.fixture
async def pair(database: Database):
    """Two holders; afterwards the audit finds nothing and every chain holds."""
    yield await open_holder(database.pool), await open_holder(database.pool)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.audit_accounts(NULL, NULL)") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def send(database: Database, order: Order, *, day: int = 0, key: UUID | None = None) -> Sent:
    """The first half, committed."""
    async with database.transaction() as connection:
        at = T0 + day * DAY
        return await transfers.send(
            connection, order, idem_key=key or uuid4(), fingerprint=NOTHING, at=at, day=at.date()
        )


async def give(
    database: Database, sender: Holder, receiver: Holder, points: int | None = None, *, day: int = 0, **changes: object
) -> str:
    """Both halves; says how it ended."""
    order = Order(sender.holder_id, receiver.holder_id, points, is_whole=True, **changes)  # type: ignore[arg-type]
    sent = await send(database, order, day=day)
    return await transfers.complete(database, sent.sender_id, sent.seq, at=T0 + day * DAY)


async def facts(holder: Holder) -> list[tuple[object, ...]]:
    """What a holder's lots with something in them are, the first to expire first."""
    rows = await holder.pool.fetch(
        "SELECT remaining, issuer_id, funder_id, terms_id, activates_at, expires_at, active FROM ledger.lot"
        " WHERE holder_id = $1 AND open ORDER BY expires_at, seq, lot_no", holder.holder_id,
    )  # fmt: skip
    return [tuple(row) for row in rows]


async def rows(database: Database) -> list[int]:
    tables = ("journal", "posting", "lot", "transfer")
    return [await database.pool.fetchval(f"SELECT count(*) FROM ledger.{table}") for table in tables]


async def test_a_transfer_takes_the_lots_that_expire_first_and_they_arrive_with_the_same_facts(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100, expires=300, issuer=4)
    await sender.accrue(50, expires=100, issuer=5)
    before = await facts(sender)
    assert await give(database, sender, receiver, 80) == transfers.ARRIVED
    assert await facts(receiver) == [before[0], (30, *before[1][1:])]
    assert await facts(sender) == [(70, *before[1][1:])]
    assert [entry[0] for entry in await receiver.entries()] == [15]
    assert (await sender.entries())[-1][0] == 14


async def test_points_that_arrive_repay_first_what_the_receiver_owes(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    bought = (await receiver.accrue(100))["seq"]
    await receiver.redeem(100)
    await receiver.take_back(bought, 100, shortfall=1)
    assert (
        await receiver.pool.fetchval("SELECT debt FROM ledger.account WHERE holder_id = $1", receiver.holder_id) == 100
    )
    await sender.accrue(130)
    assert await give(database, sender, receiver, 130) == transfers.ARRIVED
    assert [entry[:2] for entry in await receiver.entries()][-2:] == [(15, 130), (12, 100)]
    assert await receiver.balance() == (30, 0)


async def test_a_repeated_transfer_answers_as_the_first_time_and_with_another_input_is_refused(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    order, key = Order(sender.holder_id, receiver.holder_id, 30, is_whole=True), uuid4()
    first = await send(database, order, key=key)
    again = await send(database, order, key=key)
    assert (again.seq, again.points, again.replayed, first.replayed) == (first.seq, 30, True, False)
    for _ in range(3):
        assert await transfers.complete(database, sender.holder_id, first.seq, at=T0) == transfers.ARRIVED
    async with database.transaction() as connection:
        with pytest.raises(transfers.TransferKeyReused):
            await transfers.send(connection, order, idem_key=key, fingerprint=uuid4(), at=T0, day=T0.date())
    assert (await sender.balance(), await receiver.balance()) == ((70, 0), (30, 0))


async def refused(database: Database, order: Order, expected: type[Rejection]) -> Rejection:
    before = await rows(database)
    with pytest.raises(expected) as no:
        await send(database, order)
    assert await rows(database) == before
    return no.value


async def test_what_cannot_be_transferred_is_refused_and_nothing_is_written(
    database: Database, pair: tuple[Holder, Holder], server: postgres.Server, database_name: str
) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    await sender.accrue(50, activates=3)
    await sender.hold(30)
    ids = sender.holder_id, receiver.holder_id
    too_much = await refused(database, Order(*ids, 71, is_whole=True), transfers.TransferExceedsBalance)
    assert too_much.available_points == 70
    await refused(database, Order(*ids, 0, is_whole=True), transfers.TransferInvalid)
    await refused(database, Order(*ids, -1), transfers.TransferInvalid)
    await refused(database, Order(*ids, 10, takes_pending=True), transfers.TransferInvalid)
    await refused(database, Order(ids[0], ids[0], 1), transfers.TransferInvalid)
    await refused(database, Order(ids[0], 404, 1), transfers.ReceiverUnknown)
    await refused(database, Order(404, ids[0], 1), transfers.SenderUnknown)
    await refused(database, Order(ids[1], ids[0]), transfers.TransferExceedsBalance)
    async with database.transaction() as connection:
        await transfers.close_account(connection, receiver.holder_id)
    await refused(database, Order(*ids, 1), transfers.ReceiverClosed)


async def test_a_spend_lock_and_a_daily_cap_bind_over_this_exit_as_over_redemption(
    database: Database, pair: tuple[Holder, Holder], server: postgres.Server, database_name: str
) -> None:
    sender, receiver = pair
    await sender.accrue(400)
    ids = sender.holder_id, receiver.holder_id
    await sender.pool.execute("SELECT ledger.lock_spending($1, 1::smallint, true)", sender.holder_id)
    await refused(database, Order(*ids, 10, is_spending=True), transfers.TransferLocked)
    await sender.pool.execute("SELECT ledger.lock_spending($1, 1::smallint, false)", sender.holder_id)
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE ledger.account SET daily_cap = 50")
    await owner.close()
    assert (await sender.redeem(20))["status"] == 0
    for points in (51, 31, None):
        await refused(database, Order(*ids, points, is_spending=True), transfers.TransferCapReached)
    assert (await send(database, Order(*ids, 30, is_spending=True))).points == 30
    assert (await sender.redeem(1))["status"] == 7
    await refused(database, Order(*ids, 1, is_spending=True), transfers.TransferCapReached)
    assert (await send(database, Order(*ids, 50, is_spending=True), day=1)).points == 50
    assert (await send(database, Order(*ids, 60), day=2)).points == 60
    assert (await sender.redeem(50, day=2))["status"] == 0


async def test_all_there_is_goes_pending_points_too_and_held_ones_stay(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100, expires=50)
    await sender.accrue(40, activates=5, expires=90)
    await sender.hold(30)
    assert await give(database, sender, receiver, takes_pending=True) == transfers.ARRIVED
    assert (await sender.balance(), await sender.held()) == ((0, 0), 30)
    assert await receiver.balance() == (70, 40)
    await receiver.sweep(5)
    assert await receiver.balance() == (110, 0)
    assert (await receiver.entries())[-1] == (2, 40, T0 + 5 * DAY)


async def test_what_falls_due_on_its_way_is_applied_where_it_arrives_at_its_own_instant(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100, expires=10)
    await sender.accrue(40, activates=5, expires=90)
    sent = await send(database, Order(sender.holder_id, receiver.holder_id, takes_pending=True), day=2)
    assert sent.points == 140
    await transfers.complete(database, sender.holder_id, sent.seq, at=T0 + 20 * DAY)
    assert await receiver.balance() == (40, 0)
    assert await receiver.entries() == [
        (15, 140, T0 + 20 * DAY), (2, 40, T0 + 5 * DAY), (7, 100, T0 + 10 * DAY),
    ]  # fmt: skip


async def test_expired_points_are_not_transferred(database: Database, pair: tuple[Holder, Holder]) -> None:
    sender, receiver = pair
    await sender.accrue(100, expires=10)
    await sender.accrue(40, expires=90)
    with pytest.raises(transfers.TransferExceedsBalance):
        await send(database, Order(sender.holder_id, receiver.holder_id, 41, is_whole=True), day=10)
    assert await give(database, sender, receiver, 40, day=10) == transfers.ARRIVED
    assert await receiver.balance() == (40, 0)


async def test_a_transfer_to_an_account_closed_meanwhile_comes_back_to_its_own_lots(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100, expires=100)
    await sender.accrue(60, activates=30, expires=200)
    before = await sender.lots()
    sent = await send(database, Order(sender.holder_id, receiver.holder_id, takes_pending=True))
    async with database.transaction() as connection:
        await transfers.close_account(connection, receiver.holder_id)
    assert await transfers.complete(database, sender.holder_id, sent.seq, at=T0 + DAY) == transfers.CAME_BACK
    assert await sender.lots() == before
    assert (await sender.balance(), await receiver.balance()) == ((100, 60), (0, 0))
    assert (await sender.entries())[-1][:2] == (16, 160)


async def test_an_account_that_said_no_never_takes_the_transfer_afterwards(
    database: Database, pair: tuple[Holder, Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    sent = await send(database, Order(sender.holder_id, receiver.holder_id, 100))
    async with database.transaction() as connection:
        await transfers.close_account(connection, receiver.holder_id)
    second_halves = store.transfer_in

    async def reopened_in_between(connection, given):
        if given["kind"] == transfers.BACK:
            async with database.transaction() as other:
                await store.close_account(other, receiver.holder_id, 1, closed=False)
            monkeypatch.setattr(store, "transfer_in", second_halves)
            assert await transfers.complete(database, sender.holder_id, sent.seq, at=T0) == transfers.CAME_BACK
        return await second_halves(connection, given)

    monkeypatch.setattr(store, "transfer_in", reopened_in_between)
    assert await transfers.complete(database, sender.holder_id, sent.seq, at=T0) == transfers.CAME_BACK
    assert (await sender.balance(), await receiver.balance()) == ((100, 0), (0, 0))


@pytest.mark.parametrize("dies_after", ["the first half", "the second half"])
async def test_what_a_crash_leaves_on_its_way_is_found_and_completed_once(
    database: Database, pair: tuple[Holder, Holder], monkeypatch: pytest.MonkeyPatch, dies_after: str
) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    sent = await send(database, Order(sender.holder_id, receiver.holder_id, 60))
    if dies_after == "the second half":
        monkeypatch.setattr(store, "finish", _die)
        with pytest.raises(SystemExit):
            await transfers.complete(database, sender.holder_id, sent.seq, at=T0)
        monkeypatch.undo()
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    async with database.reading() as connection:
        assert await transfers.unfinished(connection) == [(T0, sender.holder_id, 1, sent.seq)]
    for _ in range(2):
        assert await transfers.complete(database, sender.holder_id, sent.seq, at=T0 + DAY) == transfers.ARRIVED
    async with database.reading() as connection:
        assert await transfers.unfinished(connection) == []
    assert (await sender.balance(), await receiver.balance()) == ((40, 0), (60, 0))


async def _die(*_: object) -> None:
    raise SystemExit


async def test_points_that_come_home_go_back_into_the_lots_that_they_left(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, pool = pair
    await sender.accrue(100, expires=100)
    await sender.accrue(50, expires=200)
    before = await facts(sender)
    await give(database, sender, pool, 130)
    await pool.accrue(1_000, expires=150)
    order = Order(pool.holder_id, sender.holder_id, contributor_ids=[sender.holder_id])
    sent = await send(database, order)
    assert sent.points == 130
    await transfers.complete(database, pool.holder_id, sent.seq, at=T0)
    assert (await facts(sender), await pool.balance()) == (before, (1_000, 0))
    assert (await sender.take_back(1, 100))["taken"] == 100


async def test_points_come_home_into_a_lot_of_their_own_where_the_old_one_has_another_expiry(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, pool = pair
    await sender.accrue(100, expires=30)
    await sender.hold(40, days=300)
    await give(database, sender, pool, 60)
    spent = await pool.redeem(60)
    await pool.refund(spent["seq"], 60, day=31)
    assert await give(database, pool, sender, day=31, contributor_ids=[sender.holder_id]) == transfers.ARRIVED
    assert [(row[0], row[5]) for row in await facts(sender)] == [(0, T0 + 30 * DAY), (60, T0 + 61 * DAY)]
    assert (await sender.balance(), await sender.held()) == ((60, 0), 40)


async def test_what_has_arrived_cannot_come_back_and_what_came_back_cannot_come_again(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    sent = await send(database, Order(sender.holder_id, receiver.holder_id, 60))
    await transfers.complete(database, sender.holder_id, sent.seq, at=T0)
    back = (
        "SELECT status FROM ledger.transfer_in(16::smallint, $1, 1::smallint, $1, $2, $3, ARRAY[1], ARRAY[1], ARRAY[1],"
        " ARRAY[60::bigint], ARRAY[$3::timestamptz], ARRAY[$3::timestamptz + interval '1 day'], ARRAY[true],"
        " ARRAY[1::bigint], ARRAY[1::smallint], ARRAY[NULL::bigint], ARRAY[NULL::bigint], ARRAY[NULL::smallint])"
    )
    assert await database.pool.fetchval(back, sender.holder_id, sent.seq, T0) == 8
    assert await database.pool.fetchval(back, sender.holder_id, 1, T0) == 8
    assert not await database.pool.fetchval(
        "SELECT ledger.finish_transfer($1, 1::smallint, $2, 9)", sender.holder_id, sent.seq
    )
    assert (await sender.balance(), await receiver.balance()) == ((40, 0), (60, 0))


async def test_a_gift_is_the_receivers_own_and_a_contribution_stays_the_contributors(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    giver, receiver = pair
    pool = await open_holder(database.pool)
    await giver.accrue(100)
    await give(database, giver, receiver, 40, keeps_contributor=False)
    await give(database, receiver, pool, 40)
    await give(database, giver, pool, 60)
    async with database.reading() as connection:
        assert await transfers.contributed(connection, pool.holder_id, at=T0) == {
            giver.holder_id: 60, receiver.holder_id: 40,
        }  # fmt: skip
    for holder, points in ((receiver, 40), (giver, 60)):
        sent = await send(database, Order(pool.holder_id, holder.holder_id, contributor_ids=[holder.holder_id]))
        assert sent.points == points
        await transfers.complete(database, pool.holder_id, sent.seq, at=T0)
    assert await giver.lots() == {1: 60}


async def test_transfers_in_both_directions_at_once_do_not_deadlock(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    one, other = pair
    for holder in pair:
        await holder.accrue(1_000)
    calls = [give(database, *direction, 7) for _ in range(10) for direction in ((one, other), (other, one))]
    assert await asyncio.gather(*calls) == [transfers.ARRIVED] * 20
    assert (await one.balance(), await other.balance()) == ((1_000, 0), (1_000, 0))


async def test_of_transfers_and_redemptions_of_a_whole_balance_at_once_one_wins(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    for turn in range(5):
        await sender.accrue(100, day=turn)
        tries = [give(database, sender, receiver, 100, day=turn) for _ in range(3)]
        both = await asyncio.gather(*tries, *(sender.redeem(100, day=turn) for _ in range(3)), return_exceptions=True)
        given = [one for one in both[:3] if one == transfers.ARRIVED]
        assert all(isinstance(one, transfers.TransferExceedsBalance) for one in both[:3] if one not in given)
        spent = [one for one in both[3:] if one["status"] == 0]  # type: ignore[index]
        assert len(given) + len(spent) == 1
        assert await sender.balance() == (0, 0)


async def test_a_transfer_completed_by_many_at_once_arrives_once(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    sent = await send(database, Order(sender.holder_id, receiver.holder_id, 70))
    calls = [transfers.complete(database, sender.holder_id, sent.seq, at=T0) for _ in range(8)]
    assert await asyncio.gather(*calls) == [transfers.ARRIVED] * 8
    assert await receiver.balance() == (70, 0)


async def test_one_key_at_once_takes_once(database: Database, pair: tuple[Holder, Holder]) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    order, key = Order(sender.holder_id, receiver.holder_id, 20), uuid4()
    sent = await asyncio.gather(*(send(database, order, key=key) for _ in range(6)))
    assert sorted(one.replayed for one in sent) == [False] + [True] * 5
    assert await sender.balance() == (80, 0)
    await transfers.complete(database, sender.holder_id, sent[0].seq, at=T0)


async def test_what_is_outstanding_is_the_same_before_during_and_after(
    database: Database, pair: tuple[Holder, Holder]
) -> None:
    sender, receiver = pair
    await sender.accrue(100, expires=100, issuer=4)
    await sender.accrue(30, activates=9, expires=90, issuer=5)

    async def outstanding() -> list[history.Outstanding]:
        async with database.reading() as connection:
            return await history.outstanding_at(connection, at=T0 + 2 * DAY)

    before = await outstanding()
    sent = await send(database, Order(sender.holder_id, receiver.holder_id, takes_pending=True), day=1)
    assert await outstanding() == before
    await transfers.complete(database, sender.holder_id, sent.seq, at=T0 + 2 * DAY)
    assert await outstanding() == before


TAMPERING = {
    "A19 transfer = its entries": [
        "UPDATE ledger.transfer SET amount = amount + 1 WHERE state = 0",
        "DELETE FROM ledger.transfer WHERE state = 0",
        "UPDATE ledger.transfer SET settled_seq = 1 WHERE state = 2",
        "UPDATE ledger.transfer SET state = 2, settled_seq = 9 WHERE state = 0",
    ],
    "A20 both halves of a transfer agree": [
        "UPDATE ledger.transfer SET settled_seq = 99 WHERE state = 1",
        "UPDATE ledger.transfer SET amount = amount + 1 WHERE state = 1",
        "UPDATE ledger.transfer SET state = 1, settled_seq = 1 WHERE state = 0",
        "UPDATE ledger.journal SET idem_key = gen_random_uuid() WHERE kind = 15",
    ],
    "A20 on its way = unfinished transfers": [
        "UPDATE ledger.transfer SET state = 2, settled_seq = 9 WHERE state = 0",
        "DELETE FROM ledger.posting WHERE debit = 14",
        "UPDATE ledger.posting SET issuer_id = 9 WHERE debit = 14",
    ],
    "A3 lot = its postings": ["UPDATE ledger.posting SET credit = 13 WHERE credit = 14"],
}


@pytest.mark.parametrize(("rule", "tampering"), [(rule, one) for rule, all_ in TAMPERING.items() for one in all_])
async def test_tampering_with_transfers_is_seen(
    database: Database, server: postgres.Server, database_name: str, rule: str, tampering: str
) -> None:
    sender, receiver, closed = [await open_holder(database.pool) for _ in range(3)]
    await sender.accrue(100)
    await give(database, sender, receiver, 10)
    gone = await send(database, Order(sender.holder_id, closed.holder_id, 20))
    async with database.transaction() as connection:
        await transfers.close_account(connection, closed.holder_id)
    await transfers.complete(database, sender.holder_id, gone.seq, at=T0)
    await send(database, Order(sender.holder_id, receiver.holder_id, 30))
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute(tampering)
    await owner.close()
    assert rule in {row["rule"] for row in await database.pool.fetch("SELECT * FROM ledger.audit()")}
    if rule[:3] in ("A19", "A3 "):
        seen = {row["rule"] for row in await database.pool.fetch("SELECT * FROM ledger.audit_accounts(NULL, NULL)")}
        assert rule in seen


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger.transfer SET state = 1", "DELETE FROM ledger.transfer", "TRUNCATE ledger.transfer"]
)
async def test_the_application_cannot_change_a_transfer(database: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.pool.execute(statement)


async def test_an_unknown_transfer_cannot_be_completed(database: Database) -> None:
    with pytest.raises(LookupError):
        await transfers.complete(database, 404, 1, at=T0)


async def test_the_open_ones_have_an_index_of_their_own(database: Database) -> None:
    said = await database.pool.fetchval(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'ledger' AND indexname = 'transfer_on_its_way'"
    )
    assert said.endswith("(sent_at) WHERE (state = 0)")


async def test_unfinished_transfers_are_listed_in_pages(database: Database, pair: tuple[Holder, Holder]) -> None:
    sender, receiver = pair
    await sender.accrue(100)
    for day in range(5):
        await send(database, Order(sender.holder_id, receiver.holder_id, 5), day=day)
    async with database.reading() as connection:
        seen, after = [], None
        while page := await transfers.unfinished(connection, after=after, limit=2):
            seen += page
            after = page[-1]
    assert [sent_at for sent_at, *_ in seen] == [T0 + timedelta(days=day) for day in range(5)]
    for _, holder_id, _, seq in seen:
        await transfers.complete(database, holder_id, seq, at=T0)
    assert await receiver.balance() == (25, 0)
