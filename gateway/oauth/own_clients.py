"""A partner's clients as its own developers see and change them: what its agreement lets a program do, so many at most.

What somebody of the partner may do here is asked by the caller. Closing is theirs, opening again the operator's. Every
change is in the audit trail. Instants are the wall's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import scopes
from gateway.oauth import client_keys, clients, own_client_store, store
from gateway.oauth.client_keys import ClientKey
from gateway.oauth.clients import ClientUnknown
from kit import audit
from kit.audit import Entry
from kit.errors import FieldProblem, Rejection
from partners.agreements import onboarding
from partners.agreements.onboarding import OwnPerson
from partners.terms import Terms

MOST_CLIENTS = 20
LONGEST_NAME = 60

_TRADING = frozenset(
    {
        scopes.POINTS_ACCRUE, scopes.POINTS_RETURN, scopes.MEMBERS_READ, scopes.MEMBERS_ENROL, scopes.HISTORY_READ,
        scopes.SETTLEMENT_READ, scopes.SETTLEMENT_FILES, scopes.RULES_READ, scopes.SCHEMA_READ,
    }
)  # fmt: skip


class ClientInvalid(Rejection):
    """A name that a client cannot have."""

    code = "CLIENT_INVALID"
    retryable = False


class ClientsTooMany(Rejection):
    """The partner has as many clients in use as one may have."""

    code = "CLIENTS_TOO_MANY"
    retryable = True


class ScopeNotAgreed(Rejection):
    """The partner's agreement does not let its programs do this."""

    code = "SCOPE_NOT_AGREED"
    retryable = True


@dataclass(frozen=True, slots=True)
class OwnClient:
    """A client as its partner's developers see it; kind KEY, SECRET or TILLS. secrets: when each was made and ends."""

    client_no: int
    client_id: str
    name: str
    kind: str
    status: str
    scopes: tuple[str, ...]
    created_at: datetime
    keys: tuple[ClientKey, ...]
    secrets: tuple[tuple[datetime, datetime | None], ...]


@dataclass(frozen=True, slots=True)
class WantedClient:
    """A client to be added: with a public key, or for_tills without a credential, or else with a secret."""

    name: str
    scopes: tuple[str, ...]
    jwk: Mapping[str, Any] | None = None
    for_tills: bool = False


def agreed_scopes(terms: Terms | None) -> frozenset[str]:
    """What a partner's programs may do by the agreement in force; of one that has none, read the schema."""
    if terms is None:
        return frozenset({scopes.SCHEMA_READ})
    issuing = {scopes.EVENTS_WRITE, scopes.EVENTS_MODERATE} if terms.issues else set()
    redeeming = {scopes.POINTS_REDEEM} if terms.redeems else set()
    return _TRADING | issuing | redeeming


async def all_of(connection: AsyncConnection, partner_id: int, *, at: datetime) -> list[OwnClient]:
    """A partner's clients, those in use first, with the credentials that are good now."""
    return [await _client(connection, row, at) for row in await own_client_store.of_partner(connection, partner_id)]


async def one_of(connection: AsyncConnection, partner_id: int, client_id: str, *, at: datetime) -> OwnClient | None:
    """A partner's client; None for one that is not there or another's."""
    row = await own_client_store.one(connection, partner_id, client_id)
    return None if row is None else await _client(connection, row, at)


async def trail(connection: AsyncConnection, client_no: int, *, limit: int) -> list[Entry]:
    """What was done to a client, the latest first."""
    return await audit.entries(connection, subject=f"client:{client_no}", limit=limit)


async def add(
    connection: AsyncConnection, by: OwnPerson, wanted: WantedClient, *, terms: Terms | None, at: datetime
) -> tuple[str, str | None]:
    """Add a client of the partner; returns its id, and the secret that nobody can read again, where it has one.

    Rejects CLIENT_INVALID, CLIENTS_TOO_MANY, SCOPE_NOT_AGREED, SCOPE_UNKNOWN, SECRET_NOT_ALLOWED, CLIENT_KEY_INVALID,
    CLIENT_KEY_TAKEN.
    """
    name = wanted.name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        form = f"1 to {LONGEST_NAME} characters that can be seen"
        raise ClientInvalid(f"the name must be {form}", problems=[FieldProblem(("name",), "INVALID", form)])
    if beyond := sorted(set(wanted.scopes) & scopes.SCOPES.keys() - agreed_scopes(terms)):
        raise ScopeNotAgreed(f"the agreement in force does not let a program do this: {', '.join(beyond)}")
    await onboarding.lock_partner(connection, by.partner_id)  # counted by one at a time
    if await own_client_store.in_use(connection, by.partner_id) >= MOST_CLIENTS:
        raise ClientsTooMany(f"a partner has at most {MOST_CLIENTS} clients in use; suspend one that is not needed")
    if wanted.jwk is not None:
        return await clients.add_key_client(
            connection, partner_id=by.partner_id, name=name, scopes=wanted.scopes, jwk=wanted.jwk, by=by, at=at
        ), None
    if wanted.for_tills:
        return await clients.add_public_client(
            connection, partner_id=by.partner_id, name=name, scopes=wanted.scopes, by=by, at=at
        ), None
    return await clients.add_client(connection, partner_id=by.partner_id, name=name, scopes=wanted.scopes, by=by, at=at)


async def require(connection: AsyncConnection, partner_id: int, client_id: str, *, at: datetime) -> OwnClient:
    """A partner's client. Rejects CLIENT_UNKNOWN."""
    found = await one_of(connection, partner_id, client_id, at=at)
    if found is None:
        raise ClientUnknown("this partner has no client of this id")
    return found


async def by_number(connection: AsyncConnection, partner_id: int, client_no: int, *, at: datetime) -> OwnClient:
    """A partner's client by its number, which must be one. Raises LookupError else."""
    row = await own_client_store.numbered(connection, partner_id, client_no)
    if row is None:
        raise LookupError(client_no)
    return await _client(connection, row, at)


async def _client(connection: AsyncConnection, row: RowMapping, at: datetime) -> OwnClient:
    keys = [key for key in await client_keys.of_client(connection, row["client_no"]) if _is_good(key.expires_at, at)]
    held = await store.client_secrets(connection, row["client_no"])
    secrets = [(each["created_at"], each["expires_at"]) for each in held if _is_good(each["expires_at"], at)]
    kind = "TILLS" if row["kind"] == "PUBLIC" else "SECRET" if secrets and not keys else "KEY"
    return OwnClient(
        row["client_no"], row["client_id"], row["name"], kind, row["status"], tuple(row["scopes"]), row["created_at"],
        tuple(keys), tuple(secrets),
    )  # fmt: skip


def _is_good(expires_at: datetime | None, at: datetime) -> bool:
    return expires_at is None or expires_at > at
