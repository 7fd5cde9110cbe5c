"""Sending: takes accepted messages to the channels that are configured, each as often as it needs and with one id.

Delivery is at least once: who dies between the channel's "taken" and our note of it sends again, under the same
Message-ID, by which the receiving side knows it. Without a channel nothing is pretended: a message is closed as
NO_CHANNEL and lies in the mailbox. No address and no word of a message is ever logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib
import structlog

from gateway.messages.channels import LOOPBACK, PATIENCE_SECONDS, Channel, NotTaken
from gateway.messages.sms import Sms
from kit import clock, console
from kit.database import Database
from kit.secrets import Vault, load_master_key
from kit.settings import Settings, settings
from members import messages
from members.messages import EMAIL, SMS, Taken, Words

FAREWELL_SECONDS = 5

log = structlog.get_logger("gateway.sending")


class BadSmtpUrl(ValueError):  # noqa: N818 - it is what it says
    """An address of a mail server that is none; the sentence says what to do."""


class Email:
    """E-mail through one server: TLS from the start (smtps) or by STARTTLS (smtp); in clear on this machine alone.

    Raises BadSmtpUrl.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or (port is None and ":" in parts.netloc[-6:]):
            raise BadSmtpUrl("TESSERA_SMTP_URL is not an address such as smtps://user:password@mail.example.org")
        self._is_tls = parts.scheme == "smtps"
        self._host = parts.hostname
        self._port = port or (465 if self._is_tls else 587)
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._sender = sender

    async def send(self, message_id: UUID, words: Words, *, now: datetime) -> str:
        """Hand a letter to the server; returns its reply code. Raises NotTaken."""
        try:
            letter = _letter(message_id, words, self._sender, now)
        except (ValueError, IndexError, MessageError):  # an address that no header can carry
            raise NotTaken("unwritable", is_final=True) from None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await aiosmtplib.send(
                    letter,
                    sender=self._sender,
                    recipients=[words.to],
                    hostname=self._host,
                    port=self._port,
                    username=self._user,
                    password=self._password,
                    use_tls=self._is_tls,
                    start_tls=not self._is_tls and self._host not in LOOPBACK,
                    timeout=PATIENCE_SECONDS,
                )
        except aiosmtplib.SMTPRecipientsRefused as no:
            evidence, is_final = _verdict(no.recipients[0].code)
            raise NotTaken(evidence, is_final=is_final) from None
        except aiosmtplib.SMTPResponseException as no:
            # Of a wrong password or sender the operator has to hear, and repair it: the message is not to blame.
            is_ours = isinstance(no, aiosmtplib.SMTPAuthenticationError | aiosmtplib.SMTPSenderRefused)
            evidence, is_final = _verdict(no.code)
            raise NotTaken(evidence, is_final=is_final and not is_ours) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as away:
            raise NotTaken(type(away).__name__, is_final=False) from None
        return "SMTP 250"


def channels_of(settings: Settings) -> dict[str, Channel]:
    """The channels that are configured, by name. Raises BadSmtpUrl, BadSmsUrl."""
    found: dict[str, Channel] = {}
    if url := settings.smtp_url.get_secret_value() if settings.smtp_url else "":
        found[EMAIL] = Email(url, settings.mail_from)
    if url := settings.sms_url.get_secret_value() if settings.sms_url else "":
        found[SMS] = Sms(url, settings.sms_token.get_secret_value() if settings.sms_token else None)
    return found


async def send_due(
    database: Database,
    vault: Vault,
    channels: Mapping[str, Channel],
    *,
    at: datetime,
    now: Callable[[], datetime],
    stopping: asyncio.Event,
) -> int:
    """Send what is due; how many messages were handled. at is the business instant that consents are looked at."""
    handled = 0
    while not stopping.is_set():
        async with database.transaction() as connection:
            taken = await messages.take_due(connection, now=now())
        if not taken:
            break
        for each in taken:
            if stopping.is_set():
                break  # the others are taken again when their lease is over
            await _handle(database, vault, channels.get(each.channel), each, at=at, now=now)
            handled += 1
    return handled


async def send_messages(database: Database, at: datetime, stopping: asyncio.Event) -> int:
    """The worker's job: send what is due with this process's settings; how many messages were handled."""
    async with database.reading() as connection:
        if not await messages.any_due(connection, now=clock.wall()):
            return 0
    chosen = settings()
    vault = Vault(load_master_key(chosen))
    return await send_due(database, vault, channels_of(chosen), at=at, now=clock.wall, stopping=stopping)


class Post:
    """Sends within a process what was just accepted in it, so that a one-time code does not wait for the worker.

    What it does not get done, the worker does: both take messages one by one under a lease.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        settings: Settings,
        channels: Mapping[str, Channel],
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._channels = channels
        self._now = now
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Say that a message was committed. Returns at once: who asked must not be able to tell what is sent."""
        self._woken.set()

    async def run(self) -> None:
        """Send whenever woken, until told to stop."""
        while not self._stopping.is_set():
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.send()
            except Exception:  # the worker tries again; whatever it was must not end this
                log.exception("sending failed")

    def stop(self) -> None:
        """Finish the message in hand and take no other."""
        self._stopping.set()
        self._woken.set()

    async def send(self) -> int:
        """Send what is due now; how many messages were handled."""
        async with self._database.reading() as connection:
            at = await console.business_instant(connection, self._settings)
        return await send_due(
            self._database, self._vault, self._channels, at=at, now=self._now, stopping=self._stopping
        )


@asynccontextmanager
async def posting(
    database: Database, vault: Vault, settings: Settings, now: Callable[[], datetime]
) -> AsyncIterator[Post]:
    """The post of a process, at work for the time of the block. Raises BadSmtpUrl."""
    post = Post(database, vault, settings, channels_of(settings), now)
    at_work = asyncio.create_task(post.run())
    try:
        yield post
    finally:
        post.stop()
        # Told, not only cancelled: waiting for a reply can swallow a cancellation that comes together with it.
        await asyncio.wait({at_work}, timeout=FAREWELL_SECONDS)
        at_work.cancel()
        await asyncio.wait({at_work}, timeout=FAREWELL_SECONDS)


async def _handle(
    database: Database,
    vault: Vault,
    channel: Channel | None,
    taken: Taken,
    *,
    at: datetime,
    now: Callable[[], datetime],
) -> None:
    async with database.transaction() as connection:
        outcome = await messages.objection(connection, taken, at=at, now=now())
        words = await messages.words_of(connection, vault, taken) if outcome is None else None
        if outcome is None and (words is None or channel is None):
            outcome = messages.ERASED if words is None else messages.NO_CHANNEL
        if outcome is not None:
            await messages.close(connection, taken, outcome, now=now())
    if outcome is not None or words is None or channel is None:
        return
    try:
        evidence = await channel.send(taken.message_id, words, now=now())
    except NotTaken as no:
        await _note_refusal(database, taken, no, now())
        return
    async with database.transaction() as connection:
        await messages.close(connection, taken, messages.SENT, now=now(), evidence=evidence)


async def _note_refusal(database: Database, taken: Taken, no: NotTaken, now: datetime) -> None:
    log.warning("message not taken", message=str(taken.message_id), tries=taken.tries, evidence=no.evidence)
    async with database.transaction() as connection:
        if no.is_final:
            await messages.close(connection, taken, messages.REFUSED, now=now, evidence=no.evidence)
        else:
            await messages.postpone(connection, taken, now=now, evidence=no.evidence)


def _verdict(code: int) -> tuple[str, bool]:
    return f"SMTP {code}", 500 <= code < 600


def _letter(message_id: UUID, words: Words, sender: str, now: datetime) -> EmailMessage:
    # What reads as several addresses, or as another one, must not reach a mailbox that nobody meant.
    if parseaddr(words.to) != ("", words.to):
        raise ValueError("not one plain address")
    letter = EmailMessage()
    letter["From"] = sender
    letter["To"] = words.to
    letter["Subject"] = words.letter.subject
    letter["Date"] = format_datetime(now)
    letter["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(words.letter.body)
    return letter
