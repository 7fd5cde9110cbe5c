"""Receipts that never came: whether they really did not, and recording them late, in the ordinary way and once.

A receipt that somebody else tells of has the identity that its till would have given it, so the late original is
refused. Where the terminal is not known the identity is another, and whoever records it has to look for the original
afterwards (`of_holder`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from members.identification import Identified
from partners import callers
from partners.callers import Caller
from partners.decisions import deciding
from partners.desk import Desk
from partners.directory import Directory
from partners.outcomes import Recorded
from partners.purchases import late_receipt_store, purchases
from partners.receipts import receipts
from partners.receipts.receipts import Receipt, ReceiptRef
from partners.returns import returns

CLIENT = -4
"""The client that receipts carry which no till sent."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A receipt as it is recorded, total in minor units. holder_id None: it was cancelled before it came. seq None: it
    was claimed by a call that recorded no receipt."""

    claim: UUID
    holder_id: int | None
    seq: int | None
    outlet_id: int | None
    terminal_id: int | None
    total: int | None
    awarded: int | None
    at: datetime | None


async def seen(
    connection: AsyncConnection, directory: Directory, partner_id: int, ref: ReceiptRef, *, total_minor: int
) -> Seen | None:
    """A receipt of a partner as it is recorded; None where it is not. Where the terminal is not told it is that of any
    terminal of the outlet with the same total: tills may count their receipts each for itself."""
    outlet = directory.outlet(partner_id, ref.outlet)
    if outlet is None:
        return None
    told = None if ref.terminal is None else directory.terminal(outlet.outlet_id, ref.terminal)
    own = receipts.claim_of(partner_id, outlet.outlet_id, told.terminal_id if told else None, ref, "SALE")
    others = [
        receipts.claim_of(partner_id, outlet.outlet_id, one.terminal_id, ref, "SALE")
        for one in directory.terminals(outlet.outlet_id)
    ]
    rows = [Seen(**row._mapping) for row in await late_receipt_store.by_claims(connection, [own, *others])]
    exact = next((row for row in rows if row.claim == own), None)
    if exact is not None or ref.terminal is not None:
        return exact
    return next((row for row in rows if row.total == total_minor), None)


async def of_holder(
    connection: AsyncConnection, holder_ids: Collection[int], *, partner_id: int, day: date, reference: str
) -> list[Seen]:
    """Purchases of holders at a partner with a reference on a business day, at whichever outlet, in order."""
    rows = await late_receipt_store.of_holder(
        connection, holder_ids=sorted(holder_ids), partner_id=partner_id, day=day, reference=reference
    )
    return [Seen(**row._mapping) for row in rows]


async def recorded_under(connection: AsyncConnection, idem_key: UUID) -> Seen | None:
    """The receipt that was recorded late under a key; None where there is none."""
    row = await late_receipt_store.by_key(connection, idem_key)
    return None if row is None else Seen(**row._mapping)


async def record(
    desk: Desk, partner_id: int, member: Identified, receipt: Receipt, *, idem_key: UUID, at: datetime
) -> Recorded:
    """Record a receipt that never came, as if its till had sent it: its partner's agreement and rules of that time
    decide what it earns, and settlement bills whoever they say. Raises what `deciding.decide` and `accrue` raise."""
    directory = await desk.directory.get()
    caller = Caller(partner_id, CLIENT)
    prepared = await deciding.decide(desk, directory, caller, member, receipt, at=at, idem_key=idem_key)
    return await purchases.accrue(desk, prepared)


async def yield_to_original(desk: Desk, partner_id: int, ref: ReceiptRef, *, idem_key: UUID, at: datetime) -> None:
    """Take a receipt back that was recorded late, because its original came after all. Raises what `returns` raises."""
    caller = Caller(partner_id, CLIENT)
    place = callers.place_of(await desk.directory.get(), caller, ref.outlet, ref.terminal)
    await returns.cancel_purchase(desk, caller, place, ref, idem_key=idem_key, at=at)
