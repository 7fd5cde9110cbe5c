"""What a till asks for, from card to answer: recognise the member, look at the proof, decide, record.

A retry must hear its first answer even when the card was blocked or the code grew old meanwhile. So whenever somebody
is not recognised or a proof is no good, the key is looked up before the "no" is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from kit.errors import Rejection
from ledger import lots
from ledger.accounts import POINTS
from members import approvals, proofs
from members.approvals import Approval
from members.identification import Identified, MemberRef
from partners import callers, outcomes
from partners.agreements import roles
from partners.callers import Caller
from partners.calls import Call
from partners.coupons import coupons
from partners.coupons.coupons import Shown
from partners.coupons.guesses import Asking
from partners.decisions import deciding, permits, preparing, spending
from partners.decisions.deciding import Presented
from partners.decisions.prepared import Prepared
from partners.decisions.spending import SpendLimit
from partners.desk import Desk
from partners.holds import holds
from partners.holds.holds import Held, HoldRef, HoldWish
from partners.outcomes import Recorded
from partners.purchases import purchases
from partners.receipts import receipts
from partners.receipts.receipts import Receipt, ReceiptRef
from partners.receipts.records import ProofUse
from partners.terms import Terms
from partners.tills import recognition, replays


class ProofRequired(Rejection):
    """Spending needs a rotating code, a PIN or the member's approval."""

    code = "PROOF_REQUIRED"
    retryable = False


class QuoteExpired(Rejection):
    """The quote is no longer honoured, or was given to another partner or for another member; ask for a new one."""

    code = "QUOTE_EXPIRED"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the quote is no longer honoured; ask for a new one")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a quote promised: for this member, these terms."""

    member_id: int
    terms_id: int


@dataclass(frozen=True, slots=True)
class Proof:
    """How the member shows that they agree to spend: one of a rotating code, a PIN, an approval; or it is they
    themselves who ask, signed in, and have shown a moment ago who they are (in_session)."""

    card_code: str | None = field(default=None, repr=False)
    pin: str | None = field(default=None, repr=False)
    approval_no: int | None = None  # of this member; 0 is nobody's
    in_session: bool = False


@dataclass(frozen=True, slots=True)
class Spend:
    """Points to spend and the proof; or a hold to capture, whose proof was given, and how many points of it (all)."""

    points: int | None
    hold: HoldRef | None
    proof: Proof | None


@dataclass(frozen=True, slots=True)
class Coupons:
    """Codes of coupons that are shown, and the wall's instant."""

    codes: tuple[str, ...] = field(default=(), repr=False)
    wall_at: datetime | None = None


NO_COUPONS = Coupons()


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a receipt would earn and the most it takes, for a member who was recognised."""

    member: Identified
    prepared: Prepared
    terms: Terms
    limit: SpendLimit


async def quote(
    desk: Desk, caller: Caller, ref: MemberRef, receipt: Receipt, *, at: datetime, shown: Coupons = NO_COUPONS
) -> Quoted:
    """What a purchase would earn, the discounts it may get, and the most points it takes; writes nothing of it.

    Coupons that are shown are looked at as a purchase looks at them, those that it would use are weighed as it would
    weigh them, and all stay as they are. Raises what identification, coupons.look, coupons.weigh and preparing.prepare
    raise.
    """
    directory = await desk.directory.get()
    place = callers.place_of(directory, caller, receipt.outlet, receipt.terminal)
    member = await recognition.identify(desk, caller, ref, place.terminal_id, at)
    presented = await _presented(desk, caller, place, member, shown, receipt, at=at)
    prepared = await deciding.decide(
        desk, directory, caller, member, receipt, at=at, idem_key=None, is_quote=True, presented=presented
    )
    await _weigh(desk, prepared, at)
    terms = directory.terms(prepared.row.terms_id)
    standing = await lots.standing(desk.pool, member.member_id, unit=POINTS, at=at)
    if standing is None:
        raise outcomes.rejection(4)
    if prepared.decided is not None and prepared.decided.outcome.spend_limit is not None:
        by_rules = prepared.decided.outcome.spend_limit
        limit = SpendLimit(by_rules.points, by_rules.value_minor, by_rules.bound_by)
        limit = spending.within(
            limit,
            terms=terms,
            programme=directory.programme,
            available=standing.available,
            locked=standing.spend_locked,
        )
    else:
        limit = spending.limit(
            receipt.total_minor,
            terms=terms,
            programme=directory.programme,
            available=standing.available,
            locked=standing.spend_locked,
        )
    if not terms.redeems:
        limit = SpendLimit(0, 0, "AGREEMENT_SHARE")
    return Quoted(member, prepared, terms, limit)


async def record_purchase(
    desk: Desk,
    call: Call,
    ref: MemberRef,
    receipt: Receipt,
    *,
    spend: Spend | None,
    promise: Promise | QuoteExpired | None = None,
    must_earn: bool = False,
    shown: Coupons = NO_COUPONS,
) -> Recorded:
    """The till's one call: the receipt earns, and spends if it says so. promise is that of a quote to honour; that it
    has expired is said only to who was not answered before. A partner that issues nothing records its receipts with
    nothing earned, unless must_earn.

    Raises what identification, proofs, preparing.prepare, the partner's role and the recording raise.
    """
    receipt = _with_coupons(desk, receipt, shown)
    if spend is not None and spend.hold is not None:
        return await _record_with_hold(
            desk, call, ref, receipt, spend.hold, asked=spend.points, promise=promise, shown=shown
        )
    directory = await desk.directory.get()
    place = callers.place_of(directory, call.caller, receipt.outlet, receipt.terminal)
    points = (spend and spend.points) or 0
    member: Identified | None = None
    foreseen = None if shown.codes else deciding.foresee(desk, directory, call.caller, place, receipt, at=call.at)
    try:
        met = await recognition.meet_for(desk, call, ref, place, foreseen)
        member = met.member
        if earlier := await replays.answered_as_another(
            desk, call, member, place, receipt,
            lambda holder, claim: preparing.content_of(holder, claim, receipt, points),
        ):  # fmt: skip
            return earlier
        terms_id = _promised_terms(promise, member)
        use = await _check_proof(desk, call, member, points, spend.proof) if spend else ProofUse()
        presented = await _presented(
            desk, call.caller, place, member, shown, receipt, at=call.at, is_proved=spend is not None
        )
        if terms_id is not None:
            directory = await desk.directory_with(terms_id)
        # What was recorded may be why it would be refused now: its discount was of the first purchase, or of a budget.
        prepared = await deciding.decide(
            desk, directory, call.caller, member, receipt, at=call.at, idem_key=call.idem_key, redeem_points=points,
            terms=directory.terms(terms_id) if terms_id is not None else None, presented=presented, foreseen=foreseen,
            told=met.told,
        )  # fmt: skip
    except Rejection as no:
        return await replays.replay_or(
            no, desk, call, place, receipt, lambda holder, claim: preparing.content_of(holder, claim, receipt, points),
            member=member,
        )  # fmt: skip
    terms = directory.terms(prepared.row.terms_id)
    if must_earn:
        roles.require_issuer(terms)
    if points:
        roles.require_redeemer(terms)
        return await purchases.purchase(desk, prepared, redeem_points=points, use=use)
    return await purchases.accrue(desk, prepared)


async def _record_with_hold(
    desk: Desk,
    call: Call,
    ref: MemberRef,
    receipt: Receipt,
    hold_ref: HoldRef,
    *,
    asked: int | None,
    promise: Promise | QuoteExpired | None,
    shown: Coupons,
) -> Recorded:
    directory = await desk.directory.get()
    place = callers.place_of(directory, call.caller, receipt.outlet, receipt.terminal)

    def content(holder: int, claim: UUID) -> UUID:
        return holds.captured_content_of(preparing.content_of(holder, claim, receipt, asked or 0), hold_ref)

    member: Identified | None = None
    try:
        member = await recognition.identify(desk, call.caller, ref, place.terminal_id, call.at)
        terms_id = _promised_terms(promise, member)
        hold = await holds.own(desk, call.caller, hold_ref, at=call.at, member_id=member.member_id)
        presented = await _presented(desk, call.caller, place, member, shown, receipt, at=call.at, is_proved=True)
        if terms_id is not None:
            directory = await desk.directory_with(terms_id)
        points = holds.points_to_capture(hold, asked)
        prepared = await deciding.decide(
            desk, directory, call.caller, member, receipt, at=call.at, idem_key=call.idem_key, redeem_points=points,
            terms=directory.terms(terms_id) if terms_id is not None else None, presented=presented,
        )  # fmt: skip
    except Rejection as no:
        return await replays.replay_or(no, desk, call, place, receipt, content, member=member)
    return await holds.capture_for(
        desk, prepared, hold_ref, points, content=content(member.member_id, prepared.row.claim)
    )


async def place_hold(
    desk: Desk, call: Call, ref: MemberRef, outlet: str, terminal: str | None, wish: HoldWish, *, proof: Proof | None
) -> Held:
    """Set points of a member aside for a sale that is not finished.

    Raises what identification, proofs and `holds.place` raise.
    """
    directory = await desk.directory.get()
    place = callers.place_of(directory, call.caller, outlet, terminal)
    member: Identified | None = None
    try:
        terms = callers.terms_at(directory, call.caller.partner_id, call.at)
        roles.require_redeemer(terms)
        holds.check(wish, terms)
        member = await recognition.identify(desk, call.caller, ref, place.terminal_id, call.at)
        await permits.check_spending(desk, call.caller, member, outlet, terminal, at=call.at)
        use = await _check_proof(desk, call, member, wish.points, proof)
    except Rejection as no:
        return await holds.placed_or(
            no,
            desk,
            call.caller,
            place,
            wish,
            member_id=recognition.recognised(no, member),
            idem_key=call.idem_key,
            at=call.at,
        )
    return await holds.place(
        desk, call.caller, member, place, wish, terms=terms, use=use, idem_key=call.idem_key, at=call.at
    )


async def request_approval(
    desk: Desk, call: Call, ref: MemberRef, outlet: str, terminal: str | None, *, points: int
) -> tuple[Approval, bool]:
    """Ask a member to agree to a spending; the question, and whether an earlier call asked it.

    Raises what identification raises, PointsNotPositive and IdempotencyKeyReused.
    """
    directory = await desk.directory.get()
    place = callers.place_of(directory, call.caller, outlet, terminal)
    try:
        if points <= 0:
            raise purchases.PointsNotPositive("the number of points to spend must be above zero")
        member = await recognition.identify(desk, call.caller, ref, place.terminal_id, call.at)
    except Rejection as no:
        async with desk.database.reading() as connection:
            earlier = await approvals.asked_before(
                connection, call.idem_key, partner_id=call.caller.partner_id, at=call.at
            )
        if earlier is None:
            raise
        is_same = (earlier.points, earlier.outlet_id) == (points, place.outlet_id)
        if not is_same or recognition.recognised(no, None) not in (None, earlier.member_id):
            raise outcomes.rejection(outcomes.KEY_REUSED) from no
        return earlier, True
    async with desk.database.transaction() as connection:
        asked = await approvals.ask(
            connection, member_id=member.member_id, partner_id=call.caller.partner_id, outlet_id=place.outlet_id,
            points=points, idem_key=call.idem_key, at=call.at,
        )  # fmt: skip
    if asked is None:
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return asked


async def find_approval(desk: Desk, caller: Caller, member_id: int, approval_no: int, at: datetime) -> Approval | None:
    """The caller's own question to a member as it stands; None where there is none or it is another's."""
    async with desk.database.reading() as connection:
        return await approvals.find(connection, member_id, approval_no, partner_id=caller.partner_id, at=at)


async def capture_hold(desk: Desk, call: Call, ref: HoldRef, receipt: Receipt, *, asked: int | None) -> Recorded:
    """Capture a hold alone, whole or as many points as asked. Raises what `holds.capture` raises."""
    directory = await desk.directory.get()
    terms = callers.terms_at(directory, call.caller.partner_id, receipt.occurred_at)
    receipt = replace(receipt, currency=terms.currency)
    hold = await holds.own(desk, call.caller, ref, at=call.at)
    return await holds.capture(desk, call.caller, hold, receipt, asked=asked, idem_key=call.idem_key, at=call.at)


async def release_hold(desk: Desk, call: Call, ref: HoldRef) -> Held:
    """Let a hold go. Raises what `holds.release` raises, and HoldUnknown."""
    hold = await holds.own(desk, call.caller, ref, at=call.at)
    return await holds.release(desk, call.caller, hold, idem_key=call.idem_key, at=call.at)


async def reserve_coupons(desk: Desk, call: Call, ref: MemberRef, receipt: ReceiptRef, shown: Coupons) -> datetime:
    """Keep coupons for a receipt that is not paid yet, all or none, counted from now; until when. Once more for the
    same receipt it begins anew, and the purchase under that receipt uses them.

    Raises what identification raises, and what coupons.look and coupons.reserve reject.
    """
    place, by = await _basket(desk, call.caller, receipt)
    member = await recognition.identify(desk, call.caller, ref, place.terminal_id, call.at)
    found = await _looked_at(desk, call.caller, place, member, shown, by, call.at)
    async with desk.database.transaction() as connection:
        await coupons.reserve(
            connection, [one.lookup for one in found], holder_id=member.member_id, partner_id=call.caller.partner_id,
            by=by, at=call.at, now=call.wall_at,
        )  # fmt: skip
    return call.at + coupons.RESERVED_FOR


async def release_coupons(desk: Desk, call: Call, receipt: ReceiptRef, shown: Coupons) -> int:
    """Let go what was kept for a receipt; how many of these coupons were."""
    _, by = await _basket(desk, call.caller, receipt)
    async with desk.database.transaction() as connection:
        lookups = await coupons.lookups(connection, desk.vault, shown.codes, call.caller.partner_id)
        return await coupons.release(connection, lookups, by=by)


async def _basket(desk: Desk, caller: Caller, receipt: ReceiptRef) -> tuple[callers.Place, UUID]:
    """Where a receipt is, and what its coupons are kept under: its own claim, by which its purchase finds them."""
    place = callers.place_of(await desk.directory.get(), caller, receipt.outlet, receipt.terminal)
    return place, receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")


async def _presented(
    desk: Desk,
    caller: Caller,
    place: callers.Place,
    member: Identified,
    shown: Coupons,
    receipt: Receipt,
    *,
    at: datetime,
    is_proved: bool = False,
) -> Presented:
    """The coupons behind codes, also those kept for the receipt. Raises what coupons.look raises; codes that are no
    good are counted."""
    if not shown.codes:
        return deciding.NOTHING_PRESENTED
    by = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    found = await _looked_at(desk, caller, place, member, shown, by, at)
    return Presented(tuple(found), is_proved, shown.wall_at)


async def _looked_at(
    desk: Desk, caller: Caller, place: callers.Place, member: Identified, shown: Coupons, by: UUID, at: datetime
) -> list[Shown]:
    assert shown.wall_at is not None
    asking = Asking(member.member_id, place.terminal_id, caller.client_no)
    return await coupons.look(
        desk.database, desk.vault, shown.codes, asking=asking, partner_id=caller.partner_id, at=at,
        now=shown.wall_at, by=by,
    )  # fmt: skip


async def _weigh(desk: Desk, prepared: Prepared, at: datetime) -> None:
    """Raises what its purchase would reject because of coupons that a decision uses."""
    given = prepared.promoted.given if prepared.promoted else None
    if given and given["coupons"]:
        async with desk.database.reading() as connection:
            await coupons.weigh(
                connection, given["coupons"], holder_id=prepared.row.holder_id, by=prepared.row.claim, at=at,
                now=given["wall"],
            )  # fmt: skip


def _with_coupons(desk: Desk, receipt: Receipt, shown: Coupons) -> Receipt:
    """The receipt with what tells the same coupons again and no others, but not their codes."""
    if not shown.codes:
        return receipt
    told = sorted(desk.vault.lookup("coupons shown", code).hex for code in shown.codes)
    return receipts.with_fact(receipt, "coupons", told)


def _promised_terms(promise: Promise | QuoteExpired | None, member: Identified) -> int | None:
    if promise is None:
        return None
    if isinstance(promise, QuoteExpired):
        raise promise
    if promise.member_id != member.member_id:
        raise QuoteExpired
    return promise.terms_id


async def redeem_points(
    desk: Desk,
    call: Call,
    ref: MemberRef,
    receipt: Receipt,
    *,
    points: int,
    proof: Proof | None,
    reward_id: int | None = None,
) -> Recorded:
    """The spending half alone; the receipt is one of nothing, in the place and under the reference of the spending."""
    directory = await desk.directory.get()
    place = callers.place_of(directory, call.caller, receipt.outlet, receipt.terminal)
    terms = callers.terms_at(directory, call.caller.partner_id, receipt.occurred_at)
    roles.require_redeemer(terms)
    receipt = replace(receipt, currency=terms.currency)
    member: Identified | None = None
    try:
        member = await recognition.identify(desk, call.caller, ref, place.terminal_id, call.at)
        if earlier := await replays.answered_as_another(
            desk, call, member, place, receipt,
            lambda holder, claim: preparing.redemption_content_of(
                preparing.content_of(holder, claim, receipt, 0), points
            ),
        ):  # fmt: skip
            return earlier
        await permits.check_spending(desk, call.caller, member, receipt.outlet, receipt.terminal, at=call.at)
        use = await _check_proof(desk, call, member, points, proof)
    except Rejection as no:
        return await replays.replay_or(
            no, desk, call, place, receipt,
            lambda holder, claim: preparing.redemption_content_of(
                preparing.content_of(holder, claim, receipt, 0), points
            ),
            member=member,
        )  # fmt: skip
    return await purchases.redeem(
        desk, call.caller, member, receipt, points=points, use=use, idem_key=call.idem_key, at=call.at,
        reward_id=reward_id,
    )  # fmt: skip


async def _check_proof(desk: Desk, call: Call, member: Identified, points: int, proof: Proof | None) -> ProofUse:
    """The proof to use up. Raises what is wrong with the spending or the proof."""
    if points <= 0:
        raise purchases.PointsNotPositive("the number of points to spend must be above zero")
    if proof is None:
        raise ProofRequired("spending needs a rotating code, a PIN or the member's approval")
    if proof.card_code is not None:
        async with desk.database.reading() as connection:
            code = await proofs.verify_code(connection, desk.vault, proof.card_code, at=call.at)
        if code.member_id != member.member_id:
            raise proofs.CodeInvalid
        return ProofUse(code_card=code.card_id, code_step=code.step)
    if proof.approval_no is not None:
        async with desk.database.reading() as connection:
            await approvals.check(
                connection, member.member_id, proof.approval_no, partner_id=call.caller.partner_id, points=points,
                at=call.at,
            )  # fmt: skip
        return ProofUse(approval_no=proof.approval_no)
    if proof.in_session:
        return ProofUse()
    assert proof.pin is not None
    await proofs.check_pin(desk.database, desk.vault, member.member_id, proof.pin, now=call.wall_at)
    return ProofUse()
