"""What a member decides over their own session: lock, cap, answers, consents, a lost card; and what they read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gateway import scopes
from gateway.gate import client_rules
from gateway.oauth import clients
from gateway.sessions import session
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import accounts
from members import consents, households, proofs, sharing
from members.cards import IssuedCard
from members.sharing import SharingRules
from tests.builders import DAY, NOON, rows_written, violations
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import listening, stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.stand import Till
from tests.gateway.test_abuse import holding, redeeming, spend_everywhere
from tests.gateway.test_approval_api import ASK
from tests.gateway.test_hold_api import CAPTURE, PLACE
from tests.gateway.test_purchase_api import MEMBER, RECORD, REDEEM, RETURN, by_number

ADA, BEN = "ada@example.org", "ben@example.org"
PIN = {"pin": "4711"}
REJECTION = "... on Rejection { code retryable }"
LOCK = f"""mutation($input: LockSpendingInput!) {{ lockSpending(input: $input) {{ __typename
  ... on LockSpendingSuccess {{ replayed member {{ balance {{ available }} own {{ spendingLocked }} }} }} {REJECTION} }} }}"""
CAP = f"""mutation($input: SetDailyCapInput!) {{ setDailyCap(input: $input) {{ __typename
  ... on SetDailyCapSuccess {{ replayed member {{ own {{ dailyCap }} }} }} {REJECTION} }} }}"""
ANSWER = f"""mutation($input: AnswerApprovalInput!) {{ answerApproval(input: $input) {{ __typename
  ... on AnswerApprovalSuccess {{ replayed member {{ own {{ approvals {{ id }} }} }} }} {REJECTION} }} }}"""
CONSENT = f"""mutation($input: SetConsentInput!) {{ setConsent(input: $input) {{ __typename
  ... on SetConsentSuccess {{ member {{ own {{ consents {{ purpose granted partner {{ code }} }} }} }} }} {REJECTION} }} }}"""
LOST = f"""mutation($input: ReportCardLostInput!) {{ reportCardLost(input: $input) {{ __typename
  ... on ReportCardLostSuccess {{ replayed member {{ own {{ cards {{ id status }} }} }} }} {REJECTION} }} }}"""
OWN = """query($first: Int, $after: String, $upTo: Int) { viewer { ... on Member { id balance { available pending held debt } own {
  spendingLocked dailyCap cards { id lastFour status }
  approvals { id points outlet partner { code } } dates { kind points at partner { code } }
  entries(first: $first, after: $after, upTo: $upTo) { pageInfo { hasNextPage endCursor } nodes {
    number kind change moved answers answeredBy available pending partner { code } transaction { id kind reference
      ... on Purchase { awarded reasons { code points text } } } } } } } } }"""


@dataclass
class House:
    """A gateway with pages, a bakery with a till, and Ada with a card, a PIN, a thousand points and a browser."""

    desk: Desk
    till: Till
    card: IssuedCard
    ada: Script

    async def own(self, script: Script | None = None, **page: Any) -> Any:
        """What somebody reads of themselves."""
        return await (script or self.ada).ask(OWN, **page)

    async def later(self, by: timedelta = session.STEP_UP) -> None:
        """Let time pass, so that Ada's proof is not of a moment ago any more; the day is the same."""
        self.desk.wall.at += by

    @property
    def pool(self) -> Any:
        return self.desk.database.pool


template = a_coalition(bakery={"return_window_days": 0})


@pytest.fixture
async def house(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[House]:
    coalition = await met(database, vault)
    card = await coalition.add_member(email=ADA)
    async with database.transaction() as connection:
        await proofs.set_pin(connection, vault, card.member_id, "4711")
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        till = await a_till(desk)
        made = House(desk, till, card, await script_of(await desk.signed_in(ADA)))
        await till.ask(RECORD, input=earning(card, "1000.00"))
        yield made
    assert await violations(database.pool) == []
    await coalition.desk.close()


async def a_till(desk: Desk) -> Till:
    partner_id = desk.coalition.callers["bakery"].partner_id
    async with desk.database.transaction() as connection:
        await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
        await clients.allow_secrets(connection, partner_id=partner_id, by="tester", at=desk.wall())
        client_id, secret = await clients.add_client(
            connection, partner_id=partner_id, name="till", scopes=scopes.TILL, by="tester", at=desk.wall()
        )
        await client_rules.change(connection, client_id, by="tester", at=desk.wall(), allowance=stand.PLENTY)
    desk.application.state.endpoint.admission.rules.look_again()
    http: httpx2.AsyncClient = desk.browser().http
    form = {"grant_type": "client_credentials"}
    answer = await http.post("/oauth/token", auth=(client_id, secret), data=form)
    return Till(http, answer.json()["access_token"], client_id=client_id)


def earning(card: IssuedCard, total: str) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), "member": by_number(card), "receipt": stand.receipt(total)}


def keyed(**fields: Any) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), **fields}


# --- Lock and cap -------------------------------------------------------------------------------------------


async def test_the_lock_closes_every_exit_at_once_and_opens_them_with_a_fresh_proof(house: House) -> None:
    done = await house.ada.ask(LOCK, input=keyed(locked=True))
    # The member sees what is there; to a till it is nothing.
    assert done["member"] == {"balance": {"available": "1000"}, "own": {"spendingLocked": True}}
    assert (await house.till.ask(MEMBER, ref=by_number(house.card)))["balance"]["available"] == "0"
    before = await rows_written(house.pool)
    answers = await spend_everywhere(house.till, by_number(house.card), "10", [PIN, PIN, PIN])
    assert [no["code"] for no in answers] == ["SPENDING_LOCKED"] * 3
    for leave in (gift_of, contribution_of):
        with pytest.raises(Exception) as no:
            await leave(house, 10)
        assert no.value.code == "TRANSFER_LOCKED"  # type: ignore[attr-defined]
    assert await rows_written(house.pool) == before
    assert (await house.till.ask(RECORD, input=earning(house.card, "1.00")))["transaction"]["awarded"] == "1"

    await house.later()
    assert await house.ada.ask(LOCK, input=keyed(locked=False)) == {
        "__typename": "Rejection", "code": "STEP_UP_REQUIRED", "retryable": True,
    }  # fmt: skip
    assert (await house.own())["own"]["spendingLocked"] is True
    ada = await script_of(await house.desk.signed_in(ADA))
    assert (await ada.ask(LOCK, input=keyed(locked=False)))["member"]["own"] == {"spendingLocked": False}
    answers = await spend_everywhere(house.till, by_number(house.card), "10", [PIN, PIN, PIN])
    assert [answer.get("code") for answer in answers] == [None] * 3
    assert any(
        "The spend lock of your account was opened" in body for to, body in await house.desk.letters() if to == ADA
    )


async def test_the_cap_counts_every_exit_together_and_is_raised_with_a_fresh_proof_alone(house: House) -> None:
    assert (await house.ada.ask(CAP, input=keyed(points="50")))["member"]["own"] == {"dailyCap": "50"}
    answers = await spend_everywhere(house.till, by_number(house.card), "10", [PIN, PIN, PIN])
    assert [answer.get("code") for answer in answers] == [None] * 3
    await gift_of(house, 15)
    before = await rows_written(house.pool)
    answers = await spend_everywhere(house.till, by_number(house.card), "10", [PIN, PIN, PIN])
    assert [no["code"] for no in answers] == ["DAILY_CAP_REACHED"] * 3
    for leave in (gift_of, contribution_of):
        with pytest.raises(Exception) as no:
            await leave(house, 10)
        assert no.value.code == "TRANSFER_CAP_REACHED"  # type: ignore[attr-defined]
    assert await rows_written(house.pool) == before
    held = answers_hold(await house.till.ask(PLACE, input=holding(by_number(house.card), "5", PIN)))
    captured = keyed(
        holdId=held, reference=stand.key(), outlet="1", terminal="1", businessDate=NOON.date().isoformat(),
        occurredAt=NOON.isoformat(),
    )  # fmt: skip
    assert "transaction" in await house.till.ask(
        CAPTURE, input=captured
    )  # what was set aside within the cap is within it

    await house.later()
    for looser in ("51", None):
        assert (await house.ada.ask(CAP, input=keyed(points=looser)))["code"] == "STEP_UP_REQUIRED"
    assert (await house.ada.ask(CAP, input=keyed(points="49")))["member"]["own"] == {"dailyCap": "49"}
    assert (await house.ada.ask(CAP, input=keyed(points="-1")))["code"] == "DAILY_CAP_INVALID"
    ada = await script_of(await house.desk.signed_in(ADA))
    assert (await ada.ask(CAP, input=keyed(points=None)))["member"]["own"] == {"dailyCap": None}
    assert (await house.till.ask(REDEEM, input=redeeming(by_number(house.card), "10", PIN)))["transaction"]
    assert any("daily limit" in body for to, body in await house.desk.letters() if to == ADA)


def answers_hold(answer: Any) -> str:
    return str(answer["hold"]["id"])


async def test_spendings_at_once_never_take_more_than_the_cap_that_is_set_meanwhile(house: House) -> None:
    await house.ada.ask(CAP, input=keyed(points="50"))
    work = [house.till.ask(REDEEM, input=redeeming(by_number(house.card), "10", PIN)) for _ in range(12)]
    work += [house.till.ask(PLACE, input=holding(by_number(house.card), "10", PIN)) for _ in range(12)]
    answers = await asyncio.gather(*work, house.ada.ask(CAP, input=keyed(points="40")))
    spent = 10 * sum(answer["__typename"] in ("RedeemPointsSuccess", "PlaceHoldSuccess") for answer in answers)
    assert spent in (40, 50)
    assert (
        await house.pool.fetchval("SELECT spent FROM ledger.account WHERE holder_id = $1", house.card.member_id)
        == spent
    )


RULES = SharingRules(True, 4, timedelta(0))


async def gift_of(house: House, points: int) -> None:
    """Ada gives points to somebody."""
    taker = await house.desk.coalition.add_member()
    async with house.desk.database.transaction() as connection:
        await sharing.give(
            connection, RULES, sender_id=house.card.member_id, receiver_id=taker.member_id, points=points,
            key=stand.key(), at=NOON + timedelta(hours=1), day=NOON.date(),
        )  # fmt: skip


async def contribution_of(house: House, points: int) -> None:
    """Ada puts points into a household of hers."""
    async with house.desk.database.transaction() as connection:
        at = NOON + timedelta(hours=1)
        await households.found(connection, house.desk.vault, RULES, member_id=house.card.member_id, at=at)
        await households.contribute(
            connection, RULES, member_id=house.card.member_id, points=points, key=stand.key(), at=at, day=NOON.date()
        )


# --- Once ---------------------------------------------------------------------------------------------------


async def test_a_late_retry_does_not_undo_what_was_done_since(house: House) -> None:
    opened = keyed(locked=False)
    assert (await house.ada.ask(LOCK, input=opened))["replayed"] is False
    await house.ada.ask(LOCK, input=keyed(locked=True))
    again = await house.ada.ask(LOCK, input=opened)
    assert (again["replayed"], again["member"]["own"]["spendingLocked"]) == (True, True)
    assert (await house.ada.ask(LOCK, input={**opened, "locked": True}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await house.ada.ask(LOCK, input={**opened, "idempotencyKey": "short"}))["code"] == "IDEMPOTENCY_KEY_INVALID"


async def test_of_many_equal_calls_at_once_one_does_it(house: House) -> None:
    call = keyed(points="40")
    answers = await asyncio.gather(*[house.ada.ask(CAP, input=call) for _ in range(8)])
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 7
    trail = "SELECT count(*) FROM kit.audit_trail WHERE action = 'DAILY_CAP_SET'"
    assert await house.pool.fetchval(trail) == 1


async def test_a_call_that_is_refused_keeps_its_key_free(house: House) -> None:
    await house.ada.ask(CAP, input=keyed(points="10"))
    await house.later()
    call = keyed(points="20")
    assert (await house.ada.ask(CAP, input=call))["code"] == "STEP_UP_REQUIRED"
    ada = await script_of(await house.desk.signed_in(ADA))
    assert (await ada.ask(CAP, input=call))["replayed"] is False


# --- Approvals ----------------------------------------------------------------------------------------------


async def question(house: House, points: str = "30") -> Any:
    asked = {"member": by_number(house.card), "outlet": "1", "terminal": "1", "points": points}
    return (await house.till.ask(ASK, input=keyed(**asked)))["approval"]["id"]


async def test_a_till_asks_the_member_agrees_at_home_and_the_till_spends(house: House) -> None:
    approval_id = await question(house)
    [waiting] = (await house.own())["own"]["approvals"]
    assert (waiting["points"], waiting["outlet"], waiting["partner"]) == ("30", "Main street", {"code": "bakery"})
    proof = {"approvalId": approval_id}
    assert (await house.till.ask(REDEEM, input=redeeming(by_number(house.card), "30", proof)))[
        "code"
    ] == "APPROVAL_PENDING"
    answer = keyed(approvalId=waiting["id"], approved=True)
    assert (await house.ada.ask(ANSWER, input=answer))["member"]["own"]["approvals"] == []
    assert (await house.ada.ask(ANSWER, input=answer))["replayed"] is True
    done = await house.till.ask(REDEEM, input=redeeming(by_number(house.card), "30", proof))
    assert done["transaction"]["redeemed"] == "30"
    again = await house.till.ask(REDEEM, input=redeeming(by_number(house.card), "30", proof))
    assert again["code"] == "APPROVAL_USED"


async def test_l28_what_was_agreed_to_on_the_phone_is_good_for_that_shop_and_amount_alone(house: House) -> None:
    approval_id = await question(house, "50")
    [waiting] = (await house.own())["own"]["approvals"]
    # Whoever is asked sees where and how much, so a stranger on the phone cannot call it something else.
    assert (waiting["points"], waiting["outlet"], waiting["partner"]["code"]) == ("50", "Main street", "bakery")
    await house.ada.ask(ANSWER, input=keyed(approvalId=waiting["id"], approved=True))
    before = await rows_written(house.pool)
    for points in ("500", "51", "49"):
        no = await house.till.ask(REDEEM, input=redeeming(by_number(house.card), points, {"approvalId": approval_id}))
        assert no["code"] == "APPROVAL_MISMATCH"
    assert await rows_written(house.pool) == before
    done = await house.till.ask(REDEEM, input=redeeming(by_number(house.card), "50", {"approvalId": approval_id}))
    assert done["transaction"]["redeemed"] == "50"


async def test_agreeing_takes_a_fresh_proof_and_declining_does_not(house: House) -> None:
    approval_id = await question(house)
    [waiting] = (await house.own())["own"]["approvals"]
    await house.later()
    assert (await house.ada.ask(ANSWER, input=keyed(approvalId=waiting["id"], approved=True)))[
        "code"
    ] == "STEP_UP_REQUIRED"
    assert "member" in await house.ada.ask(ANSWER, input=keyed(approvalId=waiting["id"], approved=False))
    no = await house.till.ask(REDEEM, input=redeeming(by_number(house.card), "30", {"approvalId": approval_id}))
    assert no["code"] == "APPROVAL_DECLINED"


# --- Cards and consents -------------------------------------------------------------------------------------


async def test_a_card_that_is_gone_is_reported_and_neither_earns_nor_spends(house: House) -> None:
    [card] = (await house.own())["own"]["cards"]
    assert card["lastFour"] == house.card.last_four
    done = await house.ada.ask(LOST, input=keyed(cardId=card["id"]))
    assert done["member"]["own"]["cards"] == [{"id": card["id"], "status": "LOST"}]
    assert (await house.till.ask(RECORD, input=earning(house.card, "1.00")))["code"] == "CARD_BLOCKED"


async def test_a_consent_is_given_and_withdrawn_in_one_step_each_and_remembered_for_any_moment(house: House) -> None:
    words = {"purpose": "PARTNER_TRANSFER", "textVersion": "2", "partner": "bakery"}
    given = await house.ada.ask(CONSENT, input=keyed(**words, granted=True))
    assert {"purpose": "PARTNER_TRANSFER", "granted": True, "partner": {"code": "bakery"}} in given["member"]["own"][
        "consents"
    ]
    agreed_at = house.desk.wall()
    await house.desk.at_wall()
    house.desk.wall.move(seconds=5)
    await house.desk.at_wall()
    await house.later()
    taken = await house.ada.ask(CONSENT, input=keyed(**words, granted=False))
    assert {"purpose": "PARTNER_TRANSFER", "granted": False, "partner": {"code": "bakery"}} in taken["member"]["own"][
        "consents"
    ]
    assert (await house.ada.ask(CONSENT, input=keyed(purpose="EVERYTHING", textVersion="1", granted=True)))[
        "code"
    ] == "CONSENT_INVALID"
    nobody = keyed(purpose="PARTNER_TRANSFER", textVersion="1", granted=True, partner="nobody")
    assert (await house.ada.ask(CONSENT, input=nobody))["code"] == "PARTNER_UNKNOWN"
    partner_id = house.desk.coalition.callers["bakery"].partner_id
    async with house.desk.database.reading() as connection:
        for at, held in ((agreed_at, True), (house.desk.wall(), False)):
            assert held == await consents.is_granted(
                connection, house.card.member_id, "PARTNER_TRANSFER", at, partner_id=partner_id
            )


# --- Reading ------------------------------------------------------------------------------------------------


async def test_the_history_sums_to_the_balance_and_says_why(house: House) -> None:
    receipt = stand.receipt("20.00")
    paid = {
        "idempotencyKey": stand.key(),
        "member": by_number(house.card),
        "receipt": receipt,
        "redeem": {"points": "100", "proof": PIN},
    }
    await house.till.ask(RECORD, input=paid)
    back = keyed(
        original={"receipt": {key: receipt[key] for key in ("reference", "outlet", "terminal", "businessDate")}},
        reference=stand.key(), outlet="1", terminal="1", businessDate=NOON.date().isoformat(),
        occurredAt=NOON.isoformat(), what={"whole": True},
    )  # fmt: skip
    await house.till.ask(RETURN, input=back)
    own = await house.own()
    entries = own["own"]["entries"]["nodes"]
    assert [entry["number"] for entry in entries] == list(range(len(entries), 0, -1))
    assert sum(int(entry["change"]) for entry in entries) == int(own["balance"]["available"]) == 1000
    assert {entry["partner"]["code"] for entry in entries if entry["partner"]} == {"bakery"}
    first = next(entry for entry in entries if entry["kind"] == "ACCRUAL" and entry["moved"] == "1000")
    assert first["transaction"]["awarded"] == "1000"
    assert [reason["code"] for reason in first["transaction"]["reasons"]] == ["BASE"]
    spent = next(entry for entry in entries if entry["kind"] == "REDEMPTION")
    assert (spent["change"], spent["transaction"]["kind"]) == ("-100", "PURCHASE")
    # What answers an entry is named by it, whatever page it is on; and a page can begin with any entry.
    named = {(entry["answers"], entry["number"]) for entry in entries if entry["answers"]}
    assert named == {(entry["number"], one) for entry in entries for one in entry["answeredBy"]}
    assert len(named) >= 2
    begun = (await house.own(upTo=spent["number"], first=1))["own"]["entries"]["nodes"]
    assert begun == [spent]
    # Read a page at a time it is the same.
    paged: list[Any] = []
    after = None
    while True:
        page = (await house.own(first=2, after=after))["own"]["entries"]
        paged += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert paged == entries
    [dated] = {(each["kind"], each["partner"]["code"]) for each in own["own"]["dates"]}
    assert dated == ("EXPIRY", "bakery")
    assert sum(int(each["points"]) for each in own["own"]["dates"]) == 1000


async def test_a_members_own_ids_are_none_that_a_partner_knows(house: House) -> None:
    seen = await house.till.ask(MEMBER, ref=by_number(house.card))
    own = await house.own()
    assert own["id"] != seen["id"]
    assert await house.till.ask(MEMBER, ref={"id": own["id"]}) is None
    document = "query($r: MemberRefInput!) { member(ref: $r) { id } }"
    assert await house.ada.ask(document, r={"id": seen["id"]}) is None


async def test_a_till_reads_nothing_of_what_is_the_members_own(house: House) -> None:
    document = (
        "query($ref: MemberRefInput!) { member(ref: $ref) { own { cards { id } entries { nodes { number } } } } }"
    )
    assert await house.till.ask(document, ref=by_number(house.card)) == {"own": None}
    for document, fields in (
        (LOCK, {"locked": False}), (CAP, {"points": None}), (ANSWER, {"approvalId": "x", "approved": True}),
        (CONSENT, {"purpose": "PROGRAMME", "granted": True, "textVersion": "1"}), (LOST, {"cardId": "x"}),
    ):  # fmt: skip
        assert (await house.till.error(document, input=keyed(**fields)))["extensions"]["code"] == "FORBIDDEN"


# --- Whose is it --------------------------------------------------------------------------------------------


async def test_ben_hears_of_what_is_adas_as_of_what_never_was(house: House) -> None:
    await house.desk.coalition.add_member(email=BEN)
    ben = await script_of(await house.desk.signed_in(BEN))
    await question(house)
    ada = await house.own()
    cursor = (await house.own(first=1))["own"]["entries"]["pageInfo"]["endCursor"]
    before = await rows_written(house.pool)
    for theirs, nothing in ((ada["own"]["cards"][0]["id"], "crd_nothing"),):
        assert await ben.ask(LOST, input=keyed(cardId=theirs)) == await ben.ask(LOST, input=keyed(cardId=nothing))
    for approved in (True, False):
        theirs = ada["own"]["approvals"][0]["id"]
        told = [
            await ben.ask(ANSWER, input=keyed(approvalId=name, approved=approved)) for name in (theirs, "apv_nothing")
        ]
        assert told[0] == told[1]
        assert told[0]["code"] == "APPROVAL_UNKNOWN"
    document = "query($r: MemberRefInput!) { member(ref: $r) { id } }"
    assert await ben.ask(document, r={"id": ada["id"]}) is None
    errors = [await ben.error(OWN, after=name) for name in (cursor, "cur_nothing")]
    assert [{**error, "requestId": ""} for error in errors] == [{"code": "BAD_USER_INPUT", "requestId": ""}] * 2
    assert await rows_written(house.pool) == before
    async with house.desk.database.reading() as connection:
        found = await accounts.balance(connection, house.card.member_id, at=NOON + DAY)
    assert found is not None
    assert found.spend_locked is False
    assert (await house.own())["own"]["cards"][0]["status"] == "ACTIVE"


async def test_a_member_listens_to_the_own_balance_and_to_nobody_elses(house: House) -> None:
    document = "subscription($r: MemberRefInput!) { balanceChanged(ref: $r) { cursor balance { available } } }"
    me = (await house.own())["id"]
    headers = [
        (b"cookie", "; ".join(f"{k}={v}" for k, v in house.ada.browser.http.cookies.items()).encode()),
        (b"x-csrf-token", house.ada.csrf.encode()),
    ]
    app = house.desk.application
    async with listening.events(app, "", document, path="/session/graphql", session=headers, r={"id": me}) as stream:
        first = await stream.data()
        assert first["balance"] == {"available": "1000"}
        await house.till.ask(RECORD, input=earning(house.card, "5.00"))
        assert (await stream.data())["balance"] == {"available": "1005"}
    async with listening.events(
        app, "", document, path="/session/graphql", session=headers, r={"cardNumber": house.card.number}
    ) as stream:
        name, told = await stream.event()
        assert (name, told["errors"][0]["extensions"]["code"]) == ("next", "BAD_USER_INPUT")
