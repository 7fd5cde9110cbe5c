"""More of a budget in force: by two people, once, on the limit that was looked at, and at the till only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, postgres
from kit.actors import NotPermitted
from kit.approvals import AlreadyDecided, FourEyesRequired, ProposalUnknown
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from partners.promotions import budget_proposals, budgets, publishing
from partners.promotions.budget_proposals import RaiseOutdated
from partners.promotions.budgets import BudgetInForce, BudgetInvalid, BudgetReserved, BudgetUnknown, FundingReused
from partners.promotions.launching import Cover
from partners.promotions.publishing import Change, LaunchRefused, ReleaseOutdated
from tests.builders import DAY, NOON, a_receipt, found
from tests.partners.promotions.market import EARLIER, Market, bonus, open_market
from tests.partners.promotions.offers import document

LATER = EARLIER + DAY
PLENTY = Cover(standing_minor=0, cover_minor=1_000_000)


class Board:
    """A market with a budget of a hundred points that a published rule counts against, and its two people."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.database = market.coalition.database

    async def propose(self, to: int, *, cover: Cover | None = PLENTY, code: str = "pot", by: int | None = None) -> int:
        async with self.database.transaction() as connection:
            actor = by or self.market.maker
            number = await budget_proposals.set_limit(connection, code, to, cover=cover, actor=actor, at=LATER)
        assert number is not None
        return number

    async def approve(self, number: int, *, by: int | None = None, **given: Any) -> None:
        async with self.database.transaction() as connection:
            await budget_proposals.approve(
                connection, number, checker=by or self.market.checker, at=LATER + DAY, **given
            )

    async def limit(self, to: int, *, code: str = "pot") -> int | None:
        async with self.database.transaction() as connection:
            return await budget_proposals.set_limit(connection, code, to, actor=self.market.maker, at=LATER)

    async def ceiling(self, code: str = "pot") -> int:
        async with self.database.reading() as connection:
            return (await budgets.read(connection, code)).ceiling

    async def state(self, number: int) -> str:
        async with self.database.reading() as connection:
            return (await budget_proposals.read(connection, number)).state

    async def refused(self, no: type[Rejection], call: Awaitable[Any]) -> Rejection:
        """A rejection, which wrote nothing."""
        before = await self.rows()
        with pytest.raises(no) as found:
            await call
        assert await self.rows() == before
        return found.value

    async def rows(self) -> list[tuple[Any, ...]]:
        """What any of it could have written."""
        pool = self.database.pool
        return [
            tuple(row)
            for table in ("kit.approval", "kit.audit_trail", "partners.budget", "partners.budget_limit")
            for row in await pool.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")
        ]

    async def actions(self) -> list[tuple[str, str]]:
        rows = await self.database.pool.fetch(
            "SELECT actor, action FROM kit.audit_trail WHERE subject LIKE 'budget:%' ORDER BY entry_id"
        )
        return [(row["actor"], row["action"]) for row in rows]


@pytest.fixture
async def board(database: Database, vault: Vault) -> AsyncIterator[Board]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    market = await open_market(coalition)
    await market.budget("pot", limit=100)
    await market.publish(bonus("gift", 60, caps=["pot"]))
    yield Board(market)
    assert await market.violations() == []
    await coalition.desk.close()


async def test_a_raise_counts_at_the_till_when_another_approved_it_and_a_lower_limit_at_once(board: Board) -> None:
    market, card = board.market, await board.market.coalition.add_member()

    async def gives() -> int:
        return (await market.buy(card, a_receipt(50))).receipt.awarded_points

    assert [await gives(), await gives()] == [60, 0]
    number = await board.propose(300)
    assert (await board.ceiling(), await gives()) == (100, 0)
    await board.approve(number, reason="as agreed")
    assert (await board.ceiling(), await gives()) == (300, 60)
    assert await board.limit(120) is None
    assert (await board.ceiling(), await gives()) == (120, 0)
    async with board.database.reading() as connection:
        (kept,) = await budget_proposals.about(connection, "pot", limit=5)
        assert await budget_proposals.waiting(connection) == []
    assert (kept.before, kept.after, kept.state, kept.maker, kept.checker, kept.reason) == (
        100, 300, "APPROVED", "marketer", "publisher", "as agreed",
    )  # fmt: skip
    assert await board.actions() == [
        ("marketer", "BUDGET_ADDED"), ("marketer", "BUDGET_LIMIT_PROPOSED"), ("publisher", "BUDGET_LIMIT_SET"),
        ("marketer", "BUDGET_LIMIT_SET"),
    ]  # fmt: skip


async def test_nobody_is_both_whatever_their_roles_and_what_is_refused_writes_nothing(board: Board) -> None:
    market = board.market
    async with board.database.transaction() as connection:
        both = await actors.ensure_actor(connection, "both", [actors.PROMOTION_MAKER, actors.PROMOTION_CHECKER])
        release = await publishing.submit(
            connection, Change(without=["gift"]), effective_from=LATER + 9 * DAY, maker=market.maker, at=LATER
        )
    of_release = await board.database.pool.fetchval(
        "SELECT approval_id FROM partners.release WHERE release_id = $1", release
    )
    number = await board.propose(300, by=both)
    await board.refused(FourEyesRequired, board.approve(number, by=both))
    await board.refused(NotPermitted, board.approve(number, by=market.maker))
    await board.refused(NotPermitted, board.propose(300, by=market.checker))
    await board.refused(ProposalUnknown, board.approve(99_999))
    await board.refused(ProposalUnknown, board.approve(of_release))
    await board.refused(BudgetInvalid, board.approve(number, reason="x" * 501))
    await board.refused(BudgetInvalid, board.propose(300, cover=Cover(-1, 5)))
    await board.refused(BudgetUnknown, board.limit(5, code="none"))
    async with board.database.transaction() as connection:
        with pytest.raises(BudgetInForce):
            await budgets.set_limit(connection, "pot", 101, actor=both, at=LATER)
        with pytest.raises(NotPermitted):
            await budget_proposals.withdraw(connection, number, maker=market.maker, at=LATER)
        await budget_proposals.withdraw(connection, number, maker=both, at=LATER)
    assert (await board.state(number), await board.ceiling()) == ("WITHDRAWN", 100)
    await board.refused(AlreadyDecided, board.approve(number))
    declined = await board.propose(300)
    async with board.database.transaction() as connection:
        await budget_proposals.decline(connection, declined, checker=market.checker, at=LATER, reason="too much")
        with pytest.raises(AlreadyDecided):
            await budget_proposals.withdraw(connection, declined, maker=market.maker, at=LATER)
    await board.refused(AlreadyDecided, board.approve(declined))
    assert (await board.state(declined), await board.ceiling()) == ("DECLINED", 100)
    assert (await board.actions())[1:] == [
        ("both", "BUDGET_LIMIT_PROPOSED"), ("both", "BUDGET_LIMIT_WITHDRAWN"), ("marketer", "BUDGET_LIMIT_PROPOSED"),
        ("publisher", "BUDGET_LIMIT_DECLINED"),
    ]  # fmt: skip


async def test_of_approvals_at_once_one_counts_and_so_does_one_of_two_raises(board: Board) -> None:
    async def outcome(call: Awaitable[None]) -> str:
        try:
            await call
        except Rejection as no:
            return no.code
        return "APPROVED"

    number = await board.propose(300)
    told = await asyncio.gather(*(outcome(board.approve(number)) for _ in range(4)))
    assert sorted(told) == ["ALREADY_DECIDED"] * 3 + ["APPROVED"]
    assert await board.database.pool.fetchval("SELECT count(*) FROM partners.budget_limit") == 2
    numbers = [await board.propose(to) for to in (400, 500)]
    told = await asyncio.gather(*(outcome(board.approve(number)) for number in numbers))
    assert sorted(told) == ["APPROVED", "RAISE_OUTDATED"]
    assert await board.ceiling() == (400, 500)[told.index("APPROVED")]


async def test_a_raise_on_a_limit_that_somebody_lowered_since_is_proposed_anew(board: Board) -> None:
    number = await board.propose(300)
    await board.limit(40)
    await board.refused(RaiseOutdated, board.approve(number))
    await board.refused(RaiseOutdated, board.approve(number, in_spite=True))
    await board.approve(await board.propose(100))  # back to what it was takes two, and is another change
    await board.refused(RaiseOutdated, board.approve(number))
    assert await board.ceiling() == 100


async def test_a_lower_limit_and_an_approval_at_once_never_leave_the_raise_standing_on_the_old_limit(
    board: Board,
) -> None:
    for _ in range(5):
        ceiling = await board.ceiling()
        number = await board.propose(ceiling + 100)
        lowered, approved = await asyncio.gather(
            board.limit(ceiling - 10), board.approve(number), return_exceptions=True
        )
        assert lowered is None
        # Whichever was first, the lower limit holds: it came last, or the raise was outdated by it.
        assert approved is None or isinstance(approved, RaiseOutdated)
        assert await board.ceiling() == ceiling - 10


async def test_a_raise_beyond_cover_is_refused_unless_the_second_person_says_so(board: Board) -> None:
    market = board.market
    # A point is worth 0.01: 200 points more are 2.00 at most.
    enough = await board.propose(300, cover=Cover(standing_minor=50, cover_minor=250))
    short = await board.propose(300, cover=Cover(standing_minor=51, cover_minor=250))
    untold = await board.propose(300, cover=None)
    async with board.database.reading() as connection:
        gates = {number: await budget_proposals.gate(connection, number) for number in (enough, short, untold)}
    assert [(gates[one].obligation_after_minor, [each.code for each in gates[one].against])  # type: ignore[union-attr]
            for one in (enough, short, untold)] == [
        (250, []), (251, ["COVER_EXCEEDED"]), (200, ["MISSING"]),
    ]  # fmt: skip
    for number, code in ((short, "COVER_EXCEEDED"), (untold, "MISSING")):
        no = await board.refused(LaunchRefused, board.approve(number))
        assert [problem.code for problem in no.problems] == [code]
    await board.approve(short, in_spite=True)
    detail = await board.database.pool.fetchval(
        "SELECT detail ->> 'in_spite' FROM kit.audit_trail WHERE action = 'BUDGET_LIMIT_SET'"
    )
    assert (detail, await board.ceiling()) == ("true", 300)
    # Of a budget of each member's it is so much more for each who used something of it, and of times nothing is owed.
    await market.budget("each", limit=10, scopes=["member"])
    await market.budget("once", unit="count", limit=1)
    await market.publish(bonus("own", 10, caps=["each", "once"], stack={"priority": 20}))
    for _ in range(3):
        await market.buy(await market.coalition.add_member(), a_receipt(50))
    each, once = await board.propose(20, code="each", cover=None), await board.limit(2, code="once")
    assert once is not None
    async with board.database.reading() as connection:
        found = await budget_proposals.gate(connection, each)
        assert found is not None
        assert found.obligation_after_minor == 10
        assert await budget_proposals.gate(connection, once) is None
        assert await budget_proposals.gate(connection, short) is None  # it waits for nobody any more
        with pytest.raises(ProposalUnknown):
            await budget_proposals.gate(connection, 99_999)


async def test_only_whoever_looks_at_one_proposal_or_approves_it_counts_the_counters(
    board: Board, server: postgres.Server, database_name: str
) -> None:
    number = await board.propose(300)
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    try:
        await owner.execute("BEGIN")
        await owner.execute("LOCK TABLE partners.budget_counter IN ACCESS EXCLUSIVE MODE")

        async def impatient(asked: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
            async with board.database.transaction() as connection:
                await connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
                return await asked(connection)

        assert [one.number for one in await impatient(budget_proposals.waiting)] == [number]
        (told,) = await impatient(lambda connection: budget_proposals.about(connection, "pot", limit=5))
        assert told == await impatient(lambda connection: budget_proposals.read(connection, number))
        with pytest.raises(DBAPIError, match="lock timeout"):
            await impatient(lambda connection: budget_proposals.gate(connection, number))
        with pytest.raises(DBAPIError, match="lock timeout"):
            await impatient(
                lambda connection: budget_proposals.approve(
                    connection, number, checker=board.market.checker, at=LATER + DAY
                )
            )
        assert (await board.state(number), await board.ceiling()) == ("WAITING", 100)
        await owner.execute("ROLLBACK")
    finally:
        await owner.close()
    await board.approve(number)


async def test_what_was_proposed_is_read_page_by_page_each_once(board: Board) -> None:
    numbers = [await board.propose(100 + more) for more in range(1, 7)]
    async with board.database.transaction() as connection:
        for number in numbers[:2]:
            await budget_proposals.withdraw(connection, number, maker=board.market.maker, at=LATER)
    shown: list[int] = []
    behind: tuple[bool, int] | None = None
    for _ in range(4):
        async with board.database.reading() as connection:
            found = await budget_proposals.about(connection, "pot", limit=2, behind=behind)
        shown += [one.number for one in found]
        if found:
            behind = found[-1].state == "WAITING", found[-1].number
    assert shown == [*numbers[5:1:-1], *numbers[1::-1]]


async def test_a_payment_into_a_fund_in_force_waits_for_another_and_counts_once(board: Board) -> None:
    market, bakery = board.market, board.market.coalition.callers["bakery"].partner_id
    await market.budget("fund", unit="money", currency="EUR", on_exceed="partial")
    await market.publish(
        document("half", {"type": "discount_percent", "rate_bp": 5_000}, caps=["fund"], stack={"priority": 20})
    )

    async def pay(amount_minor: int, reference: str) -> int | None:
        async with board.database.transaction() as connection:
            return await budget_proposals.fund(
                connection, "fund", amount_minor, payer_id=bakery, reference=reference, actor=market.maker, at=LATER
            )

    async def off() -> int:
        card = await market.coalition.add_member()
        quote = await market.decide(card, a_receipt(lines={"1": 1_000}), is_quote=True)
        return sum(one.amount_minor for one in quote.decided.outcome.discounts)

    first, second = await pay(300, "INV-1"), await pay(100, "INV-2")
    assert first is not None
    assert second is not None
    await board.refused(FundingReused, pay(300, "INV-1"))
    assert (await board.ceiling("fund"), await off()) == (0, 0)
    await board.approve(second)
    await board.approve(first)  # a payment adds to whatever there is by then
    assert (await board.ceiling("fund"), await off()) == (400, 400)
    assert await pay(300, "INV-1") is None  # the same payment, which counts already
    await board.refused(FundingReused, pay(301, "INV-1"))
    assert await board.ceiling("fund") == 400


async def test_before_a_release_one_person_is_enough_and_the_release_is_judged_under_what_is_there(
    board: Board,
) -> None:
    market = board.market
    await market.budget("new", limit=10)
    assert await board.limit(20, code="new") is None

    async def submitted() -> int:
        async with board.database.transaction() as connection:
            await publishing.draft(
                connection,
                source=bonus("fresh", 5, caps=["new"], stack={"priority": 20}),
                author=market.maker,
                at=LATER,
            )
            return await publishing.submit(
                connection, Change({"fresh": None}), effective_from=LATER + 2 * DAY, maker=market.maker, at=LATER
            )

    async def publish(release: int) -> None:
        async with board.database.transaction() as connection:
            await publishing.approve(connection, release, checker=market.checker, at=LATER + DAY)

    release = await submitted()
    assert await board.limit(30, code="new") is None
    await board.refused(ReleaseOutdated, publish(release))
    assert await board.limit(15, code="new") is None  # less than was judged takes nothing from the judgement
    await publish(release)
    assert await board.limit(16, code="new") is not None
    assert await board.ceiling("new") == 15
    # Rules that were taken out again decide what comes late: the budget stays two people's.
    async with board.database.transaction() as connection:
        await publishing.suspend(connection, ["fresh", "gift"], actor=market.maker, at=LATER + 3 * DAY)
    assert await board.limit(200) is not None


async def test_a_raise_and_a_publication_at_once_do_not_slip_past_each_other(board: Board) -> None:
    market = board.market
    for number in range(6):
        code = f"b-{number}"
        await market.budget(code, limit=10)
        async with board.database.transaction() as connection:
            rule = bonus(f"r-{number}", 5, caps=[code], stack={"priority": 30 + number})
            await publishing.draft(connection, source=rule, author=market.maker, at=LATER)
            release = await publishing.submit(
                connection, Change({f"r-{number}": None}), effective_from=LATER + 2 * DAY, maker=market.maker, at=LATER
            )

        async def publish(release: int) -> None:
            async with board.database.transaction() as connection:
                await publishing.approve(connection, release, checker=market.checker, at=LATER + DAY)

        calls = [board.limit(20, code=code), publish(release)]
        told = await asyncio.gather(*(calls if number % 2 else reversed(calls)), return_exceptions=True)
        proposal, published = told if number % 2 else told[::-1]
        ceiling = await board.ceiling(code)
        if published is None:
            assert proposal is not None
            assert ceiling == 10
        else:
            assert isinstance(published, ReleaseOutdated)
            assert (proposal, ceiling) == (None, 20)


async def test_a_limit_that_settlement_keeps_a_partner_to_is_no_marketers(board: Board) -> None:
    market = board.market
    for code in ("exposure:bakery", "holding:bakery"):
        await board.refused(BudgetReserved, market.budget(code, limit=1))
    async with board.database.transaction() as connection:
        source = {"code": "exposure:bakery", "unit": "points", "limit": 15}
        await budgets.add(connection, source=source, sponsor_id=0, actor="settlement", at=EARLIER)
        await budgets.set_limit(connection, "exposure:bakery", 20, actor="settlement", at=EARLIER)
    for to in (10, 30):
        await board.refused(BudgetReserved, board.limit(to, code="exposure:bakery"))


async def test_the_audit_finds_what_one_person_raised_alone(board: Board) -> None:
    maker, pool = board.market.maker, board.database.pool
    raised = "INSERT INTO partners.budget_limit (budget_id, limit_no, ceiling, at, author_id, approval_id) " \
             "SELECT budget_id, 2, 300, $1, $2, $3 FROM partners.budget WHERE code = 'pot'"  # fmt: skip
    waits = await board.propose(300)
    for approval_id in (None, waits):
        connection = await pool.acquire()
        try:
            undone = connection.transaction()
            await undone.start()
            await connection.execute("UPDATE partners.budget SET ceiling = 300 WHERE code = 'pot'")
            await connection.execute(raised, NOON, maker, approval_id)
            told = await connection.fetch("SELECT rule, detail FROM partners.audit_promotions()")
            await undone.rollback()
        finally:
            await pool.release(connection)
        assert [row["rule"] for row in told] == ["B6"]
        assert "raised to 300 by one person alone" in told[0]["detail"]
    async with board.database.reading() as connection:
        assert (await approvals.read(connection, waits)).state == approvals.WAITING
