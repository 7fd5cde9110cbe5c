"""A member's own history: the receipts behind entries of their account, whichever partner recorded them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from partners.receipts import store
from partners.receipts.records import StoredReceipt


@dataclass(frozen=True, slots=True)
class Award:
    """Points that one rule of a release gave a member."""

    release_id: int
    rule: str
    points: int


async def awards_since(pool: asyncpg.Pool, member_id: int, since: datetime) -> list[Award]:
    """What each rule gave a member on purchases since an instant of which nothing was returned."""
    return [Award(*row) for row in await store.awards_since(pool, member_id, since)]


async def receipts_of(pool: asyncpg.Pool, member_id: int, seqs: Sequence[int]) -> dict[int, StoredReceipt]:
    """The receipts that entries of a member recorded, by the entry's number; of one that also spent, by both."""
    found: dict[int, StoredReceipt] = {}
    for receipt in await store.receipts_of_entries(pool, member_id, seqs) if seqs else ():
        found[receipt.seq] = receipt
        if receipt.redemption_seq is not None:
            found[receipt.redemption_seq] = receipt
    return found


async def claimed(pool: asyncpg.Pool, claims: Sequence[UUID]) -> list[StoredReceipt]:
    """The receipts under claims (`receipts.claim_of`), whosever they are, the earliest first."""
    found = await store.receipts_claimed(pool, claims)
    return sorted(found, key=lambda receipt: (receipt.at, receipt.holder_id, receipt.seq))
