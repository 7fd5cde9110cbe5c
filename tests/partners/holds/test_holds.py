"""Holds against a real database: set aside once, resolved once, whoever asks at the same time and however often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import lots
from ledger.lots import Standing
from members import approvals
from members.cards import IssuedCard
from partners import callers, outcomes
from partners.calls import Call
from partners.decisions import preparing
from partners.holds import holds
from partners.holds.holds import Held, HoldRef, HoldWish
from partners.outcomes import Recorded
from partners.purchases import purchases
from partners.receipts.receipts import ReceiptRef
from partners.receipts.records import REDEMPTION, ProofUse
from partners.returns import returns
from partners.returns.returning import Wish
from partners.tills import tills
from partners.tills.tills import Spend
from tests.builders import DAY, NOON, Coalition, a_receipt, identified, rows_written, violations
from tests.founded import a_coalition, met

PIN = "4711"


template = a_coalition(bakery={"return_window_days": 0, "hold_minutes": 120}, grocer={"return_window_days": 0})


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    assert await violations(database.pool) == []
    await made.desk.close()


@pytest.fixture
async def card(coalition: Coalition) -> IssuedCard:
    return await funded(coalition)


async def funded(coalition: Coalition) -> IssuedCard:
    """A member with a thousand points."""
    made = await coalition.add_member()
    caller = coalition.callers["bakery"]
    directory = await coalition.desk.directory.get()
    await purchases.accrue(
        coalition.desk,
        preparing.prepare(directory, caller, identified(made), a_receipt(100_000), at=NOON, idem_key=None),
    )
    return made


def call(coalition: Coalition, operation: str, key: str, *, partner: str = "bakery", at: datetime = NOON) -> Call:
    caller = coalition.callers[partner]
    return Call(caller, callers.idem_key_of(caller, operation, key), at, at)


async def place(
    coalition: Coalition, card: IssuedCard, points: int = 400, *, key: str = "place", at: datetime = NOON,
    lasts: timedelta | None = None, reference: str = "order-1", use: ProofUse | None = None,
) -> Held:  # fmt: skip
    """A hold at the bakery whose proof is good."""
    one = call(coalition, "placeHold", key, at=at)
    directory = await coalition.desk.directory.get()
    where = callers.place_of(directory, one.caller, "1", "1")
    terms = callers.terms_at(directory, one.caller.partner_id, at)
    return await holds.place(
        coalition.desk, one.caller, identified(card), where, HoldWish(points, lasts, reference), terms=terms,
        use=use or ProofUse(), idem_key=one.idem_key, at=at,
    )  # fmt: skip


async def pay(
    coalition: Coalition, card: IssuedCard, hold: HoldRef, *, total: int = 1_000, asked: int | None = None,
    key: str = "pay", at: datetime = NOON, reference: str = "paid", partner: str = "bakery",
) -> Recorded:  # fmt: skip
    """A purchase that is paid with a hold."""
    return await tills.record_purchase(
        coalition.desk, call(coalition, "recordPurchase", key, at=at, partner=partner),
        tills.MemberRef(card_number=card.number), a_receipt(total, reference=reference), spend=Spend(asked, hold, None),
    )  # fmt: skip


async def capture(
    coalition: Coalition, hold: HoldRef, *, asked: int | None = None, key: str = "capture", at: datetime = NOON
) -> Recorded:
    return await tills.capture_hold(
        coalition.desk,
        call(coalition, "captureHold", key, at=at),
        hold,
        a_receipt(0, reference=f"c-{key}"),
        asked=asked,
    )


async def release(coalition: Coalition, hold: HoldRef, *, key: str = "release", at: datetime = NOON) -> Held:
    return await tills.release_hold(coalition.desk, call(coalition, "releaseHold", key, at=at), hold)


async def standing(coalition: Coalition, card: IssuedCard, at: datetime = NOON) -> tuple[int, int]:
    """(available, held) of a member."""
    seen: Standing | None = await lots.standing(coalition.desk.pool, card.member_id, unit=1, at=at)
    assert seen is not None
    return seen.available, seen.held


async def refused(coalition: Coalition, work: object, expected: type[Rejection]) -> Rejection:
    """The rejection of a call that must have written nothing."""
    before = await everything(coalition)
    with pytest.raises(expected) as caught:
        await work  # type: ignore[misc]
    assert await everything(coalition) == before
    return caught.value


async def everything(coalition: Coalition) -> dict[str, int]:
    counted = await rows_written(coalition.desk.pool)
    for table in ("partners.hold", "ledger.hold", "members.approval_use"):
        counted[table] = await coalition.desk.pool.fetchval(f"SELECT count(*) FROM {table}")
    return counted


async def test_a_hold_lowers_what_is_available_at_once_and_a_repetition_hears_the_same(
    coalition: Coalition, card: IssuedCard
) -> None:
    done = await place(coalition, card)
    assert (done.available, done.held, done.hold.state) == (600, 400, holds.OPEN)
    assert done.hold.lapses_at == NOON + timedelta(minutes=15)
    before = await everything(coalition)
    again = await place(coalition, card, at=NOON + timedelta(minutes=1))
    assert (again.replayed, again.hold) == (True, done.hold)
    assert await everything(coalition) == before


async def test_a_key_is_for_one_hold_of_one_member(coalition: Coalition, card: IssuedCard) -> None:
    other = await coalition.add_member()
    await place(coalition, card)
    await refused(coalition, place(coalition, card, 401), outcomes.IdempotencyKeyReused)
    await refused(coalition, place(coalition, other), outcomes.IdempotencyKeyReused)
    await refused(coalition, place(coalition, card, reference="order-2"), outcomes.IdempotencyKeyReused)


async def test_too_few_points_is_a_final_answer_that_a_retry_hears_again(
    coalition: Coalition, card: IssuedCard
) -> None:
    with pytest.raises(outcomes.InsufficientPoints):
        await place(coalition, card, 1_001)
    no = await refused(coalition, place(coalition, card, 1_001), outcomes.InsufficientPoints)
    assert no.available_points == 1_000
    assert await standing(coalition, card) == (1_000, 0)


async def test_a_hold_lasts_no_longer_than_the_agreement_allows(coalition: Coalition, card: IssuedCard) -> None:
    for lasts in (timedelta(minutes=121), timedelta(0), timedelta(seconds=-1)):
        await refused(coalition, place(coalition, card, lasts=lasts), holds.HoldInvalid)
    for reference in ("", "x" * 65):
        await refused(coalition, place(coalition, card, reference=reference), holds.HoldInvalid)
    await refused(coalition, place(coalition, card, 0), purchases.PointsNotPositive)
    done = await place(coalition, card, lasts=timedelta(minutes=120))
    assert done.hold.lapses_at == NOON + timedelta(minutes=120)


async def test_a_purchase_captures_its_hold_earns_on_the_rest_and_a_retry_hears_the_same(
    coalition: Coalition, card: IssuedCard
) -> None:
    hold = (await place(coalition, card)).hold.ref
    done = await pay(coalition, card, hold)
    assert (done.receipt.redeemed_points, done.receipt.awarded_points) == (400, 6)
    assert (done.available, done.held) == (606, 0)
    before = await everything(coalition)
    again = await pay(coalition, card, hold, at=NOON + 3 * DAY)
    assert (again.replayed, again.receipt) == (True, done.receipt)
    assert await everything(coalition) == before


async def test_a_part_may_be_captured_and_the_rest_goes_back(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    done = await pay(coalition, card, hold, asked=100)
    assert done.receipt.redeemed_points == 100
    assert await standing(coalition, card) == (909, 0)
    now = await holds.own(coalition.desk, coalition.callers["bakery"], hold, at=NOON)
    assert (now.state, now.captured_points) == (holds.CAPTURED, 100)
    await refused(coalition, pay(coalition, card, hold, asked=300, key="p2", reference="r2"), outcomes.HoldResolved)


async def test_more_than_the_hold_or_the_bill_allows_is_refused(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    no = await refused(coalition, pay(coalition, card, hold, asked=401), outcomes.CaptureExceedsHold)
    assert no.maximum_points == 400
    await refused(coalition, pay(coalition, card, hold, asked=0), purchases.PointsNotPositive)
    no = await refused(coalition, pay(coalition, card, hold, total=500), preparing.PointsExceedShare)
    assert no.maximum_points == 250
    assert await standing(coalition, card) == (600, 400)


async def test_a_hold_is_of_one_member_and_one_partner(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    other = await coalition.add_member()
    await refused(coalition, pay(coalition, other, hold), outcomes.HoldUnknown)
    await refused(coalition, pay(coalition, card, hold, partner="grocer"), outcomes.HoldUnknown)
    for ref in (HoldRef(0, 0), HoldRef(card.member_id, 1), HoldRef(card.member_id, 99)):
        await refused(coalition, pay(coalition, card, ref), outcomes.HoldUnknown)
        await refused(coalition, capture(coalition, ref), outcomes.HoldUnknown)
        await refused(coalition, release(coalition, ref), outcomes.HoldUnknown)


async def test_a_hold_that_lapsed_is_over_and_its_points_are_back(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    late = NOON + timedelta(minutes=15)
    await refused(coalition, pay(coalition, card, hold, at=late), outcomes.HoldLapsed)
    await refused(coalition, capture(coalition, hold, at=late), outcomes.HoldLapsed)
    await refused(coalition, release(coalition, hold, at=late), outcomes.HoldLapsed)
    await coalition.desk.pool.fetchval("SELECT ledger.sweep_due(1::smallint, $1, 10)", late)
    assert await standing(coalition, card, late) == (1_000, 0)
    now = await holds.own(coalition.desk, coalition.callers["bakery"], hold, at=late)
    assert now.state == holds.LAPSED
    await refused(coalition, pay(coalition, card, hold, at=late), outcomes.HoldLapsed)


async def test_a_released_hold_is_the_members_again_once(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    done = await release(coalition, hold)
    assert (done.hold.state, done.available, done.held) == (holds.RELEASED, 1_000, 0)
    before = await everything(coalition)
    again = await release(coalition, hold, at=NOON + DAY)
    assert (again.replayed, again.hold.state) == (True, holds.RELEASED)
    assert await everything(coalition) == before
    await refused(coalition, release(coalition, hold, key="other"), outcomes.HoldResolved)
    second = (await place(coalition, card, key="place2")).hold.ref
    await refused(coalition, release(coalition, second), outcomes.IdempotencyKeyReused)


async def test_a_capture_alone_is_a_redemption_that_can_be_returned(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    done = await capture(coalition, hold, asked=250)
    assert (done.receipt.kind, done.receipt.redeemed_points, done.available) == (REDEMPTION, 250, 750)
    again = await capture(coalition, hold, asked=250)
    assert (again.replayed, again.receipt) == (True, done.receipt)
    await refused(coalition, capture(coalition, hold, asked=251), outcomes.IdempotencyKeyReused)
    await give_back(coalition, done, "back")
    assert await standing(coalition, card) == (1_000, 0)


async def give_back(
    coalition: Coalition, done: Recorded, reference: str, amount: int | None = None
) -> returns.Returned:
    caller = coalition.callers["bakery"]
    where = callers.place_of(await coalition.desk.directory.get(), caller, "1", "1")
    ref = ReceiptRef("1", "1", NOON.date(), reference)
    slip = returns.ReturnSlip(reference, where, ref, NOON)
    return await returns.return_purchase(
        coalition.desk, caller, slip, done.receipt, Wish(amount_minor=amount),
        idem_key=callers.idem_key_of(caller, "returnPurchase", reference), at=NOON,
    )  # fmt: skip


async def test_a_purchase_that_a_hold_paid_is_returned_line_by_line_and_gives_the_points_back(
    coalition: Coalition, card: IssuedCard
) -> None:
    hold = (await place(coalition, card)).hold.ref
    done = await pay(coalition, card, hold)
    half = await give_back(coalition, done, "half", 500)
    assert (half.refunded_points, half.taken_points) == (200, 3)
    rest = await give_back(coalition, done, "rest")
    assert (rest.refunded_points, rest.taken_points) == (200, 3)
    assert await standing(coalition, card) == (1_000, 0)


async def test_a_cancelled_purchase_gives_the_points_of_its_hold_back(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    await pay(coalition, card, hold, asked=300)
    caller = coalition.callers["bakery"]
    where = callers.place_of(await coalition.desk.directory.get(), caller, "1", "1")
    undone = await returns.cancel_purchase(
        coalition.desk, caller, where, ReceiptRef("1", "1", NOON.date(), "paid"),
        idem_key=callers.idem_key_of(caller, "cancelPurchase", "c"), at=NOON,
    )  # fmt: skip
    assert undone is not None
    assert (undone.refunded_points, undone.taken_points) == (300, 7)
    assert await standing(coalition, card) == (1_000, 0)
    await refused(coalition, pay(coalition, card, hold, key="again", reference="another"), outcomes.HoldResolved)


async def test_points_that_expire_while_they_are_held_are_spent_and_what_is_not_captured_expires(
    coalition: Coalition, card: IssuedCard
) -> None:
    lot_ends = await coalition.desk.pool.fetchval("SELECT max(expires_at) FROM ledger.lot")
    at = lot_ends - timedelta(minutes=1)
    hold = (await place(coalition, card, at=at)).hold.ref
    later = lot_ends + timedelta(minutes=1)
    done = await pay(coalition, card, hold, asked=300, at=later)
    # The other 600 had expired, the 100 that came back expired with them; the seven of the purchase are new.
    assert (done.receipt.redeemed_points, done.available) == (300, 7)
    assert done.receipt.redemption_seq is not None
    assert done.receipt.seq - done.receipt.redemption_seq == 2
    undone = await give_back(coalition, done, "back")
    assert undone.refunded_points == 300


async def test_one_key_at_once_places_one_hold(coalition: Coalition, card: IssuedCard) -> None:
    done = await asyncio.gather(*[place(coalition, card) for _ in range(8)])
    assert len({one.hold.ref for one in done}) == 1
    assert sum(not one.replayed for one in done) == 1
    assert await standing(coalition, card) == (600, 400)


async def test_one_key_for_two_members_at_once_is_one_members(coalition: Coalition, card: IssuedCard) -> None:
    other = await funded(coalition)
    done = await asyncio.gather(
        *[place(coalition, one, key="both") for _ in range(4) for one in (card, other)], return_exceptions=True
    )
    assert len({one.hold.ref for one in done if isinstance(one, Held)}) == 1
    assert sum(isinstance(one, outcomes.IdempotencyKeyReused) for one in done) == 4
    held = [(await standing(coalition, one))[1] for one in (card, other)]
    assert sorted(held) == [0, 400]


async def test_many_resolve_one_hold_at_once_and_one_of_them_does(coalition: Coalition, card: IssuedCard) -> None:
    hold = (await place(coalition, card)).hold.ref
    work = [pay(coalition, card, hold, key=f"p{n}", reference=f"p{n}") for n in range(3)]
    work += [capture(coalition, hold, key=f"c{n}") for n in range(3)]
    work += [release(coalition, hold, key=f"r{n}") for n in range(3)]  # type: ignore[list-item]
    done = await asyncio.gather(*work, return_exceptions=True)
    assert sum(isinstance(one, Recorded | Held) for one in done) == 1
    assert sum(isinstance(one, outcomes.HoldResolved) for one in done) == 8
    available, held = await standing(coalition, card)
    assert held == 0
    assert available in (1_000, 606, 600)


async def test_a_receipt_that_another_hold_claims_at_once_is_recorded_once(
    coalition: Coalition, card: IssuedCard
) -> None:
    other = await funded(coalition)
    refs = {one.member_id: (await place(coalition, one, key=f"k{one.member_id}")).hold.ref for one in (card, other)}
    done = await asyncio.gather(
        *[
            pay(coalition, one, refs[one.member_id], key=f"{n}-{one.member_id}", reference="the-one")
            for n in range(3)
            for one in (card, other)
        ],
        return_exceptions=True,
    )
    assert sum(isinstance(one, Recorded) and not one.replayed for one in done) == 1
    assert not [one for one in done if not isinstance(one, Recorded | Rejection)]
    held = [(await standing(coalition, one))[1] for one in (card, other)]
    assert sorted(held) == [0, 400]


async def test_an_approval_pays_once_and_a_retry_finds_its_own_answer_first(
    coalition: Coalition, card: IssuedCard
) -> None:
    async with coalition.database.transaction() as connection:
        asked = await approvals.ask(
            connection, member_id=card.member_id, partner_id=coalition.callers["bakery"].partner_id, outlet_id=1,
            points=100, idem_key=uuid4(), at=NOON,
        )  # fmt: skip
        assert asked is not None
        await approvals.decide(connection, card.member_id, asked[0].approval_no, approved=True, at=NOON)
    use = ProofUse(approval_no=asked[0].approval_no)
    first = await place(coalition, card, 100, use=use)
    assert (await place(coalition, card, 100, use=use)).hold == first.hold
    await refused(coalition, place(coalition, card, 100, key="second", use=use), approvals.ApprovalUsed)
