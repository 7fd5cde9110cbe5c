"""Exposure against caps: measured from positions, stock and cover, and told to whoever enforces it at the till.

Nothing here is on a purchase's path. What a partner may still issue is handed down as a limit, a number of points, by a
function that the caller gives; the purchase's own call keeps it. What was withheld at a limit is let go here when there
is room again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import audit
from kit.database import Database
from ledger import withheld
from ledger.accounts import POINTS
from ledger.withheld import Withheld
from partners.clearing import clearing
from partners.clearing.clearing import PartnerName
from partners.terms import SettlementTerms, Terms
from settlement.exposure import caps, store
from settlement.exposure.caps import Exposure
from settlement.money import accounts, journal, stock
from settlement.rating import Stocks
from settlement.windows import cycle, positions, standing
from settlement.windows.shares import Outstanding

LOTS_AT_ONCE = 1_000
UNLIMITED = 10**15
"""As good as no limit: more points than there will be."""
_DAY = timedelta(days=1)


class Limits(Protocol):
    """Who keeps limits of points at the till, by the partner's code."""

    async def used(self, connection: AsyncConnection, partner_code: str, policy: str) -> int:
        """How many points count against the partner's limit of a policy; 0 where there is none yet."""
        ...

    async def given_back(self, connection: AsyncConnection, partner_code: str, policy: str, *, since: int) -> int:
        """How many points returns gave back to the partner's limit of a policy in transactions from a number on."""
        ...

    async def limit(self, connection: AsyncConnection, partner_code: str, policy: str) -> int:
        """How many points may be counted in all under the limit of a policy; very many where none is in force."""
        ...

    async def set_limit(
        self, connection: AsyncConnection, partner_code: str, points: int, *, policy: str, at: datetime
    ) -> None:
        """Let so many points be counted in all from now on; policy is what is to happen at the limit."""
        ...

    async def lift(self, connection: AsyncConnection, partner_code: str, *, policy: str, at: datetime) -> None:
        """Limit a partner no more that was held to a policy."""
        ...


@dataclass(frozen=True, slots=True)
class _Measured:
    """Where partners with a cap stand, and all that it was reckoned from. below is a transaction's number: what was
    recorded behind it is in none of it."""

    found: tuple[Exposure, ...]
    signed: Mapping[int, SettlementTerms]
    terms: Mapping[int, Terms]
    stocks: Stocks
    waiting: tuple[withheld.Waiting, ...]
    below: int


async def measure(connection: AsyncConnection, *, at: datetime) -> list[Exposure]:
    """Where every partner with a cap stands, as far as what was recorded is added up."""
    return list((await _measure(connection, at)).found)


async def enforce(database: Database, limits: Limits, *, at: datetime) -> list[Exposure]:
    """Measure every partner with a cap, let go what there is room for, keep what changed, and set the limits; those
    found.

    What was used is read before what was recorded is added up: what is granted in between counts on both sides, so that
    a limit may be too low for a moment and is never too high. What is returned in between makes room and lowers what is
    used, and is taken off once. What tills may still count under the limit in force is kept free when something is let
    go, which then goes a round later. Where an old transaction keeps something from being read no limit is set: the one
    before holds, and what waits goes on waiting.
    """
    async with database.transaction() as connection:
        signed = await clearing.settlement_terms_at(connection, at=at)
        if all(terms.debit_cap_micro is None for terms in signed.values()) and not await last(connection):
            return []
        names = await clearing.names(connection)
        since = await store.finished(connection)  # before what is used: a return that it misses is no earlier
        used = {
            (n, terms.cap_policy): await limits.used(connection, names[n].code, terms.cap_policy)
            for n, terms in signed.items()
            if terms.debit_cap_micro is not None
        }
        mark = await store.reached(connection)  # behind all that was counted: the other way round some may be missed
    if not await _is_over(database, mark):
        return []
    await positions.catch_up(database, at=at)
    async with database.transaction() as connection:
        await store.lock_limits(connection)
        measured = await _measure(connection, at)
        used = {  # read behind the measure: no return that made room there is missed
            (n, policy): points - await limits.given_back(connection, names[n].code, policy, since=since)
            for (n, policy), points in used.items()
        }
        left = {
            (n, policy): await limits.limit(connection, names[n].code, policy) - points
            for (n, policy), points in used.items()
        }
        found = await _let_go(connection, measured, left, at)
        before = await last(connection)
        await store.insert_exposures(connection, [{"at": at, **asdict(one)} for one in found if one not in before])
        await _lift(connection, limits, before, found, names, at)
        for one in found:
            if one.limit_points is not None and (one.partner_id, one.policy) in used:
                points = max(0, used[one.partner_id, one.policy] + one.limit_points)
                code = names[one.partner_id].code
                await limits.set_limit(connection, code, points, policy=one.policy, at=at)
        return found


async def last(connection: AsyncConnection) -> list[Exposure]:
    """Where every partner stood when it was last measured."""
    return [Exposure(**row._mapping) for row in await store.last_exposures(connection)]


async def last_by(connection: AsyncConnection, *, at: datetime) -> list[Exposure]:
    """Where every partner stood when it was last measured by an instant; nothing measured later changes it."""
    return [Exposure(**row._mapping) for row in await store.last_exposures(connection, at=at)]


async def cover_of(connection: AsyncConnection, partner_id: int, currency: str) -> tuple[int, int]:
    """What a partner deposited, and what is retained of it, micro-units."""
    deposited = retained = 0
    for account in (accounts.DEPOSITS, accounts.HOLDBACK):
        for balance in await journal.balances(connection, account):
            if (balance.party_id, balance.currency) == (partner_id, currency):
                deposited -= balance.amount_micro if account == accounts.DEPOSITS else 0
                retained -= balance.amount_micro if account == accounts.HOLDBACK else 0
    return deposited, retained


async def _measure(connection: AsyncConnection, at: datetime) -> _Measured:
    terms = {one.terms_id: one for one, _ in await clearing.signed(connection)}
    signed = await clearing.settlement_terms_at(connection, at=at)
    where = {(p.partner_id, p.currency): p.carried_micro + p.moved_micro for p in await standing.now(connection)}
    stocks = await stock.as_of(connection, await cycle.open_cutoff(connection))
    pending = caps.outstanding(await positions.outstanding(connection), terms, stocks)
    below = await store.added_up(connection)  # what waits and is not added up yet must not be taken off what is
    waiting = await withheld.waiting(connection, unit=POINTS, below=below)
    held_back = caps.outstanding((_as_pending(w.funder_id, w.terms_id, w.points) for w in waiting), terms, stocks)
    cover = await _cover(connection)
    found = []
    for partner_id, more in sorted(signed.items()):
        key = (partner_id, more.currency)
        one = caps.exposure(
            more, _price(terms, more), position_micro=where.get(key, 0), pending_micro=pending.get(key, 0),
            cover_micro=cover.get(key, 0), withheld_micro=held_back.get(key, 0),
        )  # fmt: skip
        if one is not None:
            found.append(one)
    return _Measured(tuple(found), signed, terms, stocks, tuple(waiting), below)


async def _let_go(
    connection: AsyncConnection, measured: _Measured, left: Mapping[tuple[int, str], int], at: datetime
) -> list[Exposure]:
    """Let go what there is room for, of each partner the oldest first, and all of whoever is held to no cap any more.

    What goes becomes spendable when its purchase can not be returned any more, and not before now. left is how many
    points tills may still count, by partner and policy: where nothing is known of it, nothing goes yet.
    """
    going: list[Withheld] = []
    queues: dict[tuple[int, str], list[tuple[Withheld, int]]] = defaultdict(list)
    capped = {(one.partner_id, one.currency) for one in measured.found}
    for funder_id in sorted({one.funder_id for one in measured.waiting}):
        for lot in await withheld.oldest(connection, funder_id, unit=POINTS, below=measured.below, limit=LOTS_AT_ONCE):
            cost = caps.outstanding([_as_pending(funder_id, lot.terms_id, lot.points)], measured.terms, measured.stocks)
            key = next(iter(cost), None)
            if key in capped and key is not None:
                queues[key].append((lot, cost[key]))
            else:
                going.append(lot)
    after = []
    for one in measured.found:
        queue = sorted(queues[one.partner_id, one.currency], key=lambda waits: waits[0].granted_at)
        price = _price(measured.terms, measured.signed[one.partner_id])
        more = left.get((one.partner_id, one.policy), UNLIMITED)
        number, then = caps.let_go(one, [cost for _, cost in queue], price, left_points=more)
        going += [lot for lot, _ in queue[:number]]
        after.append(then)
    lots = [(lot, max(at, lot.granted_at + measured.terms[lot.terms_id].return_window_days * _DAY)) for lot in going]
    if done := await withheld.let_go(connection, lots, unit=POINTS):
        points = sum(lot.points for lot in going)
        await audit.write(
            connection, actor=cycle.SYSTEM, action="POINTS_LET_GO", subject="exposure:all",
            detail={"lots": done, "points": points}, at=at,
        )  # fmt: skip
    return after


async def _lift(
    connection: AsyncConnection, limits: Limits, before: list[Exposure], found: list[Exposure],
    names: Mapping[int, PartnerName], at: datetime,
) -> None:  # fmt: skip
    """Let tills forget the limits of policies that partners were held to and are not any more."""
    standing_now = {(one.partner_id, one.policy) for one in found}
    for partner_id, policy in sorted({(one.partner_id, one.policy) for one in before} - standing_now):
        await limits.lift(connection, names[partner_id].code, policy=policy, at=at)


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


def _as_pending(funder_id: int, terms_id: int, points: int) -> Outstanding:
    return Outstanding(funder_id, terms_id, points, 0)


def _price(terms: Mapping[int, Terms], more: SettlementTerms) -> int:
    lot = terms[more.terms_id]
    return lot.issue_price_micro if lot.issues else 0
