"""Two members who are one person become one, decided by two people; and become two again where that was wrong.

From then on the cards, aliases and numbers of the one who is merged stand for the survivor: a dated row says so, and
nothing is edited. Their points and stamps go over as they are, pending ones too; what is held stays with its hold and
follows when it is free. Receipts stay where they were recorded: a return of one calls the points of that accrual back
first, and what is left in the account afterwards is forwarded. The end of a merge gives the member's own lots back, as
far as they have not been spent or expired; what the survivor earned meanwhile, on whosever card, stays with the
survivor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.database import Database
from kit.errors import Rejection
from ledger import accounts, transfers
from ledger.transfers import Order, Sent, TransferExceedsBalance
from members import consents, household_store, sharing, succession_store

MERGE = "MERGE"
UNMERGE = "UNMERGE"


class MergeInvalid(Rejection):
    """Two members cannot become one: they are one already, or the one to be merged is in a household."""

    code = "MERGE_INVALID"
    retryable = True


class MergeUnknown(Rejection):
    """No merge was approved under this number."""

    code = "MERGE_UNKNOWN"
    retryable = False


class MergeOver(Rejection):
    """The merge has ended, or its survivor was merged later and that merge has to end first."""

    code = "MERGE_OVER"
    retryable = True


async def propose(
    connection: AsyncConnection, *, member_id: int, survivor_id: int, reason: str, maker: int, at: datetime
) -> int:
    """Propose that a member be merged into another, for a MEMBER_CARE_CHECKER; returns the approval's number.

    Rejects NOT_PERMITTED, MERGE_INVALID, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    await actors.require_role(connection, maker, actors.MEMBER_CARE_MAKER)
    merged, survivor = await _pair(connection, member_id, survivor_id)
    detail = {"member": merged, "survivor": survivor, "reason": reason}
    return await _propose(connection, MERGE, f"member:{merged} into member:{survivor}", detail, maker, at)


async def propose_end(connection: AsyncConnection, *, merge: int, reason: str, maker: int, at: datetime) -> int:
    """Propose that a merge, given by its approval's number, end; returns the number of this proposal.

    Rejects NOT_PERMITTED, MERGE_UNKNOWN, MERGE_OVER.
    """
    await actors.require_role(connection, maker, actors.MEMBER_CARE_MAKER)
    merged, survivor, _ = await _merged(connection, merge)
    detail = {"merge": merge, "member": merged, "survivor": survivor, "reason": reason}
    return await _propose(connection, UNMERGE, f"member:{merged} out of member:{survivor}", detail, maker, at)


async def decide(
    connection: AsyncConnection, approval: Approval, *, checker: int, approved: bool, at: datetime, day: date
) -> list[Sent]:
    """Approve or decline a proposal of this module; returns what is on its way then, for the caller to complete after
    its transaction.

    Rejects NOT_PERMITTED, PROPOSAL_UNKNOWN, FOUR_EYES_REQUIRED, ALREADY_DECIDED, MERGE_INVALID, MERGE_OVER and what
    sharing.person rejects.
    """
    await approvals.decide(
        connection, approval.approval_id, checker=checker, role=actors.MEMBER_CARE_CHECKER, approved=approved, at=at
    )
    action = f"{approval.kind}_{'APPROVED' if approved else 'DECLINED'}"
    detail = {"of": approval.approval_id}
    await audit.write(connection, actor=checker, action=action, subject=approval.subject, detail=detail, at=at)
    if not approved:
        return []
    carry_out = _merge if approval.kind == MERGE else _end
    return await carry_out(connection, approval, at, day)


async def survivor_of(connection: AsyncConnection, member_id: int) -> int | None:
    """The other member whom a member's number stands for now; None where it stands for themselves."""
    return await succession_store.survivor_of(connection, member_id)


async def survivors_of(connection: AsyncConnection, member_ids: Collection[int]) -> dict[int, int]:
    """Those of these members who are merged into another now: member to survivor."""
    return await succession_store.survivors_of(connection, sorted(member_ids))


async def ever_stood_for(connection: AsyncConnection, member_id: int) -> set[int]:
    """Everybody whom a member's cards ever stood for, themselves included."""
    return await succession_store.ever_stood_for(connection, member_id)


async def forward(database: Database, *, at: datetime, member_id: int | None = None) -> int:
    """Send on what lies in accounts of merged members (of one, if named): what was held, refunded, or came late.

    How many accounts it emptied. May be repeated and run beside others.
    """
    async with database.reading() as connection:
        survivors = await succession_store.merged_away(connection)
        wanted = survivors.keys() if member_id is None else survivors.keys() & {member_id}
        waiting = await transfers.with_anything(connection, sorted(wanted))
    done = 0
    for holder_id in waiting:
        async with database.transaction() as connection:
            sent = await _send_everything(connection, _everything(holder_id, survivors[holder_id]), at, at.date())
        await transfers.complete_all(database, sent, at=at)
        done += len(sent)
    return done


async def recall(database: Database, *, member_id: int, seq: int, at: datetime) -> bool:
    """Call back to a merged member's account what the survivor has left of one of its accruals, so that it can be
    returned there; whether the member is merged at all. Whoever called forwards what was too much."""
    async with database.reading() as connection:
        survivor_id = await succession_store.survivor_of(connection, member_id)
    if survivor_id is None:
        return False
    order = Order(survivor_id, member_id, contributor_ids=[member_id], ref_seq=seq, takes_pending=True)
    async with database.transaction() as connection:
        sent = await _send(connection, order, at, at.date())
    await transfers.complete_all(database, sent, at=at)
    return True


async def recoverable(connection: AsyncConnection, *, member_id: int, seq: int, at: datetime) -> dict[int, int]:
    """What a survivor has left of an accrual of a merged member: lot number to points; nothing of others."""
    survivor_id = await succession_store.survivor_of(connection, member_id)
    return {} if survivor_id is None else await transfers.left_of(connection, survivor_id, member_id, seq, at=at)


async def _propose(
    connection: AsyncConnection, kind: str, subject: str, detail: Mapping[str, Any], maker: int, at: datetime
) -> int:
    approval_id = await approvals.propose(connection, kind=kind, subject=subject, detail=detail, maker=maker, at=at)
    about = {"of": approval_id}
    await audit.write(connection, actor=maker, action=f"{kind}_PROPOSED", subject=subject, detail=about, at=at)
    return approval_id


async def _pair(connection: AsyncConnection, member_id: int, survivor_id: int) -> tuple[int, int]:
    merged = await sharing.person(connection, member_id)
    survivor = await sharing.person(connection, survivor_id)
    if merged.member_id == survivor.member_id:
        raise MergeInvalid("both are one member already")
    last = await household_store.last_move(connection, merged.member_id)
    if last is not None and last.joined:
        raise MergeInvalid("the member to be merged leaves their household first")
    return merged.member_id, survivor.member_id


async def _merge(connection: AsyncConnection, approval: Approval, at: datetime, day: date) -> list[Sent]:
    merged, survivor = approval.detail["member"], approval.detail["survivor"]
    await succession_store.lock_members(connection, [merged, survivor])
    if await _pair(connection, merged, survivor) != (merged, survivor):
        raise MergeInvalid("one of the two was merged since this was proposed")
    followers = await succession_store.stands_for(connection, [merged])
    await succession_store.append(
        connection, dict.fromkeys(followers, survivor), approval_id=approval.approval_id, at=at
    )
    await consents.keep_refusals(connection, of=merged, to=survivor, at=at)
    # Who had locked their points finds them locked.
    held = await accounts.balance(connection, merged, at=at)
    if held is not None and held.spend_locked:
        await transfers.lock_spending(connection, survivor)
    return await _send_everything(connection, _everything(merged, survivor), at, day)


async def _end(connection: AsyncConnection, approval: Approval, at: datetime, day: date) -> list[Sent]:
    merged, survivor = approval.detail["member"], approval.detail["survivor"]
    await succession_store.lock_members(connection, [merged, survivor])
    _, _, before = await _merged(connection, approval.detail["merge"])
    await succession_store.append(connection, before, approval_id=approval.approval_id, at=at)
    order = Order(survivor, merged, contributor_ids=sorted(before), takes_pending=True)
    return await _send_everything(connection, order, at, day)


async def _merged(connection: AsyncConnection, merge: int) -> tuple[int, int, dict[int, int]]:
    """Who was merged into whom by an approval, and whom each number that it turned stood for before."""
    rows = await succession_store.rows_of(connection, merge)
    # Who came along stood for the one who was merged, and only that one for themselves.
    heads = [row for row in rows if row.before == row.member_id and row.survivor_id != row.member_id]
    if not heads:
        raise MergeUnknown(f"no merge was approved under number {merge}")
    if not all(row.stands for row in rows):
        raise MergeOver("the merge has ended, or a later one of its survivor has to end first")
    before = {row.member_id: row.before for row in rows}
    return heads[0].member_id, heads[0].survivor_id, before


def _everything(member_id: int, survivor_id: int) -> Order:
    return Order(member_id, survivor_id, takes_pending=True)


async def _send_everything(connection: AsyncConnection, order: Order, at: datetime, day: date) -> list[Sent]:
    """What an order says of points, and of every other unit that the sender has any of."""
    sent = list[Sent]()
    for unit in await transfers.units_of(connection, order.sender_id):
        await transfers.open_account(connection, order.receiver_id, unit)
        sent += await _send(connection, replace(order, unit=unit), at, day)
    return sent


async def _send(connection: AsyncConnection, order: Order, at: datetime, day: date) -> list[Sent]:
    try:
        return [await transfers.send(connection, order, idem_key=None, fingerprint=None, at=at, day=day)]
    except TransferExceedsBalance:
        return []
