"""Exposure against caps, limits that are handed down, and the waterfall of a partner that does not pay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import actors, approvals
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from partners.promotions import budgets
from partners.terms import SettlementTerms
from settlement import runs, states
from settlement.exposure import caps, defaults, limits
from settlement.exposure.caps import ALERT, BLOCK, COLLATERAL, HOLDBACK, OPERATORS, PENDING_HOLD, PREFUNDING, Draw
from settlement.exposure.tills import TillLimits
from settlement.money import journal
from settlement.money.events import MoneyEvent
from settlement.windows import cycle

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported
amounts = st.integers(0, 10**9)


# --- Decisions --------------------------------------------------------------------------------------------------


@given(amounts, amounts, amounts, amounts)
def test_the_waterfall_covers_all_of_a_shortfall_in_its_order(
    shortfall: int, prefunding: int, holdback: int, collateral: int
) -> None:
    found = caps.waterfall(shortfall, prefunding_minor=prefunding, holdback_minor=holdback, collateral_minor=collateral)
    assert sum(draw.amount_minor for draw in found) == shortfall
    there = {PREFUNDING: prefunding, HOLDBACK: holdback, COLLATERAL: collateral, OPERATORS: shortfall}
    order = list(there)
    assert [d.source for d in found] == sorted((d.source for d in found), key=order.index)
    for draw in found:
        assert 0 < draw.amount_minor <= there[draw.source]
        for earlier in order[: order.index(draw.source)]:
            taken = sum(d.amount_minor for d in found if d.source == earlier)
            assert taken == there[earlier], "a later source gives nothing before an earlier one is used up"


@given(
    st.integers(-(10**12), 10**12), amounts, amounts, amounts, st.integers(0, 10**6), st.sampled_from([ALERT, BLOCK])
)
def test_within_the_limit_the_cap_is_kept_to_the_point(
    position: int, pending: int, cover: int, cap: int, price: int, policy: str
) -> None:
    terms = SettlementTerms(1, 1, 1, datetime(2026, 1, 1, tzinfo=UTC), "EUR", debit_cap_micro=cap, cap_policy=policy)
    one = caps.exposure(terms, price, position_micro=position, pending_micro=pending, cover_micro=cover)
    assert one is not None
    if policy == ALERT or not price:
        assert one.limit_points is None
        return
    assert one.limit_points is not None
    after = max(0, -position) + pending + one.limit_points * price - cover
    assert one.limit_points == 0 or after <= cap
    assert after + price > cap, "one more would be too much"
    assert one.is_exceeded == (one.exposure_micro > cap)


# --- Measured ---------------------------------------------------------------------------------------------------


class Kept:
    """Limits kept as a till's call would keep them: grants are counted, one beyond the limit is refused.

    What others see as used is what was recorded: a grant on its way counts for whoever would grant more, alone.
    """

    def __init__(self) -> None:
        self.counted: dict[str, int] = {}
        self.recorded: dict[str, int] = {}
        self.limits: dict[str, tuple[int, str]] = {}

    async def used(self, connection: Any, partner_code: str, policy: str) -> int:
        return self.recorded.get(partner_code, 0)

    async def given_back(self, connection: Any, partner_code: str, policy: str, *, since: int) -> int:
        return 0

    async def limit(self, connection: Any, partner_code: str, policy: str) -> int:
        return self.limits[partner_code][0] if partner_code in self.limits else limits.UNLIMITED

    async def set_limit(self, connection: Any, partner_code: str, points: int, *, policy: str, at: datetime) -> None:
        self.limits[partner_code] = (points, policy)

    async def lift(self, connection: Any, partner_code: str, *, policy: str, at: datetime) -> None:
        self.limits.pop(partner_code, None)

    def grants(self, code: str, points: int) -> bool:
        """Whether a till may grant so many more; counts them if it does."""
        left = self.limits[code][0] - self.counted.get(code, 0) if code in self.limits else points
        if points > left:
            return False
        self.counted[code] = self.counted.get(code, 0) + points
        return True

    def note(self, code: str, points: int) -> None:
        """That a grant was recorded."""
        self.recorded[code] = self.recorded.get(code, 0) + points


CAP = {"debit_cap_micro": 10_000_000, "cap_policy": "BLOCK"}


async def deposit(coalition: Coalition, partner_id: int, amount_micro: int) -> None:
    async with coalition.database.transaction() as connection:
        await journal.post_events(
            connection, source=f"deposit:{partner_id}/{coalition.at.isoformat()}", at=coalition.at, actor="maker",
            found=[MoneyEvent("DEPOSIT", partner_id, 0, "EUR", amount_micro)],
        )  # fmt: skip


async def enforced(coalition: Coalition, kept: Kept) -> dict[int, caps.Exposure]:
    return {one.partner_id: one for one in await limits.enforce(coalition.database, kept, at=coalition.at)}


async def test_exposure_is_what_is_owed_and_pending_less_what_covers_it(coalition: Coalition) -> None:
    a = await coalition.partner("a", says=CAP)
    b = await coalition.partner("b", says=CAP | {"cap_policy": "PENDING_HOLD"})
    at_burn = await coalition.partner("c", says={**CAP, "cap_policy": "ALERT", "funding": "AT_BURN"})
    member = await coalition.member()
    await coalition.earn(member, "a", a, 300)
    await coalition.earn(member, "a", a, 200, pending_for=14 * DAY)
    await coalition.spend(member, "b", b, 100)
    await coalition.earn(member, "c", at_burn, 1000)
    await deposit(coalition, coalition.partners["a"], 1_000_000)
    kept = Kept()

    found = await enforced(coalition, kept)

    one = found[coalition.partners["a"]]
    assert (one.debit_micro, one.pending_micro, one.cover_micro) == (3_000_000, 2_000_000, 1_000_000)
    assert (one.exposure_micro, one.limit_points, one.is_exceeded) == (4_000_000, 600, False)
    assert found[coalition.partners["b"]].exposure_micro == 0
    burn = found[coalition.partners["c"]]
    assert (burn.debit_micro, burn.pending_micro, burn.limit_points) == (1_500_000, 8_500_000, None)
    assert kept.limits == {"a": (600, BLOCK), "b": (1000, PENDING_HOLD)}
    async with coalition.database.reading() as connection:
        assert {e.partner_id: e for e in await limits.last(connection)} == found


async def test_tills_are_told_in_their_budget_how_many_points_a_partner_may_still_issue(coalition: Coalition) -> None:
    a = await coalition.partner("a", says=CAP)
    await coalition.partner("b", says=CAP | {"cap_policy": "PENDING_HOLD"})

    async def ceilings() -> dict[str, int]:
        async with coalition.database.reading() as connection:
            return {one.document.code: one.ceiling for one in await budgets.everything(connection)}

    await limits.enforce(coalition.database, TillLimits(), at=coalition.at)
    assert await ceilings() == {"exposure:a": 1000, "holding:b": 1000}
    await coalition.earn(await coalition.member(), "a", a, 300)  # not through a till: its budget does not know of it
    await limits.enforce(coalition.database, TillLimits(), at=coalition.at)
    await limits.enforce(coalition.database, TillLimits(), at=coalition.at)
    assert await ceilings() == {"exposure:a": 700, "holding:b": 1000}
    await deposit(coalition, coalition.partners["a"], 2_000_000)
    await limits.enforce(coalition.database, TillLimits(), at=coalition.at)
    assert await ceilings() == {"exposure:a": 900, "holding:b": 1000}
    changes = await coalition.database.pool.fetch(
        "SELECT l.ceiling FROM partners.budget_limit l JOIN partners.budget b USING (budget_id) "
        "WHERE b.code = 'exposure:a' ORDER BY limit_no"
    )
    assert [row["ceiling"] for row in changes] == [1000, 700, 900]


async def test_what_is_settled_and_carried_still_counts_and_what_is_used_is_counted_once(coalition: Coalition) -> None:
    a = await coalition.partner("a", says=CAP | {"minimum_payout_minor": 1_000})
    member, kept = await coalition.member(), Kept()
    await enforced(coalition, kept)
    assert kept.limits["a"] == (1000, BLOCK)
    assert kept.grants("a", 400)
    await coalition.earn(member, "a", a, 400)
    kept.note("a", 400)
    await enforced(coalition, kept)
    assert kept.limits["a"] == (1000, BLOCK)
    await coalition.settle()  # carried over: it still owes 4.00
    coalition.at += DAY
    found = await enforced(coalition, kept)
    assert found[coalition.partners["a"]].debit_micro == 4_000_000
    assert kept.limits["a"] == (1000, BLOCK)


async def test_a_cap_with_the_policy_block_is_never_exceeded_by_many_at_once(
    coalition: Coalition, server: Server, database_name: str
) -> None:
    a = await coalition.partner("a", says=CAP)
    kept, stop = Kept(), asyncio.Event()
    await enforced(coalition, kept)
    tills = [await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE)) for _ in range(6)]

    async def sell(connection: asyncpg.Connection) -> None:
        member = await coalition.member()
        while not stop.is_set() and kept.grants("a", 7):
            await coalition.earn(member, "a", a, 7)
            kept.note("a", 7)

    tasks = [asyncio.create_task(sell(till)) for till in tills]
    try:
        while not all(task.done() for task in tasks):
            found = await enforced(coalition, kept)
            assert all(not one.is_exceeded for one in found.values())
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        for till in tills:
            await till.close()
    assert await coalition.database.pool.fetchval("SELECT sum(granted) FROM ledger.lot") <= 1000
    await enforced(coalition, kept)  # nobody sells: now the limit is exact
    assert kept.limits["a"][0] == 1000
    member = await coalition.member()
    while kept.grants("a", 7):
        await coalition.earn(member, "a", a, 7)
    assert await coalition.database.pool.fetchval("SELECT sum(granted) FROM ledger.lot") == 1000 // 7 * 7


async def test_where_an_old_transaction_hides_grants_no_limit_is_set(
    coalition: Coalition, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cycle, "PATIENCE", 2)
    a = await coalition.partner("a", says=CAP)
    kept = Kept()
    old = await asyncpg.connect(server.dsn(database_name, APPLICATION_ROLE))
    try:
        hanging = old.transaction()
        await hanging.start()
        await old.fetchval("SELECT pg_current_xact_id()")
        await coalition.earn(await coalition.member(), "a", a, 100)
        assert await enforced(coalition, kept) == {}
        assert kept.limits == {}
        await hanging.rollback()
    finally:
        await old.close()
    await enforced(coalition, kept)
    assert kept.limits == {"a": (900, BLOCK)}


# --- Not paid ---------------------------------------------------------------------------------------------------


async def approved(coalition: Coalition) -> int:
    done = await coalition.settle()
    coalition.at += 10 * DAY
    run_id = done.runs[0].head.run_id
    await coalition.step(runs.approve, run_id, by="checker")
    return run_id


async def propose(coalition: Coalition, run_id: int, code: str = "a") -> int:
    async with coalition.database.transaction() as connection:
        return await defaults.propose(connection, run_id, coalition.partners[code], maker="maker", at=coalition.at)


async def cover(coalition: Coalition, approval_id: int, checker: str = "checker") -> list[defaults.Step]:
    async with coalition.database.transaction() as connection:
        return await defaults.cover(connection, approval_id, checker=checker, at=coalition.at)


async def test_what_a_partner_did_not_pay_is_taken_in_the_order_of_the_rules(coalition: Coalition) -> None:
    a = await coalition.partner("a", says={"prefunding_micro": 2_000_000, "holdback_bp": 1_000, "dispute_days": 365})
    member = await coalition.member()
    await coalition.earn(member, "a", a, 100)
    await coalition.spend(member, "a", a, 100)
    redeemed = [await coalition.earn(member, "a", a, 400) and await coalition.spend(member, "a", a, 400)]
    assert redeemed
    await coalition.earn(await coalition.member(), "a", a, 100)
    await deposit(coalition, coalition.partners["a"], 5_000_000)
    b = await coalition.partner("b")
    await coalition.earn(member, "b", b, 2000)
    await coalition.spend(member, "a", a, 1000)  # 8.00 to receive, of which a tenth is retained
    await coalition.settle()
    coalition.at += DAY
    await coalition.earn(await coalition.member(), "a", a, 900)
    run_id = await approved(coalition)

    done = await cover(coalition, await propose(coalition, run_id))

    held = next(d.amount_minor for d in done if d.source == HOLDBACK)
    assert [(d.source, d.amount_minor) for d in done] == [
        (PREFUNDING, 200), (HOLDBACK, held), (COLLATERAL, 300), (OPERATORS, 900 - 500 - held),
    ]  # fmt: skip
    booked = await coalition.database.pool.fetch(
        "SELECT p.kind, p.account, p.amount_micro FROM settlement.money_posting p JOIN settlement.booking USING (booking_id) "
        "WHERE source LIKE 'default:%' AND amount_micro > 0 ORDER BY entry_no"
    )
    assert [tuple(p) for p in booked] == [
        ("DEPOSIT_USED", "2300", 2_000_000), ("HOLDBACK_USED", "2310", held * 10_000),
        ("DEPOSIT_USED", "2300", 3_000_000), ("DEFAULT_LOSS", "5400", (400 - held) * 10_000),
    ]  # fmt: skip
    async with coalition.database.reading() as connection:
        assert await limits.cover_of(connection, coalition.partners["a"], "EUR") == (0, 0)
    with pytest.raises(defaults.NothingOwed):
        await propose(coalition, run_id)
    assert await coalition.violations() == []


async def test_a_default_takes_two_people_an_approved_run_and_somebody_who_owes(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    await coalition.partner("b")
    await coalition.earn(await coalition.member(), "a", a, 100)
    done = await coalition.settle()
    run_id = done.runs[0].head.run_id
    with pytest.raises(states.RunState):
        await propose(coalition, run_id)
    coalition.at += 10 * DAY
    await coalition.step(runs.approve, run_id, by="checker")
    with pytest.raises(defaults.NothingOwed):
        await propose(coalition, run_id, "b")
    approval_id = await propose(coalition, run_id)
    before = await coalition.rows()
    async with coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "maker", [actors.FINANCE_CHECKER])
    with pytest.raises(approvals.FourEyesRequired):
        await cover(coalition, approval_id, checker="maker")
    coalition.at -= 11 * DAY
    with pytest.raises(defaults.DefaultTooEarly):
        await cover(coalition, approval_id)
    assert await coalition.rows() == before
    assert await coalition.database.pool.fetchval("SELECT count(*) FROM settlement.default_step") == 0


def test_a_waterfall_of_nothing_takes_nothing() -> None:
    assert caps.waterfall(0, prefunding_minor=5, holdback_minor=5, collateral_minor=5) == []
    assert caps.waterfall(3, prefunding_minor=5, holdback_minor=5, collateral_minor=5) == [Draw(PREFUNDING, 3)]
    with pytest.raises(ValueError, match="not negative"):
        caps.waterfall(-1, prefunding_minor=0, holdback_minor=0, collateral_minor=0)


async def test_the_application_cannot_change_what_was_measured_or_taken(database: Database) -> None:
    for table in ("exposure", "default_step"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.pool.execute(f"DELETE FROM settlement.{table}")
