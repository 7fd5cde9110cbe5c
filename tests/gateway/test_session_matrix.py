"""What sessions open, made from the published schema: every root field for every kind of person, and whose things are whose.

A root field that takes a scope of sessions is in these tables by being there; one without a row fails.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import pytest
from graphql import GraphQLInputObjectType, get_named_type
from joserfc.jwk import OKPKey

from gateway import claim_types, scopes
from gateway.membership.own_ids import SUBSCRIPTION, own_id
from gateway.oauth import clients
from gateway.sessions import colleagues, viewers
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from members import approvals
from partners.agreements import onboarding
from settlement import runs
from settlement.claims import claims
from settlement.claims.claims import ClaimDraft
from tests.builders import NOON, rows_written
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import SENDER, Desk
from tests.gateway.membership.test_membership_api import keyed
from tests.gateway.subscribing import subscribed
from tests.gateway.test_ownership import below
from tests.gateway.test_schema import BUILT, ROOT_TYPES, ROOTS, demanded, document

OPEN = """mutation($input: OpenDisputeInput!) { openDispute(input: $input) {
  __typename ... on DisputeSuccess { dispute { id } } ... on Rejection { code message } } }"""
PEOPLE: dict[str, frozenset[str]] = {
    "member": frozenset({scopes.MEMBER_SELF}),
    **{f"staff {role}": viewers.scopes_of(frozenset({role})) for role in actors.ROLES},
    **{f"colleague {role}": held for role, held in colleagues.SCOPES.items()},
}
"""Everybody who can be signed in, with what they may do."""

OF_SESSIONS = [
    (root, name) for root, name in ROOTS if demanded(root, name) and demanded(root, name) <= scopes.OF_SESSIONS.keys()
]


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def script_for(desk: Desk, who: str) -> Script:
    """A browser in which somebody of this kind is signed in."""
    kind, _, role = who.partition(" ")
    address = f"{who.replace(' ', '.').lower()}@example.org"
    if kind == "member":
        await desk.coalition.add_member(email=address)
        return await script_of(await desk.signed_in(address))
    if kind == "staff":
        await desk.invite(role.lower(), address, [role])
        return await script_of(await desk.signed_in(address, "/staff"), "/staff")
    await colleague(desk, "bakery", role.lower(), address, role)
    return await script_of(await desk.signed_in(address, "/portal"), "/portal")


async def colleague(desk: Desk, code: str, name: str, address: str, *roles: str) -> str:
    """Somebody who may sign in for a partner; returns the invitation."""
    partner = (await desk.coalition.desk.directory.get()).partner_by_code(code)
    assert partner is not None
    async with desk.database.transaction() as connection:
        return await colleagues.invite(
            connection, desk.vault, SENDER, partner, name=name, roles=roles, email=address, language="en",
            by=desk.coalition.onboarder, now=desk.wall(),
        )  # fmt: skip


async def colleague_script(desk: Desk, code: str, role: str) -> Script:
    """A browser in which somebody of a partner is signed in."""
    address = f"{role.lower()}@{code}.example"
    await colleague(desk, code, role.lower(), address, role)
    return await script_of(await desk.signed_in(address, "/portal"), "/portal")


@pytest.mark.parametrize("who", PEOPLE)
async def test_whoever_is_signed_in_is_answered_what_their_scopes_open_and_nothing_else(desk: Desk, who: str) -> None:
    script = await script_for(desk, who)
    before = await rows_written(desk.database.pool)
    for root, name in ROOTS:
        desk.wall.move(seconds=60)  # the allowance comes back
        answer = await script.post(document(root, name))
        codes = {error["extensions"]["code"] for error in answer.json().get("errors", [])}
        wanted = demanded(root, name)
        if wanted and PEOPLE[who].isdisjoint(wanted):
            assert codes == {"FORBIDDEN"}, f"{root}.{name}: {answer.text}"
        elif root == "Subscription":
            assert answer.status_code == 406
        else:
            assert codes <= {"BAD_USER_INPUT"}, f"{root}.{name}: {answer.text}"
    assert await rows_written(desk.database.pool) == before


def test_of_all_who_are_signed_in_cashiers_alone_do_what_tills_do() -> None:
    moving = {
        scopes.POINTS_ACCRUE,
        scopes.POINTS_REDEEM,
        scopes.POINTS_RETURN,
        scopes.MEMBERS_ENROL,
        scopes.MEMBERS_READ,
    }
    assert [who for who, held in PEOPLE.items() if held & moving] == [f"colleague {colleagues.CASHIER}"]
    assert scopes.MEMBERS_ENROL not in colleagues.SCOPES[colleagues.CASHIER]


def test_no_client_can_be_granted_what_a_session_alone_brings() -> None:
    assert not scopes.SCOPES.keys() & scopes.OF_SESSIONS.keys()
    assert OF_SESSIONS


# --- Whose is it --------------------------------------------------------------------------------------------

NAMES_NOTHING = {
    "idempotencyKey", "locked", "approved", "granted", "purpose", "textVersion", "points", "email", "roles", "language",
    "plan", "interval", "currencyCode", "trial", "paymentToken", "paymentTextVersion", "atOnce", "until",
    "businessDate", "reference", "total", "place", "occurredAt", "mediaType", "sizeBytes", "sha256", "reason", "note",
    "accepted", "line", "amount", "answer", "fileName",
    "overlapHours", "forTills", "failed", "since", "first", "after", "intervals",
}  # fmt: skip


def _of_subscription(more: dict[str, Any], subscription: str) -> dict[str, Any]:
    return {"subscriptionId": subscription, **more}


# What names something: a call in which it stands, and what stands there when nothing is meant.
NAMES: dict[str, tuple[str, Callable[[str], dict[str, Any]], str]] = {
    "ReportCardLostInput.cardId": ("reportCardLost", lambda it: {"cardId": it}, "crd_nothing"),
    "AnswerApprovalInput.approvalId": (
        "answerApproval",
        lambda it: {"approvalId": it, "approved": True},
        "apv_nothing",
    ),
    "RemoveColleagueInput.name": ("removeColleague", lambda it: {"name": it}, "Nobody"),
    "ContestClaimInput.claimId": ("contestClaim", lambda it: {"claimId": it, "reason": "C01"}, "clm_nothing"),
    "AnswerClaimInput.claimId": ("answerClaim", lambda it: {"claimId": it, "accepted": True}, "clm_nothing"),
    "OpenDisputeInput.statementId": (
        "openDispute",
        lambda it: {"statementId": it, "line": 1, "reason": "D03", "amount": "1", "note": "no"},
        "stm_nothing",
    ),
    "AnswerDisputeInput.disputeId": (
        "answerDispute",
        lambda it: {"disputeId": it, "answer": "WITHDRAW", "note": "no"},
        "dsp_nothing",
    ),
    "SayInDisputeInput.disputeId": ("sayInDispute", lambda it: {"disputeId": it, "note": "no"}, "dsp_nothing"),
    "AddDisputeEvidenceInput.disputeId": (
        "addDisputeEvidence",
        lambda it: {
            "disputeId": it,
            "fileName": "x",
            "mediaType": "text/csv",
            "sizeBytes": 1,
            "sha256": "ab" * 32,
        },
        "dsp_nothing",
    ),
    "AcceptSettlementStatementInput.statementId": (
        "acceptSettlementStatement",
        lambda it: {"statementId": it},
        "stm_nothing",
    ),
    "AddClientKeyInput.clientId": (
        "addClientKey",
        lambda it: {"clientId": it, "publicKey": json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=False))},
        "cl_nothing",
    ),
    "RemoveClientKeyInput.clientId": ("removeClientKey", lambda it: {"clientId": it, "kid": "x"}, "cl_nothing"),
    "RotateClientSecretInput.clientId": ("rotateClientSecret", lambda it: {"clientId": it}, "cl_nothing"),
    "SuspendClientInput.clientId": ("suspendApiClient", lambda it: {"clientId": it}, "cl_nothing"),
    "SeedSandboxInput.outlet": ("seedSandbox", lambda it: {"outlet": it}, "none"),
    "AddTerminalInput.outlet": ("addTerminal", lambda it: {"outlet": it, "code": "9"}, "none"),
    "SetOutletPlaceInput.outlet": ("setOutletPlace", lambda it: {"outlet": it, "town": "Old Town"}, "none"),
    "CloseTerminalInput.outlet": ("closeTerminal", lambda it: {"outlet": it, "terminal": "1"}, "none"),
    **{
        f"{root[0].upper()}{root[1:]}Input.subscriptionId": (root, partial(_of_subscription, more), "sub_nothing")
        for root, more in (
            ("cancelSubscription", {}),
            ("changeSubscription", {"plan": "plus", "interval": "MONTH"}),
            ("pauseSubscription", {"until": "2030-01-01T00:00:00Z"}),
            ("resumeSubscription", {}),
            ("offerSeat", {"guestId": "mbr_nothing"}),
            ("removeSeat", {"number": 1}),
        )
    },
    "ChangeWebhookEndpointInput.endpointId": (
        "changeWebhookEndpoint",
        lambda it: {"endpointId": it, "url": "https://hooks.example.org/", "types": ["hold.lapsed"]},
        "whe_nothing",
    ),
    "RotateWebhookSecretInput.endpointId": ("rotateWebhookSecret", lambda it: {"endpointId": it}, "whe_nothing"),
    "WebhookEndpointInput.endpointId": ("removeWebhookEndpoint", lambda it: {"endpointId": it}, "whe_nothing"),
    "ResendFailedWebhooksInput.endpointId": (
        "resendFailedWebhooks",
        lambda it: {"endpointId": it, "since": "2026-03-01T00:00:00Z"},
        "whe_nothing",
    ),
    "SendSampleWebhookInput.endpointId": (
        "sendSampleWebhook",
        lambda it: {"endpointId": it, "type": "hold.lapsed"},
        "whe_nothing",
    ),
    "ResendWebhookInput.deliveryId": ("resendWebhook", lambda it: {"deliveryId": it}, "dlv_nothing"),
    "TakeGiftBackInput.giftId": ("takeGiftBack", lambda it: {"giftId": it}, "sub_nothing"),
    "SeatInput.subscriptionId": ("acceptSeat", partial(_of_subscription, {}), "sub_nothing"),
}
# What the operator's people name is the operator's, whose all of them are: the scope is what keeps others out.
OF_THE_OPERATOR = {
    "AddPromotionInput", "TextsInput", "DraftRuleInput", "RuleChoiceInput", "StackingGroupInput", "ReleaseChangeInput",
    "SimulateReleaseInput", "LaunchInput", "SubmitReleaseInput", "PublishReleaseInput", "DeclineReleaseInput",
    "SuspendPromotionInput", "AddBudgetInput", "SetBudgetLimitInput", "FundBudgetInput", "ApproveBudgetProposalInput",
    "DeclineBudgetProposalInput", "WithdrawBudgetProposalInput", "DecisionRefInput",
    "TransactionRefInput", "ReceiptRefInput", "Query.releases", "Query.release", "Query.checkRule", "Query.simulation",
    "Query.budgets", "Query.budgetUsage", "Query.promotionOutlook", "AddRewardInput", "SetRewardStockInput", "InviteToClubInput",
}  # fmt: skip
PUBLIC = {
    "RemoveSeatInput.number": "a seat of the subscription that is named beside it",
    "PutCardInWalletInput.wallet": "a kind of wallet that this installation makes passes for",
    "ClaimMissingPointsInput.partner": "a partner's code, which everybody may know",
    "ClaimMissingPointsInput.outlet": "a partner's outlet, which everybody may know",
    "ClaimMissingPointsInput.terminal": "a till of it, as its receipts say",
    "AnswerClaimInput.outlet": "an outlet of the own partner; any other is unknown",
    "AnswerClaimInput.terminal": "a till of it",
    "OrderRewardInput.partner": "a partner's code, which everybody may know",
    "OrderRewardInput.outlet": "a partner's outlet, which everybody may know",
    "OrderRewardInput.reward": "a reward that this member may have; any other is unknown",
    "AcceptOfferInput.partner": "a partner's code, which everybody may know",
    "AcceptOfferInput.promotion": "an offer to this member; any other is unknown",
    "OfferSeatInput.guestId": "an id that the guest told, and that names them to everybody they tell it",
    "Query.planCode": "a plan is everybody's, and a code is whoever's who has it; guesses are counted",
    "RedeemGiftInput.code": "a code is whoever's who has it; guesses are counted",
    "SubscribeInput.code": "a code is whoever's who has it; guesses are counted",
    "SetConsentInput.partner": "a partner's code, which everybody may know",
    "InviteColleagueInput.name": "a name at the own partner, which another may have at theirs",
    "AddApiClientInput.name": "a name at the own partner, which another may have at theirs",
    "AddApiClientInput.scopes": "the programme's scopes, which everybody may know",
    "AddOutletInput.code": "a code at the own partner, which another may have at theirs",
    "AddOutletInput.name": "a name at the own partner, which another may have at theirs",
    "AskingTillInput.code": "a code is whoever's who reads it; guesses are counted",
    "ConfirmPairingInput.code": "a code is whoever's who reads it; guesses are counted",
    "SetOutletPlaceInput.town": "words for members, of an outlet that is named beside them",
    "SetOutletPlaceInput.street": "words for members, of an outlet that is named beside them",
    "SetOutletPlaceInput.latitude": "where an outlet is that is named beside it",
    "SetOutletPlaceInput.longitude": "where an outlet is that is named beside it",
    "AddTerminalInput.code": "a code at the own outlet, which another may have at theirs",
    "AddClientKeyInput.publicKey": "a public key, which is one client's alone",
    "AddApiClientInput.publicKey": "a public key, which is one client's alone",
    "RemoveClientKeyInput.kid": "a key of a client that is named beside it",
    "CloseTerminalInput.terminal": "a till of an outlet that is named beside it",
    "AddWebhookEndpointInput.url": "an address of the caller's own choice",
    "ChangeWebhookEndpointInput.url": "an address of the caller's own choice",
    "AddWebhookEndpointInput.description": "words of the caller's own",
    "ChangeWebhookEndpointInput.description": "words of the caller's own",
    "AddWebhookEndpointInput.types": "types of events, which everybody may know",
    "ChangeWebhookEndpointInput.types": "types of events, which everybody may know",
    "SendSampleWebhookInput.type": "a type of events, which everybody may know",
    "Query.webhookDeliveries": "an endpoint of the own partner; another's has no deliveries",
    "Query.webhookDelivery": "a delivery of the own partner; null for another's, as for nobody's",
    "Query.requestLog": "an id that whoever asks makes; the own partner's requests are looked through",
    "Query.refusedRequests": "how many days of the own partner's requests",
    "Query.clientHealth": "how many days of the own partner's requests",
    "Query.apiClient": "an id in tokens; null for another's, as for nobody's",
}


# What nobody but the programme's staff may ask: it is the programme's, and so whose it is is no question.
STAFF_ALONE = {
    held
    for held in scopes.OF_SESSIONS
    if not any(held in theirs for who, theirs in PEOPLE.items() if not who.startswith("staff"))
}


def leaves() -> list[str]:
    found = []
    for root, name in OF_SESSIONS:
        if demanded(root, name) <= STAFF_ALONE:
            continue
        for argument, definition in ROOT_TYPES[root].fields[name].args.items():
            found += [leaf.name for leaf in below(name, (argument,), get_named_type(definition.type), f"{root}.{name}")]
    return found


def test_every_leaf_names_something_and_has_a_row_or_names_nothing() -> None:
    assert [
        leaf
        for leaf in leaves()
        if leaf.rpartition(".")[2] not in NAMES_NOTHING
        and leaf not in NAMES.keys() | PUBLIC.keys() | OF_THE_OPERATOR
        and leaf.partition(".")[0] not in OF_THE_OPERATOR
    ] == []
    assert NAMES.keys() | PUBLIC.keys() <= set(leaves())
    assert isinstance(BUILT.type_map["ReportCardLostInput"], GraphQLInputObjectType)


async def _statement(desk: Desk, fee: Script) -> str:
    """Id of a statement of the bakery's."""
    pool, partner_id = desk.database.pool, desk.coalition.callers["bakery"].partner_id
    terms_id = await pool.fetchval("SELECT terms_id FROM partners.agreement WHERE partner_id = $1", partner_id)
    await pool.fetchval(
        "SELECT status FROM ledger.accrue((SELECT ledger.open_accounts(1, 1::smallint)), 1::smallint, $1, "
        "gen_random_uuid(), gen_random_uuid(), $2, ARRAY[$1::int], ARRAY[$1::int], ARRAY[$3::int], "
        "ARRAY[1000::bigint], ARRAY[$2::timestamptz], ARRAY[$4::timestamptz])",
        partner_id, NOON, terms_id, NOON + timedelta(days=365),
    )  # fmt: skip
    await cutoffs.close(desk.database, at=NOON)
    async with desk.database.transaction() as connection:
        await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
        await runs.settle(connection, actor="maker", at=NOON)
    [found] = (await fee.ask("{ settlementStatements { nodes { id } } }"))["nodes"]
    return str(found["id"])


async def _webhooks(desk: Desk, dev: Script) -> dict[str, tuple[Script, str]]:
    """An endpoint of the bakery's and a delivery to it, as the bakery knows them, for somebody else to name."""
    own = await colleague_script(desk, "bakery", "DEVELOPER")
    [kind, *_] = await own.ask("{ webhookEventTypes { type } }")
    made = await own.ask(
        "mutation($i: AddWebhookEndpointInput!) { addWebhookEndpoint(input: $i) { "
        "... on WebhookEndpointSuccess { endpoint { id } } ... on Rejection { code message } } }",
        i=keyed(url="https://hooks.example.org/", types=[kind["type"]]),
    )
    endpoint = made["endpoint"]["id"]
    sent = await own.ask(
        "mutation($i: SendSampleWebhookInput!) { sendSampleWebhook(input: $i) { "
        "... on WebhookDeliverySuccess { delivery { id } } ... on Rejection { code message } } }",
        i=keyed(endpointId=endpoint, type=kind["type"]),
    )
    return {
        name: (dev, endpoint if name.endswith(".endpointId") else sent["delivery"]["id"])
        for name in NAMES
        if name.endswith((".endpointId", ".deliveryId"))
    }


async def _claim(desk: Desk, member_id: int) -> int:
    """Number of a claim of a member's at the bakery."""
    directory, day = await desk.coalition.desk.directory.get(), NOON.date()
    draft = ClaimDraft(desk.coalition.callers["bakery"].partner_id, day, "A-1", 5_000, "EUR", "1")
    async with desk.database.transaction() as connection:
        made = await claims.file(
            connection, desk.vault, directory, draft, member_id=member_id, at=NOON + timedelta(days=3)
        )
    return made.claim_id


async def test_what_is_anothers_is_as_unknown_as_what_never_was(desk: Desk) -> None:
    ada = await script_for(desk, "member")
    await desk.coalition.add_member(email="ben@example.org")
    ben = await script_of(await desk.signed_in("ben@example.org"))
    member_id = await desk.database.pool.fetchval("SELECT min(member_id) FROM members.member")
    async with desk.database.transaction() as connection:
        await approvals.ask(
            connection, member_id=member_id, partner_id=1, outlet_id=1, points=5,
            idem_key=uuid4(), at=NOON.replace(hour=13),
        )  # fmt: skip
    await colleague(desk, "bakery", "Ann", "ann@example.org", "MANAGER")
    await colleague(desk, "grocer", "Gus", "gus@example.org", "MANAGER", "FINANCE")
    await colleague(desk, "bakery", "Fee", "fee@example.org", "FINANCE")
    fee = await script_of(await desk.signed_in("fee@example.org", "/portal"), "/portal")
    gus = await script_of(await desk.signed_in("gus@example.org", "/portal"), "/portal")
    dev = await colleague_script(desk, "grocer", "DEVELOPER")
    manager = await colleague_script(desk, "grocer", "MANAGER")
    async with desk.database.transaction() as connection:
        outlet = {
            "partner_id": desk.coalition.callers["bakery"].partner_id,
            "code": "bakery-only",
            "name": "Back street",
        }
        await onboarding.add_outlet(connection, **outlet, actor=desk.coalition.onboarder, at=NOON)
        client_id = await clients.add_public_client(
            connection, partner_id=outlet["partner_id"], name="tills", scopes=[scopes.POINTS_ACCRUE], by="onboarder",
            at=NOON,
        )  # fmt: skip
    own = await ada.ask("{ viewer { ... on Member { own { cards { id } approvals { id } } } } }")
    theirs = {
        "ReportCardLostInput.cardId": (ben, own["own"]["cards"][0]["id"]),
        "AnswerApprovalInput.approvalId": (ben, own["own"]["approvals"][0]["id"]),
        "RemoveColleagueInput.name": (gus, "Ann"),
        "ContestClaimInput.claimId": (
            ben,
            own_id(desk.vault, claim_types.PREFIX, member_id, await _claim(desk, member_id)),
        ),
        "AnswerClaimInput.claimId": (gus, claim_types.claim_id(desk.vault, 1)),
        "AcceptSettlementStatementInput.statementId": (gus, statement := await _statement(desk, fee)),
        "OpenDisputeInput.statementId": (gus, statement),
        **{name: (dev, client_id) for name in NAMES if name.endswith(".clientId")},
        **{name: (manager, "bakery-only") for name in NAMES if name.endswith(".outlet")},
        "SeedSandboxInput.outlet": (dev, "bakery-only"),
        **await _webhooks(desk, dev),
    }
    dispute = await fee.ask(OPEN, input=keyed(statementId=statement, line=1, reason="D03", amount="1", note="too many"))
    theirs |= {name: (gus, dispute["dispute"]["id"]) for name in NAMES if name.endswith(".disputeId")}
    async with desk.database.transaction() as connection:
        taken = await subscribed(connection, member_id)
    of_ada = own_id(desk.vault, SUBSCRIPTION, member_id, taken.subscription_no)
    theirs |= {name: (ben, of_ada) for name in NAMES if name.endswith((".subscriptionId", ".giftId"))}
    assert theirs.keys() == NAMES.keys()
    for name, (script, value) in theirs.items():
        root, call, nothing = NAMES[name]
        desk.wall.move(seconds=5)  # the allowance comes back
        kind = name.partition(".")[0]
        text = (
            f"mutation($i: {kind}!) {{ {root}(input: $i) {{ __typename "
            "... on Rejection { code message retryable cashierText currentId fields { path code } } } }"
        )
        told = [await script.ask(text, i={"idempotencyKey": stand.key(), **call(it)}) for it in (value, nothing)]
        assert told[0] == told[1], name
        assert told[0]["__typename"] == "Rejection", name
        assert value not in orjson.dumps(told).decode()
    assert {each["name"] for each in await gus.ask("{ colleagues { name } }")} == {"Gus", "developer", "manager"}
    assert await desk.database.pool.fetchval("SELECT count(*) FROM settlement.acceptance") == 0
