"""A member gives a means of payment: on a page of the provider's, whose address is told here. What it comes to is told
by the provider, or asked for by the worker; no card's number ever comes here."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.charging import choice
from gateway.context import Context
from gateway.inputs import KEY, described
from gateway.pages.visits import HOME
from gateway.rejections import Rejection
from kit import errors
from kit.secrets import fingerprint
from members.messages import MEMBER
from members.subscription import provider_events
from members.subscription.providers import NoSetup, Provider, Silent
from partners import calls


class PaymentPageMissing(errors.Rejection):
    """Nobody is charged here, so there is no page where a means of payment could be given."""

    code = "PAYMENT_PAGE_MISSING"
    retryable = False


class PaymentTokenRefused(errors.Rejection):
    """The provider takes a means of payment on its own page alone, not by what somebody says that it is called."""

    code = "PAYMENT_TOKEN_REFUSED"
    retryable = False


class ProviderSilent(errors.Rejection):
    """The payment provider does not answer now."""

    code = "PROVIDER_SILENT"
    retryable = True


def check_token(provider: Provider) -> None:
    """Nothing where a member may name a means by its token. Rejects PAYMENT_TOKEN_REFUSED."""
    if not provider.takes_tokens:
        raise PaymentTokenRefused("give the means of payment on the provider's page, as givePaymentMeans says")


@strawberry.input(description="A means of payment that the signed-in member is to give.")
class GivePaymentMeansInput:
    idempotency_key: str = described(KEY)
    text_version: str = described("The version of the words about charging that its holder agreed to.")


@strawberry.type(description="The page is there.")
class GivePaymentMeansSuccess:
    address: str = described("The provider's page, for the member's own browser; good for some hours.")
    replayed: bool = described("True when an earlier call asked for it.")


GivePaymentMeansResult = Annotated[
    GivePaymentMeansSuccess | Rejection, strawberry.union("GivePaymentMeansResult", description="Done, or the reason.")
]


@strawberry.type
class PaymentMeansMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Where the signed-in member gives a means of payment that subscriptions are charged from then on: "
        "a page of the payment provider's. What is open is charged as soon as it has come.",
    )
    async def give_payment_means(
        self, info: Info[Context, None], input: GivePaymentMeansInput
    ) -> GivePaymentMeansResult:
        services, at = info.context.services, await info.context.now()
        person = person_calls.person_of(info.context.viewer, MEMBER)
        person_calls.require_fresh(person)
        calls.check_key(input.idempotency_key)
        provider = choice.of(services.settings, services.vault)[services.settings.charging]
        # Before anything is written: it makes a page and moves nothing, and under its key it is the same page again.
        key = fingerprint("setup", str(person.number), input.idempotency_key).hex
        try:
            page = await provider.set_up(key, return_to=services.settings.issuer + HOME)
        except NoSetup as none:
            raise PaymentPageMissing("nobody is charged here: an invoice says how to pay") from none
        except Silent as silence:
            raise ProviderSilent("ask again with the same key") from silence
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "givePaymentMeans", input.idempotency_key, input.text_version, at=at
            )
            await provider_events.begin_setup(
                connection, provider, person.number, page, text_version=input.text_version, at=at
            )
        return GivePaymentMeansSuccess(address=page.address, replayed=not is_new)
