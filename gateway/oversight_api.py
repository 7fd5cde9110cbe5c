"""What those who look after the programme read: partners, the audit trail, and whatever a name or number finds.

Whoever looks for a member says for what purpose, and the trail keeps that somebody looked, what for, and whom they
found: never what was typed.
"""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated

import orjson
import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, masking, person_calls, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import KEY, REPLAYED, described
from gateway.integration import request_log
from gateway.rejections import Rejection
from gateway.searching import PURPOSES, Wanted, look
from gateway.types import Money, money
from kit import audit
from kit.amounts import Points
from members.messages import STAFF
from partners.agreements import onboarding
from partners.directory import Directory, Partner


@strawberry.type(description="A partner as the programme's staff see it.")
class OverseenPartner:
    code: str = described("Its short name.")
    name: str = described("Its name.")
    status: str = described("ACTIVE or SUSPENDED.")
    paused_until: datetime | None = described("Until when it gives no points, because it gave far too many.")
    role: str | None = described("By its agreement: ISSUER, REDEEMER, BOTH, HONOURS, RUN_OFF. Null: it has none.")
    outlets: int = described("How many places of sale.")
    terminals: int = described("How many tills that are in use.")


@strawberry.type(description="An entry of the audit trail.")
class AuditEntry:
    number: int = described("Its place in the trail.")
    actor: str = described("Who: somebody of staff, a colleague as partner/name, or a part of the system.")
    action: str = described("What was done.")
    subject: str = described("To what: `partner:17`.")
    detail: str = described("Codes and numbers, as JSON; nothing personal is ever in it.")
    at: datetime = described("Business instant.")


@strawberry.type(description="A card of a member who was found.")
class FoundCard:
    last_four: str = described("The end of its number.")
    status: str = described("ACTIVE, LOST, BLOCKED.")


@strawberry.type(description="A member who was found; who that is stays sealed.")
class FoundMember:
    number: int = described("The programme's own number of the member, as the audit trail has it.")
    status: str = described("ACTIVE, ANONYMOUS, HOUSEHOLD.")
    tier: str = described("The member's tier.")
    language: str = described("What they are written to in.")
    available: Points = described("May be spent now.")
    pending: Points = described("Earned, not to be spent yet.")
    cards: list[FoundCard] = described("Their cards.")


@strawberry.type(description="A receipt that was found.")
class FoundReceipt:
    partner: str = described("Code of the partner.")
    outlet: str = described("The partner's code of the outlet.")
    reference: str = described("The partner's own number.")
    business_date: date = described("The partner's day.")
    kind: str = described("PURCHASE, REDEMPTION, RETURN, CANCELLATION.")
    total: Money = described("What was to be paid before points.")
    awarded: Points = described("Points that it earned.")
    redeemed: Points = described("Points that paid a part of it.")
    recorded_at: datetime = described("Business instant.")
    member: int = described("The programme's own number of the member.")
    entry: int = described("Number of the journal's entry that recorded it.")


@strawberry.type(description="A request that was found.")
class FoundRequest:
    request_id: str = described("As the answer's header had it.")
    partner: str = described("Code of the partner whose program asked.")
    client_id: str = described("Which program.")
    operation: str = described("The operation's name.")
    status: int = described("HTTP status.")
    code: str | None = described("Why it was refused; null where it was done.")
    at: datetime = described("When.")
    took_ms: int = described("Milliseconds until the answer was ready.")


@strawberry.type(description="What a text finds.")
class SearchHits:
    members: list[FoundMember] = described("Members, by card, phone, the app's id, or the programme's number.")
    receipts: list[FoundReceipt] = described("Receipts of the day that was asked for, by the partner's number.")
    partners: list[OverseenPartner] = described("Partners by code or name.")
    requests: list[FoundRequest] = described("Requests by their id.")


@strawberry.input(description="A partner that is to be suspended, or to take part again.")
class PartnerStatusInput:
    idempotency_key: str = described(KEY)
    partner: str = described("The partner's code.")


@strawberry.type(description="A partner as it stands now.")
class PartnerStatusSuccess:
    partner: OverseenPartner = described("The partner.")
    replayed: bool = described(REPLAYED)


PartnerStatusResult = Annotated[
    PartnerStatusSuccess | Rejection, strawberry.union("PartnerStatusResult", description="Done, or the reason.")
]


@strawberry.type
class OversightQuery:
    @access.query(
        scopes=(scopes.PARTNERS_READ,), size=access.paged(), description="Partners, by code; of a text those it names."
    )
    async def overseen_partners(
        self, info: Info[Context, None], first: First = 20, after: After = None, text: str | None = None
    ) -> Connection[OverseenPartner]:
        directory, at = await info.context.services.directory.get(), await info.context.now()
        cursors = Cursors(info.context.services.vault, "overseen partner")
        begin, wanted = cursors.read(after) or 0, (text or "").casefold()
        named = [one for one in directory.partners() if wanted in one.code or wanted in one.name.casefold()]
        rows = list(enumerate(named, start=1))[begin : begin + connections.bounded(first) + 1]
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row[0]),
            node=lambda row: overseen(directory, row[1], at),
        )  # fmt: skip

    @access.query(scopes=(scopes.PARTNERS_READ,), description="One partner by its code. Null where there is none.")
    async def overseen_partner(self, info: Info[Context, None], code: str) -> OverseenPartner | None:
        directory, at = await info.context.services.directory.get(), await info.context.now()
        found = directory.partner_by_code(code)
        return None if found is None else overseen(directory, found, at)

    @access.query(
        scopes=(scopes.TRAIL_READ,), cost=5, size=access.paged(),
        description="The audit trail, the latest first: of an actor, of a subject (`partner:17`, or `partner:` for all "
        "of them), of an action, written down since one instant and before another.",
    )  # fmt: skip
    async def audit_trail(
        self, info: Info[Context, None], first: First = 20, after: After = None, actor: str | None = None,
        subject: str | None = None, action: str | None = None, since: datetime | None = None,
        until: datetime | None = None,
    ) -> Connection[AuditEntry]:  # fmt: skip
        cursors = Cursors(info.context.services.vault, "audit trail")
        async with info.context.services.database.reading() as connection:
            rows = await audit.entries(
                connection, limit=connections.bounded(first) + 1, before=cursors.read(after), actor=actor or None,
                subject=subject or None, action=action or None, since=since, until=until,
            )  # fmt: skip
        return connections.page(rows, first, after=after, cursor=lambda row: cursors.write(row.entry_id), node=_entry)

    @access.query(
        scopes=(scopes.PEOPLE_SEARCH,), cost=50,
        description="What a text finds across the programme. The trail keeps who looked, for which purpose, and whom "
        "they found. Receipts are found by the partner's number of them and their day; a partner's code narrows that.",
    )  # fmt: skip
    async def search(
        self, info: Info[Context, None], text: str, purpose: str, business_date: date | None = None,
        partner: str | None = None,
    ) -> SearchHits:  # fmt: skip
        services, at = info.context.services, await info.context.now()
        if purpose not in PURPOSES:
            raise masking.coded(masking.BAD_USER_INPUT, f"`purpose` is one of {', '.join(PURPOSES)}.")
        text = text.strip()
        if not 2 <= len(text) <= 64:
            raise masking.coded(masking.BAD_USER_INPUT, "`text` has 2 to 64 characters.")
        person = person_calls.person_of(info.context.viewer, STAFF)
        directory = await services.directory.get()
        found = await look(services, directory, Wanted(text, business_date, partner or None), at=at)
        async with services.database.transaction() as connection:
            await audit.write(
                connection, actor=person.number, action="SEARCHED", subject=found.subject,
                detail={"purpose": purpose, **found.counts}, at=at,
            )  # fmt: skip
        return SearchHits(
            members=[
                FoundMember(
                    number=one.number, status=one.status, tier=one.tier, language=one.language,
                    available=Points(one.available), pending=Points(one.pending),
                    cards=[FoundCard(last_four=card.last_four, status=card.status) for card in one.cards],
                )
                for one in found.members
            ],
            receipts=[
                FoundReceipt(
                    partner=one.partner, outlet=one.outlet, reference=one.receipt.reference,
                    business_date=one.receipt.business_date, kind=one.kind,
                    total=money(one.receipt.total_minor, one.receipt.currency),
                    awarded=Points(one.receipt.awarded_points), redeemed=Points(one.receipt.redeemed_points),
                    recorded_at=one.receipt.at, member=one.receipt.holder_id, entry=one.receipt.seq,
                )
                for one in found.receipts
            ],
            partners=[overseen(directory, one, at) for one in found.partners],
            requests=[_request(directory, one) for one in found.requests],
        )  # fmt: skip


Deed = Callable[[AsyncConnection, int, int, datetime], Awaitable[None]]


@strawberry.type
class OversightMutation:
    @access.mutation(
        scopes=(scopes.PARTNERS_MANAGE,), moves_points=False,
        description="Refuses a partner's business from now on, its people's too. Takes a proof of a moment ago.",
    )  # fmt: skip
    async def suspend_partner(self, info: Info[Context, None], input: PartnerStatusInput) -> PartnerStatusResult:
        async def suspend(connection: AsyncConnection, partner_id: int, actor: int, at: datetime) -> None:
            await onboarding.suspend_partner(connection, partner_id=partner_id, actor=actor, at=at)

        return await _set_status(info, "suspendPartner", input, suspend)

    @access.mutation(
        scopes=(scopes.PARTNERS_MANAGE,), moves_points=False,
        description="Lets a suspended partner take part again. Takes a proof of a moment ago.",
    )  # fmt: skip
    async def resume_partner(self, info: Info[Context, None], input: PartnerStatusInput) -> PartnerStatusResult:
        async def resume(connection: AsyncConnection, partner_id: int, actor: int, at: datetime) -> None:
            await onboarding.resume_partner(connection, partner_id=partner_id, actor=actor, at=at)

        return await _set_status(info, "resumePartner", input, resume)


async def _set_status(
    info: Info[Context, None], operation: str, input: PartnerStatusInput, deed: Deed
) -> PartnerStatusSuccess:
    """Set a partner's status once under the call's key."""
    services, at = info.context.services, await info.context.now()
    person, key = person_calls.person_of(info.context.viewer, STAFF), input.idempotency_key
    async with services.database.transaction() as connection:
        is_new = await person_calls.is_new(connection, services.vault, person, operation, key, input.partner, at=at)
        if is_new:
            person_calls.require_fresh(person)
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            await deed(connection, partner_id, person.number, at)
    directory = await services.directory.refresh() if is_new else await services.directory.get()
    found = directory.partner_by_code(input.partner)
    if found is None:
        raise onboarding.PartnerUnknown("there is no such partner")
    return PartnerStatusSuccess(partner=overseen(directory, found, at), replayed=not is_new)


def overseen(directory: Directory, partner: Partner, at: datetime) -> OverseenPartner:
    """A partner as the programme's staff see it."""
    outlets = directory.outlets(partner.partner_id)
    terminals = [each for outlet in outlets for each in directory.terminals(outlet.outlet_id)]
    terms = directory.terms_at(partner.partner_id, at)
    return OverseenPartner(
        code=partner.code, name=partner.name, status=partner.status, paused_until=partner.paused_until,
        role=None if terms is None else terms.role, outlets=len(outlets),
        terminals=sum(each.status == "ACTIVE" for each in terminals),
    )  # fmt: skip


def _entry(row: audit.Entry) -> AuditEntry:
    return AuditEntry(
        number=row.entry_id, actor=row.actor, action=row.action, subject=row.subject,
        detail=orjson.dumps(row.detail).decode(), at=row.at,
    )  # fmt: skip


def _request(directory: Directory, row: request_log.Entry) -> FoundRequest:
    partner = directory.partner(row.partner_id)
    return FoundRequest(
        request_id=row.request_id, partner="" if partner is None else partner.code, client_id=row.client_id,
        operation=row.operation, status=row.status, code=row.code, at=row.asked_at, took_ms=row.took_ms,
    )  # fmt: skip
