"""Members are told a month, a week and a day before points end, once each, and not every day again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

from gateway.messages import expiry_reminders
from gateway.messages.notices import Sender
from kit.database import Database
from kit.secrets import Vault
from members import messages
from tests.builders import DAY, NOON, found

SENDER = Sender("Old Town", "UTC", "https://points.example.org")
EXPIRES = NOON + 100 * DAY


async def remind(database: Database, vault: Vault, day: float) -> int:
    return await expiry_reminders.remind(
        database, vault, SENDER, at=NOON + timedelta(days=day), now=lambda: NOON, stopping=asyncio.Event()
    )


async def accrue(database: Database, holder_id: int, points: int, day: int, activates: int = 0) -> None:
    await database.pool.execute(
        "SELECT ledger.accrue($1, 1::smallint, 1, $2, $2, $3, ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[$4::bigint], ARRAY[$5::timestamptz], ARRAY[$6::timestamptz])",
        holder_id, uuid4(), NOON, points, NOON + activates * DAY, NOON + day * DAY,
    )  # fmt: skip


async def bodies(database: Database, vault: Vault, member_id: int) -> list[str]:
    """What was written to a member, in order."""
    rows = await database.pool.fetch("SELECT message_id FROM members.message ORDER BY accepted_at")
    async with database.reading() as connection:
        words = [await messages.read(connection, vault, messages.MEMBER, member_id, row["message_id"]) for row in rows]
    return [each.letter.body for each in words if each is not None]


async def test_who_has_points_that_end_is_told_a_month_a_week_and_a_day_before(
    database: Database, vault: Vault
) -> None:
    coalition = await found(database, vault)
    told = (await coalition.add_member(name="Ada", email="ada@example.org")).member_id
    silent = (await coalition.add_member()).member_id
    for holder_id in (told, silent):
        await accrue(database, holder_id, 70, day=100)
        await accrue(database, holder_id, 5, day=95, activates=90)  # pending until then
    when = [day / 4 for day in range(4 * 65, 4 * 101) if await remind(database, vault, day / 4)]
    # At least 30, 7 and 1 days before, by not more than the six hours between two looks; of what is not activated yet
    # as soon as it is, and then of day 100 with it, for that is within the three days more.
    assert when == [69.75, 90, 93.75, 98.75]
    month, week, *_ = await bodies(database, vault, told)
    assert "10 June 2026" in month
    assert ": 70 points" in month
    assert ": 5 points" not in month
    assert ": 5 points" in week
    assert ": 70 points" in week
    assert "https://points.example.org/app/places" in week
    await coalition.desk.close()


async def test_somebody_who_buys_every_day_is_not_written_to_every_day(database: Database, vault: Vault) -> None:
    coalition = await found(database, vault)
    ada = (await coalition.add_member(name="Ada", email="ada@example.org")).member_id
    for day in range(100, 120):
        await accrue(database, ada, 10, day=day)
    at_once = await asyncio.gather(*[remind(database, vault, 70) for _ in range(4)])
    assert sorted(at_once) == [0, 0, 0, 1]
    letters = sum([await remind(database, vault, day) for day in range(71, 100)])
    assert letters <= 5  # of 30 days that hold twenty instants at which points end
    first, *_ = await bodies(database, vault, ada)
    assert first.count("10 points") == 15  # what ends within the month and a fortnight
    # Whoever was told of a day before is not told of the same a month before.
    ben = (await coalition.add_member(name="Ben", email="ben@example.org")).member_id
    await accrue(database, ben, 3, day=130)
    assert await remind(database, vault, 129.5) == 1
    assert [await remind(database, vault, 129.5 + step / 8) for step in range(1, 4)] == [0, 0, 0]
    await coalition.desk.close()
