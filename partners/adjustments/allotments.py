"""Points that a plan gives for every month that is paid: issued under a partner's agreement, paid by the operator from
the fees. Given once for a month; of a month that ends early as much is taken back as is not served and still there,
where the plan says so. What it all costs at the fund part of a point is what a month of fees buys them for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.instants import add_months
from kit.secrets import fingerprint
from ledger import adjustments
from ledger.adjustments import AdjustmentExceedsBalance, Grant
from members import sharing
from members.subscription.allotting import Allotment
from partners import store
from partners.adjustments import allotment_store
from partners.agreements import agreements, roles

OPERATOR = 0


async def allot(connection: AsyncConnection, its: Allotment, at: datetime) -> bool:
    """Give the points of a month, or take back what of them is not served; once each. False where that has to wait
    because the partner under whose agreement they are issued has none now."""
    try:
        member = await sharing.person(connection, its.holder_id)
    except Rejection:
        return True  # who has left gets nothing, and nothing is taken
    earlier = await allotment_store.of_month(connection, its.holder_id, its.subscription_no, its.starts_at)
    if its.unserved is not None:
        if earlier.get("GIVEN") and not earlier.get("TAKEN"):
            await _take(connection, its, member.member_id, earlier["GIVEN"], at)
        return True
    if earlier:
        return True
    terms = agreements.in_force(
        [one for one in await store.signed_terms(connection) if one.partner_id == its.issuer_id], at
    )
    try:
        if terms is None:
            return False
        roles.require_issuer(terms)
    except Rejection:
        return False
    grant = Grant(
        its.issuer_id, OPERATOR, terms.terms_id, max(add_months(at, terms.expiry_months), at + timedelta(days=1))
    )
    seq = await adjustments.give(connection, member.member_id, its.points, grant, key=_key(its, "GIVEN"), at=at)
    await allotment_store.insert(
        connection,
        {**_month(its), "kind": "GIVEN", "points": its.points, "terms_id": terms.terms_id,
         "currency": terms.currency, "price_micro": terms.fund_price_micro, "seq": seq, "at": at},
    )  # fmt: skip
    return True


async def cost(connection: AsyncConnection, currency: str, *, until: datetime) -> tuple[int, int]:
    """What all points cost that were given, and those that were taken back, before an instant: micro-units, at the
    fund part of each."""
    return await allotment_store.cost(connection, currency, until)


async def _take(
    connection: AsyncConnection, its: Allotment, member_id: int, given: allotment_store.AnyRow, at: datetime
) -> None:
    assert its.unserved is not None
    left, whole = its.unserved
    points = given.points * left // whole
    seq = None
    while points > 0 and seq is None:
        try:
            # Of the lot that was given alone: other points are others' money, who would be paid back for them.
            seq = await adjustments.take(
                connection, member_id, points, key=_key(its, "TAKEN"), at=at, of=_key(its, "GIVEN")
            )
        except AdjustmentExceedsBalance as no:  # what is spent, or has gone elsewhere, is not owed
            points = min(no.available_points or 0, points - 1)
    if seq is not None:
        await allotment_store.insert(
            connection,
            {**_month(its), "kind": "TAKEN", "points": points, "terms_id": given.terms_id,
             "currency": given.currency, "price_micro": given.price_micro, "seq": seq, "at": at},
        )  # fmt: skip


def _month(its: Allotment) -> dict[str, object]:
    return {"holder_id": its.holder_id, "subscription_no": its.subscription_no, "starts_at": its.starts_at,
            "ends_at": its.ends_at}  # fmt: skip


def _key(its: Allotment, kind: str) -> UUID:
    return fingerprint("allotment", kind, str(its.subscription_no), its.starts_at.isoformat())
