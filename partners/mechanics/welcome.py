"""Welcome: what somebody is given for becoming a member, once per person in the whole coalition.

Rules of the trigger `enrolment` say what it is: points that are there at once and end after two weeks are spent before
all others, because what ends first is spent first. Who tells no phone number is no person that we know again, and is
given nothing until they do.
"""

from __future__ import annotations

from datetime import datetime

from kit.secrets import fingerprint
from members import persons
from partners.callers import Caller
from partners.desk import Desk
from partners.mechanics import moments
from partners.mechanics.moments import Counted, Moment, MomentCounted

WHAT = "welcome"


async def give(desk: Desk, caller: Caller, member_id: int, *, at: datetime) -> Counted | None:
    """Welcome a member who was enrolled at a partner; what it gave, None where nothing is given, or was to this person
    before. May be repeated.

    Rejects AGREEMENT_MISSING, GRANT_MISSING, STALE.
    """
    if not await moments.is_rewarded(desk, moments.ENROLMENT, "", caller.partner_id, at=at):
        return None
    async with desk.database.reading() as connection:
        person = await persons.key_of(connection, desk.vault, member_id)
    if person is None:
        return None
    key = fingerprint(WHAT, str(member_id))
    moment = Moment(
        member_id=member_id, caller=caller, kind=moments.ENROLMENT, cause=key, idem_key=key, fingerprint=key,
        occurred_at=at, at=at, person=person, what=WHAT,
    )  # fmt: skip
    try:
        return await moments.recall(desk, key, key) or await moments.record(desk, moment)
    except MomentCounted:
        return None
