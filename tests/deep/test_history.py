"""A concurrent run's answers, replayed one by one in the order of the journal through an independent model.

An operation touches one account, so a run is strictly serializable where each account's part of it is.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from tests.builders import violations
from tests.deep.history import (
    ACCRUAL,
    CAPTURE,
    HOLD,
    NOTICE,
    REDEMPTION,
    REFUND,
    RELEASE,
    REPAYMENT,
    RETURN,
    Call,
    Entry,
    check,
    shortfall_of,
)
from tests.ledger.test_operations import DAY, NOTHING, T0, Holder, open_holder

pytestmark = pytest.mark.deep

CLIENTS, ACCOUNTS, CALLS = 12, 4, 6_000
FEW = 600
OTHER = UUID(int=9)


@dataclass
class Run:
    """Clients with a connection each, and every call they made."""

    holders: list[int]
    dice: random.Random
    enough: int = CALLS
    calls: list[Call] = field(default_factory=list)
    ticks: count[int] = field(default_factory=lambda: count(1))

    async def work(self, connection: asyncpg.Connection) -> None:
        """One client: a call after the other until there are enough."""
        while len(self.calls) < self.enough:
            if self.dice.random() < 0.02:
                await Holder(connection, self.holders[0]).sweep(self.day())  # type: ignore[arg-type]
            await self._make(connection, self._next())

    def day(self) -> int:
        """The business day of a call: time passes, and not every client's clock is right."""
        return max(0, len(self.calls) // 40 + self.dice.choice((-3, -1, 0, 0, 0)))

    def _next(self) -> Call:
        dice = self.dice
        if self.calls and dice.random() < 0.15:  # again, perhaps while the first try is still on its way
            again = dice.choice(self.calls[-30:])
            is_poisoned = again.kind in (ACCRUAL, REDEMPTION) and dice.random() < 0.25
            return replace(again, fingerprint=OTHER if is_poisoned else again.fingerprint, answer={})
        holder_id, day = dice.choice(self.holders), self.day()
        kind = dice.choices((ACCRUAL, REDEMPTION, HOLD, CAPTURE, RELEASE, RETURN, REFUND), (30, 30, 10, 6, 4, 10, 10))[
            0
        ]
        return Call(
            holder_id, kind, day, UUID(int=dice.getrandbits(128)), NOTHING, 0, self._arguments(holder_id, kind, day)
        )

    def _arguments(self, holder_id: int, kind: int, day: int) -> dict[str, int]:
        dice = self.dice
        if kind == ACCRUAL:
            activates = day + dice.choice((-2, 0, 0, 2, 9))
            return {
                "points": dice.randint(1, 200),
                "activates": activates,
                "expires": max(activates, day) + dice.randint(1, 40),
                "is_told": int(dice.random() < 0.8),
            }
        if kind == REDEMPTION:
            return {"points": dice.randint(1, 250)}
        if kind == HOLD:
            return {"points": dice.randint(1, 150), "days": dice.randint(1, 12)}
        wanted = {CAPTURE: HOLD, RELEASE: HOLD, RETURN: ACCRUAL, REFUND: dice.choice((REDEMPTION, CAPTURE))}[kind]
        known = [
            one.answer["seq"] for one in self.calls[-400:]
            if one.holder_id == holder_id and one.kind == wanted and one.answer and one.status == 0
        ]  # fmt: skip
        seq = dice.choice(known) if known and dice.random() < 0.95 else dice.randint(1, 50)
        return {"seq": seq} if kind == RELEASE else {"seq": seq, "points": dice.randint(1, 150)}

    async def _make(self, connection: asyncpg.Connection, call: Call) -> None:
        call.began = next(self.ticks)
        self.calls.append(call)
        answer = await _ask(Holder(connection, call.holder_id), call)  # type: ignore[arg-type]
        call.answer = dict(answer)
        call.ended = next(self.ticks)


async def _ask(holder: Holder, call: Call) -> asyncpg.Record:
    given, when = dict(call.arguments), {"day": call.day, "key": call.key}
    if call.kind == ACCRUAL:
        return await _accrue_and_tell(holder, call, given, when)
    if call.kind == REDEMPTION:
        return await holder.redeem(given["points"], fingerprint=call.fingerprint, **when)  # type: ignore[arg-type]
    operation: Any = {
        HOLD: holder.hold, CAPTURE: holder.capture, RELEASE: holder.release, RETURN: holder.take_back, REFUND: holder.refund,
    }[call.kind]  # fmt: skip
    if call.kind == HOLD:
        return await operation(given["points"], days=given["days"], **when)
    if call.kind == RETURN:
        return await operation(given["seq"], given["points"], shortfall=shortfall_of(given["seq"]), **when)
    return await operation(given.pop("seq"), *given.values(), **when)


async def _accrue_and_tell(holder: Holder, call: Call, given: dict[str, int], when: dict[str, Any]) -> asyncpg.Record:
    """Accrue, and where the holder is to be told of the expiry, record that in the same transaction."""
    async with holder.pool.transaction():  # type: ignore[attr-defined]
        done = await holder.accrue(
            given["points"],
            activates=given["activates"],
            expires=given["expires"],
            fingerprint=call.fingerprint,
            **when,
        )
        if done["status"] == 0 and given["is_told"]:
            await holder.tell(done["seq"], day=call.day)
    return done


async def journal(pool: asyncpg.Pool, holder_id: int) -> list[Entry]:
    """An account's entries, days counted as the calls count them."""
    rows = await pool.fetch(
        "SELECT seq, kind, amount, ref_seq, at, idem_key, fingerprint, available_after, pending_after, held_after, "
        "debt_after "
        "FROM ledger.journal WHERE holder_id = $1 ORDER BY seq",
        holder_id,
    )
    return [
        Entry(
            row["seq"], row["kind"], row["amount"], row["ref_seq"], (row["at"] - T0) / DAY, row["idem_key"],
            row["fingerprint"], (row["available_after"], row["pending_after"], row["held_after"], row["debt_after"]),
        )
        for row in rows
    ]  # fmt: skip


async def a_run(
    server: postgres.Server, name: str, database: Database, seed: int, enough: int = CALLS
) -> tuple[Run, dict[int, list[Entry]]]:
    """Clients at work at the same time, to the end, and the journals they left."""
    await database.pool.fetchval("SELECT ledger.require_notice(1::smallint, $1)", NOTICE)
    run = Run([(await open_holder(database.pool)).holder_id for _ in range(ACCOUNTS)], random.Random(seed), enough)
    connections = [await asyncpg.connect(server.dsn(name, APPLICATION_ROLE)) for _ in range(CLIENTS)]
    try:
        await asyncio.gather(*(run.work(connection) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    return run, {holder_id: await journal(database.pool, holder_id) for holder_id in run.holders}


@pytest.mark.parametrize("seed", [20260306])
async def test_every_answer_of_a_concurrent_run_is_that_of_one_call_after_the_other(
    server: postgres.Server, database_name: str, database: Database, seed: int, tell: Callable[..., None]
) -> None:
    run, journals = await a_run(server, database_name, database, seed)
    wrong = check(run.calls, journals)
    statuses = Counter(call.status for call in run.calls)
    tell(
        operations=len(run.calls), entries=sum(map(len, journals.values())), accounts=ACCOUNTS, clients=CLIENTS,
        statuses=dict(sorted(statuses.items())), violations=len(wrong), seed=seed,
    )  # fmt: skip
    assert wrong[:5] == []
    assert set(statuses) >= {0, 1, 2, 3, 5, 8, 9, 10}
    assert sum(entry.kind == REPAYMENT for entries in journals.values() for entry in entries) > 20
    assert await violations(database.pool) == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


async def test_a_release_repeated_by_key_tells_what_it_told_the_first_time(database: Database) -> None:
    holder, key = await open_holder(database.pool), uuid4()
    await holder.accrue(100, expires=10)
    placed = (await holder.hold(60, day=9, days=5))["seq"]
    first, again = await holder.release(placed, day=12, key=key), await holder.release(placed, day=12, key=key)
    assert (again["status"], again["seq"], again["available"]) == (1, first["seq"], first["available"])


def _tell_another_balance(calls: list[Call]) -> None:
    one = next(call for call in calls if call.status == 0)
    one.answer = {**one.answer, "available": one.answer["available"] + 1}


def _acknowledge_what_was_never_written(calls: list[Call]) -> None:
    calls.append(replace(calls[0], key=OTHER))


def _acknowledge_twice(calls: list[Call]) -> None:
    one = next(call for call in calls if call.status == 1)
    one.answer = {**one.answer, "status": 0}


def _refuse_without_a_reason(calls: list[Call]) -> None:
    one = next(call for call in calls if call.kind == ACCRUAL and call.status == 0)
    calls.append(replace(one, key=OTHER, answer={"status": 8}))


def _refuse_what_is_recorded(calls: list[Call]) -> None:
    one = next(call for call in calls if call.kind == RETURN and call.status == 0)
    after = max(call.ended for call in calls)
    calls.append(replace(one, began=after + 1, ended=after + 2, answer={"status": 5}))


def _begin_after_what_it_precedes(calls: list[Call]) -> None:
    one = next(call for call in calls if call.status == 0)
    after = max(call.ended for call in calls)
    one.began, one.ended = after + 1, after + 2


TAMPERINGS = (
    _tell_another_balance,
    _acknowledge_what_was_never_written,
    _acknowledge_twice,
    _refuse_without_a_reason,
    _refuse_what_is_recorded,
    _begin_after_what_it_precedes,
)


async def test_the_checker_sees_an_answer_that_was_tampered_with(
    server: postgres.Server, database_name: str, database: Database
) -> None:
    run, journals = await a_run(server, database_name, database, 1, FEW)
    assert check(run.calls, journals) == []
    for tamper in TAMPERINGS:
        calls = [replace(call) for call in run.calls]
        tamper(calls)
        assert len(check(calls, journals)) >= 1, tamper.__name__
    for holder_id, entries in journals.items():
        last = max(n for n, entry in enumerate(entries) if entry.key is not None)
        assert check(run.calls, {**journals, holder_id: entries[:last]}) != []
        if repayments := [n for n, entry in enumerate(entries) if entry.kind == REPAYMENT]:
            assert check(run.calls, {**journals, holder_id: entries[: repayments[-1]]}) != []
        assert check(run.calls, {**journals, holder_id: [entries[1], entries[0], *entries[2:]]}) != []
