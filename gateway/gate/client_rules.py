"""What differs from client to client: its allowance, and whether it may run registered documents alone.

A document is registered by its text and named by the SHA-256 of it. A client that only ever runs registered documents
can say so, and whoever steals its secret can ask nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.gate import allowance_store
from gateway.gate.allowances import STANDARD, Allowance
from gateway.gate.limits import Limits
from gateway.oauth import store as oauth_store
from gateway.oauth.clients import ClientUnknown
from kit import actors, audit
from kit.errors import Rejection

FRESH_SECONDS = 5.0
MOST_TEXTS = 2_048


class AllowanceInvalid(Rejection):
    """An allowance that is not of the size that one may have."""

    code = "ALLOWANCE_INVALID"
    retryable = False


class DocumentInvalid(Rejection):
    """A document to be registered that the gate would not let in, or one to be forgotten that is not registered."""

    code = "DOCUMENT_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class ClientRule:
    """What a client may: how much it may ask for, and whether only registered documents."""

    allowance: Allowance = STANDARD
    trusted_only: bool = False
    hundredth: Allowance = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hundredth", self.allowance.hundredth())


EVERY_CLIENT = ClientRule()


def hash_of(document: str) -> bytes:
    """What names a registered document."""
    return hashlib.sha256(document.encode()).digest()


async def rule_of(connection: AsyncConnection, client_id: str) -> ClientRule:
    """A client's rule. Rejects CLIENT_UNKNOWN."""
    row = await allowance_store.rule(connection, await _number(connection, client_id))
    if row is None:
        return EVERY_CLIENT
    return _rule(row["burst"], row["restore_per_second"], row["trusted_only"])


async def change(
    connection: AsyncConnection,
    client_id: str,
    *,
    by: str,
    at: datetime,
    allowance: Allowance | None = None,
    trusted_only: bool | None = None,
) -> ClientRule:
    """Give a client another allowance, or let it run registered documents alone or any; None leaves it as it is.

    For an actor in ONBOARDING; acts everywhere within seconds. Rejects CLIENT_UNKNOWN, ALLOWANCE_INVALID,
    ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await actors.by_name(connection, by)
    await actors.require_role(connection, actor_id, actors.ONBOARDING)
    client_no = await _number(connection, client_id)
    held = await rule_of(connection, client_id)
    changed = ClientRule(allowance or held.allowance, held.trusted_only if trusted_only is None else trusted_only)
    burst, restore = changed.allowance.burst, changed.allowance.restore_per_second
    if not 100 <= burst <= 10**9 or not 1 <= restore <= 10**9:
        raise AllowanceInvalid("an allowance is of 100 to 1,000,000,000 points, and 1 or more come back in a second")
    await allowance_store.set_rule(
        connection, client_no, burst=burst, restore_per_second=restore, trusted_only=changed.trusted_only
    )
    detail = {"burst": burst, "restore_per_second": restore, "trusted_only": changed.trusted_only}
    await audit.write(
        connection, actor=actor_id, action="ALLOWANCE_CHANGED", subject=f"client:{client_no}", detail=detail, at=at
    )
    return changed


async def register(connection: AsyncConnection, client_id: str, document: str, *, by: str, at: datetime) -> bytes:
    """Register a document of a client for an actor in ONBOARDING; its hash, also where it was registered before.

    The caller has asked the gate whether it would let the document in. Rejects CLIENT_UNKNOWN, DOCUMENT_INVALID,
    ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await actors.by_name(connection, by)
    await actors.require_role(connection, actor_id, actors.ONBOARDING)
    client_no = await _number(connection, client_id)
    if not 1 <= len(document) <= Limits().text or "\0" in document:
        raise DocumentInvalid(f"a document has 1 to {Limits().text} characters")
    name = hash_of(document)
    if await allowance_store.insert_document(connection, client_no, document_hash=name, body=document, at=at):
        await audit.write(
            connection, actor=actor_id, action="DOCUMENT_REGISTERED", subject=f"client:{client_no}",
            detail={"sha256": name.hex()}, at=at,
        )  # fmt: skip
    return name


async def forget(connection: AsyncConnection, client_id: str, document_hash: bytes, *, by: str, at: datetime) -> None:
    """Take a registration back, for an actor in ONBOARDING; processes that know the text forget it within seconds.

    Rejects CLIENT_UNKNOWN, DOCUMENT_INVALID, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await actors.by_name(connection, by)
    await actors.require_role(connection, actor_id, actors.ONBOARDING)
    client_no = await _number(connection, client_id)
    if not await allowance_store.delete_document(connection, client_no, document_hash):
        raise DocumentInvalid("the client has registered no document of this hash")
    await audit.write(
        connection, actor=actor_id, action="DOCUMENT_FORGOTTEN", subject=f"client:{client_no}",
        detail={"sha256": document_hash.hex()}, at=at,
    )  # fmt: skip


async def registered(connection: AsyncConnection, client_id: str) -> list[tuple[bytes, str]]:
    """The documents that a client registered, with their hashes. Rejects CLIENT_UNKNOWN."""
    rows = await allowance_store.documents(connection, await _number(connection, client_id))
    return [(bytes(row["document_hash"]), row["body"]) for row in rows]


async def _number(connection: AsyncConnection, client_id: str) -> int:
    row = await oauth_store.lock_client(connection, client_id)
    if row is None:
        raise ClientUnknown("no client has this id; `tessera partner client list` names them")
    return int(row["client_no"])


def _rule(burst: int, restore_per_second: int, trusted_only: bool) -> ClientRule:
    return ClientRule(Allowance(burst, restore_per_second), trusted_only)


class ClientRules:
    """All clients' rules as they stood some seconds ago, and the texts of registered documents that were asked for."""

    def __init__(self, pool: asyncpg.Pool, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._by_client: Mapping[int, ClientRule] = {}
        self._texts: OrderedDict[tuple[int, bytes], str] = OrderedDict()

    async def of(self, client_no: int) -> ClientRule:
        """The rule of a client; callers who find the view too old wait for one look together."""
        if self._monotonic() - self._read_at >= FRESH_SECONDS:
            await self._renew()
        return self._by_client.get(client_no, EVERY_CLIENT)

    def look_again(self) -> None:
        """Ask the database at the next question, however lately it was asked: a rule was changed in this process."""
        self._read_at = float("-inf")

    async def text(self, client_no: int, document_hash: bytes) -> str | None:
        """The text of a registered document; None where the client registered none of this hash."""
        key = (client_no, document_hash)
        found = self._texts.get(key)
        if found is None:
            found = await allowance_store.document(self._pool, client_no, document_hash)
            if found is not None:
                self._texts[key] = found
                if len(self._texts) > MOST_TEXTS:
                    self._texts.popitem(last=False)
        return found

    async def _renew(self) -> None:
        async with self._lock:
            asked_at = self._monotonic()
            if asked_at - self._read_at < FRESH_SECONDS:
                return
            rows = await allowance_store.rules(self._pool)
            self._by_client = {
                row["client_no"]: _rule(row["burst"], row["restore_per_second"], row["trusted_only"]) for row in rows
            }
            self._texts.clear()  # so that one that was forgotten is asked for again
            self._read_at = asked_at
