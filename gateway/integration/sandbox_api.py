"""Data to try out a till with: members, cards and receipts of the own partner's, in a sandbox alone.

Nothing is ever removed from a journal, in a sandbox neither: whoever wants to begin anew makes other members.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.inputs import KEY, described
from gateway.purchase_api import Counter, call_of, counter_of
from gateway.rejections import Rejection
from kit import errors
from kit.amounts import Points
from kit.secrets import Vault
from members import enrolment, proofs
from members.consents import ConsentGiven
from members.identification import MemberRef
from members.messages import COLLEAGUE
from partners.agreements.onboarding import OutletUnknown
from partners.receipts.receipts import Receipt
from partners.tills import tills

TOTALS_MINOR = (4_820, 10_590, 25_000)
"""What the members bought, one each, in minor units."""
CONSENT_VERSION = "sandbox"


class SandboxOnly(errors.Rejection):
    """Only a sandbox, whose business clock is a row, makes data to try out."""

    code = "SANDBOX_ONLY"
    retryable = False


@strawberry.input(description="Members to try out a till with.")
class SeedSandboxInput:
    idempotency_key: str = described(KEY)
    outlet: str = described("The partner's code of the outlet where they buy.")


@strawberry.type(description="A member who was made up, with a purchase at the own partner.")
class SandboxMember:
    card_number: str = described("The card's number, as a till reads it.")
    pin: str = described("The PIN, which lets a till spend points.")
    reference: str = described("Number of the receipt.")
    outlet: str = described("Where it was bought.")
    terminal: str = described("At which till.")
    points: Points = described("What it earned.")


@strawberry.type(description="Members who were made up.")
class SeedSandboxSuccess:
    members: list[SandboxMember] = described("Who, with their PINs, shown to nobody again. Empty in a replay.")
    replayed: bool = described("True when an earlier call made them; nothing was written now.")


SeedSandboxResult = Annotated[
    SeedSandboxSuccess | Rejection, strawberry.union("SeedSandboxResult", description="Made, or the reason.")
]


@dataclass(frozen=True, slots=True)
class _MadeUp:
    """A member before their purchase."""

    card_number: str
    pin: str


@strawberry.type
class SandboxMutation:
    @access.mutation(
        scopes=(scopes.CLIENTS_MANAGE,),
        cost=100,
        description="Makes up members with cards and PINs, each with a purchase at the own partner, in a sandbox.",
    )
    async def seed_sandbox(self, info: Info[Context, None], input: SeedSandboxInput) -> SeedSandboxResult:
        counter, at, services = await counter_of(info), await info.context.now(), info.context.services
        if services.settings.clock != "sandbox":
            raise SandboxOnly("members are made up in a sandbox alone")
        place = _place(counter, input.outlet)
        person = person_calls.person_of(info.context.viewer, COLLEAGUE)
        made: list[_MadeUp] = []
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "seedSandbox", input.idempotency_key, input.outlet, at=at
            )
            if is_new:
                made = [await _member(connection, services.vault, counter, at) for _ in TOTALS_MINOR]
        members = [await _bought(info, input.idempotency_key, place, *each) for each in enumerate(made)]
        return SeedSandboxSuccess(members=members, replayed=not is_new)


def _place(counter: Counter, code: str) -> tuple[str, str]:
    """The first till that is in use at an outlet, by its outlet's code and its own. Rejects OUTLET_UNKNOWN."""
    outlet = counter.directory.outlet(counter.partner.partner_id, code)
    for terminal in [] if outlet is None else counter.directory.terminals(outlet.outlet_id):
        if terminal.status == "ACTIVE":
            return code, terminal.code
    raise OutletUnknown("the partner has no such outlet, or no till in use there")


async def _member(connection: AsyncConnection, vault: Vault, counter: Counter, at: datetime) -> _MadeUp:
    enrolled = await enrolment.enrol(
        connection, vault, enrolled_by=counter.partner.partner_id, at=at, personal=None,
        consents=[ConsentGiven("PROGRAMME", CONSENT_VERSION, at)], language="en",
    )  # fmt: skip
    assert enrolled.card is not None
    pin = f"{secrets.randbelow(10_000):04}"
    await proofs.set_pin(connection, vault, enrolled.card.member_id, pin)
    return _MadeUp(enrolled.card.number, pin)


async def _bought(
    info: Info[Context, None], key: str, place: tuple[str, str], number: int, made: _MadeUp
) -> SandboxMember:
    """One purchase of a member's, under a key made of the call's."""
    digest = hashlib.sha256(f"{number} {key}".encode()).hexdigest()
    counter, call = await call_of(info, "seedSandbox", digest)
    terms = counter.directory.terms_at(counter.partner.partner_id, call.at)
    currency = terms.currency if terms else counter.directory.programme.base_currency
    receipt = Receipt(
        reference=f"TRY-{digest[:8].upper()}", outlet=place[0], terminal=place[1], business_date=call.at.date(),
        occurred_at=call.at, currency=currency, total_minor=TOTALS_MINOR[number],
    )  # fmt: skip
    done = await tills.record_purchase(counter.desk, call, MemberRef(card_number=made.card_number), receipt, spend=None)
    return SandboxMember(
        card_number=made.card_number, pin=made.pin, reference=receipt.reference, outlet=place[0], terminal=place[1],
        points=Points(done.receipt.awarded_points),
    )  # fmt: skip
