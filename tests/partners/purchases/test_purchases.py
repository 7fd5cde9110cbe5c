"""Purchases against a real database: what they write, what they refuse, and that a refusal writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import lots
from members.cards import IssuedCard
from members.proofs import CodeUsed
from partners import callers, outcomes, recording
from partners.agreements.onboarding import OutletUnknown, TerminalUnknown
from partners.callers import Caller
from partners.decisions import preparing
from partners.outcomes import Recorded
from partners.purchases import purchases
from partners.receipts import receipts
from partners.receipts.receipts import Payment, Receipt
from partners.receipts.records import ProofUse
from tests.builders import DAY, NOON, Coalition, a_receipt, identified, rows_written, violations
from tests.founded import a_coalition, met

PARTNERS: dict[str, dict[str, object]] = {"bakery": {"return_window_days": 0}, "grocer": {}}
template = a_coalition(**PARTNERS)


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    assert await violations(database.pool) == []
    await made.desk.close()


async def record(
    coalition: Coalition,
    card: IssuedCard,
    receipt: Receipt,
    *,
    partner: str = "bakery",
    key: str | None = None,
    spend: int = 0,
    code: tuple[int, int] | None = None,
    after: int = 0,
) -> Recorded:
    """A purchase at a partner, `after` days from NOON, spending points or not."""
    caller, at = coalition.callers[partner], NOON + after * DAY
    directory = await coalition.desk.directory.get()
    prepared = preparing.prepare(
        directory,
        caller,
        identified(card),
        receipt,
        at=at,
        idem_key=callers.idem_key_of(caller, "recordPurchase", key or receipt.reference),
        redeem_points=spend,
    )
    if spend:
        return await purchases.purchase(coalition.desk, prepared, redeem_points=spend, use=ProofUse(*(code or ())))
    return await purchases.accrue(coalition.desk, prepared)


async def available(coalition: Coalition, card: IssuedCard, after: int = 0) -> int:
    standing = await lots.standing(coalition.desk.pool, card.member_id, unit=1, at=NOON + after * DAY)
    assert standing is not None
    return standing.available


def test_keys_of_our_own_pages_are_each_partners_own_and_of_a_client_the_clients() -> None:
    key = ("recordPurchase", "0123456789abcdef")
    pages = {callers.idem_key_of(Caller(partner, -3), *key) for partner in (1, 2)}
    assert len(pages) == 2
    assert callers.idem_key_of(Caller(1, 7), *key) == callers.idem_key_of(Caller(2, 7), *key)
    assert callers.idem_key_of(Caller(1, 7), *key) not in pages


async def test_a_purchase_earns_at_the_agreed_rate_and_is_available_at_once_without_a_return_window(
    coalition: Coalition,
) -> None:
    card = await coalition.add_member()
    done = await record(coalition, card, a_receipt(1912))
    assert (done.receipt.awarded_points, done.available, done.pending, done.replayed) == (19, 19, 0, False)


async def test_points_stay_pending_until_the_return_window_ends(coalition: Coalition) -> None:
    card = await coalition.add_member()
    done = await record(coalition, card, a_receipt(10_000), partner="grocer")
    assert (done.available, done.pending) == (0, 100)
    assert await available(coalition, card, after=13) == 0
    assert await available(coalition, card, after=14) == 100


async def test_a_purchase_of_nothing_is_recorded_and_earns_nothing(coalition: Coalition) -> None:
    card = await coalition.add_member()
    done = await record(coalition, card, a_receipt(0))
    assert done.receipt.awarded_points == 0
    assert (await rows_written(coalition.desk.pool))["partners.receipt"] == 1
    assert (await rows_written(coalition.desk.pool))["ledger.posting"] == 0


async def test_spending_takes_the_lots_that_expire_first_and_the_rest_of_the_bill_earns(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000))
    done = await record(coalition, card, a_receipt(2_000), spend=600)
    assert (done.receipt.redeemed_points, done.receipt.awarded_points) == (600, 14)
    assert done.available == 1000 - 600 + 14


async def test_a_retry_hears_the_same_answer_and_writes_nothing(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(5_000, lines={"1": 2_000, "2": 3_000})
    first = await record(coalition, card, receipt, key="a")
    before = await rows_written(coalition.desk.pool)
    again = await record(coalition, card, receipt, key="a", after=30)
    assert (again.replayed, again.receipt) == (True, first.receipt)
    assert await rows_written(coalition.desk.pool) == before


async def test_a_spending_retry_hears_the_same_answer(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000))
    receipt = a_receipt(2_000)
    first = await record(coalition, card, receipt, spend=500, code=(card.card_id, 7))
    before = await rows_written(coalition.desk.pool)
    again = await record(coalition, card, receipt, spend=500, code=(card.card_id, 7))
    assert again.replayed
    assert again.receipt == first.receipt
    assert await rows_written(coalition.desk.pool) == before


async def refused(coalition: Coalition, expected: type[Rejection], card: IssuedCard, receipt: Receipt, **how: object):
    """The rejection of a purchase, which must have written nothing."""
    before = await rows_written(coalition.desk.pool)
    with pytest.raises(expected) as caught:
        await record(coalition, card, receipt, **how)  # type: ignore[arg-type]
    assert await rows_written(coalition.desk.pool) == before
    return caught.value


async def test_a_key_reused_with_another_amount_is_refused(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(1_000), key="same")
    await refused(coalition, outcomes.IdempotencyKeyReused, card, a_receipt(2_000), key="same")


async def test_a_key_reused_for_another_member_is_refused(coalition: Coalition) -> None:
    one, other = await coalition.add_member(), await coalition.add_member()
    await record(coalition, one, a_receipt(1_000), key="same")
    await refused(coalition, outcomes.IdempotencyKeyReused, other, a_receipt(1_000), key="same")


async def test_the_same_receipt_with_another_card_is_refused(coalition: Coalition) -> None:
    one, other = await coalition.add_member(), await coalition.add_member()
    receipt = a_receipt(1_000)
    await record(coalition, one, receipt, key="first")
    await refused(coalition, outcomes.ReceiptAlreadyRecorded, other, receipt, key="second")


async def test_the_same_receipt_under_a_new_key_is_the_same_receipt(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(1_000)
    await record(coalition, card, receipt, key="first")
    again = await record(coalition, card, receipt, key="second")
    assert again.replayed


async def test_the_same_receipt_with_another_content_is_refused(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(1_000)
    await record(coalition, card, receipt, key="first")
    await refused(coalition, outcomes.ReceiptAlreadyRecorded, card, replace(receipt, total_minor=999), key="second")


@pytest.mark.parametrize(
    ("receipt", "expected"),
    [
        (a_receipt(-1), receipts.AmountNegative),
        (a_receipt(1_000, lines={"1": 2_000, "2": -1_000}), receipts.AmountNegative),
        (replace(a_receipt(lines={"1": 400, "2": 500}), total_minor=1_000), receipts.LinesDoNotSum),
        (a_receipt(1_000, currency="USD"), receipts.CurrencyMismatch),
        (a_receipt(1_000, payments=(Payment("CASH", 900),)), receipts.PaymentsDoNotSum),
        (a_receipt(1_000, at=NOON + DAY), receipts.ReceiptInFuture),
        (a_receipt(10**13), receipts.ReceiptInvalid),
        (a_receipt(lines={"1": 100}, kinds={"1": "BRIBE"}), receipts.ReceiptInvalid),
        (a_receipt(1_000, outlet="9"), OutletUnknown),
        (a_receipt(1_000, terminal="9"), TerminalUnknown),
        (a_receipt(1_000, at=NOON - 500 * DAY), callers.AgreementMissing),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_a_wrong_receipt_is_refused_and_nothing_is_written(
    coalition: Coalition, receipt: Receipt, expected: type[Rejection]
) -> None:
    await refused(coalition, expected, await coalition.add_member(), receipt)


async def test_more_points_than_the_agreed_share_are_refused_and_the_limit_is_told(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(1_000_000))
    no = await refused(coalition, preparing.PointsExceedShare, card, a_receipt(2_001), spend=1_001)
    assert no.maximum_points == 1_000


async def test_too_few_points_is_a_final_answer_that_a_retry_hears_again(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(2_000)
    with pytest.raises(outcomes.InsufficientPoints) as first:
        await record(coalition, card, receipt, spend=100, key="till-1")
    before = await rows_written(coalition.desk.pool)
    await record(coalition, card, a_receipt(100_000))
    with pytest.raises(outcomes.InsufficientPoints) as again:
        await record(coalition, card, receipt, spend=100, key="till-1")
    assert (first.value.available_points, again.value.available_points) == (0, 0)
    assert before["partners.receipt"] == before["partners.receipt_claim"] == before["ledger.posting"] == 0
    done = await record(coalition, card, receipt, key="till-2")
    assert done.receipt.awarded_points == 20


async def test_a_rotating_code_pays_once_network_wide(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000))
    await record(coalition, card, a_receipt(2_000), spend=100, code=(card.card_id, 7))
    await refused(coalition, CodeUsed, card, a_receipt(2_000), spend=100, code=(card.card_id, 7), partner="grocer")


async def test_fifty_spendings_of_a_whole_balance_leave_one_winner(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000))
    found = await asyncio.gather(
        *(record(coalition, card, a_receipt(2_000 + n), spend=1_000, partner="grocer") for n in range(50)),
        return_exceptions=True,
    )
    winners = [one for one in found if isinstance(one, Recorded)]
    assert len(winners) == 1
    assert all(isinstance(one, outcomes.InsufficientPoints) for one in found if not isinstance(one, Recorded))


async def test_one_receipt_shown_with_two_cards_at_once_is_recorded_once(coalition: Coalition) -> None:
    one, other = await coalition.add_member(), await coalition.add_member()
    for spend in (0, 10):
        for card in (one, other):
            await record(coalition, card, a_receipt(100_000))
        receipt = a_receipt(2_000)
        found = await asyncio.gather(
            *(record(coalition, card, receipt, key=f"{card.card_id}.{spend}", spend=spend) for card in (one, other)),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in found) == ["ReceiptAlreadyRecorded", "Recorded"]


async def test_eight_calls_with_one_key_have_one_effect(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(10_000)
    found = await asyncio.gather(*(record(coalition, card, receipt, key="one") for _ in range(8)))
    assert sorted(outcome.replayed for outcome in found) == [False] + [True] * 7
    assert await available(coalition, card) == 100


async def test_many_receipts_of_one_member_in_one_call_are_all_recorded_in_order(coalition: Coalition) -> None:
    card, caller = await coalition.add_member(), coalition.callers["bakery"]
    directory = await coalition.desk.directory.get()
    items = [
        preparing.prepare(directory, caller, identified(card), a_receipt(1_000 * n), at=NOON, idem_key=None)
        for n in range(1, 6)
    ]
    found = await recording.record_many(coalition.desk.recorder, [*items, items[0]], at=NOON)
    assert [one.receipt.awarded_points for one in found if isinstance(one, Recorded)] == [10, 20, 30, 40, 50, 10]
    assert [one.replayed for one in found if isinstance(one, Recorded)] == [False] * 5 + [True]
    assert [one.available for one in found if isinstance(one, Recorded)][:5] == [10, 30, 60, 100, 150]


async def test_another_partner_never_hears_of_a_key_or_receipt_that_is_not_its_own(coalition: Coalition) -> None:
    card = await coalition.add_member()
    receipt = a_receipt(1_000)
    await record(coalition, card, receipt, key="k")
    done = await record(coalition, card, receipt, key="k", partner="grocer")
    assert not done.replayed


async def test_redeeming_alone_spends_and_earns_nothing(coalition: Coalition) -> None:
    card, caller = await coalition.add_member(), coalition.callers["bakery"]
    await record(coalition, card, a_receipt(100_000))
    arguments = {
        "points": 300,
        "use": ProofUse(),
        "idem_key": callers.idem_key_of(caller, "redeemPoints", "r"),
        "at": NOON,
    }
    receipt = a_receipt(0)
    done = await purchases.redeem(coalition.desk, caller, identified(card), receipt, **arguments)
    again = await purchases.redeem(coalition.desk, caller, identified(card), receipt, **arguments)
    assert (done.receipt.redeemed_points, done.receipt.awarded_points, done.available) == (300, 0, 700)
    assert again.replayed
    with pytest.raises(purchases.PointsNotPositive):
        await purchases.redeem(coalition.desk, caller, identified(card), receipt, **{**arguments, "points": 0})


async def test_a_caller_that_is_one_till_speaks_for_no_other(coalition: Coalition) -> None:
    caller = coalition.callers["bakery"]
    directory = await coalition.desk.directory.get()
    place = callers.place_of(directory, caller, "1", "1")
    assert place.terminal_id is not None
    itself = replace(caller, terminal_id=place.terminal_id)
    assert callers.place_of(directory, itself, "1", "1") == place
    for wrong, code in ((itself, None), (replace(caller, terminal_id=place.terminal_id + 1), "1")):
        with pytest.raises(callers.TerminalMismatch):
            callers.place_of(directory, wrong, "1", code)
    terminal = directory.terminal_by_id(place.terminal_id)
    assert terminal is not None
    assert terminal.code == "1"
    assert directory.terminal_by_id(-1) is None
