"""The worked entries of the design (settlement §3.4), each posted through the product and compared to the micro-unit.

Prices: issue 0.0100 = 0.0085 fund + 0.0015 service, reimbursement 0.0080, EUR. Dr is positive, Cr negative.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from kit.amounts import allocate
from settlement import breakage
from settlement.breakage import Cohort, Estimate
from settlement.money import entries, events, journal, presentation
from settlement.money.events import MoneyEvent
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books, micro


async def test_1_and_2_nothing_is_owed_for_pending_points_and_the_issue_price_at_activation(books: Books) -> None:
    await books.partner("a", return_window_days=14)
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.close(after=1)
    assert await books.balances() == {}
    await books.close(after=15)
    assert await books.moved({}) == {"1200.a": "10", "2100.a": "-8.5", "2110.a": "-1.5"}


async def test_3_a_redemption_releases_the_fund_pays_the_redeemer_and_leaves_the_spread(books: Books) -> None:
    await books.partner("a")
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.close(after=1)
    before = await books.balances()
    await books.spend(card, 600, "b", after=2)
    await books.close(after=3)
    assert await books.moved(before) == {"2100.a": "5.1", "1200.b": "-4.8", "4120": "-0.3"}


async def test_3_shown_gross_has_the_same_positions_and_the_whole_revenue_and_cost(books: Books) -> None:
    await books.partner("a")
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.spend(card, 600, "b")
    await books.close(after=1)
    async with books.database.reading() as connection:
        booked = await journal.booking_of(connection, "cutoff:1")
        assert booked is not None
        found = await journal.entries_of(connection, booked.booking_id)
    [redemption] = [entry for entry in found if entry.kind == "REDEMPTION"]
    shown = presentation.gross(redemption)
    assert {p.account: p.amount_micro for p in shown.postings} == {
        "2100": micro("5.10"), "1200": -micro("4.80"), "4110": -micro("5.10"), "5100": micro("4.80"),
    }  # fmt: skip
    assert entries.checked(shown) == shown
    assert presentation.gross(found[0]) == found[0]


async def test_3_a_reimbursement_above_the_fund_is_a_loss_that_is_said(books: Books) -> None:
    await books.partner("a")
    await books.partner("b", reimbursement_price_micro=9_000)
    card = await books.member()
    await books.earn(card, 600, "a")
    await books.close(after=1)
    before = await books.balances()
    await books.spend(card, 600, "b", after=2)
    await books.close(after=3)
    assert await books.moved(before) == {"2100.a": "5.1", "1200.b": "-5.4", "4120": "0.3"}


async def test_3b_and_4b_breakage_is_expected_by_what_was_redeemed_and_taken_back_when_nothing_is_left(
    books: Books,
) -> None:
    await books.partner("a")
    await books.partner("b")
    await books.partner("c")
    # Points of c, issued in January: of 1,000 the first month redeemed 600, the second 250, nobody the rest.
    old = await books.member()
    await books.earn(old, 1_000, "c", after=-40)
    await books.spend(old, 600, "b", after=-39)
    await books.spend(old, 250, "b", after=-15)
    card = await books.member()
    bought = await books.earn(card, 1_000, "a")
    await books.spend(card, 600, "b", after=1)
    await books.close(after=2)
    before = await books.balances()
    async with books.database.transaction() as connection:
        run = await breakage.estimate(connection, as_of=NOON + 3 * DAY, actor="fina", at=NOON + 3 * DAY)
    assert [(one.cohort.funder_id, one.urr_ppm) for one in run.estimates] == [
        (books.id_of("a"), 850_000),
        (books.id_of("c"), 850_000),
    ]
    assert await books.moved(before) == {
        "2105.a": "0.9", "4200E.a": "-0.9", "2105.c": "1.275", "4200E.c": "-1.275",
    }  # fmt: skip
    assert await books.violations() == []

    before = await books.balances()
    await books.take_back(bought, "a", amount_minor=50_000, after=4)
    await books.close(after=5)
    assert await books.moved(before) == {"2100.a": "3.4", "2110.a": "0.6", "1200.a": "-4"}
    before = await books.balances()
    async with books.database.transaction() as connection:
        again = await breakage.estimate(connection, as_of=NOON + 6 * DAY, actor="fina", at=NOON + 6 * DAY)
    assert again.breakage_run_id == run.breakage_run_id + 1
    moved = await books.moved(before)
    assert (moved["2105.a"], moved["4200E.a"]) == ("-0.9", "0.9")


async def test_4_and_4c_what_is_still_there_is_taken_back_and_the_rest_is_said_at_nothing(books: Books) -> None:
    await books.partner("a")
    await books.partner("b")
    card = await books.member()
    bought = await books.earn(card, 1_000, "a")
    await books.spend(card, 600, "b")
    await books.close(after=1)
    before = await books.balances()
    done = await books.take_back(bought, "a", amount_minor=50_000, after=2)
    assert (done.taken_points, done.unrecovered_points) == (400, 100)
    await books.close(after=3)
    assert await books.moved(before) == {"2100.a": "3.4", "2110.a": "0.6", "1200.a": "-4"}


async def test_4d_and_4e_a_member_owes_the_fund_and_later_points_repay_it(books: Books) -> None:
    await books.partner("a", return_policy="MEMBER_DEBT")
    await books.partner("b")
    await books.partner("c")
    card = await books.member()
    bought = await books.earn(card, 100, "a")
    await books.spend(card, 100, "b")
    await books.close(after=1)
    before = await books.balances()
    await books.take_back(bought, "a", after=2)
    await books.close(after=3)
    assert await books.moved(before) == {"1260.a": "0.85", "2110.a": "0.15", "1200.a": "-1"}
    before = await books.balances()
    await books.earn(card, 100, "c", after=4)
    await books.close(after=5)
    assert await books.moved(before) == {"1200.c": "1", "2110.c": "-0.15", "1260.a": "-0.85"}


async def test_4e_a_difference_of_prices_between_lots_is_said(books: Books) -> None:
    await books.partner("a", return_policy="MEMBER_DEBT")
    await books.partner("b")
    await books.partner("c", fund_price_micro=9_000, service_price_micro=1_000)
    card = await books.member()
    bought = await books.earn(card, 100, "a")
    await books.spend(card, 100, "b")
    await books.take_back(bought, "a", after=1)
    await books.close(after=2)
    before = await books.balances()
    await books.earn(card, 100, "c", after=3)
    await books.close(after=4)
    assert await books.moved(before) == {"1200.c": "1", "2110.c": "-0.1", "1260.a": "-0.85", "4190": "-0.05"}


async def test_5_what_expires_is_shared_as_agreed(books: Books) -> None:
    await books.partner("a", breakage_share_bp=5_000, expiry_months=1)
    card = await books.member()
    await books.earn(card, 200, "a")
    await books.close(after=1)
    before = await books.balances()
    await books.close(after=40)
    assert await books.moved(before) == {"2100.a": "1.7", "4200.a": "-0.85", "1200.a": "-0.85"}


async def test_5_where_it_was_expected_the_estimate_goes_and_the_fact_stays(books: Books) -> None:
    await books.partner("a", breakage_share_bp=5_000, expiry_months=1)
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.spend(card, 800, "b", after=1)
    await books.close(after=2)
    before = await books.balances()
    async with books.database.transaction() as connection:
        await breakage.estimate(connection, as_of=NOON + 3 * DAY, actor="fina", at=NOON + 3 * DAY)
    assert await books.moved(before) == {"2105.a": "0.85", "4200E.a": "-0.85"}
    await books.close(after=40)
    async with books.database.transaction() as connection:
        await breakage.estimate(connection, as_of=NOON + 41 * DAY, actor="fina", at=NOON + 41 * DAY)
    # Over the cohort's life: Dr 2100 1.70 / Cr 4200 0.85, Cr 1200.a 0.85, and nothing of the estimate.
    assert await books.moved(before) == {"2100.a": "1.7", "4200.a": "-0.85", "1200.a": "-0.85"}


async def test_6_a_gift_between_members_is_no_affair_of_settlements(books: Books) -> None:
    await books.partner("a")
    giver, taker = await books.member(), await books.member()
    await books.earn(giver, 1_000, "a")
    await books.close(after=1)
    before = await books.balances()
    await books.gift(giver, taker, 100, after=2)
    await books.close(after=3)
    assert await books.moved(before) == {}


async def test_6b_a_gift_of_the_operators_is_its_expense(books: Books) -> None:
    await books.partner("a")
    card = await books.member()
    await books.adjust(card, 50, "a")
    await books.close(after=1)
    assert await books.moved({}) == {"5200": "0.425", "2100.operator": "-0.425"}


async def test_6b_an_issuer_whose_points_the_operator_pays(books: Books) -> None:
    await books.partner("a", funding="OPERATOR", service_price_micro=0)
    await books.partner("b")
    card = await books.member()
    bought = await books.earn(card, 50, "a")
    await books.spend(card, 20, "b")
    await books.close(after=1)
    assert await books.moved({}) == {
        "5200": "0.425", "2100.operator": "-0.255", "1200.b": "-0.16", "4120": "-0.01",
    }  # fmt: skip
    before = await books.balances()
    await books.take_back(bought, "a", after=2)
    await books.close(after=3)
    assert await books.moved(before) == {"5200": "-0.255", "2100.operator": "0.255"}


async def test_7_a_plan_is_paid_recognised_by_the_day_and_its_benefits_cost_at_the_end_of_the_month(
    books: Books,
) -> None:
    for code in ("v", "b", "c"):
        await books.partner(code)
    paid = MoneyEvent("SUBSCRIPTION_PAID", 0, 0, "EUR", micro("10"), tax_micro=micro("2"), tax_rule="RO_2026")
    await books.post("subscription:1/2026-03", paid)
    assert await books.moved({}) == {"1110": "12", "2400": "-10", "2500": "-2"}
    days = allocate(micro("10"), [1] * 31)
    before = await books.balances()
    for day, amount in enumerate(days):
        await books.post(f"subscription-day:{day}", MoneyEvent("SUBSCRIPTION_EARNED", 0, 0, "EUR", amount), after=day)
    assert await books.moved(before) == {"2400": "10", "4300": "-10"}
    before = await books.balances()
    benefits = [
        MoneyEvent("BENEFIT", 0, books.id_of(code), "EUR", micro(amount))
        for code, amount in (("v", "2"), ("b", "3.60"), ("c", "2.40"))
    ]
    await books.post("benefits:2026-03", *benefits, after=31)
    assert await books.moved(before) == {"5300": "8", "1200.v": "-2", "1200.b": "-3.6", "1200.c": "-2.4"}
    [net_of_v, *_] = presentation.net(entries.of_events(benefits))
    assert {p.account for p in net_of_v.postings} == {"4300", "1200"}


async def test_8_points_that_two_pay_for_are_a_lot_of_each(books: Books) -> None:
    await books.partner("a")
    await books.partner("d")
    card = await books.member()
    await books.grant(card, [("a", await books.terms_of("a"), 600), ("d", await books.terms_of("d"), 400)])
    await books.close(after=1)
    assert await books.moved({}) == {
        "1200.a": "6", "1200.d": "4", "2100.a": "-5.1", "2100.d": "-3.4", "2110.a": "-0.9", "2110.d": "-0.6",
    }  # fmt: skip


async def test_9_a_dispute_waits_outside_the_net_and_is_resolved(books: Books) -> None:
    a = await books.partner("a")
    await books.post("dispute:1/withheld", MoneyEvent("DISPUTE_WITHHELD", a, 0, "EUR", micro("2")))
    assert await books.moved({}) == {"1250.a": "2", "1200.a": "-2"}
    before = await books.balances()
    await books.post(
        "dispute:1/closed",
        MoneyEvent("DISPUTE_UPHELD", a, 0, "EUR", micro("1.40")),
        MoneyEvent("DISPUTE_CONCEDED", a, 0, "EUR", micro("0.60")),
    )
    assert await books.moved(before) == {"1200.a": "1.4", "4190": "0.6", "1250.a": "-2"}


async def test_10_the_platform_fee_and_what_is_missing_of_the_minimum(books: Books) -> None:
    a = await books.partner("a")
    await books.post(
        "run:1/fees",
        MoneyEvent("PLATFORM_FEE", a, 0, "EUR", micro("50")),
        MoneyEvent("MINIMUM_FEE", a, 0, "EUR", micro("8.50")),
    )
    assert await books.moved({}) == {"1200.a": "58.5", "4100": "-50", "4130": "-8.5"}


async def test_11_to_13_money_comes_in_goes_out_and_is_ring_fenced(books: Books) -> None:
    a, b = await books.partner("a"), await books.partner("b")
    await books.post("bank:1", MoneyEvent("PAY_IN", a, 0, "EUR", micro("71.05")))
    assert await books.moved({}) == {"1110": "71.05", "1200.a": "-71.05"}
    before = await books.balances()
    await books.post("leg:2/instructed", MoneyEvent("PAY_OUT", 0, b, "EUR", micro("9.20")))
    assert await books.moved(before) == {"1200.b": "9.2", "1410": "-9.2"}
    await books.post("leg:2/booked", MoneyEvent("PAY_OUT_BOOKED", 0, b, "EUR", micro("9.20")))
    assert await books.moved(before) == {"1200.b": "9.2", "1110": "-9.2"}
    before = await books.balances()
    await books.post("ring-fence:1", MoneyEvent("RING_FENCE", 0, 0, "EUR", micro("9.775")))
    assert await books.moved(before) == {"1120": "9.775", "1110": "-9.775"}


async def test_14_a_default_takes_what_was_deposited_what_was_held_back_and_then_the_loss(books: Books) -> None:
    a = await books.partner("a")
    await books.post("bank:1", MoneyEvent("DEPOSIT", a, 0, "EUR", micro("6")))
    await books.post("run:1/holdback", MoneyEvent("HOLDBACK", 0, a, "EUR", micro("3")))
    before = await books.balances()
    await books.post(
        "default:1",
        MoneyEvent("DEPOSIT_USED", a, 0, "EUR", micro("6")),
        MoneyEvent("HOLDBACK_USED", a, 0, "EUR", micro("3")),
        MoneyEvent("DEFAULT_LOSS", a, 0, "EUR", micro("1")),
    )
    assert await books.moved(before) == {"2300.a": "6", "2310.a": "3", "5400": "1", "1200.a": "-10"}


async def test_15_points_paid_at_redemption_cost_their_issuer_then(books: Books) -> None:
    await books.partner("a", funding="AT_BURN", service_price_micro=0)
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 300, "a")
    await books.close(after=1)
    assert await books.balances() == {}
    before = await books.balances()
    reward = await books.spend(card, 100, "b", after=2)
    await books.close(after=3)
    assert await books.moved(before) == {"1200.a": "0.85", "1200.b": "-0.8", "4120": "-0.05"}
    await books.take_back(reward, "b", after=4)
    await books.close(after=5)
    assert await books.moved(before) == {}


async def test_15_a_part_at_once_and_the_rest_at_redemption(books: Books) -> None:
    await books.partner("a", funding="HYBRID", hybrid_fund_micro=3_500, breakage_share_bp=2_000, expiry_months=1)
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 300, "a")
    await books.close(after=1)
    assert await books.moved({}) == {"1200.a": "1.5", "2100.a": "-1.05", "2110.a": "-0.45"}
    before = await books.balances()
    await books.spend(card, 100, "b", after=2)
    await books.close(after=3)
    assert await books.moved(before) == {"2100.a": "0.35", "1200.a": "0.5", "1200.b": "-0.8", "4120": "-0.05"}
    before = await books.balances()
    await books.close(after=40)
    assert await books.moved(before) == {"2100.a": "0.7", "4200.a": "-0.56", "1200.a": "-0.14"}


async def test_15_points_that_whoever_takes_them_gives_away_move_no_money_but_the_fee(books: Books) -> None:
    await books.partner("a", funding="REDEEMER", fund_price_micro=0)
    await books.partner("b")
    card = await books.member()
    await books.earn(card, 300, "a")
    await books.spend(card, 100, "b")
    await books.close(after=1)
    assert await books.moved({}) == {"1200.a": "0.45", "2110.a": "-0.45"}


async def test_the_whole_story_at_the_end_2100_is_what_is_left_at_the_fund_price(books: Books) -> None:
    """The design's run: issued 2,050, redeemed 700, expired 200, left 1,150; 2100 is 9.775 exactly."""
    await books.partner("a", expiry_months=12)
    await books.partner("b")
    m, n = await books.member(), await books.member()
    await books.earn(m, 1_000, "a")
    await books.spend(m, 600, "b")
    await books.gift(m, n, 100)
    await books.adjust(n, 50, "a")
    await books.grant(m, [("a", await books.terms_of("a"), 1_000)])
    await books.spend(m, 100, "b")
    await books.close(after=1)
    now = await books.balances()
    assert now["2100.a"] + now["2100.operator"] == -micro("11.475")  # 1,350 left
    await books.close(after=366 + 30)
    assert sum((await books.balances()).values()) == 0


@pytest.mark.parametrize(("kind", "changes"), [("PLATFORM_FEE", {"payer_id": 0}), ("PAY_IN", {"tax_micro": 1})])
def test_an_event_that_no_account_can_take_is_not_booked(kind: str, changes: dict[str, int]) -> None:
    given = {"payer_id": 1, "payee_id": 0, **changes}
    with pytest.raises(entries.Unbalanced):
        entries.of_event(MoneyEvent(kind, currency="EUR", amount_micro=5, **given))
    with pytest.raises(events.KindUnknown):
        entries.of_event(MoneyEvent("CHEQUE", 1, 0, "EUR", 5))


def test_3b_the_share_is_that_of_the_design() -> None:
    cohort = Cohort(1, 1, NOON.date().replace(day=1), 1_000, (600,), 0)
    expected = breakage.expected_micro(cohort, urr_ppm=850_000, price_micro=8_500)
    assert expected == 900_000 == round(Fraction(8_500_000 * 600, 850) - 5_100_000)
    [entry] = breakage.change([Estimate(cohort, "EUR", 850_000, expected)], {})
    assert {p.account: p.amount_micro for p in entry.postings} == {"2105": 900_000, "4200E": -900_000}
