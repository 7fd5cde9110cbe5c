"""How the demonstration's tills talk to a gateway that is slow, restarts, or says no."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import httpx2
import orjson
import pytest

from gateway.demo import replay
from gateway.demo.coalition import TillCard, TillClient
from gateway.demo.data import DemonstrationError, Receipt
from gateway.demo.replay import Gateway, Replay, Tally
from gateway.demo.tills import Day, Return, Spending

DAY = date(2017, 1, 3)
CLIENTS = {"bakery": TillClient("cl_bakery", "secret")}
CARDS = {7: TillCard("9701234567890128", "c_ref", b"s" * 20)}
Answer = Callable[[dict[str, Any]], httpx2.Response]


class Fake:
    """A gateway that grants tokens and answers operations as told, and remembers what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []
        self.tokens = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/oauth/token":
            self.tokens += 1
            return httpx2.Response(200, json={"access_token": f"token-{self.tokens}", "expires_in": 600})
        asked = orjson.loads(request.content)
        self.asked.append(asked | {"token": request.headers["authorization"]})
        return self.answers[asked["operationName"]](asked["variables"]["input"])

    def replaying(self) -> Replay:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self), base_url="http://gateway")
        self.clock: list[datetime] = []

        async def set_clock(at: datetime) -> None:
            self.clock.append(at)

        return Replay(Gateway(http, CLIENTS), CARDS, Tally(), set_clock)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(replay.asyncio, "sleep", lambda seconds: sleep(0))


def answer(given: Mapping[str, Any]) -> httpx2.Response:
    return httpx2.Response(200, json={"data": {"field": dict(given)}})


def a_receipt(number: int = 55) -> Receipt:
    content = orjson.dumps({"reference": str(number), "lines": [{"lineId": "1", "amount": "4.00"}]}).decode()
    return Receipt(DAY, "bakery", 7, 330, str(number), 400, content)


def recorded(given: dict[str, Any]) -> httpx2.Response:
    return answer({"accepted": len(given["items"]), "replayed": 0, "rejected": 0, "results": []})


async def test_a_batch_is_sent_with_the_cards_number_at_the_end_of_the_day() -> None:
    fake = Fake(AccrueMany=recorded)
    replaying = fake.replaying()
    await replaying.day(Day(DAY, 2, batches=[[a_receipt(1), a_receipt(2)]]))
    [asked] = fake.asked
    items = asked["variables"]["input"]["items"]
    assert [(item["member"], item["receipt"]["reference"]) for item in items] == [
        ({"cardNumber": "9701234567890128"}, "1"), ({"cardNumber": "9701234567890128"}, "2"),
    ]  # fmt: skip
    assert [at.isoformat() for at in fake.clock] == ["2017-01-03T23:59:59+00:00"]
    assert (replaying.tally.receipts, replaying.tally.accepted) == (2, 2)
    assert replaying.tally.receipts_per_second > 0


async def test_what_nobody_knows_the_outcome_of_is_sent_again_word_for_word() -> None:
    answers = iter([httpx2.Response(503), httpx2.Response(429)])
    fake = Fake(AccrueMany=lambda given: next(answers, None) or recorded(given))
    await fake.replaying().day(Day(DAY, 1, batches=[[a_receipt()]]))
    assert len(fake.asked) == 3
    assert fake.asked[0] == fake.asked[1] == fake.asked[2]


async def test_a_lost_connection_is_tried_again_and_given_up_in_the_end() -> None:
    def lost(given: dict[str, Any]) -> httpx2.Response:
        raise httpx2.ReadError("gone")

    fake = Fake(AccrueMany=lost)
    with pytest.raises(DemonstrationError, match="did not answer"):
        await fake.replaying().day(Day(DAY, 1, batches=[[a_receipt()]]))
    assert len(fake.asked) == replay.ATTEMPTS


async def test_a_refused_token_is_renewed_and_a_good_one_kept() -> None:
    answers = iter([httpx2.Response(401)])
    fake = Fake(AccrueMany=lambda given: next(answers, None) or recorded(given))
    await fake.replaying().day(Day(DAY, 2, batches=[[a_receipt(1)], [a_receipt(2)]]))
    assert fake.tokens == 2
    assert [asked["token"] for asked in fake.asked][-1] == "Bearer token-2"


async def test_tills_that_sign_in_together_ask_for_one_token() -> None:
    fake = Fake(AccrueMany=recorded)
    await fake.replaying().day(Day(DAY, 9, batches=[[a_receipt(number)] for number in range(9)]))
    assert fake.tokens == 1


async def test_who_has_too_few_points_pays_with_money_under_another_key() -> None:
    fake = Fake(
        RecordPurchase=lambda given: answer({"code": "INSUFFICIENT_POINTS", "message": "", "retryable": False}),
        AccruePoints=lambda given: answer({"replayed": False}),
    )
    replaying = fake.replaying()
    await replaying.day(Day(DAY, 1, visits={7: [Spending(a_receipt(), 100, 0)]}))
    bought, earned = (asked["variables"]["input"] for asked in fake.asked)
    assert bought["redeem"]["points"] == "100"
    assert "redeem" not in earned
    assert bought["idempotencyKey"] != earned["idempotencyKey"]
    assert (replaying.tally.declined, replaying.tally.spendings, replaying.tally.accepted) == (1, 0, 1)


async def test_a_purchase_is_proved_by_the_code_that_the_card_shows_then() -> None:
    fake = Fake(RecordPurchase=lambda given: answer({"replayed": True}))
    replaying = fake.replaying()
    spendings = [Spending(a_receipt(number), 100, step) for number, step in ((1, 0), (2, -1))]
    await replaying.day(Day(DAY, 2, visits={7: [*spendings]}))
    codes = [asked["variables"]["input"]["redeem"]["proof"]["cardCode"].split(".") for asked in fake.asked]
    assert int(codes[0][2]) - int(codes[1][2]) == 1
    assert int(codes[0][2]) == int(fake.clock[0].timestamp()) // 30
    assert (replaying.tally.spendings, replaying.tally.replayed) == (2, 2)


async def test_a_return_names_the_original_and_what_is_refused_is_counted_by_its_code() -> None:
    fake = Fake(ReturnPurchase=lambda given: answer({"code": "TRANSACTION_UNKNOWN", "message": "", "retryable": False}))
    replaying = fake.replaying()
    await replaying.day(Day(date(2017, 1, 9), 0, visits={7: [Return(a_receipt(), {"whole": True})]}))
    given = fake.asked[0]["variables"]["input"]
    assert given["original"] == {
        "receipt": {"outlet": "store-330", "terminal": "1", "businessDate": "2017-01-03", "reference": "55"}
    }
    assert (given["businessDate"], given["what"], given["reference"]) == ("2017-01-09", {"whole": True}, "R55")
    assert replaying.tally.rejected == {"TRANSACTION_UNKNOWN": 1}
    assert replaying.tally.returns == 0


async def test_items_and_whole_batches_that_are_refused_are_counted_by_code() -> None:
    answers = iter([
        answer({"accepted": 1, "replayed": 0, "rejected": 1, "results": [{}, {"code": "CARD_BLOCKED"}]}),
        answer({"code": "PARTNER_SUSPENDED", "message": "", "retryable": True}),
    ])  # fmt: skip
    fake = Fake(AccrueMany=lambda given: next(answers))
    replaying = fake.replaying()
    await replaying.day(Day(DAY, 2, batches=[[a_receipt(1), a_receipt(2)]]))
    await replaying.day(Day(DAY, 2, batches=[[a_receipt(3), a_receipt(4)]]))
    assert replaying.tally.rejected == {"CARD_BLOCKED": 1, "PARTNER_SUSPENDED": 2}


async def test_an_error_of_graphql_ends_the_demonstration_with_its_request_id() -> None:
    wrong = httpx2.Response(200, json={"errors": [{"message": "No such field"}]}, headers={"x-request-id": "r-1"})
    fake = Fake(AccrueMany=lambda given: wrong)
    with pytest.raises(DemonstrationError, match=r"AccrueMany: No such field \(request r-1\)"):
        await fake.replaying().day(Day(DAY, 1, batches=[[a_receipt()]]))


async def test_a_client_that_gets_no_token_ends_the_demonstration_without_telling_its_secret() -> None:
    http = httpx2.AsyncClient(
        transport=httpx2.MockTransport(lambda request: httpx2.Response(401, json={"error": "invalid_client"})),
        base_url="http://gateway",
    )
    with pytest.raises(DemonstrationError, match="cl_bakery no token") as told:
        await replay.sign_in(http, CLIENTS["bakery"])
    assert "secret" not in str(told.value)
