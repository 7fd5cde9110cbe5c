"""Outlets and tills: a partner's manager adds them and closes tills; enrolment says which machine is which."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.inputs import KEY, REPLAYED, described
from gateway.membership.places import degrees_of, micro_of
from gateway.purchase_api import counter_of
from gateway.rejections import Rejection
from members.messages import COLLEAGUE
from partners.agreements import onboarding
from partners.agreements.onboarding import OutletPlace, OwnPerson
from partners.directory import Directory


@strawberry.type(description="A till of the own partner's.")
class OwnTerminal:
    code: str = described("The outlet's code of it.")
    status: str = described("ACTIVE or SUSPENDED.")


@strawberry.type(description="A place of sale of the own partner's.")
class OwnOutlet:
    code: str = described("The partner's own code of it.")
    name: str = described("Its name.")
    terminals: list[OwnTerminal] = described("Its tills by code, closed ones too.")
    town: str | None = described("The town it is in, as members read it; null where nobody said.")
    street: str | None = described("The street and number there.")
    latitude: Decimal | None = described("Degrees north of the equator, to six places.")
    longitude: Decimal | None = described("Degrees east of Greenwich, to six places.")


@strawberry.input(description="A place of sale to be added.")
class AddOutletInput:
    idempotency_key: str = described(KEY)
    code: str = described("The partner's own code of it; unique at the partner, never changed.")
    name: str = described("Its name, as members read it.")


@strawberry.input(description="A till to be added.")
class AddTerminalInput:
    idempotency_key: str = described(KEY)
    outlet: str = described("The code of its outlet.")
    code: str = described("The outlet's code of it.")


@strawberry.input(description="A till that is to be refused from now on.")
class CloseTerminalInput:
    idempotency_key: str = described(KEY)
    outlet: str = described("The code of its outlet.")
    terminal: str = described("The outlet's code of it.")


@strawberry.input(description="Where an outlet is, for members who look for one. What is not told is taken away.")
class SetOutletPlaceInput:
    idempotency_key: str = described(KEY)
    outlet: str = described("The code of the outlet.")
    town: str | None = described("The town it is in.", default=None)
    street: str | None = described("The street and number there.", default=None)
    latitude: Decimal | None = described("Degrees north of the equator; both or none.", default=None)
    longitude: Decimal | None = described("Degrees east of Greenwich; both or none.", default=None)


@strawberry.type(description="The partner's places of sale as they stand now.")
class OutletSuccess:
    outlets: list[OwnOutlet] = described("All of them, by code.")
    replayed: bool = described(REPLAYED)


OutletResult = Annotated[
    OutletSuccess | Rejection, strawberry.union("OutletResult", description="Done, or the reason.")
]


@strawberry.type
class OutletQuery:
    @access.query(
        scopes=(scopes.OUTLETS_MANAGE,), cost=10, description="The places of sale of the signed-in manager's partner."
    )
    async def own_outlets(self, info: Info[Context, None]) -> list[OwnOutlet]:
        counter = await counter_of(info)
        return shown(counter.directory, counter.partner.partner_id)


@strawberry.type
class OutletMutation:
    @access.mutation(
        scopes=(scopes.OUTLETS_MANAGE,), moves_points=False, description="Adds a place of sale of the own partner's."
    )
    async def add_outlet(self, info: Info[Context, None], input: AddOutletInput) -> OutletResult:
        async def add(connection: AsyncConnection, by: OwnPerson, at: datetime) -> None:
            await onboarding.add_outlets(
                connection, partner_id=by.partner_id, outlets=[(input.code, input.name)], actor=by, at=at
            )

        return await _done(info, "addOutlet", input.idempotency_key, add, input.code, input.name)

    @access.mutation(
        scopes=(scopes.OUTLETS_MANAGE,), moves_points=False,
        description="Says where one of the own outlets is, so that members who look for a place find it.",
    )  # fmt: skip
    async def set_outlet_place(self, info: Info[Context, None], input: SetOutletPlaceInput) -> OutletResult:
        place = OutletPlace(input.town, input.street, micro_of(input.latitude), micro_of(input.longitude))

        async def put(connection: AsyncConnection, by: OwnPerson, at: datetime) -> None:
            await onboarding.set_outlet_place(
                connection, partner_id=by.partner_id, code=input.outlet, place=place, actor=by, at=at
            )

        content = (place.town, place.street, place.latitude_micro, place.longitude_micro)
        return await _done(
            info, "setOutletPlace", input.idempotency_key, put, input.outlet, *(str(each) for each in content)
        )

    @access.mutation(
        scopes=(scopes.OUTLETS_MANAGE,), moves_points=False, description="Adds a till at one of the own outlets."
    )
    async def add_terminal(self, info: Info[Context, None], input: AddTerminalInput) -> OutletResult:
        async def add(connection: AsyncConnection, by: OwnPerson, at: datetime) -> None:
            outlet_id = await onboarding.outlet_id_of(connection, partner_id=by.partner_id, code=input.outlet)
            await onboarding.add_terminals(
                connection, partner_id=by.partner_id, terminals=[(outlet_id, input.code)], actor=by, at=at
            )

        return await _done(info, "addTerminal", input.idempotency_key, add, input.outlet, input.code)

    @access.mutation(
        scopes=(scopes.OUTLETS_MANAGE,), moves_points=False,
        description="Refuses what a till sends from now on; the operator can open it again. Takes a proof of a moment "
        "ago.",
    )  # fmt: skip
    async def close_terminal(self, info: Info[Context, None], input: CloseTerminalInput) -> OutletResult:
        async def close(connection: AsyncConnection, by: OwnPerson, at: datetime) -> None:
            person_calls.require_fresh(person_calls.person_of(info.context.viewer, COLLEAGUE))
            outlet_id = await onboarding.outlet_id_of(connection, partner_id=by.partner_id, code=input.outlet)
            terminal_id = await onboarding.terminal_id_of(connection, outlet_id=outlet_id, code=input.terminal)
            await onboarding.suspend_terminal(connection, terminal_id=terminal_id, actor=by, at=at)

        return await _done(info, "closeTerminal", input.idempotency_key, close, input.outlet, input.terminal)


Deed = Callable[[AsyncConnection, OwnPerson, datetime], Awaitable[None]]


async def _done(info: Info[Context, None], operation: str, key: str, deed: Deed, *content: str) -> OutletSuccess:
    """Do something once under its key; the partner's outlets as they stand afterwards."""
    services, at = info.context.services, await info.context.now()
    partner_id = (await counter_of(info)).partner.partner_id
    person = person_calls.person_of(info.context.viewer, COLLEAGUE)
    async with services.database.transaction() as connection:
        is_new = await person_calls.is_new(connection, services.vault, person, operation, key, *content, at=at)
        if is_new:
            await deed(connection, OwnPerson(person.number, partner_id), at)
    directory = await services.directory.refresh() if is_new else await services.directory.get()
    return OutletSuccess(outlets=shown(directory, partner_id), replayed=not is_new)


def shown(directory: Directory, partner_id: int) -> list[OwnOutlet]:
    """A partner's outlets with all their tills."""
    return [
        OwnOutlet(
            code=outlet.code,
            name=outlet.name,
            terminals=[
                OwnTerminal(code=each.code, status=each.status) for each in directory.terminals(outlet.outlet_id)
            ],
            town=outlet.town,
            street=outlet.street,
            latitude=degrees_of(outlet.latitude_micro),
            longitude=degrees_of(outlet.longitude_micro),
        )
        for outlet in directory.outlets(partner_id)
    ]
