"""Returns under MEMBER_DEBT and ISSUER_BEARS as partners see them, and the purchases that repay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.database import Database
from kit.secrets import Vault
from ledger import lots
from ledger.accounts import POINTS
from members.cards import IssuedCard
from members.identification import MemberRef
from partners import outcomes, recording
from partners.decisions import preparing
from partners.receipts.receipts import Receipt
from partners.returns import returns
from partners.returns.returning import Wish
from partners.returns.returns import Returned
from partners.tills import tills
from tests.builders import DAY, NOON, Coalition, a_receipt, identified, rows_written, violations
from tests.founded import a_coalition, met
from tests.partners.purchases.test_purchases import available, record
from tests.partners.returns.test_returns import cancel, give_back, ref_of

template = a_coalition(
    bakery={"return_window_days": 0, "return_policy": "MEMBER_DEBT"},
    grocer={"return_window_days": 0, "bill_share_bp": 10_000},
    florist={"return_policy": "MEMBER_DEBT"},
)


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    assert await violations(database.pool) == []
    await made.desk.close()


async def debt(coalition: Coalition, card: IssuedCard, after: int = 0) -> int:
    standing = await lots.standing(coalition.desk.pool, card.member_id, unit=POINTS, at=NOON + after * DAY)
    assert standing is not None
    return standing.debt


def figures(done: Returned) -> tuple[int, ...]:
    return (
        done.taken_points, done.owed_points, done.unrecovered_points, done.refunded_points, done.refund_money_minor,
        done.deduct_minor,
    )  # fmt: skip


async def quoted(
    coalition: Coalition, receipt: Receipt, wish: Wish, *, partner: str = "bakery", after: int = 1
) -> Returned:
    original = await returns.find_original(coalition.desk, coalition.callers[partner], ref=ref_of(receipt))
    return await returns.quote_return(coalition.desk, original, wish, at=NOON + after * DAY)


async def test_points_already_spent_are_owed_and_the_money_is_handed_back_whole(coalition: Coalition) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt)
    await record(coalition, card, a_receipt(80), partner="grocer", spend=80)
    before = await quoted(coalition, receipt, Wish())
    done = await give_back(coalition, receipt)
    assert figures(before) == figures(done) == (20, 80, 0, 0, 10_000, 0)
    assert (done.recorded.available, done.recorded.debt) == (0, 80)
    assert (await available(coalition, card, after=1), await debt(coalition, card, 1)) == (0, 80)


async def test_other_points_of_the_member_serve_before_anything_is_owed(coalition: Coalition) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt)
    await record(coalition, card, a_receipt(80), partner="grocer", spend=80)
    await record(coalition, card, a_receipt(5_000), partner="grocer")
    await record(coalition, card, a_receipt(90_000), partner="florist")
    before = await quoted(coalition, receipt, Wish())
    done = await give_back(coalition, receipt)
    assert figures(before) == figures(done) == (70, 30, 0, 0, 10_000, 0)
    assert await debt(coalition, card, 1) == 30
    assert await debt(coalition, card, 14) == 0
    assert await available(coalition, card, after=14) == 870


async def test_the_next_purchase_repays_alone_and_in_a_batch(coalition: Coalition) -> None:
    for is_batch in (False, True):
        card, receipt = await coalition.add_member(), a_receipt(10_000)
        await record(coalition, card, receipt)
        await record(coalition, card, a_receipt(100), partner="grocer", spend=100)
        await give_back(coalition, receipt, after=0)
        if is_batch:
            directory = await coalition.desk.directory.get()
            other = await coalition.add_member()
            items = [
                preparing.prepare(directory, coalition.callers["grocer"], identified(who), a_receipt(total), at=NOON,
                                  idem_key=None)
                for who, total in ((card, 7_000), (other, 1_000), (card, 6_000))
            ]  # fmt: skip
            done = await recording.record_many(coalition.desk.recorder, items, at=NOON)
            assert [(one.available, one.debt) for one in done] == [(0, 30), (10, 0), (30, 0)]  # type: ignore[union-attr]
        else:
            one = await record(coalition, card, a_receipt(7_000), partner="grocer")
            assert (one.available, one.debt) == (0, 30)
            two = await record(coalition, card, a_receipt(6_000), partner="grocer")
            assert (two.available, two.debt) == (30, 0)
        assert (await available(coalition, card), await debt(coalition, card)) == (30, 0)


async def test_points_given_back_by_the_same_return_repay_what_it_lacked(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(50_000), partner="grocer")
    receipt = a_receipt(20_000)
    await record(coalition, card, receipt, spend=500)
    await record(coalition, card, a_receipt(195), partner="grocer", spend=195)
    before = await quoted(coalition, receipt, Wish())
    done = await give_back(coalition, receipt)
    assert figures(before) == figures(done) == (195, 0, 0, 500, 19_500, 0)
    assert (await available(coalition, card, after=1), await debt(coalition, card, 1)) == (305, 0)


async def test_nothing_is_spent_while_something_is_owed(coalition: Coalition) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt)
    await record(coalition, card, a_receipt(100), partner="grocer", spend=100)
    await give_back(coalition, receipt, after=0)
    before = await rows_written(coalition.desk.pool)
    with pytest.raises(outcomes.InsufficientPoints) as no:
        await record(coalition, card, a_receipt(2_000), partner="grocer", spend=1)
    assert no.value.available_points == 0
    after = await rows_written(coalition.desk.pool)
    assert after == {**before, "ledger.journal": before["ledger.journal"] + 1}
    quote = await tills.quote(
        coalition.desk, coalition.callers["grocer"], MemberRef(card_number=card.number), a_receipt(2_000), at=NOON
    )
    assert quote.limit.points == 0


async def test_a_return_repeated_tells_again_what_was_owed_though_it_is_repaid_since(coalition: Coalition) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt)
    await record(coalition, card, a_receipt(80), partner="grocer", spend=80)
    first = await give_back(coalition, receipt)
    await record(coalition, card, a_receipt(20_000), partner="grocer")
    again = await give_back(coalition, receipt)
    assert again.recorded.replayed
    assert figures(again) == figures(first) == (20, 80, 0, 0, 10_000, 0)


async def test_partial_returns_owe_together_what_one_whole_return_owes(coalition: Coalition) -> None:
    owed = []
    for wishes in ([Wish()], [Wish(amount_minor=4_000), Wish(amount_minor=3_500), Wish()]):
        card, receipt = await coalition.add_member(), a_receipt(10_000)
        await record(coalition, card, receipt)
        await record(coalition, card, a_receipt(70), partner="grocer", spend=70)
        for wish in wishes:
            await give_back(coalition, receipt, wish, reference=f"{card.card_id}-{wish.amount_minor}")
        owed.append(await debt(coalition, card, 1))
    assert owed == [70, 70]


async def test_a_cancellation_owes_as_a_return_does(coalition: Coalition) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt)
    await record(coalition, card, a_receipt(80), partner="grocer", spend=80)
    done = await cancel(coalition, receipt)
    assert (done.taken_points, done.owed_points, done.unrecovered_points) == (20, 80, 0)


async def test_what_the_issuer_bears_is_written_down(coalition: Coalition, database: Database) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt, partner="grocer")
    await record(coalition, card, a_receipt(80), partner="grocer", spend=80)
    done = await give_back(coalition, receipt, partner="grocer")
    assert figures(done) == (20, 0, 80, 0, 10_000, 0)
    rows = await database.pool.fetch("SELECT debit, credit, amount FROM ledger.posting WHERE debit = 19")
    assert [tuple(row) for row in rows] == [(19, 13, 80)]
    assert await debt(coalition, card, 1) == 0


async def test_returns_of_two_purchases_at_once_and_a_redemption_keep_the_books(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipts = [a_receipt(10_000) for _ in range(2)]
    for receipt in receipts:
        await record(coalition, card, receipt)
    await record(coalition, card, a_receipt(120), partner="grocer", spend=120)
    done = await asyncio.gather(
        *(give_back(coalition, receipt, after=0) for receipt in receipts),
        record(coalition, card, a_receipt(50), partner="grocer", spend=50),
        return_exceptions=True,
    )
    spent = 50 if not isinstance(done[2], BaseException) else 0
    assert await available(coalition, card) - await debt(coalition, card) == 80 - spent - 200
    assert await available(coalition, card) == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bought=st.integers(100, 30_000),
    spent=st.integers(1, 300),
    other=st.integers(0, 20_000),
    back=st.integers(1, 30_000),
    later=st.integers(0, 40_000),
)
async def test_points_are_conserved_whatever_is_bought_spent_and_returned(
    coalition: Coalition, bought: int, spent: int, other: int, back: int, later: int
) -> None:
    """available less debt is what was earned, less what was spent, less what returned goods had earned."""
    card, receipt = await coalition.add_member(), a_receipt(bought)
    first = (await record(coalition, card, receipt)).receipt.awarded_points
    spent = min(spent, first)
    if spent:
        await record(coalition, card, a_receipt(spent), partner="grocer", spend=spent)
    second = (await record(coalition, card, a_receipt(other), partner="grocer")).receipt.awarded_points
    done = await give_back(coalition, receipt, Wish(amount_minor=min(back, bought)))
    third = (await record(coalition, card, a_receipt(later), partner="grocer", after=1)).receipt.awarded_points
    asked = done.taken_points + done.owed_points
    assert done.unrecovered_points == 0
    has, owes = await available(coalition, card, after=1), await debt(coalition, card, 1)
    assert has - owes == first - spent + second - asked + third
    assert min(has, owes) == 0
