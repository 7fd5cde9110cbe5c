"""The ledger that a hurried team writes: an ORM session per operation, a row per balance, both sides locked.

A partner's balance is one row that every purchase at that partner updates, so the purchases at one partner wait for
each other. There are no lots, no expiry, no hash chain, no cut-off: it does less than the ledger that it stands beside.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from benchmarks.peers import crew
from benchmarks.peers.crew import CALLERS, Order, Yield

PARTNERS = 50
MEMBERS = 20_000
POINTS = 10


class Base(DeclarativeBase):
    """The naive tables."""


class Partner(Base):
    """A partner and what it owes for the points it gave."""

    __tablename__ = "partner"
    partner_id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger, default=0)


class Member(Base):
    """A member and their points."""

    __tablename__ = "member"
    member_id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger, default=0)


class Entry(Base):
    """Something that happened, once per key."""

    __tablename__ = "entry"
    entry_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    idem_key: Mapped[UUID] = mapped_column(unique=True)
    legs: Mapped[list[Leg]] = relationship(back_populates="entry")


class Leg(Base):
    """One side of an entry: a member's or a partner's."""

    __tablename__ = "leg"
    leg_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entry.entry_id"), index=True)
    member_id: Mapped[int | None] = mapped_column(ForeignKey("member.member_id"), index=True)
    partner_id: Mapped[int | None] = mapped_column(ForeignKey("partner.partner_id"), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    entry: Mapped[Entry] = relationship(back_populates="legs")


async def found(engine: AsyncEngine, *, members: int = MEMBERS, partners: int = PARTNERS) -> None:
    """Make the tables, and members and partners with nothing yet."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session, session.begin():
        session.add_all(Partner(partner_id=number, balance=0) for number in range(1, partners + 1))
        session.add_all(Member(member_id=number, balance=0) for number in range(1, members + 1))


async def accrue(
    sessions: async_sessionmaker[AsyncSession], *, member_id: int, partner_id: int, points: int, idem_key: UUID
) -> bool:
    """Give points to a member on a partner's account; False, and nothing done, where the key is known."""
    async with sessions() as session, session.begin():
        member = await session.get_one(Member, member_id, with_for_update=True)
        partner = await session.get_one(Partner, partner_id, with_for_update=True)
        if await session.scalar(select(Entry).where(Entry.idem_key == idem_key)) is not None:
            return False
        entry = Entry(idem_key=idem_key)
        entry.legs = [Leg(member_id=member_id, amount=points), Leg(partner_id=partner_id, amount=-points)]
        session.add(entry)
        member.balance += points
        partner.balance -= points
        return True


class Worker:
    """One process of the crew: callers in one event loop, each with a session per operation."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        engine = create_async_engine(url, pool_size=CALLERS, max_overflow=0)
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    def __call__(self, order: Order) -> Yield:
        """Carry out an order."""
        return self._runner.run(self._slice(order))

    async def _slice(self, order: Order) -> Yield:
        drawn = random.Random(order.seed)
        latencies: list[float] = []
        end = time.perf_counter() + order.seconds

        async def caller() -> None:
            while (began := time.perf_counter()) < end:
                await accrue(
                    self._sessions,
                    member_id=drawn.randint(1, MEMBERS),
                    partner_id=1 if order.hot else drawn.randint(1, PARTNERS),
                    points=POINTS,
                    idem_key=uuid4(),
                )
                latencies.append((time.perf_counter() - began) * 1000)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return Yield(len(latencies), latencies)


async def _found(url: str) -> None:
    engine = create_async_engine(url)
    await found(engine)
    await engine.dispose()


def main() -> None:
    """Make the tables at the address given, then serve."""
    url = sys.argv[1]
    asyncio.run(_found(url))
    crew.serve(lambda: Worker(url))


if __name__ == "__main__":
    main()
