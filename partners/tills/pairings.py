"""Pairings at a partner's till: it shows a code, and has the visit of the member who confirms it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from members import identification, pairings
from members.pairings import Pairing
from partners import callers, outcomes
from partners.agreements.onboarding import TerminalUnknown
from partners.callers import Caller
from partners.calls import Call
from partners.desk import Desk


@dataclass(frozen=True, slots=True)
class Paired:
    """A pairing as the till that began it sees it; visit is None until a member has confirmed it."""

    pairing: Pairing
    visit: str | None


async def begin(desk: Desk, call: Call, outlet: str, terminal: str) -> tuple[Paired, str, bool]:
    """Let a till show a code: the pairing, the code, and whether an earlier call began it.

    Raises what the place of a till raises, and IdempotencyKeyReused.
    """
    place = callers.place_of(await desk.directory.get(), call.caller, outlet, terminal)
    if place.terminal_id is None:
        raise TerminalUnknown("the outlet has no such terminal")
    async with desk.database.transaction() as connection:
        begun = await pairings.begin(
            connection, desk.vault, partner_id=call.caller.partner_id, outlet_id=place.outlet_id,
            terminal_id=place.terminal_id, client_no=call.caller.client_no, idem_key=call.idem_key, at=call.at,
        )  # fmt: skip
    if begun is None:
        raise outcomes.rejection(outcomes.KEY_REUSED)
    pairing, replayed = begun
    return await _seen(desk, pairing, call.at), pairings.code_of(desk.vault, call.idem_key), replayed


async def find(desk: Desk, caller: Caller, pairing_id: int, at: datetime) -> Paired | None:
    """A pairing as it stands; None where there is none, or another client or another till began it."""
    async with desk.database.reading() as connection:
        found = await pairings.find(connection, pairing_id, at=at)
    if found is None or (found.partner_id, found.client_no) != (caller.partner_id, caller.client_no):
        return None
    if caller.terminal_id not in (None, found.terminal_id):
        return None
    return await _seen(desk, found, at)


async def _seen(desk: Desk, pairing: Pairing, at: datetime) -> Paired:
    if pairing.member_id is None:
        return Paired(pairing, None)
    async with desk.database.reading() as connection:
        visit = await pairings.visit(connection, desk.vault, pairing, at=at)
    return Paired(pairing, None if visit is None else identification.issue_visit(desk.vault, visit))
