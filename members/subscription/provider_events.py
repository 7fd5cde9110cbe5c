"""What providers tell by themselves: written down when it comes, each event once, and looked at afterwards, by asking
the provider. What comes of it is what comes of asking about a charge that nobody knew the outcome of.

Instants called now are the wall's: how long ago something was told and when it is tried again has nothing to do with
business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from members import sharing
from members import store as members_store
from members.subscription import charging, provider_event_store, subscriptions
from members.subscription.providers import Heard, Provider, Saved, Setup, Told

MOST_WAITING = 10_000
"""So many events nobody has looked at, and no more are taken: whoever tells them tells them again."""
FIRST_WAIT_SECONDS = 60
GIVEN_WITHIN = timedelta(hours=1)
"""How long a setup is asked about without having been told of."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An event to look at, of a provider by its name; tries counts this one."""

    provider: str
    heard: Heard
    tries: int


async def keep(connection: AsyncConnection, provider: str, heard: Sequence[Heard], *, now: datetime) -> bool:
    """Write down what was told, what was told before not again; False, with nothing written, where too much waits."""
    if await provider_event_store.waiting(connection, provider, MOST_WAITING) >= MOST_WAITING:
        return False
    for one in heard:
        await provider_event_store.insert_event(connection, provider, one.event_id, one.kind, one.reference, now)
    return True


async def take(connection: AsyncConnection, providers: Sequence[str], *, now: datetime, limit: int) -> list[Taken]:
    """The next events to look at; each comes again later, unless it is done by then."""
    rows = await provider_event_store.take(connection, providers, now, FIRST_WAIT_SECONDS, limit)
    return [Taken(row.provider, Heard(row.event_id, row.kind, row.reference), row.tries) for row in rows]


async def done(connection: AsyncConnection, taken: Taken) -> None:
    """Nobody has to look at an event any more."""
    await provider_event_store.drop_due(connection, taken.provider, taken.heard.event_id)


async def settle(
    connection: AsyncConnection, provider: Provider, taken: Taken, told: Told | None, *, is_last: bool, at: datetime
) -> bool:
    """Write what an event's provider says of it now, and that it was looked at, in one transaction. False where it is
    about a payment that nobody knows of yet; it stays to be looked at, unless this was the last time."""
    is_known = told is None or await charging.hear(connection, provider, [told], at=at)
    if is_known or is_last:
        await done(connection, taken)
    return is_known


# --- Means of payment that are being given ------------------------------------------------------------------------


async def begin_setup(
    connection: AsyncConnection, provider: Provider, member_id: int, setup: Setup, *, text_version: str, at: datetime
) -> None:
    """A member is on a provider's page to give a means of payment. text_version is of the words that they agreed to.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    member = await sharing.person(connection, member_id)
    await provider_event_store.insert_setup(
        connection, member.member_id, provider.name, setup.reference, text_version, at
    )


async def open_setups(
    connection: AsyncConnection, providers: Sequence[str], *, at: datetime, limit: int
) -> list[tuple[str, str]]:
    """Pages that members went to within the last hour and of which nothing has come: provider and reference."""
    rows = await provider_event_store.open_setups(connection, providers, at - GIVEN_WITHIN, limit)
    return [(row.provider, row.reference) for row in rows]


async def is_open(connection: AsyncConnection, provider: str, reference: str) -> bool:
    """Whether a page is one of ours of which nothing has come yet."""
    its = await provider_event_store.setup(connection, provider, reference)
    return its is not None and not its.is_done


async def finish_setup(
    connection: AsyncConnection, provider: Provider, reference: str, saved: Saved, *, at: datetime
) -> bool:
    """A means of payment came of a page: it is the member's from now on, once. False where it was, or the page is
    nobody's.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    its = await provider_event_store.setup(connection, provider.name, reference)
    if its is None:
        return False
    await members_store.lock_member(connection, its.holder_id)
    its = await provider_event_store.setup(connection, provider.name, reference)
    if its is None or its.is_done:
        return False
    means_no = await subscriptions.give_means(
        connection, provider, its.holder_id, token=saved.token, mark=saved.mark, text_version=its.text_version, at=at
    )
    await provider_event_store.insert_setup_done(connection, its.holder_id, its.setup_no, means_no, at)
    return True
