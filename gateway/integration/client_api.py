"""Clients: a partner's developers add the programs that call for it, replace their credentials, and end them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.inputs import KEY, REPLAYED, described
from gateway.oauth import clients, own_clients
from gateway.oauth.client_keys import ClientKeyInvalid
from gateway.oauth.own_clients import OwnClient, WantedClient
from gateway.person_calls import PersonCall
from gateway.purchase_api import counter_of
from gateway.rejections import Rejection
from kit import clock
from members.messages import COLLEAGUE
from partners.agreements.onboarding import OwnPerson
from partners.directory import Partner

MOST_TRAIL = 20
LONGEST_KEY = 4_096
_ID = "The client's id."
_OVERLAP = "How many hours what is replaced stays good, at most 720."


@strawberry.type(description="A public key that a client signs with.")
class RegisteredKey:
    kid: str = described("Its thumbprint.")
    algorithm: str = described("ES256, PS256 or Ed25519.")
    created_at: datetime = described("When it was registered.")
    expires_at: datetime | None = described("When it ends; null: when it is replaced.")


@strawberry.type(description="A secret of a client's; what it says nobody can read again.")
class RegisteredSecret:
    created_at: datetime = described("When it was made.")
    expires_at: datetime | None = described("When it ends; null: when it is replaced.")


@strawberry.type(description="What somebody did, as the audit trail has it.")
class TrailEntry:
    action: str = described("What was done: CLIENT_ADDED; more may appear.")
    actor: str | None = described("Which colleague did it; null where the operator did.")
    at: datetime = described("When.")


@strawberry.type(description="A program that calls for the partner.")
class ApiClient:
    client_id: str = described(_ID)
    name: str = described("What the partner calls it.")
    kind: str = described("KEY: it signs. SECRET: it has a secret. TILLS: tills are enrolled under it.")
    status: str = described("ACTIVE or SUSPENDED.")
    scopes: list[str] = described("What it may do.")
    created_at: datetime = described("When it was added.")
    keys: list[RegisteredKey] = described("Its keys that are good now, the oldest first.")
    secrets: list[RegisteredSecret] = described("Its secrets that are good now, the oldest first.")
    client_no: strawberry.Private[int]

    @access.field(
        cost=5, size=access.ListSize(assumed_size=MOST_TRAIL), description="What was done to it, the latest first."
    )
    async def trail(self, info: Info[Context, None]) -> list[TrailEntry]:
        async with info.context.services.database.reading() as connection:
            found = await own_clients.trail(connection, self.client_no, limit=MOST_TRAIL)
        own = f"{(await counter_of(info)).partner.code}/"
        return [TrailEntry(action=each.action, actor=_named(each.actor, own), at=each.at) for each in found]


@strawberry.type(description="What a client of this partner may be allowed to do.")
class GrantableScope:
    scope: str = described("Its name.")
    description: str = described("What it lets a program do.")
    agreed: bool = described("Whether the agreement in force allows it.")


@strawberry.input(description="A client to be added.")
class AddApiClientInput:
    idempotency_key: str = described(KEY)
    name: str = described("What the partner calls it.")
    scopes: list[str] = described("What it may do, as far as the agreement allows it.")
    public_key: str | None = described("The public half of its key as a JSON Web Key; null for a secret.", default=None)
    for_tills: bool = described("Without a credential: tills are enrolled under it.", default=False)


@strawberry.input(description="Another key for a client.")
class AddClientKeyInput:
    idempotency_key: str = described(KEY)
    client_id: str = described(_ID)
    public_key: str = described("The public half as a JSON Web Key.")
    overlap_hours: int = described(_OVERLAP, default=24)


@strawberry.input(description="A key that is good no more.")
class RemoveClientKeyInput:
    idempotency_key: str = described(KEY)
    client_id: str = described(_ID)
    kid: str = described("The key's thumbprint.")


@strawberry.input(description="A new secret for a client.")
class RotateClientSecretInput:
    idempotency_key: str = described(KEY)
    client_id: str = described(_ID)
    overlap_hours: int = described(_OVERLAP, default=24)


@strawberry.input(description="A client that is let in no more.")
class SuspendClientInput:
    idempotency_key: str = described(KEY)
    client_id: str = described(_ID)


@strawberry.type(description="A client as it stands now.")
class ApiClientSuccess:
    client: ApiClient = described("The client.")
    secret: str | None = described("Its new secret, where one was made; shown to nobody again. Null in a replay.")
    replayed: bool = described(REPLAYED)


ApiClientResult = Annotated[
    ApiClientSuccess | Rejection, strawberry.union("ApiClientResult", description="Done, or the reason.")
]
Deed = Callable[[AsyncConnection, OwnPerson, datetime], Awaitable[tuple[str, str | None]]]


@strawberry.type
class ClientQuery:
    @access.query(
        scopes=(scopes.CLIENTS_MANAGE,), size=access.ListSize(assumed_size=own_clients.MOST_CLIENTS),
        description="The clients of the signed-in developer's partner, those in use first.",
    )  # fmt: skip
    async def api_clients(self, info: Info[Context, None]) -> list[ApiClient]:
        partner = (await counter_of(info)).partner
        async with info.context.services.database.reading() as connection:
            found = await own_clients.all_of(connection, partner.partner_id, at=clock.wall())
        return [_shown(each) for each in found]

    @access.query(
        scopes=(scopes.CLIENTS_MANAGE,), cost=10, description="One of them. Null where the partner has none of this id."
    )
    async def api_client(self, info: Info[Context, None], client_id: str) -> ApiClient | None:
        partner = (await counter_of(info)).partner
        async with info.context.services.database.reading() as connection:
            found = await own_clients.one_of(connection, partner.partner_id, client_id, at=clock.wall())
        return None if found is None else _shown(found)

    @access.query(
        scopes=(scopes.CLIENTS_MANAGE,), size=access.ListSize(assumed_size=len(scopes.SCOPES)),
        description="What a client may be allowed to do, and whether the agreement in force lets this partner's.",
    )  # fmt: skip
    async def grantable_scopes(self, info: Info[Context, None]) -> list[GrantableScope]:
        counter, at = await counter_of(info), await info.context.now()
        agreed = own_clients.agreed_scopes(counter.directory.terms_at(counter.partner.partner_id, at))
        return [
            GrantableScope(scope=scope, description=what, agreed=scope in agreed)
            for scope, what in scopes.SCOPES.items()
        ]


@strawberry.type
class ClientMutation:
    @access.mutation(
        scopes=(scopes.CLIENTS_MANAGE,), moves_points=False,
        description="Adds a client of the own partner's. Takes a proof of a moment ago.",
    )  # fmt: skip
    async def add_api_client(self, info: Info[Context, None], input: AddApiClientInput) -> ApiClientResult:
        counter, at = await counter_of(info), await info.context.now()
        terms = counter.directory.terms_at(counter.partner.partner_id, at)
        jwk = None if input.public_key is None else _jwk(input.public_key)
        wanted = WantedClient(input.name, tuple(input.scopes), jwk, input.for_tills)

        async def add(connection: AsyncConnection, by: OwnPerson, now: datetime) -> tuple[str, str | None]:
            return await own_clients.add(connection, by, wanted, terms=terms, at=now)

        content = (input.name, str(input.for_tills), input.public_key or "", *sorted(input.scopes))
        return await _Call(info, counter.partner).done("addApiClient", input.idempotency_key, add, *content)

    @access.mutation(
        scopes=(scopes.CLIENTS_MANAGE,), moves_points=False,
        description="Registers another key for a client; what it signed or showed before stays good for the overlap. "
        "Takes a proof of a moment ago.",
    )  # fmt: skip
    async def add_client_key(self, info: Info[Context, None], input: AddClientKeyInput) -> ApiClientResult:
        jwk, overlap = _jwk(input.public_key), timedelta(hours=input.overlap_hours)

        async def add(connection: AsyncConnection, by: OwnPerson, now: datetime) -> tuple[str, str | None]:
            await clients.add_key(connection, input.client_id, jwk, overlap=overlap, by=by, at=now)
            return input.client_id, None

        content = (input.client_id, input.public_key, str(input.overlap_hours))
        partner = (await counter_of(info)).partner
        return await _Call(info, partner).done("addClientKey", input.idempotency_key, add, *content)

    @access.mutation(
        scopes=(scopes.CLIENTS_MANAGE,), moves_points=False,
        description="Refuses a key from now on, and the tokens that the client holds. Takes a proof of a moment ago.",
    )  # fmt: skip
    async def remove_client_key(self, info: Info[Context, None], input: RemoveClientKeyInput) -> ApiClientResult:
        async def remove(connection: AsyncConnection, by: OwnPerson, now: datetime) -> tuple[str, str | None]:
            await clients.remove_key(connection, input.client_id, input.kid, by=by, at=now)
            return input.client_id, None

        partner = (await counter_of(info)).partner
        return await _Call(info, partner).done(
            "removeClientKey", input.idempotency_key, remove, input.client_id, input.kid
        )

    @access.mutation(
        scopes=(scopes.CLIENTS_MANAGE,), moves_points=False,
        description="Gives a client a new secret, where the operator allows secrets; the last one stays good for the "
        "overlap. Takes a proof of a moment ago.",
    )  # fmt: skip
    async def rotate_client_secret(self, info: Info[Context, None], input: RotateClientSecretInput) -> ApiClientResult:
        overlap = timedelta(hours=input.overlap_hours)

        async def rotate(connection: AsyncConnection, by: OwnPerson, now: datetime) -> tuple[str, str | None]:
            secret = await clients.rotate(connection, input.client_id, overlap=overlap, by=by, at=now)
            return input.client_id, secret

        partner = (await counter_of(info)).partner
        content = (input.client_id, str(input.overlap_hours))
        return await _Call(info, partner).done("rotateClientSecret", input.idempotency_key, rotate, *content)

    @access.mutation(
        scopes=(scopes.CLIENTS_MANAGE,), moves_points=False,
        description="Lets a client in no more, its tokens included; the operator can let it in again. Takes a proof of "
        "a moment ago.",
    )  # fmt: skip
    async def suspend_api_client(self, info: Info[Context, None], input: SuspendClientInput) -> ApiClientResult:
        async def suspend(connection: AsyncConnection, by: OwnPerson, now: datetime) -> tuple[str, str | None]:
            await clients.suspend(connection, input.client_id, by=by, at=now)
            return input.client_id, None

        partner = (await counter_of(info)).partner
        return await _Call(info, partner).done("suspendApiClient", input.idempotency_key, suspend, input.client_id)


@dataclass(frozen=True, slots=True)
class _Call:
    """A change of a partner's clients by one of its developers."""

    info: Info[Context, None]
    partner: Partner

    async def done(self, operation: str, key: str, deed: Deed, *content: str) -> ApiClientSuccess:
        """Do it once under its key; the client as it stands afterwards."""
        services, at, now = self.info.context.services, await self.info.context.now(), clock.wall()
        person, partner_id = person_calls.person_of(self.info.context.viewer, COLLEAGUE), self.partner.partner_id
        call, made = PersonCall(person, operation, key, content, at), None
        async with services.database.transaction() as connection:

            async def do() -> int:
                nonlocal made
                person_calls.require_fresh(person)
                client_id, made = await deed(connection, OwnPerson(person.number, partner_id), now)
                return (await own_clients.require(connection, partner_id, client_id, at=now)).client_no

            client_no, was_done = await person_calls.numbered(connection, services.vault, call, do)
            found = await own_clients.by_number(connection, partner_id, client_no, at=now)
        return ApiClientSuccess(client=_shown(found), secret=made, replayed=was_done)


def _named(actor: str, own: str) -> str | None:
    """A colleague's name at the partner; none of anybody else, whose names are the operator's."""
    return actor.removeprefix(own) if actor.startswith(own) else None


def _jwk(text: str) -> dict[str, Any]:
    """A key as it was pasted. Rejects CLIENT_KEY_INVALID."""
    try:
        told = orjson.loads(text) if len(text) <= LONGEST_KEY else None
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise ClientKeyInvalid("a key is one JSON Web Key, a JSON object")
    return told


def _shown(client: OwnClient) -> ApiClient:
    return ApiClient(
        client_id=client.client_id, name=client.name, kind=client.kind, status=client.status,
        scopes=list(client.scopes), created_at=client.created_at, client_no=client.client_no,
        keys=[
            RegisteredKey(kid=key.kid, algorithm=key.algorithm, created_at=key.created_at, expires_at=key.expires_at)
            for key in client.keys
        ],
        secrets=[RegisteredSecret(created_at=made, expires_at=ends) for made, ends in client.secrets],
    )  # fmt: skip
