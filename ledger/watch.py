"""The watch: the audit of single accounts, a few at a time, while the tills are busy.

A step looks at the accounts that entries touched since the last one, at the next slice of all accounts in turn, and
again at those whose violations still stand. What it finds is kept for ever with the instant it was first seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import watch_store
from ledger.audit import Violation

ENTRIES_AT_ONCE = 2_000
ACCOUNTS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did: holders touched and visited in turn, violations found and cleared; is_behind: more to read."""

    touched: int
    visited: int
    found: int
    cleared: int
    is_behind: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that an account broke: in how many places (lots, entries), one of them, and when it was seen and gone."""

    rule: str
    holder_id: int
    unit: int
    places: int
    detail: str
    first_seen_at: datetime
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class Count:
    """Accounts that ever broke a rule, and those that still do as far as the watch has looked."""

    rule: str
    found: int
    standing: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far the watch has come: whole passes over all accounts, holders looked at in all, and business instants.

    They are of the current pass's beginning, the last pass's end and the last step; None before the first.
    """

    passes: int
    accounts: int
    pass_began_at: datetime | None
    pass_ended_at: datetime | None
    looked_at: datetime | None


async def step(
    connection: AsyncConnection, *, at: datetime, entries: int = ENTRIES_AT_ONCE, accounts: int = ACCOUNTS_AT_ONCE
) -> Step:
    """Look at what about `entries` entries touched and at the next `accounts` accounts in turn; keeps what it finds.

    Raises the driver's error with SQLSTATE LX002 in a cluster that the database was restored into, see
    `rollups.re_base`.
    """
    row = await watch_store.step(connection, at, entries, accounts)
    return Step(**row._mapping)


async def violations(connection: AsyncConnection, holder_ids: Sequence[int]) -> list[Violation]:
    """What is wrong with these holders' accounts now; reads no others and writes nothing."""
    return [Violation(**row._mapping) for row in await watch_store.violations(connection, holder_ids)]


async def findings(connection: AsyncConnection, *, after: int = 0, limit: int = 1_000) -> list[Finding]:
    """What the watch ever found, the first first."""
    return [Finding(**row._mapping) for row in await watch_store.findings(connection, after, limit)]


async def counts(connection: AsyncConnection) -> list[Count]:
    """What the watch found, counted by rule; rules that nobody broke are not among them."""
    return [Count(**row._mapping) for row in await watch_store.counts(connection)]


async def position(connection: AsyncConnection) -> Position:
    """How far the watch has come."""
    return Position(**(await watch_store.position(connection))._mapping)
