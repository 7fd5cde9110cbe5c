"""Runs over real postings: worked examples to the micro-unit, once and only once, and controls that can fail."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from kit import actors
from kit.database import Database
from ledger import debts
from ledger.debts import FORGIVEN, OWED
from settlement import archive, runs
from settlement.netting import Bilateral, Instruction

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported


def lines(statement: archive.Statement) -> list[tuple[str, int, int]]:
    return [(line.kind, line.points, line.amount_micro) for line in statement.lines]


async def obligation(database: Database) -> dict[int, tuple[int, int]]:
    async with database.reading() as connection:
        assert await archive.check(connection) == []
        found = await archive.obligation(connection)
    assert len({(o.funder_id, o.terms_id) for o in found}) == len(found)
    return {
        n: (sum(o.points for o in found if o.terms_id == n), sum(o.amount_micro for o in found if o.terms_id == n))
        for n in {o.terms_id for o in found}
    }


async def test_the_worked_example_pays_to_the_micro_unit(coalition: Coalition, database: Database) -> None:
    """Rows 1 to 3 of the design's table: 1,000 pending at A, activated, 600 spent at B."""
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000, pending_for=14 * DAY)

    run = await coalition.settle()
    assert run.statements == ()  # pending points move no money
    assert await obligation(database) == {}

    coalition.at += 14 * DAY
    run = await coalition.settle()
    assert lines(coalition.of(run, "a")) == [("ACTIVATION", 1000, -10_000_000)]
    assert lines(coalition.of(run, "")) == [("FUND", 1000, 8_500_000), ("SERVICE", 1000, 1_500_000)]
    assert await obligation(database) == {a: (1000, 8_500_000)}

    await coalition.spend(member, "b", b, 600)
    run = await coalition.settle()
    assert lines(coalition.of(run, "b")) == [("REDEMPTION", 600, 4_800_000)]
    assert lines(coalition.of(run, "")) == [("REIMBURSEMENT", 600, -4_800_000)]
    assert run.instructions == (Instruction(coalition.partners["b"], "EUR", "PAY_OUT", 480),)
    assert await obligation(database) == {a: (400, 3_400_000)}
    assert await coalition.violations() == []


async def test_a_return_gives_the_issue_price_back_for_what_could_be_taken(
    coalition: Coalition, database: Database
) -> None:
    """Row 4: half of the purchase is returned, 500 are due, 400 are left."""
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    accrual = await coalition.earn(member, "a", a, 1000)
    await coalition.spend(member, "b", b, 600)
    await coalition.settle()

    assert await coalition.give_back(member, accrual, 500, "a") == 400
    run = await coalition.settle()

    assert lines(coalition.of(run, "a")) == [("RETURN", 400, 4_000_000)]
    assert lines(coalition.of(run, "")) == [("FUND_RETURNED", 400, -3_400_000), ("SERVICE_RETURNED", 400, -600_000)]
    assert await obligation(database) == {a: (0, 0)}
    assert await coalition.violations() == []


async def test_points_that_nobody_gives_back_are_a_line_of_nothing_that_says_how_many(
    coalition: Coalition, database: Database
) -> None:
    """Row 4c: 100 are due, none is left, the issuer bears them."""
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    accrual = await coalition.earn(member, "a", a, 100)
    await coalition.spend(member, "b", b, 100)
    await coalition.settle()

    assert await coalition.give_back(member, accrual, 100, "a", shortfall=FORGIVEN) == 0
    run = await coalition.settle()

    assert lines(coalition.of(run, "a")) == lines(coalition.of(run, "")) == [("FORGIVEN", 100, 0)]
    assert await details(database, coalition.of(run, "a")) == [("FORGIVEN", 100, 0)]
    assert run.instructions == ()
    assert await obligation(database) == {a: (0, 0)}
    assert await coalition.violations() == []


async def test_what_a_member_owes_is_the_operators_claim_until_later_points_repay_it(
    coalition: Coalition, database: Database
) -> None:
    """Rows 4d and 4e: 100 fully spent and returned; the member later earns 100 at C."""
    a, b = await coalition.partner("a"), await coalition.partner("b")
    c = await coalition.partner("c", fund=9_000, service=2_000)
    member = await coalition.member()
    accrual = await coalition.earn(member, "a", a, 100)
    await coalition.spend(member, "b", b, 100)
    await coalition.settle()

    await coalition.give_back(member, accrual, 100, "a", shortfall=OWED)
    run = await coalition.settle()
    assert lines(coalition.of(run, "a")) == [("RETURN_OWED", 100, 1_000_000)]
    assert await details(database, coalition.of(run, "a")) == lines(coalition.of(run, "a"))
    assert lines(coalition.of(run, "")) == [("FUND_RETURNED", 100, -850_000), ("SERVICE_RETURNED", 100, -150_000)]
    assert await obligation(database) == {a: (0, 0)}
    assert await claims(database) == [(coalition.partners["a"], a, 100)]

    await coalition.earn(member, "c", c, 130)
    run = await coalition.settle()
    assert lines(coalition.of(run, "c")) == [("ACTIVATION", 130, -1_430_000)]
    assert await obligation(database) == {a: (0, 0), c: (30, 270_000)}
    assert await claims(database) == []
    movements = await database.pool.fetch(
        "SELECT kind, points FROM settlement.obligation_movement WHERE terms_id = $1", c
    )
    assert sorted(tuple(m) for m in movements) == [("ACTIVATION", 130), ("REPAYMENT", -100)]
    groups = await database.pool.fetch(
        "SELECT issuer_id, funder_id, partner_id, lot_terms_id, terms_id, points FROM settlement.clearing_group "
        "WHERE kind = 'REPAYMENT'"
    )
    at_a, at_c = coalition.partners["a"], coalition.partners["c"]
    assert [tuple(g) for g in groups] == [(at_c, at_c, at_a, c, a, 100)]
    assert await coalition.violations() == []


async def test_lots_that_serve_for_another_give_its_funder_the_issue_price_and_leave_theirs_billed(
    coalition: Coalition, database: Database
) -> None:
    a, b, c = [await coalition.partner(code) for code in "abc"]
    member = await coalition.member()
    accrual = await coalition.earn(member, "a", a, 100)
    await coalition.spend(member, "b", b, 80)
    await coalition.earn(member, "c", c, 200)
    await coalition.settle()

    assert await coalition.give_back(member, accrual, 100, "a", shortfall=OWED) == 20
    run = await coalition.settle()

    assert lines(coalition.of(run, "a")) == [("RETURN", 20, 200_000), ("RETURN_OWED", 80, 800_000)]
    assert [s.partner_id for s in run.statements] == [0, coalition.partners["a"]]
    assert await obligation(database) == {a: (0, 0), c: (120, 1_020_000)}
    assert await claims(database) == []
    assert await coalition.violations() == []


async def test_what_the_operator_funded_is_owed_and_forgiven_without_a_line(coalition: Coalition) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    for shortfall in (OWED, FORGIVEN):
        member = await coalition.member()
        accrual = await coalition.earn(member, "a", a, 50, funder="")
        await coalition.spend(member, "b", b, 50)
        await coalition.settle()
        await coalition.give_back(member, accrual, 50, "a", shortfall=shortfall)
        assert (await coalition.settle()).statements == ()
    assert await coalition.violations() == []


async def details(database: Database, statement: archive.Statement) -> list[tuple[str, int, int]]:
    async with database.transaction() as connection:
        found = [one async for one in archive.detail(connection, statement, id_key=bytes(64))]
    return [(one.kind, one.points, one.amount_micro) for one in found]


async def claims(database: Database) -> list[tuple[int, int, int]]:
    async with database.reading() as connection:
        return [(o.issuer_id, o.terms_id, o.points) for o in await debts.outstanding(connection)]


async def test_expired_points_release_their_fund_part_to_the_operator(coalition: Coalition, database: Database) -> None:
    """Row 5, without the sharing of what expired: 200 points of A expire, 1.70 is released, nobody pays."""
    a = await coalition.partner("a")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 200, lasts=30 * DAY)
    await coalition.settle()
    assert await obligation(database) == {a: (200, 1_700_000)}

    coalition.at += 31 * DAY
    run = await coalition.settle()

    assert run.statements == ()
    assert await obligation(database) == {a: (0, 0)}
    movements = await database.pool.fetch("SELECT kind, amount_micro FROM settlement.obligation_movement ORDER BY 1")
    assert [tuple(m) for m in movements] == [("ACTIVATION", 1_700_000), ("EXPIRY", -1_700_000)]
    assert await coalition.violations() == []


async def test_a_refund_takes_back_the_reimbursement_at_the_price_of_the_redemption(
    coalition: Coalition, database: Database
) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    redemption = await coalition.spend(member, "b", b, 600)
    await coalition.settle()
    await coalition.sign("b", reimbursement=7_000)

    assert await coalition.refund(member, redemption, 200, "b")
    run = await coalition.settle()

    assert lines(coalition.of(run, "b")) == [("REFUND", 200, -1_600_000)]
    assert lines(coalition.of(run, "")) == [("REIMBURSEMENT_RETURNED", 200, 1_600_000)]
    assert await obligation(database) == {a: (600, 5_100_000)}
    assert await coalition.violations() == []


async def test_a_hold_moves_no_money_until_it_is_captured_and_then_as_much_as_was_captured(
    coalition: Coalition, database: Database
) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    hold = await coalition.hold(member, "b", b, 600)
    run = await coalition.settle()
    assert [statement.partner_id for statement in run.statements] == [0, coalition.partners["a"]]
    assert await obligation(database) == {a: (1000, 8_500_000)}

    await coalition.spend(member, "b", b, 100)
    await coalition.capture(member, hold, "b", b, 250)
    run = await coalition.settle()

    assert lines(coalition.of(run, "b")) == [("REDEMPTION", 350, 2_800_000)]
    assert await obligation(database) == {a: (650, 5_525_000)}
    assert await coalition.violations() == []


async def test_points_that_the_operator_funds_bill_nobody_and_still_have_to_be_kept(
    coalition: Coalition, database: Database
) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 50, funder="")
    run = await coalition.settle()
    assert run.statements == ()
    assert await obligation(database) == {a: (50, 425_000)}

    await coalition.spend(member, "b", b, 50)
    run = await coalition.settle()
    assert lines(coalition.of(run, "b")) == [("REDEMPTION", 50, 400_000)]
    assert await obligation(database) == {a: (0, 0)}
    assert await coalition.violations() == []


async def test_a_run_nets_what_a_partner_earned_and_spent_into_one_payment(coalition: Coalition) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    for _ in range(3):
        member = await coalition.member()
        await coalition.earn(member, "a", a, 1000)
        await coalition.earn(member, "b", b, 100)
        await coalition.spend(member, "b", b, 700)
        await coalition.spend(member, "a", a, 150)

    run = await coalition.settle()

    assert lines(coalition.of(run, "a")) == [("ACTIVATION", 3000, -30_000_000), ("REDEMPTION", 450, 3_600_000)]
    assert lines(coalition.of(run, "b")) == [("ACTIVATION", 300, -3_000_000), ("REDEMPTION", 2100, 16_800_000)]
    assert run.instructions == (
        Instruction(coalition.partners["a"], "EUR", "PAY_IN", 2640),
        Instruction(coalition.partners["b"], "EUR", "PAY_OUT", 1380),
    )
    assert coalition.of(run, "").net_minor == 2640 - 1380
    assert await coalition.violations() == []


async def test_what_rounding_loses_is_a_line_and_the_operator_has_the_other_side(coalition: Coalition) -> None:
    a = await coalition.partner("a", fund=7_001, service=0, reimbursement=5_550)
    b = await coalition.partner("b", fund=1_003, service=2, reimbursement=3)
    member = await coalition.member()
    await coalition.earn(member, "a", a, 7)  # 0.049007
    await coalition.earn(member, "b", b, 5)  # 0.005025
    await coalition.spend(member, "a", a, 1)  # 0.00555

    run = await coalition.settle()

    statement = coalition.of(run, "a")
    assert [(n.kind, n.amount_micro, n.amount_minor) for n in statement.lines] == [
        ("ACTIVATION", -49_007, -5), ("REDEMPTION", 5_550, 1), ("ROUNDING", 3_457, 0)
    ]  # fmt: skip
    assert (statement.net_micro, statement.net_minor) == (-40_000, -4)
    small = coalition.of(run, "b")
    assert [(n.kind, n.amount_micro, n.amount_minor) for n in small.lines] == [
        ("ACTIVATION", -5_025, -1), ("ROUNDING", -4_975, 0)
    ]  # fmt: skip
    own = coalition.of(run, "")
    assert (own.net_micro, own.net_minor) == (50_000, 5)
    assert own.lines[-1].kind == "ROUNDING"
    assert own.lines[-1].amount_micro == -(3_457 - 4_975)
    assert await coalition.violations() == []


async def test_currencies_are_settled_apart_and_a_yen_has_no_decimals(coalition: Coalition) -> None:
    a = await coalition.partner("a")
    j = await coalition.partner("j", currency="JPY", fund=1_200_000, service=0, reimbursement=1_000_000)
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    await coalition.earn(member, "j", j, 3)
    await coalition.spend(member, "j", j, 100)

    run = await coalition.settle()

    assert [(s.currency, s.partner_id, s.net_minor) for s in run.statements] == [
        ("EUR", 0, 1000), ("EUR", coalition.partners["a"], -1000),
        ("JPY", 0, -96), ("JPY", coalition.partners["j"], 96),
    ]  # fmt: skip
    assert await coalition.violations() == []


async def test_settling_again_finds_nothing_and_writes_nothing(coalition: Coalition, database: Database) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)
    await coalition.settle()
    before = await coalition.rows()

    with pytest.raises(runs.NothingToSettle):
        async with database.transaction() as connection:
            await runs.settle(connection, actor="maker", at=coalition.at)
    assert await coalition.rows() == before


async def test_an_open_cutoff_is_not_settled(coalition: Coalition, database: Database) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)

    with pytest.raises(runs.NothingToSettle):
        async with database.transaction() as connection:
            await runs.settle(connection, actor="maker", at=coalition.at)


async def test_a_run_through_a_cutoff_leaves_the_later_ones(coalition: Coalition, database: Database) -> None:
    a = await coalition.partner("a")
    member = await coalition.member()
    for points in (10, 20, 40):
        await coalition.earn(member, "a", a, points)
        await coalition.close()

    first = await coalition.settle_closed(through_cutoff=2)
    assert first.cutoff_ids == (1, 2)
    assert lines(coalition.of(first, "a")) == [("ACTIVATION", 30, -300_000)]
    assert await coalition.violations() == []
    second = await coalition.settle_closed()
    assert second.cutoff_ids == (3,)
    assert lines(coalition.of(second, "a")) == [("ACTIVATION", 40, -400_000)]


async def test_of_two_runs_at_once_one_settles(coalition: Coalition, database: Database) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)
    await coalition.close()

    async def settle() -> list[archive.Run]:
        async with database.transaction() as connection:
            return await runs.settle(connection, actor="maker", at=coalition.at)

    outcomes = await asyncio.gather(settle(), settle(), settle(), return_exceptions=True)

    assert sorted(type(o).__name__ for o in outcomes) == ["NothingToSettle", "NothingToSettle", "list"]
    assert (await coalition.rows())["run"] == 1


async def test_who_is_no_finance_maker_does_not_settle(coalition: Coalition, database: Database) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)
    await coalition.close()
    before = await coalition.rows()

    with pytest.raises(actors.NotPermitted):
        async with database.transaction() as connection:
            await runs.settle(connection, actor="checker", at=coalition.at)
    with pytest.raises(actors.NotPermitted):
        await runs.close_cutoff(database, actor="checker", at=coalition.at)
    assert await coalition.rows() == before
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.cutoff") == 2


async def test_closing_and_settling_are_on_the_trail(coalition: Coalition, database: Database) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)
    await runs.close_cutoff(database, actor="maker", at=coalition.at)
    async with database.transaction() as connection:
        await runs.settle(connection, actor="maker", at=coalition.at)

    entries = await database.pool.fetch("SELECT actor, action, subject FROM kit.audit_trail ORDER BY entry_id")
    assert [tuple(e) for e in entries[-4:]] == [
        ("maker", "CUTOFF_BOOKED", "booking:1"), ("maker", "CUTOFF_CLOSED", "cutoff:1"),
        ("maker", "RUN_DRAFTED", "run:1"), ("maker", "STATEMENTS_ISSUED", "run:1"),
    ]  # fmt: skip


async def test_the_application_cannot_change_or_remove_what_a_run_wrote(
    coalition: Coalition, database: Database
) -> None:
    a = await coalition.partner("a")
    await coalition.earn(await coalition.member(), "a", a, 10)
    await coalition.settle()

    columns = {
        "run": "actor", "run_step": "actor", "run_window": "run_id", "clearing_group": "points",
        "statement": "net_minor", "line": "amount_minor", "instruction": "amount_minor", "obligation_movement": "points",
        "issued_statement": "content_hash", "document": "gross_minor", "document_line": "base_minor",
        "window": "name", "window_step": "actor", "window_count": "postings", "position_batch": "at",
        "position_delta": "points", "position_entries": "entries", "stock": "pending", "cutoff_mark": "xid",
    }  # fmt: skip
    for table, column in columns.items():
        for attempt in (f"UPDATE settlement.{table} SET {column} = {column}", f"DELETE FROM settlement.{table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.pool.execute(attempt)


@pytest.mark.parametrize(
    ("alteration", "codes"),
    [
        ("UPDATE settlement.line SET amount_minor = amount_minor + 1 WHERE kind = 'REDEMPTION'", {"S2", "S7", "S14", "S15"}),
        ("UPDATE settlement.line SET points = points + 1, amount_micro = amount_micro + 8000 "
         "WHERE kind = 'REDEMPTION'", {"S2", "S7", "S15"}),
        ("UPDATE settlement.statement SET net_minor = net_minor + 1 WHERE partner_id = 1", {"S1", "S2", "S6", "S7", "S15"}),
        ("UPDATE settlement.instruction SET amount_minor = amount_minor + 1 WHERE partner_id = 1", {"S6"}),
        ("UPDATE settlement.clearing_group SET points = points + 1 WHERE kind = 'REDEMPTION'", {"S3"}),
        ("UPDATE settlement.obligation_movement SET points = points + 1, amount_micro = amount_micro + 8500 "
         "WHERE kind = 'ACTIVATION' AND points = 1000", {"S4"}),
        ("DELETE FROM settlement.line", {"S2", "S5", "S7", "S14", "S15"}),
        ("DELETE FROM settlement.run_window WHERE run_id = 1", {"S3", "S4", "S15"}),
        ("UPDATE ledger.lot SET remaining = remaining - 1 WHERE remaining > 1", {"S4", "M4", "M5", "A2", "A3", "A11"}),
    ],
)  # fmt: skip
async def test_the_controls_see_what_was_altered(
    coalition: Coalition, owner: asyncpg.Connection, alteration: str, codes: set[str]
) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    await coalition.spend(member, "b", b, 600)
    await coalition.settle()
    assert await coalition.violations() == []

    await owner.execute(alteration)

    assert {v.split()[0] for v in await coalition.violations()} == codes


async def test_the_bilateral_memo_says_whose_points_were_honoured_where(
    coalition: Coalition, database: Database
) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b", reimbursement=7_500)
    member = await coalition.member()
    await coalition.earn(member, "a", a, 100)
    await coalition.earn(member, "b", b, 50)
    await coalition.spend(member, "b", b, 120)
    await coalition.settle()

    async with database.reading() as connection:
        memo = await archive.bilateral(connection)

    one, other = coalition.partners["a"], coalition.partners["b"]
    assert memo == [
        Bilateral(one, other, "EUR", "EUR", 100, 850_000, 750_000),
        Bilateral(other, other, "EUR", "EUR", 20, 170_000, 150_000),
    ]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in (1, 2, 3))])
async def test_the_obligation_is_what_the_lots_hold_after_whatever_happens(
    coalition: Coalition, database: Database, seed: int
) -> None:
    story = random.Random(seed)
    terms = {
        "a": await coalition.partner("a"),
        "b": await coalition.partner("b", fund=7_777, service=333, reimbursement=7_003),
        "c": await coalition.partner("c", fund=9_001, service=1, reimbursement=8_999, currency="CHF"),
    }
    members = [await coalition.member() for _ in range(3)]
    accruals: list[tuple[int, int, str]] = []
    redemptions: list[tuple[int, int, str]] = []
    for _ in range(60):
        coalition.at += story.choice([timedelta(0), timedelta(hours=5), 3 * DAY])
        member, code = story.choice(members), story.choice("abc")
        step = story.choice(["earn", "earn", "spend", "spend", "return", "refund", "close", "settle", "sign"])
        if step == "earn":
            funder = story.choice([None, "a", ""])
            price = terms[code] if funder is None else terms["a"]
            wait, lasts = story.choice([0, 0, 5]) * DAY, story.choice([8, 60]) * DAY
            seq = await coalition.earn(
                member, code, price, story.randint(1, 999), funder=funder, pending_for=wait, lasts=lasts
            )
            accruals.append((member, seq, code))
        elif step == "spend":
            if seq := await coalition.spend(member, code, terms[code], story.randint(1, 400)):
                redemptions.append((member, seq, code))
        elif step == "return" and accruals:
            owner_of, seq, at_code = story.choice(accruals)
            await coalition.give_back(owner_of, seq, story.randint(1, 500), at_code, shortfall=seq % 3)
        elif step == "refund" and redemptions:
            owner_of, seq, at_code = story.choice(redemptions)
            await coalition.refund(owner_of, seq, story.randint(1, 100), at_code)
        elif step == "close":
            await coalition.close()
        elif step == "settle":
            await coalition.settle()
            assert await coalition.violations() == []
        elif step == "sign":
            terms["b"] = await coalition.sign("b", fund=story.randint(5_000, 9_000))
    await coalition.earn(members[0], "a", terms["a"], 5)  # stays outside of the last run
    await coalition.close()
    assert await coalition.violations() == []
    run = await coalition.settle()
    assert await coalition.violations() == []
    assert run.statements
    assert sum(points for points, _ in (await obligation(database)).values()) == await database.pool.fetchval(
        "SELECT sum(remaining + held) FROM ledger.lot WHERE active"
    )
