"""Which master key a database was sealed with, and how far its rotation to the next has come.

A process that would serve with another key finds nobody and seals what nobody else can open, so it does not start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import keyring_store
from kit.secrets import BadKey, Vault


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a part of the database is: the number behind which to go on, and how many rows are done."""

    after: int
    rows: int
    is_done: bool


async def admit(connection: AsyncConnection, vault: Vault, *, now: datetime) -> None:
    """Nothing where a process may serve with this key; of a new database it is noted as the first one's.

    Raises BadKey for another one, and while a rotation is unfinished.
    """
    await keyring_store.lock(connection)
    latest = await keyring_store.latest(connection)
    if latest is None:
        await keyring_store.insert(connection, vault.generation, vault.check_value(), now, finished_at=now)
        return
    if latest.finished_at is None:
        raise BadKey("a rotation of the master key is unfinished: run `tessera rotate-keys` again, which goes on")
    if latest.generation < vault.generation:
        raise BadKey("TESSERA_MASTER_KEY has a new key: run `tessera rotate-keys` first")
    if bytes(latest.check_value) != vault.check_value():
        raise BadKey("TESSERA_MASTER_KEY is not the key that this database was sealed with")


async def begin(connection: AsyncConnection, vault: Vault, before: Vault | None, *, now: datetime) -> int:
    """Begin the rotation to a key, or go on with it; the generation that rows are of which it has not reached.

    before is the same key without its newest part. Raises BadKey where the database is of another key than that, or
    there is nothing to rotate to.
    """
    await keyring_store.lock(connection)
    latest = await keyring_store.latest(connection)
    if latest is not None and latest.finished_at is None:
        if bytes(latest.check_value) == vault.check_value():
            return vault.generation - 1
        raise BadKey("the rotation to another key is unfinished: go on with the key that it began with")
    if before is None or (latest is not None and latest.generation >= vault.generation):
        raise BadKey("there is no new key: put one from `tessera new-key` and a comma in front of TESSERA_MASTER_KEY")
    if latest is None:
        await keyring_store.insert(connection, before.generation, before.check_value(), now, finished_at=now)
    elif bytes(latest.check_value) != before.check_value():
        raise BadKey("what stands behind the first comma of TESSERA_MASTER_KEY is not the key of this database")
    await keyring_store.insert(connection, vault.generation, vault.check_value(), now, finished_at=None)
    return vault.generation - 1


async def finish(connection: AsyncConnection, vault: Vault, *, now: datetime) -> None:
    """End the rotation: every part is done."""
    await keyring_store.finish(connection, vault.generation, now)


async def progress(connection: AsyncConnection, generation: int, part: str) -> Progress:
    """How far a part is in the rotation to a generation."""
    row = await keyring_store.part(connection, generation, part)
    return Progress(0, 0, False) if row is None else Progress(row.after, row.rows, row.is_done)


async def note(connection: AsyncConnection, generation: int, part: str, reached: Progress) -> None:
    """Note how far a part is, in the transaction of the rows that were done."""
    await keyring_store.write_part(connection, generation, part, reached.after, reached.rows, reached.is_done)


async def serving(connection: AsyncConnection, role: str) -> int:
    """How many connections of a role are open to this database, other than this one."""
    return await keyring_store.connections_of(connection, role)
