"""A file of the bank, whatever it is: statements (camt.053), notices (camt.054), or a report on payments (pain.002)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import IO

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from settlement.bank import camt, notices, receiving, reporting
from settlement.bank.notices import Noticed
from settlement.bank.receiving import Received
from settlement.bank.reporting import Reported

Taken = Received | Noticed | Reported


async def receive(
    database: Database, source: IO[bytes], *, actor: str, at: datetime, progress: Callable[[int], None] | None = None,
    once: Callable[[AsyncConnection], Awaitable[object]] | None = None,
) -> Sequence[Taken]:  # fmt: skip
    """Take a file as what its namespace says it is; source can be read from its beginning again. once is done first in
    the transaction that takes it. Rejects what each kind of file rejects; what is neither is refused as a statement.
    """
    called = await asyncio.to_thread(_called, source)
    if called.startswith("pain.002"):
        return [await reporting.receive(database, source, actor=actor, at=at, once=once)]
    if called.startswith("camt.054"):
        return await notices.receive(database, source, actor=actor, at=at, progress=progress, once=once)
    return await receiving.receive(database, source, actor=actor, at=at, progress=progress, once=once)


def _called(source: IO[bytes]) -> str:
    try:
        return camt.root_of(source)
    except camt.BankFileInvalid:
        return ""  # whoever reads it says what is wrong, and keeps that
