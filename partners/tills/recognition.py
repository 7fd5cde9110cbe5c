"""Whom a till has before it: by card, code, phone or visit; who guesses too often is told nothing more."""

from __future__ import annotations

from datetime import datetime

from kit.errors import Rejection
from members import guesses, identification
from members.aliases import normal_phone
from members.cards import CardUnknown, MemberUnknown, Recognised, check_number
from members.guesses import Guesser, RateLimited
from members.identification import Identified, MemberRef
from partners.callers import Caller, Place
from partners.calls import Call
from partners.decisions.deciding import Foreseen
from partners.desk import Carried, Desk, Met, Wanted


async def identify(desk: Desk, caller: Caller, ref: MemberRef, terminal_id: int | None, at: datetime) -> Identified:
    """The member that a till names. Raises what members.identification raises, and RateLimited."""
    if ref.card_number is not None:
        place = caller.terminal_id if terminal_id is None else terminal_id
        return await _identify_card(desk, ref.card_number, guesses.guesser(place, caller.client_no))
    place = caller.terminal_id if terminal_id is None else terminal_id
    asking = guesses.phone_guesser(place, caller.client_no) if ref.phone is not None else None
    if asking is not None:
        await desk.guesses.check(asking)
    async with desk.database.reading() as connection:
        try:
            return await identification.identify(
                connection, desk.vault, ref, partner_id=caller.partner_id, terminal_id=terminal_id, at=at
            )
        except MemberUnknown as no:
            unknown = no
    if asking is not None and normal_phone(ref.phone or "") and await desk.guesses.count(asking) == 0:
        raise RateLimited from unknown
    raise unknown


async def _identify_card(desk: Desk, number: str, asking: Guesser) -> Identified:
    return (await _meet(desk, number, asking, None)).member


async def _meet(desk: Desk, number: str, asking: Guesser, wanted: Wanted | None) -> Met:
    await desk.guesses.check(asking)
    try:
        return await desk.cards.submit(Carried(number, wanted))
    except CardUnknown as no:
        return Met(await told(desk, asking, number, no, set()))


async def told(
    desk: Desk, asking: Guesser, number: str, found: Identified | Rejection, counted: set[tuple[Guesser, str]]
) -> Identified:
    """Whom a card number found. One that finds nobody is counted, once in a batch, unless it cannot be a number at
    all: that is a slip of the finger and tells a guesser nothing."""
    if not isinstance(found, Rejection):
        return found
    is_guess = isinstance(found, CardUnknown) and check_number(number) and (asking, number) not in counted
    if is_guess:
        counted.add((asking, number))
        if await desk.guesses.count(asking) == 0:
            raise RateLimited from found
    raise found


async def meet_for(desk: Desk, call: Call, ref: MemberRef, place: Place, foreseen: Foreseen | None) -> Met:
    """As `identify`, and what a decision on the receipt will want to know, where the card's number says who it is."""
    if ref.card_number is None or foreseen is None or foreseen.wanted is None:
        return Met(await identify(desk, call.caller, ref, place.terminal_id, call.at))
    till = call.caller.terminal_id if place.terminal_id is None else place.terminal_id
    return await _meet(desk, ref.card_number, guesses.guesser(till, call.caller.client_no), foreseen.wanted)


def recognised(no: Rejection, member: Identified | None) -> int | None:
    """Who stands at the till as far as a "no" lets us tell: a key of another member's is not theirs."""
    if member is not None:
        return member.member_id
    return no.member_id if isinstance(no, Recognised) else None
