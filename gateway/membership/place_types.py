"""Places where a member can spend points, by town or by how far they are."""

from datetime import datetime
from decimal import Decimal

import strawberry
from strawberry import Info

from gateway import connections, masking
from gateway.connections import Connection, Cursors
from gateway.context import Context
from gateway.inputs import described
from gateway.membership import places
from gateway.membership.places import Spot, micro_of
from gateway.types import PartnerView, partner_view
from partners.directory import Directory


@strawberry.input(description="Where somebody is, used to answer this once and kept nowhere. A rough one will do.")
class NearInput:
    latitude: Decimal = described("Degrees north of the equator.")
    longitude: Decimal = described("Degrees east of Greenwich.")


@strawberry.type(description="An outlet where points can be spent.")
class SpendingPlace:
    partner: PartnerView = described("Whose it is.")
    outlet: str | None = described("Its name; null where it stands for several.")
    outlets: int = described("How many it stands for: those of a partner of which nobody said where they are are one.")
    town: str | None = described("The town it is in; null where nobody said.")
    street: str | None = described("The street and number there.")
    metres: int | None = described("How far it is as the crow flies; null where either place is unknown.")


async def spending_places(
    info: Info[Context, None], near: NearInput | None, first: int, after: str | None, at: datetime
) -> Connection[SpendingPlace]:
    """Outlets of partners that take points at an instant: the nearest first, or by town. Raises BAD_USER_INPUT."""
    directory = await info.context.services.directory.get()
    found = _where_spent(directory, at)
    spots = places.by_town(found) if near is None else places.by_distance(found, *_position(near))
    cursors = Cursors(info.context.services.vault, "spending place")
    begin, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
    rows = list(enumerate(spots, start=1))[begin : begin + wanted]
    return connections.page(
        rows, first, after=after, cursor=lambda row: cursors.write(row[0]), node=lambda row: _shown(directory, row[1])
    )


def _where_spent(directory: Directory, at: datetime) -> list[Spot]:
    found = []
    for partner in directory.partners():
        terms = directory.terms_at(partner.partner_id, at)
        if partner.status == "ACTIVE" and terms is not None and terms.redeems:
            found += [
                Spot(each.outlet_id, partner.name, each.name, each.town, each.latitude_micro, each.longitude_micro)
                for each in directory.outlets(partner.partner_id)
            ]
    return places.gathered(found)


def _position(near: NearInput) -> tuple[int, int]:
    latitude, longitude = micro_of(near.latitude), micro_of(near.longitude)
    assert latitude is not None
    assert longitude is not None
    if abs(latitude) > 90 * places.MICRO or abs(longitude) > 180 * places.MICRO:
        raise masking.coded(masking.BAD_USER_INPUT, "There is no such place on earth.")
    return latitude, longitude


def _shown(directory: Directory, spot: Spot) -> SpendingPlace:
    outlet = directory.outlet_by_id(spot.outlet_id)
    partner = None if outlet is None else directory.partner(outlet.partner_id)
    assert outlet is not None
    assert partner is not None
    return SpendingPlace(
        partner=partner_view(partner), outlet=outlet.name if spot.outlets == 1 else None, outlets=spot.outlets,
        town=outlet.town, street=outlet.street, metres=spot.metres,
    )  # fmt: skip
