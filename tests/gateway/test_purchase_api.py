"""A till's conversations over HTTP: what it is answered, what is refused, and that a refusal writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway import scopes
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import cards, proofs
from members.cards import IssuedCard
from tests.builders import NOON, rows_written, violations
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till

REJECTION = "... on Rejection { code message retryable available maximum fields { path code } cashierText }"
RECORD = f"""mutation($input: RecordPurchaseInput!) {{ recordPurchase(input: $input) {{ __typename
  ... on RecordPurchaseSuccess {{ replayed cashierText slipLines balance {{ available pending debt }}
    transaction {{ id kind points awarded redeemed reference lines {{ lineId points pointsPaid valuePaid {{ amount }} }}
      reasons {{ code points text }} total {{ amount currencyCode }} }} }} {REJECTION} }} }}"""
ACCRUE = f"""mutation($input: AccruePointsInput!) {{ accruePoints(input: $input) {{ __typename
  ... on AccruePointsSuccess {{ replayed transaction {{ id points }} balance {{ available pending }} }} {REJECTION} }} }}"""
ACCRUE_MANY = f"""mutation($input: AccrueManyInput!) {{ accrueMany(input: $input) {{ __typename
  ... on AccrueManySuccess {{ accepted replayed rejected results {{ __typename
    ... on AccruePointsSuccess {{ replayed transaction {{ id points }} }} {REJECTION} }} }} {REJECTION} }} }}"""
REDEEM = f"""mutation($input: RedeemPointsInput!) {{ redeemPoints(input: $input) {{ __typename
  ... on RedeemPointsSuccess {{ replayed transaction {{ id points redeemed }} balance {{ available }} }} {REJECTION} }} }}"""
RETURN = f"""mutation($input: ReturnPurchaseInput!) {{ returnPurchase(input: $input) {{ __typename
  ... on ReturnPurchaseSuccess {{ replayed transaction {{ id points takenBack owed refundedPoints unrecovered }}
    balance {{ available debt }} figures {{ refundMoney {{ amount currencyCode }} deductFromRefund {{ amount }} owed }}
    slipLines }} {REJECTION} }} }}"""
CANCEL = f"""mutation($input: CancelPurchaseInput!) {{ cancelPurchase(input: $input) {{ __typename
  ... on CancelPurchaseSuccess {{ known replayed transaction {{ id points }} figures {{ owed }} cashierText }}
  {REJECTION} }} }}"""
QUOTE = """query($input: QuoteInput!) { quote(input: $input) { quoteId validUntil points reasons { code points text }
  maxRedeem { points value { amount currencyCode } boundBy } } }"""
QUOTE_RETURN = """query($input: QuoteReturnInput!) { quoteReturn(input: $input) {
  refundMoney { amount } deductFromRefund { amount } refundPoints takeBack owed unrecovered } }"""
TRANSACTION = """query($ref: TransactionRefInput!) { transaction(ref: $ref) { __typename id kind points reference } }"""
MEMBER = """query($ref: MemberRefInput!, $outlet: String, $terminal: String) {
  member(ref: $ref, outlet: $outlet, terminal: $terminal) { id tier status identifiedBy visit balance { available pending debt } } }"""


tills = stand.Clients("bakery", "grocer", "florist")
template = a_coalition(
    tills.add,
    bakery={"return_window_days": 0},
    grocer={},
    florist={"return_window_days": 0, "return_policy": "MEMBER_DEBT"},
)


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await tills.sign_in(opened)
        yield opened
    assert await violations(database.pool) == []
    await coalition.desk.close()


@pytest.fixture
def till(gateway: Gateway) -> Till:
    return gateway.tills["bakery"]


@pytest.fixture
async def card(gateway: Gateway) -> IssuedCard:
    return await gateway.coalition.add_member()


def by_number(card: IssuedCard) -> dict[str, str]:
    return {"cardNumber": card.number}


def code_of(gateway: Gateway, card: IssuedCard, minutes: int = 0) -> dict[str, str]:
    """A proof by the code that the member's phone shows now, or some minutes ago."""
    ref = cards.ref(gateway.coalition.vault, card.card_id)
    return {"cardCode": proofs.code_for(card.secret, ref, proofs.step_at(NOON) - 2 * minutes)}


async def record(till: Till, card: IssuedCard, receipt: dict[str, Any], **more: Any) -> Any:
    key = more.pop("key", None) or stand.key()
    return await till.ask(RECORD, input={"idempotencyKey": key, "member": by_number(card), "receipt": receipt, **more})


async def written(gateway: Gateway) -> dict[str, int]:
    return await rows_written(gateway.coalition.database.pool)


async def test_a_purchase_of_lines_earns_and_says_why_line_by_line(till: Till, card: IssuedCard) -> None:
    lines = [
        {"lineId": "1", "amount": "12.34", "sku": "A-1", "category": "BREAD", "quantity": "2.000"},
        {"lineId": "2", "amount": "7.66", "listAmount": "9.66", "discounts": [{"source": "PARTNER", "amount": "2.00"}]},
        {"lineId": "3", "kind": "GIFT_CARD", "amount": "50.00"},
    ]
    done = await record(till, card, stand.receipt("70.00", lines=lines))
    assert done["transaction"]["awarded"] == "20"
    assert [line["points"] for line in done["transaction"]["lines"]] == ["12", "8", "0"]
    assert [(each["code"], each["points"]) for each in done["transaction"]["reasons"]] == [
        ("BASE", "20"), ("KIND_DOES_NOT_EARN", "0"),
    ]  # fmt: skip
    assert done["slipLines"] == ["Earned: 20 points", "Available: 20 points"]


async def test_a_purchase_paid_in_part_with_points_tells_what_each_line_was_paid_with(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    await record(till, card, stand.receipt("1000.00"))
    quote = await till.ask(QUOTE, input={"member": by_number(card), "receipt": stand.receipt("20.00")})
    assert quote["maxRedeem"] == {
        "points": "1000", "value": {"amount": "10.00", "currencyCode": "EUR"}, "boundBy": "AGREEMENT_SHARE",
    }  # fmt: skip
    lines = [{"lineId": "a", "amount": "15.00"}, {"lineId": "b", "amount": "5.00"}]
    payments = [{"kind": "CARD", "amount": "11.00"}]
    done = await record(
        till, card, stand.receipt("20.00", lines=lines, payments=payments),
        redeem={"points": "900", "proof": code_of(gateway, card)}, quoteId=quote["quoteId"],
    )  # fmt: skip
    assert (done["transaction"]["redeemed"], done["transaction"]["awarded"], done["transaction"]["points"]) == (
        "900", "11", "-889",
    )  # fmt: skip
    assert [(line["pointsPaid"], line["valuePaid"]["amount"]) for line in done["transaction"]["lines"]] == [
        ("675", "6.75"), ("225", "2.25"),
    ]  # fmt: skip


async def test_a_retry_with_a_used_code_and_a_blocked_card_hears_the_first_answer(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    await record(till, card, stand.receipt("1000.00"))
    receipt, key, proof = stand.receipt("20.00"), stand.key(), code_of(gateway, card)
    first = await record(till, card, receipt, key=key, redeem={"points": "500", "proof": proof})
    before = await written(gateway)
    again = await record(till, card, receipt, key=key, redeem={"points": "500", "proof": proof})
    async with gateway.coalition.database.transaction() as connection:
        await cards.block(connection, card.card_id, at=NOON)
    blocked = await record(till, card, receipt, key=key, redeem={"points": "500", "proof": proof})
    assert (again["replayed"], blocked["replayed"]) == (True, True)
    assert first["transaction"] == again["transaction"] == blocked["transaction"]
    assert await written(gateway) == before


async def test_a_quote_is_honoured_for_its_own_member_and_a_retry_hears_its_answer_when_the_quote_is_over(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    receipt, other = stand.receipt("20.00"), await gateway.coalition.add_member()
    quote_id = (await till.ask(QUOTE, input={"member": by_number(card), "receipt": receipt}))["quoteId"]
    before = await written(gateway)
    assert (await record(till, other, receipt, quoteId=quote_id))["code"] == "QUOTE_EXPIRED"
    assert await written(gateway) == before
    key = stand.key()
    first = await record(till, card, receipt, key=key, quoteId=quote_id)
    await gateway.at(NOON + timedelta(days=1))
    before = await written(gateway)
    again = await record(till, card, receipt, key=key, quoteId=quote_id)
    assert (again["replayed"], again["transaction"]) == (True, first["transaction"])
    assert (await record(till, card, stand.receipt("30.00"), quoteId=quote_id))["code"] == "QUOTE_EXPIRED"
    assert await written(gateway) == before


async def test_a_quote_of_what_would_be_refused_says_why(till: Till, card: IssuedCard) -> None:
    for change, code in (
        ({"member": {"cardNumber": "1234"}}, "CARD_UNKNOWN"),
        ({"receipt": stand.receipt("-1.00")}, "AMOUNT_NEGATIVE"),
    ):
        given = {"member": by_number(card), "receipt": stand.receipt("10.00"), **change}
        error = await till.error(QUOTE, input=given)
        assert (error["extensions"]["code"], error["extensions"]["rejection"]["code"]) == ("BAD_USER_INPUT", code)


async def test_a_return_has_limits_on_what_it_carries(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    bought = await record(till, card, stand.receipt("100.00"))
    given = {
        "idempotencyKey": stand.key(), "original": {"id": bought["transaction"]["id"]}, "what": {"whole": True},
        "reference": "R", "outlet": "1", "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(),
    }  # fmt: skip
    before = await written(gateway)
    for change, code in (
        ({"reference": "x" * 65}, "RECEIPT_INVALID"),
        ({"reason": "x" * 501}, "RECEIPT_INVALID"),
        ({"occurredAt": (NOON + timedelta(days=1)).isoformat()}, "RECEIPT_IN_FUTURE"),
    ):
        assert (await till.ask(RETURN, input=given | change))["code"] == code
    heavy = [{"lineId": "1", "amount": "10.00", "sku": "x" * 300_000}]
    item = {"member": by_number(card), "receipt": stand.receipt("10.00", lines=heavy)}
    done = await till.ask(ACCRUE_MANY, input={"idempotencyKey": stand.key(), "items": [item]})
    assert done["results"][0]["code"] == "RECEIPT_INVALID"
    assert await written(gateway) == before


async def test_a_changed_request_under_a_used_key_is_refused_even_when_its_proof_is_old(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    await record(till, card, stand.receipt("1000.00"))
    receipt, key, proof = stand.receipt("20.00"), stand.key(), code_of(gateway, card)
    await record(till, card, receipt, key=key, redeem={"points": "500", "proof": proof})
    before = await written(gateway)
    for change in ({"redeem": {"points": "400", "proof": proof}}, {"receipt": receipt | {"total": "21.00"}}):
        given = {"redeem": {"points": "500", "proof": proof}, "receipt": receipt, **change}
        no = await record(till, card, given.pop("receipt"), key=key, **given)
        assert no["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await written(gateway) == before


@pytest.mark.parametrize(
    ("minutes", "tamper", "code"),
    [(0, True, "CODE_INVALID"), (30, False, "CODE_EXPIRED"), (-30, False, "CODE_INVALID")],
)
async def test_a_false_or_old_code_pays_nothing(
    gateway: Gateway, till: Till, card: IssuedCard, minutes: int, tamper: bool, code: str
) -> None:
    await record(till, card, stand.receipt("1000.00"))
    proof = code_of(gateway, card, minutes)
    if tamper:
        proof = {"cardCode": proof["cardCode"][:-1] + str((int(proof["cardCode"][-1]) + 1) % 10)}
    before = await written(gateway)
    no = await record(till, card, stand.receipt("20.00"), redeem={"points": "10", "proof": proof})
    assert no["code"] == code
    assert await written(gateway) == before


async def test_spending_needs_a_proof_and_the_proof_of_the_same_member(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    await record(till, card, stand.receipt("1000.00"))
    other = await gateway.coalition.add_member()
    before = await written(gateway)
    for redeem, code in (
        ({"points": "10"}, "PROOF_REQUIRED"),
        ({"points": "10", "proof": code_of(gateway, other)}, "CODE_INVALID"),
        ({"points": "10", "proof": {"approvalId": "x"}}, "APPROVAL_UNKNOWN"),
        ({"holdId": "x", "proof": code_of(gateway, card)}, "HOLD_UNKNOWN"),
        ({"points": "0", "proof": code_of(gateway, card)}, "POINTS_NOT_POSITIVE"),
        ({"points": "-5", "proof": code_of(gateway, card)}, "POINTS_NOT_POSITIVE"),
    ):
        assert (await record(till, card, stand.receipt("20.00"), redeem=redeem))["code"] == code
    assert await written(gateway) == before


async def test_a_pin_proves_too_and_a_wrong_one_pays_nothing(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    async with gateway.coalition.database.transaction() as connection:
        await proofs.set_pin(connection, gateway.coalition.vault, card.member_id, "4711")
    await record(till, card, stand.receipt("1000.00"))
    before = await written(gateway)
    wrong = await record(till, card, stand.receipt("20.00"), redeem={"points": "10", "proof": {"pin": "4712"}})
    assert wrong["code"] == "PIN_INVALID"
    assert await written(gateway) == before
    right = await record(till, card, stand.receipt("20.00"), redeem={"points": "10", "proof": {"pin": "4711"}})
    assert right["transaction"]["redeemed"] == "10"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"member": {"cardNumber": "9700000000000000"}}, "CARD_UNKNOWN"),
    ({"member": {"cardNumber": "1234"}}, "CARD_UNKNOWN"),
    ({"member": {"id": "mbr_forged"}}, "MEMBER_UNKNOWN"),
    ({"receipt": stand.receipt("-1.00")}, "AMOUNT_NEGATIVE"),
    ({"receipt": stand.receipt("10.00", lines=[{"lineId": "1", "amount": "9.00"}])}, "LINES_DO_NOT_SUM"),
    ({"receipt": stand.receipt("10.00") | {"currencyCode": "USD"}}, "CURRENCY_MISMATCH"),
    ({"receipt": stand.receipt("10.001")}, "RECEIPT_INVALID"),
    ({"receipt": stand.receipt("10.00") | {"outlet": "nowhere"}}, "OUTLET_UNKNOWN"),
    ({"idempotencyKey": "short"}, "IDEMPOTENCY_KEY_INVALID"),
    ({"quoteId": "quo_forged"}, "QUOTE_EXPIRED"),
]


@pytest.mark.parametrize(("change", "code"), WRONG, ids=[f"{code}-{n}" for n, (_, code) in enumerate(WRONG)])
async def test_bad_input_is_a_rejection_with_its_code_and_writes_nothing(
    gateway: Gateway, till: Till, card: IssuedCard, change: dict[str, Any], code: str
) -> None:
    before = await written(gateway)
    given = {"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt("10.00"), **change}
    no = await till.ask(RECORD, input=given)
    assert (no["__typename"], no["code"]) == ("Rejection", code)
    assert no["cashierText"]
    assert await written(gateway) == before


async def test_lost_cards_are_refused(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    async with gateway.coalition.database.transaction() as connection:
        await cards.mark_lost(connection, card.card_id, at=NOON)
    before = await written(gateway)
    assert (await record(till, card, stand.receipt("10.00")))["code"] == "CARD_BLOCKED"
    assert await till.ask(MEMBER, ref=by_number(card)) is None
    assert await written(gateway) == before


@pytest.mark.parametrize(
    "input",
    [
        {"redeem": {"points": 1.5, "proof": {"pin": "4711"}}},
        {"receipt": stand.receipt("10.00") | {"total": 10.5}},
        {"receipt": stand.receipt("10.00") | {"businessDate": "yesterday"}},
        {"member": {"cardNumber": "1", "phone": "2"}},
        {"member": {}},
        {"surprise": True},
    ],
)
async def test_malformed_input_is_an_error_that_repeats_no_value_and_writes_nothing(
    gateway: Gateway, till: Till, card: IssuedCard, input: dict[str, Any]
) -> None:
    before = await written(gateway)
    given = {"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt("10.00"), **input}
    error = await till.error(RECORD, input=given)
    assert error["extensions"]["code"] in ("BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED")
    assert card.number not in str(error)
    assert await written(gateway) == before


async def test_a_reused_key_and_a_receipt_with_another_card_are_refused(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    key, receipt = stand.key(), stand.receipt("10.00")
    await record(till, card, receipt, key=key)
    before = await written(gateway)
    other = await gateway.coalition.add_member()
    assert (await record(till, card, receipt | {"total": "11.00"}, key=key))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await record(till, other, receipt))["code"] == "RECEIPT_ALREADY_RECORDED"
    assert await written(gateway) == before


async def test_a_batch_answers_item_by_item_and_a_second_time_all_are_replayed(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    items = [
        {"member": by_number(card), "receipt": stand.receipt("10.00")},
        {"member": {"cardNumber": "9700000000000000"}, "receipt": stand.receipt("10.00")},
        {"member": by_number(card), "receipt": stand.receipt("0.00")},
        {"member": by_number(card), "receipt": stand.receipt("-1.00")},
        {"member": by_number(card), "receipt": stand.receipt("10.001")},
    ]
    done = await till.ask(ACCRUE_MANY, input={"idempotencyKey": stand.key(), "items": items})
    assert (done["accepted"], done["replayed"], done["rejected"]) == (2, 0, 3)
    assert [each.get("code") for each in done["results"]] == [
        None, "CARD_UNKNOWN", None, "AMOUNT_NEGATIVE", "RECEIPT_INVALID",
    ]  # fmt: skip
    before = await written(gateway)
    again = await till.ask(ACCRUE_MANY, input={"idempotencyKey": stand.key(), "items": items})
    assert (again["accepted"], again["replayed"], again["rejected"]) == (0, 2, 3)
    assert [each["transaction"]["id"] for each in again["results"] if "transaction" in each] == [
        each["transaction"]["id"] for each in done["results"] if "transaction" in each
    ]
    assert await written(gateway) == before


async def test_an_empty_and_a_too_large_batch_are_refused(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    item = {"member": by_number(card), "receipt": stand.receipt("1.00")}
    before = await written(gateway)
    for items in ([], [item] * 501):
        no = await till.ask(ACCRUE_MANY, input={"idempotencyKey": stand.key(), "items": items})
        assert no["code"] == "BATCH_INVALID"
    assert await written(gateway) == before


async def test_a_return_is_quoted_recorded_and_found_again(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    lines = [{"lineId": "1", "amount": "60.00"}, {"lineId": "2", "amount": "40.00"}]
    bought = await record(till, card, stand.receipt("100.00", lines=lines))
    original = {"id": bought["transaction"]["id"]}
    what = {"lines": [{"lineId": "1"}]}
    quoted = await till.ask(QUOTE_RETURN, input={"original": original, "what": what})
    assert (quoted["refundMoney"]["amount"], quoted["takeBack"]) == ("60.00", "60")
    given = {
        "idempotencyKey": stand.key(), "original": original, "what": what, "reference": "RET-1", "outlet": "1",
        "terminal": "1", "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(),
    }  # fmt: skip
    done = await till.ask(RETURN, input=given)
    assert (done["transaction"]["takenBack"], done["figures"]["refundMoney"]["amount"]) == ("60", "60.00")
    assert done["transaction"]["points"] == "-60"
    again = await till.ask(RETURN, input=given)
    assert (again["replayed"], again["transaction"]) == (True, done["transaction"])
    before = await written(gateway)
    twice = await till.ask(RETURN, input=given | {"idempotencyKey": stand.key(), "reference": "RET-2"})
    assert twice["code"] == "LINE_ALREADY_RETURNED"
    unknown = await till.ask(RETURN, input=given | {"original": {"id": "txn_forged"}, "reference": "RET-3"})
    assert unknown["code"] == "ORIGINAL_UNKNOWN"
    assert await written(gateway) == before
    ref = {"receipt": {"reference": "RET-1", "outlet": "1", "terminal": "1", "businessDate": NOON.date().isoformat()}}
    assert (await till.ask(TRANSACTION, ref=ref))["id"] == done["transaction"]["id"]


async def test_points_that_were_spent_are_owed_not_deducted_where_the_terms_say_so_and_the_next_repay(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    florist = gateway.tills["florist"]
    bought = await record(florist, card, stand.receipt("100.00"))
    await record(till, card, stand.receipt("1.60"), redeem={"points": "80", "proof": code_of(gateway, card)})
    original = {"id": bought["transaction"]["id"]}
    quoted = await florist.ask(QUOTE_RETURN, input={"original": original, "what": {"whole": True}})
    assert quoted == {
        "refundMoney": {"amount": "100.00"}, "deductFromRefund": {"amount": "0.00"}, "refundPoints": "0",
        "takeBack": "20", "owed": "80", "unrecovered": "0",
    }  # fmt: skip
    given = {
        "idempotencyKey": stand.key(), "original": original, "what": {"whole": True}, "reference": "RET-D",
        "outlet": "1", "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(),
    }  # fmt: skip
    florist.language = "ru"
    done = await florist.ask(RETURN, input=given)
    assert (done["transaction"]["takenBack"], done["transaction"]["owed"]) == ("20", "80")
    assert (done["figures"]["deductFromRefund"]["amount"], done["figures"]["owed"]) == ("0.00", "80")
    assert done["balance"] == {"available": "0", "debt": "80"}
    assert done["slipLines"] == [
        "Списано при возврате: 20 баллов", "Доступно: 0 баллов",
        "Долг, будет списан из следующих начислений: 80 баллов",
    ]  # fmt: skip
    again = await florist.ask(RETURN, input=given)
    assert (again["replayed"], again["transaction"], again["figures"]) == (True, done["transaction"], done["figures"])
    assert (await till.ask(MEMBER, ref=by_number(card)))["balance"] == {"available": "0", "pending": "0", "debt": "80"}
    some = await record(till, card, stand.receipt("50.00"))
    assert some["balance"] == {"available": "0", "pending": "0", "debt": "30"}
    assert some["cashierText"].endswith("Owed, to be taken from the next points: 30 points")
    rest = await record(till, card, stand.receipt("50.00"))
    assert rest["balance"] == {"available": "20", "pending": "0", "debt": "0"}


async def test_a_cancelled_purchase_whose_points_were_spent_tells_what_is_owed(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    receipt = stand.receipt("10.00")
    await record(gateway.tills["florist"], card, receipt)
    await record(till, card, stand.receipt("0.20"), redeem={"points": "10", "proof": code_of(gateway, card)})
    ref = {name: receipt[name] for name in ("reference", "outlet", "terminal", "businessDate")}
    done = await gateway.tills["florist"].ask(CANCEL, input={"idempotencyKey": stand.key(), "receipt": ref})
    assert done["figures"]["owed"] == "10"
    assert done["cashierText"] == "The receipt is cancelled. Owed, to be taken from the next points: 10 points"


async def test_another_partner_can_neither_read_nor_return_nor_name_what_is_not_its_own(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    receipt = stand.receipt("100.00")
    bought = await record(till, card, receipt)
    other = gateway.tills["grocer"]
    before = await written(gateway)
    by_id = {"id": bought["transaction"]["id"]}
    by_receipt = {"receipt": {name: receipt[name] for name in ("reference", "outlet", "terminal", "businessDate")}}
    for ref in (by_id, by_receipt):
        assert await other.ask(TRANSACTION, ref=ref) is None
        error = await other.error(QUOTE_RETURN, input={"original": ref, "what": {"whole": True}})
        assert error["extensions"]["rejection"]["code"] == "ORIGINAL_UNKNOWN"
        no = await other.ask(
            RETURN,
            input={
                "idempotencyKey": stand.key(), "original": ref, "what": {"whole": True}, "reference": "X", "outlet": "1",
                "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(),
            },
        )  # fmt: skip
        assert no["code"] == "ORIGINAL_UNKNOWN"
    assert await other.ask("query($id: ID!) { node(id: $id) { id } }", id=by_id["id"]) is None
    mine = (await till.ask(MEMBER, ref=by_number(card)))["id"]
    theirs = (await other.ask(MEMBER, ref=by_number(card)))["id"]
    assert mine != theirs
    assert await other.ask(MEMBER, ref={"id": mine}) is None
    assert await written(gateway) == before


async def test_a_visit_names_the_member_at_its_own_terminal_only(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    seen = await till.ask(MEMBER, ref=by_number(card), outlet="1", terminal="1")
    done = await till.ask(
        ACCRUE, input={"idempotencyKey": stand.key(), "member": {"visit": seen["visit"]}, "receipt": stand.receipt()}
    )
    assert done["transaction"]["points"] == "100"
    no = await gateway.tills["grocer"].ask(
        ACCRUE, input={"idempotencyKey": stand.key(), "member": {"visit": seen["visit"]}, "receipt": stand.receipt()}
    )
    assert no["code"] == "MEMBER_UNKNOWN"
    assert (await till.ask(MEMBER, ref=by_number(card)))["visit"] is None


async def test_a_visit_lasts_ten_minutes_says_how_well_the_member_was_identified_and_proves_nothing(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    for ref, level in ((by_number(card), "NUMBER"), (code_of(gateway, card), "CODE")):
        seen = await till.ask(MEMBER, ref=ref, outlet="1", terminal="1")
        assert seen["identifiedBy"] == level
        again = await till.ask(MEMBER, ref={"visit": seen["visit"]}, outlet="1", terminal="1")
        assert (again["identifiedBy"], again["id"]) == (level, seen["id"])
        for where in ({}, {"outlet": "1"}):
            assert await till.ask(MEMBER, ref={"visit": seen["visit"]}, **where) is None
    before = await written(gateway)
    no = await record(till, card, stand.receipt(), member={"visit": seen["visit"]}, redeem={"points": "1"})
    assert no["code"] == "PROOF_REQUIRED"
    assert await written(gateway) == before
    done = await record(till, card, stand.receipt(), member={"visit": seen["visit"]})
    decision = await gateway.coalition.database.pool.fetchval("SELECT decision ->> 'visit' FROM partners.receipt")
    assert (done["transaction"]["awarded"], decision) == ("100", "CODE")
    await gateway.at(NOON + timedelta(minutes=10))
    before = await written(gateway)
    assert (await record(till, card, stand.receipt(), member={"visit": seen["visit"]}))["code"] == "VISIT_EXPIRED"
    assert await till.ask(MEMBER, ref={"visit": seen["visit"]}, outlet="1", terminal="1") is None
    assert await written(gateway) == before


async def test_a_cancelled_receipt_is_undone_and_one_that_never_came_is_refused_later(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    receipt, late = stand.receipt("100.00"), stand.receipt("50.00")
    await record(till, card, receipt)
    for given, known in ((receipt, True), (late, False)):
        ref = {name: given[name] for name in ("reference", "outlet", "terminal", "businessDate")}
        done = await till.ask(CANCEL, input={"idempotencyKey": stand.key(), "receipt": ref})
        assert (done["__typename"], done["known"]) == ("CancelPurchaseSuccess", known)
    before = await written(gateway)
    assert (await record(till, card, late))["code"] == "RECEIPT_CANCELLED"
    assert await written(gateway) == before
    assert (await till.ask(MEMBER, ref=by_number(card)))["balance"]["available"] == "0"


async def test_points_buy_a_reward_alone(gateway: Gateway, till: Till, card: IssuedCard) -> None:
    await record(till, card, stand.receipt("1000.00"))
    given = {
        "idempotencyKey": stand.key(), "member": by_number(card), "reference": "RW-1", "outlet": "1", "terminal": "1",
        "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(), "points": "250",
        "proof": code_of(gateway, card),
    }  # fmt: skip
    done = await till.ask(REDEEM, input=given)
    assert (done["transaction"]["points"], done["balance"]["available"]) == ("-250", "750")
    assert (await till.ask(REDEEM, input=given))["replayed"]
    too_much = given | {"idempotencyKey": stand.key(), "reference": "RW-2", "points": "751"}
    no = await till.ask(REDEEM, input=too_much | {"proof": code_of(gateway, card, minutes=0)})
    assert no["code"] == "CODE_USED"


async def test_texts_come_in_the_language_that_was_asked_for(till: Till, card: IssuedCard) -> None:
    till.language = "ru-RU,ru;q=0.9"
    done = await record(till, card, stand.receipt("21.00"))
    assert done["slipLines"] == ["Начислено: 21 балл", "Доступно: 21 балл"]
    till.language = "ro"
    no = await record(till, card, stand.receipt("-21.00"))
    assert no["cashierText"] != ""


async def test_a_token_without_the_scope_moves_nothing(gateway: Gateway, card: IssuedCard) -> None:
    reader = await gateway.till("bakery", wanted=(scopes.MEMBERS_READ, scopes.POINTS_ACCRUE))
    before = await written(gateway)
    redeem = {"points": "10", "proof": {"pin": "4711"}}
    given = {
        "idempotencyKey": stand.key(),
        "member": by_number(card),
        "receipt": stand.receipt("20.00"),
        "redeem": redeem,
    }
    assert (await reader.error(RECORD, input=given))["extensions"]["code"] == "FORBIDDEN"
    cancel = {"idempotencyKey": stand.key(), "receipt": {"reference": "1", "outlet": "1", "businessDate": "2026-03-02"}}
    assert (await reader.error(CANCEL, input=cancel))["extensions"]["code"] == "FORBIDDEN"
    assert await written(gateway) == before


async def test_the_viewer_is_the_partner_or_the_operators_staff(gateway: Gateway, till: Till) -> None:
    document = "{ viewer { __typename ... on PartnerClient { partner { code name } } ... on Staff { scopes } } }"
    assert (await till.ask(document))["partner"] == {"code": "bakery", "name": "Bakery"}
    staff = await gateway.till(None, wanted=(scopes.SETTLEMENT_READ,))
    assert await staff.ask(document) == {"__typename": "Staff", "scopes": ["settlement:read"]}
