"""The first answer to a request that comes again: by its key, or by its receipt, also where the card stood for another
member meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from kit.errors import Rejection
from ledger import lots
from ledger.accounts import POINTS
from members import merging
from members.identification import Identified
from partners import outcomes
from partners.callers import Caller, Place
from partners.calls import Call
from partners.decisions.preparing import content_of
from partners.desk import Desk
from partners.outcomes import Recorded
from partners.receipts import receipts
from partners.receipts import store as receipt_store
from partners.receipts.receipts import Receipt
from partners.tills import recognition


async def answered_as_another(
    desk: Desk,
    call: Call,
    member: Identified,
    place: Place,
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
    return await recorded_as_another(desk, call.caller, member, place, receipt, content)


async def recorded_as_another(
    desk: Desk,
    caller: Caller,
    member: Identified,
    place: Place,
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
    same = content or (lambda holder, claim: content_of(holder, claim, receipt, 0))
    if await receipt_store.fingerprint_of(desk.pool, claim) != same(earlier.holder_id, claim):
        raise outcomes.rejection(outcomes.RECORDED_ALREADY)
    return Recorded(earlier, True)


async def _others(desk: Desk, member: Identified) -> set[int]:
    """Whom else the member's card stood for ever; nobody where its member was never merged."""
    if member.issued_to is None:
        return set()
    async with desk.database.reading() as connection:
        return await merging.ever_stood_for(connection, member.issued_to) - {member.member_id}


async def recorded_before_or(
    no: Rejection, desk: Desk, caller: Caller, place: Place, receipt: Receipt
) -> Recorded | Rejection:
    """The first answer where the receipt was recorded before under itself as key, else the "no" that it gets now."""
    claim = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    earlier = await receipt_store.receipt_by_claim(desk.pool, caller.partner_id, claim)
    if earlier is None:
        return no
    is_same = await receipt_store.fingerprint_of(desk.pool, claim) == content_of(earlier.holder_id, claim, receipt, 0)
    return Recorded(earlier, True) if is_same else no


async def replay_or(
    no: Rejection,
    desk: Desk,
    call: Call,
    place: Place,
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
    member_id = recognition.recognised(no, member)
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
