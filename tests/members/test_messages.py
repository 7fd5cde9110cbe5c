"""Messages: accepted once, sealed, sent only with consent, and proof of a notice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import actors
from kit.database import Database
from kit.secrets import Vault
from members import consents, messages
from members.enrolment import Personal
from members.messages import AddressUnknown, Letter, MessageNotPermitted, Recipient
from tests.members.people import AT, agreed, enrol

NOW = AT + timedelta(seconds=1)
LETTER = Letter("Points end", "Dear Vera Moraru, 500 points end.")
VERA = Personal(name="Vera Moraru", email="vera@example.org", phone="+373 69 000000")


async def vera(database: Database, vault: Vault) -> int:
    """An enrolled member with an address."""
    return (await enrol(database, vault, VERA)).member_id


async def accept(
    database: Database, vault: Vault, member_id: int, purpose: str = messages.EXPIRY_NOTICE, **more: object
) -> UUID:
    """A message accepted and committed; its id."""
    given = {"message_id": uuid4(), "at": AT, "now": NOW, **more}
    async with database.transaction() as connection:
        recipient = await messages.member(connection, vault, member_id)
        done = await messages.accept(connection, recipient, LETTER, purpose=purpose, **given)  # type: ignore[arg-type]
    return done.message_id


async def rows(database: Database, table: str = "message") -> int:
    """How many rows a table of messages holds."""
    return int(await database.pool.fetchval(f"SELECT count(*) FROM members.{table}"))


async def take(database: Database, *, now=NOW, limit: int = 20) -> list[messages.Taken]:
    """What a sender takes."""
    async with database.transaction() as connection:
        return await messages.take_due(connection, now=now, limit=limit)


async def test_a_message_is_accepted_once_under_its_id_however_often_it_is_asked_for(database, vault):
    member_id = await vera(database, vault)
    message_id = await accept(database, vault, member_id)
    async with database.transaction() as connection:
        recipient = await messages.member(connection, vault, member_id)
        again = await messages.accept(
            connection, recipient, Letter("Other", "words"), message_id=message_id, purpose=messages.EXPIRY_NOTICE,
            at=AT + timedelta(days=3), now=NOW,
        )  # fmt: skip
    assert again == messages.Acceptance(message_id, AT)
    assert (await rows(database), await rows(database, "message_queue")) == (1, 1)
    async with database.reading() as connection:
        words = await messages.read(connection, vault, messages.MEMBER, member_id, message_id)
    assert words is not None
    assert (words.to, words.letter) == ("vera@example.org", LETTER)


async def test_of_ten_jobs_that_accept_the_same_notice_at_once_one_message_comes(database, vault):
    member_id, message_id = await vera(database, vault), uuid4()
    await asyncio.gather(*(accept(database, vault, member_id, message_id=message_id) for _ in range(5)))
    assert (await rows(database), await rows(database, "message_queue")) == (1, 1)


async def test_address_and_words_are_nowhere_in_the_clear(database, vault):
    member_id = await vera(database, vault)
    await accept(database, vault, member_id)
    found = await database.pool.fetchrow("SELECT m::text AS row, m.sealed FROM members.message m")
    for personal in ("vera", "Vera", "69000000", "500 points", "Points end"):
        assert personal not in found["row"]
        assert personal.encode() not in found["sealed"]


async def test_with_the_member_s_key_the_words_are_destroyed_and_the_proof_stays(database, vault):
    member_id = await vera(database, vault)
    message_id = await accept(database, vault, member_id)
    [taken] = await take(database)
    await database.pool.execute("DELETE FROM members.member_key WHERE member_id = $1", member_id)
    async with database.reading() as connection:
        assert await messages.read(connection, vault, messages.MEMBER, member_id, message_id) is None
        assert await messages.words_of(connection, vault, taken) is None
        proof = await messages.proof(connection, messages.MEMBER, member_id, message_id)
    assert proof is not None
    assert (proof.purpose, proof.accepted_at, proof.outcome) == (messages.EXPIRY_NOTICE, AT, None)


async def test_a_notice_takes_the_consent_to_the_programme_and_without_it_nothing_is_written(database, vault):
    member_id = await vera(database, vault)
    async with database.transaction() as connection:
        await consents.withdraw(connection, member_id, agreed(AT))
    with pytest.raises(MessageNotPermitted):
        await accept(database, vault, member_id, at=AT)
    assert (await rows(database), await rows(database, "message_queue")) == (0, 0)
    await accept(database, vault, member_id, messages.SECURITY_NOTICE)


async def test_a_consent_that_is_withdrawn_between_acceptance_and_sending_keeps_the_message_back(database, vault):
    member_id = await vera(database, vault)
    message_id = await accept(database, vault, member_id)
    async with database.transaction() as connection:
        await consents.withdraw(connection, member_id, agreed(AT + timedelta(hours=1)))
    [taken] = await take(database)
    async with database.reading() as connection:
        before = await messages.objection(connection, taken, at=AT, now=NOW)
        after = await messages.objection(connection, taken, at=AT + timedelta(hours=2), now=NOW)
    assert (taken.message_id, before, after) == (message_id, None, messages.CONSENT_WITHDRAWN)


async def test_who_told_no_address_cannot_be_written_to(database, vault):
    nameless = (await enrol(database, vault, None)).member_id
    named = (await enrol(database, vault, Personal(name="Only A Name"))).member_id
    async with database.reading() as connection:
        for member_id in (nameless, named, 999_999):
            with pytest.raises(AddressUnknown):
                await messages.member(connection, vault, member_id)


async def test_a_member_is_found_by_either_address_in_any_spelling_and_nobody_by_another(database, vault):
    member_id = await vera(database, vault)
    async with database.reading() as connection:
        for address in ("vera@example.org", " VERA@Example.ORG", "+37369000000", "00373 69 000-000"):
            found = await messages.find_member(connection, vault, address)
            assert found is not None, address
            assert found.person_id == member_id
        for address in ("vira@example.org", "+37369000001", "", "x", "@", "\x00"):
            assert await messages.find_member(connection, vault, address) is None, address


async def test_who_left_is_not_found(database, vault):
    member_id = await vera(database, vault)
    await database.pool.execute("UPDATE members.member SET status = 'CLOSED' WHERE member_id = $1", member_id)
    async with database.reading() as connection:
        assert await messages.find_member(connection, vault, "vera@example.org") is None


async def test_of_two_senders_each_message_is_taken_by_one(database, vault):
    member_id = await vera(database, vault)
    ids = {await accept(database, vault, member_id) for _ in range(6)}
    taken = await asyncio.gather(*(take(database, limit=3) for _ in range(4)))
    found = [each.message_id for part in taken for each in part]
    assert sorted(found) == sorted(ids)
    assert await take(database) == []


async def test_a_message_whose_sender_died_is_taken_again_when_the_lease_is_over(database, vault):
    await accept(database, vault, await vera(database, vault))
    [first] = await take(database)
    assert await take(database, now=NOW + messages.LEASE - timedelta(seconds=1)) == []
    [second] = await take(database, now=NOW + messages.LEASE)
    assert (second.message_id, first.tries, second.tries) == (first.message_id, 1, 2)


async def test_pauses_grow_and_after_the_last_try_the_message_is_refused(database, vault):
    member_id = await vera(database, vault)
    message_id = await accept(database, vault, member_id)
    at, pauses = NOW, []
    for number in range(1, messages.MOST_TRIES + 1):
        [taken] = await take(database, now=at)
        assert taken.tries == number
        async with database.transaction() as connection:
            await messages.postpone(connection, taken, now=at, evidence="SMTP 451")
        due = await database.pool.fetchval("SELECT due_at FROM members.message_queue")
        if due is not None:
            pauses.append(due - at)
            at = due
    assert pauses == sorted(pauses)
    assert len(pauses) == messages.MOST_TRIES - 1
    async with database.reading() as connection:
        proof = await messages.proof(connection, messages.MEMBER, member_id, message_id)
    assert proof is not None
    assert (proof.outcome, proof.evidence) == (messages.REFUSED, "SMTP 451")


async def test_a_sender_that_dies_at_the_last_try_leaves_no_message_behind(database, vault):
    member_id = await vera(database, vault)
    message_id = await accept(database, vault, member_id)
    at = NOW
    for _ in range(messages.MOST_TRIES):
        assert len(await take(database, now=at)) == 1
        at += messages.LEASE
    assert await take(database, now=at) == []
    async with database.reading() as connection:
        proof = await messages.proof(connection, messages.MEMBER, member_id, message_id)
    assert proof is not None
    assert proof.outcome == messages.REFUSED


async def test_an_outcome_is_written_once_and_nobody_can_change_it(database, vault):
    member_id = await vera(database, vault)
    message_id = await accept(database, vault, member_id)
    [taken] = await take(database)
    async with database.transaction() as connection:
        await messages.close(connection, taken, messages.SENT, now=NOW, evidence="SMTP 250")
        await messages.close(connection, taken, messages.REFUSED, now=NOW)
    async with database.reading() as connection:
        proof = await messages.proof(connection, messages.MEMBER, member_id, message_id)
    assert proof is not None
    assert (proof.outcome, proof.evidence, proof.closed_at) == (messages.SENT, "SMTP 250", NOW)
    for change in (
        "UPDATE members.message SET accepted_at = accepted_at - interval '1 day'",
        "UPDATE members.message_outcome SET outcome = 'SENT'",
        "DELETE FROM members.message_outcome",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with database.transaction() as connection:
                await connection.execute(text(change))


async def test_a_notice_cannot_be_forgotten_and_a_code_that_is_over_is(database, vault):
    member_id = await vera(database, vault)
    await accept(database, vault, member_id)
    await accept(database, vault, member_id, messages.SIGN_IN_CODE, good_until=NOW)
    await accept(database, vault, member_id, messages.SIGN_IN_CODE, good_until=NOW + timedelta(days=2))
    async with database.transaction() as connection:
        assert await messages.forget_codes(connection, before=NOW + timedelta(days=1)) == 1
    assert await rows(database) == 2
    with pytest.raises(DBAPIError, match="proof of a notice"):
        async with database.transaction() as connection:
            await connection.execute(text("DELETE FROM members.message"))
    assert await rows(database) == 2


async def test_a_code_that_is_over_is_not_sent(database, vault):
    member_id = await vera(database, vault)
    await accept(database, vault, member_id, messages.SIGN_IN_CODE, good_until=NOW + timedelta(minutes=10))
    [taken] = await take(database)
    async with database.reading() as connection:
        assert await messages.objection(connection, taken, at=AT, now=NOW) is None
        late = await messages.objection(connection, taken, at=AT, now=NOW + timedelta(minutes=10))
    assert late == messages.TOO_LATE


async def test_what_is_written_to_nobody_is_sealed_for_ever_and_not_listed(database, vault):
    async with database.transaction() as connection:
        await messages.accept(
            connection, messages.nobody(), LETTER, message_id=uuid4(), purpose=messages.SIGN_IN_CODE, at=AT, now=NOW
        )
    [taken] = await take(database)
    async with database.reading() as connection:
        assert await messages.words_of(connection, vault, taken) is None
        assert await messages.latest(connection, 10) == []


async def test_staff_are_written_to_under_a_key_of_their_own(database, vault):
    async with database.transaction() as connection:
        anna = await actors.ensure_actor(connection, "anna", [])
        to = Recipient(messages.STAFF, anna, messages.staff_key(vault, anna), "en", email="anna@example.org")
        done = await messages.accept(
            connection, to, LETTER, message_id=uuid4(), purpose=messages.SECURITY_NOTICE, at=AT, now=NOW
        )
    async with database.reading() as connection:
        words = await messages.read(connection, vault, messages.STAFF, anna, done.message_id)
    assert words is not None
    assert (words.to, words.letter) == ("anna@example.org", LETTER)


async def test_language_and_time_zone_are_the_member_s_to_choose(database, vault):
    member_id = await vera(database, vault)
    async with database.transaction() as connection:
        await messages.set_manner(connection, member_id, language="ro", time_zone="Europe/Chisinau")
    async with database.reading() as connection:
        recipient = await messages.member(connection, vault, member_id)
        assert await messages.manner(connection, member_id) == messages.Manner("ro", "Europe/Chisinau")
    assert (recipient.language, recipient.time_zone) == ("ro", "Europe/Chisinau")


@pytest.mark.parametrize(
    ("language", "time_zone"), [("eng", None), ("E1", None), ("", None), ("en", "Mars/Base"), ("en", "../etc/passwd")]
)
async def test_a_language_or_zone_that_is_none_is_refused_and_nothing_is_written(database, vault, language, time_zone):
    member_id = await vera(database, vault)
    with pytest.raises(messages.PersonalInvalid):
        async with database.transaction() as connection:
            await messages.set_manner(connection, member_id, language=language, time_zone=time_zone)
    async with database.reading() as connection:
        assert await messages.manner(connection, member_id) == messages.Manner("en", None)


def test_a_recipient_and_words_print_nothing_personal():
    recipient = Recipient(messages.MEMBER, 1, b"k" * 32, "en", email="vera@example.org")
    words = messages.Words("vera@example.org", LETTER)
    assert "vera" not in f"{recipient!r} {words!r}"
