"""Who runs, who waits and who is refused when there is too much to do: under a clock set by hand."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.gate.shedding import REFUSALS_AT_ONCE, RETRY_SECONDS, SERVED_PER_REFUSAL, Overloaded, Turnstile

READ, EARN, SPEND = 0, 1, 2


class Hands:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def asking(turnstile: Turnstile, *ranks: int) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(turnstile.enter(rank)) for rank in ranks]


def outcomes(tasks: list[asyncio.Task[None]]) -> list[str]:
    def said(task: asyncio.Task[None]) -> str:
        if not task.done():
            return "waits"
        return "refused" if task.exception() else "in"

    return [said(task) for task in tasks]


async def test_while_there_is_room_nobody_waits_and_lower_ranks_leave_some() -> None:
    turnstile = Turnstile(8, monotonic=Hands())
    tasks = asking(turnstile, *[READ] * 5, *[EARN] * 3, *[SPEND] * 3)
    await settle()
    assert outcomes(tasks) == ["in"] * 4 + ["waits"] + ["in"] * 2 + ["waits"] + ["in"] * 2 + ["waits"]
    assert (turnstile.inside, turnstile.waiting) == (8, 3)


async def test_a_free_place_goes_to_the_highest_rank_and_in_it_to_who_came_first() -> None:
    turnstile = Turnstile(2, monotonic=Hands())
    await asyncio.gather(*asking(turnstile, SPEND, SPEND))
    early, late, read, earn = asking(turnstile, SPEND, SPEND, READ, EARN)
    await settle()
    turnstile.leave()
    await settle()
    assert outcomes([early, late, read, earn]) == ["in", "waits", "waits", "waits"]
    turnstile.leave()
    await settle()
    assert outcomes([late, read, earn]) == ["in", "waits", "waits"]
    turnstile.leave()
    turnstile.leave()
    await settle()
    assert outcomes([read, earn]) == ["waits", "in"]
    turnstile.leave()
    await settle()
    assert outcomes([read]) == ["in"]


async def test_whoever_waits_too_long_is_refused_and_told_when_to_come_back() -> None:
    hands = Hands()
    turnstile = Turnstile(1, patience_seconds=1.0, monotonic=hands)
    await turnstile.enter(SPEND)
    tasks = asking(turnstile, READ, EARN, SPEND)
    await settle()
    hands.seconds = 0.9
    turnstile.expire()
    await settle()
    assert outcomes(tasks) == ["waits"] * 3
    hands.seconds = 1.0
    turnstile.expire()
    await settle()
    assert outcomes(tasks) == ["refused"] * 3
    told = [task.exception() for task in tasks]
    assert [no.retry_seconds for no in told if isinstance(no, Overloaded)] == list(RETRY_SECONDS)
    assert (turnstile.waiting, turnstile.refused) == (0, [1, 1, 1])


async def test_the_timer_of_the_loop_refuses_too() -> None:
    turnstile = Turnstile(1, patience_seconds=0.01)
    await turnstile.enter(SPEND)
    with pytest.raises(Overloaded):
        await asyncio.wait_for(turnstile.enter(READ), 10)


async def test_when_nobody_more_can_wait_reads_are_shed_first_and_spending_last() -> None:
    turnstile = Turnstile(1, waiting=3, monotonic=Hands())
    await turnstile.enter(SPEND)
    tasks = asking(turnstile, READ, READ, EARN)
    await settle()
    tasks += asking(turnstile, SPEND)
    await settle()
    assert outcomes(tasks) == ["waits", "refused", "waits", "waits"]
    tasks += asking(turnstile, EARN, SPEND)
    await settle()
    assert outcomes(tasks) == ["refused", "refused", "waits", "waits", "refused", "waits"]
    tasks += asking(turnstile, SPEND, EARN, READ)
    await settle()
    assert outcomes(tasks) == [
        "refused",
        "refused",
        "refused",
        "waits",
        "refused",
        "waits",
        "waits",
        "refused",
        "refused",
    ]
    assert turnstile.refused == [3, 3, 0]


async def test_of_a_flood_that_waits_so_many_are_refused_as_the_served_allow_and_all_in_the_end() -> None:
    hands = Hands()
    turnstile = Turnstile(1, waiting=1_000, patience_seconds=1.0, longest_seconds=4.0, monotonic=hands)
    await turnstile.enter(SPEND)
    tasks = asking(turnstile, *[READ] * 200)
    await settle()
    hands.seconds = 1.0
    turnstile.expire()
    await settle()
    assert Counter(outcomes(tasks)) == {"refused": REFUSALS_AT_ONCE, "waits": 200 - REFUSALS_AT_ONCE}
    for _ in range(2 * SERVED_PER_REFUSAL):
        turnstile.leave()
        await settle()
    turnstile.expire()
    await settle()
    count = Counter(outcomes(tasks))
    assert (count["in"], count["refused"]) == (2 * SERVED_PER_REFUSAL, REFUSALS_AT_ONCE + 2)
    hands.seconds = 4.0
    turnstile.expire()
    await settle()
    assert Counter(outcomes(tasks))["waits"] == turnstile.waiting == 0


async def test_a_refusal_is_not_told_before_the_patience_ends() -> None:
    hands = Hands()
    turnstile = Turnstile(1, waiting=1, patience_seconds=1.0, monotonic=hands)
    await turnstile.enter(SPEND)
    [pushed_out] = asking(turnstile, READ)
    await settle()
    hands.seconds = 0.25
    [stays, no_room] = asking(turnstile, SPEND, SPEND)
    await settle()
    hands.seconds = 1.25
    turnstile.expire()
    await settle()
    told = [task.exception() for task in (pushed_out, no_room, stays)]
    assert [no.hold_seconds for no in told if isinstance(no, Overloaded)] == [0.75, 1.0, 0.0]


async def test_whoever_goes_away_leaves_neither_a_place_nor_a_waiter_behind() -> None:
    turnstile = Turnstile(1, monotonic=Hands())
    await turnstile.enter(SPEND)
    gone, stays = asking(turnstile, READ, READ)
    await settle()
    gone.cancel()
    await settle()
    assert turnstile.waiting == 1
    turnstile.leave()
    stays.cancel()  # in the moment in which it was let in
    await settle()
    assert (turnstile.inside, turnstile.waiting) == (0, 0)


@given(
    st.integers(1, 12),
    st.integers(0, 20),
    st.lists(st.sampled_from(["read", "earn", "spend", "leave", "tick"]), max_size=120),
)
def test_no_more_run_than_there_are_places_and_nobody_is_lost(places: int, waiting: int, steps: list[str]) -> None:
    async def story() -> None:
        hands = Hands()
        turnstile = Turnstile(places, waiting=waiting, monotonic=hands)
        tasks: list[asyncio.Task[None]] = []
        left = 0
        for step in steps:
            if step == "leave":
                if turnstile.inside:
                    turnstile.leave()
                    left += 1
            elif step == "tick":
                hands.seconds += 0.6
                turnstile.expire()
            else:
                tasks += asking(turnstile, ["read", "earn", "spend"].index(step))
            await settle()
            count = Counter(outcomes(tasks))
            assert turnstile.inside <= places
            assert turnstile.waiting <= waiting
            assert count["in"] == turnstile.inside + left
            assert count["waits"] == turnstile.waiting
            assert count["refused"] == sum(turnstile.refused)
        hands.seconds += 100
        turnstile.expire()
        await settle()
        assert turnstile.waiting == 0

    asyncio.run(story())


async def test_at_ten_times_what_can_be_done_spending_goes_on_and_the_turnstile_stays_full() -> None:
    """One place serves one operation a step; every step ten more ask. Goodput is one a step, and it is spending."""
    hands = Hands()
    turnstile = Turnstile(4, waiting=40, patience_seconds=1.0, monotonic=hands)
    served: Counter[int] = Counter()
    asked: Counter[int] = Counter()
    running: list[tuple[int, asyncio.Task[None]]] = []
    for step in range(600):
        flood = (READ, READ, READ, READ, READ, EARN, EARN, EARN, EARN, SPEND)
        for rank in flood if step < 400 else (SPEND,) * (step % 2):
            running.append((rank, *asking(turnstile, rank)))
            asked[rank] += 1
        await settle()
        if turnstile.inside:
            turnstile.leave()
        hands.seconds += 0.01
        turnstile.expire()
        await settle()
        for rank, task in [each for each in running if each[1].done()]:
            served[rank] += task.exception() is None
        running = [each for each in running if not each[1].done()]
        if step == 399:
            during = dict(served)
    assert sum(during.values()) >= 390
    assert during[SPEND] >= 0.95 * 400
    assert during[SPEND] / 400 > during.get(EARN, 0) / 1600
    assert during[SPEND] / 400 > during.get(READ, 0) / 2000
    assert turnstile.waiting == 0  # back to normal
