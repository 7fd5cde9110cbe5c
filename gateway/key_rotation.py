"""The master key's rotation: everything that is sealed or hashed with it is given over to the next one.

Part by part, some rows to a transaction, and how far it is in the same one: stopped anywhere it goes on from there.
While it runs nobody is found by card or phone, so nothing may be serving. What lives for minutes (codes, visits,
cursors, forms) is not given over; it is asked for again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import key_rotation_store
from gateway.charging import tokens
from gateway.key_rotation_store import COLLEAGUE, STAFF
from gateway.webhooks import endpoints
from kit import audit, keyring
from kit.database import Database
from kit.keyring import Progress
from kit.secrets import KEY_BYTES, Vault
from members import rekeying as members
from members.subscription import rekeying as subscriptions
from partners import rekeying as partners
from settlement.packages import keys

BATCH = 1_000


class Rekeying(Protocol):
    """Gives the next rows of a part over; the number reached, and how many rows."""

    def __call__(
        self, connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
    ) -> Awaitable[tuple[int, int]]: ...


async def _signing_keys(
    connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
) -> tuple[int, int]:
    if after:
        return after, 0
    rows = await key_rotation_store.signing_keys(connection)
    for row in rows:
        context = f"signing-key:{row.kid}"
        sealed = vault.seal(vault.open(bytes(row.sealed_key), context), context)
        await key_rotation_store.write_signing_key(connection, row.kid, sealed)
    return 1, len(rows)


async def _settlement_keys(
    connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
) -> tuple[int, int]:
    return (after, 0) if after else (1, await keys.seal_anew(connection, vault))


def _addresses(kind: str) -> Rekeying:
    async def rekey(
        connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
    ) -> tuple[int, int]:
        rows = await key_rotation_store.addresses(connection, kind, after, limit)
        changed = []
        for row in rows:
            context = f"{kind}:{row.actor_id}"
            sealed = vault.seal(vault.open(bytes(row.sealed_address), context), context)
            changed.append((row.actor_id, vault.looked_up_anew(row.address_lookup, since), sealed))
        await key_rotation_store.write_addresses(connection, kind, changed)
        return (rows[-1].actor_id if rows else after), len(rows)

    return rekey


async def _means_of_payment(
    connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
) -> tuple[int, int]:
    def anew(provider: str, token: str) -> str:
        return tokens.sealed(vault, provider, tokens.opened(vault, provider, token))

    return await subscriptions.means(connection, anew, tokens.SEALED_BY, after=after, limit=limit)


PARTS: dict[str, Rekeying] = {
    "partners' id keys": partners.id_keys,
    "signing keys": _signing_keys,
    "keys of settlement packages": _settlement_keys,
    "staff": _addresses(STAFF),
    "colleagues": _addresses(COLLEAGUE),
    "members' keys": members.member_keys,
    "what persons were given once": members.persons,
    "phones, addresses and partners' numbers": members.aliases,
    "enrolments": members.enrolments,
    "cards": members.cards,
    "codes of plans": members.plan_codes,
    "coupons": partners.coupons,
    "invitations": partners.invitations,
    "seeds of raffles": partners.raffles,
    "means of payment": _means_of_payment,
    "secrets of webhooks": endpoints.rekey,
}
"""Everything that outlives a rotation, by the words in which its progress is told."""

Telling = Callable[[str, int], None]


def before(master_key: bytes) -> Vault | None:
    """The key that a rotated one followed; None for one that was never rotated."""
    return Vault(master_key[KEY_BYTES:]) if len(master_key) > KEY_BYTES else None


async def rotate(
    database: Database, master_key: bytes, *, now: Callable[[], datetime], told: Telling, batch: int = BATCH
) -> int:
    """Give everything over to the newest key of a master key; how many rows were done now.

    told is called with a part and the rows of it that are done, after each batch. The database is opened with the
    rights of the schema's owner. Raises BadKey.
    """
    vault = Vault(master_key)
    async with database.transaction() as connection:
        since = await keyring.begin(connection, vault, before(master_key), now=now())
    done = 0
    for part, rekey in PARTS.items():
        done += await _give_over(database, vault, since, part, rekey, told, batch)
    async with database.transaction() as connection:
        await keyring.finish(connection, vault, now=now())
        detail = {"generation": vault.generation}
        await audit.write(
            connection, actor="tessera", action="MASTER_KEY_ROTATED", subject="master key", detail=detail, at=now()
        )
    return done


async def _give_over(
    database: Database, vault: Vault, since: int, part: str, rekey: Rekeying, told: Telling, batch: int
) -> int:
    done = 0
    while True:
        async with database.transaction() as connection:
            held = await keyring.progress(connection, vault.generation, part)
            if held.is_done:
                return done
            after, rows = await rekey(connection, vault, since=since, after=held.after, limit=batch)
            reached = Progress(after, held.rows + rows, is_done=rows == 0)
            await keyring.note(connection, vault.generation, part, reached)
        done += rows
        told(part, reached.rows)
