"""What a member is told of the means of payment that is charged: whether there is one and since when, never which."""

from datetime import datetime

import strawberry

from gateway.charging import choice
from gateway.context import Services
from gateway.inputs import described
from members.subscription import subscriptions


@strawberry.type(description="How subscriptions of the member are paid.")
class OwnPaymentMeans:
    provider: str = described("Who charges; `manual`: nobody does, an invoice says how to pay.")
    is_charged: bool = described("Whether a means of payment is charged.")
    given_at: datetime | None = described("Since when the present one is; null where there is none.")


async def own(services: Services, member_id: int) -> OwnPaymentMeans:
    """How a member's subscriptions are paid."""
    provider = choice.of(services.settings, services.vault)[services.settings.charging]
    async with services.database.reading() as connection:
        given_at = await subscriptions.means_given_at(connection, provider, member_id)
    return OwnPaymentMeans(provider=provider.name, is_charged=provider.is_automatic, given_at=given_at)
