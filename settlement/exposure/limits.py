"""Exposure against caps: measured from positions, stock and cover, and told to whoever enforces it at the till.

Nothing here is on a purchase's path. What a partner may still issue is handed down as a limit, a number of points, by a
function that the caller gives; the purchase's own call keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from partners import clearing
from partners.terms import SettlementTerms, Terms
from settlement.exposure import caps, store
from settlement.exposure.caps import Exposure
from settlement.money import accounts, journal, stock
from settlement.windows import cycle, positions, standing


class Limits(Protocol):
    """Who keeps limits of points at the till, by the partner's code."""

    async def used(self, connection: AsyncConnection, partner_code: str) -> int:
        """How many points were ever counted against the partner's limit; 0 where there is none yet."""
        ...

    async def set_limit(
        self, connection: AsyncConnection, partner_code: str, points: int, *, policy: str, at: datetime
    ) -> None:
        """Let so many points be counted in all from now on; policy is what is to happen at the limit."""
        ...


async def measure(connection: AsyncConnection, *, at: datetime) -> list[Exposure]:
    """Where every partner with a cap stands, as far as what was recorded is added up."""
    signed = await clearing.signed(connection)
    terms = {one.terms_id: one for one, _ in signed}
    in_force = await clearing.settlement_terms_at(connection, at=at)
    where = {(p.partner_id, p.currency): p.carried_micro + p.moved_micro for p in await standing.now(connection)}
    stocks = await stock.as_of(connection, await cycle.open_cutoff(connection))
    pending = caps.outstanding(await positions.outstanding(connection), terms, stocks)
    cover = await _cover(connection)
    found = []
    for partner_id, more in sorted(in_force.items()):
        key = (partner_id, more.currency)
        one = caps.exposure(
            more, _price(terms, more), position_micro=where.get(key, 0), pending_micro=pending.get(key, 0),
            cover_micro=cover.get(key, 0),
        )  # fmt: skip
        if one is not None:
            found.append(one)
    return found


async def enforce(database: Database, limits: Limits, *, at: datetime) -> list[Exposure]:
    """Measure every partner with a cap, keep what changed, and set the limits; those found.

    What was used is read before what was recorded is added up: what is granted in between counts on both sides, so that
    a limit may be too low for a moment and is never too high. Where an old transaction keeps something from being read
    no limit is set: the one before holds.
    """
    async with database.transaction() as connection:
        signed = await clearing.settlement_terms_at(connection, at=at)
        if all(terms.debit_cap_micro is None for terms in signed.values()):
            return []
        names = await clearing.names(connection)
        mark = await store.reached(connection)
        used = {n: await limits.used(connection, name.code) for n, name in names.items()}
    if not await _is_over(database, mark):
        return []
    await positions.catch_up(database, at=at)
    async with database.transaction() as connection:
        found = await measure(connection, at=at)
        before = await last(connection)
        await store.insert_exposures(connection, [{"at": at, **asdict(one)} for one in found if one not in before])
        for one in found:
            if one.limit_points is not None:
                points = used[one.partner_id] + one.limit_points
                code = names[one.partner_id].code
                await limits.set_limit(connection, code, points, policy=one.policy, at=at)
        return found


async def last(connection: AsyncConnection) -> list[Exposure]:
    """Where every partner stood when it was last measured."""
    return [Exposure(**row._mapping) for row in await store.last_exposures(connection)]


async def cover_of(connection: AsyncConnection, partner_id: int, currency: str) -> tuple[int, int]:
    """What a partner deposited, and what is retained of it, micro-units."""
    deposited = retained = 0
    for account in (accounts.DEPOSITS, accounts.HOLDBACK):
        for balance in await journal.balances(connection, account):
            if (balance.party_id, balance.currency) == (partner_id, currency):
                deposited -= balance.amount_micro if account == accounts.DEPOSITS else 0
                retained -= balance.amount_micro if account == accounts.HOLDBACK else 0
    return deposited, retained


async def _is_over(database: Database, mark: int) -> bool:
    """Whether everything that began before a mark has ended, after waiting a moment for it."""
    for _ in range(cycle.PATIENCE):
        async with database.reading() as connection:
            if await store.is_over(connection, mark):
                return True
        await asyncio.sleep(cycle.PAUSE.total_seconds())
    return False


async def _cover(connection: AsyncConnection) -> dict[tuple[int, str], int]:
    found: dict[tuple[int, str], int] = {}
    for account in (accounts.DEPOSITS, accounts.HOLDBACK):
        for balance in await journal.balances(connection, account):
            key = (balance.party_id, balance.currency)
            found[key] = found.get(key, 0) - balance.amount_micro
    return found


def _price(terms: Mapping[int, Terms], more: SettlementTerms) -> int:
    lot = terms[more.terms_id]
    return lot.issue_price_micro if lot.issues else 0
