"""What partners do over GraphQL: quote, record, spend, return, cancel. Resolvers parse, ask the desk, and answer."""

from datetime import datetime
from typing import Annotated, TypeVar

import strawberry
from msgspec import Struct
from strawberry import Info

from gateway import access, masking, quotes, scopes, slips
from gateway.context import Context
from gateway.inputs import (
    AccrueItemInput,
    AccrueManyInput,
    AccruePointsInput,
    CancelPurchaseInput,
    MemberRefInput,
    ProofInput,
    QuoteInput,
    QuoteReturnInput,
    RecordPurchaseInput,
    RedeemPointsInput,
    ReturnPurchaseInput,
    TransactionRefInput,
    described,
)
from gateway.rejections import Rejection, as_data, is_miss
from gateway.types import (
    AccruePointsSuccess,
    CancelPurchaseSuccess,
    Purchase,
    PurchaseReturn,
    Quote,
    RecordPurchaseSuccess,
    RedeemPointsSuccess,
    Redemption,
    ReturnFigures,
    ReturnPurchaseSuccess,
    ReturnQuote,
    SpendLimit,
    Transaction,
    line_discounts,
    money,
    purchase_lines,
    read_approval_no,
    read_hold_id,
    read_member_id,
    read_transaction_id,
    reasons,
    rule_answers,
    transaction,
)
from kit import clock, errors
from kit.amounts import Points
from members.cards import MemberUnknown
from members.identification import MemberRef
from partners import callers, calls, outcomes
from partners.callers import Caller
from partners.decisions import rules
from partners.desk import Desk
from partners.directory import Directory, Partner
from partners.holds.holds import HoldRef
from partners.outcomes import Recorded
from partners.receipts.receipts import Receipt
from partners.receipts.records import StoredReceipt
from partners.returns import returns
from partners.returns.returns import Returned
from partners.tills import batches, tills

Kind = TypeVar("Kind", Purchase, Redemption, PurchaseReturn)

AccruePointsResult = Annotated[
    AccruePointsSuccess | Rejection, strawberry.union("AccruePointsResult", description="A purchase, or the reason.")
]


@strawberry.type(description="What became of a batch, item by item, in the items' order.")
class AccrueManySuccess:
    accepted: int = described("Items recorded now.")
    replayed: int = described("Items that earlier calls had recorded.")
    rejected: int = described("Items that were refused.")
    results: list[AccruePointsResult] = described("One per item.")


AccrueManyResult = Annotated[
    AccrueManySuccess | Rejection, strawberry.union("AccrueManyResult", description="The items, or the reason.")
]
RecordPurchaseResult = Annotated[
    RecordPurchaseSuccess | Rejection,
    strawberry.union("RecordPurchaseResult", description="A purchase, or the reason."),
]
RedeemPointsResult = Annotated[
    RedeemPointsSuccess | Rejection, strawberry.union("RedeemPointsResult", description="A redemption, or the reason.")
]
ReturnPurchaseResult = Annotated[
    ReturnPurchaseSuccess | Rejection, strawberry.union("ReturnPurchaseResult", description="A return, or the reason.")
]
CancelPurchaseResult = Annotated[
    CancelPurchaseSuccess | Rejection,
    strawberry.union("CancelPurchaseResult", description="The cancellation, or the reason."),
]


class Counter(Struct, frozen=True):
    """Where a partner's client stands: the desk, the directory as it is, who asks."""

    desk: Desk
    directory: Directory
    partner: Partner
    caller: Caller

    def member_ref(self, given: MemberRefInput) -> MemberRef:
        """The reference with our id read by this partner's key. Raises MemberUnknown for an id of somebody else's."""
        member_id = None
        if given.id is not None:
            member_id = read_member_id(self.partner, given.id.value)
            if member_id is None:
                raise MemberUnknown
        return given.ref(member_id)


async def counter_of(info: Info[Context, None]) -> Counter:
    """The counter of the calling partner. Raises FORBIDDEN for the operator's staff, who buy nothing."""
    viewer = info.context.viewer
    if viewer.partner_id is None:
        raise masking.coded(masking.FORBIDDEN, "only a partner's client may ask for this")
    desk: Desk = info.context.services.lanes
    directory = await desk.directory.get()
    partner = directory.partner(viewer.partner_id)
    if partner is None:
        raise callers.PartnerSuspended("the partner is suspended")
    return Counter(desk, directory, partner, Caller(viewer.partner_id, viewer.client_no, viewer.terminal_id))


def hold_ref(partner: Partner, opaque: str) -> HoldRef:
    """The hold inside an id of this partner's; for anything else one that nobody placed."""
    return HoldRef(*(read_hold_id(partner, opaque) or (0, 0)))


@strawberry.type
class PurchaseQuery:
    @access.query(
        scopes=(scopes.MEMBERS_READ,),
        description="What a receipt would earn, the most points it takes, and why. What would be refused is an error "
        "BAD_USER_INPUT with the rejection's code in its extensions.",
    )
    async def quote(self, info: Info[Context, None], input: QuoteInput) -> Quote:
        counter = await counter_of(info)
        at = await info.context.now()
        quoted = await tills.quote(
            counter.desk, counter.caller, counter.member_ref(input.member), input.receipt.receipt(), at=at,
            shown=tills.Coupons(tuple(input.coupons or ()), clock.wall()),
        )  # fmt: skip
        return _quote(counter, quoted, at, info.context.language)

    @access.query(
        scopes=(scopes.POINTS_RETURN,),
        description="What a return would do, before money is handed over. What would be refused is an error "
        "BAD_USER_INPUT with the rejection's code in its extensions.",
    )
    async def quote_return(self, info: Info[Context, None], input: QuoteReturnInput) -> ReturnQuote:
        counter = await counter_of(info)
        original = await _original(counter, input.original)
        wish = input.what.wish(original.currency)
        quoted = await returns.quote_return(counter.desk, original, wish, at=await info.context.now())
        return ReturnQuote(**vars(_figures(quoted)))

    @access.query(
        scopes=(scopes.HISTORY_READ,),
        description="One of this partner's transactions, by our id or by its own receipt. Null when there is none.",
    )
    async def transaction(self, info: Info[Context, None], ref: TransactionRefInput) -> Transaction | None:
        counter = await counter_of(info)
        found = await find_transaction(counter, ref)
        return transaction(counter.directory, found, info.context.language) if found else None


@strawberry.type
class PurchaseMutation:
    @access.mutation(
        scopes=(scopes.POINTS_ACCRUE,),
        description="The till's one call: records a receipt that earns, and spends points if it says so, which needs "
        "the scope points:redeem as well.",
    )
    async def record_purchase(self, info: Info[Context, None], input: RecordPurchaseInput) -> RecordPurchaseResult:
        counter, call = await call_of(info, "recordPurchase", input.idempotency_key)
        receipt = input.receipt.receipt()
        spend = None
        if input.redeem is not None:
            if scopes.POINTS_REDEEM not in info.context.viewer.scopes:
                raise masking.coded(masking.FORBIDDEN, "spending needs the scope points:redeem")
            hold_id = input.redeem.hold_id
            hold = None if hold_id is None else hold_ref(counter.partner, hold_id)
            spend = tills.Spend(input.redeem.points, hold, proof_of(counter, input.redeem.proof))
        done = await tills.record_purchase(
            counter.desk,
            call,
            counter.member_ref(input.member),
            receipt,
            spend=spend,
            promise=_promise(counter, input.quote_id, call.at),
            shown=tills.Coupons(tuple(input.coupons or ()), call.wall_at),
        )
        found = shown(info, counter, done, Purchase)
        return RecordPurchaseSuccess(done=done, language=info.context.language, transaction=found)

    @access.mutation(scopes=(scopes.POINTS_ACCRUE,), description="Records a receipt that earns.")
    async def accrue_points(self, info: Info[Context, None], input: AccruePointsInput) -> AccruePointsResult:
        counter, call = await call_of(info, "accruePoints", input.idempotency_key)
        ref = counter.member_ref(input.member)
        done = await tills.record_purchase(counter.desk, call, ref, input.receipt.receipt(), spend=None, must_earn=True)
        found = shown(info, counter, done, Purchase)
        return AccruePointsSuccess(done=done, language=info.context.language, transaction=found)

    @access.mutation(
        scopes=(scopes.POINTS_ACCRUE,),
        cost=100,
        takes_batch=True,
        description="Records up to 500 receipts that earn, each by itself; each item's key is its receipt.",
    )
    async def accrue_many(self, info: Info[Context, None], input: AccrueManyInput) -> AccrueManyResult:
        counter, call = await call_of(info, "accrueMany", input.idempotency_key)
        items = [_item(counter, item) for item in input.items]
        done = await batches.accrue_many(counter.desk, counter.caller, items, at=call.at)
        return _batch_answer(info, counter, done)

    @access.mutation(
        scopes=(scopes.POINTS_REDEEM,), description="Spends points on a reward or a service; nothing is earned."
    )
    async def redeem_points(self, info: Info[Context, None], input: RedeemPointsInput) -> RedeemPointsResult:
        counter, call = await call_of(info, "redeemPoints", input.idempotency_key)
        done = await tills.redeem_points(
            counter.desk,
            call,
            counter.member_ref(input.member),
            input.receipt(),
            points=input.points,
            proof=proof_of(counter, input.proof),
        )
        found = shown(info, counter, done, Redemption)
        return RedeemPointsSuccess(done=done, language=info.context.language, transaction=found)

    @access.mutation(
        scopes=(scopes.POINTS_RETURN,),
        description="Takes a purchase back whole, by lines or by amount, at any outlet of the partner.",
    )
    async def return_purchase(self, info: Info[Context, None], input: ReturnPurchaseInput) -> ReturnPurchaseResult:
        counter, call = await call_of(info, "returnPurchase", input.idempotency_key)
        place = callers.place_of(counter.directory, counter.caller, input.outlet, input.terminal)
        slip = returns.ReturnSlip(input.reference, place, input.ref(), input.occurred_at, input.reason)
        original = await _original(counter, input.original)
        done = await returns.return_purchase(
            counter.desk,
            counter.caller,
            slip,
            original,
            input.what.wish(original.currency),
            idem_key=call.idem_key,
            at=call.at,
        )
        found = shown(info, counter, done.recorded, PurchaseReturn)
        return ReturnPurchaseSuccess(
            done=done.recorded, language=info.context.language, transaction=found, figures=_figures(done)
        )

    @access.mutation(
        scopes=(scopes.POINTS_RETURN,),
        description="Undoes a receipt whole. Always accepted: one that never arrived will be refused when it does.",
    )
    async def cancel_purchase(self, info: Info[Context, None], input: CancelPurchaseInput) -> CancelPurchaseResult:
        counter, call = await call_of(info, "cancelPurchase", input.idempotency_key)
        ref = input.receipt.ref()
        place = callers.place_of(counter.directory, counter.caller, ref.outlet, ref.terminal)
        done = await returns.cancel_purchase(
            counter.desk, counter.caller, place, ref, idem_key=call.idem_key, at=call.at
        )
        return _cancellation(info, counter, done)


async def call_of(info: Info[Context, None], operation: str, key: str) -> tuple[Counter, calls.Call]:
    """The counter and this call at it. Raises IDEMPOTENCY_KEY_INVALID before anything is looked up."""
    counter = await counter_of(info)
    idem_key = calls.scoped_key(counter.caller, operation, key)
    return counter, calls.Call(counter.caller, idem_key, await info.context.now(), clock.wall())


def proof_of(counter: Counter, given: ProofInput | None) -> tills.Proof | None:
    """The proof that came with a spending, the approval's id read by this partner's key."""
    if given is None:
        return None
    return tills.Proof(
        card_code=given.card_code.value if given.card_code else None,
        pin=given.pin.value if given.pin else None,
        approval_no=read_approval_no(counter.partner, given.approval_id.value) if given.approval_id else None,
    )


def _item(counter: Counter, item: AccrueItemInput) -> tuple[MemberRef, Receipt | errors.Rejection]:
    try:
        return counter.member_ref(item.member), item.receipt.receipt()
    except errors.Rejection as no:
        return MemberRef(id=0), no


def _promise(counter: Counter, quote_id: str | None, at: datetime) -> tills.Promise | tills.QuoteExpired | None:
    if quote_id is None:
        return None
    try:
        note = quotes.read(counter.desk.vault, quote_id, partner_id=counter.caller.partner_id, at=at)
    except tills.QuoteExpired as no:
        return no
    return tills.Promise(note.member_id, note.terms_id)


def shown(info: Info[Context, None], counter: Counter, done: Recorded, kind: type[Kind]) -> Kind:
    """A recorded receipt as its partner sees it. Raises IDEMPOTENCY_KEY_REUSED where it is not of this kind."""
    found = transaction(counter.directory, done.receipt, info.context.language)
    if not isinstance(found, kind):  # the receipt that an earlier call recorded under this key is of another kind
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return found


def _batch_answer(
    info: Info[Context, None], counter: Counter, done: list[Recorded | errors.Rejection]
) -> AccrueManySuccess:
    results = [_item_answer(info, counter, one) for one in done]
    recorded = [one for one in done if isinstance(one, Recorded)]
    replayed = sum(one.replayed for one in recorded)
    return AccrueManySuccess(
        accepted=len(recorded) - replayed, replayed=replayed, rejected=len(done) - len(recorded), results=results
    )


def _item_answer(
    info: Info[Context, None], counter: Counter, one: Recorded | errors.Rejection
) -> AccruePointsSuccess | Rejection:
    language = info.context.language
    if isinstance(one, Recorded):
        found = transaction(counter.directory, one.receipt, language)
        if isinstance(found, Purchase):
            return AccruePointsSuccess(done=one, language=language, transaction=found)
        one = outcomes.rejection(outcomes.KEY_REUSED)
    info.context.misses += is_miss(one)
    return as_data(one, language)


def _quote(counter: Counter, quoted: tills.Quoted, at: datetime, language: str) -> Quote:
    terms, award, decided = quoted.terms, quoted.prepared.award, quoted.prepared.decided
    release_id = decided.basis.release.release_id if decided else 0
    titles = rules.titles(release_id, counter.directory.shelf, language)
    note = quotes.Note(counter.caller.partner_id, quoted.member.member_id, terms.terms_id, at + quotes.LASTS)
    return Quote(
        quote_id=strawberry.ID(quotes.seal(counter.desk.vault, note)),
        valid_until=note.until,
        points=Points(award.points),
        lines=purchase_lines(award.line_points, {}, terms.currency),
        reasons=reasons(quoted.prepared.row.decision["reasons"], terms.currency, language, titles),
        discounts=line_discounts(decided.outcome.discounts if decided else (), terms.currency),
        rules=rule_answers(decided, language) if decided else [],
        max_redeem=SpendLimit(
            points=Points(quoted.limit.points),
            value=money(quoted.limit.value_minor, terms.currency),
            bound_by=quoted.limit.bound_by,
        ),
        member_id=quoted.member.member_id,
        at=at,
    )


def _figures(done: Returned) -> ReturnFigures:
    return ReturnFigures(
        refund_money=money(done.refund_money_minor, done.currency),
        deduct_from_refund=money(done.deduct_minor, done.currency),
        refund_points=Points(done.refunded_points),
        take_back=Points(done.taken_points),
        owed=Points(done.owed_points),
        unrecovered=Points(done.unrecovered_points),
    )


def _cancellation(info: Info[Context, None], counter: Counter, done: Returned | None) -> CancelPurchaseSuccess:
    language = info.context.language
    if done is None:
        sentence = slips.text("cancelled_unknown", language)
        return CancelPurchaseSuccess(known=False, replayed=False, transaction=None, figures=None, cashier_text=sentence)
    found = transaction(counter.directory, done.recorded.receipt, language)
    sentences = [slips.text("cancelled", language)]
    if done.owed_points:
        sentences.append(slips.text("owed", language, done.owed_points))
    return CancelPurchaseSuccess(
        known=True,
        replayed=done.recorded.replayed,
        transaction=found if isinstance(found, PurchaseReturn) else None,
        figures=_figures(done),
        cashier_text=" ".join(sentences),
    )


async def _original(counter: Counter, ref: TransactionRefInput) -> StoredReceipt:
    if ref.receipt is not None:
        return await returns.find_original(counter.desk, counter.caller, ref=ref.receipt.value.ref())
    assert ref.id is not None
    place = read_transaction_id(counter.partner, ref.id.value)
    return await returns.find_original(counter.desk, counter.caller, place=place or (0, 0))


async def find_transaction(counter: Counter, ref: TransactionRefInput) -> StoredReceipt | None:
    """A transaction of the calling partner's; None where there is none or it is another's."""
    if ref.receipt is not None:
        return await returns.find(counter.desk, counter.caller, ref.receipt.value.ref())
    assert ref.id is not None
    place = read_transaction_id(counter.partner, ref.id.value)
    return await returns.find_by_place(counter.desk, counter.caller, place) if place else None
