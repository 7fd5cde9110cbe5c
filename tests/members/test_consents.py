from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from kit.database import Database
from kit.secrets import Vault
from members import cards, consents
from members.consents import ConsentGiven
from tests.members.people import AT, BAKERY, PHARMACY, agreed, enrol, everything_written

DAY = timedelta(days=1)
SMS = "ADVERTISING_SMS"
TRANSFER = "PARTNER_TRANSFER"


async def granted_at(database: Database, member_id: int, at: datetime) -> set[tuple[str, int]]:
    async with database.reading() as connection:
        state = await consents.state_at(connection, member_id, at)
    return {(consent.purpose, consent.partner_id) for consent in state if consent.granted}


async def test_what_held_is_known_for_any_past_moment(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id
    async with database.transaction() as connection:
        await consents.grant(connection, member_id, agreed(AT + DAY, SMS))
        await consents.grant(connection, member_id, agreed(AT + 2 * DAY, TRANSFER, BAKERY))
        await consents.grant(connection, member_id, agreed(AT + 2 * DAY, TRANSFER, PHARMACY))
        await consents.withdraw(connection, member_id, agreed(AT + 3 * DAY, TRANSFER, BAKERY))
        await consents.withdraw(connection, member_id, agreed(AT + 4 * DAY, SMS))
        await consents.grant(connection, member_id, agreed(AT + 5 * DAY, SMS))
    programme = ("PROGRAMME", 0)
    at_bakery, at_pharmacy = (TRANSFER, BAKERY), (TRANSFER, PHARMACY)
    expected = [
        (AT - DAY, set()),
        (AT, {programme}),
        (AT + DAY, {programme, (SMS, 0)}),
        (AT + 2 * DAY, {programme, (SMS, 0), at_bakery, at_pharmacy}),
        (AT + 3 * DAY, {programme, (SMS, 0), at_pharmacy}),
        (AT + 4 * DAY, {programme, at_pharmacy}),
        (AT + 5 * DAY, {programme, (SMS, 0), at_pharmacy}),
    ]
    for at, held in expected:
        assert await granted_at(database, member_id, at) == held
        assert (
            await granted_at(database, member_id, at + DAY - timedelta(microseconds=1)) == held or at == expected[-1][0]
        )


async def test_a_yes_that_arrives_late_does_not_undo_a_later_no(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id
    async with database.transaction() as connection:
        await consents.withdraw(connection, member_id, agreed(AT + 2 * DAY, SMS))
        await consents.grant(connection, member_id, agreed(AT + DAY, SMS))
        assert await consents.is_granted(connection, member_id, SMS, AT + DAY)
        assert not await consents.is_granted(connection, member_id, SMS, AT + 2 * DAY)


async def test_of_two_at_one_moment_the_later_said_holds(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id
    async with database.transaction() as connection:
        await consents.grant(connection, member_id, agreed(AT, SMS))
        await consents.withdraw(connection, member_id, agreed(AT, SMS))
        assert not await consents.is_granted(connection, member_id, SMS, AT)


async def test_the_words_agreed_to_are_kept(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id
    async with database.reading() as connection:
        [consent] = await consents.state_at(connection, member_id, AT)
    assert consent == consents.Consent("PROGRAMME", 0, True, "2026-01", "TILL", AT)


async def test_many_at_once_are_all_kept_in_one_order(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id

    async def say() -> None:
        async with database.transaction() as connection:
            await consents.grant(connection, member_id, agreed(AT, SMS))

    await asyncio.gather(*(say() for _ in range(12)))
    async with database.reading() as connection:
        seqs = await connection.execute(text("SELECT seq FROM members.consent ORDER BY seq"))
    assert list(seqs.scalars()) == list(range(1, 14))


@pytest.mark.parametrize(
    ("given_", "fields"),
    [
        (ConsentGiven("WHATEVER", "1", AT), ["purpose"]),
        (ConsentGiven("SMS\x00", "", AT), ["purpose", "textVersion"]),
        (ConsentGiven(SMS, "x" * 65, AT, 0, ""), ["textVersion", "channel"]),
    ],
)
async def test_what_is_no_consent_is_refused_and_not_written(
    database: Database, vault: Vault, given_: ConsentGiven, fields: list[str]
) -> None:
    member_id = (await enrol(database, vault)).member_id
    before = await everything_written(database)
    with pytest.raises(consents.ConsentInvalid) as raised:
        async with database.transaction() as connection:
            await consents.grant(connection, member_id, given_)
    assert [problem.path[-1] for problem in raised.value.problems] == fields
    assert await everything_written(database) == before


async def test_nobody_cannot_agree(database: Database) -> None:
    with pytest.raises(cards.MemberUnknown):
        async with database.transaction() as connection:
            await consents.grant(connection, 1, agreed(AT, SMS))


@pytest.mark.parametrize("statement", ["UPDATE members.consent SET granted = false", "DELETE FROM members.consent"])
async def test_the_application_cannot_rewrite_what_was_said(database: Database, vault: Vault, statement: str) -> None:
    await enrol(database, vault)
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with database.transaction() as connection:
            await connection.execute(text(statement))
