"""Mutants of transfers and adjustments, and the probes that must notice; as tests/deep/mutants.py has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from kit.database import Database
from ledger import transfers
from ledger.transfers import Order
from tests.deep.mutants import Mutant, Probe, Stage, after_another, sound, stands
from tests.ledger import test_adjustments, test_transfer_machine, test_transfers
from tests.ledger.test_operations import NOTHING, T0, Holder, open_holder


def with_pair(test: Callable[[Database, tuple[Holder, Holder]], Awaitable[None]]) -> Probe:
    """A test of transfers between two holders, with the audit at its end."""

    async def probe(stage: Stage) -> None:
        pool = stage.database.pool
        await test(stage.database, (await open_holder(pool), await open_holder(pool)))
        await sound(stage)

    return probe


def with_server(test: Callable[..., Awaitable[None]]) -> Probe:
    """The same of a test that needs the owner of the tables."""

    async def probe(stage: Stage) -> None:
        pool = stage.database.pool
        pair = await open_holder(pool), await open_holder(pool)
        await test(stage.database, pair, stage.server, stage.name)
        await sound(stage)

    return probe


def with_patch(test: Callable[..., Awaitable[None]]) -> Probe:
    """The same of a test that stands between two calls."""

    async def probe(stage: Stage) -> None:
        pool = stage.database.pool
        with pytest.MonkeyPatch.context() as patch:
            await test(stage.database, (await open_holder(pool), await open_holder(pool)), patch)
        await sound(stage)

    return probe


def with_one(test: Callable[[Database, Holder], Awaitable[None]]) -> Probe:
    """A test of adjustments of one holder, with the audit at its end."""

    async def probe(stage: Stage) -> None:
        await test(stage.database, await open_holder(stage.database.pool))
        await sound(stage)

    return probe


def sending(receiver: Holder, points: int, key: UUID) -> str:
    """A first half as a statement."""
    return (
        f"SELECT ledger.transfer_out($1, 1::smallint, {receiver.holder_id}, {points}, NULL, NULL, false, true, false, true,"
        f" '{key}', '{NOTHING}', '{T0}', '{T0.date()}')"
    )


async def a_balance_is_given_once_by_two_at_once(stage: Stage) -> None:
    """The second transfer waits for the first, and finds nothing left."""
    sender, receiver = await open_holder(stage.database.pool), await open_holder(stage.database.pool)
    await sender.accrue(100)
    order = Order(sender.holder_id, receiver.holder_id, 100, is_whole=True)

    async def second() -> str:
        try:
            await test_transfers.send(stage.database, order)
        except transfers.TransferExceedsBalance as no:
            return no.code
        return "sent"

    done = await after_another(stage, sender, sending(receiver, 100, uuid4()), second)
    assert done == "TRANSFER_EXCEEDS_BALANCE"
    await sound(stage)


async def one_key_at_once_is_one_transfer(stage: Stage) -> None:
    """The second call of a key waits for the first, and hears its answer."""
    sender, receiver, key = await open_holder(stage.database.pool), await open_holder(stage.database.pool), uuid4()
    await sender.accrue(100)
    order = Order(sender.holder_id, receiver.holder_id, 30, is_whole=True)
    again = await after_another(
        stage, sender, sending(receiver, 30, key), lambda: test_transfers.send(stage.database, order, key=key)
    )
    assert (again.replayed, again.points, again.available) == (True, 30, 70)  # type: ignore[attr-defined]
    await sound(stage)


async def a_transfer_completed_by_two_at_once_arrives_once(stage: Stage) -> None:
    """The second waits for the first's second half, and finds it done."""
    sender, receiver = await open_holder(stage.database.pool), await open_holder(stage.database.pool)
    await sender.accrue(100)
    sent = await test_transfers.send(stage.database, Order(sender.holder_id, receiver.holder_id, 60))
    async with stage.database.pool.acquire() as connection:
        holding = connection.transaction()
        await holding.start()
        await connection.execute("SELECT ledger.lock_accounts(ARRAY[$1::bigint], 1::smallint)", receiver.holder_id)
        tasks = [
            asyncio.ensure_future(transfers.complete(stage.database, sender.holder_id, sent.seq, at=T0))
            for _ in range(2)
        ]
        for waiters, task in enumerate(tasks, start=1):
            await stands(stage, task, waiters)  # type: ignore[arg-type]
        await holding.commit()
        assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == [transfers.ARRIVED] * 2
    assert await receiver.balance() == (60, 0)
    await sound(stage)


async def an_adjustment_waits_for_a_redemption(stage: Stage) -> None:
    """It finds what the redemption left, and no more."""
    holder = await open_holder(stage.database.pool)
    await holder.accrue(100)
    redeeming = f"SELECT ledger.redeem($1, 1::smallint, 60, 2, 2, '{uuid4()}', '{NOTHING}', '{T0}', '{T0.date()}')"

    async def taking() -> str:
        try:
            await test_adjustments.take(stage.database, holder, 60)
        except test_adjustments.AdjustmentExceedsBalance as no:
            return no.code
        return "taken"

    assert await after_another(stage, holder, redeeming, taking) == "ADJUSTMENT_EXCEEDS_BALANCE"
    await sound(stage)


async def random_transfers_agree_with_the_model(stage: Stage) -> None:
    """The suite's model of transfers, one of its seeds."""
    await test_transfer_machine.test_random_histories_of_transfers_agree_with_an_independent_model(stage.database, 1)


def _probes() -> dict[str, Probe]:
    t, a = test_transfers, test_adjustments
    wrapped: list[tuple[Callable[..., Awaitable[None]], Probe]] = [
        *((test, with_pair(test)) for test in (
            t.test_a_transfer_takes_the_lots_that_expire_first_and_they_arrive_with_the_same_facts,
            t.test_a_repeated_transfer_answers_as_the_first_time_and_with_another_input_is_refused,
            t.test_all_there_is_goes_pending_points_too_and_held_ones_stay,
            t.test_what_falls_due_on_its_way_is_applied_where_it_arrives_at_its_own_instant,
            t.test_expired_points_are_not_transferred,
            t.test_a_transfer_to_an_account_closed_meanwhile_comes_back_to_its_own_lots,
            t.test_points_that_come_home_go_back_into_the_lots_that_they_left,
            t.test_points_come_home_into_a_lot_of_their_own_where_the_old_one_has_another_expiry,
            t.test_what_has_arrived_cannot_come_back_and_what_came_back_cannot_come_again,
        )),
        *((test, with_server(test)) for test in (
            t.test_what_cannot_be_transferred_is_refused_and_nothing_is_written,
            t.test_a_spend_lock_and_a_daily_cap_bind_over_this_exit_as_over_redemption,
        )),
        (
            t.test_an_account_that_said_no_never_takes_the_transfer_afterwards,
            with_patch(t.test_an_account_that_said_no_never_takes_the_transfer_afterwards),
        ),
        *((test, with_one(test)) for test in (
            a.test_points_given_are_a_lot_that_can_be_spent_and_expires,
            a.test_points_taken_are_those_that_expire_first_and_pending_and_held_ones_stay,
            a.test_expired_points_are_not_taken,
        )),
        *((test, test) for test in (
            a_balance_is_given_once_by_two_at_once,
            one_key_at_once_is_one_transfer,
            a_transfer_completed_by_two_at_once_arrives_once,
            an_adjustment_waits_for_a_redemption,
            random_transfers_agree_with_the_model,
        )),
    ]  # fmt: skip
    return {test.__name__.removeprefix("test_"): probe for test, probe in wrapped}


PROBES = _probes()

_LOCK = "SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;"
_LOOK = "SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;"
_KNOWN = "SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;"
_NO_ACCOUNT = "IF NOT FOUND THEN status := 4; RETURN; END IF;"
_PROBE_FIRST = f"{_KNOWN} {_LOCK} {_NO_ACCOUNT}"
_AGAIN = "v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one"
_ELIGIBLE = (
    "WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.open AND l.remaining > 0 AND (l.active OR p_takes_pending)"
    " AND (p_contributors IS NULL OR coalesce(l.contributor_id, p_holder) = ANY (p_contributors))"
)
_REFUSED = "what_cannot_be_transferred_is_refused_and_nothing_is_written"
_BOUND = "a_spend_lock_and_a_daily_cap_bind_over_this_exit_as_over_redemption"
_ALL = "all_there_is_goes_pending_points_too_and_held_ones_stay"
_TAKEN = "points_taken_are_those_that_expire_first_and_pending_and_held_ones_stay"

MUTANTS = (
    # The first half
    Mutant("a transfer takes no lock", "ledger.transfer_out", _LOCK, _LOOK, "a_balance_is_given_once_by_two_at_once"),
    Mutant(
        "a transfer looks for the key before the lock", "ledger.transfer_out",
        f"{_LOCK} {_AGAIN} {_NO_ACCOUNT} {_KNOWN} IF FOUND THEN",
        f"{_PROBE_FIRST} IF e.seq IS NOT NULL THEN", "one_key_at_once_is_one_transfer",
    ),
    Mutant(
        "what a transfer's key stood for is not compared", "ledger.transfer_out",
        "CASE WHEN e.fingerprint = p_fingerprint THEN 1 ELSE 2 END", "1",
        "a_repeated_transfer_answers_as_the_first_time_and_with_another_input_is_refused",
    ),
    Mutant("a spend lock does not keep gifts back", "ledger.transfer_out", "IF p_is_spending AND a.spend_locked THEN", "IF false THEN", _BOUND),
    Mutant(
        "a gift is not under the day's cap", "ledger.transfer_out",
        "taken > a.daily_cap OR a.spent_on = p_day AND a.spent + taken > a.daily_cap", "false", _BOUND,
    ),
    Mutant("a gift forgets what was spent that day", "ledger.transfer_out", "a.spent_on = p_day AND a.spent + taken > a.daily_cap", "false", _BOUND),
    Mutant("a gift does not count as spent", "ledger.transfer_out", "IF p_is_spending THEN a.spent :=", "IF false THEN a.spent :=", _BOUND),
    Mutant("a transfer home counts as spent", "ledger.transfer_out", "IF p_is_spending THEN a.spent :=", "IF true THEN a.spent :=", _BOUND),
    Mutant(
        "fewer points than were asked for go", "ledger.transfer_out", "taken = 0 OR p_is_whole AND v_there < p_amount",
        "taken = 0", _REFUSED,
    ),
    Mutant(
        "a transfer of nothing is one", "ledger.transfer_out", "taken = 0 OR p_is_whole AND", "p_is_whole AND", _REFUSED,
    ),
    Mutant(
        "what is due is not applied before a transfer", "ledger.transfer_out", "IF a.next_due <= p_at THEN", "IF false THEN",
        "expired_points_are_not_transferred",
    ),
    Mutant(
        "lots that expire last are given first", "ledger.transfer_out", "OVER (ORDER BY l.expires_at, l.seq, l.lot_no)",
        "OVER (ORDER BY l.expires_at DESC, l.seq DESC, l.lot_no DESC)",
        "a_transfer_takes_the_lots_that_expire_first_and_they_arrive_with_the_same_facts",
    ),
    Mutant(
        "pending points go as if they were available", "ledger.transfer_out", "CASE WHEN l.active THEN 1 ELSE 2 END::smallint AS debit",
        "1::smallint AS debit", _ALL,
    ),
    Mutant(
        "pending points are given away", "ledger.transfer_out", f"INTO v_there FROM ledger.lot l {_ELIGIBLE}",
        f"INTO v_there FROM ledger.lot l {_ELIGIBLE.replace('(l.active OR p_takes_pending)', 'true')}", _REFUSED,
    ),
    Mutant(
        "others' contributions go home too", "ledger.transfer_out", f"AS ahead FROM ledger.lot l {_ELIGIBLE}",
        f"AS ahead FROM ledger.lot l {_ELIGIBLE.split(' AND (p_contributors')[0]}",
        "points_that_come_home_go_back_into_the_lots_that_they_left",
    ),
    Mutant(
        "a part of a lot is told to be the whole", "ledger.transfer_out", "SET remaining = l.remaining - g.take, open =",
        "SET remaining = 0, open =", "a_transfer_takes_the_lots_that_expire_first_and_they_arrive_with_the_same_facts",
    ),
    # The second half
    Mutant("a second half takes no lock", "ledger.transfer_in", _LOCK, _LOOK, "a_transfer_completed_by_two_at_once_arrives_once"),
    Mutant(
        "a second half does not look whether it was recorded", "ledger.transfer_in",
        "j.idem_key = v_key; IF FOUND THEN", "j.idem_key = v_key; IF false THEN",
        "a_transfer_completed_by_two_at_once_arrives_once",
    ),
    Mutant(
        "a closed account takes transfers", "ledger.transfer_in", "IF p_kind = 15 AND a.closed THEN", "IF false THEN",
        "a_transfer_to_an_account_closed_meanwhile_comes_back_to_its_own_lots",
    ),
    Mutant(
        "an account forgets that it said no", "ledger.transfer_in", "CASE WHEN e.kind = 20 THEN 11 ELSE 1 END", "1",
        "an_account_that_said_no_never_takes_the_transfer_afterwards",
    ),
    Mutant(
        "what arrived comes back", "ledger.transfer_in", "IF NOT FOUND OR t.state <> 0 THEN", "IF NOT FOUND THEN",
        "what_has_arrived_cannot_come_back_and_what_came_back_cannot_come_again",
    ),
    Mutant(
        "what nobody sent comes back", "ledger.transfer_in", "IF NOT FOUND OR t.state <> 0 THEN", "IF t.state <> 0 THEN",
        "what_has_arrived_cannot_come_back_and_what_came_back_cannot_come_again",
    ),
    Mutant(
        "pending points arrive as available", "ledger.transfer_in", "v_credit := CASE WHEN p_active[n] THEN 1 ELSE 2 END;",
        "v_credit := 1;", _ALL,
    ),
    Mutant(
        "what fell due on its way waits for the next", "ledger.transfer_in", "IF v_kind <> 20 AND a.next_due <= p_at THEN",
        "IF false THEN", "what_falls_due_on_its_way_is_applied_where_it_arrives_at_its_own_instant",
    ),
    Mutant(
        "an arrival does not say when something is due", "ledger.transfer_in", "a.next_due := least(a.next_due, p_activates[n]);", "",
        _ALL,
    ),
    Mutant(
        "an arrival does not say when it expires", "ledger.transfer_in", "a.next_due := least(a.next_due, p_expires[n]);", "",
        "random_transfers_agree_with_the_model",
    ),
    Mutant(
        "points never come home", "ledger.transfer_in", "AND l.seq = p_home_seqs[n] AND l.lot_no = p_home_lot_nos[n]", "AND false",
        "points_that_come_home_go_back_into_the_lots_that_they_left",
    ),
    Mutant(
        "points that come home give others their expiry", "ledger.transfer_in", "AND (l.expires_at = p_expires[n] OR NOT l.open)", "",
        "points_come_home_into_a_lot_of_their_own_where_the_old_one_has_another_expiry",
    ),
    Mutant(
        "what came back is still on its way", "ledger.transfer_in", "SET state = 2, settled_seq = a.seq", "SET state = 0, settled_seq = NULL",
        "a_transfer_to_an_account_closed_meanwhile_comes_back_to_its_own_lots",
    ),
    Mutant(
        "what arrived can be finished again", "ledger.finish_transfer", "AND x.seq = p_seq AND x.state = 0", "AND x.seq = p_seq",
        "what_has_arrived_cannot_come_back_and_what_came_back_cannot_come_again",
    ),
    # Adjustments
    Mutant("an adjustment takes no lock", "ledger.adjust", _LOCK, _LOOK, "an_adjustment_waits_for_a_redemption"),
    Mutant(
        "an adjustment's key is not looked for", "ledger.adjust", f"{_KNOWN} IF FOUND THEN", f"{_KNOWN} IF false THEN",
        "points_given_are_a_lot_that_can_be_spent_and_expires",
    ),
    Mutant("more is taken than is there", "ledger.adjust", "IF a.available + p_points < 0 THEN", "IF false THEN", _TAKEN),
    Mutant("the last point cannot be taken", "ledger.adjust", "IF a.available + p_points < 0 THEN", "IF a.available + p_points <= 0 THEN", _TAKEN),
    Mutant(
        "what expires last is taken first", "ledger.adjust", "OVER (ORDER BY l.expires_at, l.seq, l.lot_no)",
        "OVER (ORDER BY l.expires_at DESC, l.seq DESC, l.lot_no DESC)", _TAKEN,
    ),
    Mutant("what is due is not applied before an adjustment", "ledger.adjust", "IF a.next_due <= p_at THEN", "IF false THEN", "expired_points_are_not_taken"),
    Mutant(
        "points given never expire", "ledger.adjust", "a.next_due := least(a.next_due, p_expires_at);", "",
        "points_given_are_a_lot_that_can_be_spent_and_expires",
    ),
)  # fmt: skip
