"""Whoever can be told that points end is told once, in time; who cannot keeps the points."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from gateway.messages import expiry_notices
from gateway.messages.notices import Sender
from kit.database import Database
from kit.secrets import Vault
from ledger import accounts, cutoffs
from ledger import notices as ledger_notices
from members import messages
from tests.builders import DAY, NOON, found, violations

SENDER = Sender("Old Town", "UTC", "https://points.example.org")
EXPIRES = NOON + 100 * DAY


async def tell(database: Database, vault: Vault, day: int) -> int:
    return await expiry_notices.tell(
        database, vault, SENDER, at=NOON + day * DAY, now=lambda: NOON, stopping=asyncio.Event()
    )


async def accrue(database: Database, holder_id: int, points: int) -> None:
    await database.pool.execute(
        "SELECT ledger.accrue($1, 1::smallint, 1, $2, $2, $3, ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[$4::bigint], ARRAY[$3::timestamptz], ARRAY[$5::timestamptz])",
        holder_id, uuid4(), NOON, points, EXPIRES,
    )  # fmt: skip


async def test_who_can_be_told_is_told_once_and_who_cannot_keeps_the_points(database: Database, vault: Vault) -> None:
    coalition = await found(database, vault)
    async with database.transaction() as connection:
        await ledger_notices.require(connection, 30)
    told = (await coalition.add_member(name="Ada", email="ada@example.org")).member_id
    silent = (await coalition.add_member()).member_id
    for holder_id in (told, silent):
        await accrue(database, holder_id, 70)
        await accrue(database, holder_id, 30)

    assert await tell(database, vault, 60) == 0  # thirty days before, and a week: not yet
    assert await database.pool.fetchval("SELECT count(*) FROM members.message") == 0
    assert await tell(database, vault, 64) == 1
    assert await tell(database, vault, 65) == 0

    rows = await database.pool.fetch("SELECT holder_id, seq, noticed_at FROM ledger.expiry_notice ORDER BY seq")
    assert [tuple(row) for row in rows] == [(told, 1, NOON + 64 * DAY), (told, 2, NOON + 64 * DAY)]
    [sent] = await database.pool.fetch("SELECT message_id, purpose FROM members.message")
    async with database.reading() as connection:
        words = await messages.read(connection, vault, messages.MEMBER, told, sent["message_id"])
    assert sent["purpose"] == messages.EXPIRY_NOTICE
    assert words is not None
    assert "100 points" in words.letter.body

    await cutoffs.close(database, at=EXPIRES + DAY)
    async with database.reading() as connection:
        balances = [await accounts.balance(connection, holder_id, at=EXPIRES + DAY) for holder_id in (told, silent)]
    assert [balance and balance.available for balance in balances] == [0, 100]
    await coalition.desk.close()
    assert await violations(database.pool) == []
