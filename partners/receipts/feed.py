"""What partners recorded, as it is posted: the receipts behind the entries of the journal's feed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg

from ledger import feed
from ledger.feed import Entry, Place
from partners.receipts import store
from partners.receipts.records import StoredReceipt


@dataclass(frozen=True, slots=True)
class Posted:
    """A transaction of a partner's, and its place in the feed."""

    place: Place
    receipt: StoredReceipt


async def posted(pool: asyncpg.Pool, entries: Sequence[Entry]) -> list[Posted]:
    """The receipts that entries recorded, in the entries' order, in one read; other entries record none."""
    if not entries:
        return []
    wanted = [(entry.partner_id, entry.place.holder_id, entry.place.seq) for entry in entries]
    found = {
        (receipt.partner_id, receipt.holder_id, receipt.seq): receipt
        for receipt in await store.receipts_at(pool, wanted)
    }
    return [Posted(entry.place, found[key]) for entry, key in zip(entries, wanted, strict=True) if key in found]


async def posted_since(pool: asyncpg.Pool, partner_id: int, *, after: Place, until: int) -> AsyncIterator[Posted]:
    """A partner's transactions behind a place and before a transaction number, in order, read a step at a time."""
    since = after.xid
    while since < until:
        entries, following = await feed.entries(pool, since=since, partner_ids=[partner_id])
        for each in await posted(pool, [entry for entry in entries if entry.place > after and entry.place.xid < until]):
            yield each
        if following == since:
            return
        since = following
