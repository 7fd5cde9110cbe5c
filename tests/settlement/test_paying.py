"""A run's payments: written once, matched by what the bank says, and nothing moved by what it should not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
import sepaxml
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from kit import actors, approvals
from kit.database import APPLICATION_ROLE, Database, connect
from kit.postgres import Server
from kit.secrets import Vault
from settlement import runs, states
from settlement.bank import accounts, assigning, camt, details, paying, receiving, suspense
from settlement.bank.assigning import Open, Told
from settlement.bank.orders import Mandate
from settlement.exposure import defaults
from settlement.reconciliation import intake, resolving, standing
from settlement.reconciliation.intake import FileRule
from tests.builders import DAY, NOON
from tests.conftest import Copying
from tests.settlement.bank_files import OWN, Bank, Paid, statement
from tests.settlement.money.books import opened
from tests.settlement.reconciling import CHECKER, IBANS, MAKER, House, a_house_of, met

SCHEMAS = Path(sepaxml.__file__).parent / "schemas"
AT = NOON + DAY


template = a_house_of()


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    async with database.reading() as connection:
        assert await standing.unbalanced(connection) == []
    assert await made.books.violations() == []
    await made.books.coalition.desk.close()


async def a_run(house: House, *, after: int = 0) -> int:
    """An approved run: cafe pays 5.00, bakery is paid 0.33."""
    card = await house.books.member()
    await house.sell(card, 500, "cafe", after=after)
    await house.sell(card, 7, "bakery", after=after, spend=50)
    (run_id,) = await house.settle(at=AT + after * DAY)
    return run_id


async def legs_of(house: House, run_id: int) -> tuple[paying.PaymentLeg, paying.PaymentLeg]:
    found = {leg.direction: leg for leg in await house.legs(run_id)}
    return found["PAY_IN"], found["PAY_OUT"]


async def test_a_run_is_instructed_once_and_its_file_is_what_the_banks_schema_wants(a_house: House) -> None:
    run_id = await a_run(a_house)
    (order,) = await a_house.instruct(run_id, at=AT)
    before = await a_house.written()
    assert await a_house.instruct(run_id, at=AT + DAY) == [order]
    assert await a_house.written() == before
    assert await a_house.state(run_id) == "INSTRUCTED"
    async with a_house.database.reading() as connection:
        content = await paying.content(connection, order.order_id)
        with pytest.raises(paying.OrderUnknown):
            await paying.content(connection, 999)
    etree.XMLSchema(etree.parse(SCHEMAS / "pain.001.001.09.xsd")).assertValid(etree.fromstring(content))
    pay_in, pay_out = await legs_of(a_house, run_id)
    assert (order.legs, order.total_minor) == (1, 33)
    assert (pay_in.amount_minor, pay_in.state, pay_out.amount_minor, pay_out.state) == (500, "DUE", 33, "INSTRUCTED")
    assert pay_in.due_on < pay_out.due_on  # debtors pay first
    assert accounts.read_creditor_reference(pay_in.reference) == f"{run_id}I{a_house.books.id_of('cafe')}"
    with pytest.raises(states.RunState):
        await a_house.do(runs.abort, run_id, actor=CHECKER, reason="too late", at=AT)
    with pytest.raises(states.RunState):
        await a_house.do(paying.seal, run_id, actor=CHECKER, at=AT)


async def test_what_the_bank_rejects_is_taken_back_and_sent_again(a_house: House) -> None:
    run_id = await a_run(a_house)
    (order,) = await a_house.instruct(run_id, at=AT)
    _, pay_out = await legs_of(a_house, run_id)
    first = (await a_house.sent(run_id))[pay_out.leg_id]
    with pytest.raises(paying.OrderUnknown):
        await a_house.do(paying.acknowledge, order.order_id, rejected=["other"], actor=MAKER, at=AT)
    await a_house.do(paying.acknowledge, order.order_id, rejected=[first], actor=MAKER, at=AT)
    assert (await a_house.books.balances()).get("1410") is None
    orders = await a_house.instruct(run_id, at=AT)
    await a_house.do(paying.acknowledge, orders[-1].order_id, actor=MAKER, at=AT)
    assert [leg.state for leg in await legs_of(a_house, run_id)] == ["DUE", "ACKED"]
    assert len(orders) == 2


async def test_a_batch_pays_its_legs_and_a_statement_taken_twice_pays_them_once(a_house: House) -> None:
    run_id = await a_run(a_house)
    await a_house.instruct(run_id, at=AT)
    pay_in, pay_out = await legs_of(a_house, run_id)
    e2e = (await a_house.sent(run_id))[pay_out.leg_id]
    a_house.bank.balance = 1_000
    content = a_house.bank.statement(
        Paid(500, text=f"invoice {pay_in.reference.lower()}"), Paid(-33, end_to_end_id=e2e), batch=True
    )
    (first,) = await a_house.receive(content, at=AT)
    assert (first.payments, first.matched, first.left_over) == (2, 2, 0)
    assert await a_house.state(run_id) == "SETTLED"
    before = await a_house.written()
    (again,) = await a_house.receive(content, at=AT + DAY)
    assert again.is_replayed
    assert await a_house.written() == before
    sealed = await a_house.do(paying.seal, run_id, actor=CHECKER, at=AT)
    assert sealed.state == "SEALED"
    assert (await a_house.books.balances())["1110"] == a_house.bank.balance * 10_000  # with what was there before us
    legs = await a_house.legs(run_id)
    assert sum(leg.paid_minor for leg in legs) == sum(leg.amount_minor for leg in legs)  # I-22


async def test_the_same_statement_given_by_many_at_once_is_booked_once(a_house: House) -> None:
    run_id = await a_run(a_house)
    await a_house.instruct(run_id, at=AT)
    pay_in, _ = await legs_of(a_house, run_id)
    content = a_house.bank.statement(Paid(500, reference=pay_in.reference))
    done = await asyncio.gather(*(a_house.receive(content, at=AT) for _ in range(5)))
    assert sorted(one.is_replayed for (one,) in done) == [False, True, True, True, True]
    assert (await legs_of(a_house, run_id))[0].paid_minor == 500


async def test_a_statement_that_is_not_ours_or_does_not_follow_is_refused_whole_and_leaves_one_break(
    a_house: House,
) -> None:
    await a_house.receive(a_house.bank.statement(Paid(700, text="a gift")), at=AT)
    entry = Bank()._entry([Paid(100)])
    before = await a_house.written()
    refused = [
        (statement([entry], number=3, opening=700, closing=800), receiving.BankSequenceGap),
        (statement([entry], number=2, opening=600, closing=700), receiving.BankSequenceGap),
        (statement([entry], number=1, opening=0, closing=100), receiving.BankStatementChanged),
        (statement([entry], number=2, opening=700, closing=900), camt.BankFileInvalid),
        (statement([entry], number=2, opening=700, closing=800, iban="FR1420041010050500013M02606"),
         receiving.BankAccountNotOurs),
        (statement([entry], number=2, opening=700, closing=800).replace(b"053", b"054"), camt.BankFileInvalid),
        (statement([entry, entry], number=2, opening=700, closing=900)[:-300], camt.BankFileInvalid),
    ]  # fmt: skip
    for content, why in refused:
        for _ in range(2):
            with pytest.raises(why):
                await a_house.receive(content, at=AT)
    after = await a_house.written()
    assert {t: after[t] - before[t] for t in after if after[t] != before[t]} == {
        "break": len(refused), "break_step": len(refused),
    }  # fmt: skip
    with pytest.raises(actors.NotPermitted):
        await receiving.receive(a_house.database, BytesIO(b""), actor=CHECKER, at=AT)


async def test_where_a_party_is_paid_takes_two_people_and_a_change_a_cooling_time(a_house: House) -> None:
    cafe, other = a_house.books.id_of("cafe"), accounts.account("Cafe", "GB33BUKB20201555555555")
    number = await a_house.do(details.propose, cafe, other, currency="EUR", maker=MAKER, at=AT)
    with pytest.raises(actors.NotPermitted):
        await a_house.do(details.decide, number, approved=True, checker=MAKER, at=AT)
    until = await a_house.do(details.decide, number, approved=True, checker=CHECKER, at=AT)
    assert until == AT + details.COOLING
    async with a_house.database.reading() as connection:
        assert (await details.in_force(connection, "EUR", at=AT + DAY))[cafe].account.iban == IBANS["cafe"]
        assert (await details.in_force(connection, "EUR", at=until))[cafe].account == other
        said = (await approvals.read(connection, number)).detail
    assert said["iban"] == "GB33…5555"


@pytest.fixture
async def bare(server: Server, migrated: str, copying: Copying, vault: Vault) -> AsyncIterator[House]:
    """A house without a partner, and without a bank account."""
    async with copying(migrated) as name, connect(server.url(name, APPLICATION_ROLE)) as database:
        yield House(await opened(database, vault))


async def test_what_nobody_can_be_paid_on_is_not_instructed(bare: House) -> None:
    for code in IBANS:
        await bare.books.partner(code, review_days=0)
    run_id = await a_run(bare)
    before = await bare.written()
    with pytest.raises(details.BankAccountMissing):
        await bare.instruct(run_id, at=AT)
    assert await bare.written() == before
    assert await bare.state(run_id) == "APPROVED"
    await bare.books.coalition.desk.close()


async def test_who_signed_a_mandate_is_collected_from(a_house: House) -> None:
    cafe = a_house.books.id_of("cafe")
    own = accounts.account("Tessera", OWN)
    signed = Mandate("M-1", NOON.date())
    checked = accounts.account("Cafe", IBANS["cafe"])
    for party, account, more in (
        (cafe, checked, {"mandate": signed}), (0, own, {"creditor_id": "DE98ZZZ09999999999"}),
    ):  # fmt: skip
        number = await a_house.do(details.propose, party, account, currency="EUR", maker=MAKER, at=NOON, **more)
        await a_house.do(details.decide, number, approved=True, checker=CHECKER, at=NOON)
    card = await a_house.books.member()
    await a_house.sell(card, 500, "cafe", after=7)
    (run_id,) = await a_house.settle(at=NOON + 8 * DAY)
    (order,) = await a_house.instruct(run_id, at=NOON + 8 * DAY)
    assert order.kind == paying.PAIN_008
    async with a_house.database.reading() as connection:
        content = await paying.content(connection, order.order_id)
    etree.XMLSchema(etree.parse(SCHEMAS / "pain.008.001.08.xsd")).assertValid(etree.fromstring(content))
    ((leg_id, e2e),) = (await a_house.sent(run_id)).items()
    await a_house.receive(
        a_house.bank.statement(Paid(500, end_to_end_id=e2e), Paid(-500, end_to_end_id=e2e, is_reversal=True)),
        at=NOON + 9 * DAY,
    )
    (leg,) = await a_house.legs(run_id)
    assert (leg.leg_id, leg.state, leg.left_minor) == (leg_id, "RETURNED", 500)


async def test_what_is_not_paid_in_time_is_overdue_and_cover_takes_what_is_left(a_house: House) -> None:
    run_id = await a_run(a_house)
    await a_house.instruct(run_id, at=AT)
    pay_in, pay_out = await legs_of(a_house, run_id)
    e2e = (await a_house.sent(run_id))[pay_out.leg_id]
    await a_house.receive(
        a_house.bank.statement(Paid(200, reference=pay_in.reference), Paid(-33, end_to_end_id=e2e)), at=AT
    )
    assert await a_house.do(paying.follow_up, actor=MAKER, at=AT) == []
    later = AT + 10 * DAY
    (late,) = await a_house.do(paying.follow_up, actor=MAKER, at=later)
    assert (late.leg_id, late.state, late.left_minor) == (pay_in.leg_id, "OVERDUE", 300)
    async with a_house.database.reading() as connection:
        assert [one.kind for one in await standing.late(connection, at=later)] == ["PAYMENT"]
    number = await a_house.do(defaults.propose, run_id, pay_in.partner_id, maker=MAKER, at=later)
    (step,) = await a_house.do(defaults.cover, number, checker=CHECKER, at=later)
    assert step.amount_minor == 300  # not what was paid already
    await a_house.do(paying.follow_up, actor=MAKER, at=later)
    assert (await legs_of(a_house, run_id))[0].state == "DEFAULTED"
    assert await a_house.state(run_id) == "SETTLED"


async def test_suspense_is_for_one_thing_once(a_house: House) -> None:
    run_id = await a_run(a_house)
    await a_house.instruct(run_id, at=AT)
    pay_in, pay_out = await legs_of(a_house, run_id)
    await a_house.receive(a_house.bank.statement(Paid(500), Paid(-33), Paid(900)), at=AT)
    async with a_house.database.reading() as connection:
        paid_in, paid_out, more = await suspense.items(connection)
    before = await a_house.written()
    with pytest.raises(suspense.SuspenseMismatch):
        await a_house.do(suspense.identify, more.item_id, pay_in.leg_id, actor=MAKER, at=AT)
    with pytest.raises(paying.LegState):
        await a_house.do(suspense.write_off, pay_in.leg_id, cause="never paid", actor=MAKER, at=AT)
    with pytest.raises(paying.LegState):
        await a_house.do(suspense.identify, more.item_id, 999, actor=MAKER, at=AT)
    assert await a_house.written() == before
    leg = await a_house.do(suspense.identify, paid_in.item_id, pay_in.leg_id, actor=MAKER, at=AT)
    assert leg.state == "MATCHED"
    with pytest.raises(suspense.SuspenseUnknown):
        await a_house.do(suspense.identify, paid_in.item_id, pay_in.leg_id, actor=MAKER, at=AT)
    await a_house.do(suspense.identify, paid_out.item_id, pay_out.leg_id, actor=MAKER, at=AT)
    assert await a_house.state(run_id) == "SETTLED"
    assert [one.state for one in await a_house.breaks()] == ["RESOLVED", "RESOLVED", "OPEN"]
    await a_house.do(suspense.credit, more.item_id, a_house.books.id_of("cafe"), actor=MAKER, at=AT)


async def test_what_one_person_writes_off_counts_in_the_month_whatever_became_of_its_break(a_house: House) -> None:
    await a_house.do(
        intake.change_rule, a_house.books.id_of("cafe"), FileRule("WHOLE", write_off_minor=30), actor=CHECKER, at=AT
    )
    found = []
    for n in range(2):
        run_id = await a_run(a_house, after=n)
        await a_house.instruct(run_id, at=AT + n * DAY)
        pay_in, _ = await legs_of(a_house, run_id)
        await a_house.receive(
            a_house.bank.statement(Paid(pay_in.amount_minor - 20, reference=pay_in.reference)), at=AT + n * DAY
        )
        short = next(one for one in await a_house.breaks() if one.is_unresolved)
        await a_house.do(resolving.accept, short.break_id, cause="let it be", actor=MAKER, at=AT + n * DAY)
        found.append(await a_house.do(suspense.write_off, pay_in.leg_id, cause="little", actor=MAKER, at=AT + n * DAY))
    assert found[0] is None
    assert found[1] is not None  # 0.40 of 0.30: a second person


async def test_what_comes_back_after_its_run_was_settled_goes_into_suspense(a_house: House) -> None:
    run_id = await a_run(a_house)
    await a_house.instruct(run_id, at=AT)
    pay_in, pay_out = await legs_of(a_house, run_id)
    e2e = (await a_house.sent(run_id))[pay_out.leg_id]
    await a_house.receive(
        a_house.bank.statement(Paid(500, reference=pay_in.reference), Paid(-33, end_to_end_id=e2e)), at=AT
    )
    await a_house.receive(a_house.bank.statement(Paid(33, end_to_end_id=e2e, is_reversal=True)), at=AT)
    (one,) = await a_house.breaks()
    assert (one.category, one.partner_id) == ("RETURNED_PAYMENT", pay_out.partner_id)
    assert await a_house.state(run_id) == "SETTLED"


LEGS = st.lists(
    st.builds(Open, leg_id=st.integers(1, 6), partner_id=st.integers(1, 3), direction=st.sampled_from(["PAY_IN", "PAY_OUT"]),
              reference=st.sampled_from(["A", "B", "C"]), left_minor=st.integers(0, 60), paid_minor=st.integers(0, 60),
              is_sent=st.booleans()),
    max_size=6, unique_by=lambda leg: leg.leg_id,
)  # fmt: skip
TOLD = st.builds(
    Told, amount_minor=st.integers(-99, 99).filter(bool), leg_id=st.none() | st.integers(1, 6),
    references=st.lists(st.sampled_from(["A", "B", "C"]), max_size=2).map(tuple), partner_id=st.none() | st.integers(1, 3),
)  # fmt: skip


@given(told=TOLD, legs=LEGS)
def test_a_payment_is_never_more_than_it_is_and_a_leg_never_takes_more_than_is_left(told, legs):
    found = assigning.assign(told, legs)
    by_id = {leg.leg_id: leg for leg in legs}
    sent = sum((1 if by_id[s.leg_id].direction == "PAY_IN" else -1) * s.amount_minor for s in found.shares)
    assert sent + found.rest_minor == told.amount_minor
    assert len({share.leg_id for share in found.shares}) == len(found.shares)
    for share in found.shares:
        leg = by_id[share.leg_id]
        assert -leg.paid_minor <= share.amount_minor <= leg.left_minor
        assert share.amount_minor
        assert share.amount_minor < 0 or (leg.direction == "PAY_IN") == (told.amount_minor > 0)


def test_a_payment_that_names_what_is_paid_out_too_pays_in_alone():
    legs = [Open(1, 1, "PAY_IN", "A", 100, 0), Open(2, 1, "PAY_OUT", "B", 200, 0, is_sent=True)]
    assert assigning.assign(Told(300, references=("A", "B")), legs).shares == ()
    paid = [Open(1, 1, "PAY_IN", "A", 100, 0), Open(2, 1, "PAY_IN", "B", 0, 70), Open(3, 1, "PAY_IN", "C", 50, 0)]
    shares = assigning.assign(Told(150, references=("A", "B", "C")), paid).shares
    assert [(share.leg_id, share.amount_minor) for share in shares] == [(1, 100), (3, 50)]
