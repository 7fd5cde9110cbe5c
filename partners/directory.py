"""The directory: partners, outlets, terminals, signed terms and releases as a process remembers them.

A purchase looks things up here without asking the database. A snapshot never changes; every few seconds one small
query asks whether it is out of date. So a suspension or a new outlet is seen everywhere within FRESH_SECONDS.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import asyncpg
import orjson

from kit.secrets import Vault
from partners import store
from partners.agreements import agreements, onboarding
from partners.agreements.programme import ProgrammeUnknown
from partners.decisions.decisions import Around
from partners.mechanics.arms import Experiments
from partners.mechanics.documents import CalendarDocument, HoldoutDocument
from partners.mechanics.holidays import Calendar
from partners.promotions import publishing
from partners.promotions.documents import read_as
from partners.promotions.shelf import Shelf
from partners.receipts.records import StoredReceipt
from partners.terms import Programme, Terms

FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner; id_key (64 bytes, AES-SIV) encrypts the ids of members and transactions that it is shown.

    paused_until: it gives no points before that business instant, because it gave far too many.
    """

    partner_id: int
    code: str
    name: str
    status: str
    id_key: bytes = field(repr=False)
    paused_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outlet:
    """A partner's place of sale, and where it is as far as somebody said; degrees are in millionths. time_zone is what
    its clocks show, None where that is the programme's."""

    outlet_id: int
    partner_id: int
    code: str
    name: str
    town: str | None = None
    street: str | None = None
    latitude_micro: int | None = None
    longitude_micro: int | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Terminal:
    """An outlet's till."""

    terminal_id: int
    outlet_id: int
    code: str
    status: str


@dataclass(frozen=True, slots=True)
class BudgetHead:
    """What of a budget never changes: its number, its unit, and the currency of one of money."""

    budget_id: int
    unit: str
    currency: str | None


NO_CALENDAR = Calendar()
NO_EXPERIMENTS = Experiments()


class Directory:
    """All of it as it was together at one revision. Read only."""

    def __init__(
        self,
        *,
        revision: int,
        programme: Programme,
        partners: Sequence[Partner],
        outlets: Sequence[Outlet],
        terminals: Sequence[Terminal],
        terms: Sequence[Terms],
        shelf: Shelf | None = None,
        budgets: Mapping[str, BudgetHead] = MappingProxyType({}),
        calendar: Calendar = NO_CALENDAR,
        experiments: Experiments = NO_EXPERIMENTS,
    ) -> None:
        self.revision = revision
        self.programme = programme
        self.shelf = shelf or Shelf()
        self.budgets = budgets
        self.budget_ids: Mapping[str, int] = {code: head.budget_id for code, head in budgets.items()}
        self._foreign: dict[str, tuple[str, ...]] = {}
        self.calendar = calendar
        self.experiments = experiments
        self._partners = MappingProxyType({partner.partner_id: partner for partner in partners})
        self._partners_by_code = MappingProxyType({partner.code: partner for partner in partners})
        self._outlets = MappingProxyType({outlet.outlet_id: outlet for outlet in outlets})
        self._outlets_by_code = {(outlet.partner_id, outlet.code): outlet for outlet in outlets}
        self._terminals = {(terminal.outlet_id, terminal.code): terminal for terminal in terminals}
        self._terminals_by_id = {terminal.terminal_id: terminal for terminal in terminals}
        self._terms = {version.terms_id: version for version in terms}
        self._signed = _by_partner(terms)

    def partner(self, partner_id: int) -> Partner | None:
        """The partner of this number."""
        return self._partners.get(partner_id)

    def partner_by_code(self, code: str) -> Partner | None:
        """The partner of this code."""
        return self._partners_by_code.get(code)

    def partners(self) -> list[Partner]:
        """Every partner, by code."""
        return sorted(self._partners.values(), key=lambda partner: partner.code)

    def outlet(self, partner_id: int, code: str) -> Outlet | None:
        """The partner's outlet of this code."""
        return self._outlets_by_code.get((partner_id, code))

    def outlets(self, partner_id: int) -> list[Outlet]:
        """The partner's outlets, by code."""
        own = [outlet for outlet in self._outlets.values() if outlet.partner_id == partner_id]
        return sorted(own, key=lambda outlet: outlet.code)

    def outlet_by_id(self, outlet_id: int) -> Outlet | None:
        """The outlet of this number."""
        return self._outlets.get(outlet_id)

    def zone_at(self, outlet_id: int) -> str:
        """The time zone of an outlet: its own, or the programme's."""
        outlet = self._outlets.get(outlet_id)
        return (outlet.time_zone if outlet else None) or self.programme.time_zone

    def terminal(self, outlet_id: int, code: str) -> Terminal | None:
        """The outlet's terminal of this code."""
        return self._terminals.get((outlet_id, code))

    def terminals(self, outlet_id: int) -> list[Terminal]:
        """The outlet's terminals, by code."""
        own = [terminal for terminal in self._terminals_by_id.values() if terminal.outlet_id == outlet_id]
        return sorted(own, key=lambda terminal: terminal.code)

    def terminal_by_id(self, terminal_id: int) -> Terminal | None:
        """The terminal of this number."""
        return self._terminals_by_id.get(terminal_id)

    def terms_at(self, partner_id: int, at: datetime) -> Terms | None:
        """The terms in force for a partner at a business instant; None before the first signed version."""
        return agreements.in_force(self._signed.get(partner_id, ()), at)

    def foreign_budgets(self, currency: str) -> tuple[str, ...]:
        """Budgets of money in another currency: there they pay nothing."""
        found = self._foreign.get(currency)
        if found is None:
            found = tuple(sorted(one for one, head in self.budgets.items() if head.currency not in (None, currency)))
            self._foreign[currency] = found
        return found

    def around(self, receipt: StoredReceipt) -> Around:
        """What stands around a receipt. Raises KeyError where this snapshot does not know its terms."""
        partner, outlet = self.partner(receipt.partner_id), self.outlet_by_id(receipt.outlet_id)
        assert partner is not None
        assert outlet is not None
        return Around(partner.code, outlet.code, self.terms(receipt.terms_id), self.programme, self.shelf)

    def knows_terms(self, terms_id: int) -> bool:
        """Whether these terms were signed when the snapshot was taken."""
        return terms_id in self._terms

    def terms(self, terms_id: int) -> Terms:
        """The signed terms of this number. Raises KeyError where this snapshot has none."""
        return self._terms[terms_id]


class DirectoryCache:
    """One process's directory, kept fresh. `get` is what a request calls."""

    def __init__(self, pool: asyncpg.Pool, vault: Vault, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._vault = vault
        self._monotonic = monotonic
        self._held: Directory | None = None
        self._checked_at = 0.0
        self._renewal: asyncio.Task[Directory] | None = None

    async def get(self) -> Directory:
        """The directory, at most FRESH_SECONDS out of date; callers who find it older wait for one look together.

        Rejects PROGRAMME_UNKNOWN. Raises what the driver raises when the database cannot be asked.
        """
        if self._held is not None and self._monotonic() - self._checked_at < FRESH_SECONDS:
            return self._held
        return await asyncio.shield(self._renewal or self._renew())

    async def refresh(self) -> Directory:
        """The directory with every change that was committed before this call."""
        while self._renewal is not None:  # it may have looked before that change
            await asyncio.wait({self._renewal})
        return await asyncio.shield(self._renew())

    def _renew(self) -> asyncio.Task[Directory]:
        # A task of its own: whoever asked first may be cancelled while others wait for the same answer.
        task = asyncio.create_task(self._look())
        task.add_done_callback(self._renewed)
        self._renewal = task
        return task

    def _renewed(self, task: asyncio.Task[Directory]) -> None:
        self._renewal = None
        if not task.cancelled():
            task.exception()  # it was told to those who waited, if any still do

    async def _look(self) -> Directory:
        asked_at = self._monotonic()
        async with self._pool.acquire() as connection:
            held = self._held
            if held is None or await store.revision(connection) != held.revision:
                shelf = held.shelf if held else Shelf()
                held = _directory(await store.directory_rows(connection, shelf.known), self._vault, shelf)
        self._held, self._checked_at = held, asked_at
        return held


def _directory(rows: store.DirectoryRows, vault: Vault, shelf: Shelf) -> Directory:
    if rows.programme is None:
        raise ProgrammeUnknown("no programme was founded in this database yet")
    return Directory(
        revision=rows.revision,
        programme=rows.programme,
        partners=[_partner(row, vault) for row in rows.partners],
        outlets=[Outlet(*row) for row in rows.outlets],
        terminals=[Terminal(*row) for row in rows.terminals],
        terms=rows.terms,
        shelf=shelf.extended(publishing.release_of(row) for row in rows.releases),
        budgets={row["code"]: BudgetHead(row["budget_id"], row["unit"], row["currency"]) for row in rows.budgets},
        calendar=Calendar([(row["valid_from"], _calendar(row["document"])) for row in rows.calendars]),
        experiments=Experiments((row["code"], row["valid_from"], _holdout(row["document"])) for row in rows.holdouts),
    )


def _calendar(document: str) -> CalendarDocument:
    return read_as(CalendarDocument, orjson.loads(document))


def _holdout(document: str) -> HoldoutDocument:
    return read_as(HoldoutDocument, orjson.loads(document))


def _partner(row: asyncpg.Record, vault: Vault) -> Partner:
    id_key = vault.open(row["sealed_id_key"], onboarding.id_key_context(row["code"]))
    return Partner(row["partner_id"], row["code"], row["name"], row["status"], id_key, row["paused_until"])


def _by_partner(terms: Sequence[Terms]) -> dict[int, list[Terms]]:
    signed: defaultdict[int, list[Terms]] = defaultdict(list)
    for version in terms:
        signed[version.partner_id].append(version)
    return dict(signed)
