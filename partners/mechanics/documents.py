"""PURE: mechanics as documents: the ladder of tiers, events, invitations, holidays, experiments. What people agreed
on, validated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from members import tiers
from partners.promotions.documents import Code, Document, read_as

LADDER, EVENT, INVITATION, CALENDAR, HOLDOUT = "LADDER", "EVENT", "INVITATION", "CALENDAR", "HOLDOUT"

Count = Annotated[int, Field(ge=0, le=10**15)]


class WayDocument(Document):
    """One way to a tier: all that it names. See members.tiers.Activity for the units."""

    points: Count = 0
    amount_minor: Count = 0
    purchases: Count = 0
    partners: Count = 0
    tenure_days: Count = 0


class StepDocument(Document):
    """A tier and the ways to it, one of which is enough."""

    tier: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")]
    ways: tuple[WayDocument, ...] = Field(min_length=1, max_length=10)


class LadderDocument(Document):
    """The ladder of tiers from the bottom, over BASE; see members.tiers for the policies."""

    steps: tuple[StepDocument, ...] = Field(min_length=1, max_length=20)
    months: Annotated[int, Field(ge=1, le=120)] = 12
    expiry: Literal["AFTER_MONTHS", "END_OF_YEAR", "ANNIVERSARY", "FOR_EVER"] = "AFTER_MONTHS"
    downgrade: Literal["TO_WHAT_QUALIFIES", "ONE_STEP"] = "TO_WHAT_QUALIFIES"

    def ladder(self, version: int, zone: str) -> tiers.Ladder:
        """The ladder, with years that begin in a zone. Raises ValueError for what makes none."""
        steps = tuple(
            tiers.Step(step.tier, tuple(tiers.Way(**way.model_dump()) for way in step.ways)) for step in self.steps
        )
        return tiers.Ladder(steps, version, self.months, self.expiry, self.downgrade, zone)

    @model_validator(mode="after")
    def _climbs(self) -> LadderDocument:
        self.ladder(1, "UTC")
        return self


class EventDocument(Document):
    """An event that partners may tell (nobody named: all). once: how often it counts for a member (or a person, whoever
    they are a member as), under each key that the partner gives; at each partner, or in the whole coalition. A
    moderated one counts when somebody has approved it."""

    partners: tuple[Code, ...] = ()
    once: Literal["no", "member", "person"] = "no"
    across: Literal["partner", "coalition"] = "partner"
    moderated: bool = False


class InvitationDocument(Document):
    """Invitations: who came counts as brought within newcomer_days of their enrolment, and buys for at least
    minimum_minor within purchase_days; a member brings at most per_year in a year."""

    newcomer_days: Annotated[int, Field(ge=1, le=365)] = 30
    purchase_days: Annotated[int, Field(ge=1, le=365)] = 30
    minimum_minor: Count = 0
    per_year: Annotated[int, Field(ge=1, le=10_000)] = 12


class HolidayDocument(Document):
    """Days of the programme's own under one code."""

    code: Code
    dates: tuple[date, ...] = Field(min_length=1, max_length=1000)


class CalendarDocument(Document):
    """The holidays that rules may name: those of a country without some codes, and the programme's own days."""

    country: Literal["MD", "RO", "RU"] | None = None
    without: tuple[Code, ...] = ()
    days: tuple[HolidayDocument, ...] = ()


class HoldoutDocument(Document):
    """An experiment by its code (`global`: the programme's own, of all promotions): control_bp of ten thousand members
    are in its control group and get neither the offers nor the points of rules that name it. salt makes its draw
    another than the next one's. The members of a household are in one arm, unless it says per member."""

    control_bp: Annotated[int, Field(ge=0, le=10_000)]
    salt: Annotated[str, Field(min_length=8, max_length=64)]
    per: Literal["household", "member"] = "household"


KINDS: Mapping[str, type[Document]] = {
    LADDER: LadderDocument, EVENT: EventDocument, INVITATION: InvitationDocument, CALENDAR: CalendarDocument,
    HOLDOUT: HoldoutDocument,
}  # fmt: skip
"""What a document of each kind must be."""

SINGLE = {LADDER: "tiers", INVITATION: "invitations", CALENDAR: "calendar"}
"""Of which a programme has one, and its code."""


def read(kind: str, source: Mapping[str, Any]) -> Document:
    """The document of plain JSON. Raises KeyError for an unknown kind, pydantic.ValidationError for what is wrong."""
    return read_as(KINDS[kind], source)
