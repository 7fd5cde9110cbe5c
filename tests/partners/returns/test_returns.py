"""Returns and cancellations against a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members.cards import IssuedCard
from partners import callers, outcomes
from partners.desk import Desk
from partners.directory import DirectoryCache
from partners.purchases import purchases
from partners.receipts.receipts import Receipt, ReceiptRef
from partners.receipts.records import ProofUse
from partners.returns import returning, returns
from partners.returns.returning import Wish
from partners.returns.returns import Returned
from tests.builders import DAY, NOON, Coalition, a_receipt, rows_written, violations
from tests.founded import a_coalition, met
from tests.partners.purchases.test_purchases import available, record

template = a_coalition(
    bakery={"return_window_days": 0}, grocer={}, florist={"return_window_days": 0, "return_policy": "REFUND_DEDUCTION"}
)


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    assert await violations(database.pool) == []
    await made.desk.close()


def ref_of(receipt: Receipt) -> ReceiptRef:
    return ReceiptRef(receipt.outlet, receipt.terminal, receipt.business_date, receipt.reference)


async def give_back(
    coalition: Coalition,
    receipt: Receipt,
    wish: Wish | None = None,
    *,
    partner: str = "bakery",
    reference: str | None = None,
    key: str | None = None,
    after: int = 1,
) -> Returned:
    """Return a receipt, whole unless a wish says otherwise."""
    caller, at = coalition.callers[partner], NOON + after * DAY
    directory = await coalition.desk.directory.get()
    own = ReceiptRef("1", "1", at.date(), reference or f"back-{receipt.reference}")
    slip = returns.ReturnSlip(own.reference, callers.place_of(directory, caller, "1", "1"), own, at)
    original = await returns.find_original(coalition.desk, caller, ref=ref_of(receipt))
    idem_key = callers.idem_key_of(caller, "returnPurchase", key or own.reference)
    return await returns.return_purchase(
        coalition.desk, caller, slip, original, wish or Wish(), idem_key=idem_key, at=at
    )


async def cancel(coalition: Coalition, receipt: Receipt, *, partner: str = "bakery", key: str = "c", after: int = 1):
    caller = coalition.callers[partner]
    place = callers.place_of(await coalition.desk.directory.get(), caller, "1", "1")
    return await returns.cancel_purchase(
        coalition.desk, caller, place, ref_of(receipt),
        idem_key=callers.idem_key_of(caller, "cancelPurchase", key), at=NOON + after * DAY,
    )  # fmt: skip


async def refused(coalition: Coalition, expected: type[Rejection], *arguments: object, **named: object) -> None:
    before = await rows_written(coalition.desk.pool)
    with pytest.raises(expected):
        await give_back(coalition, *arguments, **named)  # type: ignore[arg-type]
    assert await rows_written(coalition.desk.pool) == before


async def test_a_whole_return_takes_all_points_and_hands_back_all_money(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(5_000)
    await record(coalition, card, receipt)
    done = await give_back(coalition, receipt)
    assert (done.taken_points, done.unrecovered_points, done.refund_money_minor) == (50, 0, 5_000)
    assert await available(coalition, card, after=1) == 0


async def test_a_pending_accrual_is_taken_back_before_it_ever_activates(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(5_000)
    await record(coalition, card, receipt, partner="grocer")
    done = await give_back(coalition, receipt, partner="grocer", after=3)
    assert done.taken_points == 50
    assert await available(coalition, card, after=20) == 0


async def test_returns_by_line_and_by_amount_end_where_a_whole_return_ends(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(lines={"bread": 1_050, "cake": 2_099, "rolls": 333})
    await record(coalition, card, receipt)
    one = await give_back(coalition, receipt, Wish(lines={"cake": None}), reference="b1")
    two = await give_back(coalition, receipt, Wish(amount_minor=500), reference="b2")
    rest = await give_back(coalition, receipt, reference="b3")
    assert one.taken_points + two.taken_points + rest.taken_points == 34
    assert one.refund_money_minor + two.refund_money_minor + rest.refund_money_minor == 3_482
    assert await available(coalition, card, after=1) == 0


async def test_points_that_paid_come_back_to_the_lots_they_left(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000))
    receipt = a_receipt(lines={"1": 1_000, "2": 1_000})
    await record(coalition, card, receipt, spend=700)
    half = await give_back(coalition, receipt, Wish(lines={"1": None}), reference="h1")
    assert (half.refunded_points, half.refund_money_minor, half.taken_points) == (350, 650, 7)
    rest = await give_back(coalition, receipt, reference="h2")
    assert (rest.refunded_points, rest.refund_money_minor, rest.taken_points) == (350, 650, 6)
    assert await available(coalition, card, after=1) == 1_000


async def test_points_already_spent_are_borne_by_the_issuer_or_kept_from_the_refund_as_agreed(
    coalition: Coalition,
) -> None:
    for partner, deducted in (("bakery", 0), ("florist", 80)):
        card = await coalition.add_member()
        receipt = a_receipt(10_000)
        await record(coalition, card, receipt, partner=partner)
        await record(coalition, card, a_receipt(200), partner="grocer", spend=80)
        done = await give_back(coalition, receipt, partner=partner)
        assert (done.taken_points, done.unrecovered_points) == (20, 80)
        assert (done.refund_money_minor, done.deduct_minor) == (10_000, deducted)


async def test_a_quote_tells_what_the_return_will_do_and_writes_nothing(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(10_000)
    await record(coalition, card, receipt, partner="florist")
    await record(coalition, card, a_receipt(200), partner="grocer", spend=80)
    before = await rows_written(coalition.desk.pool)
    caller = coalition.callers["florist"]
    original = await returns.find_original(coalition.desk, caller, ref=ref_of(receipt))
    quoted = await returns.quote_return(coalition.desk, original, Wish(amount_minor=5_000), at=NOON + DAY)
    assert await rows_written(coalition.desk.pool) == before
    done = await give_back(coalition, receipt, Wish(amount_minor=5_000), partner="florist")
    assert (quoted.taken_points, quoted.unrecovered_points, quoted.refund_money_minor, quoted.deduct_minor) == (
        done.taken_points, done.unrecovered_points, done.refund_money_minor, done.deduct_minor,
    )  # fmt: skip


async def test_a_line_returned_twice_is_refused(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(lines={"1": 1_000, "2": 1_000})
    await record(coalition, card, receipt)
    await give_back(coalition, receipt, Wish(lines={"1": None}), reference="first")
    await refused(coalition, returning.LineAlreadyReturned, receipt, Wish(lines={"1": None}), reference="second")


async def test_more_than_was_bought_an_unknown_line_or_nothing_is_refused(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(lines={"1": 1_000})
    await record(coalition, card, receipt)
    await refused(coalition, returning.ReturnExceedsOriginal, receipt, Wish(amount_minor=1_001))
    await refused(coalition, returning.LineUnknown, receipt, Wish(lines={"9": None}))
    await refused(coalition, returning.ReturnEmpty, receipt, Wish(amount_minor=0))
    await refused(coalition, returning.ReturnEmpty, receipt, Wish(lines={}))


async def test_a_whole_return_of_what_is_all_returned_is_refused_and_of_a_purchase_of_nothing_is_not(
    coalition: Coalition,
) -> None:
    card = await coalition.add_member()
    receipt, free = a_receipt(1_000), a_receipt(0)
    await record(coalition, card, receipt)
    await record(coalition, card, free)
    await give_back(coalition, receipt, reference="first")
    await refused(coalition, returning.ReturnExceedsOriginal, receipt, reference="second")
    assert (await give_back(coalition, free, reference="free")).taken_points == 0
    assert (await cancel(coalition, receipt)).taken_points == 0


async def test_terms_that_another_process_signed_a_moment_ago_are_looked_up(coalition: Coalition) -> None:
    card = await coalition.add_member()
    old = Desk(coalition.database, coalition.vault, DirectoryCache(coalition.database.pool, coalition.vault))
    await old.directory.get()
    await coalition.add_partner("newcomer", return_window_days=0)
    receipt = a_receipt(1_000)
    await record(coalition, card, receipt, partner="newcomer")
    original = await returns.find_original(coalition.desk, coalition.callers["newcomer"], ref=ref_of(receipt))
    quoted = await returns.quote_return(old, original, Wish(), at=NOON)
    assert quoted.taken_points == 10
    await old.close()


async def test_an_unknown_receipt_and_another_partners_are_one_and_the_same_no(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(1_000)
    await record(coalition, card, receipt)
    await refused(coalition, returns.OriginalUnknown, a_receipt(1_000))
    await refused(coalition, returns.OriginalUnknown, receipt, partner="grocer")


async def test_a_return_repeated_is_answered_the_same_and_a_changed_one_is_refused(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(10_000)
    await record(coalition, card, receipt)
    first = await give_back(coalition, receipt, Wish(amount_minor=3_000), reference="b")
    before = await rows_written(coalition.desk.pool)
    again = await give_back(coalition, receipt, Wish(amount_minor=3_000), reference="b")
    assert again.recorded.replayed
    assert (again.taken_points, again.refund_money_minor) == (first.taken_points, first.refund_money_minor)
    assert await rows_written(coalition.desk.pool) == before
    await refused(coalition, outcomes.IdempotencyKeyReused, receipt, Wish(amount_minor=4_000), reference="b")
    await refused(
        coalition, outcomes.ReceiptAlreadyRecorded, receipt, Wish(amount_minor=4_000), reference="b", key="new"
    )


async def test_two_returns_of_one_line_at_once_leave_one_winner(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(lines={"1": 1_000, "2": 500})
    await record(coalition, card, receipt)
    found = await asyncio.gather(
        *(give_back(coalition, receipt, Wish(lines={"1": None}), reference=f"b{n}") for n in range(6)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in found) == ["LineAlreadyReturned"] * 5 + ["Returned"]
    assert await available(coalition, card, after=1) == 5


async def test_a_cancelled_purchase_is_undone_whole_and_cancelling_again_changes_nothing(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000))
    receipt = a_receipt(2_000)
    await record(coalition, card, receipt, spend=500)
    done = await cancel(coalition, receipt)
    assert (done.taken_points, done.refunded_points) == (15, 500)
    before = await rows_written(coalition.desk.pool)
    again = await cancel(coalition, receipt, key="another")
    assert again.recorded.replayed
    assert await rows_written(coalition.desk.pool) == before
    assert await available(coalition, card, after=1) == 1_000


async def test_a_receipt_cancelled_before_it_arrives_is_refused_when_it_does(coalition: Coalition) -> None:
    card = await coalition.add_member()
    late = a_receipt(2_000)
    assert await cancel(coalition, late) is None
    assert await cancel(coalition, late, key="again") is None
    with pytest.raises(outcomes.ReceiptCancelled):
        await record(coalition, card, late)
    assert await available(coalition, card, after=1) == 0


async def test_a_redemption_alone_can_be_cancelled(coalition: Coalition) -> None:
    card, caller = await coalition.add_member(), coalition.callers["bakery"]
    await record(coalition, card, a_receipt(100_000))
    reward = a_receipt(0)
    await spend(coalition, card, reward)
    done = await cancel(coalition, reward)
    assert (done.refunded_points, done.refund_money_minor) == (300, 0)
    assert await available(coalition, card, after=1) == 1_000
    assert caller.partner_id == done.recorded.receipt.partner_id


async def spend(coalition: Coalition, card: IssuedCard, reward: Receipt) -> None:
    from tests.builders import identified

    caller = coalition.callers["bakery"]
    await purchases.redeem(
        coalition.desk, caller, identified(card), reward, points=300, use=ProofUse(),
        idem_key=callers.idem_key_of(caller, "redeemPoints", "x"), at=NOON,
    )  # fmt: skip


async def test_a_refund_into_an_expired_lot_is_good_for_the_programmes_grace(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000))
    receipt = a_receipt(2_000, at=NOON + 360 * DAY)
    await record(coalition, card, receipt, spend=500, after=360)
    done = await give_back(coalition, receipt, after=370)
    assert done.refunded_points == 500
    assert await available(coalition, card, after=370 + 29) == 500
    assert await available(coalition, card, after=370 + 30) == 0
