"""Rehearsals: what a draft would have done to the purchases of past days, and whether what was decided still is.

Receipts are streamed while another thread decides them, so that a long window needs no more memory than a short one.
Nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import asyncpg
from msgspec.structs import replace

from partners.decisions import decisions
from partners.directory import Directory
from partners.promotions import simulation
from partners.promotions.basket import Context, Counters, Member
from partners.promotions.compiling import book
from partners.promotions.releases import EMPTY, Release
from partners.promotions.shelf import needs_of
from partners.promotions.simulation import Base, Simulation
from partners.promotions.tallies import Tallies
from partners.receipts import store as receipt_store
from partners.receipts.records import StoredReceipt

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """A purchase that is decided otherwise than it was, on the same input: there should never be one."""

    holder_id: int
    seq: int
    stored_sha256: str
    found_sha256: str


async def simulate(
    pool: asyncpg.Pool,
    directory: Directory,
    draft: Release,
    *,
    since: datetime,
    until: datetime,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """A draft against what was decided, over the purchases that occurred in a window [since, until).

    Members are as they were known then; counters that no rule asked for at the time are counted within the window.
    Money of every partner is told in the base currency.
    progress is told how many are done, from another thread.
    """
    past, programme = _Past(directory, draft), directory.programme
    base = Base(programme.base_currency, programme.point_value_micro[programme.base_currency])
    async with _receipts(pool, since, until) as chunks:
        return await asyncio.to_thread(
            simulation.simulate, draft, past.decided(chunks), base=base, progress=progress
        )  # fmt: skip


async def baskets(pool: asyncpg.Pool, *, since: datetime, until: datetime) -> int:
    """How many purchases `simulate` decides in a window [since, until)."""
    return await receipt_store.purchases_counted(pool, since, until)


async def replay(pool: asyncpg.Pool, directory: Directory, *, since: datetime, until: datetime) -> list[Difference]:
    """Decide every purchase of a window [since, until) that rules decided once more; those that come out otherwise."""
    async with _receipts(pool, since, until) as chunks:
        return await asyncio.to_thread(_differences, chunks, directory)


def _differences(chunks: Iterable[list[StoredReceipt]], directory: Directory) -> list[Difference]:
    found = []
    for receipt in (one for chunk in chunks for one in chunk):
        if decisions.was_by_rules(receipt):
            again = decisions.recalled(receipt, directory.around(receipt)).outcome.outcome_sha256
            kept = receipt.decision["outcome_sha256"]
            if kept != again:
                found.append(Difference(receipt.holder_id, receipt.seq, kept, again))
    return found


class _Past:
    """Purchases as they were decided, in order, with what a draft asks for besides."""

    def __init__(self, directory: Directory, draft: Release) -> None:
        self._directory = directory
        self._draft = draft
        self._zone = ZoneInfo(directory.programme.time_zone)
        self._counters = sorted(needs_of(book(draft).rules).counters)
        self._tallies = Tallies()

    def decided(self, chunks: Iterable[list[StoredReceipt]]) -> Iterator[simulation.Decided]:
        """What the engine simulates on."""
        for receipt in (one for chunk in chunks for one in chunk):
            day = receipt.occurred_at.astimezone(self._zone).date()
            asked = receipt.holder_id, receipt.partner_id, day
            counted = self._tallies.before(*asked, self._counters)
            yield self._as_decided(receipt, counted)
            is_summed = receipt.currency == self._directory.programme.base_currency  # as `partners.bought` has it
            self._tallies.add(*asked, receipt.total_minor if is_summed else 0)

    def _as_decided(self, receipt: StoredReceipt, counted: dict[str, int]) -> simulation.Decided:
        by_rules = decisions.was_by_rules(receipt)
        around = self._directory.around(receipt)
        kept = decisions.recalled(receipt, around) if by_rules else self._by_agreement(receipt)
        context = kept.basis.context
        member = replace(context.member, counters=counted | dict(context.member.counters))
        dates = {zone: context.occurred_at.astimezone(ZoneInfo(zone)).date().isoformat() for zone in self._draft.zones}
        denied = self._directory.foreign_budgets(context.terms.currency)
        return simulation.Decided(
            kept.basket, replace(context, member=member, dates=dates, denied=denied), kept.outcome
        )  # fmt: skip

    def _by_agreement(self, receipt: StoredReceipt) -> decisions.Decided:
        sent = decisions.receipt_of(receipt)
        paid = receipt.decision.get("paid", {}).values()
        basket = decisions.basket_of(sent, points=sum(one for one, _ in paid), points_minor=sum(one for _, one in paid))
        return decisions.decide(decisions.Basis(EMPTY, self._context(receipt), Counters()), basket)

    def _context(self, receipt: StoredReceipt) -> Context:
        directory, around = self._directory, self._directory.around(receipt)
        scopes = decisions.scopes_of(receipt.holder_id, receipt.card_id, around.partner, around.outlet)
        shown = replace(decisions.receipt_of(receipt), outlet=around.outlet)
        return decisions.context_of(
            shown, partner=around.partner, zone=directory.zone_at(receipt.outlet_id), terms=around.terms,
            programme=directory.programme, dates=decisions.dates_of(shown.occurred_at, self._draft.zones),
            member=Member(tier=receipt.decision["tier"]), scopes=scopes, at=receipt.at,
        )  # fmt: skip


@asynccontextmanager
async def _receipts(
    pool: asyncpg.Pool, since: datetime, until: datetime
) -> AsyncIterator[Iterator[list[StoredReceipt]]]:
    """The purchases of a window in the order in which they occurred, to be taken in chunks by another thread."""
    loop = asyncio.get_running_loop()
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        reader = await receipt_store.purchases_between(connection, since, until)

        def chunks() -> Iterator[list[StoredReceipt]]:
            while chunk := asyncio.run_coroutine_threadsafe(reader(CHUNK), loop).result():
                yield chunk

        yield chunks()
