"""A member's card for the wallet of their phone: a number of its own, with which points are earned and none spent."""

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
from gateway.wallet.offer import WalletNotOffered, wallets
from members import cards
from members.cards import IssuedCard


@strawberry.input(description="A card for a wallet.")
class PutCardInWalletInput:
    idempotency_key: str = described(KEY)
    wallet: str = described("APPLE or GOOGLE: one of `own { wallets }`.")


@strawberry.type(description="A card as a wallet shows it. Told once: its number cannot be read again.")
class WalletCard:
    id: strawberry.ID = described("Opaque id, as `own { cards }` has it.")
    number: str = described("Its number. It earns; spending takes a proof, which no pass has.")


@strawberry.type(description="The card is issued.")
class PutCardInWalletSuccess:
    card: WalletCard | None = described("The card; null in a replay, because it is told once.")
    replayed: bool = described(REPLAYED)


PutCardInWalletResult = Annotated[
    PutCardInWalletSuccess | Rejection, strawberry.union("PutCardInWalletResult", description="Done, or the reason.")
]


@strawberry.type
class WalletMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Issues one more card to the signed-in member, for the wallet of a phone. It stays until it is "
        "reported gone. Takes a proof of a moment ago.",
    )
    async def put_card_in_wallet(self, info: Info[Context, None], input: PutCardInWalletInput) -> PutCardInWalletResult:
        issued: list[IssuedCard] = []

        async def change(connection: AsyncConnection) -> None:
            person_calls.require_fresh(person(info))
            card = await cards.issue_to_device(connection, services.vault, member_id=member_id, at=at)
            await tell(connection, services, member_id, letters.CARD_IN_WALLET, at)
            await note(connection, info, "CARD_PUT_IN_WALLET", {"card": card.card_id, "wallet": input.wallet}, at)
            issued.append(card)

        services, at, member_id = info.context.services, await info.context.now(), person(info).number
        if input.wallet not in wallets(services.settings).offered:
            raise WalletNotOffered("no passes are made for this wallet here")
        done = await once(info, "putCardInWallet", input.idempotency_key, change, input.wallet, at=at)
        told = [
            WalletCard(id=own_id(services.vault, CARD, member_id, one.card_id), number=one.number) for one in issued
        ]
        return PutCardInWalletSuccess(card=told[0] if told else None, replayed=not done)
