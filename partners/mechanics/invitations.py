"""Invitations: a member brings another, and both are given something when it was meant.

A member shows a code that is drawn, not derived. Who came by it and buys is rewarded, and so is the referrer, when the
return window of that first purchase is over and it was kept; what they are given is said by rules of the trigger
`referral_qualified`, told apart by the word `role`. Circles, oneself, one household and one device are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault, fingerprint
from members import persons, sharing
from members.cards import MemberClosed
from partners import outcomes
from partners.callers import Caller
from partners.coupons import codes, guesses
from partners.coupons.guesses import Asking
from partners.desk import Desk
from partners.mechanics import invitation_store, inviting, moments, registry
from partners.mechanics.documents import InvitationDocument
from partners.mechanics.inviting import Arrival
from partners.mechanics.moments import Moment, MomentCounted
from partners.promotions.basket import Event

REFERRER, REFEREE = "referrer", "referee"
NO_CLIENT = 0
MOST = 500


class InvitationsDisabled(Rejection):
    """In this programme members bring nobody."""

    code = "INVITATIONS_DISABLED"
    retryable = True


class InvitationInvalid(Rejection):
    """The code is no member's invitation, or it does not count for whoever shows it; it is not said which."""

    code = "INVITATION_INVALID"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the invitation does not count here")


class AlreadyInvited(Rejection):
    """The member came by an invitation before."""

    code = "ALREADY_INVITED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Advance:
    """What one call of `advance` did: those whose first purchase was found, those rewarded, those who bought
    nothing."""

    qualifying: int
    rewarded: int
    lapsed: int


@dataclass(frozen=True, slots=True)
class Brought:
    """Somebody a member brought: since when, how far it came, and when it counts if their purchase is kept."""

    at: datetime
    state: str
    qualifies_at: datetime | None


async def invite(database: Database, vault: Vault, member_id: int, *, device: str | None, at: datetime) -> str:
    """A new code for a member to give away, told once; older ones stay good. device is what tells the member's device
    from others. Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON, INVITATIONS_DISABLED."""
    async with database.transaction() as connection:
        return await draw(connection, vault, member_id, device=device, at=at)


async def draw(connection: AsyncConnection, vault: Vault, member_id: int, *, device: str | None, at: datetime) -> str:
    """As `invite`, in the caller's transaction."""
    if await registry.invitations(connection, at=at) is None:
        raise InvitationsDisabled("in this programme members bring nobody")
    member = await sharing.person(connection, member_id)
    code = codes.draw()
    await invitation_store.insert_code(
        connection, vault.lookup("invitation", code), member.member_id, code[-codes.TAIL :],
        vault.lookup("device", device) if device else None, at,
    )  # fmt: skip
    return code


async def accept(
    database: Database,
    vault: Vault,
    code: str,
    *,
    asking: Asking,
    partner_id: int,
    device: str | None = None,
    idem_key: UUID | None = None,
    at: datetime,
    now: datetime,
) -> bool:
    """Somebody came by a code, at a partner; asking says who and from where, now is the wall's instant. Whether an
    earlier call told it under the key.

    Rejects INVITATIONS_DISABLED, COUPONS_LIMITED, INVITATION_INVALID (counted as a guess), ALREADY_INVITED,
    IDEMPOTENCY_KEY_REUSED. Why an invitation that exists does not count stays with staff: it is written to no answer.
    """
    normal = codes.normal(code)
    async with database.reading() as connection:
        rules = await registry.invitations(connection, at=at)
        if rules is None:
            raise InvitationsDisabled("in this programme members bring nobody")
        await guesses.check(connection, asking, now=now)
        row = await invitation_store.by_lookup(connection, vault.lookup("invitation", normal)) if normal else None
    if row is None:
        async with database.transaction() as connection:
            await guesses.count_wrong(connection, asking, 1, (), now=now)
        raise InvitationInvalid
    shown_on = vault.lookup("device", device) if device else None
    async with database.transaction() as connection:
        await invitation_store.lock_member(connection, asking.member_id)
        content = fingerprint("invitation", str(asking.member_id), str(partner_id), normal or "")
        earlier = None if idem_key is None else await invitation_store.told_under(connection, idem_key)
        if earlier is not None:
            if earlier != content:
                raise outcomes.rejection(outcomes.KEY_REUSED)
            return True
        if await invitation_store.is_brought(connection, asking.member_id):
            raise AlreadyInvited("the member came by an invitation before")
        arrival = await _arrival(connection, vault, asking.member_id, row, shown_on, at)
        if inviting.refusal(arrival, rules, at=at) is not None:
            raise InvitationInvalid
        await invitation_store.insert_referral(
            connection,
            asking.member_id,
            row.holder_id,
            partner_id,
            shown_on,
            at,
            at + timedelta(days=rules.purchase_days),
            idem_key=idem_key,
            content=content,
        )
    return False


async def _arrival(
    connection: AsyncConnection, vault: Vault, member_id: int, code: Row[Any], shown_on: UUID | None, at: datetime
) -> Arrival:
    """What is known of somebody who comes by a code, and of who gave it."""
    facts = await invitation_store.arrival(connection, member_id, code.holder_id, at)
    people = [await persons.key_of(connection, vault, one) for one in (member_id, code.holder_id)]
    return Arrival(
        member_ids=facts.member_ids, enrolled_at=facts.enrolled_at, purchases=facts.purchases,
        referrer_ids=facts.referrer_ids, brought_referrer=facts.brought_referrer,
        is_same_person=people[0] is not None and people[0] == people[1],
        is_same_household=facts.is_same_household,
        is_same_device=shown_on is not None and shown_on in (code.device, *facts.devices),
        brought_this_year=facts.brought_this_year,
        was_brought_before=people[0] is not None and await persons.was_given(connection, people[0], _what(REFEREE)),
    )  # fmt: skip


def _what(role: str) -> str:
    """What a person is given once, whoever they come back as."""
    return f"invitation:{role}"


async def advance(desk: Desk, *, at: datetime, limit: int = MOST) -> Advance:
    """Go on with invitations as of an instant: find first purchases, reward those whose return window is over, end
    those who bought nothing. May be repeated and run beside others: each is rewarded once."""
    async with desk.database.reading() as connection:
        rules = await registry.invitations(connection, at=at)
    if rules is None:
        return Advance(0, 0, 0)
    async with desk.database.transaction() as connection:
        qualifying = await invitation_store.find_purchases(connection, rules.minimum_minor, at, limit)
        # Who is still to be found has bought in time: nobody lapses before all of them were.
        lapsed = await invitation_store.lapse(connection, at, limit) if qualifying < limit else 0
        await invitation_store.drop_returned(connection, rules.minimum_minor, at, limit)
        due = await invitation_store.due(connection, rules.minimum_minor, at, limit)
    rewarded = 0
    for row in due:
        await _reward(desk, row.holder_id, row.referrer_id, row.partner_id, rules, at)
        rewarded += 1
    return Advance(qualifying, rewarded, lapsed)


async def brought(database: Database, member_id: int) -> list[Brought]:
    """Whom a member brought, the last first: nothing that tells who."""
    async with database.reading() as connection:
        return [
            Brought(row.at, row.state, row.qualifies_at)
            for row in await invitation_store.brought(connection, member_id)
        ]


async def _reward(
    desk: Desk, referee_id: int, referrer_id: int, partner_id: int, rules: InvitationDocument, at: datetime
) -> None:
    done = 0
    if await moments.is_rewarded(desk, moments.INVITATION, "", partner_id, at=at):
        async with desk.database.reading() as connection:
            there = await _there(connection, referee_id, referrer_id)
            person = await persons.key_of(connection, desk.vault, referee_id)
        for member_id, role in there:
            key = fingerprint("invitation", str(referee_id), role)
            words = {"role": role, "referrer": str(referrer_id)}
            moment = Moment(
                member_id=member_id, caller=Caller(partner_id, NO_CLIENT), kind=moments.INVITATION, cause=key,
                idem_key=key, fingerprint=key, occurred_at=at, at=at, event=Event("", {}, words), person=person,
                what=_what(role) if person else "",
            )  # fmt: skip
            if await _is_recorded(desk, moment):
                done += 1
    async with desk.database.transaction() as connection:
        await invitation_store.reward(connection, referee_id, done, at)


async def _there(connection: AsyncConnection, referee_id: int, referrer_id: int) -> list[tuple[int, str]]:
    """Who of the two is given something, and as what: nobody where who was brought has left, or turned out to be the
    referrer."""
    try:
        referee = await sharing.person(connection, referee_id)
    except MemberClosed:
        return []
    try:
        referrer = await sharing.person(connection, referrer_id)
    except MemberClosed:
        return [(referee_id, REFEREE)]
    if referee.member_id == referrer.member_id:
        return []
    return [(referee_id, REFEREE), (referrer_id, REFERRER)]


async def _is_recorded(desk: Desk, moment: Moment) -> bool:
    """Record one half, as far as it was not; not of a person of whom it was recorded before."""
    try:
        if await moments.recall(desk, moment.idem_key, moment.fingerprint) is None:
            await moments.record(desk, moment)
    except MomentCounted:
        return False
    return True
