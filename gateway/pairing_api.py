"""Pairings: a till without a scanner shows a code, and the member confirms in the app which till asks."""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, scopes, slips
from gateway.context import Context, Services
from gateway.inputs import KEY, REPLAYED, described
from gateway.membership.membership_api import once, person
from gateway.purchase_api import call_of
from gateway.rejections import Rejection
from gateway.types import Node, PartnerView, partner_view
from kit.secrets import opaque_id, read_opaque_id
from members import pairings
from members.pairings import Pairing as Found
from partners.directory import Partner
from partners.tills import pairings as tills
from partners.tills.pairings import Paired

PAGE = "/app/pair"
_PREFIX = "par"


@strawberry.input(description="A code that a till is to show.")
class BeginPairingInput:
    idempotency_key: str = described(KEY)
    outlet: str = described("The partner's code of the outlet.")
    terminal: str = described("The outlet's code of the till that shows it, and at which alone the visit is good.")


@strawberry.input(description="A code that the member's phone has read from a till.")
class AskingTillInput:
    code: str = described("The code inside the link that the till shows.")


@strawberry.input(description="A till's code that the member confirms.")
class ConfirmPairingInput:
    idempotency_key: str = described(KEY)
    code: str = described("The code inside the link that the till shows.")


@strawberry.type(description="A code that a till shows, and what became of it.")
class Pairing(Node):
    status: str = described(
        "WAITING; CONFIRMED by a member; EXPIRED, also when the till shows a later one. More may appear."
    )
    expires_at: datetime = described("Until when a member can confirm it.")
    visit: str | None = described("Names the member who confirmed it, at that terminal; as a `visit` of `member`.")


@strawberry.type(description="A till may show a code.")
class BeginPairingSuccess:
    pairing: Pairing = described("The pairing; `node` tells what became of it, to the client that began it.")
    link: str = described("What the code says: an address that the member's phone opens, in the app or outside it.")
    replayed: bool = described("True when an earlier call began it; the code is the same.")
    cashier_text: str = described("For the till's screen.")


@strawberry.type(description="The till that shows a code.")
class AskingTill:
    partner: PartnerView = described("Whose till it is.")
    outlet: str = described("Where it stands.")
    terminal: str = described("The outlet's code of it.")
    expires_at: datetime = described("Until when it can be confirmed.")


@strawberry.type(description="The till knows the member.")
class ConfirmPairingSuccess:
    till: AskingTill = described("Which till.")
    replayed: bool = described(REPLAYED)


BeginPairingResult = Annotated[
    BeginPairingSuccess | Rejection, strawberry.union("BeginPairingResult", description="A code, or the reason.")
]
ConfirmPairingResult = Annotated[
    ConfirmPairingSuccess | Rejection, strawberry.union("ConfirmPairingResult", description="Done, or the reason.")
]


@strawberry.type
class PairingQuery:
    @access.query(
        scopes=(scopes.MEMBER_SELF,),
        cost=2,
        description="Which till shows a code that the signed-in member's phone has read, so that they see who asks "
        "before they confirm. What would be refused is an error BAD_USER_INPUT with the rejection's code.",
    )
    async def asking_till(self, info: Info[Context, None], input: AskingTillInput) -> AskingTill:
        services, at = info.context.services, await info.context.now()
        async with services.database.reading() as connection:
            found = await pairings.look(connection, input.code, by=person(info).number, at=at)
        return await _asking(services, found)


@strawberry.type
class PairingMutation:
    @access.mutation(
        scopes=(scopes.MEMBERS_READ,),
        moves_points=False,
        description="Lets a till without a scanner show a code that members read with their phone: draw `link` as a QR "
        "code, and ask `node` every second or two what became of it. A till has one code at a time.",
    )
    async def begin_pairing(self, info: Info[Context, None], input: BeginPairingInput) -> BeginPairingResult:
        counter, call = await call_of(info, "beginPairing", input.idempotency_key)
        paired, code, replayed = await tills.begin(counter.desk, call, input.outlet, input.terminal)
        site = info.context.services.settings.issuer.rstrip("/")
        return BeginPairingSuccess(
            pairing=pairing(counter.partner, paired),
            link=f"{site}{PAGE}?{urlencode({'code': code})}",
            replayed=replayed,
            cashier_text=slips.text("pairing", info.context.language),
        )

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Tells the till that shows a code who the signed-in member is. It opens a visit there, which "
        "earns; to spend takes a proof of its own.",
    )
    async def confirm_pairing(self, info: Info[Context, None], input: ConfirmPairingInput) -> ConfirmPairingResult:
        confirmed: list[Found] = []

        async def change(connection: AsyncConnection) -> None:
            confirmed.append(await pairings.confirm(connection, input.code, person(info).number, at=at))

        services, at = info.context.services, await info.context.now()
        is_new = await once(info, "confirmPairing", input.idempotency_key, change, input.code, at=at)
        if not is_new:
            async with services.database.reading() as connection:
                confirmed.append(await pairings.confirmed(connection, input.code, by=person(info).number, at=at))
        return ConfirmPairingSuccess(till=await _asking(services, confirmed[0]), replayed=not is_new)


def pairing(partner: Partner, paired: Paired) -> Pairing:
    """A pairing as the till that began it sees it."""
    found = paired.pairing
    return Pairing(
        id=pairing_id_for(partner, found), status=found.state, expires_at=found.expires_at, visit=paired.visit
    )


def pairing_id_for(partner: Partner, found: Found) -> strawberry.ID:
    """A pairing's id as its partner knows it."""
    return strawberry.ID(opaque_id(partner.id_key, _PREFIX, found.pairing_id.to_bytes(8, "big")))


def read_pairing_id(partner: Partner, opaque: str) -> int | None:
    """The number inside an id of this partner's, None for anything else."""
    raw = read_opaque_id(partner.id_key, _PREFIX, opaque)
    return int.from_bytes(raw, "big") if raw and len(raw) == 8 else None


async def _asking(services: Services, found: Found) -> AskingTill:
    directory = await services.directory.get()
    partner, outlet = directory.partner(found.partner_id), directory.outlet_by_id(found.outlet_id)
    terminal = directory.terminal_by_id(found.terminal_id)
    if partner is None or outlet is None or terminal is None or partner.status != "ACTIVE":
        raise pairings.PairingUnknown
    return AskingTill(
        partner=partner_view(partner), outlet=outlet.name, terminal=terminal.code, expires_at=found.expires_at
    )
