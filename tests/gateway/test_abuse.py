"""What thieves, cheats and insiders try, by the numbers of the list of abuses. Every "no" is seen to have written nothing.

L-15, L-16 (replays), L-20, L-21 (insiders), L-30 (weak secrets), L-32 and L-33 (games with expiry and rounding) are in
tests/journeys/test_abuse_of_rules.py, L-25 (inflated accruals) in tests/partners/decisions/test_paces.py, L-28 (codes talked out of
somebody) in tests/gateway/membership/test_membership_api.py; test_the_list_of_abuses holds that every row has a test of
its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from kit import postgres
from kit.clock import wall
from kit.database import APPLICATION_ROLE, Database, driver_url
from kit.errors import Rejection
from kit.secrets import Vault
from members import cards, guesses, identification, proofs
from members.cards import CardUnknown, IssuedCard
from members.guesses import CardGuesses, RateLimited
from members.identification import MemberRef
from members.proofs import CodeInvalid, CodeLocked
from partners.desk import Desk
from partners.tills import recognition
from tests.builders import DAY, NOON, rows_written, violations
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_hold_api import PLACE
from tests.gateway.test_purchase_api import ACCRUE_MANY, MEMBER, QUOTE, RECORD, REDEEM, RETURN, by_number, record

tills = stand.Clients("bakery", "grocer", "tailor")
template = a_coalition(tills.add, bakery={"return_window_days": 0}, grocer={"return_window_days": 0}, tailor={})


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
async def card(gateway: Gateway, till: Till) -> IssuedCard:
    """A member with a thousand points and a PIN."""
    made = await gateway.coalition.add_member()
    async with gateway.coalition.database.transaction() as connection:
        await proofs.set_pin(connection, gateway.coalition.vault, made.member_id, "4711")
    await record(till, made, stand.receipt("1000.00"))
    return made


async def written(gateway: Gateway) -> dict[str, int]:
    return await rows_written(gateway.coalition.database.pool)


def code(gateway: Gateway, card: IssuedCard, step: int = 0, *, wrong: int = 0) -> dict[str, str]:
    """The rotating code of a step from NOON's on; wrong changes its digits."""
    now = proofs.step_at(NOON) + step
    digits = (int(proofs.digits_for(card.secret, now)) + wrong) % 10**8
    return {"cardCode": f"L1.{cards.ref(gateway.coalition.vault, card.card_id)}.{now}.{digits:08d}"}


def redeeming(member: dict[str, Any], points: str, proof: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "idempotencyKey": stand.key(), "member": member, "reference": stand.key(), "outlet": "1", "terminal": "1",
        "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(), "points": points, "proof": proof,
    }  # fmt: skip


def holding(member: dict[str, Any], points: str, proof: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "idempotencyKey": stand.key(), "member": member, "reference": "O-1", "outlet": "1", "terminal": "1",
        "points": points, "proof": proof,
    }  # fmt: skip


async def spend_everywhere(
    till: Till, member: dict[str, Any], points: str, proofs_: list[dict[str, Any] | None]
) -> list[Any]:
    """What each way to spend answers, each with its own proof of a list of three."""
    paying = {
        "idempotencyKey": stand.key(), "member": member, "receipt": stand.receipt("100.00"),
        "redeem": {"points": points, "proof": proofs_[0]},
    }  # fmt: skip
    return [
        await till.ask(RECORD, input=paying),
        await till.ask(REDEEM, input=redeeming(member, points, proofs_[1])),
        await till.ask(PLACE, input=holding(member, points, proofs_[2])),
    ]


# --- The card and its codes ---------------------------------------------------------------------------------


async def test_l01_a_card_number_alone_earns_and_never_spends_by_any_way(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    before = await written(gateway)
    visit = (await till.ask(MEMBER, ref=by_number(card), outlet="1", terminal="1"))["visit"]
    for member in (by_number(card), {"visit": visit}):
        answers = await spend_everywhere(till, member, "10", [None, None, None])
        assert [no["code"] for no in answers] == ["PROOF_REQUIRED"] * 3
    assert await written(gateway) == before
    assert (await record(till, card, stand.receipt("5.00")))["transaction"]["awarded"] == "5"


async def test_l02_a_rotating_code_is_good_once_at_all_partners_and_a_step_early_or_late(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    for step in (-1, 0, 1):
        proof = code(gateway, card, step)
        done = await till.ask(REDEEM, input=redeeming(by_number(card), "10", proof))
        assert done["transaction"]["redeemed"] == "10"
        before = await written(gateway)
        for other in gateway.tills.values():
            for answer in await spend_everywhere(other, by_number(card), "10", [proof, proof, proof]):
                assert answer["code"] == "CODE_USED"
        assert await written(gateway) == before
    before = await written(gateway)
    for step, expected in ((-2, "CODE_EXPIRED"), (2, "CODE_INVALID")):
        no = await till.ask(REDEEM, input=redeeming(by_number(card), "10", code(gateway, card, step)))
        assert no["code"] == expected
    # The till's own clock has no say: it tells when it happened, never what time it is.
    told = redeeming(by_number(card), "10", code(gateway, card, -2)) | {"occurredAt": (NOON - DAY).isoformat()}
    assert (await till.ask(REDEEM, input=told))["code"] == "CODE_EXPIRED"
    assert await written(gateway) == before


async def test_l02_one_code_at_all_partners_in_one_moment_spends_once(gateway: Gateway, card: IssuedCard) -> None:
    proof = code(gateway, card)
    work = [
        one.ask(REDEEM, input=redeeming(by_number(card), "10", proof)) for one in gateway.tills.values() for _ in "abc"
    ] + [one.ask(PLACE, input=holding(by_number(card), "10", proof)) for one in gateway.tills.values() for _ in "abc"]
    answers = await asyncio.gather(*work)
    assert sorted(answer.get("code", "done") for answer in answers) == ["CODE_USED"] * 17 + ["done"]


async def test_l03_a_locked_member_earns_is_worth_nothing_to_a_thief_and_spends_by_no_way(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    pool = gateway.coalition.database.pool
    await pool.fetchval("SELECT ledger.lock_spending($1, 1::smallint, true)", card.member_id)
    assert (await till.ask(MEMBER, ref=by_number(card)))["balance"]["available"] == "0"
    quote = await till.ask(QUOTE, input={"member": by_number(card), "receipt": stand.receipt("20.00")})
    assert (quote["maxRedeem"]["points"], quote["maxRedeem"]["boundBy"]) == ("0", "SPEND_LOCK")
    before = await written(gateway)
    answers = await spend_everywhere(
        till, by_number(card), "10", [code(gateway, card), {"pin": "4711"}, {"pin": "4711"}]
    )
    assert [no["code"] for no in answers] == ["SPENDING_LOCKED"] * 3
    assert await written(gateway) == before
    assert (await record(till, card, stand.receipt("5.00")))["transaction"]["awarded"] == "5"


async def test_a_daily_cap_counts_every_way_to_spend_together(
    gateway: Gateway, till: Till, card: IssuedCard, server: postgres.Server, database_name: str
) -> None:
    await as_owner(server, database_name, "UPDATE ledger.account SET daily_cap = 25")
    pin = {"pin": "4711"}
    answers = await spend_everywhere(till, by_number(card), "10", [pin, pin, pin])
    assert [answer.get("code") for answer in answers] == [None, None, "DAILY_CAP_REACHED"]
    before = await written(gateway)
    answers = await spend_everywhere(gateway.tills["grocer"], by_number(card), "10", [pin, pin, pin])
    assert [no["code"] for no in answers] == ["DAILY_CAP_REACHED"] * 3
    assert await written(gateway) == before
    await gateway.at(NOON + DAY)
    assert (await till.ask(PLACE, input=holding(by_number(card), "10", pin)))["hold"]["points"] == "10"


async def as_owner(server: postgres.Server, database_name: str, statement: str) -> None:
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    await owner.execute(statement)
    await owner.close()


# --- Guessing -----------------------------------------------------------------------------------------------


def unknown_numbers(count: int, seed: int = 0) -> list[str]:
    """Numbers with the right prefix and check digit that no card has."""
    payloads = [f"{cards.PREFIX}{seed * 1_000 + number:012d}" for number in range(count)]
    return [payload + cards.check_digit(payload) for payload in payloads]


async def test_l08_ten_unknown_cards_an_hour_then_a_terminal_is_told_nothing_of_any(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    async def look(number: str) -> Any:
        body = (await till.post(MEMBER, ref={"cardNumber": number}, outlet="1", terminal="1")).json()
        return body["data"]["member"] if "errors" not in body else body["errors"][0]["extensions"]["rejection"]

    slips_of_the_finger = [
        f"970000000000000{digit}" for digit in range(10) if not cards.check_number(f"970000000000000{digit}")
    ]
    for number in slips_of_the_finger + slips_of_the_finger:
        assert await look(number) is None
    earned = stand.receipt("10.00")
    key = stand.key()
    first = await record(till, card, earned, key=key)
    guessed = unknown_numbers(11)
    assert [await look(number) for number in guessed[:10]] == [None] * 10
    before = await written(gateway)
    limited = {"code": "RATE_LIMITED", "retryable": True}
    assert await look(guessed[10]) == await look(guessed[0]) == await look(card.number) == limited
    for number in (guessed[10], card.number):
        quote = {"member": {"cardNumber": number}, "receipt": stand.receipt("20.00")}
        error = await till.error(QUOTE, input=quote)
        assert error["extensions"]["rejection"] == limited
        no = await till.ask(RECORD, input=quote | {"idempotencyKey": stand.key()})
        assert no["code"] == "RATE_LIMITED"
        done = await till.ask(
            ACCRUE_MANY,
            input={"idempotencyKey": stand.key(), "items": [quote | {"receipt": stand.receipt("1.00")}]},
        )
        assert done["results"][0]["code"] == "RATE_LIMITED"
    assert await written(gateway) == before
    # What was answered before is still answered, and other tills are not concerned.
    assert (await record(till, card, earned, key=key))["transaction"] == first["transaction"]
    assert (await gateway.tills["grocer"].ask(MEMBER, ref=by_number(card), outlet="1", terminal="1"))["id"]
    alerts = await gateway.coalition.database.pool.fetch(
        "SELECT subject FROM kit.audit_trail WHERE action = 'CARD_NUMBERS_GUESSED'"
    )
    assert len(alerts) == 1


async def test_l08_an_enrolled_till_is_held_to_account_by_itself_though_it_names_no_outlet(
    gateway: Gateway, card: IssuedCard
) -> None:
    coalition = gateway.coalition
    here = coalition.callers["bakery"]
    first, second = (replace(here, terminal_id=number) for number in (71, 72))
    limited = set()
    for number in unknown_numbers(11):
        with pytest.raises(Rejection) as no:
            await recognition.identify(coalition.desk, first, MemberRef(card_number=number), None, NOON)
        limited.add(no.value.code)
    assert limited == {"CARD_UNKNOWN", "RATE_LIMITED"}
    # Another till of the same client goes on.
    found_here = await recognition.identify(coalition.desk, second, MemberRef(card_number=card.number), None, NOON)
    assert found_here.member_id == card.member_id


async def test_l08_a_batch_has_no_more_guesses_than_single_calls_and_a_number_counts_once_in_it(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    numbers = [*unknown_numbers(9), *unknown_numbers(1) * 20, card.number, *unknown_numbers(12)[9:], card.number]
    items = [{"member": {"cardNumber": number}, "receipt": stand.receipt("1.00")} for number in numbers]
    done = await till.ask(ACCRUE_MANY, input={"idempotencyKey": stand.key(), "items": items})
    told = [answer.get("code", "done") for answer in done["results"]]
    assert told == ["CARD_UNKNOWN"] * 29 + ["done", "CARD_UNKNOWN"] + ["RATE_LIMITED"] * 3


@dataclass
class Clock:
    """Both clocks of a process, moved by hand."""

    seconds: float = 0.0

    def now(self) -> Any:
        return wall() + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


async def test_l08_the_guesses_are_counted_for_all_processes_together_and_forgotten_after_an_hour(
    gateway: Gateway, card: IssuedCard
) -> None:
    made, clock = gateway.coalition, Clock()
    desks = [
        Desk(made.database, made.vault, made.desk.directory,
             guesses=CardGuesses(made.database, now=clock.now, monotonic=clock.monotonic))
        for _ in range(2)
    ]  # fmt: skip
    caller = made.callers["bakery"]

    async def look(desk: Desk, number: str) -> str:
        try:
            await recognition.identify(desk, caller, MemberRef(card_number=number), 1, NOON)
        except (CardUnknown, RateLimited) as no:
            return no.code
        return "found"

    assert await look(desks[1], card.number) == "found"
    told = await asyncio.gather(*[look(desks[n % 2], number) for n, number in enumerate(unknown_numbers(30))])
    assert sorted(told) == ["CARD_UNKNOWN"] * 10 + ["RATE_LIMITED"] * 20
    clock.seconds += guesses.FRESH_SECONDS
    assert [await look(desk, card.number) for desk in desks] == ["RATE_LIMITED"] * 2
    clock.seconds += guesses.CARD_WINDOW.total_seconds()
    assert [await look(desk, card.number) for desk in desks] == ["found"] * 2
    assert await look(desks[0], unknown_numbers(1)[0]) == "CARD_UNKNOWN"
    for desk in desks:
        await desk.close()


async def test_five_wrong_codes_lock_a_cards_codes_for_ten_minutes_and_nothing_else(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    other = await gateway.coalition.add_member()
    for wrong in range(1, 6):
        no = await till.ask(REDEEM, input=redeeming(by_number(card), "10", code(gateway, card, wrong=wrong)))
        assert no["code"] == "CODE_INVALID"
    before = await written(gateway)
    for one in gateway.tills.values():
        no = await one.ask(REDEEM, input=redeeming(by_number(card), "10", code(gateway, card)))
        assert (no["code"], no["retryable"]) == ("CODE_LOCKED", True)
        assert await one.ask(MEMBER, ref=code(gateway, card)) is None
    assert await written(gateway) == before
    assert (await till.ask(MEMBER, ref=code(gateway, other)))["id"]
    done = await till.ask(REDEEM, input=redeeming(by_number(card), "10", {"pin": "4711"}))
    assert done["transaction"]["redeemed"] == "10"
    await gateway.at(NOON + guesses.CODE_WINDOW)
    later = int(guesses.CODE_WINDOW.total_seconds()) // proofs.STEP_SECONDS
    done = await till.ask(REDEEM, input=redeeming(by_number(card), "10", code(gateway, card, later)))
    assert done["transaction"]["redeemed"] == "10"


async def test_wrong_codes_are_counted_together_though_every_call_is_refused_and_right_ones_write_nothing(
    gateway: Gateway, card: IssuedCard
) -> None:
    made = gateway.coalition

    async def show(wrong: int) -> str:
        async with made.database.reading() as connection:
            try:
                shown = MemberRef(card_code=code(gateway, card, wrong=wrong)["cardCode"])
                await identification.identify(connection, made.vault, shown, partner_id=1, terminal_id=1, at=NOON)
            except (CodeInvalid, CodeLocked) as no:
                return no.code
        return "found"

    count = "SELECT coalesce(max(wrong), 0) FROM members.guess WHERE kind = 'CODE'"
    assert await asyncio.gather(*[show(0) for _ in range(5)]) == ["found"] * 5
    assert await made.database.pool.fetchval(count) == 0
    told = await asyncio.gather(*[show(wrong) for wrong in range(1, 21)])
    assert set(told) <= {"CODE_INVALID", "CODE_LOCKED"}
    assert await made.database.pool.fetchval(count) == told.count("CODE_INVALID") >= 5
    assert await show(0) == "CODE_LOCKED"


# --- Returns and what is not the member's yet ---------------------------------------------------------------


def returning(transaction_id: str, **more: Any) -> dict[str, Any]:
    return {
        "idempotencyKey": stand.key(), "original": {"id": transaction_id}, "reference": stand.key(), "outlet": "1",
        "terminal": "1", "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(),
        "what": {"whole": True}, **more,
    }  # fmt: skip


async def test_l10_no_more_comes_back_than_was_bought_and_points_come_back_as_points(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    lines = [{"lineId": "a", "amount": "60.00"}, {"lineId": "b", "amount": "40.00"}]
    bought = await record(
        till, card, stand.receipt("100.00", lines=lines), redeem={"points": "1000", "proof": {"pin": "4711"}}
    )
    txn = bought["transaction"]["id"]
    before = await written(gateway)
    too_much = await till.ask(RETURN, input=returning(txn, what={"amount": "101.00"}))
    assert too_much["code"] == "RETURN_EXCEEDS_ORIGINAL"
    line = await till.ask(RETURN, input=returning(txn, what={"lines": [{"lineId": "a", "amount": "60.60"}]}))
    assert line["code"] == "LINE_ALREADY_RETURNED"
    assert await written(gateway) == before
    given = returning(txn, what={"lines": [{"lineId": "a"}]})
    first = await till.ask(RETURN, input=given)
    assert (first["transaction"]["refundedPoints"], first["figures"]["refundMoney"]["amount"]) == ("600", "54.00")
    assert (await till.ask(RETURN, input=given))["transaction"] == first["transaction"]
    before = await written(gateway)
    twice = await till.ask(RETURN, input=returning(txn, what={"lines": [{"lineId": "a"}]}))
    assert twice["code"] == "LINE_ALREADY_RETURNED"
    assert await written(gateway) == before
    rest = await till.ask(RETURN, input=returning(txn))
    refunded = [int(one["transaction"]["refundedPoints"]) for one in (first, rest)]
    assert sum(refunded) == 1_000
    over = await till.ask(RETURN, input=returning(txn))
    assert over["code"] == "RETURN_EXCEEDS_ORIGINAL"
    assert (await till.ask(MEMBER, ref=by_number(card)))["balance"]["available"] == "1000"


async def test_l11_points_of_a_purchase_that_may_come_back_cannot_be_spent_and_nobody_falls_below_nothing(
    gateway: Gateway, card: IssuedCard
) -> None:
    tailor = gateway.tills["tailor"]  # a fortnight's return window
    member = await gateway.coalition.add_member()
    async with gateway.coalition.database.transaction() as connection:
        await proofs.set_pin(connection, gateway.coalition.vault, member.member_id, "4711")
    bought = await record(tailor, member, stand.receipt("200.00"))
    assert bought["balance"] == {"available": "0", "pending": "200", "debt": "0"}
    pin = {"pin": "4711"}
    answers = await spend_everywhere(tailor, by_number(member), "1", [pin, pin, pin])
    assert [no["code"] for no in answers] == ["INSUFFICIENT_POINTS"] * 3
    await gateway.at(NOON + 14 * DAY)
    spent = await tailor.ask(REDEEM, input=redeeming(by_number(member), "150", pin))
    assert spent["balance"]["available"] == "50"
    back = await tailor.ask(RETURN, input=returning(bought["transaction"]["id"]))
    assert (back["transaction"]["takenBack"], back["transaction"]["unrecovered"]) == ("50", "150")
    assert (await tailor.ask(MEMBER, ref=by_number(member)))["balance"] == {
        "available": "0",
        "pending": "0",
        "debt": "0",
    }
