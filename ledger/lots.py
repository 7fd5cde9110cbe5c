"""Lots and what they amount to at an instant: reads that write nothing, on the raw pool of the hot path."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from ledger import lot_store


@dataclass(frozen=True, slots=True)
class Standing:
    """An account at an instant, in points: what is due by then counts as applied though nothing is written.

    debt is what returns left owed; nothing is available then, and what becomes so repays it first.
    """

    seq: int
    available: int
    pending: int
    held: int
    debt: int
    spend_locked: bool


async def standing(pool: asyncpg.Pool, holder_id: int, *, unit: int, at: datetime) -> Standing | None:
    """The account of a holder at an instant (UTC, not before its last entry); None where there is none."""
    row = await lot_store.available_at(pool, holder_id, unit, at)
    if row is None:
        return None
    return Standing(row["seq"], row["available"], row["pending"], row["held"], row["debt"], row["spend_locked"])


async def account_seq(pool: asyncpg.Pool, holder_id: int, *, unit: int) -> int:
    """The number of an account's last entry, for a decision that must not be overtaken; 0 where there is none."""
    return await lot_store.account_seq(pool, holder_id, unit) or 0


async def declined(pool: asyncpg.Pool, holder_id: int, *, unit: int, idem_key: UUID) -> UUID | None:
    """Fingerprint of the input that was finally declined under a key; None where none was."""
    return await lot_store.decline_fingerprint(pool, holder_id, unit, idem_key)
