"""Random histories of a coalition and its settlement against an independent model, as a state machine.

The model shares no line with rating, netting or windows: it keeps a list of what every partner is owed or owes by event,
and where in its settlement each event is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kit import postgres
from kit.database import APPLICATION_ROLE, connect
from kit.postgres import Server
from settlement import archive, runs
from settlement.windows import cycle, positions, standing

DAY = timedelta(days=1)
PRICES = {
    "a": (8_500, 1_500, 8_000),
    "b": (7_777, 333, 7_003),
    "c": (900_001, 7, 899_999),
}  # fund, service, reimbursement
CURRENCY = {"a": "EUR", "b": "EUR", "c": "JPY"}
LEAST = {"a": 0, "b": 40, "c": 3}  # minor units below which nothing is paid
STEPS = (runs.calculate, runs.control, runs.issue)
_numbers = count(1)

codes = st.sampled_from("abc")
members = st.integers(0, 2)


@dataclass
class Event:
    """What one event makes a partner owed (above zero) or owe, and the cut-off that it was recorded in."""

    partner: str
    micro: int
    cutoff: int


@dataclass
class Lot:
    """Points of one accrual as the model knows them."""

    issuer: str
    left: int
    granted: int
    returned: int = 0


class Model:
    """Everything that was billed, by event, and what every run was to settle."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.cutoff = 1
        self.settled_through: Counter[str] = Counter()
        self.carried: Counter[str] = Counter()

    def add(self, partner: str, micro: int) -> None:
        self.events.append(Event(partner, micro, self.cutoff))

    def unsettled(self, partner: str, *, through: int | None = None) -> int:
        since = self.settled_through[CURRENCY[partner]]
        return sum(
            e.micro for e in self.events
            if e.partner == partner and e.cutoff > since and (through is None or e.cutoff <= through)
        )  # fmt: skip


@pytest.mark.parametrize("examples", [4, pytest.param(100, marks=pytest.mark.deep)])
def test_whatever_happens_every_run_settles_it_once_and_every_control_holds(
    server: Server, template: str, coalition_of: Any, examples: int
) -> None:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.stack = AsyncExitStack()
            self.name = f"machine_{next(_numbers)}"
            postgres.create_database(server, self.name, template=template)
            self.model = Model()
            self.lots: dict[tuple[int, int], Lot] = {}
            self.redemptions: dict[tuple[int, int], tuple[str, int]] = {}
            self.begun: dict[str, tuple[int, int, int]] = {}  # by currency: run, its next step, its last cut-off
            self.issued: list[tuple[int, str, int, Counter[str]]] = []

        def do(self, work: Awaitable[Any]) -> Any:
            return self.runner.run(work)

        @initialize()
        def found(self) -> None:
            async def open_up() -> None:
                database = await self.stack.enter_async_context(connect(server.url(self.name, APPLICATION_ROLE)))
                self.coalition = coalition_of(database)
                await self.coalition.found()
                self.terms = {}
                for code, (fund, service, reimbursement) in PRICES.items():
                    self.terms[code] = await self.coalition.partner(
                        code, currency=CURRENCY[code], fund=fund, service=service, reimbursement=reimbursement,
                        says={"minimum_payout_minor": LEAST[code]},
                    )  # fmt: skip
                self.members = [await self.coalition.member() for _ in range(3)]

            self.do(open_up())

        def teardown(self) -> None:
            try:
                if hasattr(self, "coalition"):
                    self.do(self._close_and_look())
            finally:
                self.do(self.stack.aclose())
                self.runner.close()
                postgres.drop_database(server, self.name)

        async def _close_and_look(self) -> None:
            """Settle all that is left; afterwards nothing is unsettled but what is carried, and no control complains."""
            for currency in list(self.begun):
                await self._through(currency)
            self.coalition.at += DAY
            await runs.close_cutoff(self.coalition.database, actor="maker", at=self.coalition.at)
            self.model.cutoff += 1
            await self._settle()
            assert await self.coalition.violations() == []
            async with self.coalition.database.reading() as connection:
                for one in await standing.now(connection):
                    code = "abc"[one.partner_id - 1]
                    assert (one.moved_micro, one.carried_micro) == (0, self.model.carried[code]), one
                numbers = list(range(1, self.model.cutoff + 1))
                assert await positions.moved(connection, numbers) == await positions.recounted(connection, numbers)

        # --- What members and tills do ----------------------------------------------------------------------------

        @rule(code=codes, member=members, points=st.integers(1, 999), is_late=st.booleans())
        def earn(self, code: str, member: int, points: int, is_late: bool) -> None:
            was = self.coalition.at
            self.coalition.at -= 3 * DAY if is_late else timedelta(0)
            holder = self.members[member]
            seq = self.do(self.coalition.earn(holder, code, self.terms[code], points))
            self.coalition.at = was
            self.lots[holder, seq] = Lot(code, points, points)
            fund, service, _ = PRICES[code]
            self.model.add(code, -points * (fund + service))

        @rule(code=codes, member=members, points=st.integers(1, 600))
        def spend(self, code: str, member: int, points: int) -> None:
            holder = self.members[member]
            seq = self.do(self.coalition.spend(holder, code, self.terms[code], points))
            if seq is not None:
                self.redemptions[holder, seq] = (code, points)
                self.model.add(code, points * PRICES[code][2])

        @precondition(lambda self: self.redemptions)
        @rule(data=st.data(), points=st.integers(1, 100))
        def refund(self, data: st.DataObject, points: int) -> None:
            holder, seq = data.draw(st.sampled_from(sorted(self.redemptions)))
            code, _ = self.redemptions[holder, seq]
            if self.do(self.coalition.refund(holder, seq, points, code)):
                self.model.add(code, -points * PRICES[code][2])

        @precondition(lambda self: self.lots)
        @rule(data=st.data(), points=st.integers(1, 300))
        def give_back(self, data: st.DataObject, points: int) -> None:
            holder, seq = data.draw(st.sampled_from(sorted(self.lots)))
            lot = self.lots[holder, seq]
            asked = min(points, lot.granted - lot.returned)
            if not asked:
                return
            lot.returned += asked
            taken = self.do(self.coalition.give_back(holder, seq, asked, lot.issuer))  # what is short is forgiven
            fund, service, _ = PRICES[lot.issuer]
            self.model.add(lot.issuer, taken * (fund + service))

        @rule(hours=st.integers(1, 30))
        def time_goes_on(self, hours: int) -> None:
            self.coalition.at += hours * timedelta(hours=1)

        # --- What finance does --------------------------------------------------------------------------------------

        @rule()
        def close(self) -> None:
            self.do(runs.close_cutoff(self.coalition.database, actor="maker", at=self.coalition.at))
            self.model.cutoff += 1

        @rule()
        def begin(self) -> None:
            self.do(self._begin())

        async def _begin(self) -> None:
            try:
                begun = await self.coalition.step(runs.begin)
            except runs.NothingToSettle:
                assert not self.begun
                return
            async with self.coalition.database.reading() as connection:
                for run_id in begun:
                    head = await archive.head(connection, run_id)
                    self.begun.setdefault(head.currency, (run_id, 0, head.through_cutoff))
                    assert self.begun[head.currency][0] == run_id

        @precondition(lambda self: self.begun)
        @rule(data=st.data())
        def step(self, data: st.DataObject) -> None:
            self.do(self._step(data.draw(st.sampled_from(sorted(self.begun)))))

        async def _step(self, currency: str) -> None:
            run_id, number, through = self.begun[currency]
            head = await self.coalition.step(STEPS[number], run_id)
            assert head.state == ("CALCULATED", "CONTROLLED", "IN_REVIEW")[number]
            if number == 0:
                await self._check_statements(run_id, currency, through)
            if number == 2:
                del self.begun[currency]
            else:
                self.begun[currency] = (run_id, number + 1, through)

        async def _check_statements(self, run_id: int, currency: str, through: int) -> None:
            async with self.coalition.database.reading() as connection:
                found = await archive.run(connection, run_id)
            per_minor = 10_000 if currency == "EUR" else 1_000_000
            before = Counter(self.model.carried)
            for code in (c for c in "abc" if CURRENCY[c] == currency):
                partner_id = self.coalition.partners[code]
                rated = self.model.unsettled(code, through=through)
                own = [s for s in found.statements if s.partner_id == partner_id]
                exact = rated + self.model.carried[code]
                if not own:
                    assert exact == 0
                    continue
                [statement] = own
                lines = Counter()
                for line in statement.lines:
                    lines[line.kind in ("ROUNDING", "CARRIED_OUT")] += line.amount_micro
                assert statement.opening_micro == self.model.carried[code]
                assert lines[False] == rated, "the lines are what the events were worth"
                payable = statement.net_minor * per_minor
                carried = -sum(n.amount_micro for n in statement.lines if n.kind == "CARRIED_OUT")
                assert abs(2 * (payable + carried - exact)) <= per_minor
                assert (carried == 0) or abs(carried) < LEAST[code] * per_minor
                self.model.carried[code] = carried
            assert sum(s.net_micro for s in found.statements) == 0
            self.issued.append((run_id, currency, self.model.settled_through[currency], before))
            self.model.settled_through[currency] = through

        @precondition(lambda self: self.issued)
        @rule()
        def abort_the_last(self) -> None:
            run_id, currency, through, carried = self.issued[-1]
            state = self.do(self._state(run_id))
            if state in ("CALCULATED", "CONTROLLED"):
                self.do(self.coalition.step(runs.abort, run_id, reason="it is to be done again"))
                del self.begun[currency]
            elif currency in self.begun:
                return  # a later run of it was begun
            else:
                self.do(self.coalition.step(runs.abort, run_id, by="checker", reason="it is to be done again"))
            self.issued.pop()
            self.model.settled_through[currency] = through
            for code, micro in carried.items():
                if CURRENCY[code] == currency:
                    self.model.carried[code] = micro
            for code in (c for c in "abc" if CURRENCY[c] == currency and c not in carried):
                self.model.carried[code] = 0

        async def _state(self, run_id: int) -> str:
            async with self.coalition.database.reading() as connection:
                return (await archive.head(connection, run_id)).state

        @precondition(lambda self: self.issued)
        @rule()
        def approve(self) -> None:
            async def try_it() -> None:
                run_id = self.issued[0][0]
                if await self._state(run_id) == "IN_REVIEW":
                    try:
                        await self.coalition.step(runs.approve, run_id, by="checker")
                    except runs.ReviewOpen:
                        assert await self._state(run_id) == "IN_REVIEW"

            self.do(try_it())

        async def _through(self, currency: str) -> None:
            while currency in self.begun:
                await self._step(currency)

        async def _settle(self) -> None:
            await self._begin()
            for currency in list(self.begun):
                await self._through(currency)

        @invariant()
        def every_window_is_in_one_live_run_at_most(self) -> None:
            if not hasattr(self, "coalition"):
                return

            async def look() -> None:
                async with self.coalition.database.reading() as connection:
                    live = {
                        r.run_id for r in await archive.runs(connection) if r.state not in ("ABORTED", "SUPERSEDED")
                    }
                    claimed = [w.window_id for n in live for w in await cycle.windows(connection, run_id=n)]
                    assert len(claimed) == len(set(claimed))

            self.do(look())

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
