"""Disputes of a statement's lines: withheld or paid first, answered or decided by silence, and nothing left of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.finance import dispute_duties
from kit import actors
from kit.actors import NotPermitted
from kit.approvals import FourEyesRequired
from kit.database import Database
from kit.secrets import Vault
from settlement import controls, runs
from settlement.bank import paying
from settlement.reconciliation import (
    corrections,
    disputed_breaks,
    disputes,
    disputing,
    late_answers,
    register,
    standing,
)
from settlement.reconciliation.disputes import (
    Dispute,
    DisputeInvalid,
    DisputeState,
    DisputeTooLate,
    DisputeUnknown,
    Shown,
)
from settlement.reconciliation.register import BreakState
from settlement.reports import catalogue
from settlement.reports.catalogue import Wanted
from tests.builders import DAY, NOON
from tests.settlement.bank_files import Paid
from tests.settlement.reconciling import CHECKER, MAKER, House, a_house_of, met

AT = NOON + DAY
SOMEBODY = "client:cafe"
PDF = Shown("r1.pdf", "application/pdf", 9_000, bytes(32))


template = a_house_of(review_days=5, dispute_days=60, dispute_minimum_minor=20)


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    assert await made.books.violations() == []
    await made.books.coalition.desk.close()


async def issued(house: House, *, at: datetime = AT) -> tuple[int, int]:
    """A run in review whose cafe pays 5.00 for points; its number, and that of cafe's statement."""
    card = await house.books.member()
    await house.sell(card, 500, "cafe", after=(at - NOON).days - 1)
    await runs.close_cutoff(house.database, actor=MAKER, at=at)
    (made,) = await house.do(runs.settle, actor=MAKER, at=at)
    cafe = house.books.id_of("cafe")
    return made.head.run_id, next(s.statement_id for s in made.statements if s.partner_id == cafe)


async def opened_on(house: House, statement_id: int, amount: int, *, at: datetime = AT, **more: Any) -> Dispute:
    said = {"partner_id": house.books.id_of("cafe"), "reason": "D03", "note": "too many", "actor": SOMEBODY, "at": at}
    return await house.do(disputes.dispute, statement_id, 1, amount_minor=amount, **(said | more))


async def paid(house: House, run_id: int, *, at: datetime) -> int:
    """Approve a run and have everything of it paid; what cafe paid."""
    await house.do(runs.approve, run_id, actor=CHECKER, at=at)
    await house.instruct(run_id, at=at)
    legs = await house.legs(run_id)
    sent = await house.sent(run_id)
    payments = [
        Paid(leg.amount_minor, reference=leg.reference) if leg.direction == "PAY_IN"
        else Paid(-leg.amount_minor, end_to_end_id=sent[leg.leg_id])
        for leg in legs
    ]  # fmt: skip
    if payments:
        await house.receive(house.bank.statement(*payments), at=at)
    assert await house.state(run_id) == "SETTLED"
    await house.do(paying.seal, run_id, actor=CHECKER, at=at)
    return sum(leg.amount_minor for leg in legs if leg.direction == "PAY_IN")


async def test_no_side_can_say_and_show_so_much_that_the_other_cannot(
    a_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MOST_EVIDENCE", "MOST_NOTES"):
        monkeypatch.setattr(disputing, name, 1)
    _, statement_id = await issued(a_house)
    its = (await opened_on(a_house, statement_id, 100)).dispute_id
    for partner_id, actor in ((a_house.books.id_of("cafe"), SOMEBODY), (None, MAKER)):
        said = {"partner_id": partner_id, "actor": actor, "at": AT}
        await a_house.do(disputes.add_evidence, its, shown=PDF, **said)
        await a_house.do(disputes.say, its, note="see there", **said)
        with pytest.raises(DisputeInvalid):
            await a_house.do(disputes.add_evidence, its, shown=PDF, **said)
        with pytest.raises(DisputeInvalid):
            await a_house.do(disputes.say, its, note="and there", **said)
    async with a_house.database.reading() as connection:
        trail = (await disputes.trail(connection, [its]))[its]
    assert [len(trail.notes), len(trail.evidence)] == [2, 2]


async def test_a_late_dispute_is_found_however_many_came_before_it(
    a_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(disputes.page.__kwdefaults__, "limit", 1)  # a page is as good as full
    run_id, statement_id = await issued(a_house)
    first, second = [await opened_on(a_house, statement_id, 100) for _ in range(2)]
    cafe = a_house.books.id_of("cafe")
    await paid(a_house, run_id, at=AT + 10 * DAY)
    await a_house.do(
        disputes.withdraw, first.dispute_id, partner_id=cafe, note="right", actor=SOMEBODY, at=AT + 10 * DAY
    )
    async with a_house.database.reading() as connection:
        late = [one.subject for one in await standing.late(connection, at=AT + 60 * DAY) if one.kind == "DISPUTE"]
    assert late == [f"dispute {second.dispute_id}"]


async def open_positions(house: House) -> dict[str, int]:
    found = await house.books.balances()
    return {name: amount for name, amount in found.items() if name[:4] in ("1200", "1250", "1410", "2600")}


async def test_what_is_withheld_is_not_paid_and_what_of_it_stands_is_paid_later(
    a_house: House, database: Database
) -> None:
    """Rows 9 and 9b of the design's table: 2.00 disputed, 1.40 stands, 0.60 conceded."""
    run_id, statement_id = await issued(a_house)
    one = await opened_on(a_house, statement_id, 200)
    assert (one.mode, one.state) == (disputing.WITHHELD, disputing.OPENED)
    later = AT + 10 * DAY
    cafe = a_house.books.id_of("cafe")
    await a_house.do(disputes.acknowledge, one.dispute_id, actor=MAKER, at=AT)
    await a_house.do(disputes.answer, one.dispute_id, awarded_minor=60, note="60 points", actor=CHECKER, at=AT)
    async with database.transaction() as connection:
        made = await catalogue.make(connection, "R14", Wanted(run_id, cafe, AT))
    assert [row[-1] for row in made.report.tables[0].rows] == [Decimal("0.60")]
    with pytest.raises(DisputeState):  # the run is not paid yet
        await a_house.do(disputes.agree, one.dispute_id, partner_id=cafe, actor=SOMEBODY, at=AT)
    assert await paid(a_house, run_id, at=later) == 300
    assert await open_positions(a_house) == {"1250.cafe": 2_000_000}

    ended = await a_house.do(disputes.agree, one.dispute_id, partner_id=cafe, actor=SOMEBODY, at=later)
    assert (ended.state, ended.awarded_minor, ended.deadline) == ("ACCEPTED", 60, None)
    next_run, _ = await issued(a_house, at=AT + 30 * DAY)
    assert await paid(a_house, next_run, at=AT + 45 * DAY) == 500 + 140
    assert await open_positions(a_house) == {}
    async with database.reading() as connection:
        assert [f"{v.code} {v.detail}" for v in await controls.run(connection)] == []
        assert await corrections.unstated(connection) == []


async def test_after_the_review_it_is_paid_first_and_the_operators_silence_gives_all_of_it_back(
    a_house: House,
) -> None:
    run_id, statement_id = await issued(a_house)
    later = AT + 10 * DAY
    assert await paid(a_house, run_id, at=later) == 500
    one = await opened_on(a_house, statement_id, 150, at=later)
    assert one.mode == disputing.PAY_FIRST
    assert one.deadline is not None
    before = await a_house.written()
    assert await a_house.do(disputes.follow_up, actor=MAKER, at=one.deadline - timedelta(seconds=1)) == []
    assert await a_house.written() == before
    (ended,) = await a_house.do(disputes.follow_up, actor=MAKER, at=one.deadline)
    assert (ended.state, ended.awarded_minor) == ("ACCEPTED", 150)
    assert await a_house.do(disputes.follow_up, actor=MAKER, at=one.deadline) == []
    next_run, _ = await issued(a_house, at=AT + 40 * DAY)
    assert await paid(a_house, next_run, at=AT + 50 * DAY) == 350
    assert await open_positions(a_house) == {}


async def test_each_side_takes_its_turn_and_who_began_does_not_decide(a_house: House) -> None:
    run_id, statement_id = await issued(a_house)
    await paid(a_house, run_id, at=AT + 10 * DAY)
    at, cafe = AT + 11 * DAY, a_house.books.id_of("cafe")
    number = (await opened_on(a_house, statement_id, 100, at=at)).dispute_id
    with pytest.raises(DisputeState):
        await a_house.do(disputes.answer, number, awarded_minor=0, note="no", actor=CHECKER, at=at)
    await a_house.do(disputes.acknowledge, number, actor=MAKER, at=at)
    await a_house.do(disputes.ask, number, note="which receipts?", actor=MAKER, at=at)
    await a_house.do(disputes.tell, number, partner_id=cafe, note="R-1", actor=SOMEBODY, at=at)
    await a_house.do(disputes.add_evidence, number, partner_id=cafe, shown=PDF, actor=SOMEBODY, at=at)
    rejected = await a_house.do(disputes.answer, number, awarded_minor=0, note="it is right", actor=CHECKER, at=at)
    assert rejected.state == disputing.REJECTED
    with pytest.raises(DisputeUnknown):
        await a_house.do(
            disputes.escalate, number, partner_id=a_house.books.id_of("bakery"), note="x", actor="client:b", at=at
        )
    await a_house.do(disputes.escalate, number, partner_id=cafe, note="it is not", actor=SOMEBODY, at=at)
    with pytest.raises(FourEyesRequired):
        await a_house.do(disputes.answer, number, awarded_minor=0, note="still", actor=CHECKER, at=at)
    async with a_house.database.transaction() as connection:
        await actors.ensure_actor(connection, "judge", [actors.FINANCE_CHECKER])
    ended = await a_house.do(disputes.answer, number, awarded_minor=40, note="a part", actor="judge", at=at)
    assert (ended.state, ended.awarded_minor) == ("ARBITRATED", 40)


async def test_an_answer_at_the_deadline_is_too_late_and_silence_decides_by_itself(a_house: House) -> None:
    run_id, statement_id = await issued(a_house)
    await paid(a_house, run_id, at=AT + 10 * DAY)
    at, cafe = AT + 11 * DAY, a_house.books.id_of("cafe")
    owed = await opened_on(a_house, statement_id, 100, at=at)
    owed = await a_house.do(disputes.acknowledge, owed.dispute_id, actor=MAKER, at=at)
    offered = await opened_on(a_house, statement_id, 60, at=at)
    await a_house.do(disputes.acknowledge, offered.dispute_id, actor=MAKER, at=at)
    offered = await a_house.do(disputes.answer, offered.dispute_id, awarded_minor=30, note="half", actor=CHECKER, at=at)
    assert owed.deadline is not None
    assert offered.deadline is not None
    before, late = await a_house.written(), {"note": "late", "at": max(owed.deadline, offered.deadline)}
    with pytest.raises(DisputeState):
        await a_house.do(disputes.answer, owed.dispute_id, awarded_minor=0, actor=CHECKER, **late)
    with pytest.raises(DisputeState):
        await a_house.do(disputes.withdraw, owed.dispute_id, partner_id=cafe, actor=SOMEBODY, **late)
    with pytest.raises(DisputeState):
        await a_house.do(disputes.escalate, offered.dispute_id, partner_id=cafe, actor=SOMEBODY, **late)
    assert await a_house.written() == before
    stopping = asyncio.Event()
    assert await dispute_duties.settle(a_house.database, late["at"], stopping) == 2
    assert await dispute_duties.settle(a_house.database, late["at"], stopping) == 0
    async with a_house.database.reading() as connection:
        found = [await disputes.read(connection, one.dispute_id) for one in (owed, offered)]
    assert [(one.state, one.awarded_minor) for one in found] == [("ACCEPTED", 100), ("ACCEPTED", 30)]


async def test_whoever_spoke_for_a_side_does_not_decide_the_dispute(a_house: House) -> None:
    _, statement_id = await issued(a_house)
    number = (await opened_on(a_house, statement_id, 100)).dispute_id
    await a_house.do(disputes.acknowledge, number, actor=MAKER, at=AT)
    async with a_house.database.transaction() as connection:
        for name in ("noter", "shower"):
            await actors.ensure_actor(connection, name, [actors.FINANCE_MAKER, actors.FINANCE_CHECKER])
    await a_house.do(disputes.say, number, partner_id=None, note="we know this till", actor="noter", at=AT)
    await a_house.do(disputes.add_evidence, number, partner_id=None, shown=PDF, actor="shower", at=AT)
    before = await a_house.written()
    for name in ("noter", "shower"):
        with pytest.raises(FourEyesRequired):
            await a_house.do(disputes.answer, number, awarded_minor=0, note="no", actor=name, at=AT)
    assert await a_house.written() == before


async def test_before_the_operators_silence_gives_all_somebody_else_hears_of_it(a_house: House) -> None:
    _, statement_id = await issued(a_house)
    one = await a_house.do(disputes.acknowledge, (await opened_on(a_house, statement_id, 100)).dispute_id,
                           actor=MAKER, at=AT)  # fmt: skip
    assert one.deadline is not None
    assert await a_house.do(late_answers.escalate, at=one.deadline - 3 * DAY) == []
    for _ in range(2):
        gone = await a_house.do(late_answers.escalate, at=one.deadline - DAY)
    assert gone == []
    async with a_house.database.reading() as connection:
        [kept] = await late_answers.standing(connection)
    assert (kept.kind, kept.role, kept.owner) == ("DISPUTE", actors.FINANCE_CHECKER, MAKER)
    await a_house.do(disputes.ask, one.dispute_id, note="which?", actor=MAKER, at=one.deadline - DAY)
    async with a_house.database.reading() as connection:
        assert await late_answers.standing(connection) == []  # it is the partner's turn


async def test_a_break_ends_as_a_dispute_and_each_leads_to_the_other(a_house: House) -> None:
    _, statement_id = await issued(a_house)
    [row] = await a_house.rows("cafe", NOON.date())
    made = await a_house.send("cafe", NOON.date(), [replace(row, points=400)], at=AT)
    await a_house.compare(made, at=AT)
    [found] = await a_house.breaks()
    assert (found.category, found.value_micro) == ("QUANTITY", 1_000_000)
    said = {"statement_id": statement_id, "line_no": 1, "reason": "D03", "cause": "400 points", "at": AT}
    before = await a_house.written()
    with pytest.raises(NotPermitted):
        await a_house.do(disputed_breaks.dispute, found.break_id, actor=CHECKER, **said)
    assert await a_house.written() == before
    one = await a_house.do(disputed_breaks.dispute, found.break_id, actor=MAKER, **said)
    assert (one.amount_minor, one.partner_id, one.reference) == (100, a_house.books.id_of("cafe"), row.reference)
    async with a_house.database.reading() as connection:
        assert (await register.read(connection, found.break_id)).state == register.RESOLVED
        assert await disputed_breaks.dispute_of(connection, found.break_id) == one.dispute_id
        assert await disputed_breaks.break_of(connection, one.dispute_id) == found.break_id
    before = await a_house.written()
    with pytest.raises(BreakState):
        await a_house.do(disputed_breaks.dispute, found.break_id, actor=MAKER, **said)
    with pytest.raises(BreakState):  # the dispute gives the money, and nothing else does
        await a_house.do(register.reopen, found.break_id, cause="again", actor=CHECKER, at=AT)
    assert await a_house.written() == before
    # Whoever resolved the break so does not decide the dispute.
    async with a_house.database.transaction() as connection:
        await actors.ensure_actor(connection, MAKER, [actors.FINANCE_CHECKER])
    await a_house.do(disputes.acknowledge, one.dispute_id, actor=MAKER, at=AT)
    with pytest.raises(FourEyesRequired):
        await a_house.do(disputes.answer, one.dispute_id, awarded_minor=0, note="no", actor=MAKER, at=AT)


async def test_what_cannot_be_disputed_writes_nothing(a_house: House) -> None:
    _, statement_id = await issued(a_house)
    await opened_on(a_house, statement_id, 300)
    before = await a_house.written()
    for amount, more, why in (
        (201, {}, DisputeInvalid),  # with the 300 more than the line is
        (19, {}, DisputeInvalid),  # less than is worth it
        (100, {"reason": "D12"}, DisputeInvalid),
        (100, {"partner_id": a_house.books.id_of("bakery")}, DisputeInvalid),
        (100, {"at": AT + 61 * DAY}, DisputeTooLate),
    ):
        with pytest.raises(why):
            await opened_on(a_house, statement_id, amount, **more)
    assert await a_house.written() == before


async def test_what_is_disputed_of_a_run_that_is_taken_back_ends_with_it(a_house: House) -> None:
    run_id, statement_id = await issued(a_house)
    one = await opened_on(a_house, statement_id, 200)
    await a_house.do(runs.abort, run_id, actor=CHECKER, reason="wrong", at=AT)
    async with a_house.database.reading() as connection:
        assert (await disputes.read(connection, one.dispute_id)).state == disputing.CLOSED
    assert "1250.cafe" not in await a_house.books.balances()


@pytest.mark.parametrize("state", sorted(disputing.DAYS))
def test_silence_has_one_outcome_in_each_state_that_waits(state: str) -> None:
    said = disputing.on_silence(state, amount_minor=100, offered_minor=30)
    assert said.state in disputing.ENDS
    assert said.awarded_minor == (100 if said.silent == "OPERATOR" else 30 if state == "PROPOSED" else 0)
    with pytest.raises(ValueError):
        disputing.on_silence(disputing.CLOSED, amount_minor=1, offered_minor=None)
