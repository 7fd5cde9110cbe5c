"""Gathering: what happened at partners with endpoints is found in committed facts and written down to be told.

The journal is read behind a watermark of transaction numbers, so that an entry is found once, in whatever order commits
come: what was written down and how far was read are one transaction. The few facts that are not in the journal are
looked for anew each time, over some days, and known again by what they are of. Which partners listen is read after how
far can be read, so that nothing recorded after an endpoint was added is passed over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.finance.dispute_api import dispute_id
from gateway.finance.statement_api import statement_id
from gateway.types import KINDS as TRANSACTIONS
from gateway.types import hold_id_for, member_id_for, transaction_id_for
from gateway.webhooks import delivery_store, endpoint_store, kinds
from gateway.webhooks.kinds import Event
from kit.amounts import decimal_from_minor
from kit.database import Database
from kit.secrets import Vault, opaque_id
from ledger import feed as journal
from ledger.feed import Adjusted, Lapse, Place
from partners.directory import Directory, DirectoryCache, Partner
from partners.holds.holds import HoldRef
from partners.promotions import budget_ends
from partners.promotions.budget_ends import BudgetEnd
from partners.receipts import feed as receipts
from partners.receipts.records import StoredReceipt
from settlement import news
from settlement.news import Answered, Issued

ENTRIES_AT_ONCE = 2_000
LOOKED_BACK = timedelta(days=7)
"""How far before the last look facts outside the journal are looked for: no transaction is open for so long."""

_OF_RECEIPTS: Mapping[str, str] = {
    "PURCHASE": kinds.PURCHASE_RECORDED, "REDEMPTION": kinds.REDEMPTION_RECORDED, "RETURN": kinds.PURCHASE_RETURNED,
    "CANCELLATION": kinds.PURCHASE_CANCELLED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sources:
    """Where events are found, and what their ids are made with."""

    database: Database
    vault: Vault
    directory: DirectoryCache


async def gather(sources: Sources, *, at: datetime, now: datetime) -> tuple[int, bool]:
    """Read the journal one step on, and write down what is to be told; how many events, and whether there may be more.
    While nobody listens a step goes to the end.

    at is the business instant from which on it may be sent, now the wall's. Raises the driver's error with SQLSTATE
    LX002 in a cluster that the database was restored into, until it was migrated.
    """
    database = sources.database
    async with database.transaction() as connection:
        since = (await delivery_store.lock_position(connection))["xid"]
        until = end = await journal.horizon(database.pool)
        if end <= since:
            return 0, False
        listening = await endpoint_store.everywhere(connection)
        found: list[Event] = []
        if listening:
            until = min(end, await journal.readable_until(database.pool, since, limit=ENTRIES_AT_ONCE))
            found = await _of_journal(sources, since, until, _partners(listening))
        told = await _write(connection, found, listening, at, now)
        await delivery_store.set_position(connection, until)
        return told, until < end


async def look(sources: Sources, *, at: datetime, now: datetime) -> int:
    """Look for what is not in the journal (statements, disputes, budgets), and write it down; how many events."""
    async with sources.database.transaction() as connection:
        looked_at = (await delivery_store.lock_position(connection))["looked_at"]
        since = min(looked_at or at, at) - LOOKED_BACK
        issued = await news.issued(connection, since=since)
        answered = await news.answered(connection, since=since)
        listening = await endpoint_store.everywhere(connection)
        told = 0
        if listening:
            directory = await sources.directory.get()
            ends = await budget_ends.near(sources.database, _partners(listening), at=at)
            found = [
                *(_issued(sources.vault, one) for one in issued),
                *(_answered(sources.vault, one) for one in answered),
                *(_near_its_end(one, at) for one in ends),
            ]
            known = _partners(listening) & {partner.partner_id for partner in directory.partners()}
            told = await _write(
                connection, [event for event in found if event.partner_id in known], listening, at, now, is_dated=True
            )
        await delivery_store.set_looked_at(connection, max(looked_at or at, at))
        return told


async def any_listening(database: Database) -> bool:
    """Whether any partner has an endpoint."""
    async with database.reading() as connection:
        return bool(await endpoint_store.everywhere(connection))


async def _of_journal(sources: Sources, since: int, until: int, partner_ids: frozenset[int]) -> list[Event]:
    """What entries tell, in the order of the feed."""
    pool, wanted = sources.database.pool, sorted(partner_ids)
    entries = await journal.entries_of(pool, since=since, until=until, partner_ids=wanted)
    posted = await receipts.posted(pool, entries)
    lapses = await journal.lapses(pool, since=since, until=until, partner_ids=wanted)
    adjusted = await journal.adjustments(pool, since=since, until=until, issuer_ids=wanted)
    directory = await _directory_with(sources.directory, partner_ids, [one.receipt for one in posted])
    found: list[tuple[Place, Event]] = [
        *((one.place, _recorded(directory, one.receipt)) for one in posted),
        *((one.place, _lapsed(directory, one)) for one in lapses),
        *((one.place, _adjusted(directory, one)) for one in adjusted),
    ]
    return [event for _, event in sorted(found, key=lambda each: each[0])]


async def _directory_with(
    cache: DirectoryCache, partner_ids: frozenset[int], recorded: Sequence[StoredReceipt]
) -> Directory:
    """A directory that knows these partners, and where receipts were recorded; some of it may have come since this
    process looked."""
    directory = await cache.get()
    terminals = {receipt.terminal_id for receipt in recorded} - {None}
    is_known = (
        all(directory.partner(each) for each in partner_ids)
        and all(directory.outlet_by_id(receipt.outlet_id) for receipt in recorded)
        and all(directory.terminal_by_id(each) for each in terminals if each is not None)
    )
    return directory if is_known else await cache.refresh()


async def _write(
    connection: AsyncConnection, found: Sequence[Event], listening: Sequence[RowMapping], at: datetime, now: datetime,
    *, is_dated: bool = False,
) -> int:  # fmt: skip
    """Write events down and put them on their way to the endpoints that named their type; how many were new. is_dated:
    an endpoint is not told of what happened before it was added."""
    numbers = await delivery_store.insert_events(connection, [row_of(event, now) for event in found])
    new: defaultdict[int, list[tuple[int, Event]]] = defaultdict(list)
    for number, event in zip(numbers, found, strict=True):
        if number is not None:
            new[event.partner_id].append((number, event))
    for endpoint in listening:
        own = [
            number
            for number, event in new.get(endpoint["partner_id"], ())
            if event.type in endpoint["types"] and not (is_dated and event.at < endpoint["created_at"])
        ]
        if own:
            await delivery_store.insert_deliveries(connection, endpoint["endpoint_no"], own, at)
    return sum(map(len, new.values()))


def row_of(event: Event, now: datetime) -> dict[str, Any]:
    """An event's columns."""
    return {
        "partner_id": event.partner_id, "type": event.type, "version": event.version, "source": event.source,
        "is_sample": event.is_sample, "data": orjson.dumps(event.data).decode(), "at": event.at, "now": now,
    }  # fmt: skip


def _partners(listening: Sequence[RowMapping]) -> frozenset[int]:
    return frozenset(row["partner_id"] for row in listening)


# --- What each fact tells -----------------------------------------------------------------------------------


def _recorded(directory: Directory, receipt: StoredReceipt) -> Event:
    partner, kind = _partner(directory, receipt.partner_id), TRANSACTIONS[receipt.kind]
    outlet, terminal = directory.outlet_by_id(receipt.outlet_id), None
    if receipt.terminal_id is not None:
        terminal = directory.terminal_by_id(receipt.terminal_id)
    change = receipt.awarded_points - receipt.redeemed_points
    data: dict[str, Any] = {
        "transactionId": transaction_id_for(partner, receipt),
        "memberId": member_id_for(partner, receipt.holder_id),
        "outlet": None if outlet is None else outlet.code,
        "terminal": None if terminal is None else terminal.code,
        "reference": receipt.reference,
        "businessDate": receipt.business_date.isoformat(),
        "currencyCode": receipt.currency,
        "total": _money(receipt.total_minor, receipt.currency),
        "points": str(change if kind in ("PURCHASE", "REDEMPTION") else -change),
        "awarded": str(receipt.awarded_points),
        "redeemed": str(receipt.redeemed_points),
    }
    if kind in ("RETURN", "CANCELLATION"):
        data["originalTransactionId"] = _original_id(partner, receipt)
    source = f"{receipt.holder_id}/{receipt.seq}"
    return Event(partner.partner_id, _OF_RECEIPTS[kind], source, receipt.at, data)


def _original_id(partner: Partner, receipt: StoredReceipt) -> str | None:
    if receipt.original_seq is None:
        return None
    place = receipt.holder_id.to_bytes(8, "big") + receipt.original_seq.to_bytes(8, "big")
    return opaque_id(partner.id_key, "txn", place)


def _lapsed(directory: Directory, lapse: Lapse) -> Event:
    partner, holder_id = _partner(directory, lapse.partner_id), lapse.place.holder_id
    data = {
        "holdId": hold_id_for(partner, HoldRef(holder_id, lapse.hold_seq)),
        "memberId": member_id_for(partner, holder_id),
        "points": str(lapse.points),
    }
    source = f"{holder_id}/{lapse.place.seq}"
    return Event(partner.partner_id, kinds.HOLD_LAPSED, source, lapse.at, data)


def _adjusted(directory: Directory, adjusted: Adjusted) -> Event:
    partner, place = _partner(directory, adjusted.issuer_id), adjusted.place
    data = {"memberId": member_id_for(partner, place.holder_id), "points": str(adjusted.points)}
    source = f"{place.holder_id}/{place.seq}"
    return Event(partner.partner_id, kinds.POINTS_ADJUSTED, source, adjusted.at, data)


def _issued(vault: Vault, its: Issued) -> Event:
    data = {
        "statementId": statement_id(vault, its.statement_id),
        "run": its.run_id,
        "net": _money(its.net_minor, its.currency),
        "currencyCode": its.currency,
        "reviewEndsAt": kinds.instant(its.review_ends_at),
    }
    return Event(its.partner_id, kinds.STATEMENT_PUBLISHED, str(its.statement_id), its.issued_at, data)


def _answered(vault: Vault, its: Answered) -> Event:
    data = {
        "disputeId": dispute_id(vault, its.dispute_id),
        "statementId": statement_id(vault, its.statement_id),
        "line": its.line_no,
        "state": its.state,
        "side": its.side,
        "awarded": None if its.awarded_minor is None else _money(its.awarded_minor, its.currency),
        "currencyCode": its.currency,
        "deadline": None if its.deadline is None else kinds.instant(its.deadline),
    }
    return Event(its.partner_id, kinds.DISPUTE_ANSWERED, f"{its.dispute_id}/{its.step_no}", its.at, data)


def _near_its_end(end: BudgetEnd, at: datetime) -> Event:
    def amount(value: int) -> str:
        return str(value) if end.currency is None else _money(value, end.currency)

    data = {
        "budget": end.code,
        "unit": end.unit,
        "currencyCode": end.currency,
        "period": end.period,
        "used": amount(end.used),
        "ceiling": amount(end.ceiling),
        "thresholdBasisPoints": end.threshold_bp,
    }
    source = f"{end.code}/{end.period}/{end.ceiling}/{end.threshold_bp}"
    return Event(end.sponsor_id, kinds.BUDGET_NEAR_ITS_END, source, at, data)


def _money(amount_minor: int, currency: str) -> str:
    return str(decimal_from_minor(amount_minor, currency))


def _partner(directory: Directory, partner_id: int) -> Partner:
    found = directory.partner(partner_id)
    assert found is not None, partner_id  # who has endpoints is a partner, and none is ever removed
    return found
