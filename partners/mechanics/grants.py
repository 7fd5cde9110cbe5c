"""Grants: what is given beside points, coupons, stamps, badges, rights, credit toward a tier, tickets, once per cause.

A purchase gives them inside its own call (`partners.give_grants`); the functions here give what has no purchase: an
event, an invitation, a card that is free. Stamps are a second unit of the ledger: they end by themselves, are spent and
taken back like points, and cost nobody money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import Rejection
from kit.secrets import Vault
from partners.coupons import batches, coupons
from partners.mechanics import grant_store
from partners.promotions.basket import Grant

COUPON, STAMP, BADGE = "COUPON", "STAMP", "BADGE"
STAMPS_SHORT = 45
"""What `partners.use_stamps` says where there are too few."""

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


class StampUnitInvalid(Rejection):
    """A code of stamps that cannot be one."""

    code = "STAMP_UNIT_INVALID"
    retryable = False


class StampsShort(Rejection):
    """The member has fewer stamps than it takes."""

    code = "STAMPS_SHORT"
    retryable = True


class GrantMissing(Rejection):
    """What was to be given does not exist: a batch of coupons, or stamps nobody defined."""

    code = "GRANT_MISSING"
    retryable = True


@dataclass(frozen=True, slots=True)
class Source:
    """Where something is given: the member, the partner and its terms, what it is given for, and when."""

    holder_id: int
    partner_id: int
    terms_id: int
    cause: UUID
    at: datetime


async def define_stamps(connection: AsyncConnection, code: str, description: str, *, actor: int, at: datetime) -> int:
    """Let there be stamps of a code, at every partner whose rules name them; the number of their unit.

    Rejects NOT_PERMITTED, STAMP_UNIT_INVALID.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    if not _CODE.fullmatch(code):
        raise StampUnitInvalid("stamps have a code of 1 to 64 letters, digits and _ . : -")
    unit = await grant_store.define_stamps(connection, code, description)
    await audit.write(connection, actor=actor, action="STAMPS_DEFINED", subject=f"stamps:{code}", detail={}, at=at)
    return unit


async def give(connection: AsyncConnection, vault: Vault, grants: Sequence[Grant], *, source: Source) -> list[str]:
    """Give what was decided, once for the cause; the codes of coupons, told here and never again.

    Rejects GRANT_MISSING.
    """
    wanted = [grant.code for grant in grants if grant.kind == COUPON for _ in range(grant.quantity)]
    known = await batches.of_codes(connection, sorted(set(wanted)))
    stamps = {grant.code for grant in grants if grant.kind == STAMP}
    missing = sorted((set(wanted) - known.keys()) | (stamps - await grant_store.stamp_codes(connection)))
    if missing:
        raise GrantMissing(f"there is nothing called {', '.join(missing)}")
    await grant_store.lock(connection, source.holder_id)
    drawn = coupons.draw(vault, [known[code] for code in wanted], at=source.at)
    await grant_store.give(connection, source, grants, drawn.lookups, drawn.tails)
    return list(drawn.codes)


async def use_stamps(connection: AsyncConnection, stamps: Mapping[str, int], *, source: Source, day: date) -> None:
    """Use up stamps, once for the cause; day is the programme's. Rejects STAMPS_SHORT."""
    await grant_store.lock(connection, source.holder_id)
    if await grant_store.use_stamps(connection, source, stamps, day) == STAMPS_SHORT:
        raise StampsShort("the member has fewer stamps than it takes")


async def take_back(connection: AsyncConnection, grants: Sequence[Grant], *, source: Source, key: UUID) -> None:
    """Take back what was given for a cause, as far as it is there; stamps that were used are owed, and come off the
    next ones. key is whoever's that takes back, once."""
    await grant_store.lock(connection, source.holder_id)
    await grant_store.take_back(connection, source, grants, key)


async def give_back_stamps(connection: AsyncConnection, *, source: Source, key: UUID, grace: timedelta) -> int:
    """Give back the stamps that a cause used up, good for the grace at least; how many."""
    await grant_store.lock(connection, source.holder_id)
    return await grant_store.give_back_stamps(connection, source, key, grace)


async def tickets(connection: AsyncConnection, raffle: str) -> list[tuple[int, UUID, int]]:
    """The tickets of a raffle that are good, in order: member, cause and number of each."""
    return await grant_store.tickets(connection, raffle)
