"""What a member does from the app of their own: puts a card on the device, is forgotten."""

from base64 import urlsafe_b64encode
from datetime import datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.inputs import KEY, REPLAYED, described
from gateway.membership.membership_api import note, once, person, tell
from gateway.membership.own_ids import CARD, own_id
from gateway.messages import letters
from gateway.rejections import Rejection
from gateway.sessions import session
from gateway.sessions.session import Person as Signed
from kit import clock
from members import cards, erasure, messages, proofs
from members.cards import IssuedCard


@strawberry.input(description="A card for the device that asks.")
class PutCardOnDeviceInput:
    idempotency_key: str = described(KEY)


@strawberry.input(description="A wish to be forgotten.")
class ForgetMeInput:
    idempotency_key: str = described(KEY)


@strawberry.type(description="A card as its device keeps it. Told once: nothing of it can be read again.")
class DeviceCard:
    id: strawberry.ID = described("Opaque id, as `own { cards }` has it.")
    number: str = described("Its number, for a till without a scanner.")
    code_ref: str = described("What stands for the card inside a rotating code.")
    code_secret: str = described("What the device makes codes from: 160 bits, base64url.")
    step_seconds: int = described("How long a code is shown.")
    at: datetime = described("The instant now, by the clock that codes are checked by.")


@strawberry.type(description="The card is issued.")
class PutCardOnDeviceSuccess:
    card: DeviceCard | None = described("The card; null in a replay, because it is told once.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The member is forgotten and signed out everywhere.")
class ForgetMeSuccess:
    replayed: bool = described(REPLAYED)


PutCardOnDeviceResult = Annotated[
    PutCardOnDeviceSuccess | Rejection, strawberry.union("PutCardOnDeviceResult", description="Done, or the reason.")
]
ForgetMeResult = Annotated[
    ForgetMeSuccess | Rejection, strawberry.union("ForgetMeResult", description="Done, or the reason.")
]


@strawberry.type
class OwnMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Issues one more card to the signed-in member, for the device that asks: it shows rotating codes "
        "of it without a network. It ends with the session there; a device has one. Takes a proof of a moment ago.",
    )
    async def put_card_on_device(self, info: Info[Context, None], input: PutCardOnDeviceInput) -> PutCardOnDeviceResult:
        issued: list[IssuedCard] = []

        async def change(connection: AsyncConnection) -> None:
            person_calls.require_fresh(person(info))
            card = await cards.issue_to_device(connection, services.vault, member_id=member_id, at=at)
            await session.hold_card(connection, person(info).session_id, card.card_id, now=clock.wall())
            issued.append(card)
            await tell(connection, services, member_id, letters.CARD_ON_DEVICE, at)
            await note(connection, info, "CARD_PUT_ON_DEVICE", {"card": card.card_id}, at)

        services, at, member_id = info.context.services, await info.context.now(), person(info).number
        done = await once(info, "putCardOnDevice", input.idempotency_key, change, at=at)
        told = [
            DeviceCard(
                id=own_id(services.vault, CARD, member_id, card.card_id), number=card.number,
                code_ref=cards.ref(services.vault, card.card_id),
                code_secret=urlsafe_b64encode(card.secret).decode().rstrip("="),
                step_seconds=proofs.STEP_SECONDS, at=at,
            )
            for card in issued
        ]  # fmt: skip
        return PutCardOnDeviceSuccess(card=told[0] if told else None, replayed=not done)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Forgets the signed-in member: data, addresses and cards go, the membership and every session end, "
        "and what is left of the points nobody can spend. Cannot be undone. Takes a proof of a moment ago.",
    )
    async def forget_me(self, info: Info[Context, None], input: ForgetMeInput) -> ForgetMeResult:
        async def change(connection: AsyncConnection) -> None:
            person_calls.require_fresh(person(info))
            await erasure.forget(connection, person(info).number, by="member", at=at)
            await session.end_all(connection, Signed(messages.MEMBER, person(info).number), now=clock.wall())

        at = await info.context.now()
        done = await once(info, "forgetMe", input.idempotency_key, change, at=at)
        return ForgetMeSuccess(replayed=not done)
