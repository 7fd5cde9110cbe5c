"""Notices: letters that somebody has to have been sent before something may happen, with proof that they were accepted.

The id of a notice is made of what it says, so that a job that runs twice writes once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.messages import letters
from kit.secrets import Vault, fingerprint
from ledger.endings import Ending
from members import messages
from members.messages import Acceptance, Recipient
from members.subscription.reminding import Reminder
from partners.agreements import programme
from partners.agreements.programme import ProgrammeUnknown
from settlement.claims.claims import Untold


@dataclass(frozen=True, slots=True)
class Sender:
    """In whose name a notice is written: the programme, the zone of its calendar, the address of its site."""

    programme: str
    time_zone: str
    site: str


async def sender_of(connection: AsyncConnection, issuer: str) -> Sender:
    """The programme as it is founded; before that, what can be said without it. issuer is the site's address."""
    site = issuer.rstrip("/")
    try:
        rules = await programme.read(connection)
    except ProgrammeUnknown:
        return Sender("Tessera", "UTC", site)
    return Sender(rules.name, rules.time_zone, site)


async def expiry(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    member_id: int,
    *,
    points: int,
    expires_at: datetime,
    at: datetime,
    now: datetime,
) -> Acceptance:
    """Tell a member that points end at an instant. What is returned is the proof to be kept beside the points.

    at is the business instant, now the wall's. Rejects ADDRESS_UNKNOWN, MESSAGE_NOT_PERMITTED.
    """
    recipient = await messages.member(connection, vault, member_id)
    letter = letters.expiry_notice(
        recipient.language,
        points=points,
        expires_at=expires_at,
        zone=zone_of(recipient, sender),
        programme=sender.programme,
    )
    message_id = _id(messages.EXPIRY_NOTICE, member_id, expires_at.isoformat(), str(points))
    return await messages.accept(
        connection, recipient, letter, message_id=message_id, purpose=messages.EXPIRY_NOTICE, at=at, now=now
    )


async def expiry_reminder(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    member_id: int,
    endings: Sequence[Ending],
    *,
    at: datetime,
    now: datetime,
) -> Acceptance:
    """Remind a member of points that end at some instants. Else as `expiry`."""
    recipient = await messages.member(connection, vault, member_id)
    letter = letters.expiry_reminder(
        recipient.language,
        endings=[(each.at, each.points) for each in endings],
        zone=zone_of(recipient, sender),
        programme=sender.programme,
        site=sender.site,
    )
    message_id = _id("EXPIRY_REMINDER", member_id, at.isoformat())
    return await messages.accept(
        connection, recipient, letter, message_id=message_id, purpose=messages.EXPIRY_NOTICE, at=at, now=now
    )


async def renewal(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    member_id: int,
    *,
    plan: str,
    amount_minor: int,
    currency: str,
    renews_at: datetime,
    at: datetime,
    now: datetime,
) -> Acceptance:
    """Tell a member that a subscription goes on at an instant for a price. Else as `expiry`."""
    recipient = await messages.member(connection, vault, member_id)
    letter = letters.renewal_notice(
        recipient.language,
        plan=plan,
        amount_minor=amount_minor,
        currency=currency,
        renews_at=renews_at,
        zone=zone_of(recipient, sender),
        programme=sender.programme,
        site=sender.site,
    )
    message_id = _id(messages.RENEWAL_NOTICE, member_id, plan, renews_at.isoformat(), str(amount_minor), currency)
    return await messages.accept(
        connection, recipient, letter, message_id=message_id, purpose=messages.RENEWAL_NOTICE, at=at, now=now
    )


async def payment(
    connection: AsyncConnection, vault: Vault, sender: Sender, its: Reminder, *, at: datetime, now: datetime
) -> Acceptance:
    """Tell a member that a subscription was not paid. Else as `expiry`."""
    recipient = await messages.member(connection, vault, its.holder_id)
    letter = letters.payment_notice(
        recipient.language,
        step=its.step,
        plan=its.plan.get(recipient.language) or next(iter(its.plan.values())),
        amount_minor=its.amount_minor,
        currency=its.currency,
        reference=its.reference,
        until=its.over_at,
        zone=zone_of(recipient, sender),
        programme=sender.programme,
        site=sender.site,
    )
    message_id = _id(messages.PAYMENT_NOTICE, its.holder_id, str(its.invoice_no), its.step)
    return await messages.accept(
        connection, recipient, letter, message_id=message_id, purpose=messages.PAYMENT_NOTICE, at=at, now=now
    )


async def claim(
    connection: AsyncConnection,
    vault: Vault,
    sender: Sender,
    news: Untold,
    partner: str,
    *,
    at: datetime,
    now: datetime,
) -> Acceptance:
    """Tell a member what became of a claim to missing points. Else as `expiry`."""
    recipient = await messages.member(connection, vault, news.member_id)
    letter = letters.claim_notice(
        recipient.language,
        what=news.to_state,
        partner=partner,
        day=news.business_date,
        points=news.points or 0,
        until=news.deadline,
        zone=zone_of(recipient, sender),
        site=sender.site,
    )
    message_id = _id(messages.CLAIM_NOTICE, news.member_id, str(news.claim_id), news.to_state)
    return await messages.accept(
        connection, recipient, letter, message_id=message_id, purpose=messages.CLAIM_NOTICE, at=at, now=now
    )


def zone_of(recipient: Recipient, sender: Sender) -> ZoneInfo:
    """The zone that a letter is dated in: the recipient's own, else the programme's."""
    return ZoneInfo(recipient.time_zone or sender.time_zone)


def _id(purpose: str, member_id: int, *about: str) -> UUID:
    return fingerprint(purpose, str(member_id), *about)
