"""Finance reads and does in its own name what concerns fees: receipts, arrears, what goes back, recognition, months."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.subscription import renewals
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members.subscription import due_work, plans, subscriptions
from members.subscription.providers import MANUAL
from members.subscription.subscriptions import Wish
from tests import builders
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import script_of
from tests.gateway.desk import SENDER
from tests.gateway.finance.test_settlement_api import House
from tests.gateway.subscribing import open_plans
from tests.gateway.test_session_matrix import colleague

PEOPLE = {"mila": [actors.FINANCE_MAKER], "chen": [actors.FINANCE_CHECKER]}
PAID = """... on RecordSubscriptionReceiptSuccess { replayed proposal invoice {
  invoice { number state } member payments { reference evidence recordedBy proposal isSurplus amount { amount } } } }"""
DONE = "... on FinanceSuccess { replayed }"
ARREARS = """query($step: String, $first: Int = 20, $after: String) {
  subscriptionArrears(step: $step, first: $first, after: $after) { pageInfo { hasNextPage endCursor } nodes {
    number member plan step since waitsFor tries lastOutcome nextTryAt overAt amount { amount }
    letters { kind messageId acceptedAt outcome } } } }"""
TOTALS = "{ subscriptionArrearsTotals { currencyCode step invoices amount { amount } } }"
NOTES = "query($k: String) { subscriptionCreditNotes(kind: $k) { nodes { number invoice kind lost { amount } net { amount } path } } }"
REFUNDS = "query($d: Boolean) { subscriptionRefunds(done: $d) { nodes { number invoice reason amount { amount } doneAt recordedBy reference } } }"
STANDINGS = """query($d: Date) { feeStandings(asOf: $d) { currencyCode asOf bookedThrough deferred { amount } booked { amount }
  amounts { received { amount } recognised { amount } credited { amount } lost { amount } refunded { amount } } } }"""
RECOGNITION = """query($by: String! = "MONTH", $first: Int = 20, $after: String, $since: Date, $until: Date) {
  feeRecognition(currencyCode: "EUR", by: $by, first: $first, after: $after, since: $since, until: $until) {
    pageInfo { hasNextPage endCursor } nodes { since until deferred { amount } amounts { recognised { amount } } } } }"""
MONTHS = """{ feeMonths(first: 1) { nodes { month poolExact operatorExact chargingExact closedBy
  shares { partner benefit amountExact methods { method amountExact } } } } }"""


@pytest.fixture
async def house(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[House]:
    coalition = await builders.found(database, vault)
    for code, policy in (("cafe", "DATED_CORRECTION"), ("bakery", "OPERATOR_BEARS")):
        await coalition.add_partner(code, return_window_days=0, fee_return_policy=policy)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        for name, roles in PEOPLE.items():
            await desk.invite(name, f"{name}@example.org", roles)
        await colleague(desk, "cafe", "fee", "fee@example.org", "FINANCE")
        async with database.transaction() as connection:
            await open_plans(connection)
            await plans.publish_price(
                connection, plan="family", currency="EUR", interval="YEAR", amount_minor=73_000,
                valid_from=desk.wall(), actor="marketer", at=desk.wall(),
            )  # fmt: skip
        found = House(desk, {})
        await signed_in(found)
        yield found
    await coalition.desk.close()


async def subscribed(house: House, plan: str, interval: Any) -> int:
    """A member with an address who took a plan now; the number of the member."""
    card = await house.desk.coalition.add_member(email=f"{stand.key()}@example.org")
    async with house.database.transaction() as connection:
        wish = Wish(card.member_id, plan, "EUR", interval, "UTC")
        await subscriptions.subscribe(connection, MANUAL, wish, at=house.desk.wall())
    return card.member_id


async def signed_in(house: House) -> None:
    """Everybody proves who they are."""
    for name in PEOPLE:
        browser = await house.desk.signed_in(f"{name}@example.org", "/staff")
        house.people[name] = await script_of(browser, "/staff")
    house.people["fee"] = await script_of(await house.desk.signed_in("fee@example.org", "/portal"), "/portal")


async def later(house: House, **by: float) -> None:
    """Time passes, and what is due of subscriptions is done, with letters. Finance proves anew who it is."""
    house.desk.wall.move(**by)
    await house.desk.at_wall()
    vault = house.desk.vault
    await due_work.advance(
        house.database, {MANUAL.name: MANUAL}, renewals.announcing(vault, SENDER), to=house.desk.wall(),
        remind=renewals.reminding(vault, SENDER),
    )  # fmt: skip
    await signed_in(house)


async def test_receipts_have_evidence_and_two_people_above_a_limit_and_what_is_owed_is_seen_with_its_letters(
    house: House,
) -> None:
    await house.desk.at_wall()
    ada, rich = await subscribed(house, "plus", "MONTH"), await subscribed(house, "family", "YEAR")
    said = {"reference": "bank-1", "evidence": "statement 7, line 3"}
    wrong = [{"invoice": 1, "amount": "9.99"}, {"invoice": 1, "amount": "1.005"}]
    for each in wrong:
        assert await house.refused("mila", "recordSubscriptionReceipt", **said, **each) == "PAYMENT_MISMATCH"
    assert await house.refused("mila", "recordSubscriptionReceipt", **said, invoice=99, amount="1") == "INVOICE_UNKNOWN"
    bare = said | {"evidence": " "}
    assert (
        await house.refused("mila", "recordSubscriptionReceipt", **bare, invoice=1, amount="10") == "PAYMENT_MISMATCH"
    )
    key = stand.key()
    for replayed in (False, True):
        told = await house.act("mila", "recordSubscriptionReceipt", PAID, key, invoice=1, amount="10.00", **said)
        assert (told["replayed"], told["proposal"], told["invoice"]["invoice"]["state"]) == (replayed, None, "PAID")
    assert told["invoice"]["payments"] == [
        {**said, "recordedBy": "mila", "proposal": None, "isSurplus": False, "amount": {"amount": "10.00"}}
    ]
    large = {"invoice": 2, "amount": "730.00", "reference": "bank-2", "evidence": "statement 8"}
    asked = await house.act("mila", "recordSubscriptionReceipt", PAID, **large)
    assert asked["invoice"]["invoice"]["state"] == "OPEN"
    listed = await house.chen.ask("{ financeProposals { nodes { number kind maker facts { name value } } } }")
    [waiting] = listed["nodes"]
    assert (waiting["number"], waiting["kind"], waiting["maker"]) == (asked["proposal"], "FEE_RECEIPT", "mila")
    assert {each["name"]: each["value"] for each in waiting["facts"]} == {
        "invoice": "2", "currency": "EUR", "amount": "730.00 EUR", "reference": "bank-2", "evidence": "statement 8"
    }  # fmt: skip
    assert (await house.decided(asked["proposal"])) == {"__typename": "FinanceSuccess", "replayed": False}
    seen = "{ subscriptionInvoice(number: 2) { invoice { state } payments { proposal recordedBy } } }"
    assert await house.chen.ask(seen) == {
        "invoice": {"state": "PAID"}, "payments": [{"proposal": asked["proposal"], "recordedBy": "chen"}],
    }  # fmt: skip

    await later(house, days=31 + 8)  # the next month of the first is not paid
    due = (await house.mila.ask(ARREARS))["nodes"]
    assert [
        (one["number"], one["member"], one["plan"], one["step"], one["waitsFor"], one["amount"]) for one in due
    ] == [("3", ada, "plus", "ON_HOLD", "MONEY", {"amount": "10.00"})]
    assert (due[0]["tries"], due[0]["nextTryAt"], rich != ada) == (0, None, True)
    assert [one["kind"] for one in due[0]["letters"]] == ["RENEWAL", "UNPAID", "ON_HOLD"]
    assert all(one["messageId"] for one in due[0]["letters"])
    await subscribed(house, "plus", "MONTH")
    assert [one["step"] for one in (await house.mila.ask(ARREARS))["nodes"]] == ["ON_HOLD", "FIRST_PAYMENT"]
    page = await house.mila.ask(ARREARS, first=1)
    rest = await house.mila.ask(ARREARS, first=1, after=page["pageInfo"]["endCursor"])
    assert [page["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]] == [True, False]
    assert rest["nodes"][0]["step"] == "FIRST_PAYMENT"
    assert (await house.mila.ask(ARREARS, step="GRACE"))["nodes"] == []
    assert (await house.mila.error(ARREARS, step="LATE"))["code"] == "BAD_USER_INPUT"
    assert await house.mila.ask(TOTALS) == [
        {"currencyCode": "EUR", "step": step, "invoices": 1, "amount": {"amount": "10.00"}}
        for step in ("FIRST_PAYMENT", "ON_HOLD")
    ]
    filtered = 'query($s: String) { subscriptionInvoices(state: $s, currencyCode: "EUR") { nodes { number } } }'
    assert [one["number"] for one in (await house.mila.ask(filtered, s="PAID"))["nodes"]] == ["2", "1"]
    assert (await house.fee.error(ARREARS))["code"] == "FORBIDDEN"
    bodies = [body for _, body in await house.desk.letters() if "€10.00" in body]
    assert len(bodies) == 3  # announced, not paid, on hold


async def test_what_goes_back_is_recorded_and_what_is_deferred_and_recognised_is_read_of_any_day(house: House) -> None:
    await house.desk.at_wall()
    ada = await subscribed(house, "family", "YEAR")
    ben = await subscribed(house, "plus", "MONTH")
    for number, amount in ((1, "730.00"), (2, "10.00")):
        told = await house.act(
            "mila", "recordSubscriptionReceipt", PAID, invoice=number, amount=amount, reference=f"bank-{number}",
            evidence="statement 1",
        )  # fmt: skip
    waiting = (await house.chen.ask("{ financeProposals { nodes { number } } }"))["nodes"]
    assert (await house.decided(waiting[0]["number"]))["replayed"] is False
    rules = {
        "currencyCode": "EUR", "validFrom": "2026-03-01", "method": "FIXED", "operatorBp": 1000,
        "weights": [{"partner": "cafe", "weight": 1}, {"partner": "bakery", "weight": 2}],
    }  # fmt: skip
    unknown = rules | {"weights": [{"partner": "nobody", "weight": 1}]}
    assert await house.refused("mila", "proposeFeeRules", **unknown) == "PARTNER_UNKNOWN"
    assert await house.refused("mila", "proposeFeeRules", **rules | {"method": "LUCK"}) == "FEE_RULES_INVALID"
    proposal = await house.proposed("mila", "proposeFeeRules", **rules)
    assert await house.refused("mila", "closeFeeMonth", month="2026-03-01", currencyCode="EUR") == "FEE_MONTH_OPEN"
    assert (await house.decided(proposal))["replayed"] is False
    await later(house, days=10)
    # Ten days after the second of March: a bank takes Ben's month back, Ada leaves at once.
    assert await house.refused("mila", "recordSubscriptionChargeback", invoice=2, reference="") == "PAYMENT_MISMATCH"
    key = stand.key()
    for replayed in (False, True):
        back = await house.act("mila", "recordSubscriptionChargeback", DONE, key, invoice=2, reference="r-1")
        assert back["replayed"] is replayed
    assert await house.refused("mila", "recordSubscriptionChargeback", invoice=99, reference="r") == "INVOICE_UNKNOWN"
    async with house.database.transaction() as connection:
        [its] = await subscriptions.of_member(connection, ada)
        await subscriptions.cancel(connection, ada, its.subscription_no, at_once=True, at=house.desk.wall())
        [gone] = await subscriptions.of_member(connection, ben)
    assert gone.status(house.desk.wall()) == "ENDED"
    assert await house.refused("mila", "recordSubscriptionChargeback", invoice=1, reference="r") == "INVOICE_NOT_PAID"
    notes = (await house.chen.ask(NOTES))["nodes"]
    assert [(one["number"], one["invoice"], one["kind"]) for one in notes] == [
        ("2", "1", "UNSERVED"), ("1", "2", "CHARGEBACK"),
    ]  # fmt: skip
    assert [one["number"] for one in (await house.chen.ask(NOTES, k="CHARGEBACK"))["nodes"]] == ["1"]
    [owed] = (await house.mila.ask(REFUNDS, d=False))["nodes"]
    # 730.00 over 365 days: ten days are served. 10.00 over 31: ten days of 0.32, and a cent more on the first eight.
    assert (owed["invoice"], owed["amount"], owed["reason"]) == ("1", {"amount": "710.00"}, "CREDIT_NOTE")
    paid = {"refund": owed["number"], "reference": "bank-9"}
    assert await house.refused("mila", "recordSubscriptionRefund", **paid | {"reference": " "}) == "PAYMENT_MISMATCH"
    assert (await house.act("mila", "recordSubscriptionRefund", DONE, **paid))["replayed"] is False
    assert (await house.mila.ask(REFUNDS, d=False))["nodes"] == []
    [went] = (await house.mila.ask(REFUNDS, d=True))["nodes"]
    assert (went["recordedBy"], went["reference"]) == ("mila", "bank-9")

    await later(house, days=21)
    [before] = await house.mila.ask(STANDINGS, d="2026-03-06")
    assert (before["amounts"]["recognised"], before["deferred"]) == (
        {"amount": "11.65"}, {"amount": "728.35"},  # five days of 2.00 and 0.33
    )  # fmt: skip
    [after] = await house.mila.ask(STANDINGS, d="2026-03-31")
    served = {"amount": "23.28"}
    assert (after["amounts"]["recognised"], after["deferred"]) == (served, {"amount": "0.00"})
    assert (after["amounts"]["refunded"], after["amounts"]["lost"]) == ({"amount": "710.00"}, {"amount": "3.28"})
    assert (after["booked"], after["bookedThrough"]) == ({"amount": "0.00"}, None)
    days = await house.mila.ask(RECOGNITION, by="DAY", first=2, since="2026-03-02")
    more = await house.mila.ask(
        RECOGNITION, by="DAY", first=2, since="2026-03-02", after=days["pageInfo"]["endCursor"]
    )  # fmt: skip
    assert [one["since"] for one in (*days["nodes"], *more["nodes"])] == [f"2026-03-0{n}" for n in (2, 3, 4, 5)]
    assert {one["amounts"]["recognised"]["amount"] for one in days["nodes"]} == {"2.33"}
    [march] = (await house.mila.ask(RECOGNITION, until="2026-04-01"))["nodes"]
    assert (march["since"], march["until"], march["amounts"]["recognised"]) == ("2026-03-01", "2026-04-01", served)
    assert (await house.mila.error(STANDINGS, d="0001-01-01"))["code"] == "BAD_USER_INPUT"

    closing = "... on CloseFeeMonthSuccess { replayed month { month poolExact } }"
    closed = await house.act("mila", "closeFeeMonth", closing, month="2026-03-01", currencyCode="EUR")
    assert closed["month"] == {"month": "2026-03-01", "poolExact": "23.280000"}
    [after] = await house.mila.ask(STANDINGS, d="2026-03-31")
    assert (after["booked"], after["bookedThrough"]) == (served, "2026-03-01")
    [shared] = (await house.chen.ask(MONTHS))["nodes"]
    assert (shared["operatorExact"], shared["closedBy"]) == ("2.328000", "mila")
    given = {one["partner"]: one["amountExact"] for one in shared["shares"]}
    assert given == {"bakery": "13.968000", "cafe": "6.984000"}
    [version] = await house.chen.ask("{ feeRules { version method weights { partner weight } } }")
    assert version["weights"] == [{"partner": "cafe", "weight": 1}, {"partner": "bakery", "weight": 2}]
    [own] = await house.fee.ask("{ feeShares { partner amountExact methods { method amountExact } } }")
    assert (own["partner"], own["amountExact"]) == ("cafe", "6.984000")
    assert {one["method"]: one["amountExact"] for one in own["methods"]} == {
        "USER_CENTRIC": "0.000000", "PRO_RATA": "0.000000", "SHAPLEY": "0.000000", "FIXED": "6.984000"
    }  # fmt: skip  # nobody bought anything
    for query in (NOTES, REFUNDS, STANDINGS, RECOGNITION, MONTHS, "{ feeRules { version } }"):
        assert (await house.fee.error(query))["code"] == "FORBIDDEN"
    assert datetime(2026, 4, 1, tzinfo=UTC) < house.desk.wall() < datetime(2026, 4, 1, tzinfo=UTC) + timedelta(days=3)
    assert told["replayed"] is False
    await later(house, days=30)
    await house.act("mila", "closeFeeMonth", closing, month="2026-04-01", currencyCode="EUR")
    # Of 20.952 that were shared 3.28 of 23.28 were Ben's, and a third of that the cafe's.
    corrected = "{ feeShares { partner benefit amountExact corrects } }"
    assert [one for one in await house.fee.ask(corrected) if one["corrects"]] == [
        {"partner": "cafe", "benefit": None, "amountExact": "-0.984000", "corrects": "2026-03-01"}
    ]
