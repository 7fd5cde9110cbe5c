"""Limits as a client meets them: what an answer says of its cost, when it is told to wait, what it may send."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx2
import pytest

from gateway import endpoint
from gateway.gate import client_rules
from gateway.gate.admission import Admission
from gateway.gate.allowances import STANDARD, Allowance
from gateway.gate.shedding import Turnstile
from kit import postgres
from kit.database import APPLICATION_ROLE
from kit.secrets import Vault
from tests.builders import found
from tests.gateway import stand
from tests.gateway.toys import Toy, schema

ITEMS = "query($n: Int!) { items(first: $n) { nodes { name } } }"
STRICT = {"Accept": "application/graphql-response+json"}


async def ruled(toy: Toy, allowance: Allowance = STANDARD, *, trusted_only: bool = False) -> None:
    """Give the toy's client a rule and let the process see it."""
    async with toy.database.transaction() as connection:
        await client_rules.change(
            connection, toy.client_id, by="anna", at=toy.clock.at, allowance=allowance, trusted_only=trusted_only
        )
    toy.app.state.endpoint = endpoint.Endpoint(schema, toy.app.state.services, toy.app.state.oauth.bearers)


def cost_of(response: httpx2.Response) -> dict[str, Any]:
    cost = response.json()["extensions"]["cost"]
    assert set(cost) == {"requestedQueryCost", "actualQueryCost", "throttleStatus"}
    assert set(cost["throttleStatus"]) == {"maximumAvailable", "currentlyAvailable", "restoreRate"}
    return dict(cost)


async def test_an_answer_says_what_was_asked_for_what_it_came_to_and_what_is_left(own_toy: Toy) -> None:
    await ruled(own_toy)
    cost = cost_of(await own_toy.ask(ITEMS, {"n": 50}))
    assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (51, 51)
    assert cost["throttleStatus"]["maximumAvailable"] == 2_000
    assert cost["throttleStatus"]["restoreRate"] == 100
    assert 1_949 <= cost["throttleStatus"]["currentlyAvailable"] <= 2_000


async def test_what_an_answer_does_not_hold_is_given_back(own_toy: Toy) -> None:
    await ruled(own_toy, Allowance(1_000, 1))
    for _ in range(30):  # 30 times 101 would be three times the bucket
        response = await own_toy.ask("query($n: Int!) { few(first: $n) { nodes { name } } }", {"n": 100})
        cost = cost_of(response)
        assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (101, 3)


@pytest.mark.parametrize("query", ["{ nine }", "{ one", "{ refused }", '{ broken(card: "1") }', "{ away }", ITEMS])
async def test_every_answer_of_the_gate_and_behind_it_says_what_it_cost(toy: Toy, query: str) -> None:
    cost = cost_of(await toy.ask(query))
    assert (cost["requestedQueryCost"], cost["actualQueryCost"]) in ((1, 1), (21, 21))


async def test_a_client_that_asks_for_too_much_is_told_when_to_come_back_and_only_it(own_toy: Toy) -> None:
    await ruled(own_toy, Allowance(100, 5))
    other = await second_client(own_toy)
    assert (await own_toy.ask(ITEMS, {"n": 89})).status_code == 200
    for headers in ({}, STRICT):
        late = await own_toy.ask(ITEMS, {"n": 49}, **headers)
        assert late.status_code == 429
        assert late.headers["retry-after"] in ("8", "9")
        [error] = late.json()["errors"]
        assert error["extensions"]["code"] == "THROTTLED"
        assert cost_of(late)["requestedQueryCost"] == 0
    assert (await own_toy.ask("{ one }")).status_code == 200
    assert (await own_toy.ask(ITEMS, {"n": 99}, token=other)).status_code == 200


async def second_client(toy: Toy) -> str:
    from gateway import scopes
    from gateway.oauth import clients

    async with toy.database.transaction() as connection:
        client_id, secret = await clients.add_client(
            connection, partner_id=toy.partner_id, name="web", scopes=scopes.TILL, by="anna", at=toy.clock.at
        )
    form = {"grant_type": "client_credentials"}
    answer = await toy.http.post("/oauth/token", data=form, auth=(client_id, secret))
    return str(answer.json()["access_token"])


async def test_a_thousandth_point_is_the_last_of_a_request(toy: Toy) -> None:
    over = "{ items(first: 100) { nodes { below(first: 10) { nodes { name } } } } }"
    [error] = (await toy.ask(over)).json()["errors"]
    assert error["extensions"]["code"] == "QUERY_TOO_COMPLEX"


async def test_new_documents_are_sixty_at_once_and_then_one_a_second(own_toy: Toy) -> None:
    """The cheapest attack on the processor: every text another one."""
    await ruled(own_toy)
    answers = [await own_toy.ask(f"{{ a{number}: one }}") for number in range(70)]
    assert [answer.status_code for answer in answers[:60]] == [200] * 60
    assert {answer.status_code for answer in answers[63:]} == {429}
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await own_toy.ask("{ a1: one }")).status_code == 200  # what is known goes on
    bad = await own_toy.ask("{ nothing like it }")
    assert bad.status_code == 429


async def test_a_bad_document_counts_as_new_each_time(own_toy: Toy) -> None:
    await ruled(own_toy)
    statuses = [(await own_toy.ask("{ nine }")).status_code for _ in range(70)]
    assert statuses[0] == 200
    assert statuses[-1] == 429


# --- Registered documents -----------------------------------------------------------------------------------

HASH = hashlib.sha256(ITEMS.encode()).hexdigest()


async def registered(toy: Toy, document: str) -> None:
    async with toy.database.transaction() as connection:
        await client_rules.register(connection, toy.client_id, document, by="anna", at=toy.clock.at)


async def send(toy: Toy, **body: Any) -> httpx2.Response:
    return await toy.http.post("/graphql", json=body, headers={"Authorization": f"Bearer {toy.token}"})


@pytest.mark.parametrize(
    "named",
    [{"documentId": f"sha256:{HASH}"}, {"documentId": HASH}, {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": HASH}}}],
)  # fmt: skip
async def test_a_registered_document_runs_by_its_hash_alone(own_toy: Toy, named: dict[str, Any]) -> None:
    before = (await send(own_toy, **named, variables={"n": 1})).json()
    assert before["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    await registered(own_toy, ITEMS)
    answer = (await send(own_toy, **named, variables={"n": 1})).json()
    assert answer["data"] == {"items": {"nodes": [{"name": "0"}]}}


async def test_another_clients_registration_is_unknown(own_toy: Toy) -> None:
    await registered(own_toy, ITEMS)
    own_toy.token = await second_client(own_toy)
    answer = (await send(own_toy, documentId=HASH, variables={"n": 1})).json()
    assert answer["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_hash_that_is_not_the_documents_is_refused(own_toy: Toy) -> None:
    await registered(own_toy, ITEMS)
    answer = (await send(own_toy, query="{ one }", documentId=HASH)).json()
    assert answer["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("document_id", ["", "x", HASH[:-1], HASH.upper(), 7, None, [HASH], {"sha256Hash": HASH}])
async def test_what_is_no_hash_is_a_400(toy: Toy, document_id: object) -> None:
    assert (await send(toy, documentId=document_id)).status_code == 400
    assert (await send(toy, extensions={"persistedQuery": {"sha256Hash": document_id}})).status_code == 400


async def test_a_client_of_registered_documents_alone_can_ask_nothing_else(own_toy: Toy) -> None:
    await registered(own_toy, ITEMS)
    await ruled(own_toy, trusted_only=True)
    own_toy.seen.calls.clear()
    other = (await own_toy.ask("{ one }")).json()
    assert other["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert own_toy.seen.calls == []
    assert "data" in (await own_toy.ask(ITEMS, {"n": 1})).json()
    assert "data" in (await send(own_toy, documentId=HASH, variables={"n": 1})).json()


async def test_registered_documents_are_never_new(own_toy: Toy) -> None:
    texts = [f"{{ b{number}: one }}" for number in range(70)]
    for text in texts:
        await registered(own_toy, text)
    await ruled(own_toy)
    answers = [await send(own_toy, documentId=hashlib.sha256(text.encode()).hexdigest()) for text in texts]
    assert {answer.status_code for answer in answers} == {200}


# --- More than can be done ----------------------------------------------------------------------------------


def crowded(toy: Toy, turnstile: Turnstile) -> Admission:
    state = toy.app.state
    admission = Admission(schema, state.services, turnstile=turnstile)
    state.endpoint = endpoint.Endpoint(schema, state.services, state.oauth.bearers, admission)
    return admission


async def test_with_no_place_left_a_request_is_a_503_with_retry_after_and_runs_nothing(own_toy: Toy) -> None:
    turnstile = Turnstile(1, waiting=0, patience_seconds=0.01)
    admission = crowded(own_toy, turnstile)
    await turnstile.enter(2)
    own_toy.seen.calls.clear()
    for query, wait in (
        ("{ one }", "4"),
        ('mutation { accrue(input: {idempotencyKey: "k", points: 1}) { __typename } }', "2"),
    ):
        response = await own_toy.ask(query)
        assert (response.status_code, response.headers["retry-after"]) == (503, wait)
        assert response.json()["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert own_toy.seen.calls == []
    turnstile.leave()
    assert (await own_toy.ask("{ one }")).status_code == 200
    assert (turnstile.inside, admission.turnstile.waiting) == (0, 0)


async def test_a_place_is_free_again_whatever_became_of_the_request(own_toy: Toy) -> None:
    turnstile = Turnstile(4)
    crowded(own_toy, turnstile)
    for query in (
        "{ one }",
        '{ broken(card: "1") }',
        "{ away }",
        "{ refused }",
        "{ nine }",
        'mutation { lose(how: "x") { __typename } }',
    ):
        await own_toy.ask(query)
    assert turnstile.inside == 0


async def test_the_rank_of_an_operation_and_whether_it_finds_members_is_read_from_the_schema() -> None:
    from gateway import scopes
    from gateway.schema import schema as served
    from tests.gateway.test_schema import ROOTS, document

    ranks: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    finding = set()
    for root, name in ROOTS:
        _, operation = served.admit(
            document(root, name), None, {}, frozenset(scopes.SCOPES) | frozenset(scopes.OF_SESSIONS)
        )
        ranks[operation.rank].add(name)
        if operation.names_member:
            finding.add(name)
    spending = {"recordPurchase", "redeemPoints", "placeHold", "captureHold", "releaseHold", "requestApproval"}
    spending |= {"takeReward", "handOverReward", "useRight"}
    assert ranks[2] == spending | {"returnPurchase", "cancelPurchase"}
    told = {
        "recordEvent", "moderateEvent", "activateOffer", "acceptInvitation", "reportUsage", "reserveCoupons",
        "releaseCoupons",
    }  # fmt: skip
    own = {
        "lockSpending", "setDailyCap", "answerApproval", "setConsent", "reportCardLost", "putCardOnDevice", "forgetMe",
        "orderReward", "inviteFriend", "acceptOffer", "subscribe", "cancelSubscription", "changeSubscription",
        "pauseSubscription", "resumeSubscription", "offerSeat", "acceptSeat", "leaveSeat", "removeSeat",
        "givePaymentMeans", "claimMissingPoints", "contestClaim", "putCardInWallet",
        "giveSubscription", "redeemGift", "takeGiftBack", "confirmPairing",
    }  # fmt: skip
    desk = {
        "startSettlementRuns", "moveSettlementRun", "decideSettlementRun", "endSettlementRun",
        "acceptSettlementStatement", "declareHoliday", "proposeTaxRule", "recordDeposit", "proposeDepositReturn",
        "proposeDefaultCover", "proposeBuyOut", "proposeExit", "decideFinanceProposal", "proposeAgreement",
        "decideAgreement", "addPromotion", "draftRule", "simulateRelease", "submitRelease", "publishRelease",
        "declineRelease", "suspendPromotion", "addBudget", "setBudgetLimit", "fundBudget", "addReward",
        "setRewardStock", "inviteToClub",
        "answerClaim", "proposeClaimDecision", "openDispute", "answerDispute", "sayInDispute", "addDisputeEvidence",
        "takeUpDispute", "decideDispute",
        "comparePartnerFile", "lookForMissingLines", "assignBreak", "explainBreak", "addBreakNote", "resolveBreak",
        "matchBreaks", "undoBreakMatch", "verifyBreak", "reopenBreak", "preparePaymentFiles", "releasePaymentFile",
        "acknowledgePaymentFile", "followUpPayments", "sealSettlementRun", "proposeBankAccount", "identifySuspense",
        "sendSuspense", "proposeKeepSuspense", "writeOffPayment", "advanceTestClock", "closeSettlementCutoff",
        "suspendPartner", "resumePartner", "disputeBreak", "saveQuestion", "dropQuestion",
        "recordSubscriptionReceipt", "recordSubscriptionRefund", "recordSubscriptionChargeback", "closeFeeMonth",
        "proposeFeeRules", "proposePlan", "proposePlanPrice", "decidePlanProposal", "addPlanOffer", "drawPlanCodes",
        "stopPlanOffer", "approveBudgetProposal", "declineBudgetProposal", "withdrawBudgetProposal",
    }  # fmt: skip
    office = {
        "inviteColleague", "removeColleague", "addApiClient", "addClientKey", "removeClientKey", "rotateClientSecret",
        "suspendApiClient", "addOutlet", "addTerminal", "closeTerminal", "seedSandbox", "setOutletPlace",
        "addWebhookEndpoint", "changeWebhookEndpoint", "rotateWebhookSecret", "disableWebhookEndpoint",
        "enableWebhookEndpoint", "removeWebhookEndpoint", "resendWebhook", "resendFailedWebhooks", "sendSampleWebhook",
    }  # fmt: skip
    assert ranks[1] == {"accruePoints", "enrolMember", "beginPairing"} | own | office | told | desk
    # Whoever guesses has one budget for all that tells whether a card, a code or a phone is somebody's.
    assert finding == {
        "member", "quote", "recordPurchase", "accruePoints", "accrueMany", "redeemPoints", "placeHold",
        "requestApproval", "enrolMember", "balanceChanged", "recordEvent", "activateOffer", "offers", "reportUsage",
        "acceptInvitation", "takeReward", "askingTill", "confirmPairing", "reserveCoupons", "useRight",
    }  # fmt: skip
    assert {"accrueMany", "member", "quote", "viewer", "balanceChanged"} <= ranks[0]


# --- Guessing members ---------------------------------------------------------------------------------------

MEMBER = "query($ref: MemberRefInput!) { member(ref: $ref) { id } }"


async def test_whoever_guesses_members_is_stopped_and_other_clients_are_not(
    database: Any, vault: Vault, server: postgres.Server, database_name: str
) -> None:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery")
    card = await coalition.add_member(phone="+37369000001")
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as gateway:
        guesser = await gateway.till("bakery", allowance=None)
        honest = await gateway.till("bakery", allowance=None)
        known = {"cardNumber": card.number}
        for _ in range(80):
            assert (await guesser.post(MEMBER, ref=known)).json()["data"]["member"]  # finding somebody costs none
        statuses = []
        for number in range(70):
            response = await guesser.post(MEMBER, ref={"externalId": f"nobody-{number}"})
            statuses.append(response.status_code)
        assert statuses[:55] == [200] * 55
        assert statuses[-1] == 429
        assert response.headers["retry-after"]
        stopped = await guesser.post(MEMBER, ref=known)
        assert stopped.status_code == 429  # else the guesser would go on and wait for a hit
        assert (await guesser.post("{ viewer { __typename } }")).status_code == 200
        assert (await honest.post(MEMBER, ref=known)).status_code == 200
    await coalition.desk.close()
