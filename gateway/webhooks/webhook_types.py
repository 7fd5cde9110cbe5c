"""What a partner's developers are shown of webhooks: endpoints, deliveries, attempts."""

from datetime import datetime

import orjson
import strawberry
from strawberry import Info

from gateway import access
from gateway.context import Context
from gateway.inputs import described
from gateway.scalars import WebhookEventType
from gateway.webhooks import calls
from gateway.webhooks.calls import Delivered
from gateway.webhooks.endpoints import Endpoint
from partners.directory import Partner

MOST_ATTEMPTS = 10
_ID = "Opaque id."


@strawberry.type(description="A type of events that an endpoint can be told of.")
class WebhookEventKind:
    type: WebhookEventType = described("Its name.")
    description: str = described("What has happened then.")
    sample: str = described("A document as it is sent, as JSON; its ids are nobody's.")


@strawberry.type(description="A secret that deliveries are signed with; what it says nobody can read again.")
class WebhookSecret:
    created_at: datetime = described("When it was made.")
    expires_at: datetime | None = described("Until when it signs; null: until it is replaced.")


@strawberry.type(description="How an endpoint does.")
class WebhookHealth:
    waiting: int = described("Deliveries on their way to it.")
    failed: int = described("Deliveries that were given up, and can be sent again.")
    attempts: int = described("Of its latest calls, 100 at most,")
    taken: int = described("how many it answered with 2xx.")
    took_ms: int | None = described("Milliseconds in which 95 of 100 of them were answered; null before the first.")


@strawberry.type(description="Where a partner's system is told of what happened.")
class WebhookEndpoint:
    id: strawberry.ID = described(_ID)
    url: str = described("Where to.")
    description: str = described("What the partner says of it.")
    types: list[WebhookEventType] = described("What it is told of.")
    status: str = described("ACTIVE, DISABLED or REMOVED.")
    reason: str | None = described("Why it is disabled: PARTNER, FAILING (for days) or GONE (it answered 410).")
    failing_since: datetime | None = described("Since when it took nothing; null while it takes what is sent.")
    rests_until: datetime | None = described("Nothing is sent before, because it failed several times in a row.")
    created_at: datetime = described("When it was added.")
    secrets: list[WebhookSecret] = described("What signs for it now, the newest first.")
    endpoint_no: strawberry.Private[int]

    @access.field(cost=5, description="How it does.")
    async def health(self, info: Info[Context, None]) -> WebhookHealth:
        async with info.context.services.database.reading() as connection:
            found = await calls.health(connection, self.endpoint_no)
        return WebhookHealth(
            waiting=found.waiting, failed=found.failed, attempts=found.attempts, taken=found.taken,
            took_ms=found.took_ms,
        )  # fmt: skip


@strawberry.type(description="A call of an endpoint.")
class WebhookAttempt:
    number: int = described("Which of the delivery's it was.")
    at: datetime = described("When, by the business clock.")
    sent_at: datetime = described("When, by the wall's clock, which the signature says.")
    took_ms: int = described("Milliseconds until it was answered, or given up.")
    request_id: str = described("As the call's header X-Request-Id had it.")
    status: int | None = described("HTTP status of the answer; null where there was none.")
    error: str | None = described(
        "Why there was none: TIMEOUT, NO_CONNECTION, BROKEN_OFF, NOT_HTTP, NOT_PUBLIC; more may appear."
    )
    answer: str = described("The beginning of the answer; what could be a person's or a secret is hidden.")


@strawberry.type(description="An event on its way to an endpoint.")
class WebhookDelivery:
    id: strawberry.ID = described("Its id, as the header webhook-id has it, the same however often it is sent.")
    endpoint_id: strawberry.ID = described("The endpoint.")
    url: str = described("Where that is.")
    type: WebhookEventType = described("What happened.")
    sample: bool = described("Whether it is made up.")
    sequence: int = described("Its number among those of the endpoint; they may arrive in another order.")
    state: str = described("WAITING, DELIVERED or FAILED.")
    occurred_at: datetime = described("When it happened.")
    next_at: datetime | None = described("When it is sent next; null where it is not.")
    attempt_count: int = described("How often it was sent.")
    body: str = described("What is sent, as JSON.")
    delivery_no: strawberry.Private[int]

    @access.field(
        cost=2, size=access.ListSize(assumed_size=MOST_ATTEMPTS), description="Its last 10 attempts, the latest first."
    )
    async def attempts(self, info: Info[Context, None]) -> list[WebhookAttempt]:
        async with info.context.services.database.reading() as connection:
            found = await calls.attempts(connection, self.delivery_no)
        return [
            WebhookAttempt(
                number=each.number, at=each.at, sent_at=each.sent_at, took_ms=each.took_ms, request_id=each.request_id,
                status=each.status, error=each.error, answer=each.answer,
            )
            for each in found
        ]  # fmt: skip


def endpoint_view(partner: Partner, its: Endpoint) -> WebhookEndpoint:
    """An endpoint as its partner's developers see it."""
    return WebhookEndpoint(
        id=strawberry.ID(calls.endpoint_id(partner, its.endpoint_no)), url=its.url, description=its.description,
        types=[WebhookEventType(each) for each in its.types], status=its.status, reason=its.reason,
        failing_since=its.failing_since, rests_until=its.rests_until, created_at=its.created_at,
        secrets=[WebhookSecret(created_at=made, expires_at=ends) for made, ends in its.secrets],
        endpoint_no=its.endpoint_no,
    )  # fmt: skip


def delivery_view(partner: Partner, its: Delivered) -> WebhookDelivery:
    """A delivery as its partner's developers see it."""
    return WebhookDelivery(
        id=strawberry.ID(its.delivery_id), endpoint_id=strawberry.ID(calls.endpoint_id(partner, its.endpoint_no)),
        url=its.url, type=WebhookEventType(its.type), sample=its.is_sample, sequence=its.sequence, state=its.state,
        occurred_at=its.at, next_at=its.next_at, attempt_count=its.attempts, body=its.body.decode(),
        delivery_no=its.delivery_no,
    )  # fmt: skip


def sample_of(body: bytes) -> str:
    """A document for people to read."""
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
