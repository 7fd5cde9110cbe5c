"""What a till asks for, from card to answer: recognise the member, look at the proof, decide, record.

A retry must hear its first answer even when the card was blocked or the code grew old meanwhile. So whenever somebody
is not recognised or a proof is no good, the key is looked up before the "no" is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from kit.errors import Rejection
from kit.values import quick
from ledger import lots
from ledger.accounts import POINTS
from members import approvals, guesses, identification, merging, proofs
from members.aliases import normal_phone
from members.approvals import Approval
from members.cards import CardUnknown, MemberUnknown, Recognised, check_number
from members.guesses import Guesser, RateLimited
from members.identification import Identified, MemberRef
from partners import holds, outcomes, permits, purchases, receipt_store, receipts, roles, spending
from partners.coupons import coupons
from partners.coupons.guesses import Asking
from partners.directory import Directory
from partners.holds import Held, HoldRef, HoldWish
from partners.outcomes import Recorded
from partners.purchases import Caller, Carried, Desk, Foreseen, Met, Prepared, Presented, Wanted
from partners.receipts import Receipt
from partners.records import ProofUse
from partners.spending import SpendLimit
from partners.terms import Terms

MOST_ITEMS = 500
_KEY = re.compile(r"[\x21-\x7e]{16,64}")


class IdempotencyKeyInvalid(Rejection):
    """The key must be 16 to 64 visible ASCII characters."""

    code = "IDEMPOTENCY_KEY_INVALID"
    retryable = False


class BatchInvalid(Rejection):
    """A batch holds 1 to 500 items."""

    code = "BATCH_INVALID"
    retryable = False


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


@quick
@dataclass(frozen=True, slots=True)
class Coupons:
    """Codes of coupons that are shown, and the wall's instant."""

    codes: tuple[str, ...] = field(default=(), repr=False)
    wall_at: datetime | None = None


NO_COUPONS = Coupons()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a till: who asks, the idempotency key in its scope, the business instant and the wall's."""

    caller: Caller
    idem_key: UUID
    at: datetime
    wall_at: datetime


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a receipt would earn and the most it takes, for a member who was recognised."""

    member: Identified
    prepared: Prepared
    terms: Terms
    limit: SpendLimit


def check_key(key: str) -> None:
    """Nothing where a key has the form of one. Raises IdempotencyKeyInvalid."""
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid("the idempotency key must be 16 to 64 visible ASCII characters")


def scoped_key(caller: Caller, operation: str, key: str) -> UUID:
    """The key in its scope. Raises IdempotencyKeyInvalid before anything is looked up."""
    check_key(key)
    return purchases.idem_key_of(caller, operation, key)


async def identify(desk: Desk, caller: Caller, ref: MemberRef, terminal_id: int | None, at: datetime) -> Identified:
    """The member that a till names. Raises what members.identification raises, and RateLimited."""
    if ref.card_number is not None:
        place = caller.terminal_id if terminal_id is None else terminal_id
        return await _identify_card(desk, ref.card_number, guesses.guesser(place, caller.client_no))
    place = caller.terminal_id if terminal_id is None else terminal_id
    asking = guesses.phone_guesser(place, caller.client_no) if ref.phone is not None else None
    if asking is not None:
        await desk.guesses.check(asking)
    async with desk.database.reading() as connection:
        try:
            return await identification.identify(
                connection, desk.vault, ref, partner_id=caller.partner_id, terminal_id=terminal_id, at=at
            )
        except MemberUnknown as no:
            unknown = no
    if asking is not None and normal_phone(ref.phone or "") and await desk.guesses.count(asking) == 0:
        raise RateLimited from unknown
    raise unknown


async def _identify_card(desk: Desk, number: str, asking: Guesser) -> Identified:
    return (await _meet(desk, number, asking, None)).member


async def _meet(desk: Desk, number: str, asking: Guesser, wanted: Wanted | None) -> Met:
    await desk.guesses.check(asking)
    try:
        return await desk.cards.submit(Carried(number, wanted))
    except CardUnknown as no:
        return Met(await _told(desk, asking, number, no, set()))


async def _told(
    desk: Desk, asking: Guesser, number: str, found: Identified | Rejection, counted: set[tuple[Guesser, str]]
) -> Identified:
    """Whom a card number found. One that finds nobody is counted, once in a batch, unless it cannot be a number at
    all: that is a slip of the finger and tells a guesser nothing."""
    if not isinstance(found, Rejection):
        return found
    is_guess = isinstance(found, CardUnknown) and check_number(number) and (asking, number) not in counted
    if is_guess:
        counted.add((asking, number))
        if await desk.guesses.count(asking) == 0:
            raise RateLimited from found
    raise found


async def _meet_for(desk: Desk, call: Call, ref: MemberRef, place: purchases.Place, foreseen: Foreseen | None) -> Met:
    """As `identify`, and what a decision on the receipt will want to know, where the card's number says who it is."""
    if ref.card_number is None or foreseen is None or foreseen.wanted is None:
        return Met(await identify(desk, call.caller, ref, place.terminal_id, call.at))
    till = call.caller.terminal_id if place.terminal_id is None else place.terminal_id
    return await _meet(desk, ref.card_number, guesses.guesser(till, call.caller.client_no), foreseen.wanted)


async def quote(
    desk: Desk, caller: Caller, ref: MemberRef, receipt: Receipt, *, at: datetime, shown: Coupons = NO_COUPONS
) -> Quoted:
    """What a purchase would earn, the discounts it may get, and the most points it takes; writes nothing of it."""
    directory = await desk.directory.get()
    place = purchases.place_of(directory, caller, receipt.outlet, receipt.terminal)
    member = await identify(desk, caller, ref, place.terminal_id, at)
    prepared = await purchases.decide(desk, directory, caller, member, receipt, at=at, idem_key=None, is_quote=True)
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

    Raises what identification, proofs, purchases.prepare, the partner's role and the recording raise.
    """
    receipt = _with_coupons(desk, receipt, shown)
    if spend is not None and spend.hold is not None:
        return await _record_with_hold(
            desk, call, ref, receipt, spend.hold, asked=spend.points, promise=promise, shown=shown
        )
    directory = await desk.directory.get()
    place = purchases.place_of(directory, call.caller, receipt.outlet, receipt.terminal)
    points = (spend and spend.points) or 0
    member: Identified | None = None
    foreseen = None if shown.codes else purchases.foresee(desk, directory, call.caller, place, receipt, at=call.at)
    try:
        met = await _meet_for(desk, call, ref, place, foreseen)
        member = met.member
        if earlier := await _answered_as_another(
            desk, call, member, place, receipt,
            lambda holder, claim: purchases.content_of(holder, claim, receipt, points),
        ):  # fmt: skip
            return earlier
        terms_id = _promised_terms(promise, member)
        use = await _check_proof(desk, call, member, points, spend.proof) if spend else ProofUse()
        presented = await _presented(desk, call.caller, place, member, shown, at=call.at, is_proved=spend is not None)
    except Rejection as no:
        return await _replay_or(
            no, desk, call, place, receipt, lambda holder, claim: purchases.content_of(holder, claim, receipt, points),
            member=member,
        )  # fmt: skip
    if terms_id is not None:
        directory = await desk.directory_with(terms_id)
    prepared = await purchases.decide(
        desk, directory, call.caller, member, receipt, at=call.at, idem_key=call.idem_key, redeem_points=points,
        terms=directory.terms(terms_id) if terms_id is not None else None, presented=presented, foreseen=foreseen,
        told=met.told,
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
    place = purchases.place_of(directory, call.caller, receipt.outlet, receipt.terminal)

    def content(holder: int, claim: UUID) -> UUID:
        return holds.captured_content_of(purchases.content_of(holder, claim, receipt, asked or 0), hold_ref)

    member: Identified | None = None
    try:
        member = await identify(desk, call.caller, ref, place.terminal_id, call.at)
        terms_id = _promised_terms(promise, member)
        hold = await holds.own(desk, call.caller, hold_ref, at=call.at, member_id=member.member_id)
        presented = await _presented(desk, call.caller, place, member, shown, at=call.at, is_proved=True)
    except Rejection as no:
        return await _replay_or(no, desk, call, place, receipt, content, member=member)
    if terms_id is not None:
        directory = await desk.directory_with(terms_id)
    points = holds.points_to_capture(hold, asked)
    prepared = await purchases.decide(
        desk, directory, call.caller, member, receipt, at=call.at, idem_key=call.idem_key, redeem_points=points,
        terms=directory.terms(terms_id) if terms_id is not None else None, presented=presented,
    )  # fmt: skip
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
    place = purchases.place_of(directory, call.caller, outlet, terminal)
    member: Identified | None = None
    try:
        terms = purchases.terms_at(directory, call.caller.partner_id, call.at)
        roles.require_redeemer(terms)
        holds.check(wish, terms)
        member = await identify(desk, call.caller, ref, place.terminal_id, call.at)
        await permits.check_spending(desk, call.caller, member, outlet, terminal, at=call.at)
        use = await _check_proof(desk, call, member, wish.points, proof)
    except Rejection as no:
        return await holds.placed_or(
            no, desk, call.caller, place, wish, member_id=recognised(no, member), idem_key=call.idem_key, at=call.at
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
    place = purchases.place_of(directory, call.caller, outlet, terminal)
    try:
        if points <= 0:
            raise purchases.PointsNotPositive("the number of points to spend must be above zero")
        member = await identify(desk, call.caller, ref, place.terminal_id, call.at)
    except Rejection as no:
        async with desk.database.reading() as connection:
            earlier = await approvals.asked_before(
                connection, call.idem_key, partner_id=call.caller.partner_id, at=call.at
            )
        if earlier is None:
            raise
        is_same = (earlier.points, earlier.outlet_id) == (points, place.outlet_id)
        if not is_same or recognised(no, None) not in (None, earlier.member_id):
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
    terms = purchases.terms_at(directory, call.caller.partner_id, receipt.occurred_at)
    receipt = replace(receipt, currency=terms.currency)
    hold = await holds.own(desk, call.caller, ref, at=call.at)
    return await holds.capture(desk, call.caller, hold, receipt, asked=asked, idem_key=call.idem_key, at=call.at)


async def release_hold(desk: Desk, call: Call, ref: HoldRef) -> Held:
    """Let a hold go. Raises what `holds.release` raises, and HoldUnknown."""
    hold = await holds.own(desk, call.caller, ref, at=call.at)
    return await holds.release(desk, call.caller, hold, idem_key=call.idem_key, at=call.at)


async def _presented(
    desk: Desk,
    caller: Caller,
    place: purchases.Place,
    member: Identified,
    shown: Coupons,
    *,
    at: datetime,
    is_proved: bool = False,
) -> Presented:
    """The coupons behind codes. Raises what coupons.look raises; codes that are no good are counted."""
    if not shown.codes:
        return purchases.NOTHING_PRESENTED
    assert shown.wall_at is not None
    asking = Asking(member.member_id, place.terminal_id, caller.client_no)
    found = await coupons.look(
        desk.database, desk.vault, shown.codes, asking=asking, partner_id=caller.partner_id, at=at, now=shown.wall_at
    )
    return Presented(tuple(found), is_proved, shown.wall_at)


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
    place = purchases.place_of(directory, call.caller, receipt.outlet, receipt.terminal)
    terms = purchases.terms_at(directory, call.caller.partner_id, receipt.occurred_at)
    roles.require_redeemer(terms)
    receipt = replace(receipt, currency=terms.currency)
    member: Identified | None = None
    try:
        member = await identify(desk, call.caller, ref, place.terminal_id, call.at)
        if earlier := await _answered_as_another(
            desk, call, member, place, receipt,
            lambda holder, claim: purchases.redemption_content_of(
                purchases.content_of(holder, claim, receipt, 0), points
            ),
        ):  # fmt: skip
            return earlier
        await permits.check_spending(desk, call.caller, member, receipt.outlet, receipt.terminal, at=call.at)
        use = await _check_proof(desk, call, member, points, proof)
    except Rejection as no:
        return await _replay_or(
            no, desk, call, place, receipt,
            lambda holder, claim: purchases.redemption_content_of(
                purchases.content_of(holder, claim, receipt, 0), points
            ),
            member=member,
        )  # fmt: skip
    return await purchases.redeem(
        desk, call.caller, member, receipt, points=points, use=use, idem_key=call.idem_key, at=call.at,
        reward_id=reward_id,
    )  # fmt: skip


async def accrue_many(
    desk: Desk, caller: Caller, items: Sequence[tuple[MemberRef, Receipt | Rejection]], *, at: datetime
) -> list[Recorded | Rejection]:
    """Record receipts that earn, each by itself and under itself as key; answers in the items' order.

    Raises BatchInvalid; every other "no" is an item's own.
    """
    if not 1 <= len(items) <= MOST_ITEMS:
        raise BatchInvalid(f"a batch holds 1 to {MOST_ITEMS} items")
    found: dict[int, Recorded | Rejection] = {}
    prepared: dict[int, Prepared] = {}
    for index, one in enumerate(await _prepare_many(desk, caller, items, at)):
        if isinstance(one, Prepared):
            prepared[index] = one
        else:
            found[index] = one
    if prepared:
        recorded = await purchases.accrue_file(desk, list(prepared.values()))
        found.update(zip(prepared, recorded, strict=True))
    return [found[index] for index in range(len(items))]


async def _prepare_many(
    desk: Desk, caller: Caller, items: Sequence[tuple[MemberRef, Receipt | Rejection]], at: datetime
) -> list[Prepared | Recorded | Rejection]:
    directory = await desk.directory.get()
    numbers = {ref.card_number for ref, _ in items if ref.card_number is not None}
    by_number = await identification.identify_cards(desk.pool, desk.vault, list(numbers)) if numbers else {}
    counted: set[tuple[Guesser, str]] = set()
    answers: dict[int, Prepared | Recorded | Rejection] = {}
    asked: dict[int, tuple[Identified, Receipt]] = {}
    for index, (ref, receipt) in enumerate(items):
        try:
            if isinstance(receipt, Rejection):
                raise receipt
            place = purchases.place_of(directory, caller, receipt.outlet, receipt.terminal)
            try:
                if ref.card_number is not None:
                    asking = guesses.guesser(place.terminal_id, caller.client_no)
                    await desk.guesses.check(asking)
                    member = await _told(desk, asking, ref.card_number, by_number[ref.card_number], counted)
                else:
                    member = await identify(desk, caller, ref, place.terminal_id, at)
            except Rejection as no:
                answers[index] = await _recorded_before_or(no, desk, caller, place, receipt)
                continue
            if earlier := await _recorded_as_another(desk, caller, member, place, receipt):
                answers[index] = earlier
                continue
            asked[index] = (member, receipt)
        except Rejection as no:
            answers[index] = no
    decided = await purchases.decide_many(desk, directory, caller, list(asked.values()), at=at)
    for index, one in zip(asked, decided, strict=True):
        answers[index] = _that_earns(directory, one)
    return [answers[index] for index in range(len(items))]


def _that_earns(directory: Directory, one: Prepared | Rejection) -> Prepared | Rejection:
    """The purchase, or the "no" to a partner that issues nothing."""
    if isinstance(one, Prepared):
        try:
            roles.require_issuer(directory.terms(one.row.terms_id))
        except Rejection as no:
            return no
    return one


async def _answered_as_another(
    desk: Desk,
    call: Call,
    member: Identified,
    place: purchases.Place,
    receipt: Receipt,
    content: Callable[[int, UUID], UUID],
) -> Recorded | None:
    """The first answer where this very request was answered while the card stood for another member, before a merge or
    during one that has ended; None where it was not. A final decline is raised again."""
    others = await _others(desk, member)
    if not others:
        return None
    claim = receipts.claim_of(call.caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    earlier = await receipt_store.receipt_by_idem_key(desk.pool, call.caller.partner_id, call.idem_key)
    if earlier is not None and earlier.holder_id in others:
        if await receipt_store.fingerprint_of(desk.pool, claim) != content(earlier.holder_id, claim):
            raise outcomes.rejection(outcomes.KEY_REUSED)
        return Recorded(earlier, True)
    for other in sorted(others):
        told = await lots.declined(desk.pool, other, unit=POINTS, idem_key=call.idem_key)
        if told is not None:
            is_same = told == content(other, claim)
            raise outcomes.rejection(outcomes.INSUFFICIENT if is_same else outcomes.KEY_REUSED)
    return await _recorded_as_another(desk, call.caller, member, place, receipt, content)


async def _recorded_as_another(
    desk: Desk,
    caller: Caller,
    member: Identified,
    place: purchases.Place,
    receipt: Receipt,
    content: Callable[[int, UUID], UUID] | None = None,
) -> Recorded | None:
    """The same by the receipt, whatever key was sent."""
    others = await _others(desk, member)
    if not others:
        return None
    claim = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    earlier = await receipt_store.receipt_by_claim(desk.pool, caller.partner_id, claim)
    if earlier is None or earlier.holder_id not in others:
        return None
    same = content or (lambda holder, claim: purchases.content_of(holder, claim, receipt, 0))
    if await receipt_store.fingerprint_of(desk.pool, claim) != same(earlier.holder_id, claim):
        raise outcomes.rejection(outcomes.RECORDED_ALREADY)
    return Recorded(earlier, True)


async def _others(desk: Desk, member: Identified) -> set[int]:
    """Whom else the member's card stood for ever; nobody where its member was never merged."""
    if member.issued_to is None:
        return set()
    async with desk.database.reading() as connection:
        return await merging.ever_stood_for(connection, member.issued_to) - {member.member_id}


async def _recorded_before_or(
    no: Rejection, desk: Desk, caller: Caller, place: purchases.Place, receipt: Receipt
) -> Recorded | Rejection:
    claim = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    earlier = await receipt_store.receipt_by_claim(desk.pool, caller.partner_id, claim)
    if earlier is None:
        return no
    is_same = await receipt_store.fingerprint_of(desk.pool, claim) == purchases.content_of(
        earlier.holder_id, claim, receipt, 0
    )
    return Recorded(earlier, True) if is_same else no


async def _replay_or(
    no: Rejection,
    desk: Desk,
    call: Call,
    place: purchases.Place,
    receipt: Receipt,
    content: Callable[[int, UUID], UUID],
    *,
    member: Identified | None,
) -> Recorded:
    """The first answer where this very request was answered before, else the "no" that it would get now.

    content makes a member and a claim to what the key stands for; member is who was recognised before the "no".
    """
    claim = receipts.claim_of(call.caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    earlier = await receipt_store.receipt_by_idem_key(desk.pool, call.caller.partner_id, call.idem_key)
    member_id = recognised(no, member)
    if earlier is None:
        if member_id is not None:
            told = await lots.declined(desk.pool, member_id, unit=POINTS, idem_key=call.idem_key)
            if told is not None:
                is_same = told == content(member_id, claim)
                raise outcomes.rejection(outcomes.INSUFFICIENT if is_same else outcomes.KEY_REUSED)
        raise no
    is_same = await receipt_store.fingerprint_of(desk.pool, claim) == content(earlier.holder_id, claim)
    if not is_same or member_id not in (None, earlier.holder_id):
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return Recorded(earlier, True)


def recognised(no: Rejection, member: Identified | None) -> int | None:
    """Who stands at the till as far as a "no" lets us tell: a key of another member's is not theirs."""
    if member is not None:
        return member.member_id
    return no.member_id if isinstance(no, Recognised) else None


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
