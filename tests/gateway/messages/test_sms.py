"""Text messages through a provider's HTTP interface: a real server in this process, and honestly none without one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from gateway.messages import sending
from gateway.messages.channels import Channel, NotTaken
from gateway.messages.sms import LONGEST_TEXT, BadSmsUrl, Sms
from kit.database import Database
from kit.secrets import Vault
from kit.settings import Settings
from members import messages
from members.messages import SMS, Letter, Words
from tests import builders
from tests.builders import NOON

WALL = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE = "+4930555111"
LETTER = Letter("Code", "Ваш код 1234 5678")


@dataclass
class Provider:
    """A provider that remembers what it was sent and answers what it is told to."""

    statuses: list[str] = field(default_factory=list)
    sent: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    port: int = 0
    is_silent: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        if not self.is_silent:
            self.sent.append(({**headers, ":path": head[0].split()[1]}, orjson.loads(body)))
            status = self.statuses.pop(0) if self.statuses else "202 Accepted"
            writer.write(
                f"HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
        else:
            await asyncio.sleep(5)
        writer.close()

    def sms(self, token: str | None = None, **more: Any) -> Sms:
        """The way to it."""
        return Sms(f"http://127.0.0.1:{self.port}/v1/messages?from=Tessera", token, **more)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


async def written(database: Database, vault: Vault) -> tuple[int, UUID]:
    """A notice to a new member who told a phone number alone; whose it is, and its id."""
    coalition = await builders.found(database, vault)
    member_id = (await coalition.add_member(name="Vera", phone=PHONE)).member_id
    async with database.transaction() as connection:
        recipient = await messages.member(connection, vault, member_id)
        assert recipient.channel == SMS
        done = await messages.accept(
            connection, recipient, LETTER, message_id=uuid4(), purpose=messages.EXPIRY_NOTICE, at=NOON, now=WALL
        )
    await coalition.desk.close()
    return member_id, done.message_id


async def send(database: Database, vault: Vault, channels: dict[str, Channel], now: datetime = WALL) -> int:
    return await sending.send_due(database, vault, channels, at=NOON, now=lambda: now, stopping=asyncio.Event())


async def outcome(database: Database, member_id: int, message_id: UUID) -> tuple[str | None, str | None]:
    async with database.reading() as connection:
        proof = await messages.proof(connection, messages.MEMBER, member_id, message_id)
    assert proof is not None
    return proof.outcome, proof.evidence


async def test_a_message_reaches_the_provider_whole_once_and_under_its_own_id(
    database: Database, vault: Vault, provider: Provider
) -> None:
    member_id, message_id = await written(database, vault)
    assert await send(database, vault, {SMS: provider.sms("s3cret")}) == 1
    assert await send(database, vault, {SMS: provider.sms("s3cret")}, WALL + timedelta(days=9)) == 0
    [(headers, content)] = provider.sent
    assert content == {"id": str(message_id), "to": PHONE, "text": LETTER.body}
    assert headers[":path"] == "/v1/messages?from=Tessera"
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["idempotency-key"] == str(message_id)
    assert await outcome(database, member_id, message_id) == (messages.SENT, "SMS 202")


async def test_a_provider_that_is_busy_or_does_not_know_us_is_asked_again_with_the_same_id(
    database: Database, vault: Vault, provider: Provider
) -> None:
    member_id, message_id = await written(database, vault)
    provider.statuses = ["503 Unavailable", "401 Unauthorized", "302 Found"]
    at = WALL
    for _ in range(4):
        await send(database, vault, {SMS: provider.sms()}, at)
        at += timedelta(days=1)
    assert {content["id"] for _, content in provider.sent} == {str(message_id)}
    assert len(provider.sent) == 4  # nobody was sent on to where the 302 led
    assert await outcome(database, member_id, message_id) == (messages.SENT, "SMS 202")


async def test_a_number_that_the_provider_refuses_is_not_tried_again(
    database: Database, vault: Vault, provider: Provider
) -> None:
    member_id, message_id = await written(database, vault)
    provider.statuses = ["422 Unprocessable"]
    for day in range(3):
        await send(database, vault, {SMS: provider.sms()}, WALL + timedelta(days=day))
    assert len(provider.sent) == 1
    assert await outcome(database, member_id, message_id) == (messages.REFUSED, "SMS 422")


async def test_without_a_provider_nothing_is_pretended(database: Database, vault: Vault) -> None:
    member_id, message_id = await written(database, vault)
    await send(database, vault, sending.channels_of(Settings(smtp_url="smtp://127.0.0.1:9")))
    assert await outcome(database, member_id, message_id) == (messages.NO_CHANNEL, None)


async def test_nobody_there_and_nobody_who_answers_are_the_providers_fault_and_not_the_messages(
    provider: Provider,
) -> None:
    words = Words(PHONE, LETTER)
    provider.is_silent = True
    for sms in (provider.sms(patience_seconds=1), Sms("http://127.0.0.1:9/")):
        with pytest.raises(NotTaken) as no:
            await sms.send(uuid4(), words, now=WALL)
        assert not no.value.is_final
        assert PHONE not in no.value.evidence


async def test_a_user_and_password_in_the_address_are_told_to_the_provider_alone(provider: Provider) -> None:
    sms = Sms(f"http://us%40er:p%3Aw@127.0.0.1:{provider.port}/")
    await sms.send(uuid4(), Words(PHONE, Letter("", "x" * 5_000)), now=WALL)
    [(headers, content)] = provider.sent
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"us@er:p:w"
    assert len(content["text"]) == LONGEST_TEXT


@pytest.mark.parametrize("url", ["", "http://sms.example.org/", "ftp://127.0.0.1/", "https://", "https://x:port/"])
def test_an_address_that_is_none_or_would_show_numbers_on_the_way_is_refused(url: str) -> None:
    with pytest.raises(BadSmsUrl, match="TESSERA_SMS_URL"):
        Sms(url)


def test_the_channels_are_those_that_are_configured() -> None:
    chosen = Settings(smtp_url="smtps://mail.example.org", sms_url="https://sms.example.org", sms_token="t")
    assert sorted(sending.channels_of(chosen)) == [messages.EMAIL, SMS]
    assert "sms.example.org" not in repr(chosen)
