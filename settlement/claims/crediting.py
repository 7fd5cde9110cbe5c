"""What becomes of claims by themselves: silence decides, what is accepted is credited, what came after all takes its
place.

Every step is done once however often it is begun: the receipt is recorded under the claim's own key, and the claim's
step is written behind it. Killed between the two, the next time finds the receipt and writes the step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import fingerprint
from members.cards import MemberClosed, MemberUnknown
from partners.desk import Desk
from partners.directory import Directory
from partners.outcomes import ReceiptAlreadyRecorded, ReceiptCancelled
from partners.purchases import late_receipts
from partners.purchases.late_receipts import Seen
from partners.receipts.receipts import Receipt, ReceiptRef
from settlement.claims import claiming, claims
from settlement.claims.claiming import CLOSED, CREDITED, FOUND, REPLACED, TO_CREDIT
from settlement.claims.claims import Claim

WATCHED = timedelta(days=120)
"""How long after a claim was credited the original of its receipt is looked for."""
_ACTOR = "claims"


async def advance(desk: Desk, *, at: datetime, stopping: asyncio.Event) -> int:
    """Do what is due of claims at a business instant; how many steps. Stops between two claims.

    A claim whose receipt cannot be recorded now (its partner is suspended, say) waits for the next time.
    """
    async with desk.database.reading() as connection:
        silent = await claims.overdue(connection, at=at)
    done = await _each(silent, lambda number: _silent(desk, number, at), stopping)
    async with desk.database.reading() as connection:
        accepted = await claims.numbers(connection, TO_CREDIT)
    return done + await _each(accepted, lambda number: credit(desk, number, at=at), stopping)


async def watch_originals(desk: Desk, *, at: datetime, stopping: asyncio.Event) -> int:
    """Look whether originals of receipts that claims recorded came after all, and let them stand instead; how many.
    Stops between two claims."""
    async with desk.database.reading() as connection:
        given = await claims.numbers(connection, [CREDITED], since=at - WATCHED)
    return await _each(given, lambda number: replace(desk, number, at=at), stopping)


async def credit(desk: Desk, claim_id: int, *, at: datetime) -> bool:
    """Give an accepted claim's points, or find that they were given; whether the claim went on.

    Its partner's agreement and rules of the day of the purchase decide how many. Rejects CLAIM_UNKNOWN and, where the
    receipt cannot be recorded now, what `late_receipts.record` rejects.
    """
    key = _key("claim credited", claim_id)
    async with desk.database.reading() as connection:
        its = await claims.read(connection, claim_id)
        mine = await late_receipts.recorded_under(connection, key)
    if its.state not in TO_CREDIT:
        return False
    otherwise = FOUND
    if mine is None:
        try:
            await _record(desk, its, key, at)
        except (MemberClosed, MemberUnknown):
            otherwise = CLOSED
        # Asked again in any case: what seemed to be the original may be what another worker has just recorded for us.
        async with desk.database.reading() as connection:
            mine = await late_receipts.recorded_under(connection, key)
    if mine is None:
        return await _conclude(desk, its, otherwise, at)
    return await _conclude(desk, its, CREDITED, at, holder_id=mine.holder_id, seq=mine.seq, points=mine.awarded)


async def replace(desk: Desk, claim_id: int, *, at: datetime) -> bool:
    """Take back what a claim gave where its receipt came late from the till under another identity; whether it did.

    Rejects CLAIM_UNKNOWN and what `late_receipts.yield_to_original` rejects.
    """
    directory = await desk.directory.get()
    async with desk.database.reading() as connection:
        its = await claims.read(connection, claim_id)
        if its.state != CREDITED or its.holder_id is None:
            return False
        found = await _own(connection, desk, directory, its, its.holder_id, at)
    if all(one.holder_id == its.holder_id and one.seq == its.seq for one in found):
        return False
    ref, key = _ref(directory, its), _key("claim replaced", claim_id)
    await late_receipts.yield_to_original(desk, its.partner_id, ref, idem_key=key, at=at)
    return await _conclude(desk, its, REPLACED, at)


async def _silent(desk: Desk, claim_id: int, at: datetime) -> bool:
    async with desk.database.transaction() as connection:
        return await claims.let_silence_decide(connection, claim_id, at=at) is not None


async def _each(numbers: Sequence[int], step: Callable[[int], Awaitable[bool]], stopping: asyncio.Event) -> int:
    done = 0
    for number in numbers:
        if stopping.is_set():
            break
        try:
            done += await step(number)
        except Rejection:
            continue  # it stands in the list of what is late, and is tried again
    return done


async def _record(desk: Desk, its: Claim, key: UUID, at: datetime) -> None:
    """Record a claim's receipt, but where it came after all, or was cancelled, whoever's it is."""
    directory, bought = await desk.directory.get(), its.purchase
    ref = _ref(directory, its)
    assert bought.total_minor is not None
    async with desk.database.reading() as connection:
        member = await claims.recognised(connection, desk.vault, its.member_id, at=at)
        found = await _own(connection, desk, directory, its, member.member_id, at)
        if found or await late_receipts.seen(
            connection, directory, its.partner_id, ref, total_minor=bought.total_minor
        ):
            return
    receipt = Receipt(
        reference=ref.reference, outlet=ref.outlet, terminal=ref.terminal, business_date=ref.business_date,
        occurred_at=its.occurred_at, currency=its.currency, total_minor=bought.total_minor,
        facts={"claim": its.claim_id},
    )  # fmt: skip
    with suppress(ReceiptAlreadyRecorded, ReceiptCancelled):
        await late_receipts.record(desk, its.partner_id, member, receipt, idem_key=key, at=at)


async def _own(
    connection: AsyncConnection, desk: Desk, directory: Directory, its: Claim, holder_id: int, at: datetime
) -> list[Seen]:
    """Purchases of the claimant that are what is claimed, whoever the member's points belong to by now."""
    holders = {its.member_id, holder_id}
    with suppress(MemberClosed, MemberUnknown):  # who has left has what was recorded before
        holders.add((await claims.recognised(connection, desk.vault, its.member_id, at=at)).member_id)
    bought = its.purchase
    found = await late_receipts.of_holder(
        connection, holders, partner_id=its.partner_id, day=its.business_date, reference=bought.reference or ""
    )
    return [one for one in found if claims.is_the_receipt(its.partner_id, bought, one, directory)]


async def _conclude(desk: Desk, its: Claim, wanted: str, at: datetime, **more: Any) -> bool:
    async with desk.database.transaction() as connection:
        now = await claims.lock(connection, its.claim_id)
        if now.state != its.state:
            return False
        await claims.move(connection, now, wanted, side=claiming.SYSTEM, actor=_ACTOR, at=at, **more)
    return True


def _ref(directory: Directory, its: Claim) -> ReceiptRef:
    """What the receipt is called; of a place that nobody named by its code, the partner's first outlet is said."""
    bought = its.purchase
    outlet = bought.outlet or directory.outlets(its.partner_id)[0].code
    return ReceiptRef(outlet, bought.terminal, its.business_date, bought.reference or its.reference)


def _key(what: str, claim_id: int) -> UUID:
    return fingerprint(what, str(claim_id))
