"""Whose is it: partner B hears of A's things what it hears of things that never were, by whichever field it asks.

The rows come from the published schema: every argument and input field that is a leaf either names something, and then
has a row that says how A's is named and how nothing is named, or names nothing and is on the list of those. A field that
is added later and has neither fails here.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.applications import Starlette
from strawberry.schema.schema_converter import GraphQLCoreConverter

from gateway import reward_order_api, scopes
from gateway.connections import Cursors
from gateway.schema import schema
from gateway.scopes import OF_SESSIONS
from kit import actors, approvals, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import enrolment, proofs
from members.cards import IssuedCard
from members.consents import ConsentGiven
from partners.agreements import onboarding
from partners.mechanics import registry, rewards
from partners.mechanics.registry import Draft
from partners.mechanics.rewards import RewardDraft
from partners.promotions import publishing
from partners.promotions.publishing import Change
from settlement import runs
from tests.builders import DAY, NOON, violations
from tests.founded import a_coalition, met
from tests.gateway import listening, stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_approval_api import ASK
from tests.gateway.test_hold_api import PLACE
from tests.gateway.test_pairing_api import BEGIN
from tests.gateway.test_purchase_api import MEMBER, QUOTE, record
from tests.gateway.test_schema import demanded
from tests.gateway.test_subscriptions import until_listening
from tests.partners.promotions.market import bonus

BUILT = schema.graphql
A_ONLY = "a-only"
WANTED = (
    *scopes.TILL,
    scopes.SETTLEMENT_READ,
    scopes.SETTLEMENT_FILES,
    scopes.EVENTS_WRITE,
    scopes.EVENTS_MODERATE,
    scopes.RULES_READ,
)
# What writes comes last, so that nothing of B's is found by what B itself wrote.
OPERATIONS: dict[str, GraphQLObjectType] = {
    name: root
    for root in (BUILT.query_type, BUILT.subscription_type, BUILT.mutation_type)
    if root is not None
    for name in root.fields
    # What takes a session is no token's to ask: tests/gateway/test_session_matrix.py has a table of its own.
    if not (wanted := demanded(root.name, name)) or wanted - OF_SESSIONS.keys()
}
ROOTS: dict[str, GraphQLField] = {name: root.fields[name] for name, root in OPERATIONS.items()}

# What names nothing of anybody's, and why not.
_SAYS = "says what happened; nothing is looked up by it"
_OWN_KEY = "a name in the caller's own scope"
_STAFF = "staff's: a partner has its own whatever it says, as test_dispute_api shows"
_NARROWS = "leaves out some of one's own"
_NETWORK = "the member's own: it means the same at every partner, which is what a coalition is"
NAMES_NOTHING = {
    "idempotencyKey": _OWN_KEY,
    "Query.settlementBreaks.allStates": "a switch",
    "Query.settlementBreaks.partner": _STAFF,
    "Query.settlementBreaks.category": _NARROWS,
    "Query.statementDisputes.partner": _STAFF,
    "Query.statementDisputes.states": _NARROWS,
    "Query.settlementPayments.partner": _STAFF,
    "Query.settlementPayments.run": _NARROWS,
    "Query.settlementPayments.state": _NARROWS,
    "Query.missingPointsClaims.allStates": "a switch",
    "SendPartnerFileInput.format": _SAYS,
    "SendPartnerFileInput.content": _SAYS,
    "Query.partnerActivity.since": "a day",
    "Query.subscriptionInvoices.state": "the operator's staff alone have invoices; a partner's list is empty",
    "Query.subscriptionInvoices.reference": "the operator's staff alone have invoices; a partner's list is empty",
    "Query.ownMovements.line": "a line of a statement that is named beside it",
    "Query.partnerActivity.until": "a day",
    "MemberRefInput.cardNumber": _NETWORK,
    "MemberRefInput.cardCode": _NETWORK,
    "MemberRefInput.phone": _NETWORK,
    "ProofInput.cardCode": _NETWORK,
    "ProofInput.pin": _NETWORK,
    "first": "how many",
    "points": _SAYS,
    "amount": _SAYS,
    "total": _SAYS,
    "businessDate": _SAYS,
    "occurredAt": _SAYS,
    "sentAt": _SAYS,
    "currencyCode": _SAYS,
    "reason": _SAYS,
    "onceKey": "what an event of this member counts once under, for the calling partner or the whole coalition",
    "FigureInput.name": _SAYS,
    "FigureInput.value": _SAYS,
    "WordInput.name": _SAYS,
    "WordInput.value": _SAYS,
    "ModerateEventInput.approved": _SAYS,
    "ReportUsageInput.benefit": "what the member is entitled to anywhere; it means the same at every partner",
    "UseRightInput.right": "a right of the member's that the calling partner honours; any other is as if it were none",
    "ReportUsageInput.units": _SAYS,
    "ReportUsageInput.usedAt": _SAYS,
    "ActivateOfferInput.promotion": "an offer to this member at the calling partner; any other is unknown",
    "AcceptInvitationInput.code": _NETWORK,
    "AcceptInvitationInput.device": _SAYS,
    "description": _SAYS,
    "lastsSeconds": _SAYS,
    "ReceiptInput.part": _SAYS,
    "ReceiptInput.entryMode": _SAYS,
    "ReceiptInput.terminalSeq": _SAYS,
    "ReceiptInput.releaseId": _SAYS,
    "RecordPurchaseInput.coupons": _NETWORK,
    "QuoteInput.coupons": _NETWORK,
    "ReserveCouponsInput.coupons": _NETWORK,
    "ReleaseCouponsInput.coupons": _NETWORK,
    "LineInput.lineId": _SAYS,
    "LineInput.kind": _SAYS,
    "LineInput.sku": _SAYS,
    "LineInput.category": _SAYS,
    "LineInput.quantity": _SAYS,
    "LineInput.listAmount": _SAYS,
    "LineInput.taxRate": _SAYS,
    "LineInput.taxAmount": _SAYS,
    "DiscountInput.source": _SAYS,
    "DiscountInput.promotion": _SAYS,
    "PaymentInput.kind": _SAYS,
    "PaymentInput.instrumentToken": _SAYS,
    "ReturnLineInput.lineId": "a line of a purchase that is named beside it",
    "ReturnWhatInput.whole": _SAYS,
    "ConsentInput.purpose": _SAYS,
    "ConsentInput.textVersion": _SAYS,
    "ConsentInput.at": _SAYS,
    "EnrolMemberInput.language": _SAYS,
    "EnrolMemberInput.cardNumber": _NETWORK,
    "PersonInput.name": _SAYS,
    "PersonInput.birthDate": _SAYS,
    "PersonInput.phone": _NETWORK,
    "PersonInput.email": _NETWORK,
    "PlaceHoldInput.reference": "a note; holds are not looked up by it",
}


@dataclass
class World:
    """What belongs to A, what names nothing, and what belongs to B itself."""

    gateway: Gateway
    card: IssuedCard
    a: Till
    b: Till
    of_a: dict[str, list[Any]] = field(default_factory=dict)
    of_b: dict[str, Any] = field(default_factory=dict)
    ids_of_a: set[str] = field(default_factory=set)


# What names something: the field, and what stands in it when nothing is meant.
NOTHING: dict[str, Any] = {
    "Query.node.id": "txn_nothing",
    "Query.settlementStatement.id": "stm_nothing",
    "Query.settlementStatements.after": None,
    "Query.ownMovements.statementId": "stm_nothing",
    "Query.ownMovements.after": None,
    "Query.agreements.after": None,
    "Query.partnerFiles.after": None,
    "Query.settlementBreaks.after": None,
    "Query.missingPointsClaims.after": None,
    "Query.statementDisputes.after": None,
    "Query.settlementPayments.after": None,
    "SendPartnerFileInput.partner": "nobody",
    "Query.subscriptionInvoices.after": None,
    "Query.offers.after": None,
    "Query.offers.outlet": "none",
    "Query.offers.terminal": "none",
    "Query.promotion.code": "nothing",
    "Query.promotionResult.code": "nothing",
    "Query.promotions.after": None,
    "Query.rewards.after": None,
    "Query.rewardOrders.after": "rwo_nothing",
    "TakeRewardInput.reward": "nothing",
    "TakeRewardInput.reference": "NONE",
    "TakeRewardInput.outlet": "none",
    "TakeRewardInput.terminal": "none",
    "AcceptInvitationInput.outlet": "none",
    "AcceptInvitationInput.terminal": "none",
    "RecordEventInput.outlet": "none",
    "RecordEventInput.terminal": "none",
    "ActivateOfferInput.outlet": "none",
    "ActivateOfferInput.terminal": "none",
    "UseRightInput.outlet": "none",
    "UseRightInput.terminal": "none",
    "ReportUsageInput.outlet": "none",
    "ReportUsageInput.terminal": "none",
    "RecordEventInput.event": "nothing",
    "ModerateEventInput.reviewId": "rev_nothing",
    "Subscription.balanceChanged.after": "bal_nothing",
    "Subscription.transactionPosted.after": "pst_nothing",
    "Query.member.outlet": "none",
    "Query.member.terminal": "none",
    "MemberRefInput.id": "mbr_nothing",
    "MemberRefInput.visit": "vst_nothing",
    "MemberRefInput.instrumentToken": "tok-nobody",
    "MemberRefInput.externalId": "nobody",
    "ProofInput.approvalId": "apv_nothing",
    "RedeemInput.holdId": "hld_nothing",
    "CaptureHoldInput.holdId": "hld_nothing",
    "ReleaseHoldInput.holdId": "hld_nothing",
    "RecordPurchaseInput.quoteId": "quo_nothing",
    "TransactionRefInput.id": "txn_nothing",
    "ReceiptRefInput.reference": "NONE",
    "ReceiptRefInput.outlet": "none",
    "ReceiptRefInput.terminal": "none",
    "ReceiptInput.reference": "NONE",
    "ReceiptInput.outlet": "none",
    "ReceiptInput.terminal": "none",
    "RedeemPointsInput.reference": "NONE",
    "RedeemPointsInput.outlet": "none",
    "RedeemPointsInput.terminal": "none",
    "ReturnPurchaseInput.reference": "NONE",
    "ReturnPurchaseInput.outlet": "none",
    "ReturnPurchaseInput.terminal": "none",
    "PlaceHoldInput.outlet": "none",
    "PlaceHoldInput.terminal": "none",
    "CaptureHoldInput.reference": "NONE",
    "CaptureHoldInput.outlet": "none",
    "CaptureHoldInput.terminal": "none",
    "RequestApprovalInput.outlet": "none",
    "RequestApprovalInput.terminal": "none",
    "BeginPairingInput.outlet": "none",
    "BeginPairingInput.terminal": "none",
    "ConsentInput.partner": "nobody",
    "EnrolMemberInput.outlet": "none",
    "EnrolMemberInput.terminal": "none",
    "EnrolMemberInput.externalId": "nobody-yet",
}

PLACES = {"Query.settlementStatements.after", "Query.offers.after", "Query.rewards.after", "Query.promotions.after"}
# Lists of one's own in which neither has anything here, and what their places are called.
OWN_LISTS = {
    "Query.partnerFiles.after": "partner file",
    "Query.settlementBreaks.after": "settlement break",
    "Query.statementDisputes.after": "statement dispute",
    "Query.missingPointsClaims.after": "missing points claim",
    "Query.settlementPayments.after": "settlement payment",
}

# Calls that B may make of its own; each reference in them is replaced in turn.
_WHERE = {"outlet": "1", "terminal": "1", "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat()}
_PIN = {"pin": "4711"}
_BASKET = {"reference": "basket-1", "outlet": "1", "terminal": "1", "businessDate": NOON.date().isoformat()}
CALLS: dict[str, Callable[[World], dict[str, Any]]] = {
    "viewer": lambda w: {},
    "member": lambda w: {"ref": _member(w), "outlet": "1", "terminal": "1"},
    "node": lambda w: {"id": w.of_b["transaction"]},
    "transaction": lambda w: {"ref": {"id": w.of_b["transaction"]}},
    "settlementStatements": lambda w: {"first": 20, "after": None},
    "agreements": lambda w: {"first": 20, "after": None},
    "partnerFiles": lambda w: {"first": 20, "after": None},
    "statementDisputes": lambda w: {"first": 20, "after": None},
    "missingPointsClaims": lambda w: {"first": 20, "after": None, "allStates": True},
    "settlementBreaks": lambda w: {"first": 20, "after": None, "allStates": True},
    "settlementPayments": lambda w: {"first": 20, "after": None},
    "settlementStatement": lambda w: {"id": w.of_b["statement"]},
    "quote": lambda w: {"input": {"member": _member(w), "receipt": _receipt()}},
    "quoteReturn": lambda w: {"input": {"original": {"id": w.of_b["transaction"]}, "what": {"amount": "1.00"}}},
    "recordPurchase": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "receipt": _receipt(),
            "redeem": {"points": "1", "proof": _PIN}, "quoteId": w.of_b["quote"],
        }
    },
    "accruePoints": lambda w: {
        "input": {"idempotencyKey": stand.key(), "member": _member(w), "receipt": _receipt()}
    },
    "accrueMany": lambda w: {
        "input": {"idempotencyKey": stand.key(), "items": [{"member": _member(w), "receipt": _receipt()}]}
    },
    "redeemPoints": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "reference": stand.key(), "points": "1",
            "proof": _PIN, **_WHERE,
        }
    },
    "returnPurchase": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "original": {"id": w.of_b["transaction"]}, "reference": stand.key(),
            "what": {"amount": "0.01"}, **_WHERE,
        }
    },
    "cancelPurchase": lambda w: {
        "input": {
            "idempotencyKey": stand.key(),
            "receipt": {"reference": stand.key(), "outlet": "1", "terminal": "1", "businessDate": _WHERE["businessDate"]},
        }
    },
    "placeHold": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "outlet": "1", "terminal": "1", "reference": "O",
            "points": "1", "proof": _PIN,
        }
    },
    "captureHold": lambda w: {
        "input": {"idempotencyKey": stand.key(), "holdId": "hld_nothing", "reference": stand.key(), **_WHERE}
    },
    "requestApproval": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "outlet": "1", "terminal": "1", "points": "1",
        }
    },
    "beginPairing": lambda w: {"input": {"idempotencyKey": stand.key(), "outlet": "1", "terminal": "1"}},
    "enrolMember": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "outlet": "1", "terminal": "1",
            "consents": [{"purpose": "PROGRAMME", "textVersion": "1", "at": _WHERE["occurredAt"]}],
        }
    },
    "releaseHold": lambda w: {"input": {"idempotencyKey": stand.key(), "holdId": "hld_nothing"}},
    "offers": lambda w: {"member": _member(w), "outlet": "1", "terminal": "1", "first": 20, "after": None},
    "recordEvent": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "event": "visit", "occurredAt": _WHERE["occurredAt"],
            "outlet": "1", "terminal": "1",
        }
    },
    "moderateEvent": lambda w: {
        "input": {"idempotencyKey": stand.key(), "reviewId": "rev_nothing", "approved": True}
    },
    "activateOffer": lambda w: {
        "input": {"idempotencyKey": stand.key(), "member": _member(w), "promotion": "none", "outlet": "1", "terminal": "1"}
    },
    "reserveCoupons": lambda w: {
        "input": {"idempotencyKey": stand.key(), "member": _member(w), "coupons": ["AAAA-BBBB-CCCC-D"], "receipt": _BASKET}
    },
    "releaseCoupons": lambda w: {
        "input": {"idempotencyKey": stand.key(), "coupons": ["AAAA-BBBB-CCCC-D"], "receipt": _BASKET}
    },
    "reportUsage": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "benefit": "none", "usedAt": _WHERE["occurredAt"],
            "outlet": "1", "terminal": "1",
        }
    },
    "useRight": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "right": "none", "outlet": "1", "terminal": "1",
        }
    },
    "plans": lambda w: {},
    "subscriptionInvoices": lambda w: {
        "first": 20, "after": None, "state": "OPEN", "currencyCode": "EUR", "reference": "000000001-34",
    },
    "feeShares": lambda w: {},
    "settlementReports": lambda w: {},
    "ownMovements": lambda w: {"statementId": w.of_b["statement"], "line": 1, "first": 20, "after": None},
    "partnerActivity": lambda w: {"since": _WHERE["businessDate"], "until": _WHERE["businessDate"]},
    "promotions": lambda w: {"first": 20, "after": None},
    "promotion": lambda w: {"code": "of-b"},
    "promotionResult": lambda w: {"code": "of-b"},
    "settlementOutlook": lambda w: {},
    "partnerAlerts": lambda w: {},
    "rewards": lambda w: {"first": 20, "after": None},
    "rewardOrders": lambda w: {"first": 20, "after": None},
    "takeReward": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "reward": "cup", "reference": stand.key(),
            "proof": _PIN, **_WHERE,
        }
    },
    "handOverReward": lambda w: {
        "input": {"idempotencyKey": stand.key(), "transaction": {"id": w.of_b["transaction"]}}
    },
    "acceptInvitation": lambda w: {
        "input": {
            "idempotencyKey": stand.key(), "member": _member(w), "code": "X", "outlet": "1", "terminal": "1",
        }
    },
    "sendPartnerFile": lambda w: {
        "input": {"idempotencyKey": stand.key(), "format": "CSV", "content": "H", "partner": "b-grocer"}
    },
    "balanceChanged": lambda w: {"ref": _member(w)},
    "transactionPosted": lambda w: {},
}  # fmt: skip


# What an input object needs beside the one field that is looked at.
REQUIRED = {"ReceiptRefInput": {"reference": "NONE", "outlet": "1", "businessDate": _WHERE["businessDate"]}}


def _member(world: World) -> dict[str, Any]:
    return {"cardNumber": world.card.number}


def _receipt() -> dict[str, Any]:
    return stand.receipt("10.00")


# --- The walk -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """A leaf of a root field's arguments: its path, and the name under which it has a row."""

    root: str
    path: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return f"{self.root}({'.'.join(self.path)})"


def leaves() -> Iterator[Leaf]:
    """Every leaf of every root field's arguments, with input objects entered wherever they stand."""
    for root, definition in ROOTS.items():
        of = OPERATIONS[root].name
        for name, argument in definition.args.items():
            yield from below(root, (name,), get_named_type(argument.type), f"{of}.{root}.{name}")


def below(root: str, path: tuple[str, ...], kind: Any, name: str) -> Iterator[Leaf]:
    if not isinstance(kind, GraphQLInputObjectType):
        yield Leaf(root, path, name)
        return
    for key, inside in kind.fields.items():
        yield from below(root, (*path, key), get_named_type(inside.type), f"{kind.name}.{key}")


def names_nothing(leaf: Leaf) -> bool:
    return leaf.name in NAMES_NOTHING or (leaf.path[-1] in NAMES_NOTHING and leaf.name not in NOTHING)


def test_every_leaf_names_something_and_has_a_row_or_names_nothing_and_says_why() -> None:
    assert [str(leaf) for leaf in leaves() if not names_nothing(leaf) and leaf.name not in NOTHING] == []
    assert [root for root in ROOTS if root not in CALLS] == []
    assert set(CALLS) <= set(ROOTS)
    known = {leaf.name for leaf in leaves()}
    assert set(NOTHING) <= known, "a row of nothing"
    assert {name for name in NAMES_NOTHING if "." in name} <= known


def replaced(arguments: dict[str, Any], leaf: Leaf, value: Any) -> dict[str, Any]:
    """The arguments with a value at a leaf; what stands beside it in a one-of goes."""
    changed = copy.deepcopy(arguments)
    place: Any = changed
    kind: Any = None
    for depth, key in enumerate(leaf.path[:-1]):
        inside = ROOTS[leaf.root].args[key].type if depth == 0 else kind.fields[key].type
        kind = get_named_type(inside)
        assert isinstance(kind, GraphQLInputObjectType)
        if place.get(key) is None:
            place[key] = dict(REQUIRED.get(kind.name, {}))
        if (
            kind.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].is_one_of
            and leaf.path[depth + 1] not in place[key]
        ):
            place[key] = dict(REQUIRED.get(kind.name, {}))
        place = place[key][0] if isinstance(place[key], list) else place[key]
    if isinstance(value, dict):
        place.update(value)
    else:
        place[leaf.path[-1]] = value
    return changed


def document(root: str) -> str:
    """Everything of an answer that tells one from another, in a document with variables."""
    definition = ROOTS[root]
    declared = ", ".join(f"${name}: {argument.type}" for name, argument in definition.args.items())
    given = ", ".join(f"{name}: ${name}" for name in definition.args)
    word = OPERATIONS[root].name.lower()
    arguments = f"({given})" if given else ""
    return f"{word}{f'({declared})' if declared else ''} {{ {root}{arguments} {selection(definition)} }}"


def selection(definition: GraphQLField) -> str:
    kind = get_named_type(definition.type)
    if is_leaf_type(kind):
        return ""
    rejection = (
        "... on Rejection { code message retryable cashierText available maximum currentId fields { path code } }"
    )
    if isinstance(kind, GraphQLUnionType) and kind.name.endswith("Result"):
        inside = (
            "... on AccrueManySuccess { results { __typename " + rejection + " } }"
            if kind.name == "AccrueManyResult"
            else ""
        )
        return "{ __typename " + rejection + inside + " }"
    if isinstance(kind, GraphQLObjectType) and "nodes" in kind.fields:
        node = get_named_type(kind.fields["nodes"].type)
        named = next(
            name for name in ("id", "code", "number", "partner", "reference") if name in getattr(node, "fields", {})
        )
        return f"{{ nodes {{ {named} }} }}"
    has_id = "id" in getattr(kind, "fields", {})
    return "{ __typename id }" if has_id else "{ __typename }"


# --- The matrix ---------------------------------------------------------------------------------------------


template = a_coalition(**{"a-bakery": {"return_window_days": 0}, "b-grocer": {"return_window_days": 0}})


@pytest.fixture
async def world(database: Database, vault: Vault, server: postgres.Server, database_name: str) -> AsyncIterator[World]:
    coalition = await met(database, vault)
    async with database.transaction() as connection:
        a_partner = coalition.callers["a-bakery"].partner_id
        outlet_id = await onboarding.add_outlet(
            connection, partner_id=a_partner, code=A_ONLY, name="Back street", actor=coalition.onboarder, at=NOON
        )
        await onboarding.add_terminal(connection, outlet_id=outlet_id, code=A_ONLY, actor=coalition.onboarder, at=NOON)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as gateway:
        made = World(
            gateway,
            await coalition.add_member(),
            await gateway.till("a-bakery", wanted=WANTED),
            await gateway.till("b-grocer", wanted=WANTED),
        )
        await furnish(made)
        yield made
    assert await violations(database.pool) == []
    await coalition.desk.close()


async def publish(connection: AsyncConnection, code: str, partner: str, maker: int, checker: int) -> None:
    """A promotion with one rule, at one partner."""
    names = dict.fromkeys(("en", "ru", "ro"), code)
    await publishing.add_promotion(connection, code=code, names=names, sponsor_id=0, actor=maker, at=NOON - DAY)
    rule = bonus(code, 1, promotion=code, where={"partners": [partner]}, who={"segments": ["of-nobody"]})
    await publishing.draft(connection, source=rule, author=maker, at=NOON - DAY)
    change = Change({code: None})
    number = await publishing.submit(connection, change, effective_from=NOON - DAY, maker=maker, at=NOON - DAY)
    await publishing.approve(connection, number, checker=checker, at=NOON - DAY)


async def furnish(world: World) -> None:
    """Give A one of everything, under names of its own, and B what its own calls need."""
    coalition, card = world.gateway.coalition, world.card
    a_partner = coalition.callers["a-bakery"].partner_id
    async with coalition.database.transaction() as connection:
        await proofs.set_pin(connection, coalition.vault, card.member_id, "4711")
        marketer = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        checker = await actors.ensure_actor(connection, "publisher", [actors.PROMOTION_CHECKER])
        reward = RewardDraft(
            a_partner, "mug", dict.fromkeys(("en", "ru", "ro"), "Mug"), 100, 3, NOON - DAY, NOON + 30 * DAY
        )
        await rewards.add(connection, reward, actor=marketer, at=NOON)
        for caller in coalition.callers.values():
            cup = replace(reward, partner_id=caller.partner_id, code="cup", points=1, stock=1_000)
            await rewards.add(connection, cup, actor=marketer, at=NOON)
        for code, partner in (("of-a", "a-bakery"), ("of-b", "b-grocer")):
            await publish(connection, code, partner, marketer, checker)
        for code, partners, moderated in (("visit", [], False), ("of-a", ["a-bakery"], False), ("review", [], True)):
            event = Draft("EVENT", code, {"partners": partners, "moderated": moderated}, NOON - DAY)
            number = await registry.propose(connection, event, maker=marketer, at=NOON - DAY)
            proposal = await approvals.read(connection, number)
            await registry.decide(connection, proposal, checker=checker, approved=True, at=NOON - DAY)
        await enrolment.bind_instrument(
            connection,
            coalition.vault,
            card.member_id,
            partner_id=a_partner,
            token="tok-of-a",
        )
        other = await enrolment.enrol(
            connection, coalition.vault, enrolled_by=a_partner, at=NOON, personal=None,
            consents=[ConsentGiven("PROGRAMME", "1", NOON)], language="en", external_id="A-77",
        )  # fmt: skip
    await world.gateway.app.state.services.directory.refresh()
    place = {"outlet": A_ONLY, "terminal": A_ONLY}
    receipt = stand.receipt("1000.00", reference="OF-A") | place
    bought = await record(world.a, card, receipt)
    seen = await world.a.ask(MEMBER, ref=_member(world), outlet="1", terminal="1")
    quote = await world.a.ask(QUOTE, input={"member": _member(world), "receipt": _receipt()})
    hold = await world.a.ask(PLACE, input=CALLS["placeHold"](world)["input"])
    approval = await world.a.ask(ASK, input=CALLS["requestApproval"](world)["input"])
    begun = await world.a.ask(BEGIN, input=CALLS["beginPairing"](world)["input"])
    told = CALLS["recordEvent"](world)["input"] | {"event": "review"}
    review = await world.a.ask(
        "mutation($i: RecordEventInput!) { recordEvent(input: $i) { ... on RecordEventSuccess { reviewId } } }", i=told
    )
    listed = "query($m: MemberRefInput!) { offers(member: $m) { edges { cursor } } }"
    offered = await world.a.ask(listed, m=_member(world))
    promoted = await world.a.ask("{ promotions { edges { cursor } } }")
    rewarded = await world.a.ask("{ rewards { edges { cursor } } }")
    own = await record(world.b, card, stand.receipt("1000.00", reference="OF-B"))
    async with coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "finance", [actors.FINANCE_MAKER])
    await runs.close_cutoff(coalition.database, actor="finance", at=NOON + DAY)
    async with coalition.database.transaction() as connection:
        await runs.settle(connection, actor="finance", at=NOON + DAY)
    listing = "{ settlementStatements { nodes { id } edges { cursor } } }"
    of_a, of_b = await world.a.ask(listing), await world.b.ask(listing)
    signed = await world.a.ask("{ agreements { edges { cursor } } }")
    statement, txn = of_a["nodes"][0]["id"], bought["transaction"]["id"]
    world.ids_of_a = {
        statement,
        txn,
        seen["id"],
        seen["visit"],
        hold["hold"]["id"],
        quote["quoteId"],
        approval["approval"]["id"],
        begun["pairing"]["id"],
    }
    ref = {"reference": "OF-A", **place, "businessDate": _WHERE["businessDate"]}
    async with listening.events(
        world.gateway.app, world.a.token, "subscription($r: MemberRefInput!) { balanceChanged(ref: $r) { cursor } }",
        r=_member(world),
    ) as balances:  # fmt: skip
        told_balance = await balances.data()
    async with listening.events(
        world.gateway.app, world.a.token, "subscription { transactionPosted { cursor } }"
    ) as transactions:
        await until_listening(world.gateway, 1)
        await record(world.a, card, stand.receipt("1.00", reference="OF-A-2") | place)
        told_transaction = await transactions.data()
    baker = (await coalition.desk.directory.get()).partner_by_code("a-bakery")
    assert baker is not None
    world.of_a = {
        "Subscription.balanceChanged.after": [told_balance["cursor"]],
        "Subscription.transactionPosted.after": [told_transaction["cursor"]],
        "Query.node.id": [
            txn,
            seen["id"],
            hold["hold"]["id"],
            approval["approval"]["id"],
            begun["pairing"]["id"],
            statement,
        ],
        "Query.settlementStatement.id": [statement],
        "Query.ownMovements.statementId": [statement],
        "Query.ownMovements.after": [Cursors(world.gateway.coalition.vault, "own movements of line 1").write(1_000)],
        "Query.settlementStatements.after": [of_a["edges"][0]["cursor"]],
        "Query.agreements.after": [signed["edges"][0]["cursor"]],
        **{name: [Cursors(world.gateway.coalition.vault, kind).write(1)] for name, kind in OWN_LISTS.items()},
        "Query.offers.after": [offered["edges"][0]["cursor"]],
        "Query.promotion.code": ["of-a"],
        "Query.promotionResult.code": ["of-a"],
        "Query.promotions.after": [promoted["edges"][0]["cursor"]],
        "Query.rewards.after": [rewarded["edges"][0]["cursor"]],
        "Query.rewardOrders.after": [reward_order_api.cursor(baker, (NOON, 1, 1))],
        "TakeRewardInput.reward": ["mug"],
        "Query.subscriptionInvoices.after": [Cursors(coalition.vault, "subscription invoice").write(5)],
        "RecordEventInput.event": ["of-a"],
        "SendPartnerFileInput.partner": ["a-bakery"],
        "ModerateEventInput.reviewId": [review["reviewId"]],
        "MemberRefInput.id": [seen["id"]],
        "MemberRefInput.visit": [seen["visit"]],
        "MemberRefInput.instrumentToken": ["tok-of-a"],
        "MemberRefInput.externalId": ["A-77"],
        "ProofInput.approvalId": [approval["approval"]["id"]],
        "ConsentInput.partner": ["a-bakery"],
        "EnrolMemberInput.externalId": ["A-77"],
        "RecordPurchaseInput.quoteId": [quote["quoteId"]],
        "TransactionRefInput.id": [txn],
        "ReceiptRefInput.reference": ["OF-A", ref],
    }
    for name in NOTHING:
        kind, _, key = name.rpartition(".")
        if key == "holdId":
            world.of_a[name] = [hold["hold"]["id"]]
        elif key in ("outlet", "terminal"):
            world.of_a.setdefault(name, [A_ONLY] if kind in ("Query.member", "Query.offers") else [A_ONLY, place])
        elif key == "reference":
            world.of_a.setdefault(name, ["OF-A"])
    world.of_b = {
        "transaction": own["transaction"]["id"], "statement": of_b["nodes"][0]["id"],
        "quote": (await world.b.ask(QUOTE, input={"member": _member(world), "receipt": _receipt()}))["quoteId"],
    }  # fmt: skip
    assert other.member_id != card.member_id


async def answer(app: Starlette, till: Till, leaf: Leaf, arguments: dict[str, Any]) -> Any:
    """What a till is told, or told first, without what is new in every answer."""
    if OPERATIONS[leaf.root] is BUILT.subscription_type:
        async with listening.events(app, till.token, document(leaf.root), **arguments) as stream:
            status, body = stream.status, (await stream.event())[1]
    else:
        response = await till.post(document(leaf.root), **arguments)
        status, body = response.status_code, response.json()
    # How the allowance stands says how much was asked for and how long ago, not of what.
    body.get("extensions", {}).get("cost", {}).pop("throttleStatus", None)
    for error in body.get("errors", []):
        error["extensions"].pop("requestId", None)
        assert error["extensions"]["code"] in ("BAD_USER_INPUT",), (str(leaf), body)
    return status, body


async def test_b_hears_of_what_is_as_what_it_hears_of_nothing(world: World) -> None:
    asked = 0
    for leaf in leaves():
        if leaf.name not in NOTHING:
            continue
        for value in world.of_a[leaf.name]:
            nothing = NOTHING[leaf.name]
            unknown = (
                {key: NOTHING[f"{leaf.name.rpartition('.')[0]}.{key}"] for key in value if key != "businessDate"}
                if (isinstance(value, dict))
                else nothing
            )
            theirs = await answer(world.gateway.app, world.b, leaf, replaced(CALLS[leaf.root](world), leaf, value))
            none = await answer(world.gateway.app, world.b, leaf, replaced(CALLS[leaf.root](world), leaf, unknown))
            if leaf.name in OWN_LISTS:  # a place in one's own list is a number that says nothing of whose it was
                assert theirs[1]["data"][leaf.root]["nodes"] == none[1]["data"][leaf.root]["nodes"] == []
            elif leaf.name in ("Query.agreements.after", "Query.ownMovements.after"):
                assert theirs[1]["data"][leaf.root]["nodes"] == []  # behind the last one
            elif leaf.name in PLACES:  # a place in one's own list: whosever it was, what comes is one's own
                nodes = theirs[1]["data"][leaf.root]["nodes"]
                assert {one.get("id", one.get("code")) for one in nodes} <= {*world.of_b.values(), "cup", "of-b"}
            else:
                assert theirs == none, (str(leaf), value)
            told = orjson.dumps(theirs[1]).decode()
            assert not [one for one in world.ids_of_a if one in told], str(leaf)
            asked += 1
    assert asked > 60


async def test_the_rows_are_not_empty_words_a_itself_hears_something_else(world: World) -> None:
    different = []
    for leaf in leaves():
        if leaf.name not in NOTHING or leaf.path[-1] in ("outlet", "terminal", "reference", "after"):
            continue
        for value in world.of_a[leaf.name]:
            told = []
            for named in (value, NOTHING[leaf.name]):
                arguments = CALLS[leaf.root](world)
                arguments.get("input", {}).pop("quoteId", None)  # it is B's
                told.append(await answer(world.gateway.app, world.a, leaf, replaced(arguments, leaf, named)))
            if told[0] == told[1]:
                different.append(str(leaf))
    # A visit is good at its terminal; these tills say which one they are with a call, and a subscription has no such word.
    assert different == ["balanceChanged(ref.visit)"]


async def test_the_ids_of_one_thing_are_other_ids_at_another_partner(world: World) -> None:
    for till in (world.a, world.b):
        await till.ask(MEMBER, ref=_member(world))
    mine, theirs = [await till.ask(MEMBER, ref=_member(world), outlet="1", terminal="1") for till in (world.a, world.b)]
    assert not {mine["id"], mine["visit"]} & {theirs["id"], theirs["visit"]}
    assert not {world.of_b["transaction"], world.of_b["statement"], world.of_b["quote"]} & world.ids_of_a
    # The same place in a journal under two keys: what would be one transaction to both has two names that share nothing.
    assert mine["id"].split("_")[0] == theirs["id"].split("_")[0]
    assert mine["id"][4:12] != theirs["id"][4:12]
