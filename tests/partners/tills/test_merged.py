"""Receipts and merges: a retry hears its first answer and a return works, whenever the member was merged or parted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kit import actors, approvals
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import transfers
from members import merging, proofs
from members.cards import IssuedCard
from members.identification import MemberRef
from partners import calls, outcomes
from partners.calls import Call
from partners.outcomes import Recorded
from partners.receipts.receipts import Receipt
from partners.returns import returning, returns
from partners.returns.returning import Wish
from partners.tills import batches, tills
from partners.tills.tills import Proof, Spend
from tests.builders import DAY, NOON, Coalition, a_receipt, rows_written, violations
from tests.founded import a_coalition, met
from tests.partners.purchases.test_purchases import available
from tests.partners.returns.test_returns import cancel, give_back, ref_of


class Merged:
    """A coalition, and two cards of one person who is two members, or one, or two again."""

    def __init__(self, coalition: Coalition, old: IssuedCard, kept: IssuedCard) -> None:
        self.coalition, self.old, self.kept = coalition, old, kept
        self.merge_number = 0

    async def decide(self, number: int) -> None:
        desk = self.coalition.desk
        async with desk.database.transaction() as connection:
            approval = await approvals.read(connection, number)
            checker = await actors.ensure_actor(connection, "carl", [actors.MEMBER_CARE_CHECKER])
            sent = await merging.decide(
                connection, approval, checker=checker, approved=True, at=NOON + DAY, day=NOON.date()
            )
        await transfers.complete_all(desk.database, sent, at=NOON + DAY)

    async def merge(self) -> None:
        async with self.coalition.desk.database.transaction() as connection:
            maker = await actors.ensure_actor(connection, "mia", [actors.MEMBER_CARE_MAKER])
            self.merge_number = await merging.propose(
                connection, member_id=self.old.member_id, survivor_id=self.kept.member_id, reason="one person",
                maker=maker, at=NOON,
            )  # fmt: skip
        await self.decide(self.merge_number)

    async def part(self) -> None:
        async with self.coalition.desk.database.transaction() as connection:
            maker = await actors.ensure_actor(connection, "mia", [actors.MEMBER_CARE_MAKER])
            number = await merging.propose_end(
                connection, merge=self.merge_number, reason="two people", maker=maker, at=NOON
            )
        await self.decide(number)

    async def record(
        self, receipt: Receipt, *, key: str = "key-of-16-characters", spend: int = 0, card: IssuedCard | None = None,
        partner: str = "bakery",
    ) -> Recorded:  # fmt: skip
        """The till's call with the old card, as the gateway makes it."""
        caller = self.coalition.callers[partner]
        call = Call(caller, calls.scoped_key(caller, "recordPurchase", key), NOON + 2 * DAY, NOON + 2 * DAY)
        ref = MemberRef(card_number=(card or self.old).number)
        wish = Spend(spend, None, Proof(pin="4711")) if spend else None
        return await tills.record_purchase(self.coalition.desk, call, ref, receipt, spend=wish)

    async def batch(self, receipt: Receipt) -> Recorded | Rejection:
        caller = self.coalition.callers["bakery"]
        items = [(MemberRef(card_number=self.old.number), receipt)]
        [answer] = await batches.accrue_many(self.coalition.desk, caller, items, at=NOON + 2 * DAY)
        return answer

    async def both(self) -> tuple[int, int]:
        return await available(self.coalition, self.old, 30), await available(self.coalition, self.kept, 30)


template = a_coalition(bakery={"return_window_days": 0}, grocer={})


@pytest.fixture
async def merged(database: Database, vault: Vault) -> AsyncIterator[Merged]:
    coalition = await met(database, vault)
    cards = [await coalition.add_member() for _ in range(2)]
    for card in cards:
        async with database.transaction() as connection:
            await proofs.set_pin(connection, vault, card.member_id, "4711")
    yield Merged(coalition, *cards)
    assert await violations(database.pool) == []
    await coalition.desk.close()


@pytest.mark.parametrize("parted", [False, True], ids=["merged", "parted again"])
@pytest.mark.parametrize("recorded_while_merged", [False, True])
async def test_a_retry_across_a_merge_or_its_end_hears_the_first_answer_and_writes_nothing(
    merged: Merged, recorded_while_merged: bool, parted: bool
) -> None:
    receipt, again = a_receipt(5_000), a_receipt(7_000)
    if recorded_while_merged:
        await merged.merge()
    first = await merged.record(receipt)
    lone = await merged.batch(again)
    assert isinstance(lone, Recorded)
    if not recorded_while_merged:
        await merged.merge()
    if parted:
        await merged.part()
    before = await rows_written(merged.coalition.desk.pool)
    retried = await merged.record(receipt)
    assert (retried.replayed, retried.receipt) == (True, first.receipt)
    other_key = await merged.record(receipt, key="another-key-of-some-length")
    assert (other_key.replayed, other_key.receipt) == (True, first.receipt)
    in_batch = await merged.batch(again)
    assert isinstance(in_batch, Recorded)
    assert (in_batch.replayed, in_batch.receipt) == (True, lone.receipt)
    assert await rows_written(merged.coalition.desk.pool) == before


async def test_another_content_under_the_same_key_or_receipt_is_refused_after_a_merge(merged: Merged) -> None:
    receipt = a_receipt(5_000)
    await merged.record(receipt)
    await merged.merge()
    changed = replace(receipt, total_minor=6_000)
    before = await rows_written(merged.coalition.desk.pool)
    with pytest.raises(outcomes.IdempotencyKeyReused):
        await merged.record(changed)
    with pytest.raises(outcomes.IdempotencyKeyReused):
        await merged.record(a_receipt(5_000))
    with pytest.raises(outcomes.ReceiptAlreadyRecorded):
        await merged.record(changed, key="another-key-of-some-length")
    assert isinstance(await merged.batch(changed), outcomes.ReceiptAlreadyRecorded)
    with pytest.raises(outcomes.ReceiptAlreadyRecorded):
        await merged.record(receipt, key="another-key-of-some-length", card=merged.kept)
    assert await rows_written(merged.coalition.desk.pool) == before


async def test_a_final_decline_is_heard_again_after_a_merge_though_there_are_points_now(merged: Merged) -> None:
    await merged.record(a_receipt(100_000), key="earned-by-the-survivor", card=merged.kept)
    receipt = a_receipt(2_000)
    with pytest.raises(outcomes.InsufficientPoints):
        await merged.record(receipt, spend=500)
    await merged.merge()
    before = await rows_written(merged.coalition.desk.pool)
    with pytest.raises(outcomes.InsufficientPoints):
        await merged.record(receipt, spend=500)
    with pytest.raises(outcomes.IdempotencyKeyReused):
        await merged.record(receipt, spend=400)
    assert await rows_written(merged.coalition.desk.pool) == before
    assert (await merged.record(receipt, spend=500, key="a-new-key-of-some-length")).receipt.redeemed_points == 500


@pytest.mark.parametrize("partner", ["bakery", "grocer"], ids=["available", "pending"])
@pytest.mark.parametrize("parted", [False, True], ids=["merged", "parted again"])
async def test_a_late_return_of_a_receipt_recorded_before_the_merge_takes_its_own_points(
    merged: Merged, parted: bool, partner: str
) -> None:
    receipt = a_receipt(5_000)
    await merged.record(receipt, partner=partner)
    await merged.record(a_receipt(3_000), key="earned-by-the-survivor", card=merged.kept)
    await merged.merge()
    if parted:
        await merged.part()
    caller = merged.coalition.callers[partner]
    original = await returns.find_original(merged.coalition.desk, caller, ref=ref_of(receipt))
    quoted = await returns.quote_return(merged.coalition.desk, original, Wish(amount_minor=2_000), at=NOON + 3 * DAY)
    done = await give_back(merged.coalition, receipt, Wish(amount_minor=2_000), partner=partner, after=3)
    assert (quoted.taken_points, done.taken_points, done.unrecovered_points) == (20, 20, 0)
    assert done.recorded.replayed is False
    again = await give_back(merged.coalition, receipt, Wish(amount_minor=2_000), partner=partner, after=3)
    assert (again.recorded.replayed, again.taken_points) == (True, 20)
    assert await merged.both() == ((30, 30) if parted else (0, 60))
    rest = await give_back(merged.coalition, receipt, reference="rest", partner=partner, after=4)
    assert rest.taken_points == 30
    assert await merged.both() == (0, 30)


async def test_a_refused_return_of_a_merged_member_writes_nothing(merged: Merged) -> None:
    receipt = a_receipt(5_000)
    await merged.record(receipt)
    await merged.merge()
    before = await rows_written(merged.coalition.desk.pool)
    with pytest.raises(returning.ReturnExceedsOriginal):
        await give_back(merged.coalition, receipt, Wish(amount_minor=6_000))
    assert await rows_written(merged.coalition.desk.pool) == before


async def test_points_that_paid_come_back_to_the_survivor_when_a_purchase_of_before_is_cancelled(
    merged: Merged,
) -> None:
    await merged.record(a_receipt(100_000), key="earned-by-the-old-card")
    paid = a_receipt(2_000)
    await merged.record(paid, key="paid-with-the-old-card", spend=600)
    await merged.merge()
    done = await cancel(merged.coalition, paid, after=3)
    assert (done.taken_points, done.refunded_points) == (14, 600)
    assert (done.recorded.available, done.recorded.pending) == (1_000, 0)
    assert await merged.both() == (0, 1_000)


async def test_purchases_of_a_merged_card_are_the_survivors_and_returned_there(merged: Merged) -> None:
    await merged.merge()
    receipt = a_receipt(5_000)
    done = await merged.record(receipt)
    assert done.receipt.holder_id == merged.kept.member_id
    assert (await give_back(merged.coalition, receipt, after=3)).taken_points == 50
    assert await merged.both() == (0, 0)
