"""Guesses: how often somebody may be wrong before even the right answer is not given.

Wrong ones are counted in the database, for all processes together. A request that is right writes nothing: for cards it
asks a snapshot that is at most a second old, for rotating codes the row that it reads anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import audit, clock
from kit.database import Database
from kit.errors import Rejection
from members import guess_store

TERMINAL = "TERMINAL"
CLIENT = "CLIENT"
CODE = "CODE"
TERMINAL_PHONE = "TERMINAL_PHONE"
CLIENT_PHONE = "CLIENT_PHONE"

UNKNOWN_CARDS = 10
UNKNOWN_PHONES = 30
CARD_WINDOW = timedelta(hours=1)
WRONG_CODES = 5
CODE_WINDOW = timedelta(minutes=10)
FRESH_SECONDS = 1.0

GUESSER = "members.guesses"


class RateLimited(Rejection):
    """Too many card or phone numbers of nobody came from one terminal; for a while it is told nothing of any."""

    code = "RATE_LIMITED"
    retryable = True

    def __init__(self) -> None:
        super().__init__("too many unknown numbers from here; try again later")


class Guesser(Struct, frozen=True):
    """Where numbers come from: a terminal, or a client that names none."""

    kind: str
    subject: int


def guesser(terminal_id: int | None, client_no: int) -> Guesser:
    """Who is held to account for a card number that does not exist."""
    return Guesser(CLIENT, client_no) if terminal_id is None else Guesser(TERMINAL, terminal_id)


def phone_guesser(terminal_id: int | None, client_no: int) -> Guesser:
    """Who is held to account for a phone number that is nobody's.

    Counted apart from cards, and more of them: whoever is asked at a till for a number may well be no member.
    """
    return Guesser(CLIENT_PHONE, client_no) if terminal_id is None else Guesser(TERMINAL_PHONE, terminal_id)


_MOST = {TERMINAL: UNKNOWN_CARDS, CLIENT: UNKNOWN_CARDS, TERMINAL_PHONE: UNKNOWN_PHONES, CLIENT_PHONE: UNKNOWN_PHONES}


class CardGuesses:
    """One process's sight of who has no guess left. now is the wall's instant."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime] = clock.wall,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._now = now
        self._monotonic = monotonic
        self._over: dict[Guesser, datetime] = {}
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    async def is_over(self, asking: Guesser) -> bool:
        """Whether it has no guess left: then nobody may tell it whether any card exists."""
        if self._looked_at is None or self._monotonic() - self._looked_at >= FRESH_SECONDS:
            await self._look()
        began = self._over.get(asking)
        return began is not None and began > self._now() - CARD_WINDOW

    async def check(self, asking: Guesser) -> None:
        """Nothing while there are guesses left. Rejects RATE_LIMITED."""
        if await self.is_over(asking):
            raise RateLimited

    async def count(self, asking: Guesser, guesses: int = 1) -> int:
        """Count numbers that do not exist; how many guesses were left before them. Committed by itself, so that the
        count stays though the call that it was for is refused. The last one is written to the audit trail."""
        now, most = self._now(), _MOST[asking.kind]
        async with self._database.transaction() as connection:
            wrong = await guess_store.count(
                connection, asking.kind, asking.subject, guesses, now=now, since=now - CARD_WINDOW
            )
            if wrong - guesses < most <= wrong:
                kind, _, of = asking.kind.lower().partition("_")
                action = "PHONE_NUMBERS_GUESSED" if of else "CARD_NUMBERS_GUESSED"
                await _alert(connection, action, f"{kind}:{asking.subject}", now)
        if wrong >= most:
            self._over.setdefault(asking, now)
        return max(most - (wrong - guesses), 0)

    async def _look(self) -> None:
        async with self._looking:
            asked_at = self._monotonic()
            if self._looked_at is not None and asked_at - self._looked_at < FRESH_SECONDS:
                return  # somebody looked while this one waited
            async with self._database.reading() as connection:
                since = self._now() - CARD_WINDOW
                rows = [
                    *await guess_store.over(connection, (TERMINAL, CLIENT), UNKNOWN_CARDS, since),
                    *await guess_store.over(connection, (TERMINAL_PHONE, CLIENT_PHONE), UNKNOWN_PHONES, since),
                ]
            self._over = {Guesser(row.kind, row.subject): row.began_at for row in rows}
            self._looked_at = asked_at


async def count_wrong_code(connection: AsyncConnection, card_id: int, *, at: datetime) -> None:
    """Count a wrong code of a card, on a connection that commits each statement by itself."""
    wrong = await guess_store.count(connection, CODE, card_id, 1, now=at, since=at - CODE_WINDOW)
    if wrong == WRONG_CODES:
        await _alert(connection, "CODES_GUESSED", f"card:{card_id}", at)


async def _alert(connection: AsyncConnection, action: str, subject: str, at: datetime) -> None:
    await audit.write(connection, actor=GUESSER, action=action, subject=subject, detail={}, at=at)
