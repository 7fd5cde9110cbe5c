"""One member's course through the programme, or one receipt's, for staff with a purpose that the trail keeps."""

from datetime import datetime, timedelta

import strawberry
from strawberry import Info

from gateway import access, masking, person_calls, scopes
from gateway.context import Context
from gateway.inputs import described
from gateway.searching import PURPOSES
from gateway.timelines import Moment, of_member, of_receipt
from kit import audit
from kit.amounts import Points
from members.messages import STAFF

MOST = 50
_A_MOMENT = timedelta(microseconds=1)


@strawberry.type(description="Something that happened to a member.")
class TimelineEntry:
    at: datetime = described("Business instant.")
    part: str = described("JOURNAL, RECEIPT, CONSENT, CLAIM, SUBSCRIPTION, SETTLEMENT, TRAIL; more may appear.")
    what: str = described("What happened: ACCRUAL, PURCHASE, GRANTED; more may appear.")
    about: str = described("A receipt's number, a purpose, a plan, a cut-off; empty where there is nothing to say.")
    by: str = described("A partner's code, or who did it; empty where it was the programme.")
    points: Points | None = described("How many points more the member owned after it, or less.")
    entry: int | None = described("Number of the journal's entry.")


@strawberry.type
class TimelineQuery:
    @access.query(
        scopes=(scopes.PEOPLE_SEARCH,), cost=2, size=access.ListSize(assumed_size=MOST),
        description="What happened to a member, by the programme's own number, across the whole programme, before an "
        "instant, the latest first; with the number of an entry what became of that receipt. The trail keeps who "
        "looked and what for.",
    )  # fmt: skip
    async def member_timeline(
        self, info: Info[Context, None], member: int, purpose: str, entry: int | None = None,
        before: datetime | None = None,
    ) -> list[TimelineEntry]:  # fmt: skip
        services, at = info.context.services, await info.context.now()
        if purpose not in PURPOSES:
            raise masking.coded(masking.BAD_USER_INPUT, f"`purpose` is one of {', '.join(PURPOSES)}.")
        person = person_calls.person_of(info.context.viewer, STAFF)
        directory, until = await services.directory.get(), before or at + _A_MOMENT
        if entry is None:
            found = await of_member(services, directory, member, before=until, limit=MOST)
        else:
            found = await of_receipt(services, directory, member, entry, before=until)
        async with services.database.transaction() as connection:
            await audit.write(
                connection, actor=person.number, action="TIMELINE_READ", subject=f"member:{member}",
                detail={"purpose": purpose, "found": len(found)} | ({} if entry is None else {"entry": entry}), at=at,
            )  # fmt: skip
        return [_entry(each) for each in found[:MOST]]


def _entry(found: Moment) -> TimelineEntry:
    return TimelineEntry(
        at=found.at, part=found.part, what=found.what, about=found.about, by=found.by,
        points=None if found.points is None else Points(found.points), entry=found.entry_no,
    )  # fmt: skip
