"""The naive peer is a ledger, if a slow one: it moves points, once per key, also when everybody comes at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.peers import drivers, environment, naive
from benchmarks.peers.naive import Leg, Member, Partner
from kit import postgres
from kit.postgres import Server

NAME = "naive_peer"


@pytest.fixture
async def sessions(server: Server) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Three members and two partners with nothing yet."""
    postgres.drop_database(server, NAME)
    postgres.create_database(server, NAME)
    engine = create_async_engine(server.url(NAME, server.superuser), pool_size=8)
    await naive.found(engine, members=3, partners=2)
    yield async_sessionmaker(engine, expire_on_commit=False)
    await engine.dispose()
    postgres.drop_database(server, NAME)


async def balances(sessions: async_sessionmaker[AsyncSession]) -> tuple[list[int], list[int]]:
    """What members have and what partners owe, in the order of their numbers."""
    async with sessions() as session:
        members = await session.scalars(select(Member.balance).order_by(Member.member_id))
        partners = await session.scalars(select(Partner.balance).order_by(Partner.partner_id))
        return list(members), list(partners)


async def test_points_go_from_a_partner_to_a_member_in_two_legs(sessions) -> None:
    assert await naive.accrue(sessions, member_id=2, partner_id=1, points=10, idem_key=uuid4())
    assert await balances(sessions) == ([0, 10, 0], [-10, 0])
    async with sessions() as session:
        legs = (await session.execute(select(Leg.member_id, Leg.partner_id, Leg.amount).order_by(Leg.leg_id))).all()
    assert sorted(map(str, legs)) == sorted(map(str, [(2, None, 10), (None, 1, -10)]))


async def test_a_known_key_moves_nothing(sessions) -> None:
    key = UUID(int=1)
    assert await naive.accrue(sessions, member_id=1, partner_id=1, points=10, idem_key=key)
    assert not await naive.accrue(sessions, member_id=1, partner_id=1, points=10, idem_key=key)
    assert await balances(sessions) == ([10, 0, 0], [-10, 0])


async def test_callers_at_one_partner_lose_no_point(sessions) -> None:
    calls = [
        naive.accrue(sessions, member_id=1 + number % 3, partner_id=1, points=number, idem_key=uuid4())
        for number in range(1, 25)
    ]
    assert all(await asyncio.gather(*calls))
    members, partners = await balances(sessions)
    assert sum(members) == -partners[0] == sum(range(1, 25))
    async with sessions() as session:
        assert await session.scalar(select(func.sum(Leg.amount))) == 0


async def test_its_driver_works_when_told_and_ends_with_its_orders(server: Server) -> None:
    postgres.drop_database(server, NAME)
    postgres.create_database(server, NAME)
    url = server.url(NAME, server.superuser)
    async with drivers.running(Path(sys.executable), "benchmarks.peers.naive", [url], seed=1) as driver:
        one = await driver.load(hot=True)(1)
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        moved = await session.scalar(select(-func.sum(Partner.balance)))
        at_one = await session.scalar(select(-Partner.balance).where(Partner.partner_id == 1))
    await engine.dispose()
    postgres.drop_database(server, NAME)
    assert one.done == len(one.latencies_ms) > 0
    assert moved == at_one == one.done * naive.POINTS


async def test_a_driver_that_cannot_work_says_why(server: Server) -> None:
    url = server.url("no_such_database", server.superuser)
    with pytest.raises(RuntimeError, match="no_such_database"):
        async with drivers.running(Path(sys.executable), "benchmarks.peers.naive", [url], seed=1):
            pass


@pytest.mark.deep
def test_an_environment_that_cannot_be_made_is_a_reason_and_no_crash(tmp_path: Path) -> None:
    stranger = tmp_path / "list.txt"
    stranger.write_text("no-such-package-of-anybody @ file:///nowhere/at/all.whl --hash=sha256:" + "0" * 64 + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "PEERS", stranger)
        patch.setattr(environment, "BUILD", stranger)
        with pytest.raises(environment.EnvironmentMissing, match=r"(?i)no such file|error"):
            environment.python(tmp_path / "environment")
    assert not (tmp_path / "environment" / "installed").exists()
