"""Members' points shared: the programme's rules for it, and what only receipts tell of a household."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import FieldProblem
from ledger.transfers import Sent
from members import households
from members.sharing import SharingRules
from partners.agreements import programme, sharing_store
from partners.agreements.programme import ProgrammeInvalid, ProgrammeUnknown


async def rules(connection: AsyncConnection) -> SharingRules:
    """What the programme lets members do with each other's points. Rejects PROGRAMME_UNKNOWN."""
    row = await sharing_store.rules(connection)
    if row is None:
        raise ProgrammeUnknown("no programme was founded in this database yet")
    return SharingRules(row.transfers_enabled, row.household_size, timedelta(days=row.household_cooling_days))


async def change_rules(
    connection: AsyncConnection,
    *,
    is_enabled: bool | None = None,
    household_size: int | None = None,
    cooling_days: int | None = None,
    actor: int,
    at: datetime,
) -> SharingRules:
    """Change rules on behalf of an OPERATOR_ADMIN; None leaves one as it is. What members share already stays shared,
    and whoever is in a household may leave it. Rejects NOT_PERMITTED, PROGRAMME_UNKNOWN, PROGRAMME_INVALID."""
    await actors.require_role(connection, actor, actors.OPERATOR_ADMIN)
    held = await rules(connection)
    wanted = replace(
        held,
        is_enabled=held.is_enabled if is_enabled is None else is_enabled,
        household_size=household_size or held.household_size,
        household_cooling=held.household_cooling if cooling_days is None else timedelta(days=cooling_days),
    )
    if not 2 <= wanted.household_size <= 20 or not 0 <= wanted.household_cooling.days <= 3650:
        problem = FieldProblem(("household",), "OUT_OF_RANGE", "2 to 20 members, 0 to 3650 days")
        raise ProgrammeInvalid("these rules do not make a programme", problems=[problem])
    values = {
        "transfers_enabled": wanted.is_enabled,
        "household_size": wanted.household_size,
        "household_cooling_days": wanted.household_cooling.days,
    }
    await sharing_store.write_rules(connection, values)
    await audit.write(connection, actor=actor, action="SHARING_CHANGED", subject="programme", detail=values, at=at)
    return wanted


async def day_of(connection: AsyncConnection, at: datetime) -> date:
    """The programme's calendar day of an instant. Rejects PROGRAMME_UNKNOWN."""
    return at.astimezone(ZoneInfo((await programme.read(connection)).time_zone)).date()


async def leave_household(connection: AsyncConnection, *, member_id: int, at: datetime) -> list[Sent]:
    """A member leaves their household and gets back what they put in and have not spent, see members.households; the
    caller completes what is on its way. Rejects NOT_IN_HOUSEHOLD and what sharing.person rejects."""
    place = await households.place_of(connection, member_id)
    cards = await households.cards_of(connection, place.household_id, place.member_id)
    spent = await sharing_store.spent_by_cards(connection, place.household_id, cards)
    day = await day_of(connection, at)
    return await households.leave(connection, member_id=place.member_id, spent_points=spent, at=at, day=day)
