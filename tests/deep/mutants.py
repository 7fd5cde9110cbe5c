"""Mutants of the routines: each is the shipped text with one guard broken, and the probe that must notice.

A probe is one of the suite's own tests wherever the suite has one, else a deterministic interleaving written here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg

import migrations
from kit.database import Database
from kit.postgres import Server
from kit.secrets import Vault
from ledger import notices
from members.cards import IssuedCard
from partners import recording
from partners.decisions import preparing
from partners.decisions.prepared import Prepared
from partners.outcomes import Recorded
from partners.receipts import store as receipt_store
from partners.returns import returns
from partners.returns.returning import Wish
from tests.builders import NOON, Coalition, a_receipt, found, identified, violations
from tests.ledger import test_batches, test_cutoffs, test_debts, test_ledger_machine, test_notices, test_operations
from tests.ledger.test_operations import T0, Holder, open_holder
from tests.partners.holds import test_holds
from tests.partners.purchases import test_purchases
from tests.partners.returns import test_debts as test_member_debts
from tests.partners.returns import test_returns


class NotThere(Exception):  # noqa: N818 - it says what the snippet is
    """A mutant's snippet is not in the routines exactly once: they changed, and the mutant must follow."""


@dataclass(frozen=True)
class Mutant:
    """What is broken, where, how, and the name of the probe that must notice."""

    name: str
    routine: str
    old: str
    new: str
    killer: str


@dataclass
class Stage:
    """A database of its own with mutated routines, and what probes need of it."""

    server: Server
    name: str
    database: Database
    vault: Vault


Probe = Callable[[Stage], Awaitable[None]]


# --- Text ---------------------------------------------------------------------------------------------------


def script(package: str, mutant: Mutant | None = None) -> str:
    """A package's routines as one script, mutated if the mutant is of this package. Raises NotThere."""
    text = migrations._routines_of(package)
    if mutant is None or not mutant.routine.startswith(f"{package}."):
        return text
    begins = f"CREATE FUNCTION {mutant.routine}("
    if text.count(begins) != 1:
        raise NotThere(f"{mutant.name}: {mutant.routine} is there {text.count(begins)} times, not once")
    start = text.index(begins)
    end = (
        text.index("$$;", start) if "END $$;" not in text[start : _next(text, start)] else text.index("END $$;", start)
    )
    body = text[start:end]
    # White space may change with the layout, the words may not.
    wanted = re.compile(r"\s+".join(re.escape(word) for word in mutant.old.split()))
    if len(wanted.findall(body)) != 1:
        raise NotThere(
            f"{mutant.name}: found {len(wanted.findall(body))} times in {mutant.routine}, not once: {mutant.old}"
        )
    return text[:start] + wanted.sub(lambda _: mutant.new, body) + text[end:]


def _next(text: str, start: int) -> int:
    after = text.find("\nCREATE ", start + 1)
    return len(text) if after < 0 else after


async def load(connection: asyncpg.Connection, mutant: Mutant | None) -> None:
    """Replace a database's routines, as its owner."""
    for package in migrations.PACKAGES_WITH_ROUTINES:
        if mutant is None or mutant.routine.startswith(f"{package}."):
            async with connection.transaction():
                await connection.execute("SELECT kit.drop_routines($1)", package)
                await connection.execute(script(package, mutant))


# --- Probes that the suite has already ------------------------------------------------------------------------


def with_holder(test: Callable[[Holder], Awaitable[None]]) -> Probe:
    """A test of the ledger's operations on one account, with the audit at its end."""

    async def probe(stage: Stage) -> None:
        await test(await open_holder(stage.database.pool))
        await sound(stage)

    return probe


def with_coalition(test: Callable[[Coalition], Awaitable[None]]) -> Probe:
    """A test of purchases or returns, with the audit at its end."""

    async def probe(stage: Stage) -> None:
        coalition = await coalition_on(stage)
        try:
            await test(coalition)
        finally:
            await coalition.desk.close()
        await sound(stage)

    return probe


def with_member(test: Callable[[Coalition, IssuedCard], Awaitable[None]]) -> Callable[[Coalition], Awaitable[None]]:
    """A test of holds, with the member who has points for them."""

    async def probe(coalition: Coalition) -> None:
        await test(coalition, await test_holds.funded(coalition))

    return probe


def with_owner(test: Callable[[Database, asyncpg.Connection], Awaitable[None]]) -> Probe:
    """A test of cut-offs that changes the schema as its owner."""

    async def probe(stage: Stage) -> None:
        owner = await asyncpg.connect(stage.server.dsn(stage.name, stage.server.superuser))
        try:
            await test(stage.database, owner)
        finally:
            await owner.close()

    return probe


def with_server(test: Callable[[Database, Server, str], Awaitable[None]]) -> Probe:
    """A test that signs in as the tables' owner by itself."""
    return lambda stage: test(stage.database, stage.server, stage.name)


def with_database(test: Callable[[Database], Awaitable[None]]) -> Probe:
    """A test that needs nothing but a database."""
    return lambda stage: test(stage.database)


async def sound(stage: Stage) -> None:
    """The audit finds nothing, and the chains hold."""
    assert await violations(stage.database.pool) == []
    assert await stage.database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


def with_debtors(test: Callable[[Coalition], Awaitable[None]]) -> Probe:
    """A test of returns among partners some of whom let members owe, with the audit at its end."""

    async def probe(stage: Stage) -> None:
        coalition = await found(stage.database, stage.vault)
        await coalition.add_partner("bakery", return_window_days=0, return_policy="MEMBER_DEBT")
        await coalition.add_partner("grocer", return_window_days=0, bill_share_bp=10_000)
        await coalition.add_partner("florist", return_policy="MEMBER_DEBT")
        try:
            await test(coalition)
        finally:
            await coalition.desk.close()
        await sound(stage)

    return probe


def with_notice(test: Callable[..., Awaitable[None]], *arguments: object, of: tuple[str, ...] = ("database",)) -> Probe:
    """A test of notices on one account in a unit that asks for them, with the audit at its end."""

    async def probe(stage: Stage) -> None:
        async with stage.database.transaction() as connection:
            await notices.require(connection, test_notices.DAYS)
        await test(await open_holder(stage.database.pool), *([stage.database] if of else []), *arguments)
        await sound(stage)

    return probe


async def coalition_on(stage: Stage) -> Coalition:
    """The partners that the suite's tests of purchases and returns speak of."""
    coalition = await found(stage.database, stage.vault)
    await coalition.add_partner("bakery", return_window_days=0)
    await coalition.add_partner("grocer")
    await coalition.add_partner("florist", return_window_days=0, return_policy="REFUND_DEDUCTION")
    return coalition


# --- Interleavings ----------------------------------------------------------------------------------------------


async def stands(stage: Stage, task: asyncio.Task[object], waiters: int = 1) -> None:
    """Come back when this many of the database's sessions wait for a lock, or the task is done."""
    for _ in range(1000):
        waiting = await stage.database.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'", stage.name
        )
        if task.done() or waiting >= waiters:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nothing waited and nothing was done in five seconds")


async def after_another(stage: Stage, holder: Holder, first: str, second: Callable[[], Awaitable[object]]) -> object:
    """What the second call answers when it began while the first (a statement over $1, the holder) was not committed."""
    async with stage.database.pool.acquire() as connection:
        writing = connection.transaction()
        await writing.start()
        await connection.execute(first.replace("$1", str(holder.holder_id)))
        task: asyncio.Task[object] = asyncio.ensure_future(second())  # type: ignore[arg-type]
        await stands(stage, task)
        await writing.commit()
        return await asyncio.wait_for(task, 10)


def redeeming(points: int, key: UUID) -> str:
    """A redemption as a statement."""
    return f"SELECT ledger.redeem($1, 1::smallint, {points}, 2, 2, '{key}', '{test_operations.NOTHING}', '{T0}', '{T0.date()}')"


async def a_balance_is_redeemed_once_by_two_at_once(stage: Stage) -> None:
    """The second redemption waits for the first, and finds nothing left."""
    holder = await open_holder(stage.database.pool)
    await holder.accrue(100)
    again = await after_another(stage, holder, redeeming(100, uuid4()), lambda: holder.redeem(100))
    assert again["status"] == 3  # type: ignore[index]
    await sound(stage)


async def what_is_due_is_applied_once_by_two_accruals_at_once(stage: Stage) -> None:
    """The second waits for the first, which applied what was due, and records behind it."""
    holder = await open_holder(stage.database.pool)
    await holder.accrue(100, activates=5, expires=50)
    due = T0 + timedelta(days=6)
    accruing = (
        f"SELECT ledger.accrue($1, 1::smallint, 1, '{uuid4()}', '{test_operations.NOTHING}', '{due}', ARRAY[1], ARRAY[1],"
        f" ARRAY[1], ARRAY[10::bigint], ARRAY['{due}'::timestamptz], ARRAY['{due}'::timestamptz + interval '365 days'])"
    )
    second = await after_another(stage, holder, accruing, lambda: holder.accrue(1, day=6))
    assert (second["status"], second["seq"], second["available"]) == (0, 4, 111)  # type: ignore[index]
    await sound(stage)


async def one_key_at_once_has_one_effect(stage: Stage) -> None:
    """The second call of a key waits for the first, and hears its answer: redemption, accrual, return."""
    holder, key = await open_holder(stage.database.pool), uuid4()
    await holder.accrue(100)
    again = await after_another(stage, holder, redeeming(10, key), lambda: holder.redeem(10, key=key))
    assert (again["status"], again["available"]) == (1, 90)  # type: ignore[index]
    key = uuid4()
    accruing = (
        f"SELECT ledger.accrue($1, 1::smallint, 1, '{key}', '{test_operations.NOTHING}', '{T0}', ARRAY[1], ARRAY[1], ARRAY[1],"
        f" ARRAY[10::bigint], ARRAY['{T0}'::timestamptz], ARRAY['{T0}'::timestamptz + interval '365 days'])"
    )
    again = await after_another(stage, holder, accruing, lambda: holder.accrue(10, key=key))
    assert (again["status"], again["available"]) == (1, 100)  # type: ignore[index]
    key = uuid4()
    of_two_lots = (
        f"SELECT * FROM ledger.accrue($1, 1::smallint, 1, '{key}', '{test_operations.NOTHING}', '{T0}', ARRAY[1, 1],"
        " ARRAY[1, 2], ARRAY[1, 1], ARRAY[3, 4]::bigint[], array_fill('2026-01-01Z'::timestamptz, ARRAY[2]),"
        " array_fill('2027-03-02Z'::timestamptz, ARRAY[2]))"
    )
    again = await after_another(
        stage, holder, of_two_lots, lambda: stage.database.pool.fetchrow(of_two_lots, holder.holder_id)
    )
    assert (again["status"], again["available"]) == (1, 107)  # type: ignore[index]
    key = uuid4()
    returning = (
        f"SELECT ledger.return_accrual($1, 1::smallint, 1, ARRAY[1::smallint], ARRAY[10::bigint], 1, '{key}',"
        f" '{test_operations.NOTHING}', '{T0}')"
    )
    again = await after_another(stage, holder, returning, lambda: holder.take_back(1, 10, key=key))
    assert (again["status"], again["taken"]) == (1, 10)  # type: ignore[index]
    await sound(stage)


async def the_sweeper_waits_for_a_redemption_and_finds_its_work_done(stage: Stage) -> None:
    """What is due is applied once, by whoever comes first."""
    holder = await open_holder(stage.database.pool)
    await holder.accrue(100, activates=5, expires=50)
    late = redeeming(30, uuid4()).replace(f"'{T0}'", f"'{T0 + 20 * test_operations.DAY}'")
    await after_another(stage, holder, late, lambda: holder.sweep(20))
    assert await holder.balance() == (70, 0)
    await sound(stage)


async def _items(coalition: Coalition, members: list[int], cards: dict[int, object]) -> list[Prepared]:
    directory = await coalition.desk.directory.get()
    return [
        preparing.prepare(
            directory, coalition.callers["bakery"], identified(cards[n]), a_receipt(1_000), at=NOON, idem_key=None  # type: ignore[arg-type]
        )
        for n in members
    ]  # fmt: skip


async def _record(connection: object, items: list[Prepared]) -> list[int]:
    rows = await receipt_store.record_purchases(
        connection, [item.row for item in items], [item.award.lots for item in items], NOON  # type: ignore[arg-type]
    )  # fmt: skip
    return [row["status"] for row in rows]


async def batches_of_the_same_accounts_in_any_order_never_deadlock(stage: Stage) -> None:
    """Two batches that name accounts in opposite orders, held up in the middle: both come through."""
    coalition = await coalition_on(stage)
    cards = {n: await coalition.add_member() for n in range(3)}
    async with (
        stage.database.pool.acquire() as holds_up,
        stage.database.pool.acquire() as one,
        stage.database.pool.acquire() as other,
    ):
        middle = holds_up.transaction()
        await middle.start()
        await holds_up.execute("SELECT ledger.lock_accounts(ARRAY[$1::bigint], 1::smallint)", cards[1].member_id)
        tasks = []
        for waiters, (connection, order) in enumerate(((one, [0, 1, 2]), (other, [2, 1, 0])), start=1):
            tasks.append(asyncio.ensure_future(_record(connection, await _items(coalition, order, cards))))  # type: ignore[arg-type]
            await stands(stage, tasks[-1], waiters)  # type: ignore[arg-type]
        await middle.commit()
        assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == [[0, 0, 0], [0, 0, 0]]
    await coalition.desk.close()
    await sound(stage)


async def two_batches_of_one_account_follow_each_other(stage: Stage) -> None:
    """A batch waits for the one before to commit, and numbers its entries after it."""
    coalition = await coalition_on(stage)
    cards = {0: await coalition.add_member()}
    async with stage.database.pool.acquire() as one, stage.database.pool.acquire() as other:
        writing = one.transaction()
        await writing.start()
        assert await _record(one, await _items(coalition, [0, 0], cards)) == [0, 0]  # type: ignore[arg-type]
        task = asyncio.ensure_future(_record(other, await _items(coalition, [0, 0], cards)))  # type: ignore[arg-type]
        await stands(stage, task)  # type: ignore[arg-type]
        await writing.commit()
        assert await asyncio.wait_for(task, 10) == [0, 0]
    assert (
        await stage.database.pool.fetchval("SELECT seq FROM ledger.account WHERE holder_id = $1", cards[0].member_id)
        == 4
    )
    await coalition.desk.close()
    await sound(stage)


async def a_receipt_lost_to_another_card_is_left_out_of_a_batch(stage: Stage) -> None:
    """A batch waits for the claim of a batch before it, and records the rest of its items."""
    coalition = await coalition_on(stage)
    cards = [await coalition.add_member() for _ in range(4)]
    receipts = [a_receipt(1_000, reference=reference) for reference in ("shared", "one", "other")]
    directory = await coalition.desk.directory.get()

    def of(card: int, receipt: int) -> Prepared:
        member = identified(cards[card])
        return preparing.prepare(
            directory, coalition.callers["bakery"], member, receipts[receipt], at=NOON, idem_key=uuid4()
        )

    async with stage.database.pool.acquire() as one, stage.database.pool.acquire() as other:
        writing = one.transaction()
        await writing.start()
        assert await _record(one, [of(0, 0), of(1, 1)]) == [0, 0]
        task = asyncio.ensure_future(_record(other, [of(2, 0), of(3, 2)]))
        await stands(stage, task)  # type: ignore[arg-type]
        await writing.commit()
        assert await asyncio.wait_for(task, 10) == [9, 0]
    await coalition.desk.close()
    await sound(stage)


async def _one_receipt_two_cards(stage: Stage, spend: int) -> None:
    """The second card waits for the first's claim on the receipt, then is told that it is recorded."""
    coalition = await coalition_on(stage)
    cards = [await coalition.add_member() for _ in range(2)]
    for card in cards:
        await test_purchases.record(coalition, card, a_receipt(100_000))
    receipt, directory = a_receipt(2_000), await coalition.desk.directory.get()
    prepared = preparing.prepare(
        directory, coalition.callers["bakery"], identified(cards[0]), receipt, at=NOON, idem_key=uuid4()
    )
    async with stage.database.pool.acquire() as connection:
        writing = connection.transaction()
        await writing.start()
        assert await _record(connection, [prepared]) == [0]
        task = asyncio.ensure_future(test_purchases.record(coalition, cards[1], receipt, key="other", spend=spend))
        await stands(stage, task)  # type: ignore[arg-type]
        await writing.commit()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert type(outcome).__name__ == "ReceiptAlreadyRecorded", outcome
    assert (
        await stage.database.pool.fetchval("SELECT count(*) FROM partners.receipt WHERE claim = $1", prepared.row.claim)
        == 1
    )
    await coalition.desk.close()
    await sound(stage)


async def one_receipt_with_two_cards_earns_once(stage: Stage) -> None:
    """Neither card spends."""
    await _one_receipt_two_cards(stage, 0)


async def one_receipt_with_two_cards_is_paid_once(stage: Stage) -> None:
    """The late card wants to spend; its points stay where they are."""
    await _one_receipt_two_cards(stage, 100)


async def of_two_returns_decided_on_one_state_the_second_is_decided_again(stage: Stage) -> None:
    """Both have seen the receipt untouched; together they may not take back more than it earned."""
    coalition = await coalition_on(stage)
    card = await coalition.add_member()
    receipt = a_receipt(10_000)
    await test_purchases.record(coalition, card, receipt)
    written, decided = receipt_store.record_return, asyncio.Barrier(2)
    met = 0

    async def together(*arguments: object, **named: object) -> asyncpg.Record:
        nonlocal met
        met += 1
        if met <= 2:
            await decided.wait()
        return await written(*arguments, **named)  # type: ignore[arg-type]

    returns.receipt_store.record_return = together  # type: ignore[assignment]
    try:
        both = await asyncio.gather(
            *(
                test_returns.give_back(coalition, receipt, Wish(amount_minor=6_000), reference=f"b{n}")
                for n in range(2)
            ),
            return_exceptions=True,
        )
    finally:
        returns.receipt_store.record_return = written
    assert sorted(type(one).__name__ for one in both) == ["ReturnExceedsOriginal", "Returned"], both
    await coalition.desk.close()
    await sound(stage)


async def a_batch_answers_every_item_with_its_own_receipt(stage: Stage) -> None:
    """A repeated batch is told the receipts of its first time, whoever they belong to."""
    coalition = await coalition_on(stage)
    cards = {n: await coalition.add_member() for n in range(2)}
    items = await _items(coalition, [0, 1, 1], cards)  # type: ignore[arg-type]
    first = await recording.record_many(coalition.desk.recorder, items, at=NOON)
    again = await recording.record_many(coalition.desk.recorder, list(reversed(items)), at=NOON)
    assert all(isinstance(one, Recorded) for one in (*first, *again)), (first, again)
    told = [
        (one.receipt.holder_id, one.receipt.seq, one.receipt.reference) for one in first if isinstance(one, Recorded)
    ]
    retold = [
        (one.receipt.holder_id, one.receipt.seq, one.receipt.reference) for one in again if isinstance(one, Recorded)
    ]
    assert retold == list(reversed(told))
    assert [holder for holder, _, _ in told] == [cards[n].member_id for n in (0, 1, 1)]
    await coalition.desk.close()
    await sound(stage)


async def a_batch_waits_for_the_call_before_it(stage: Stage) -> None:
    """Spent, resolved or taken back by a call that is not committed yet: a batch finds that done, and its key known."""
    b, pool, key = test_batches, stage.database.pool, uuid4()

    async def after(holder: Holder, first: str, item: test_batches.Item) -> test_batches.Outcome:
        [told] = await after_another(stage, holder, first, lambda: b.together(pool, [item], 0))  # type: ignore[misc]
        return told

    holder = await open_holder(pool)
    await holder.accrue(100)
    known = await after(holder, redeeming(10, key), b.redemption(holder.holder_id, 10, key=key))
    assert (known.status, known.available) == (1, 90)
    assert (await after(holder, redeeming(60, uuid4()), b.redemption(holder.holder_id, 60))).status == 3
    placed = (await holder.hold(20))["seq"]
    releasing = (
        f"SELECT ledger.resolve_hold(6::smallint, $1, 1::smallint, {placed}, 0, 2, 2, '{uuid4()}',"
        f" '{test_operations.NOTHING}', '{T0}')"
    )
    assert (await after(holder, releasing, b.capture(holder.holder_id, placed, 20))).status == 8
    returning = (
        f"SELECT ledger.return_accrual($1, 1::smallint, 1, ARRAY[1::smallint], ARRAY[20::bigint], 1, '{uuid4()}',"
        f" '{test_operations.NOTHING}', '{T0}')"
    )
    assert (await after(holder, returning, b.taking_back(holder.holder_id, 1, 20))).taken == 10
    await sound(stage)


async def random_batches_agree_with_the_model(stage: Stage) -> None:
    """The suite's model, two of its seeds."""
    for seed in range(2):
        await test_batches.test_random_batches_agree_with_an_independent_model(stage.database, seed)


async def random_histories_agree_with_the_model(stage: Stage) -> None:
    """The suite's model, two of its seeds: those that ask for no notice, for the rule is one per database."""
    for seed in (0, 2):
        await test_ledger_machine.test_random_histories_agree_with_an_independent_model(stage.database, seed)


async def a_daily_cap_and_a_spend_lock_bind(stage: Stage) -> None:
    """The suite's test, which needs the owner of the tables."""
    holder = await open_holder(stage.database.pool)
    await test_operations.test_a_spend_lock_and_a_daily_cap_bind_spending_and_nothing_else(
        holder, stage.server, stage.name
    )
    await sound(stage)


def _probes() -> dict[str, Probe]:
    o, b, p, r, h = test_operations, test_batches, test_purchases, test_returns, test_holds
    by_holder = [
        o.test_a_redemption_consumes_the_lot_that_expires_first,
        o.test_due_lots_activate_and_expire_on_touch_each_at_its_own_due_instant,
        o.test_pending_points_cannot_be_spent,
        o.test_a_lot_expires_at_its_instant_and_not_before,
        o.test_a_decline_is_final_for_its_key_and_leaves_the_balance_alone,
        o.test_a_repeated_accrual_leaves_everything_as_it_was,
        o.test_an_accrual_earlier_than_the_last_entry_is_recorded_at_that_entrys_instant,
        o.test_a_return_takes_no_more_than_the_accruals_own_lot_still_holds,
        o.test_a_pending_accrual_is_taken_back_without_ever_being_available,
        o.test_a_refund_gives_each_lot_back_what_it_gave_the_last_consumed_first,
        o.test_no_more_is_refunded_than_was_redeemed,
        o.test_refunded_points_of_an_expired_lot_are_good_for_the_grace_and_then_expire,
        o.test_a_key_repeated_answers_as_the_first_time_and_with_another_input_is_refused,
        o.test_a_capture_takes_what_was_set_aside_and_the_rest_goes_back_to_its_own_lots,
        o.test_a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself,
        o.test_held_points_can_be_neither_spent_nor_held_again,
        o.test_a_hold_lapses_at_its_deadline_and_cannot_be_captured_any_more,
        o.test_held_points_outlive_their_lots_expiry_and_expire_when_they_are_freed,
    ]
    by_coalition = [
        p.test_the_same_receipt_with_another_card_is_refused,
        p.test_the_same_receipt_with_another_content_is_refused,
        p.test_a_rotating_code_pays_once_network_wide,
        p.test_many_receipts_of_one_member_in_one_call_are_all_recorded_in_order,
        p.test_too_few_points_is_a_final_answer_that_a_retry_hears_again,
        p.test_spending_takes_the_lots_that_expire_first_and_the_rest_of_the_bill_earns,
        r.test_a_receipt_cancelled_before_it_arrives_is_refused_when_it_does,
        r.test_a_cancelled_purchase_is_undone_whole_and_cancelling_again_changes_nothing,
    ]
    by_hold = [
        h.test_a_purchase_captures_its_hold_earns_on_the_rest_and_a_retry_hears_the_same,
        h.test_a_key_is_for_one_hold_of_one_member,
        h.test_a_released_hold_is_the_members_again_once,
        h.test_an_approval_pays_once_and_a_retry_finds_its_own_answer_first,
    ]
    by_owner = [
        test_cutoffs.test_a_writer_overtaken_by_the_closer_lands_in_the_next_cutoff,
        test_cutoffs.test_an_accrual_that_remembers_a_cutoff_and_is_overtaken_lands_in_the_next,
    ]
    by_database = [
        test_cutoffs.test_the_closer_waits_for_a_writer_that_has_not_committed,
        test_cutoffs.test_the_closer_waits_for_an_accrual_that_remembers_its_cutoff,
        test_cutoffs.test_closing_again_finishes_what_a_crash_left_draining,
        o.test_a_batch_writes_what_its_items_would_write_one_by_one,
        b.test_of_two_items_of_an_account_the_first_is_done_and_the_second_is_asked_again,
        b.test_of_two_resolutions_or_returns_of_an_account_the_second_is_asked_again_too,
        b.test_points_forgiven_in_a_batch_that_come_back_are_not_taken_a_second_time,
        b.test_a_batch_repeated_answers_as_the_first_time,
        b.test_a_key_used_for_another_input_is_refused_in_batches_too,
        b.test_a_capture_that_frees_points_of_an_expired_lot_tells_and_retells_what_is_left,
        b.test_a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself_in_batches_too,
        b.test_what_was_no_accrual_cannot_be_taken_back_in_a_batch_either,
    ]
    by_server = [
        b.test_a_spend_lock_and_a_daily_cap_bind_batches_too,
        b.test_a_decline_in_a_batch_does_not_count_for_the_day,
        b.test_an_account_whose_lots_do_not_hold_what_it_says_stops_the_whole_batch,
    ]
    written_here = [
        a_balance_is_redeemed_once_by_two_at_once,
        one_key_at_once_has_one_effect,
        what_is_due_is_applied_once_by_two_accruals_at_once,
        the_sweeper_waits_for_a_redemption_and_finds_its_work_done,
        batches_of_the_same_accounts_in_any_order_never_deadlock,
        two_batches_of_one_account_follow_each_other,
        one_receipt_with_two_cards_earns_once,
        a_receipt_lost_to_another_card_is_left_out_of_a_batch,
        one_receipt_with_two_cards_is_paid_once,
        of_two_returns_decided_on_one_state_the_second_is_decided_again,
        a_batch_answers_every_item_with_its_own_receipt,
        a_batch_waits_for_the_call_before_it,
        random_batches_agree_with_the_model,
        random_histories_agree_with_the_model,
        a_daily_cap_and_a_spend_lock_bind,
    ]
    d, m, n = test_debts, test_member_debts, test_notices
    by_holder += [
        d.test_the_own_lot_serves_first_then_others_that_expire_first_and_the_rest_is_owed,
        d.test_points_that_become_available_repay_and_pending_ones_wait,
        d.test_refunded_and_released_points_repay_the_debt_first,
        d.test_what_became_available_while_nobody_looked_repaid_on_its_day_and_did_not_live_to_expire,
        d.test_points_freed_of_expired_lots_expire_and_repay_nothing,
        d.test_what_expired_is_not_owed_and_what_was_asked_back_is_not_asked_twice,
        d.test_points_that_were_owed_and_come_back_are_not_taken_a_second_time,
        d.test_the_return_that_fell_short_first_is_repaid_first_each_in_an_entry_of_its_own,
        d.test_a_return_repeated_by_key_tells_what_it_told_the_first_time,
        d.test_an_accrual_that_repaid_repeated_by_key_tells_what_it_told_the_first_time,
    ]
    by_database += [d.test_a_batch_leaves_an_account_that_owes_as_its_items_would_one_by_one]
    by_debtors = [
        m.test_points_already_spent_are_owed_and_the_money_is_handed_back_whole,
        m.test_other_points_of_the_member_serve_before_anything_is_owed,
    ]
    by_notice = {
        n.test_a_lot_that_nobody_was_told_of_does_not_expire: with_notice,
        n.test_a_refund_into_such_a_lot_leaves_its_day_alone: with_notice,
        n.test_the_rule_cannot_change_once_there_is_a_lot_and_may_be_said_again: with_notice,
        n.test_held_points_of_a_lot_that_nobody_was_told_of_come_back_and_stay: lambda test: with_notice(test, of=()),
        n.test_a_lot_expires_on_its_day_or_when_the_days_of_notice_have_passed: lambda test: with_notice(test, 60, 90),
    }
    wrapped = [
        *((test, with_debtors(test)) for test in by_debtors),
        *((test, wrap(test)) for test, wrap in by_notice.items()),
        *((test, with_holder(test)) for test in by_holder),
        *((test, with_coalition(test)) for test in by_coalition),
        *((test, with_coalition(with_member(test))) for test in by_hold),
        *((test, with_owner(test)) for test in by_owner),
        *((test, with_database(test)) for test in by_database),
        *((test, with_server(test)) for test in by_server),
        *((test, test) for test in written_here),
    ]
    return {test.__name__.removeprefix("test_"): probe for test, probe in wrapped}


PROBES = _probes()

_LOCK = "SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;"
_LOOK = "SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;"
_KNOWN = "SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;"
_ACCRUE_KNOWN = (
    "PERFORM FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;"
)
_ACCRUE_CONFLICT = " ON CONFLICT (holder_id, unit, idem_key) WHERE idem_key IS NOT NULL DO NOTHING"
_NO_ACCOUNT = "IF NOT FOUND THEN status := 4; RETURN; END IF;"
_AGAIN = "v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one"
# The probe moved before the lock: what it found is remembered while the lock is waited for.
_PROBE_FIRST = f"{_KNOWN} {_LOCK} {_NO_ACCOUNT}"

_LOCKS = "PERFORM ledger.lock_accounts(p_holders, p_unit);"
_ALL_DUE = "PERFORM ledger.settle_due(ARRAY(SELECT p_holders[n] FROM unnest(v_take) AS n), p_unit, p_at, v_cutoff);"
_LATER_ITEM = "WHEN row_number() OVER (PARTITION BY a.holder_id, e.seq IS NULL ORDER BY n) > 1 THEN 20"
_MANY = {"spend_many": "spendings", "resolve_many": "resolved holds", "return_many": "returns"}

# Batches: what each of the three forms has in common.
_BATCHES = tuple(
    mutant
    for routine, what in _MANY.items()
    for mutant in (
        Mutant(f"a batch of {what} takes no locks", f"ledger.{routine}", _LOCKS, "", "a_batch_waits_for_the_call_before_it"),
        Mutant(
            f"a batch of {what} does not look for keys", f"ledger.{routine}", "AND e.idem_key = p_idem_keys[n]", "AND false",
            "a_batch_repeated_answers_as_the_first_time",
        ),
        Mutant(
            f"a batch of {what} does two items of an account", f"ledger.{routine}", _LATER_ITEM, "",
            "of_two_items_of_an_account_the_first_is_done_and_the_second_is_asked_again" if routine == "spend_many"
            else "of_two_resolutions_or_returns_of_an_account_the_second_is_asked_again_too",
        ),
        Mutant(
            f"a batch of {what} does not apply what is due", f"ledger.{routine}", _ALL_DUE, "",
            "a_capture_that_frees_points_of_an_expired_lot_tells_and_retells_what_is_left" if routine == "resolve_many"
            else "random_batches_agree_with_the_model",
        ),
        Mutant(
            f"a batch of {what} writes another kind of entry", f"ledger.{routine}", "v_cutoff, p_unit, 8, e.hash"
            if routine == "return_many" else "v_cutoff, p_unit, e.kind, e.hash", "v_cutoff, p_unit, 9, e.hash",
            "random_batches_agree_with_the_model",
        ),
    )
)  # fmt: skip

MUTANTS = (
    *_BATCHES,
    Mutant(
        "a batch takes the lots that expire last first", "ledger.spend_many", "OVER (ORDER BY l.expires_at, l.seq, l.lot_no)",
        "OVER (ORDER BY l.expires_at DESC, l.seq DESC, l.lot_no DESC)", "random_batches_agree_with_the_model",
    ),
    Mutant(
        "a batch spends the accounts' lots together", "ledger.spend_many", "WHERE l.holder_id = i.holder_id AND l.unit = p_unit AND l.open",
        "WHERE l.holder_id = ANY (p_holders) AND l.unit = p_unit AND l.open", "random_batches_agree_with_the_model",
    ),
    Mutant(
        "a batch does not look at the balance", "ledger.spend_many",
        "CASE WHEN a.available < p_amounts[n] THEN 20::smallint ELSE p_kinds[n] END", "p_kinds[n]",
        "random_batches_agree_with_the_model",
    ),
    Mutant(
        "a batch cannot spend the last point", "ledger.spend_many", "WHEN a.available < p_amounts[n] THEN",
        "WHEN a.available <= p_amounts[n] THEN", "a_batch_repeated_answers_as_the_first_time",
    ),
    Mutant(
        "a decline in a batch is not final", "ledger.spend_many", "WHEN e.kind = 20 THEN 3 ELSE 1", "ELSE 1",
        "a_batch_repeated_answers_as_the_first_time",
    ),
    Mutant(
        "a batch does not compare what a key stood for", "ledger.spend_many",
        "WHEN e.fingerprint IS DISTINCT FROM p_fingerprints[n] THEN 2 WHEN", "WHEN",
        "a_key_used_for_another_input_is_refused_in_batches_too",
    ),
    Mutant(
        "a batch of returns does not compare what a key stood for", "ledger.return_many",
        "CASE WHEN e.fingerprint = p_fingerprints[n] THEN 1 ELSE 2 END", "1",
        "a_key_used_for_another_input_is_refused_in_batches_too",
    ),
    Mutant(
        "a batch overlooks a spend lock", "ledger.spend_many", "WHEN a.spend_locked THEN 6", "",
        "a_spend_lock_and_a_daily_cap_bind_batches_too",
    ),
    Mutant(
        "a batch forgets the day's cap", "ledger.spend_many",
        "WHEN a.spent + p_amounts[n] > a.daily_cap AND a.spent_on = p_day OR p_amounts[n] > a.daily_cap THEN 7", "",
        "a_spend_lock_and_a_daily_cap_bind_batches_too",
    ),
    Mutant(
        "a batch forgets what the day has spent", "ledger.spend_many", "WHEN a.spent_on = p_day THEN a.spent + e.amount",
        "WHEN a.spent_on = p_day THEN e.amount", "a_spend_lock_and_a_daily_cap_bind_batches_too",
    ),
    Mutant(
        "a decline in a batch counts for the day", "ledger.spend_many", "WHEN e.kind = 20 THEN a.spent WHEN", "WHEN",
        "a_decline_in_a_batch_does_not_count_for_the_day",
    ),
    Mutant(
        "a hold of a batch has no deadline", "ledger.spend_many",
        "next_due = least(a.next_due, CASE e.kind WHEN 4 THEN p_lapses_at[e.ord] END)", "next_due = a.next_due",
        "random_batches_agree_with_the_model",
    ),
    Mutant(
        "a batch goes on with lots that do not add up", "ledger.spend_many",
        "WHEN p.kind <> 20 AND p.taken IS DISTINCT FROM p.amount", "WHEN false",
        "an_account_whose_lots_do_not_hold_what_it_says_stops_the_whole_batch",
    ),
    Mutant(
        "a batch does not look at a hold's state", "ledger.resolve_many", "WHEN h.state <> 0 THEN 8", "",
        "a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself_in_batches_too",
    ),
    Mutant(
        "a batch captures after the deadline", "ledger.resolve_many", "OR h.state = 0 AND h.lapses_at <= p_at", "",
        "a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself_in_batches_too",
    ),
    Mutant(
        "a batch resolves any partner's hold", "ledger.resolve_many", "AND h.partner_id = p_partners[n]", "",
        "a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself_in_batches_too",
    ),
    Mutant(
        "a batch captures more than the hold", "ledger.resolve_many", "WHEN p_kinds[n] = 5 AND p_amounts[n] > h.amount THEN 10", "",
        "a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself_in_batches_too",
    ),
    Mutant(
        "a batch captures one point too few of a lot", "ledger.resolve_many",
        "greatest(least(p.amount, i.capture - (sum", "greatest(least(p.amount, i.capture - 1 - (sum",
        "a_capture_that_frees_points_of_an_expired_lot_tells_and_retells_what_is_left",
    ),
    Mutant(
        "what a batch frees of an expired lot stays", "ledger.resolve_many", "WHERE t.due_at <= p_at), p_unit, p_at, v_cutoff)",
        "WHERE false), p_unit, p_at, v_cutoff)", "a_capture_that_frees_points_of_an_expired_lot_tells_and_retells_what_is_left",
    ),
    Mutant(
        "a repeated batch tells of points that have expired", "ledger.resolve_many", "j.kind IN (e.kind, 7)", "j.kind = e.kind",
        "a_capture_that_frees_points_of_an_expired_lot_tells_and_retells_what_is_left",
    ),
    Mutant(
        "a batch takes back what is not there", "ledger.return_many", "least(l.remaining, p_lot_points[n]) AS take",
        "p_lot_points[n] AS take", "a_batch_repeated_answers_as_the_first_time",
    ),
    Mutant(
        "a batch takes back what was no accrual", "ledger.return_many", "WHEN o.seq IS NULL THEN 5", "",
        "what_was_no_accrual_cannot_be_taken_back_in_a_batch_either",
    ),
    Mutant(
        "a batch takes pending points from the available", "ledger.return_many", "(CASE WHEN l.active THEN 1 ELSE 2 END)::smallint AS debit",
        "1::smallint AS debit", "what_was_no_accrual_cannot_be_taken_back_in_a_batch_either",
    ),
    Mutant(
        "a batch forgets what its returns fall short of", "ledger.return_many", "WHERE p_shortfalls[n] > 0 AND EXISTS (",
        "WHERE false AND EXISTS (", "random_batches_agree_with_the_model",
    ),
    Mutant(
        "a batch of returns counts a shortfall twice", "ledger.return_many", "SELECT l.remaining < p_lot_points[k] OR EXISTS (",
        "SELECT l.remaining < p_lot_points[k] OR false AND EXISTS (",
        "points_forgiven_in_a_batch_that_come_back_are_not_taken_a_second_time",
    ),
    Mutant(
        "the lots of a batch's returns overlap", "ledger.return_many", "coalesce(p_lot_until[i.ord - 1], 0) + 1", "1",
        "random_batches_agree_with_the_model",
    ),
    # Locks
    Mutant("spend takes no lock", "ledger.spend", _LOCK, _LOOK, "a_balance_is_redeemed_once_by_two_at_once"),
    Mutant(
        "spend looks for the key before the lock", "ledger.spend",
        f"{_LOCK} {_AGAIN} {_NO_ACCOUNT} {_KNOWN} IF FOUND THEN", f"{_PROBE_FIRST} IF e.seq IS NOT NULL THEN", "one_key_at_once_has_one_effect",
    ),
    Mutant(
        "accrue does not look for the key", "ledger.accrue_lot", _ACCRUE_CONFLICT, "", "one_key_at_once_has_one_effect",
    ),
    Mutant(
        "accrue does not put the account back where the key is known", "ledger.accrue_lot", "SET seq = a.seq - 1,",
        "SET seq = a.seq,", "a_repeated_accrual_leaves_everything_as_it_was",
    ),
    Mutant(
        "accrue leaves the day of what is due behind where the key is known", "ledger.accrue_lot",
        "next_due = v_due,", "", "a_repeated_accrual_leaves_everything_as_it_was",
    ),
    Mutant(
        "accrue applies what is due before it looks for the key", "ledger.accrue_lot", f"{_ACCRUE_KNOWN} IF FOUND THEN",
        "IF false THEN", "a_repeated_accrual_leaves_everything_as_it_was",
    ),
    Mutant(
        "accrue takes no lock for what is due", "ledger.accrue_lot",
        "AND a.unit = p_unit FOR NO KEY UPDATE;", "AND a.unit = p_unit;", "what_is_due_is_applied_once_by_two_accruals_at_once",
    ),
    Mutant(
        "an accrual of several lots takes no lock", "ledger.accrue_lots",
        "WHERE a.holder_id = p_holder AND a.unit = p_unit FOR NO KEY UPDATE;", "WHERE a.holder_id = p_holder AND a.unit = p_unit;",
        "one_key_at_once_has_one_effect",
    ),
    Mutant(
        "an accrual of several lots does not look for the key", "ledger.accrue_lots", f"{_ACCRUE_KNOWN} IF FOUND THEN", "IF false THEN",
        "one_key_at_once_has_one_effect",
    ),
    Mutant(
        "a return looks for the key before the lock", "ledger.return_accrual",
        f"{_LOCK} {_AGAIN} {_NO_ACCOUNT} {_KNOWN} IF FOUND THEN", f"{_PROBE_FIRST} IF e.seq IS NOT NULL THEN",
        "one_key_at_once_has_one_effect",
    ),
    Mutant(
        "a batch takes no locks", "ledger.lock_accounts", "ORDER BY holder_id FOR NO KEY UPDATE", "ORDER BY holder_id",
        "two_batches_of_one_account_follow_each_other",
    ),
    Mutant(
        "locks are taken in the caller's order", "ledger.lock_accounts", "ORDER BY holder_id FOR NO KEY UPDATE",
        "ORDER BY array_position(p_holders, holder_id) FOR NO KEY UPDATE",
        "batches_of_the_same_accounts_in_any_order_never_deadlock",
    ),
    Mutant(
        "the sweeper takes no locks", "ledger.sweep_due", "LIMIT p_limit FOR NO KEY UPDATE", "LIMIT p_limit",
        "the_sweeper_waits_for_a_redemption_and_finds_its_work_done",
    ),
    # Spending
    Mutant(
        "lots that expire last go first", "ledger.spend", "OVER (ORDER BY l.expires_at, l.seq, l.lot_no)",
        "OVER (ORDER BY l.expires_at DESC, l.seq DESC, l.lot_no DESC)", "a_redemption_consumes_the_lot_that_expires_first",
    ),
    Mutant(
        "no check of the balance", "ledger.spend", "IF a.available < p_amount THEN", "IF false THEN",
        "a_decline_is_final_for_its_key_and_leaves_the_balance_alone",
    ),
    Mutant(
        "the last point cannot be spent", "ledger.spend", "IF a.available < p_amount THEN", "IF a.available <= p_amount THEN",
        "held_points_can_be_neither_spent_nor_held_again",
    ),
    Mutant(
        "pending points count as available", "ledger.spend", "IF a.available < p_amount THEN",
        "IF a.available + a.pending < p_amount THEN", "pending_points_cannot_be_spent",
    ),
    Mutant(
        "a decline is not final", "ledger.spend", "WHEN e.kind = 20 THEN 3 ELSE 1", "ELSE 1",
        "a_decline_is_final_for_its_key_and_leaves_the_balance_alone",
    ),
    Mutant(
        "what a key stood for is not compared", "ledger.spend",
        "CASE WHEN e.fingerprint IS DISTINCT FROM p_fingerprint THEN 2 WHEN", "CASE WHEN",
        "a_key_repeated_answers_as_the_first_time_and_with_another_input_is_refused",
    ),
    Mutant("a spend lock is overlooked", "ledger.spend", "IF a.spend_locked THEN", "IF false THEN", "a_daily_cap_and_a_spend_lock_bind"),
    Mutant(
        "the day's cap forgets what was spent", "ledger.spend", "IF a.spent + p_amount > a.daily_cap AND", "IF p_amount > a.daily_cap AND",
        "a_daily_cap_and_a_spend_lock_bind",
    ),
    Mutant(
        "the entry tells a wrong balance", "ledger.spend", "VALUES (p_holder, a.seq, p_amount, a.available, a.pending",
        "VALUES (p_holder, a.seq, p_amount, a.available + 1, a.pending", "pending_points_cannot_be_spent",
    ),
    Mutant(
        "what is due is not applied before spending", "ledger.spend", "IF a.next_due <= p_at THEN", "IF false THEN",
        "a_lot_expires_at_its_instant_and_not_before",
    ),
    # Holds
    Mutant(
        "one point too few is captured", "ledger.resolve_hold", "greatest(least(amount, v_capture - ahead), 0)",
        "greatest(least(amount, v_capture - ahead - 1), 0)",
        "a_capture_takes_what_was_set_aside_and_the_rest_goes_back_to_its_own_lots",
    ),
    Mutant(
        "a hold's state is not looked at", "ledger.resolve_hold", "WHEN h.state <> 0 THEN 8", "",
        "a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself",
    ),
    Mutant(
        "any partner resolves a hold", "ledger.resolve_hold", "AND x.seq = p_ref_seq AND x.partner_id = p_partner",
        "AND x.seq = p_ref_seq", "a_hold_is_resolved_once_by_the_partner_that_placed_it_and_never_beyond_itself",
    ),
    Mutant(
        "a hold has no deadline", "ledger.spend", "a.next_due := least(a.next_due, p_lapses_at);", "",
        "a_hold_lapses_at_its_deadline_and_cannot_be_captured_any_more",
    ),
    # What is due
    Mutant(
        "an accrual's points are available at once",
        "ledger.accrue_lot",
        "v_active boolean := p_activates <= p_at;",
        "v_active boolean := true;",
        "pending_points_cannot_be_spent",
    ),
    Mutant(
        "an accrual does not say when something is due", "ledger.accrue_lot",
        "next_due = least(a.next_due, CASE WHEN v_active THEN p_expires ELSE p_activates END),", "",
        "due_lots_activate_and_expire_on_touch_each_at_its_own_due_instant",
    ),
    Mutant(
        "a batch does not say when something is due", "ledger.record_accruals", "next_due = least(a.next_due, n.due_at)",
        "next_due = a.next_due", "a_batch_writes_what_its_items_would_write_one_by_one",
    ),
    Mutant(
        "a refund does not say when something is due", "ledger.refund_redemption", "next_due = least(x.next_due, v_due)",
        "next_due = x.next_due", "refunded_points_of_an_expired_lot_are_good_for_the_grace_and_then_expire",
    ),
    Mutant(
        "what comes after an activation is forgotten", "ledger.settle_due",
        "CASE WHEN l.active OR l.activates_at <= p_at THEN l.expires_at ELSE l.activates_at END",
        "CASE WHEN NOT l.active AND l.activates_at > p_at THEN l.activates_at END",
        "random_histories_agree_with_the_model",
    ),
    Mutant(
        "an activation happens when it is noticed", "ledger.settle_due", "1 AS turn, l.activates_at AS due_at", "1 AS turn, p_at AS due_at",
        "due_lots_activate_and_expire_on_touch_each_at_its_own_due_instant",
    ),
    Mutant(
        "an expiry happens when it is noticed", "ledger.settle_due", "SELECT 7::smallint, 3, l.expires_at, l.remaining, NULL",
        "SELECT 7::smallint, 3, p_at, l.remaining, NULL", "due_lots_activate_and_expire_on_touch_each_at_its_own_due_instant",
    ),
    Mutant(
        "a lot is good for one instant longer", "ledger.settle_due", "WHERE l.remaining > 0 AND l.expires_at <= p_at",
        "WHERE l.remaining > 0 AND l.expires_at < p_at", "a_lot_expires_at_its_instant_and_not_before",
    ),
    Mutant(
        "pending points activate with the first that do", "ledger.settle_due", "WHERE NOT l.active AND l.activates_at <= p_at",
        "WHERE NOT l.active", "random_histories_agree_with_the_model",
    ),
    Mutant(
        "held points expire too", "ledger.settle_due", "SELECT 7::smallint, 3, l.expires_at, l.remaining, NULL WHERE l.remaining > 0",
        "SELECT 7::smallint, 3, l.expires_at, l.remaining + l.held, NULL WHERE l.remaining + l.held > 0",
        "held_points_outlive_their_lots_expiry_and_expire_when_they_are_freed",
    ),
    Mutant(
        "a used-up lot stays open", "ledger.settle_due", "open = l.held - d.freed > 0 OR l.remaining + d.freed - d.expired > 0",
        "open = true", "a_lot_expires_at_its_instant_and_not_before",
    ),
    # Returns
    Mutant(
        "a return takes one point too few", "ledger.return_accrual", "least(l.remaining, t.points) AS take",
        "least(l.remaining, t.points - 1) AS take", "a_pending_accrual_is_taken_back_without_ever_being_available",
    ),
    Mutant(
        "a return takes what is not there", "ledger.return_accrual", "least(l.remaining, t.points) AS take", "t.points AS take",
        "a_return_takes_no_more_than_the_accruals_own_lot_still_holds",
    ),
    Mutant(
        "more is refunded than was redeemed", "ledger.refund_redemption", "IF v_room IS NULL OR v_room < p_amount OR", "IF v_room IS NULL OR",
        "no_more_is_refunded_than_was_redeemed",
    ),
    Mutant(
        "an earlier refund of a lot is forgotten", "ledger.refund_redemption", "(p.amount - coalesce(r.amount, 0))::bigint AS room",
        "p.amount AS room", "a_refund_gives_each_lot_back_what_it_gave_the_last_consumed_first",
    ),
    Mutant(
        "a refund begins with the first consumed", "ledger.refund_redemption", "OVER (ORDER BY leg DESC)", "OVER (ORDER BY leg)",
        "a_refund_gives_each_lot_back_what_it_gave_the_last_consumed_first",
    ),
    Mutant(
        "a refund into an expired lot has no grace", "ledger.refund_redemption",
        "CASE WHEN l.expires_at <= p_at AND ledger.may_expire(p_holder, p_unit, l.seq, l.lot_no)"
        " THEN p_at + p_grace ELSE l.expires_at END", "l.expires_at",
        "refunded_points_of_an_expired_lot_are_good_for_the_grace_and_then_expire",
    ),
    Mutant(
        "a return is recorded on a state that has passed", "partners.record_return", "IF v_seq <> p_if_seq THEN", "IF false THEN",
        "of_two_returns_decided_on_one_state_the_second_is_decided_again",
    ),
    # Debt
    Mutant(
        "an accrual is recorded before the entry before it", "ledger.accrue_lot", "AND a.last_at <= p_at AND a.debt", "AND a.debt",
        "an_accrual_earlier_than_the_last_entry_is_recorded_at_that_entrys_instant",
    ),
    Mutant(
        "an accrual records who owes like everybody", "ledger.accrue_lot", "AND a.debt = 0", "",
        "points_that_become_available_repay_and_pending_ones_wait",
    ),
    Mutant(
        "a batch records who owes like everybody", "ledger.record_accruals", "AND (a.debt > 0) = p_owing", "",
        "a_batch_leaves_an_account_that_owes_as_its_items_would_one_by_one",
    ),
    Mutant(
        "a batch passes over who owes", "ledger.record_accruals", "AND a.debt > 0 ORDER BY o", "AND false ORDER BY o",
        "a_batch_leaves_an_account_that_owes_as_its_items_would_one_by_one",
    ),
    Mutant(
        "an activation repays nothing", "ledger.settle_due", "IF cardinality(v_owing) > 0 THEN", "IF false THEN",
        "points_that_become_available_repay_and_pending_ones_wait",
    ),
    Mutant(
        "what became available meanwhile repays when somebody looks", "ledger.settle_due",
        "PERFORM ledger.settle_owing(v_owing[n], p_unit, p_at, p_cutoff);", "NULL;",
        "what_became_available_while_nobody_looked_repaid_on_its_day_and_did_not_live_to_expire",
    ),
    Mutant(
        "what is about to expire repays first", "ledger.settle_owing", "AND a.available = 0", "",
        "points_freed_of_expired_lots_expire_and_repay_nothing",
    ),
    Mutant(
        "a refund repays nothing", "ledger.refund_redemption", "IF a.debt > 0 THEN", "IF false THEN",
        "refunded_and_released_points_repay_the_debt_first",
    ),
    Mutant(
        "a release repays nothing", "ledger.resolve_hold", "IF a.debt > 0 THEN", "IF false THEN",
        "refunded_and_released_points_repay_the_debt_first",
    ),
    Mutant(
        "other lots do not serve a return", "ledger.return_accrual", "IF a.debt > 0 THEN", "IF false THEN",
        "the_own_lot_serves_first_then_others_that_expire_first_and_the_rest_is_owed",
    ),
    Mutant(
        "lots that expire last repay first", "ledger.repay_debt", "WINDOW w AS (ORDER BY l.expires_at, l.seq, l.lot_no)",
        "WINDOW w AS (ORDER BY l.expires_at DESC, l.seq, l.lot_no)",
        "the_own_lot_serves_first_then_others_that_expire_first_and_the_rest_is_owed",
    ),
    Mutant(
        "a repayment does not say whose points it stands in for", "ledger.repay_debt", "for_issuer, terms_id, for_terms,",
        "issuer_id, terms_id, terms_id,", "the_own_lot_serves_first_then_others_that_expire_first_and_the_rest_is_owed",
    ),
    Mutant(
        "pending lots repay", "ledger.repay_debt", "AND l.open AND l.active AND l.remaining > 0",
        "AND l.open AND l.remaining > 0", "points_that_become_available_repay_and_pending_ones_wait",
    ),
    Mutant(
        "what was repaid is not noted", "ledger.repay_debt", "SET repaid = s.repaid + t.points", "SET repaid = s.repaid",
        "points_that_become_available_repay_and_pending_ones_wait",
    ),
    Mutant(
        "the latest return is repaid first", "ledger.repay_debt", "GROUP BY s.seq ORDER BY s.seq LIMIT 1",
        "GROUP BY s.seq ORDER BY s.seq DESC LIMIT 1",
        "the_return_that_fell_short_first_is_repaid_first_each_in_an_entry_of_its_own",
    ),
    Mutant(
        "what expired is owed", "ledger.split_return", "remaining - expired - owed_before", "remaining - owed_before",
        "what_expired_is_not_owed_and_what_was_asked_back_is_not_asked_twice",
    ),
    Mutant(
        "what is owed already is owed again", "ledger.split_return", "remaining - expired - owed_before",
        "remaining - expired", "what_expired_is_not_owed_and_what_was_asked_back_is_not_asked_twice",
    ),
    Mutant(
        "what was asked back is asked again", "ledger.split_return", "granted - returned - asked_before",
        "granted - returned", "what_expired_is_not_owed_and_what_was_asked_back_is_not_asked_twice",
    ),
    Mutant(
        "an earlier shortfall is not looked for", "ledger.return_accrual", "(l.remaining < t.points OR EXISTS (",
        "(l.remaining < t.points OR false AND EXISTS (",
        "points_that_were_owed_and_come_back_are_not_taken_a_second_time",
    ),
    Mutant(
        "an accrual repeated tells what was available before it repaid", "ledger.accrued_before",
        "greatest(j.available_after - j.debt_after, 0),", "j.available_after,",
        "an_accrual_that_repaid_repeated_by_key_tells_what_it_told_the_first_time",
    ),
    Mutant(
        "a return repeated tells what was available before other lots served", "ledger.return_accrual",
        "available := greatest(e.available_after - e.debt_after, 0)", "available := e.available_after",
        "a_return_repeated_by_key_tells_what_it_told_the_first_time",
    ),
    Mutant(
        "a reader does not see what will be repaid", "ledger.foresee", "IF v_active[n] AND v_debt > 0 THEN", "IF false THEN",
        "what_became_available_while_nobody_looked_repaid_on_its_day_and_did_not_live_to_expire",
    ),
    Mutant(
        "what the terms say of spent points is forgotten", "partners.record_return", "p_fingerprint, p_at, p_shortfall) r;",
        "p_fingerprint, p_at) r;", "points_already_spent_are_owed_and_the_money_is_handed_back_whole",
    ),
    Mutant(
        "what other lots paid counts as owed", "partners.record_return",
        "taken := taken + v_repaid; owed := owed - v_repaid;", "NULL;",
        "other_points_of_the_member_serve_before_anything_is_owed",
    ),
    # Notices
    Mutant(
        "a lot expires though nobody was told", "ledger.settle_due",
        "v_notice_days = 0 OR l.expires_at <= p_at AND ledger.may_expire(l.holder_id, l.unit, l.seq, l.lot_no) AS may_expire",
        "true AS may_expire", "a_lot_that_nobody_was_told_of_does_not_expire",
    ),
    Mutant(
        "a reader sees a lot expire though nobody was told", "ledger.foresee",
        "l.expires_at > p_at OR ledger.may_expire(p_holder, p_unit, l.seq, l.lot_no)", "true",
        "a_lot_that_nobody_was_told_of_does_not_expire",
    ),
    Mutant(
        "freed points expire though nobody was told", "ledger.settle_due",
        "NULL WHERE l.expires_at <= p_at AND x.may_expire", "NULL WHERE l.expires_at <= p_at",
        "held_points_of_a_lot_that_nobody_was_told_of_come_back_and_stay",
    ),
    Mutant(
        "a late notice puts nothing off", "ledger.record_expiry_notices", "greatest(l.expires_at, p_at + v_notice)",
        "l.expires_at", "a_lot_expires_on_its_day_or_when_the_days_of_notice_have_passed",
    ),
    Mutant(
        "a notice does not say when the lot is due", "ledger.record_expiry_notices",
        "SET next_due = least(a.next_due, t.expires_at)", "SET next_due = a.next_due",
        "a_lot_expires_on_its_day_or_when_the_days_of_notice_have_passed",
    ),
    Mutant(
        "a refund gives grace to a lot that has not expired", "ledger.refund_redemption",
        "l.expires_at <= p_at AND ledger.may_expire(p_holder, p_unit, l.seq, l.lot_no)", "l.expires_at <= p_at",
        "a_refund_into_such_a_lot_leaves_its_day_alone",
    ),
    Mutant(
        "the rule of notices changes while lots are out", "ledger.require_notice",
        "AND (u.notice_days = p_days OR NOT EXISTS (SELECT FROM ledger.lot l WHERE l.unit = p_unit))", "",
        "the_rule_cannot_change_once_there_is_a_lot_and_may_be_said_again",
    ),
    # Cut-offs
    Mutant(
        "the cut-off is not looked at again under its lock", "ledger.enter_cutoff", test_cutoffs.CHECK_AGAIN, test_cutoffs.NO_CHECK,
        "a_writer_overtaken_by_the_closer_lands_in_the_next_cutoff",
    ),
    Mutant(
        "a writer does not hold its cut-off", "ledger.enter_cutoff", test_cutoffs.LOCK, "",
        "the_closer_waits_for_a_writer_that_has_not_committed",
    ),
    Mutant(
        "an accrual does not look again at the cut-off that it remembers", "ledger.accrue_lot", test_cutoffs.CHECK_AGAIN, test_cutoffs.NO_CHECK,
        "an_accrual_that_remembers_a_cutoff_and_is_overtaken_lands_in_the_next",
    ),
    Mutant(
        "an accrual does not hold the cut-off that it remembers", "ledger.accrue_lot", test_cutoffs.LOCK, "",
        "the_closer_waits_for_an_accrual_that_remembers_its_cutoff",
    ),
    Mutant(
        "the closer does not wait for writers", "ledger.seal_cutoff", "PERFORM pg_advisory_xact_lock(7305002, p_cutoff);", "",
        "the_closer_waits_for_a_writer_that_has_not_committed",
    ),
    Mutant(
        "what drains is not finished first", "ledger.drain_cutoff", "WHERE state = 'DRAINING' ORDER BY cutoff_id LIMIT 1 FOR UPDATE",
        "WHERE false FOR UPDATE", "closing_again_finishes_what_a_crash_left_draining",
    ),
    # Receipts
    Mutant(
        "a receipt recorded already is not seen", "partners.known_items",
        "WHEN c.claim IS NOT NULL THEN CASE WHEN c.holder_id IS NULL THEN 6 WHEN c.fingerprint = i.fingerprint THEN 1 ELSE 5 END", "",
        "the_same_receipt_with_another_card_is_refused",
    ),
    Mutant(
        "a replay tells of another holder's receipt", "partners.known_items", "WHEN c.fingerprint = i.fingerprint THEN 1 ELSE 5 END",
        "ELSE 1 END", "the_same_receipt_with_another_card_is_refused",
    ),
    Mutant(
        "another content is taken for a replay", "partners.known_items", "WHEN c.fingerprint = i.fingerprint THEN 1 ELSE 5 END",
        "WHEN c.holder_id = i.holder_id THEN 1 ELSE 5 END", "the_same_receipt_with_another_content_is_refused",
    ),
    Mutant(
        "a tombstone is a receipt like any other", "partners.known_items", "CASE WHEN c.holder_id IS NULL THEN 6 WHEN", "CASE WHEN",
        "a_receipt_cancelled_before_it_arrives_is_refused_when_it_does",
    ),
    Mutant(
        "a receipt twice in a batch is not seen", "partners.known_items", "WHEN i.repeated THEN 9", "",
        "many_receipts_of_one_member_in_one_call_are_all_recorded_in_order",
    ),
    Mutant(
        "a batch's replays belong to each other's holders", "partners.record_purchases", "array_agg(holder_id ORDER BY ord)",
        "array_agg(holder_id ORDER BY ord DESC)", "a_batch_answers_every_item_with_its_own_receipt",
    ),
    Mutant(
        "the lots of a batch's items overlap", "ledger.record_accruals", "coalesce(p_lot_until[o - 1], 0) + 1 AS lot_from",
        "1 AS lot_from", "a_batch_writes_what_its_items_would_write_one_by_one",
    ),
    Mutant(
        "a batch's points are available at once", "ledger.record_accruals",
        "coalesce(sum(p_lot_points[n]) FILTER (WHERE p_lot_activates[n] <= p_at), 0)", "coalesce(sum(p_lot_points[n]), 0)",
        "a_batch_writes_what_its_items_would_write_one_by_one",
    ),
    Mutant(
        "a purchase that spends earns nothing", "partners.record_spending", "seq := v_redemption; IF p_kind = 1 THEN",
        "seq := v_redemption; IF false THEN",
        "spending_takes_the_lots_that_expire_first_and_the_rest_of_the_bill_earns",
    ),
    Mutant(
        "a cancellation keeps the points that paid", "partners.record_return", "IF p_refund > 0 THEN", "IF false THEN",
        "a_cancelled_purchase_is_undone_whole_and_cancelling_again_changes_nothing",
    ),
    Mutant(
        "a claim lost in this moment is recorded", "partners.record_purchases",
        "v_take := ARRAY(SELECT n FROM unnest(v_take) n WHERE p_claims[n] = ANY (v_won));", "NULL;",
        "a_receipt_lost_to_another_card_is_left_out_of_a_batch",
    ),
    Mutant(
        "a claim lost in this moment is recorded by a lone till", "partners.record_purchase",
        "RAISE EXCEPTION 'the receipt or its key is known' USING ERRCODE = 'TS001';", "NULL;",
        "one_receipt_with_two_cards_earns_once",
    ),
    Mutant(
        "a claim lost in this moment is paid", "partners.record_spending",
        "RAISE EXCEPTION 'another card claimed the receipt in this moment' USING ERRCODE = 'TS001';", "NULL;",
        "one_receipt_with_two_cards_is_paid_once",
    ),
    Mutant(
        "a used code is not seen", "partners.used_proof",
        "PERFORM FROM members.code_use u WHERE u.card_id = p_code_card AND u.step = p_code_step; IF FOUND THEN", "IF false THEN",
        "a_rotating_code_pays_once_network_wide",
    ),
    Mutant(
        "a code is not used up", "partners.use_proof", "IF p_code_card IS NOT NULL THEN", "IF false THEN",
        "a_rotating_code_pays_once_network_wide",
    ),
    Mutant(
        "an approval is not used up", "partners.use_proof", "IF p_approval IS NOT NULL THEN", "IF false THEN",
        "an_approval_pays_once_and_a_retry_finds_its_own_answer_first",
    ),
    Mutant(
        "a used approval is not seen", "partners.used_proof", "RETURN CASE WHEN FOUND THEN 10 ELSE 0 END;", "RETURN 0;",
        "an_approval_pays_once_and_a_retry_finds_its_own_answer_first",
    ),
    Mutant(
        "a purchase that captures earns nothing", "partners.record_capture", "IF p_kind = 1 THEN", "IF false THEN",
        "a_purchase_captures_its_hold_earns_on_the_rest_and_a_retry_hears_the_same",
    ),
    Mutant(
        "a capture is not known by its receipt", "partners.record_capture",
        "VALUES (p_claim, p_idem_key, p_fingerprint, p_holder, p_partner)",
        "VALUES (gen_random_uuid(), gen_random_uuid(), p_fingerprint, p_holder, p_partner)",
        "a_purchase_captures_its_hold_earns_on_the_rest_and_a_retry_hears_the_same",
    ),
    Mutant(
        "the key of a hold is not remembered", "partners.record_hold",
        "VALUES (p_claim, p_idem_key, p_fingerprint, p_holder, p_partner)",
        "VALUES (gen_random_uuid(), gen_random_uuid(), p_fingerprint, p_holder, p_partner)",
        "a_key_is_for_one_hold_of_one_member",
    ),
    Mutant(
        "a resolved hold is let go again", "partners.hold_status",
        "CASE WHEN p_status BETWEEN 5 AND 10 THEN p_status + 10 ELSE p_status END", "0",
        "a_released_hold_is_the_members_again_once",
    ),
    Mutant(
        "a declined purchase is recorded", "partners.record_spending",
        "ledger.redeem(p_holder, p_unit, p_redeem, p_partner, p_terms, p_idem_key, p_fingerprint, p_at, p_day) r; IF status <> 0 THEN",
        "ledger.redeem(p_holder, p_unit, p_redeem, p_partner, p_terms, p_idem_key, p_fingerprint, p_at, p_day) r; IF false THEN",
        "too_few_points_is_a_final_answer_that_a_retry_hears_again",
    ),
)  # fmt: skip
