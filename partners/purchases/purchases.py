"""Purchases: a purchase earns, may spend, and is recorded once whatever is retried.

It comes here decided (`deciding`), and every use case answers a `Recorded` or raises a Rejection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec.structs import replace

from kit.errors import Rejection
from members.identification import Identified
from partners import callers, outcomes, recording
from partners.callers import Caller
from partners.decisions import preparing
from partners.decisions.prepared import ATTEMPTS, Outrun, Prepared, Retries, bare
from partners.desk import Desk
from partners.outcomes import Recorded
from partners.promotions.basket import Lot
from partners.receipts import store as receipt_store
from partners.receipts.receipts import Receipt
from partners.receipts.records import PURCHASE, REDEMPTION, ProofUse
from partners.recording import CLAIM_LOST


class PointsNotPositive(Rejection):
    """The number of points to spend must be above zero."""

    code = "POINTS_NOT_POSITIVE"
    retryable = False


async def accrue(desk: Desk, prepared: Prepared) -> Recorded:
    """Record one purchase that earns and spends nothing, in the lane. Raises what its status says."""
    retries = Retries()
    while True:
        try:
            return await desk.lane.submit(prepared)
        except Outrun as outrun:
            prepared = await retries.again(prepared, outrun)


async def accrue_file(desk: Desk, items: Sequence[Prepared]) -> list[Recorded | Rejection]:
    """Record purchases that nobody waits for at a till, in the lane behind those that somebody does; in order.

    An item for which the lane has no room is answered Busy. Raises what is no Rejection of an item's.
    """
    answers = await desk.lane.submit_all(items)
    outrun: dict[int, dict[int, Outrun]] = {}
    for index, answer in enumerate(answers):
        if isinstance(answer, Outrun):
            outrun.setdefault(items[index].row.holder_id, {})[index] = answer
    again = await asyncio.gather(*(_again_in_order(desk, items, places) for places in outrun.values()))
    for index, told in (one for each in again for one in each.items()):
        answers[index] = told
    if broken := next((answer for answer in answers if not isinstance(answer, Recorded | Rejection)), None):
        raise broken
    return [answer for answer in answers if isinstance(answer, Recorded | Rejection)]


async def _again_in_order(
    desk: Desk, items: Sequence[Prepared], places: Mapping[int, Outrun]
) -> dict[int, Recorded | Exception]:
    """Items of one member, decided again one after another: each has to know of those before it."""
    return {index: await _decided_again(desk, items[index], outrun) for index, outrun in places.items()}


async def _decided_again(desk: Desk, item: Prepared, outrun: Outrun) -> Recorded | Exception:
    try:
        return await accrue(desk, await Retries().again(item, outrun))
    except Rejection as no:
        return no


async def purchase(desk: Desk, prepared: Prepared, *, redeem_points: int, use: ProofUse) -> Recorded:
    """Record one purchase that spends points and earns on the rest, under one lock.

    use is the proof of the spending, to be used up. Raises what the status says: InsufficientPoints is final and
    stored, the others wrote nothing.
    """
    return await _spend(desk, prepared, kind=PURCHASE, redeem_points=redeem_points, use=use)


async def _spend(desk: Desk, prepared: Prepared, *, kind: int, redeem_points: int, use: ProofUse) -> Recorded:
    retries = Retries()
    while True:
        try:
            return await _spend_as_decided(desk, prepared, kind=kind, redeem_points=redeem_points, use=use)
        except Outrun as outrun:
            prepared = await retries.again(prepared, outrun)


async def _spend_as_decided(
    desk: Desk, prepared: Prepared, *, kind: int, redeem_points: int, use: ProofUse
) -> Recorded:
    directory = await desk.directory.get()
    day = callers.day_of(directory, prepared.at)
    lots: Sequence[Lot] = prepared.award.lots
    for _ in range(ATTEMPTS):
        try:
            record = await recording.call_safely(
                receipt_store.record_spending, desk.pool, prepared.row, lots, kind=kind, redeem_points=redeem_points,
                use=use, day=day, at=prepared.at, promoted=prepared.promoted,
            )  # fmt: skip
        except asyncpg.PostgresError as error:
            if error.sqlstate != CLAIM_LOST:
                raise recording.outruns(error, [prepared])[0] from None
            continue
        if record["status"] == outcomes.RECORDED:
            spent_seq = record["seq"] - 1 if kind == PURCHASE else record["seq"]  # the accrual follows the redemption
            receipt = prepared.stored(record, kind=kind, redeemed=redeem_points, redemption_seq=spent_seq)
            return Recorded(receipt, False, record["available"], record["pending"])
        if record["status"] == outcomes.REPLAYED:
            return await recording.replay(desk.pool, prepared.row)
        recording.raise_used_proof(record["status"], prepared.row.holder_id)
        if record["status"] != outcomes.AGAIN:
            raise outcomes.rejection(record["status"], available=record["available"])
    raise outcomes.rejection(outcomes.AGAIN)


async def redeem(
    desk: Desk,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    points: int,
    use: ProofUse,
    idem_key: UUID,
    at: datetime,
    reward_id: int | None = None,
) -> Recorded:
    """The spending half alone: points for a reward or a service, no money and nothing earned. A reward of the catalogue
    is taken from its stock.

    Raises PointsNotPositive and what `purchase` raises.
    """
    if points <= 0:
        raise PointsNotPositive("the number of points to spend must be above zero")
    directory = await desk.directory.get()
    prepared = bare(preparing.prepare(directory, caller, member, receipt, at=at, idem_key=idem_key), member)
    content = preparing.redemption_content_of(prepared.row.fingerprint, points)
    row = replace(prepared.row, fingerprint=content, reward_id=reward_id)
    return await _spend(desk, replace(prepared, row=row), kind=REDEMPTION, redeem_points=points, use=use)
