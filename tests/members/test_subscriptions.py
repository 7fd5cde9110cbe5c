"""Subscriptions on a real database: taken, paid, renewed, changed, paused, left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kit.database import Database
from kit.secrets import Vault
from members.subscription import charging, entitlements, gifts, invoices, offers, seats, subscriptions
from members.subscription.charging import ReceiptNeedsTwo
from members.subscription.gifts import GiftWish
from members.subscription.invoices import InvoiceNotOpen, PaymentMismatch
from members.subscription.offers import OfferDraft
from members.subscription.providers import Answer, Told
from tests.members.subscribers import DAY, START, Club, Scripted, a_club

template = a_club()


@pytest.fixture
async def desk(database: Database, vault: Vault) -> Club:
    """A programme whose invoices somebody pays at a bank."""
    return Club(database, vault)


@pytest.fixture
async def shop(database: Database, vault: Vault) -> Club:
    """A programme that charges cards."""
    return Club(database, vault, Scripted())


async def benefits(club: Club, member_id: int) -> tuple[str, ...]:
    async with club.database.reading() as connection:
        return entitlements.benefits(await entitlements.entitled(connection, member_id, at=club.at))


async def facts(club: Club) -> tuple[Any, ...]:
    """How much is written of everything, to see that a refusal wrote nothing."""
    tables = ("subscription", "subscription_event", "invoice", "fee_payment", "charge_attempt", "entitlement_grant",
              "credit_note", "fee_refund", "subscription_due", "subscription_seat", "benefit_use")  # fmt: skip
    return tuple([await club.database.pool.fetchval(f"SELECT count(*) FROM members.{t}") for t in tables])


async def test_a_plan_is_given_when_its_invoice_is_paid_and_renewed_when_the_next_one_is(desk: Club) -> None:
    member_id = await desk.person()
    its = await desk.subscribe(member_id)
    assert await desk.status(its) == "INCOMPLETE"
    assert await benefits(desk, member_id) == ()
    await desk.pass_time(3 * DAY)
    await desk.receive(1)
    assert await desk.status(its) == "ACTIVE"
    assert await benefits(desk, member_id) == ("free-delivery", "plus-bonus")
    await desk.pass_time(START + 3 * DAY + timedelta(days=31))  # 4 April: a month after it was paid
    assert [invoice[:2] for invoice in await desk.invoices()] == [(1, "PAID"), (2, "OPEN")]
    assert [one.renews_at for one in desk.told] == [START + 34 * DAY]
    assert await desk.status(its) == "GRACE"
    assert await benefits(desk, member_id) != ()  # days of grace
    await desk.pass_time(8 * DAY)
    assert await desk.status(its) == "ON_HOLD"
    assert await benefits(desk, member_id) == ()
    await desk.receive(2)
    assert await desk.status(its) == "ACTIVE"
    assert await benefits(desk, member_id) != ()


async def test_b15_a_first_payment_that_does_not_come_in_23_hours_ends_it_and_voids_its_invoice(shop: Club) -> None:
    shop.provider.script = ["SOFT"]  # type: ignore[attr-defined]
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(hours=22, minutes=59))
    assert await shop.status(its) == "INCOMPLETE"
    await shop.pass_time(timedelta(minutes=1))
    assert await shop.status(its) == "ENDED"
    assert await shop.invoices() == [(1, "VOID", 1000)]
    assert await benefits(shop, member_id) == ()


async def test_b9_a_year_that_is_left_after_100_days_gives_back_265(shop: Club) -> None:
    async with shop.database.transaction() as connection:
        from members.subscription import plans

        await plans.publish_price(
            connection, plan="plus", currency="EUR", interval="YEAR", amount_minor=36_500,
            valid_from=shop.at + timedelta(seconds=1), actor="marketer", at=shop.at,
        )  # fmt: skip
    shop.at += timedelta(seconds=1)
    member_id = await shop.person()
    its = await shop.subscribe(member_id, interval="YEAR")
    await shop.pass_time(timedelta(0))
    await shop.pass_time(100 * DAY)
    seen = await shop.do(subscriptions.preview_cancellation, member_id, its.subscription_no, at_once=True)
    assert seen.credit_minor == 26_500
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=True)
    await shop.pass_time(timedelta(0))
    assert list(shop.provider.refunds.values()) == [26_500]  # type: ignore[attr-defined]
    assert await benefits(shop, member_id) == ()
    assert await shop.invoices() == [(1, "CREDITED", 36_500)]


async def test_b14_nothing_is_charged_of_what_is_paused_or_over(shop: Club) -> None:
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    end = its.at + timedelta(days=31)
    await shop.do(subscriptions.pause, member_id, its.subscription_no, until=end + 40 * DAY)
    await shop.pass_time(end + 39 * DAY)
    assert await shop.status(its) == "PAUSED"
    assert await benefits(shop, member_id) == ()
    one = await shop.do(lambda connection, at: invoices.numbered(connection, 1))
    before = await facts(shop)
    with pytest.raises((charging.ChargeRefused, InvoiceNotOpen)):
        await shop.do(lambda connection, at: charging.prepare(connection, its, one, at=at))
    assert await facts(shop) == before
    assert len(shop.provider.charged) == 1  # type: ignore[attr-defined]
    await shop.pass_time(end + 40 * DAY)  # the pause is over, and periods are counted anew
    assert await shop.status(its) == "ACTIVE"
    assert (await shop.read(its)).contract.period_end == end + 40 * DAY + timedelta(days=31)
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=True)
    ended = await shop.read(its)
    open_like = await shop.do(lambda connection, at: invoices.numbered(connection, 2))
    with pytest.raises(InvoiceNotOpen):
        await shop.do(lambda connection, at: charging.prepare(connection, ended, open_like, at=at))


async def test_b11_a_clock_that_jumps_and_one_that_steps_come_to_the_same(
    database: Database, vault: Vault, server: Any, template: str
) -> None:
    from kit import postgres
    from kit.database import APPLICATION_ROLE, connect

    digests = []
    for number, step in enumerate((timedelta(days=400), timedelta(days=1), timedelta(hours=19))):
        name = f"steps_{template}_{number}"
        postgres.create_database(server, name, template=template)
        async with connect(server.url(name, APPLICATION_ROLE)) as opened:
            club = Club(opened, vault, Scripted(["PAID"] * 3 + ["SOFT", "SOFT", "PAID", "SILENT", "LOST", "PAID"]))
            first, second, third, fourth = [await club.person() for _ in range(4)]
            draft = OfferDraft("half", "PERCENT", START, START + DAY, percent_bp=5000, periods=3, word="HALF")
            await club.do(offers.add, vault, draft, actor="marketer")
            half = await offers.look(opened, vault, "half", member_id=first, at=START, now=START)
            await club.subscribe(first, code=half)
            wish = GiftWish(second, "family", "EUR", "MONTH", 2, "UTC")
            present = await club.do(gifts.buy, vault, club.provider, wish)
            await club.subscribe(second, wants_trial=True)
            its = await club.subscribe(third, "family", interval="YEAR")
            await club.pass_time(timedelta(hours=1))
            await club.do(
                subscriptions.change, club.provider, third, its.subscription_no, plan="plus", interval="MONTH"
            )
            seen = await offers.look(opened, vault, present.code, member_id=fourth, at=club.at, now=START)
            await club.do(gifts.redeem, club.provider, seen, member_id=fourth, zone="UTC")
            while club.at < START + 400 * DAY:
                await club.pass_time(min(club.at + step, START + 400 * DAY))
            digests.append(await club.digest())
        postgres.drop_database(server, name)
    assert len(set(digests)) == 1


@pytest.mark.parametrize("script", [["SILENT"], ["LOST", "PAID"], ["PENDING", "PAID"]])
async def test_b12_what_nobody_knows_is_asked_about_and_never_ordered_under_another_key(
    shop: Club, script: list[str]
) -> None:
    shop.provider.script = list(script)  # type: ignore[attr-defined]
    its = await shop.subscribe(await shop.person())
    await shop.pass_time(timedelta(0))
    assert await shop.status(its) == "INCOMPLETE"
    if script[0] == "PENDING":
        [key] = shop.provider.taken  # type: ignore[attr-defined]
        shop.provider.taken[key] = Answer("PAID", "late")  # type: ignore[attr-defined]
    await shop.pass_time(timedelta(hours=2))
    assert await shop.status(its) == "ACTIVE"
    assert len(shop.provider.charged) == 1  # type: ignore[attr-defined]
    assert len({order.key for order in shop.provider.orders}) == 1  # type: ignore[attr-defined]


async def test_b12_what_a_provider_tells_early_twice_or_in_any_order_is_one_payment(shop: Club) -> None:
    shop.provider.script = ["SILENT"]  # type: ignore[attr-defined]
    its = await shop.subscribe(await shop.person())
    await shop.do(charging.hear, shop.provider, [Told("000000001-94-1", "PAID", "early")])  # of no attempt yet
    await shop.pass_time(timedelta(0))
    [key] = shop.provider.charged  # type: ignore[attr-defined]
    told = Told(key, "PAID", f"pay-{key}", 30)
    for _ in range(3):
        await shop.do(charging.hear, shop.provider, [told, Told(key, "SOFT", "older"), told])
    await shop.pass_time(2 * DAY)
    assert await shop.status(its) == "ACTIVE"
    assert await shop.invoices() == [(1, "PAID", 1000)]
    assert await shop.database.pool.fetchval("SELECT count(*) FROM members.fee_payment") == 1
    assert shop.provider.refunds == {}  # type: ignore[attr-defined]


async def test_money_for_what_is_void_is_kept_apart_and_goes_back(shop: Club) -> None:
    shop.provider.script = ["PENDING"]  # type: ignore[attr-defined]
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=False)
    assert await shop.invoices() == [(1, "VOID", 1000)]
    [key] = shop.provider.taken  # type: ignore[attr-defined]
    shop.provider.taken[key] = Answer("PAID", "too late")  # type: ignore[attr-defined]
    await shop.pass_time(timedelta(hours=2))
    assert list(shop.provider.refunds.values()) == [1000]  # type: ignore[attr-defined]
    assert await benefits(shop, member_id) == ()
    assert await shop.status(its) == "ENDED"


async def test_arrears_are_tried_on_days_1_3_5_7_then_given_up_on_day_21(shop: Club) -> None:
    shop.provider.script = ["PAID", "SOFT"]  # type: ignore[attr-defined]
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    due = START + timedelta(days=31)
    await shop.pass_time(due + 20 * DAY)
    tried = await shop.database.pool.fetch("SELECT at FROM members.charge_attempt WHERE invoice_no = 2 ORDER BY 1")
    assert [(row["at"] - due).days for row in tried] == [0, 1, 3, 5, 7]
    assert await shop.status(its) == "ON_HOLD"
    await shop.pass_time(due + 21 * DAY)
    assert await shop.status(its) == "ENDED"
    assert [invoice[:2] for invoice in await shop.invoices()] == [(1, "PAID"), (2, "VOID")]


async def test_a_card_that_is_no_good_waits_for_another_one(shop: Club) -> None:
    shop.provider.script = ["PAID", "HARD", "PAID"]  # type: ignore[attr-defined]
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    await shop.pass_time(START + 40 * DAY)
    assert await shop.status(its) == "ON_HOLD"
    assert len(shop.provider.orders) == 2  # type: ignore[attr-defined]
    await shop.do(subscriptions.give_means, shop.provider, member_id, token="new", mark="new", text_version="1")
    await shop.pass_time(timedelta(0))
    assert await shop.status(its) == "ACTIVE"
    assert shop.provider.orders[-1].token == "new"  # type: ignore[attr-defined]


async def test_an_upgrade_counts_when_the_difference_is_paid_and_a_downgrade_at_the_end(shop: Club) -> None:
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    shop.at = START + timedelta(days=15, hours=12)
    seen = await shop.do(subscriptions.preview_change, member_id, its.subscription_no, plan="family", interval="MONTH")
    await shop.do(subscriptions.change, shop.provider, member_id, its.subscription_no, plan="family", interval="MONTH")
    assert await benefits(shop, member_id) == ("free-delivery", "plus-bonus")
    await shop.pass_time(timedelta(0))
    assert await benefits(shop, member_id) == ("family-bonus", "free-delivery")
    assert (await shop.invoices())[1] == (2, "PAID", seen.due_minor)
    assert seen.due_minor == 516  # 16 of 31 days of ten: 5.16 credited of 10.32
    await shop.do(subscriptions.change, shop.provider, member_id, its.subscription_no, plan="plus", interval="YEAR")
    assert (await shop.read(its)).next_price is not None
    await shop.pass_time(START + timedelta(days=31))
    now = await shop.read(its)
    assert (now.plan.code, now.price.interval, now.contract.period_end) == (
        "plus", "YEAR", START.replace(year=2027, month=4)
    )  # fmt: skip
    assert await benefits(shop, member_id) == ("free-delivery", "plus-bonus")


async def test_an_upgrade_whose_difference_is_not_paid_is_none(shop: Club) -> None:
    shop.provider.script = ["PAID", "SOFT"]  # type: ignore[attr-defined]
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    await shop.pass_time(10 * DAY)
    await shop.do(subscriptions.change, shop.provider, member_id, its.subscription_no, plan="family", interval="MONTH")
    await shop.pass_time(2 * DAY)
    assert await benefits(shop, member_id) == ("free-delivery", "plus-bonus")
    assert (await shop.invoices())[1][1] == "VOID"
    assert await shop.status(its) == "ACTIVE"


async def test_who_leaves_keeps_everything_until_the_end_and_may_stay(shop: Club) -> None:
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    end = START + timedelta(days=31)
    seen = await shop.do(subscriptions.preview_cancellation, member_id, its.subscription_no, at_once=False)
    assert (seen.takes_effect_at, seen.kept_until, seen.credit_minor) == (end, end, 0)
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=False)
    assert await shop.status(its) == "CANCELLING"
    await shop.do(subscriptions.stay, member_id, its.subscription_no)
    assert await shop.status(its) == "ACTIVE"
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=False)
    await shop.pass_time(end - timedelta(seconds=1))
    assert await benefits(shop, member_id) != ()
    assert shop.told == []  # nothing is renewed, nothing announced
    await shop.pass_time(timedelta(seconds=1))
    assert await shop.status(its) == "ENDED"
    assert await benefits(shop, member_id) == ()
    assert len(await shop.invoices()) == 1


async def test_a_trial_is_had_once_by_a_person_and_by_a_card(shop: Club) -> None:
    member_id, other = await shop.person(), await shop.person()
    for one in (member_id, other):
        await shop.do(subscriptions.give_means, shop.provider, one, token=f"t{one}", mark="same card", text_version="1")
    its = await shop.subscribe(member_id, wants_trial=True)
    assert await shop.status(its) == "TRIALING"
    assert await benefits(shop, member_id) != ()
    before = await facts(shop)
    with pytest.raises(subscriptions.TrialUsed):
        await shop.subscribe(other, wants_trial=True)
    with pytest.raises(subscriptions.SubscriptionExists):
        await shop.subscribe(member_id)
    assert await facts(shop) == before
    await shop.pass_time(14 * DAY)
    assert await shop.status(its) == "ACTIVE"
    assert await shop.invoices() == [(1, "PAID", 1000)]
    await shop.do(subscriptions.cancel, member_id, its.subscription_no, at_once=True)
    with pytest.raises(subscriptions.TrialUsed):
        await shop.subscribe(member_id, wants_trial=True)


async def test_a_seat_counts_when_it_is_taken_and_is_free_again_after_thirty_days(shop: Club) -> None:
    owner, guest, other, third = [await shop.person() for _ in range(4)]
    its = await shop.subscribe(owner, "family")
    await shop.pass_time(timedelta(0))
    number = its.subscription_no
    await shop.do(seats.invite, owner, number, member_id=guest)
    assert await benefits(shop, guest) == ()
    await shop.do(seats.accept, guest, number)
    await shop.do(seats.accept, guest, number)
    assert await benefits(shop, guest) == ("family-bonus", "free-delivery")
    await shop.do(seats.invite, owner, number, member_id=other)
    before = await facts(shop)
    with pytest.raises(seats.SeatsTaken):
        await shop.do(seats.invite, owner, number, member_id=third)
    with pytest.raises(seats.SeatUnknown):
        await shop.do(seats.accept, third, number)
    assert await facts(shop) == before
    await shop.do(seats.remove, owner, number, member_id=guest)
    assert await benefits(shop, guest) == ()
    with pytest.raises(seats.SeatsTaken):
        await shop.do(seats.invite, owner, number, member_id=third)
    shop.at += seats.FREE_AFTER
    await shop.do(seats.invite, owner, number, member_id=third)


async def test_a_receipt_says_what_the_invoice_says_once_and_a_large_one_takes_two_people(desk: Club) -> None:
    member_id = await desk.person()
    await desk.subscribe(member_id)
    before = await facts(desk)
    with pytest.raises(PaymentMismatch):
        await desk.receive(1, 999)
    with pytest.raises(ReceiptNeedsTwo):
        await desk.receive(1, charging.TWO_PEOPLE_ABOVE_MINOR + 1)
    assert await facts(desk) == before
    await desk.receive(1)
    paid = await facts(desk)
    await desk.receive(1)
    with pytest.raises(InvoiceNotOpen):
        await desk.receive(1, reference="again")
    assert await facts(desk) == paid


async def test_a_use_is_told_once_and_only_by_who_is_entitled(shop: Club) -> None:
    from uuid import uuid4

    from members.subscription.entitlements import NotEntitled, Use

    member_id = await shop.person()
    await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    key, use = uuid4(), Use(member_id, "free-delivery", 1, shop.at, people_partner := 7)
    assert await shop.do(entitlements.report_use, use, key=key)
    assert not await shop.do(entitlements.report_use, use, key=key)
    before = await facts(shop)
    other = Use(member_id, "free-delivery", 2, shop.at, people_partner)
    assert await shop.do(entitlements.report_use, other, key=key) is None
    with pytest.raises(NotEntitled):
        await shop.do(entitlements.report_use, Use(member_id, "family-bonus", 1, shop.at, people_partner), key=uuid4())
    assert await facts(shop) == before


async def test_a_payment_that_a_bank_takes_back_ends_it(shop: Club) -> None:
    member_id = await shop.person()
    its = await shop.subscribe(member_id)
    await shop.pass_time(timedelta(0))
    [key] = shop.provider.charged  # type: ignore[attr-defined]
    shop.at += 10 * DAY
    for _ in range(2):
        await shop.do(charging.hear, shop.provider, [Told(key, "CHARGEBACK", f"pay-{key}")])
    assert await shop.status(its) == "ENDED"
    assert await benefits(shop, member_id) == ()
    row = await shop.database.pool.fetchrow("SELECT net_minor, tax_minor, lost_minor FROM members.credit_note")
    assert (row["net_minor"] + row["tax_minor"] + row["lost_minor"], row["net_minor"]) == (1000, 672)
