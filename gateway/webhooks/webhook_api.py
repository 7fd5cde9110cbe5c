"""Webhooks over GraphQL: a partner's developers say where to tell what, look at what was sent, and send it again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Protocol

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, person_calls, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context, Person
from gateway.inputs import KEY, REPLAYED, described
from gateway.person_calls import PersonCall
from gateway.purchase_api import Counter, counter_of
from gateway.rejections import Rejection
from gateway.scalars import WebhookEventType
from gateway.webhooks import addresses, calls, endpoints
from gateway.webhooks.endpoints import Wanted, WebhookInvalid
from gateway.webhooks.kinds import KINDS
from gateway.webhooks.webhook_types import (
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEventKind,
    delivery_view,
    endpoint_view,
    sample_of,
)
from kit import clock
from kit.secrets import Vault
from members.messages import COLLEAGUE
from partners.agreements.onboarding import OwnPerson

_ENDPOINT = "Id of the endpoint."
_URL = "An https address of a public host; in a sandbox on one's own machine also one of that machine."
_MANAGE = (scopes.WEBHOOKS_MANAGE,)
_FRESH = "Takes a proof of a moment ago."


@strawberry.input(description="An endpoint to be added.")
class AddWebhookEndpointInput:
    idempotency_key: str = described(KEY)
    url: str = described(_URL)
    types: list[WebhookEventType] = described("What it is to be told of.")
    description: str = described("What the partner says of it.", default="")


@strawberry.input(description="An endpoint as it is to be from now on.")
class ChangeWebhookEndpointInput:
    idempotency_key: str = described(KEY)
    endpoint_id: strawberry.ID = described(_ENDPOINT)
    url: str = described(_URL)
    types: list[WebhookEventType] = described("What it is to be told of.")
    description: str = described("What the partner says of it.", default="")


@strawberry.input(description="A new secret for an endpoint.")
class RotateWebhookSecretInput:
    idempotency_key: str = described(KEY)
    endpoint_id: strawberry.ID = described(_ENDPOINT)
    overlap_hours: int = described("How many hours the secret before signs too, at most 720.", default=24)


@strawberry.input(description="An endpoint of the own partner's.")
class WebhookEndpointInput:
    idempotency_key: str = described(KEY)
    endpoint_id: strawberry.ID = described(_ENDPOINT)


@strawberry.input(description="A delivery of the own partner's.")
class ResendWebhookInput:
    idempotency_key: str = described(KEY)
    delivery_id: strawberry.ID = described("Id of the delivery.")


@strawberry.input(description="What an endpoint was given up on, to be sent again.")
class ResendFailedWebhooksInput:
    idempotency_key: str = described(KEY)
    endpoint_id: strawberry.ID = described(_ENDPOINT)
    since: datetime = described("Of what happened since then.")


@strawberry.input(description="A made-up event.")
class SendSampleWebhookInput:
    idempotency_key: str = described(KEY)
    endpoint_id: strawberry.ID = described(_ENDPOINT)
    type: WebhookEventType = described("Of what type.")


@strawberry.type(description="An endpoint as it stands now.")
class WebhookEndpointSuccess:
    endpoint: WebhookEndpoint = described("The endpoint.")
    secret: str | None = described("Its new secret, where one was made; shown to nobody again. Null in a replay.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A delivery as it stands now.")
class WebhookDeliverySuccess:
    delivery: WebhookDelivery = described("The delivery.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="What is sent again.")
class ResendFailedWebhooksSuccess:
    count: int = described("How many deliveries, 1,000 at most: call again for more.")
    replayed: bool = described(REPLAYED)


WebhookEndpointResult = Annotated[
    WebhookEndpointSuccess | Rejection, strawberry.union("WebhookEndpointResult", description="Done, or the reason.")
]
WebhookDeliveryResult = Annotated[
    WebhookDeliverySuccess | Rejection, strawberry.union("WebhookDeliveryResult", description="Done, or the reason.")
]
ResendFailedWebhooksResult = Annotated[
    ResendFailedWebhooksSuccess | Rejection,
    strawberry.union("ResendFailedWebhooksResult", description="Done, or the reason."),
]
Deed = Callable[[AsyncConnection, OwnPerson, datetime], Awaitable[int]]
"""What a call does in its transaction, at the wall's instant; the number of what it did it to."""


class Turn(Protocol):
    """Sets an endpoint to rest or to work, by its number."""

    def __call__(
        self, connection: AsyncConnection, by: OwnPerson, endpoint_no: int, *, now: datetime
    ) -> Awaitable[None]: ...


@strawberry.type
class WebhookQuery:
    @access.query(
        scopes=_MANAGE, size=access.ListSize(assumed_size=len(KINDS)), description="What an endpoint can be told of."
    )
    async def webhook_event_types(self, info: Info[Context, None]) -> list[WebhookEventKind]:
        partner, at = (await counter_of(info)).partner, await info.context.now()
        return [
            WebhookEventKind(
                type=WebhookEventType(name), description=kind.what,
                sample=sample_of(calls.sample_document(partner, name, at=at)),
            )
            for name, kind in KINDS.items()
        ]  # fmt: skip

    @access.query(
        scopes=_MANAGE, size=access.ListSize(assumed_size=endpoints.MOST_ENDPOINTS),
        description="The endpoints of the signed-in developer's partner, the oldest first.",
    )  # fmt: skip
    async def webhook_endpoints(self, info: Info[Context, None]) -> list[WebhookEndpoint]:
        partner = (await counter_of(info)).partner
        async with info.context.services.database.reading() as connection:
            found = await endpoints.all_of(connection, partner.partner_id, now=clock.wall())
        return [endpoint_view(partner, each) for each in found]

    @access.query(
        scopes=_MANAGE, cost=5, size=access.paged(),
        description="What was sent to the own partner's endpoints, or is on its way, in the last 30 days, the latest "
        "first.",
    )  # fmt: skip
    async def webhook_deliveries(
        self, info: Info[Context, None], first: First = 20, after: After = None,
        endpoint_id: strawberry.ID | None = None, state: str | None = None,
    ) -> Connection[WebhookDelivery]:  # fmt: skip
        partner = (await counter_of(info)).partner
        cursors = Cursors(info.context.services.vault, "webhook delivery")
        endpoint_no = None if endpoint_id is None else calls.read_endpoint_id(partner, endpoint_id)
        async with info.context.services.database.reading() as connection:
            rows = await calls.page(
                connection, partner, limit=connections.bounded(first) + 1, before=cursors.read(after),
                endpoint_no=endpoint_no, state=state,
            )  # fmt: skip
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.delivery_no),
            node=lambda row: delivery_view(partner, row),
        )  # fmt: skip

    @access.query(
        scopes=_MANAGE, cost=5, description="One of them. Null where the partner has none of this id, or no more."
    )
    async def webhook_delivery(self, info: Info[Context, None], id: strawberry.ID) -> WebhookDelivery | None:
        partner = (await counter_of(info)).partner
        async with info.context.services.database.reading() as connection:
            found = await calls.find(connection, partner, calls.read_delivery_id(partner, id))
        return None if found is None else delivery_view(partner, found)


@strawberry.type
class WebhookMutation:
    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description=f"Adds an endpoint, which is told of what happens from now on. {_FRESH}",
    )  # fmt: skip
    async def add_webhook_endpoint(
        self, info: Info[Context, None], input: AddWebhookEndpointInput
    ) -> WebhookEndpointResult:
        call = await _call(info)
        wanted, made = Wanted(input.url, input.description, tuple(input.types)), _Secret()

        async def add(connection: AsyncConnection, by: OwnPerson, now: datetime) -> int:
            call.require_fresh()
            number, made.said = await endpoints.add(
                connection, call.vault, by, wanted, is_sandbox=call.is_sandbox, at=call.at, now=now
            )
            return number

        content = (input.url, input.description, *sorted(input.types))
        return await call.endpoint("addWebhookEndpoint", input.idempotency_key, add, *content, made=made)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description=f"Gives an endpoint another URL, description and types; what is on its way goes there. {_FRESH}",
    )  # fmt: skip
    async def change_webhook_endpoint(
        self, info: Info[Context, None], input: ChangeWebhookEndpointInput
    ) -> WebhookEndpointResult:
        call = await _call(info)
        number, wanted = call.number(input.endpoint_id), Wanted(input.url, input.description, tuple(input.types))

        async def change(connection: AsyncConnection, by: OwnPerson, now: datetime) -> int:
            call.require_fresh()
            await endpoints.change(connection, by, number, wanted, is_sandbox=call.is_sandbox, now=now)
            return number

        content = (input.endpoint_id, input.url, input.description, *sorted(input.types))
        return await call.endpoint("changeWebhookEndpoint", input.idempotency_key, change, *content)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description="Signs with a new secret; the one before signs too until the overlap is over, so that a receiver "
        f"can change its own in between. {_FRESH}",
    )  # fmt: skip
    async def rotate_webhook_secret(
        self, info: Info[Context, None], input: RotateWebhookSecretInput
    ) -> WebhookEndpointResult:
        call, made = await _call(info), _Secret()
        number = call.number(input.endpoint_id)
        if abs(input.overlap_hours) > 10_000:
            raise WebhookInvalid("overlapHours", "0 to 720")
        overlap = timedelta(hours=input.overlap_hours)

        async def rotate(connection: AsyncConnection, by: OwnPerson, now: datetime) -> int:
            call.require_fresh()
            made.said = await endpoints.rotate(connection, call.vault, by, number, overlap=overlap, now=now)
            return number

        content = (input.endpoint_id, str(input.overlap_hours))
        return await call.endpoint("rotateWebhookSecret", input.idempotency_key, rotate, *content, made=made)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description="Sends an endpoint nothing for a while. What happens is kept for 30 days, and sent when the "
        "endpoint is enabled.",
    )  # fmt: skip
    async def disable_webhook_endpoint(
        self, info: Info[Context, None], input: WebhookEndpointInput
    ) -> WebhookEndpointResult:
        return await _turned(info, "disableWebhookEndpoint", input, endpoints.disable)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description="Sends to an endpoint again, first what was kept while it was disabled.",
    )  # fmt: skip
    async def enable_webhook_endpoint(
        self, info: Info[Context, None], input: WebhookEndpointInput
    ) -> WebhookEndpointResult:
        return await _turned(info, "enableWebhookEndpoint", input, endpoints.enable)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description="Tells an endpoint nothing any more, also not what was on its way; it cannot be enabled again.",
    )  # fmt: skip
    async def remove_webhook_endpoint(
        self, info: Info[Context, None], input: WebhookEndpointInput
    ) -> WebhookEndpointResult:
        return await _turned(info, "removeWebhookEndpoint", input, endpoints.remove)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description="Sends a delivery again at once, under its id, whatever became of it before.",
    )  # fmt: skip
    async def resend_webhook(self, info: Info[Context, None], input: ResendWebhookInput) -> WebhookDeliveryResult:
        call = await _call(info)
        number = calls.read_delivery_id(call.counter.partner, input.delivery_id)

        async def resend(connection: AsyncConnection, by: OwnPerson, now: datetime) -> int:
            await calls.resend(connection, call.counter.partner, number, at=call.at, now=now)
            return number

        return await call.delivery("resendWebhook", input.idempotency_key, resend, input.delivery_id)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description="Sends again what an endpoint was given up on, each under its id: after an outage.",
    )  # fmt: skip
    async def resend_failed_webhooks(
        self, info: Info[Context, None], input: ResendFailedWebhooksInput
    ) -> ResendFailedWebhooksResult:
        call = await _call(info)
        number = call.number(input.endpoint_id)

        async def resend(connection: AsyncConnection, by: OwnPerson, now: datetime) -> int:
            return await calls.resend_failed(
                connection, call.counter.partner, number, since=input.since, at=call.at, now=now
            )

        content = (input.endpoint_id, input.since.isoformat())
        count, was_done = await call.done("resendFailedWebhooks", input.idempotency_key, resend, *content)
        return ResendFailedWebhooksSuccess(count=count, replayed=was_done)

    @access.mutation(
        scopes=_MANAGE, moves_points=False,
        description="Sends an endpoint a made-up event, marked as a sample, of any type.",
    )  # fmt: skip
    async def send_sample_webhook(
        self, info: Info[Context, None], input: SendSampleWebhookInput
    ) -> WebhookDeliveryResult:
        call = await _call(info)
        number = call.number(input.endpoint_id)

        async def send(connection: AsyncConnection, by: OwnPerson, now: datetime) -> int:
            return await calls.send_sample(connection, call.counter.partner, number, input.type, at=call.at, now=now)

        content = (input.endpoint_id, input.type)
        return await call.delivery("sendSampleWebhook", input.idempotency_key, send, *content)


@dataclass(slots=True)
class _Secret:
    """What a call made that is shown once."""

    said: str | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """A change of a partner's webhooks by one of its developers."""

    info: Info[Context, None]
    counter: Counter
    person: Person
    at: datetime

    @property
    def vault(self) -> Vault:
        """The process's keys."""
        return self.info.context.services.vault

    @property
    def is_sandbox(self) -> bool:
        """Whether webhooks may go to this machine."""
        return addresses.is_own_sandbox(self.info.context.services.settings)

    def require_fresh(self) -> None:
        """Nothing where who they are was proved a moment ago. Rejects STEP_UP_REQUIRED."""
        person_calls.require_fresh(self.person)

    def number(self, opaque: str) -> int:
        """The number inside an endpoint's id; 0, which none has, for anything else."""
        return calls.read_endpoint_id(self.counter.partner, opaque)

    async def done(self, operation: str, key: str, deed: Deed, *content: str) -> tuple[int, bool]:
        """Do it once under its key; the number that it told, and whether it had been done."""
        by, now = OwnPerson(self.person.number, self.counter.partner.partner_id), clock.wall()
        call = PersonCall(self.person, operation, key, content, self.at)
        async with self.info.context.services.database.transaction() as connection:
            return await person_calls.numbered(connection, self.vault, call, lambda: deed(connection, by, now))

    async def endpoint(
        self, operation: str, key: str, deed: Deed, *content: str, made: _Secret | None = None
    ) -> WebhookEndpointSuccess:
        """As `done`; the endpoint as it stands afterwards."""
        number, was_done = await self.done(operation, key, deed, *content)
        partner = self.counter.partner
        async with self.info.context.services.database.reading() as connection:
            found = await endpoints.by_number(connection, partner.partner_id, number, now=clock.wall())
        secret = None if made is None else made.said
        return WebhookEndpointSuccess(endpoint=endpoint_view(partner, found), secret=secret, replayed=was_done)

    async def delivery(self, operation: str, key: str, deed: Deed, *content: str) -> WebhookDeliverySuccess:
        """As `done`; the delivery as it stands afterwards."""
        number, was_done = await self.done(operation, key, deed, *content)
        async with self.info.context.services.database.reading() as connection:
            found = await calls.by_number(connection, self.counter.partner, number)
        return WebhookDeliverySuccess(delivery=delivery_view(self.counter.partner, found), replayed=was_done)


async def _call(info: Info[Context, None]) -> _Call:
    person = person_calls.person_of(info.context.viewer, COLLEAGUE)
    return _Call(info, await counter_of(info), person, await info.context.now())


async def _turned(
    info: Info[Context, None], operation: str, input: WebhookEndpointInput, turn: Turn
) -> WebhookEndpointSuccess:
    """The endpoint of an input after a turn that needs no more than its number."""
    call = await _call(info)
    number = call.number(input.endpoint_id)

    async def deed(connection: AsyncConnection, by: OwnPerson, now: datetime) -> int:
        await turn(connection, by, number, now=now)
        return number

    return await call.endpoint(operation, input.idempotency_key, deed, input.endpoint_id)
