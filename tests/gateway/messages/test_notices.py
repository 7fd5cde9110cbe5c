"""Notices: once for what they say, with proof."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.messages import notices
from gateway.messages.notices import Sender
from kit.database import Database
from kit.secrets import Vault
from members import consents, messages
from members.consents import ConsentGiven
from members.messages import MessageNotPermitted
from tests import builders
from tests.builders import DAY, NOON

SENDER = Sender("Old Town", "Europe/Chisinau", "https://points.example.org")


async def member(database: Database, vault: Vault) -> int:
    """Somebody with an address."""
    coalition = await builders.found(database, vault)
    return (await coalition.add_member(name="Ada", email="ada@example.org")).member_id


async def test_a_notice_of_the_same_points_and_instant_is_one_and_keeps_its_first_date(database, vault):
    member_id = await member(database, vault)
    proofs = []
    for at in (NOON, NOON + DAY):
        async with database.transaction() as connection:
            proofs.append(
                await notices.expiry(
                    connection, vault, SENDER, member_id, points=500, expires_at=NOON + 30 * DAY, at=at, now=NOON
                )
            )
    assert proofs[0] == proofs[1]
    assert proofs[0].accepted_at == NOON
    async with database.transaction() as connection:
        more = await notices.expiry(
            connection, vault, SENDER, member_id, points=600, expires_at=NOON + 30 * DAY, at=NOON + DAY, now=NOON
        )
    assert more.message_id != proofs[0].message_id
    async with database.reading() as connection:
        kept = await messages.proof(connection, messages.MEMBER, member_id, more.message_id)
        words = await messages.read(connection, vault, messages.MEMBER, member_id, more.message_id)
    assert kept is not None
    assert (kept.purpose, kept.accepted_at) == (messages.EXPIRY_NOTICE, NOON + DAY)
    assert words is not None
    assert "600 points" in words.letter.body
    assert "14:00" not in words.letter.body  # summer time in Chisinau from the end of March
    assert "1 April 2026, 15:00" in words.letter.body


async def test_a_member_s_own_time_zone_goes_before_the_programme_s(database, vault):
    member_id = await member(database, vault)
    async with database.transaction() as connection:
        await messages.set_manner(connection, member_id, language="ro", time_zone="Asia/Tokyo")
        done = await notices.renewal(
            connection, vault, SENDER, member_id, plan="Plus", amount_minor=9_900, currency="EUR",
            renews_at=NOON, at=NOON, now=NOON,
        )  # fmt: skip
    async with database.reading() as connection:
        words = await messages.read(connection, vault, messages.MEMBER, member_id, done.message_id)
    assert words is not None
    assert "2 martie 2026, 21:00" in words.letter.body


async def test_without_consent_there_is_no_notice_and_nothing_is_written(database, vault):
    member_id = await member(database, vault)
    async with database.transaction() as connection:
        await consents.withdraw(connection, member_id, ConsentGiven("PROGRAMME", "1", NOON + timedelta(seconds=1)))
    with pytest.raises(MessageNotPermitted):
        async with database.transaction() as connection:
            await notices.expiry(
                connection, vault, SENDER, member_id, points=500, expires_at=NOON + DAY, at=NOON + DAY, now=NOON
            )
    assert await database.pool.fetchval("SELECT count(*) FROM members.message") == 0
