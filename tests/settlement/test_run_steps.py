"""The way of a run: guards, two people, a time to object, and what is taken back where it ends early."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest

from kit import actors, approvals
from kit.database import Database
from settlement import archive, runs
from settlement.archive import Run
from settlement.documents import register
from settlement.money import journal
from tests.settlement.once import once

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported


async def a_trade(coalition: Coalition, _: asyncpg.Connection) -> None:
    """Two partners, one cut-off that is closed: A pays 10.00, B receives 4.80."""
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    await coalition.spend(member, "b", b, 600)
    await coalition.close()


template, trade = once(a_trade)


async def begin(coalition: Coalition) -> int:
    [run_id] = await coalition.step(runs.begin)
    return run_id


async def through(coalition: Coalition, *steps: Any) -> int:
    run_id = await begin(coalition)
    for step in steps:
        await coalition.step(step, run_id)
    return run_id


async def read(coalition: Coalition, run_id: int) -> Run:
    async with coalition.database.reading() as connection:
        return await archive.run(connection, run_id)


async def test_a_run_goes_from_its_draft_to_its_approval(trade: Coalition) -> None:
    run_id = await begin(trade)
    for step, state in ((runs.calculate, "CALCULATED"), (runs.control, "CONTROLLED"), (runs.issue, "IN_REVIEW")):
        assert (await trade.step(step, run_id)).state == state
    trade.at += 8 * DAY
    assert (await trade.step(runs.approve, run_id, by="checker")).state == "APPROVED"

    async with trade.database.reading() as connection:
        way = await archive.trail(connection, run_id)
    assert [(s.from_state, s.to_state, s.actor) for s in way] == [
        (None, "DRAFT", "maker"), ("DRAFT", "CALCULATED", "maker"), ("CALCULATED", "CONTROLLED", "maker"),
        ("CONTROLLED", "STATEMENTS_ISSUED", "maker"), ("STATEMENTS_ISSUED", "IN_REVIEW", "maker"),
        ("IN_REVIEW", "APPROVED", "checker"),
    ]  # fmt: skip
    assert all(s.reason for s in way)
    assert way[1].input_hash is not None
    assert way[5].evidence["silent"] == [1, 2]
    assert await trade.violations() == []


async def test_what_was_begun_goes_on_and_a_step_done_twice_is_done_once(trade: Coalition) -> None:
    run_id = await through(trade, runs.calculate)
    before = await trade.rows()

    assert await begin(trade) == run_id
    assert (await trade.step(runs.calculate, run_id)).state == "CALCULATED"
    assert await trade.rows() == before
    done = await trade.settle_closed()
    assert [r.head.run_id for r in done.runs] == [run_id]
    before = await trade.rows()
    for step in (runs.calculate, runs.control, runs.issue):
        assert (await trade.step(step, run_id)).state == "IN_REVIEW"
    assert await trade.rows() == before


@pytest.mark.parametrize(
    ("done", "step", "by"),
    [
        ((), runs.control, "maker"),
        ((), runs.issue, "maker"),
        ((), runs.approve, "checker"),
        ((runs.calculate,), runs.issue, "maker"),
        ((runs.calculate,), runs.approve, "checker"),
        ((runs.calculate, runs.control), runs.approve, "checker"),
    ],
)
async def test_no_step_is_left_out(trade: Coalition, done: tuple[Any, ...], step: Any, by: str) -> None:
    run_id = await through(trade, *done)
    trade.at += 30 * DAY
    before = await trade.rows()
    with pytest.raises(runs.RunState):
        await trade.step(step, run_id, by=by)
    assert await trade.rows() == before


@pytest.mark.parametrize(
    ("step", "by", "no"),
    [
        (runs.calculate, "checker", actors.NotPermitted),
        (runs.control, "checker", actors.NotPermitted),
        (runs.issue, "checker", actors.NotPermitted),
        (runs.approve, "maker", actors.NotPermitted),
        (runs.calculate, "nobody", actors.ActorUnknown),
    ],
)
async def test_who_may_not_do_a_step_does_not(trade: Coalition, step: Any, by: str, no: type[Exception]) -> None:
    run_id = await begin(trade)
    before = await trade.rows()
    with pytest.raises(no):
        await trade.step(step, run_id, by=by)
    assert await trade.rows() == before


async def test_who_made_a_run_does_not_approve_it_even_with_both_roles(trade: Coalition) -> None:
    async with trade.database.transaction() as connection:
        await actors.ensure_actor(connection, "maker", [actors.FINANCE_CHECKER])
    run_id = await through(trade, runs.calculate, runs.control, runs.issue)
    trade.at += 8 * DAY
    before = await trade.rows()
    with pytest.raises(approvals.FourEyesRequired):
        await trade.step(runs.approve, run_id)
    with pytest.raises(approvals.FourEyesRequired):
        await trade.step(runs.abort, run_id, reason="I say so")
    assert await trade.rows() == before


async def test_silence_until_the_end_of_the_review_is_acceptance_and_holidays_are_no_days(trade: Coalition) -> None:
    await trade.step(runs.declare_holiday, day=date(2026, 3, 6), name="a Friday off")
    run_id = await through(trade, runs.calculate, runs.control, runs.issue)  # on a Sunday
    async with trade.database.reading() as connection:
        [one, _] = await runs.reviews(connection, run_id)
    assert one.review_ends_at is not None
    assert one.review_ends_at.isoformat() == "2026-03-10T00:00:00+00:00"  # Monday to Thursday, and Monday
    trade.at = one.review_ends_at - timedelta(microseconds=1)
    before = await trade.rows()

    with pytest.raises(runs.ReviewOpen):
        await trade.step(runs.approve, run_id, by="checker")
    assert await trade.rows() == before
    trade.at = one.review_ends_at
    assert (await trade.step(runs.approve, run_id, by="checker")).state == "APPROVED"


async def test_partners_that_accept_need_not_be_waited_for_and_nobody_accepts_for_another(trade: Coalition) -> None:
    run_id = await through(trade, runs.calculate, runs.control, runs.issue)
    statements = {s.partner_id: s.statement_id for s in (await read(trade, run_id)).statements}
    with pytest.raises(runs.StatementUnknown):
        await trade.step(runs.accept, statements[1], by="b's CFO", partner_id=2)
    with pytest.raises(runs.StatementUnknown):
        await trade.step(runs.accept, statements[0], by="somebody", partner_id=0)
    for partner_id in (1, 1, 2):
        await trade.step(runs.accept, statements[partner_id], by="its CFO", partner_id=partner_id)
    assert (await trade.step(runs.approve, run_id, by="checker")).state == "APPROVED"


async def test_a_statement_that_is_not_issued_is_nobody_s_to_see(trade: Coalition) -> None:
    run_id = await through(trade, runs.calculate, runs.control)
    [_, of_a, _] = (await read(trade, run_id)).statements

    async def seen() -> tuple[bool, int]:
        async with trade.database.reading() as connection:
            one = await archive.statement(connection, of_a.statement_id, partner_id=1)
            return one is not None, len(await archive.statements_page(connection, partner_id=1, before=None, limit=9))

    assert await seen() == (False, 0)
    await trade.step(runs.issue, run_id)
    assert await seen() == (True, 1)
    await trade.step(runs.abort, run_id, by="checker", reason="prices were wrong")
    assert await seen() == (False, 0)


async def test_a_partner_s_pages_hold_only_its_own(trade: Coalition) -> None:
    await through(trade, runs.calculate, runs.control, runs.issue)
    async with trade.database.reading() as connection:
        for partner_id in (1, 2):
            found = await archive.statements_page(connection, partner_id=partner_id, before=None, limit=9)
            assert {s.partner_id for s in found} == {partner_id}
            others = await archive.statements_page(connection, partner_id=None, before=None, limit=9)
            for other in others:
                own = await archive.statement(connection, other.statement_id, partner_id=partner_id)
                assert (own is not None) == (other.partner_id == partner_id)
        assert {d.partner_id for d in await register.documents(connection, partner_id=2)} == {2}


async def test_an_aborted_run_frees_its_windows_and_the_next_gives_the_same_bytes(trade: Coalition) -> None:
    run_id = await through(trade, runs.calculate)
    first = await read(trade, run_id)

    ended = await trade.step(runs.abort, run_id, reason="wrong day")

    assert ended.state == "ABORTED"
    assert "BALANCED" in (await trade.states()).values()
    done = await trade.settle_closed()
    [again] = done.runs
    assert again.head.run_id != run_id
    assert (first.head.name, again.head.name) == (f"{again.windows[0].name}.R1", f"{again.windows[0].name}.R2")
    async with trade.database.reading() as connection:
        hashes = {
            (s.input_hash, s.output_hash)
            for n in (run_id, again.head.run_id) for s in await archive.trail(connection, n) if s.to_state == "CALCULATED"
        }  # fmt: skip
    assert len(hashes) == 1
    assert [s.draft() for s in first.statements] == [s.draft() for s in again.statements]
    assert await trade.violations() == []


async def test_a_run_that_was_issued_ends_with_everything_taken_back(trade: Coalition) -> None:
    run_id = await through(trade, runs.calculate, runs.control, runs.issue)
    trade.at += 8 * DAY
    await trade.step(runs.approve, run_id, by="checker")

    await trade.step(runs.abort, run_id, by="checker", reason="the bank says no")

    async with trade.database.reading() as connection:
        found = await register.documents(connection, run_id=run_id)
        taken = {d.corrects_id for d in found}
        assert sum(d.draft().way * d.gross_minor for d in found if d.kind != "SET_OFF") == 0
        assert all(d.document_id in taken for d in found if d.corrects_id is None and d.kind != "SET_OFF")
        assert (await journal.trial_balance(connection)) is not None
        assert await archive.obligation(connection) == []
    assert await trade.violations() == []
    done = await trade.settle_closed()
    assert trade.of(done, "a").net_minor == -1000
    assert await trade.violations() == []


@pytest.mark.parametrize("state", ["DRAFT", "CALCULATED", "CONTROLLED"])
async def test_a_run_that_nobody_has_seen_is_drafted_anew(trade: Coalition, state: str) -> None:
    steps = {"DRAFT": (), "CALCULATED": (runs.calculate,), "CONTROLLED": (runs.calculate, runs.control)}[state]
    run_id = await through(trade, *steps)
    new = await trade.step(runs.supersede, run_id, reason="an agreement came late")
    async with trade.database.reading() as connection:
        assert [(r.run_id, r.state, r.version) for r in await archive.runs(connection)] == [
            (new, "DRAFT", 2), (run_id, "SUPERSEDED", 1),
        ]  # fmt: skip
    await trade.settle_closed()
    assert await trade.violations() == []


async def test_an_issued_run_is_never_drafted_anew(trade: Coalition) -> None:
    run_id = await through(trade, runs.calculate, runs.control, runs.issue)
    async with trade.database.transaction() as connection:
        await actors.ensure_actor(connection, "checker", [actors.FINANCE_MAKER])
    before = await trade.rows()
    with pytest.raises(runs.RunState):
        await trade.step(runs.supersede, run_id, by="checker", reason="a price")
    assert await trade.rows() == before


async def test_a_run_with_a_successor_does_not_end_and_nothing_ends_without_a_reason(trade: Coalition) -> None:
    run_id = await through(trade, runs.calculate, runs.control, runs.issue)
    with pytest.raises(runs.ReasonMissing):
        await trade.step(runs.abort, run_id, by="checker", reason=" ")
    trade.at += DAY
    await trade.earn(await trade.member(), "a", 1, 5)
    await trade.settle()
    before = await trade.rows()
    with pytest.raises(runs.RunHasSuccessor):
        await trade.step(runs.abort, run_id, by="checker", reason="late")
    assert await trade.rows() == before


async def test_no_run_ends_once_it_is_instructed(trade: Coalition, owner: asyncpg.Connection) -> None:
    run_id = await through(trade, runs.calculate, runs.control, runs.issue)
    trade.at += 8 * DAY
    await trade.step(runs.approve, run_id, by="checker")
    await owner.execute(
        "INSERT INTO settlement.run_step (run_id, step_no, from_state, to_state, actor, reason, at) "
        "VALUES ($1, 7, 'APPROVED', 'INSTRUCTED', 'bank', 'sent', now())",
        run_id,
    )
    with pytest.raises(runs.RunState):
        await trade.step(runs.abort, run_id, by="checker", reason="too late")
    for state in ("ABORTED", "SUPERSEDED", "APPROVED", "SEALED"):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await trade.database.pool.execute(
                "INSERT INTO settlement.run_step (run_id, step_no, from_state, to_state, actor, reason, at) "
                "VALUES ($1, 8, 'INSTRUCTED', $2, 'x', 'x', now())",
                run_id, state,
            )  # fmt: skip


async def test_a_control_that_finds_something_stops_a_run(trade: Coalition, owner: asyncpg.Connection) -> None:
    run_id = await through(trade, runs.calculate)
    await owner.execute("UPDATE settlement.line SET amount_minor = amount_minor + 1 WHERE kind = 'REDEMPTION'")
    before = await trade.rows()
    with pytest.raises(runs.ControlFailed, match="S2"):
        await trade.step(runs.control, run_id)
    assert await trade.rows() == before


async def test_nothing_is_added_to_a_run_once_it_is_calculated(trade: Coalition, database: Database) -> None:
    run_id = await through(trade, runs.calculate)
    for attempt in (
        f"INSERT INTO settlement.statement (run_id, partner_id, currency, opening_micro, opening_minor, net_micro, "
        f"net_minor) VALUES ({run_id}, 9, 'EUR', 0, 0, 0, 0)",
        "INSERT INTO settlement.line VALUES (1, 99, 'ROUNDING', NULL, 0, 0, 0, 1, 1)",
        f"INSERT INTO settlement.instruction VALUES ({run_id}, 9, 'EUR', 'PAY_OUT', 1)",
        f"INSERT INTO settlement.clearing_group VALUES ({run_id}, 'ACTIVATION', 1, 1, 1, 1, 1, 1, 1)",
        f"INSERT INTO settlement.obligation_movement VALUES ({run_id}, 9, 9, 'ACTIVATION', 'EUR', 1, 1, 1)",
        f"INSERT INTO settlement.run_window VALUES ({run_id}, 2)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await database.pool.execute(attempt)
    await trade.step(runs.control, run_id)
    await trade.step(runs.issue, run_id)
    for attempt in (
        "INSERT INTO settlement.issued_statement VALUES (1, now(), now(), sha256(''))",
        "INSERT INTO settlement.document_line VALUES (1, 99, 'ACTIVATION', 1, 1, 1, 1)",
        "INSERT INTO settlement.document (entity, series, number, kind, run_id, partner_id, currency, issued_at, "
        f"tax_rule, tax_version, base_minor, tax_minor, gross_minor, content_hash) VALUES ('operator', 'INV', 99, "
        f"'INVOICE', {run_id}, 1, 'EUR', now(), 'NONE', 1, 1, 0, 1, sha256(''))",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await database.pool.execute(attempt)
