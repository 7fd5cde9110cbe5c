"""Enrolling: a partner makes somebody a member at its till, or registers the pre-printed card that they hold."""

from __future__ import annotations

from contextlib import suppress

from kit.errors import Rejection
from members import guesses, registrations
from members.cards import CardUnknown, check_number
from members.registrations import Application, Registration
from partners import callers, outcomes
from partners.calls import Call
from partners.desk import Desk
from partners.mechanics import welcome


async def enrol_member(
    desk: Desk, call: Call, outlet: str, terminal: str | None, application: Application
) -> Registration:
    """Enrol somebody once, however often it is asked with one key.

    Rejects what `enrolment.enrol` rejects, IDEMPOTENCY_KEY_REUSED, and of card numbers that do not exist RATE_LIMITED.
    """
    place = callers.place_of(await desk.directory.get(), call.caller, outlet, terminal)
    async with desk.database.reading() as connection:
        earlier, is_same = await registrations.find(connection, desk.vault, call.idem_key, application)
    if earlier is not None:
        return await _welcomed(desk, call, _told(earlier, is_same))
    asking = guesses.guesser(place.terminal_id, call.caller.client_no)
    if application.card_number is not None:
        await desk.guesses.check(asking)
    try:
        async with desk.database.transaction() as connection:
            registered, is_same = await registrations.register(
                connection, desk.vault, application, idem_key=call.idem_key, partner_id=call.caller.partner_id,
                at=call.at,
            )  # fmt: skip
    except CardUnknown as no:
        raise await _counted(desk, asking, application, no) from None
    return await _welcomed(desk, call, _told(registered, is_same))


async def _welcomed(desk: Desk, call: Call, registered: Registration) -> Registration:
    """The registration, when its member was given what newcomers are. Who is enrolled is enrolled, whatever becomes of
    that; a retry gives it where a crash came between."""
    with suppress(Rejection):
        await welcome.give(desk, call.caller, registered.member_id, at=call.at)
    return registered


def _told(registered: Registration, is_same: bool) -> Registration:
    if not is_same:
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return registered


async def _counted(desk: Desk, asking: guesses.Guesser, application: Application, no: CardUnknown) -> Rejection:
    if check_number(application.card_number or "") and await desk.guesses.count(asking) == 0:
        return guesses.RateLimited()
    return no
