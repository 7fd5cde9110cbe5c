"""Sending through a real mail server in this process, and honestly not sending without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.messages import sending
from gateway.messages.channels import PATIENCE_SECONDS, Channel, NotTaken
from gateway.messages.sending import BadSmtpUrl, Email
from kit import clock
from kit.database import Database
from kit.secrets import Vault
from kit.settings import Settings, settings
from members import consents, messages
from members.consents import ConsentGiven
from members.messages import Letter
from tests import builders
from tests.builders import NOON

WALL = datetime(2026, 3, 2, 12, tzinfo=UTC)
LETTER = Letter("Баллы заканчиваются", "Вера, 500 баллов сгорят.\n.\nКонец")


@dataclass
class Inbox:
    """A mail server that remembers what it took and says what it is told to say."""

    answers: list[str] = field(default_factory=list)
    recipient_answers: list[str] = field(default_factory=list)
    taken: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        answer = self.recipient_answers.pop(0) if self.recipient_answers else "250 OK"
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer.startswith("2"):
            letter = message_from_bytes(envelope.original_content or b"", policy=policy.default)
            assert isinstance(letter, EmailMessage)
            self.taken.append((envelope.rcpt_tos, letter))
        return answer

    @property
    def channels(self) -> dict[str, Channel]:
        """The way to it."""
        return {messages.EMAIL: Email(f"smtp://127.0.0.1:{self.port}", "points@example.org")}


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    """A real SMTP server on this machine."""
    box = Inbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop, hostname="mail.test"), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    yield box
    server.close()
    await server.wait_closed()


async def written(
    database: Database, vault: Vault, *, email: str = "vera@example.org", **more: Any
) -> tuple[int, UUID]:
    """A notice to a new member; whose it is, and its id."""
    coalition = await builders.found(database, vault)
    member_id = (await coalition.add_member(name="Vera", email=email)).member_id
    async with database.transaction() as connection:
        recipient = await messages.member(connection, vault, member_id)
        done = await messages.accept(
            connection, recipient, LETTER,
            **{"message_id": uuid4(), "purpose": messages.EXPIRY_NOTICE, "at": NOON, "now": WALL, **more},
        )  # fmt: skip
    return member_id, done.message_id


async def send(
    database: Database, vault: Vault, channels: dict[str, Channel], now: datetime = WALL, at: datetime = NOON
) -> int:
    """What a waking of the sender does."""
    return await sending.send_due(database, vault, channels, at=at, now=lambda: now, stopping=asyncio.Event())


async def outcome(database: Database, member_id: int, message_id: UUID) -> tuple[str | None, str | None]:
    """What became of it, with the evidence."""
    async with database.reading() as connection:
        proof = await messages.proof(connection, messages.MEMBER, member_id, message_id)
    assert proof is not None
    return proof.outcome, proof.evidence


async def test_a_letter_reaches_the_mail_server_whole_once_and_under_its_own_id(database, vault, inbox):
    member_id, message_id = await written(database, vault)
    assert await send(database, vault, inbox.channels) == 1
    assert await send(database, vault, inbox.channels, WALL + timedelta(days=9)) == 0
    [(recipients, letter)] = inbox.taken
    assert recipients == ["vera@example.org"]
    assert (letter["Subject"], letter["To"], letter["From"]) == (
        LETTER.subject, "vera@example.org", "points@example.org",
    )  # fmt: skip
    assert letter.get_content().splitlines() == LETTER.body.splitlines()
    assert letter["Message-ID"] == f"<{message_id}@example.org>"
    assert await outcome(database, member_id, message_id) == (messages.SENT, "SMTP 250")


async def test_many_senders_at_once_send_each_letter_once(database, vault, inbox):
    coalition = await builders.found(database, vault)
    for number in range(12):
        member_id = (await coalition.add_member(email=f"m{number}@example.org")).member_id
        async with database.transaction() as connection:
            recipient = await messages.member(connection, vault, member_id)
            await messages.accept(
                connection, recipient, LETTER, message_id=uuid4(), purpose=messages.EXPIRY_NOTICE, at=NOON, now=WALL
            )
    await asyncio.gather(*(send(database, vault, inbox.channels) for _ in range(4)))
    assert sorted(recipients[0] for recipients, _ in inbox.taken) == sorted(f"m{n}@example.org" for n in range(12))


async def test_a_server_that_says_later_is_asked_again_later_with_the_same_id(database, vault, inbox):
    member_id, message_id = await written(database, vault)
    inbox.answers = ["451 try later"]
    await send(database, vault, inbox.channels)
    assert await outcome(database, member_id, message_id) == (None, None)
    assert await send(database, vault, inbox.channels, WALL + timedelta(seconds=59)) == 0
    assert await send(database, vault, inbox.channels, WALL + timedelta(seconds=60)) == 1
    assert [letter["Message-ID"] for _, letter in inbox.taken] == [f"<{message_id}@example.org>"]
    assert await outcome(database, member_id, message_id) == (messages.SENT, "SMTP 250")


async def test_an_address_that_the_server_refuses_is_not_tried_again(database, vault, inbox):
    member_id, message_id = await written(database, vault)
    inbox.recipient_answers = ["550 no such mailbox vera@example.org"]
    await send(database, vault, inbox.channels)
    assert await outcome(database, member_id, message_id) == (messages.REFUSED, "SMTP 550")
    assert await send(database, vault, inbox.channels, WALL + timedelta(days=9)) == 0


async def test_a_sender_that_dies_after_the_server_took_the_letter_sends_it_again_under_the_same_id(
    database, vault, inbox, monkeypatch
):
    member_id, message_id = await written(database, vault)

    async def die(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(messages, "close", die)
        with pytest.raises(asyncio.CancelledError):
            await send(database, vault, inbox.channels)
    await send(database, vault, inbox.channels, WALL + messages.LEASE)
    assert [letter["Message-ID"] for _, letter in inbox.taken] == [f"<{message_id}@example.org>"] * 2
    assert await outcome(database, member_id, message_id) == (messages.SENT, "SMTP 250")


async def test_nobody_listening_is_no_reason_to_give_up(database, vault):
    member_id, message_id = await written(database, vault)
    await send(database, vault, {messages.EMAIL: Email("smtp://127.0.0.1:1", "points@example.org")})
    assert await outcome(database, member_id, message_id) == (None, None)


async def test_to_another_machine_nothing_is_sent_in_the_clear(inbox, monkeypatch):
    monkeypatch.setattr(sending, "LOOPBACK", ())  # as if the server, which offers no TLS, were elsewhere
    channel = Email(f"smtp://127.0.0.1:{inbox.port}", "points@example.org")
    with pytest.raises(NotTaken) as no:
        await channel.send(uuid4(), messages.Words("vera@example.org", LETTER), now=WALL)
    assert not no.value.is_final
    assert inbox.taken == []


async def test_an_address_with_a_comma_in_it_reaches_nobody_else(database, vault, inbox):
    member_id, message_id = await written(database, vault, email="boss,vera@example.org")
    await send(database, vault, inbox.channels)
    assert inbox.taken == []
    assert await outcome(database, member_id, message_id) == (messages.REFUSED, "unwritable")


async def test_without_a_channel_the_letter_is_not_sent_and_says_so(database, vault):
    member_id, message_id = await written(database, vault)
    assert await send(database, vault, {}) == 1
    assert await outcome(database, member_id, message_id) == (messages.NO_CHANNEL, None)


async def test_a_consent_withdrawn_in_between_is_heard(database, vault, inbox):
    member_id, message_id = await written(database, vault)
    later = NOON + timedelta(hours=1)
    async with database.transaction() as connection:
        await consents.withdraw(connection, member_id, ConsentGiven("PROGRAMME", "1", later))
    await send(database, vault, inbox.channels, at=later)
    assert inbox.taken == []
    assert await outcome(database, member_id, message_id) == (messages.CONSENT_WITHDRAWN, None)


async def test_what_was_erased_in_between_is_not_sent(database, vault, inbox):
    member_id, message_id = await written(database, vault)
    await database.pool.execute("DELETE FROM members.member_key WHERE member_id = $1", member_id)
    await send(database, vault, inbox.channels)
    assert inbox.taken == []
    assert await outcome(database, member_id, message_id) == (messages.ERASED, None)


async def test_nothing_personal_is_logged_whatever_the_server_says(database, vault, inbox):
    with structlog.testing.capture_logs() as lines:
        await written(database, vault)
        inbox.answers = ["451 vera@example.org is greylisted"]
        await send(database, vault, inbox.channels)
        inbox.recipient_answers = ["550 vera@example.org is unknown"]
        await send(database, vault, inbox.channels, WALL + timedelta(minutes=2))
    assert len(lines) == 2
    assert "vera" not in str(lines).lower()
    assert "500" not in str([line for line in lines if line.get("evidence") is None])


async def test_the_worker_s_job_sends_with_the_settings_of_its_process(database, vault, inbox, monkeypatch):
    member_id, message_id = await written(database, vault)
    monkeypatch.setenv("TESSERA_SMTP_URL", f"smtp://127.0.0.1:{inbox.port}")
    monkeypatch.setenv("TESSERA_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    settings.cache_clear()
    try:
        assert clock.wall() > WALL
        assert await sending.send_messages(database, NOON, asyncio.Event()) == 1
        assert await sending.send_messages(database, NOON, asyncio.Event()) == 0
    finally:
        settings.cache_clear()
    assert await outcome(database, member_id, message_id) == (messages.SENT, "SMTP 250")


async def test_a_failure_in_sending_does_not_end_the_post(database, vault, inbox, monkeypatch):
    await written(database, vault)
    chosen = Settings(smtp_url=f"smtp://127.0.0.1:{inbox.port}", clock="sandbox")  # type: ignore[arg-type]
    failed = asyncio.Event()

    async def fail(*_: object, **__: object) -> int:
        failed.set()
        raise OSError("away")

    async with sending.posting(database, vault, chosen, lambda: WALL) as post:
        with monkeypatch.context() as patched:
            patched.setattr(sending, "send_due", fail)
            post.wake()
            await asyncio.wait_for(failed.wait(), 20)
        post.wake()
        async with asyncio.timeout(20):
            while not inbox.taken:
                await asyncio.sleep(0.01)


async def test_a_post_that_is_told_to_stop_finishes_the_letter_in_hand_and_takes_no_other(database, vault, inbox):
    member_id, first = await written(database, vault)
    async with database.transaction() as connection:
        recipient = await messages.member(connection, vault, member_id)
        await messages.accept(
            connection, recipient, LETTER, message_id=uuid4(), purpose=messages.EXPIRY_NOTICE, at=NOON,
            now=WALL + timedelta(seconds=1),
        )  # fmt: skip
    stopping = asyncio.Event()

    class Stops(Email):
        async def send(self, *given: Any, **more: Any) -> str:
            stopping.set()
            return await super().send(*given, **more)

    channels = {messages.EMAIL: Stops(f"smtp://127.0.0.1:{inbox.port}", "points@example.org")}
    later = WALL + timedelta(seconds=2)
    assert await sending.send_due(database, vault, channels, at=NOON, now=lambda: later, stopping=stopping) == 1
    assert await outcome(database, member_id, first) == (messages.SENT, "SMTP 250")
    assert await database.pool.fetchval("SELECT count(*) FROM members.message_queue") == 1


@pytest.mark.parametrize(
    "url",
    ["mail.example.org", "http://mail.example.org", "smtp://", "smtp://host:port", "smtps:///path", "smtp://h:99999"],
)
def test_an_address_that_is_no_mail_server_s_is_refused_at_once(url):
    with pytest.raises(BadSmtpUrl):
        Email(url, "points@example.org")


def test_the_password_in_the_address_is_shown_by_nothing():
    chosen = Settings(smtp_url="smtps://points:p%40ss@mail.example.org")  # type: ignore[arg-type]
    assert "ss@mail" not in repr(chosen)
    assert list(sending.channels_of(chosen)) == [messages.EMAIL]
    assert sending.channels_of(Settings()) == {}


async def test_a_server_that_never_answers_holds_a_letter_no_longer_than_its_lease(monkeypatch):
    assert messages.LEASE.total_seconds() > messages.MOST_TAKEN * PATIENCE_SECONDS
    monkeypatch.setattr(sending, "PATIENCE_SECONDS", 0.05)
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(0), "127.0.0.1", 0)
    channel = Email(f"smtp://127.0.0.1:{silent.sockets[0].getsockname()[1]}", "points@example.org")
    with pytest.raises(NotTaken) as no:
        await channel.send(uuid4(), messages.Words("vera@example.org", LETTER), now=WALL)
    assert not no.value.is_final
    silent.close()
