"""What a member reads of themselves beside their account: what they told, what they answered, where the card is good,
and what a bill would earn, as a till of the partner would be told of the same member.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import uuid4

import strawberry
from strawberry import Info

from gateway import access
from gateway.claim_types import MissingPointsClaim, own_claims
from gateway.connections import After, Connection, First
from gateway.context import Context
from gateway.inputs import described
from gateway.membership.place_types import NearInput, SpendingPlace, spending_places
from gateway.types import Money, PartnerView, Reason, SpendLimit, money, partner_view, reasons
from kit.amounts import Points, minor_from_decimal
from ledger.accounts import Balance
from members import consents, enrolment
from members.identification import MemberRef
from partners import callers
from partners.agreements.onboarding import PartnerUnknown
from partners.callers import Caller
from partners.decisions import rules
from partners.desk import Desk
from partners.directory import Directory, Partner
from partners.receipts.receipts import Receipt
from partners.tills import tills
from partners.tills.tills import Quoted

MOST_CONSENTS = 200


@strawberry.type(description="What a member told of themselves.")
class OwnPersonal:
    name: str | None = described("How they are called.")
    email: str | None = described("Where we write to.")
    phone: str | None = described("With its country code.")
    birth_date: date | None = described("When they were born.")


@strawberry.type(description="What a purchase would earn, and how much of it points could pay.")
class Estimate:
    points: Points = described("What it would earn.")
    total: Money = described("The bill that was asked about.")
    max_redeem: SpendLimit = described("The most points that could pay it.")
    reasons: list[Reason] = described("Why so many.")


@strawberry.type(description="One answer of the member's to a question about a purpose.")
class ConsentAnswer:
    at: datetime = described("When it was given.")
    granted: bool = described("Whether it was a yes.")
    purpose: str = described("What it is about.")
    partner: PartnerView | None = described("To which partner; null: to the programme itself.")
    text_version: str = described("Which version of the words was shown.")
    channel: str = described("Where.")


@dataclass(frozen=True, slots=True)
class Own:
    """Whose membership is read, at which instant, and the account as it is then."""

    member_id: int
    account: Balance
    at: datetime


@strawberry.type
class OwnRecord:
    """The part of a membership that is not its account."""

    own: strawberry.Private[Own]

    @access.field(cost=2, description="What the member told of themselves; null where nothing was.")
    async def personal(self, info: Info[Context, None]) -> OwnPersonal | None:
        services = info.context.services
        async with services.database.reading() as connection:
            told = await enrolment.personal(connection, services.vault, self.own.member_id)
        if told is None:
            return None
        return OwnPersonal(name=told.name, email=told.email, phone=told.phone, birth_date=told.birth_date)

    @access.field(cost=5, description=f"Every yes and no of the member's, the latest first: at most {MOST_CONSENTS}.")
    async def consent_history(self, info: Info[Context, None]) -> list[ConsentAnswer]:
        directory = await info.context.services.directory.get()
        async with info.context.services.database.reading() as connection:
            found = await consents.history(connection, self.own.member_id, self.own.at, limit=MOST_CONSENTS)
        return [
            ConsentAnswer(
                at=each.at, granted=each.granted, purpose=each.purpose, text_version=each.text_version,
                partner=_view(directory.partner(each.partner_id)), channel=each.channel,
            )
            for each in found
        ]  # fmt: skip

    @access.field(
        size=access.paged(), description="The member's claims to missing points, the latest first; where they stand."
    )
    async def claims(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[MissingPointsClaim]:
        return await own_claims(info, self.own.member_id, first, after)

    @access.field(
        size=access.paged(),
        description="Outlets where points can be spent: by town, or with a place the nearest first. The place is used "
        "for this answer alone.",
    )
    async def places(
        self, info: Info[Context, None], near: NearInput | None = None, first: First = 20, after: After = None
    ) -> Connection[SpendingPlace]:
        return await spending_places(info, near, first, after, self.own.at)

    @access.field(cost=2, description="The partners at which the card is good now, by code.")
    async def partners(self, info: Info[Context, None]) -> list[PartnerView]:
        directory = await info.context.services.directory.get()
        return [partner_view(each) for each in directory.partners() if _takes_part(directory, each, self.own.at)]

    @access.field(
        cost=10,
        description="What a bill of so much would earn at a partner now, and the most points that it would take. What "
        "would be refused is an error BAD_USER_INPUT with the rejection's code.",
    )
    async def estimate(self, info: Info[Context, None], partner: str, total: Decimal) -> Estimate:
        desk: Desk = info.context.services.lanes
        caller = await _caller_at(info, partner)
        directory = await desk.directory.get()
        receipt = _bill(directory, caller.partner_id, total, self.own.at)
        quoted = await tills.quote(desk, caller, MemberRef(id=self.own.member_id), receipt, at=self.own.at)
        return _estimate(quoted, await desk.directory.get(), receipt, info.context.language)


async def _caller_at(info: Info[Context, None], code: str) -> Caller:
    """The members' own app as it stands at a partner of this code. Rejects PARTNER_UNKNOWN."""
    partner = (await info.context.services.directory.get()).partner_by_code(code)
    if partner is None:
        raise PartnerUnknown(f"there is no partner '{code[:64]}'")
    return Caller(partner.partner_id, info.context.viewer.client_no)


def _takes_part(directory: Directory, partner: Partner, at: datetime) -> bool:
    return partner.status == "ACTIVE" and directory.terms_at(partner.partner_id, at) is not None


def _bill(directory: Directory, partner_id: int, total: Decimal, at: datetime) -> Receipt:
    """A receipt of a total that nobody has paid, at the partner's first outlet. Rejects AGREEMENT_MISSING,
    RECEIPT_INVALID, AMOUNT_NEGATIVE."""
    terms = callers.terms_at(directory, partner_id, at)
    outlets = directory.outlets(partner_id)
    if not outlets:
        raise PartnerUnknown("the partner has no place of sale")
    return Receipt(
        reference=f"estimate-{uuid4().hex}", outlet=outlets[0].code, terminal=None, business_date=at.date(),
        occurred_at=at, currency=terms.currency, total_minor=minor_from_decimal(total, terms.currency), lines=(),
        payments=(),
    )  # fmt: skip


def _estimate(quoted: Quoted, directory: Directory, receipt: Receipt, language: str) -> Estimate:
    terms, decided = quoted.terms, quoted.prepared.decided
    titles = rules.titles(decided.basis.release.release_id if decided else 0, directory.shelf, language)
    return Estimate(
        points=Points(quoted.prepared.award.points),
        total=money(receipt.total_minor, terms.currency),
        max_redeem=SpendLimit(
            points=Points(quoted.limit.points), value=money(quoted.limit.value_minor, terms.currency),
            bound_by=quoted.limit.bound_by,
        ),
        reasons=reasons(quoted.prepared.row.decision["reasons"], terms.currency, language, titles),
    )  # fmt: skip


def _view(partner: Partner | None) -> PartnerView | None:
    return None if partner is None else partner_view(partner)
