"""All that one call records is in one cut-off, though the closer opens the next in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from kit.database import Database
from kit.postgres import Server
from kit.secrets import Vault
from members.cards import IssuedCard
from partners import callers, recording
from partners.holds import holds
from partners.mechanics import grants
from partners.receipts.records import ProofUse
from partners.recording import Recorder
from partners.returns.returning import Wish
from tests.builders import NOON, a_receipt, identified
from tests.founded import a_coalition
from tests.ledger.test_cutoffs import GATE, accrue, somebody_waits, until, waits_for_a_row
from tests.partners.promotions.market import EARLIER, Market, bonus, met_market, open_market
from tests.partners.promotions.offers import document
from tests.partners.promotions.test_promoted import OPERATOR_PAYS, basket, give_back

Call = Callable[[], Awaitable[Any]]

KEEP, KEEPS_NOTHING = "ledger.keep_cutoff()", "ledger.enter_cutoff()"
STAY = "PERFORM ledger.stay_in_cutoff();"
ALL = {"points", "stamps", "receipt", "event"}

template = a_coalition(open_market, bakery={"return_window_days": 0})


@pytest.fixture
async def owner(server: Server, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """The schema's owner, who may change what the application may not."""
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


@pytest.fixture
async def market(database: Database, vault: Vault) -> AsyncIterator[Market]:
    """Every purchase gives a leaf, a large one cups; a coffee is cheaper at the operator's cost, and two cups are points on it."""
    made = await met_market(database, vault)
    async with database.transaction() as connection:
        for code in ("cup", "leaf"):
            await grants.define_stamps(connection, code, code, actor=made.maker, at=EARLIER)
    coffee = {"categories": ["coffee"]}
    await made.publish(
        document("cup", {"type": "grant_stamp", "unit": "cup", "quantity": 2}, what={"min_basket_minor": 90_000}),
        document("leaf", {"type": "grant_stamp", "unit": "leaf"}, stack={"priority": 12}),
        bonus("free", 100, what=coffee, costs={"unit": "cup", "quantity": 2}, stack={"priority": 13}),
        document("off", {"type": "discount_percent", "rate_bp": 2_000}, what=coffee, funding=OPERATOR_PAYS,
                 stack={"priority": 14}),
    )  # fmt: skip
    yield made
    await made.desk.close()


async def prepared(market: Market, what: str) -> tuple[str, Call]:
    """A call that is ready to be made, and the routine in it behind which stamps move."""
    card = await market.coalition.add_member()
    await market.buy(card, a_receipt(100_000), at=NOON)
    coffee = basket({"1": (1_000, "coffee")}, {"1": ("off", 200)})
    if what == "return":
        done = await market.buy(card, coffee, at=NOON)
        return "partners.record_taken_back", lambda: give_back(market, done, Wish())
    if what == "batch":
        other = await market.coalition.add_member()
        items = [await market.decide(card, coffee, at=NOON), await market.decide(other, a_receipt(500), at=NOON)]
        return "partners.record_given", lambda: recording.record_many(Recorder(market.desk.pool), items, at=NOON)
    if what == "capture":
        held = await set_aside(market, card)
        decided = await market.decide(card, coffee, spend=100, at=NOON)
        return "partners.record_given", lambda: holds.capture_for(
            market.desk, decided, held.hold.ref, 100, content=uuid4()
        )
    return "partners.record_given", lambda: market.buy(card, coffee, spend=100 if what == "spending" else 0, at=NOON)


async def set_aside(market: Market, card: IssuedCard, points: int = 100) -> holds.Held:
    caller, directory = market.coalition.callers["bakery"], await market.desk.directory.get()
    return await holds.place(
        market.desk, caller, identified(card), callers.place_of(directory, caller, "1", "1"),
        holds.HoldWish(points, None, "order"), terms=callers.terms_at(directory, caller.partner_id, NOON), use=ProofUse(),
        idem_key=callers.idem_key_of(caller, "placeHold", str(card.member_id)), at=NOON,
    )  # fmt: skip


async def cut_inside(market: Market, owner: asyncpg.Connection, routine: str, call: Call) -> dict[str, set[int]]:
    """In which cut-offs the parts of a call are, when the next is opened before one of its routines begins."""
    source = await owner.fetchval("SELECT pg_get_functiondef($1::regproc)", routine)
    await owner.execute(
        source.replace("BEGIN", f"BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared({GATE}, 1);", 1)
    )
    await owner.execute(f"SELECT pg_advisory_lock({GATE}, 1)")
    calling = asyncio.ensure_future(call())
    await until(lambda: somebody_waits(market.coalition.database, GATE))
    assert await market.desk.pool.fetchval("SELECT ledger.drain_cutoff($1)", NOON) == 1
    await owner.execute(f"SELECT pg_advisory_unlock({GATE}, 1)")
    await calling
    rows = await owner.fetch("""
        WITH written AS (
          SELECT CASE unit WHEN 1 THEN 'points' ELSE 'stamps' END AS what, cutoff_id, xmin FROM ledger.journal
          UNION ALL SELECT 'receipt', cutoff_id, xmin FROM partners.receipt
          UNION ALL SELECT 'event', cutoff_id, xmin FROM partners.clearing_event
        )
        SELECT DISTINCT what, cutoff_id FROM written
        WHERE xmin = (SELECT r.xmin FROM partners.receipt r ORDER BY r.xmin::text::bigint DESC LIMIT 1)
    """)
    found: dict[str, set[int]] = {}
    for row in rows:
        found.setdefault(row["what"], set()).add(row["cutoff_id"])
    return found


async def without(owner: asyncpg.Connection, routine: str, guard: str, instead: str = "") -> None:
    source = await owner.fetchval("SELECT pg_get_functiondef($1::regproc)", routine)
    assert source.count(guard) == 1
    await owner.execute(source.replace(guard, instead))


@pytest.mark.parametrize("what", ["purchase", "batch", "spending", "capture", "return"])
async def test_stamps_and_what_others_pay_are_in_the_cutoff_of_their_receipt(
    market: Market, owner: asyncpg.Connection, what: str
) -> None:
    routine, call = await prepared(market, what)
    assert await cut_inside(market, owner, routine, call) == {part: {1} for part in ALL}
    assert await market.violations() == []


@pytest.mark.parametrize(
    ("what", "routine", "guard", "instead"),
    [
        ("purchase", "partners.record_given", STAY, ""),
        ("batch", "partners.record_purchases", KEEP, KEEPS_NOTHING),
        ("spending", "partners.record_spending", KEEP, KEEPS_NOTHING),
        ("capture", "partners.record_capture", KEEP, KEEPS_NOTHING),
        ("return", "partners.record_return", KEEP, KEEPS_NOTHING),
    ],
)
async def test_without_its_guard_the_same_call_is_in_two_cutoffs(
    market: Market, owner: asyncpg.Connection, what: str, routine: str, guard: str, instead: str
) -> None:
    for taken in {routine, "partners.record_given"} if guard == KEEP else {routine}:
        await without(owner, taken, *((guard, instead) if taken == routine else (STAY, "")))
    gated, call = await prepared(market, what)
    found = await cut_inside(market, owner, gated, call)
    assert found["receipt"] == {1}
    assert found["stamps"] == found["event"] == {2}
    assert [row["rule"] for row in await market.violations()] == ["B3"]


async def cutoffs_of_a_call_that_waited(market: Market, owner: asyncpg.Connection, what: str) -> list[tuple[int, int]]:
    """Kind and cut-off of an account's entries, in order: a till takes points and waits for who has the account; the
    next cut-off is opened; who has the account records ten points in it; they are taken."""
    card = await market.coalition.add_member()
    async with market.desk.pool.acquire() as having, having.transaction():
        await having.execute("SELECT ledger.lock_accounts(ARRAY[$1::bigint], 1::smallint)", card.member_id)
        taking: Awaitable[Any]
        if what == "spending":
            taking = market.buy(card, a_receipt(90), spend=10, at=NOON)
        else:
            taking = set_aside(market, card, points=10)
        calling = asyncio.ensure_future(taking)
        await until(lambda: waits_for_a_row(market.coalition.database))
        assert await market.desk.pool.fetchval("SELECT ledger.drain_cutoff($1)", NOON) == 1
        assert await accrue(having, card.member_id, at=NOON) == 0
    await calling
    rows = await owner.fetch("SELECT kind, cutoff_id FROM ledger.journal WHERE unit = 1 ORDER BY seq")
    return [(row["kind"], row["cutoff_id"]) for row in rows]


TAKES = pytest.mark.parametrize(
    ("what", "routine", "entries"),
    [
        ("spending", "partners.record_spending", [(1, 2), (3, 2), (1, 2)]),
        ("hold", "partners.record_hold", [(1, 2), (4, 2)]),
    ],
)


@TAKES
async def test_a_till_takes_points_in_no_cutoff_before_the_one_that_they_came_in(
    market: Market, owner: asyncpg.Connection, what: str, routine: str, entries: list[tuple[int, int]]
) -> None:
    """A cut-off with what was spent and without what it was spent of could not be settled."""
    assert await cutoffs_of_a_call_that_waited(market, owner, what) == entries
    assert await market.violations() == []


@TAKES
async def test_a_till_that_keeps_its_cutoff_before_it_has_the_account_takes_points_of_the_next(
    market: Market, owner: asyncpg.Connection, what: str, routine: str, entries: list[tuple[int, int]]
) -> None:
    await without(owner, routine, "PERFORM ledger.enter_cutoff();", "PERFORM ledger.keep_cutoff();")
    found = await cutoffs_of_a_call_that_waited(market, owner, what)
    assert found == [entries[0], *((kind, 1) for kind, _ in entries[1:])]


async def test_whatever_a_till_records_keeps_its_cutoff_behind_the_account_s_lock(database: Database) -> None:
    rows = await database.pool.fetch(
        "SELECT p.proname AS name, p.prosrc AS source FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = 'partners' AND p.prosrc LIKE '%keep_cutoff()%'"
    )
    orders = {
        row["name"]: [
            row["source"].index(f"ledger.{step}(") for step in ("enter_cutoff", "lock_accounts", "keep_cutoff")
        ]
        for row in rows
    }
    assert {name for name, places in orders.items() if places != sorted(places)} == set()
    assert len(orders) == 7
