"""What is answered of rights without money."""

from datetime import datetime

import strawberry

from gateway.context import Services
from gateway.inputs import described
from partners.mechanics import rights


@strawberry.type(description="Something that a member may have without money, so many times: an escort, a lounge.")
class MemberRight:
    code: str = described("Its code, which `useRight` takes.")
    title: str = described("What it is, in the language that was asked for; empty where nothing says it.")
    left: int = described("How many times still.")
    valid_until: datetime | None = described("When the first of them ends; null: none ends by itself.")


async def rights_of(
    services: Services, member_id: int, *, partner_id: int | None, at: datetime, language: str
) -> list[MemberRight]:
    """A member's rights at an instant, by code; where a partner asks, those that it honours."""
    directory = await services.directory.get()
    release = directory.shelf.at(at, at)
    partner = None if partner_id is None else directory.partner(partner_id)
    here = None if partner is None else rights.honoured(release, partner)
    async with services.database.reading() as connection:
        found = await rights.left(connection, member_id, here=here, at=at)
    return [
        MemberRight(
            code=one.code, title=rights.title(release, one.code, language), left=one.left, valid_until=one.ends_at
        )
        for one in found
    ]
