"""What was decided is written: many purchases in one call, each answering for itself, or one alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from kit.errors import Rejection
from kit.lane import Busy
from ledger.jams import Jams
from members.approvals import ApprovalUsed
from members.proofs import CodeUsed
from partners import outcomes
from partners.coupons import coupons
from partners.coupons.coupons import LIMIT_LOST
from partners.decisions.prepared import ATTEMPTS, Outrun, Prepared
from partners.mechanics.grants import STAMPS_SHORT
from partners.outcomes import Recorded
from partners.receipts import store as receipt_store
from partners.receipts.records import PURCHASE, Row, StoredReceipt

CLAIM_LOST, OUTRUN = "TS001", "TS002"


class Moved:
    """Where accounts stood after what this process recorded last: what was decided before is not worth a call."""

    MOST = 10_000

    def __init__(self) -> None:
        self._seqs: OrderedDict[int, int] = OrderedDict()

    def note(self, holder_id: int, seq: int) -> None:
        """A purchase of a holder was recorded as this entry."""
        self._seqs[holder_id] = seq
        self._seqs.move_to_end(holder_id)
        if len(self._seqs) > self.MOST:
            self._seqs.popitem(last=False)

    def outran(self, items: Sequence[Prepared]) -> dict[int, Outrun]:
        """Items, by place, decided before a purchase that this process knows of, or that one before them brings."""
        found, here = {}, set[int]()
        for place, item in enumerate(items):
            seq, holder_id = item.promoted.if_seq if item.promoted else None, item.row.holder_id
            if seq is not None and (holder_id in here or self._seqs.get(holder_id, 0) > seq):
                found[place] = Outrun(frozenset(), stale=True)
            else:
                here.add(holder_id)
        return found


class Recorder:
    """What a process records with: `jams` knows the accounts that a batch should not wait for, `moved` where accounts
    stood last."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.jams = Jams(pool)
        self.moved = Moved()


async def record_many(
    recorder: Recorder, items: Sequence[Prepared], *, at: datetime
) -> list[Recorded | Rejection | Outrun]:
    """Record purchases that spend nothing, in one call; each item answers for itself, in order.

    One that was outrun is answered so, and the others are recorded without it. An item that another call is recording
    in this moment, or that repeats an earlier item, is tried again. One whose account somebody keeps locked is answered
    Busy, and the others do not wait for it.
    """
    found: dict[int, Recorded | Rejection | Outrun] = {**recorder.moved.outran(items)}
    holder_ids = [item.row.holder_id for item in items]
    jammed = await recorder.jams.known(holder_ids)
    if len(items) == 1 and not jammed and not found and (alone := await _record_alone(recorder, items[0], at)):
        return [alone]
    waiting = [index for index in range(len(items)) if index not in found]
    attempts = 0
    while attempts < ATTEMPTS:
        waiting = [index for index in waiting if holder_ids[index] not in jammed]
        if not waiting:
            break
        attempts += 1
        try:
            records = await call_safely(
                receipt_store.record_purchases,
                recorder.pool,
                [items[index].row for index in waiting],
                [items[index].award.lots for index in waiting],
                at,
                [items[index].promoted for index in waiting],
            )
        except asyncpg.LockNotAvailableError:
            jammed = await recorder.jams.look([holder_ids[index] for index in waiting])
            continue
        except asyncpg.PostgresError as error:
            outrun = outruns(error, [items[index] for index in waiting])
            found.update({waiting[place]: each for place, each in outrun.items()})
            waiting = [index for index in waiting if index not in found]
            attempts -= 1  # each such call leaves fewer items
            continue
        by_index = dict(zip(waiting, records, strict=True))
        found.update(await _answers(recorder, items, by_index))
        waiting = [index for index, record in by_index.items() if record["status"] == outcomes.AGAIN]
        if not waiting:
            break
    return [found.get(index) or Busy("the account is in use") for index in range(len(items))]


def outruns(error: asyncpg.PostgresError, items: Sequence[Prepared]) -> dict[int, Outrun | Rejection]:
    """Which items of a call were outrun, by their places from 0, as the call says; raises any other error again.

    Whose coupon was used meanwhile hears that, and is not decided again: the till counts on its discount.
    """
    if error.sqlstate == LIMIT_LOST and len(items) == 1:
        return {0: Outrun(frozenset(), stale=True)}
    if error.sqlstate != OUTRUN:
        raise error
    told = orjson.loads(error.detail or "{}")
    stale = {place - 1 for place in told["stale"]}
    used = {place - 1: status for place, status in told.get("used", ())}
    stale |= {place for place, status in used.items() if status == STAMPS_SHORT}
    denied: dict[int, set[str]] = {place: set() for place in stale}
    for place, budget_id in told["denied"]:
        promoted = items[place - 1].promoted
        assert promoted is not None
        codes = {charge.code for charge in promoted.charges if charge.budget_id == budget_id}
        denied.setdefault(place - 1, set()).update(codes)
    found: dict[int, Outrun | Rejection] = {
        place: Outrun(frozenset(codes), stale=place in stale) for place, codes in denied.items()
    }
    return found | {place: coupons.rejection(status) for place, status in used.items() if status != STAMPS_SHORT}


async def _record_alone(recorder: Recorder, item: Prepared, at: datetime) -> Recorded | Rejection | Outrun | None:
    """A lone till need not pay for what a batch needs. None where something stands in the way: nothing was written."""
    try:
        record = await call_safely(
            receipt_store.record_purchase, recorder.pool, item.row, item.award.lots, at, item.promoted
        )
    except asyncpg.LockNotAvailableError:
        await recorder.jams.look([item.row.holder_id])
        return Busy("the account is in use")
    except asyncpg.PostgresError as error:
        return None if error.sqlstate == CLAIM_LOST else outruns(error, [item])[0]
    if record["status"] != outcomes.RECORDED:
        return None
    recorder.moved.note(item.row.holder_id, record["seq"])
    receipt = item.stored(record, kind=PURCHASE, redeemed=0, redemption_seq=None)
    return Recorded(receipt, False, record["available"], record["pending"], record["debt"])


async def _answers(
    recorder: Recorder, items: Sequence[Prepared], records: Mapping[int, asyncpg.Record]
) -> dict[int, Recorded | Rejection]:
    replays = {index: record for index, record in records.items() if record["status"] == outcomes.REPLAYED}
    earlier = await _earlier(recorder, items, replays)
    found: dict[int, Recorded | Rejection] = {}
    for index, record in records.items():
        if record["status"] == outcomes.RECORDED:
            recorder.moved.note(items[index].row.holder_id, record["seq"])
            receipt = items[index].stored(record, kind=PURCHASE, redeemed=0, redemption_seq=None)
            found[index] = Recorded(receipt, False, record["available"], record["pending"], record["debt"])
        elif index in earlier:
            found[index] = Recorded(earlier[index], True)
        else:
            found[index] = outcomes.rejection(2 if index in replays else record["status"])
    return found


async def _earlier(
    recorder: Recorder, items: Sequence[Prepared], replays: Mapping[int, asyncpg.Record]
) -> dict[int, StoredReceipt]:
    if not replays:
        return {}
    wanted = [
        (items[index].row.partner_id, record["holder_id"], items[index].row.claim) for index, record in replays.items()
    ]
    found = await receipt_store.receipts_by_claim(recorder.pool, wanted)
    return {index: found[claim] for index, (_, _, claim) in zip(replays, wanted, strict=True) if claim in found}


def raise_used_proof(status: int, member_id: int) -> None:
    """Raise CodeUsed or ApprovalUsed where a recording call says so."""
    if status == outcomes.CODE_USED:
        raise CodeUsed(member_id)
    if status == outcomes.APPROVAL_USED:
        raise ApprovalUsed(member_id)


async def replay(pool: asyncpg.Pool, row: Row) -> Recorded:
    """The receipt that an earlier call recorded. Raises IdempotencyKeyReused where the key was another receipt's."""
    receipt = await receipt_store.receipt_by_claim(pool, row.partner_id, row.claim)
    if receipt is None:
        raise outcomes.rejection(2)
    return Recorded(receipt, True)


async def call_safely(call: Any, *arguments: Any, **named: Any) -> Any:
    """Await a recording call again when the database chose it to end a deadlock; the call wrote nothing then."""
    for attempt in range(ATTEMPTS):
        try:
            return await call(*arguments, **named)
        except asyncpg.DeadlockDetectedError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
