"""The directory: one look for many callers, never older than it says, and whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
from cryptography.exceptions import InvalidTag

from kit import actors, secrets
from kit.database import Database
from kit.secrets import Vault
from partners.agreements import onboarding, programme
from partners.agreements.programme import ProgrammeUnknown
from partners.directory import FRESH_SECONDS, Directory, DirectoryCache
from tests.builders import NOON, PROGRAMME


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class WatchedPool:
    """A pool that counts how often it is asked, lets nobody leave by a closed gate, and fails when told to."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.asked = 0
        self.reached_the_gate = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        self.asked += 1
        if self.broken:
            raise ConnectionRefusedError("no database")
        async with self._pool.acquire() as connection:
            yield connection
        self.reached_the_gate.set()
        await self.gate.wait()


@dataclass
class Office:
    """A partner with an outlet and a till, and a process that remembers them."""

    database: Database
    onboarder: int
    partner_id: int
    clock: Clock
    pool: WatchedPool
    cache: DirectoryCache

    async def suspend(self) -> None:
        async with self.database.transaction() as connection:
            await onboarding.suspend_partner(connection, partner_id=self.partner_id, actor=self.onboarder, at=NOON)

    async def add_outlets(self, count: int) -> None:
        outlets = [(f"S{number}", f"Street {number}") for number in range(count)]
        async with self.database.transaction() as connection:
            await onboarding.add_outlets(
                connection, partner_id=self.partner_id, outlets=outlets, actor=self.onboarder, at=NOON
            )

    async def status(self) -> str:
        return status_in(await self.cache.get(), self.partner_id)


def status_in(directory: Directory, partner_id: int) -> str:
    partner = directory.partner(partner_id)
    assert partner is not None
    return partner.status


@pytest.fixture
async def office(database: Database, vault: Vault) -> Office:
    async with database.transaction() as connection:
        await programme.found(connection, PROGRAMME)
        onboarder = await actors.ensure_actor(connection, "onno", [actors.ONBOARDING])
        partner_id = await onboarding.add_partner(
            connection, vault, code="bakery", name="Bakery", actor=onboarder, at=NOON
        )
        outlet_id = await onboarding.add_outlet(
            connection, partner_id=partner_id, code="1", name="Main street", actor=onboarder, at=NOON
        )
        await onboarding.add_terminal(connection, outlet_id=outlet_id, code="T", actor=onboarder, at=NOON)
    clock, pool = Clock(), WatchedPool(database.pool)
    cache = DirectoryCache(pool, vault, monotonic=clock)
    return Office(database, onboarder, partner_id, clock, pool, cache)


async def test_everything_is_found_by_number_and_by_code(office: Office) -> None:
    directory = await office.cache.get()
    partner = directory.partner_by_code("bakery")
    assert partner is not None
    assert directory.partner(office.partner_id) is partner
    assert directory.partners() == [partner]
    outlet = directory.outlet(partner.partner_id, "1")
    assert outlet is not None
    assert directory.outlet_by_id(outlet.outlet_id) is outlet
    terminal = directory.terminal(outlet.outlet_id, "T")
    assert terminal is not None
    assert terminal.status == "ACTIVE"
    assert directory.programme == PROGRAMME


async def test_what_is_not_there_is_nothing(office: Office) -> None:
    directory = await office.cache.get()
    assert directory.partner(404) is None
    assert directory.partner_by_code("404") is None
    assert directory.outlet(office.partner_id, "404") is None
    assert directory.outlet(404, "1") is None
    assert directory.outlet_by_id(404) is None
    assert directory.terminal(404, "T") is None
    assert directory.terms_at(office.partner_id, NOON) is None
    with pytest.raises(KeyError):
        directory.terms(404)


async def test_every_partner_has_an_id_key_of_its_own_that_does_not_print(office: Office, vault: Vault) -> None:
    async with office.database.transaction() as connection:
        await onboarding.add_partner(connection, vault, code="grocer", name="Grocer", actor=office.onboarder, at=NOON)
    bakery, grocer = (await office.cache.get()).partners()
    assert len(bakery.id_key) == len(grocer.id_key) == 64
    shown = secrets.opaque_id(bakery.id_key, "mbr", b"17")
    assert secrets.read_opaque_id(grocer.id_key, "mbr", shown) is None
    assert repr(bakery.id_key) not in repr(bakery)


async def test_a_suspension_is_seen_after_the_next_look_and_not_before(office: Office) -> None:
    assert await office.status() == "ACTIVE"
    await office.suspend()
    office.clock.seconds += FRESH_SECONDS - 0.001
    assert await office.status() == "ACTIVE"
    office.clock.seconds += 0.001
    assert await office.status() == "SUSPENDED"


async def test_a_forced_look_sees_a_suspension_at_once(office: Office) -> None:
    assert await office.status() == "ACTIVE"
    await office.suspend()
    assert status_in(await office.cache.refresh(), office.partner_id) == "SUSPENDED"
    assert await office.status() == "SUSPENDED"


async def test_a_snapshot_never_changes(office: Office) -> None:
    before = await office.cache.get()
    await office.suspend()
    after = await office.cache.refresh()
    assert status_in(before, office.partner_id) == "ACTIVE"
    assert after is not before


async def test_where_nothing_changed_the_same_snapshot_stays(office: Office) -> None:
    before = await office.cache.get()
    office.clock.seconds += FRESH_SECONDS
    assert await office.cache.get() is before
    assert office.pool.asked == 2


async def test_a_hundred_callers_at_once_cause_one_look(office: Office) -> None:
    found = await asyncio.gather(*(office.cache.get() for _ in range(100)))
    assert office.pool.asked == 1
    assert len({id(directory) for directory in found}) == 1
    await office.suspend()
    office.clock.seconds += FRESH_SECONDS
    found = await asyncio.gather(*(office.cache.get() for _ in range(100)))
    assert office.pool.asked == 2
    assert {status_in(directory, office.partner_id) for directory in found} == {"SUSPENDED"}


async def test_a_caller_who_gives_up_takes_nobody_along(office: Office) -> None:
    office.pool.gate.clear()
    first = asyncio.create_task(office.cache.get())
    second = asyncio.create_task(office.cache.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    office.pool.gate.set()
    assert status_in(await second, office.partner_id) == "ACTIVE"
    assert first.cancelled()
    assert office.pool.asked == 1


async def test_a_failed_look_is_told_to_all_who_waited_and_tried_again_by_the_next(office: Office) -> None:
    office.pool.broken = True
    outcomes = await asyncio.gather(*(office.cache.get() for _ in range(10)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError] * 10
    assert office.pool.asked == 1
    office.pool.broken = False
    assert await office.status() == "ACTIVE"


async def test_a_forced_look_does_not_join_one_that_began_before_the_change(office: Office) -> None:
    office.pool.gate.clear()
    earlier = asyncio.create_task(office.cache.refresh())
    await office.pool.reached_the_gate.wait()
    await office.suspend()
    later = asyncio.create_task(office.cache.refresh())
    await asyncio.sleep(0.05)
    assert office.pool.asked == 1  # it waits, so that the older answer cannot come last
    office.pool.gate.set()
    assert status_in(await earlier, office.partner_id) == "ACTIVE"
    assert status_in(await later, office.partner_id) == "SUSPENDED"
    assert await office.status() == "SUSPENDED"


async def test_three_thousand_outlets_are_remembered(office: Office) -> None:
    await office.add_outlets(3000)
    directory = await office.cache.get()
    found = {directory.outlet(office.partner_id, f"S{number}") for number in range(3000)}
    assert len(found) == 3000
    assert None not in found


async def test_without_a_programme_there_is_no_directory(database: Database, vault: Vault) -> None:
    with pytest.raises(ProgrammeUnknown):
        await DirectoryCache(database.pool, vault).get()


async def test_a_key_sealed_for_one_partner_is_no_key_of_another(office: Office, vault: Vault) -> None:
    sealed = await office.database.pool.fetchval("SELECT sealed_id_key FROM partners.partner")
    assert len(vault.open(sealed, onboarding.id_key_context("bakery"))) == 64
    with pytest.raises(InvalidTag):
        vault.open(sealed, onboarding.id_key_context("grocer"))
