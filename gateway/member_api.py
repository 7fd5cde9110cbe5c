"""Who calls and who is served: viewer, member, node."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, scopes
from gateway.approval_api import approval
from gateway.context import Context
from gateway.finance.statement_api import statement_by_id
from gateway.hold_types import hold
from gateway.inputs import MemberRefInput
from gateway.membership.membership_api import names_self, own_member
from gateway.pairing_api import pairing, read_pairing_id
from gateway.purchase_api import Counter, counter_of
from gateway.rejections import is_miss
from gateway.types import (
    Balance,
    ColleagueView,
    Member,
    Node,
    PartnerClient,
    Staff,
    member_id_for,
    partner_view,
    read_approval_id,
    read_hold_id,
    read_member_id,
    read_transaction_id,
    transaction,
)
from kit import errors
from kit.amounts import Points
from ledger import lots
from ledger.accounts import POINTS
from ledger.lots import Standing
from members import identification
from members.guesses import RateLimited
from members.identification import Identified, MemberRef
from partners import callers
from partners.holds import holds
from partners.holds.holds import HoldRef
from partners.returns import returns
from partners.tills import pairings, recognition, tills

Viewer = Annotated[
    PartnerClient | Member | Staff,
    strawberry.union(
        "Viewer",
        description="Who calls: a program or somebody of a partner's, a member who is signed in, or the operator's "
        "staff.",
    ),
]


@strawberry.type
class MemberQuery:
    @access.query(scopes=(), description="Who calls.")
    async def viewer(self, info: Info[Context, None]) -> Viewer:
        viewer, person = info.context.viewer, info.context.viewer.person
        if viewer.member_id is not None:
            return await own_member(info)
        held = sorted(viewer.scopes)
        if viewer.partner_id is None:
            return Staff(
                client_id=viewer.client_id, scopes=held, name=person.name if person else None,
                roles=sorted(person.roles) if person else [],
            )  # fmt: skip
        partner = (await counter_of(info)).partner
        return PartnerClient(
            client_id=viewer.client_id, scopes=held, partner=partner_view(partner),
            person=ColleagueView(name=person.name, roles=sorted(person.roles)) if person else None,
            partner_id=partner.partner_id,
        )  # fmt: skip

    @access.query(
        scopes=(scopes.MEMBERS_READ, scopes.MEMBER_SELF),
        description="A member by exactly one reference. Null when there is none or this partner may not know: lost "
        "and blocked cards find nobody. With outlet and terminal it begins a visit. A terminal that named ten "
        "cards that do not exist is told nothing for an hour: an error BAD_USER_INPUT with the code RATE_LIMITED. "
        "A member who is signed in finds themselves by their own id, and nobody else by anything.",
    )
    async def member(
        self, info: Info[Context, None], ref: MemberRefInput, outlet: str | None = None, terminal: str | None = None
    ) -> Member | None:
        if info.context.viewer.member_id is not None:
            return await own_member(info) if names_self(info, ref) else None
        counter = await counter_of(info)
        at = await info.context.now()
        try:
            terminal_id = None
            if outlet is not None:
                terminal_id = callers.place_of(counter.directory, counter.caller, outlet, terminal).terminal_id
            found = await recognition.identify(counter.desk, counter.caller, counter.member_ref(ref), terminal_id, at)
        except RateLimited:
            raise
        except errors.Rejection as no:
            info.context.misses += is_miss(no)
            return None
        return await _member(info, counter, found, terminal_id)

    @access.query(
        scopes=(scopes.HISTORY_READ, scopes.MEMBERS_READ, scopes.POINTS_REDEEM, scopes.SETTLEMENT_READ),
        description="Anything that this caller may see by another field, by its id; null otherwise.",
    )
    async def node(self, info: Info[Context, None], id: strawberry.ID) -> Node | None:
        held = info.context.viewer.scopes
        if scopes.SETTLEMENT_READ in held and (statement := await statement_by_id(info.context, id)):
            return statement
        if info.context.viewer.partner_id is None:
            return None
        counter = await counter_of(info)
        if scopes.HISTORY_READ in held and (place := read_transaction_id(counter.partner, id)):
            found = await returns.find_by_place(counter.desk, counter.caller, place)
            return transaction(counter.directory, found, info.context.language) if found else None
        if scopes.POINTS_REDEEM in held and (hold_place := read_hold_id(counter.partner, id)):
            at = await info.context.now()
            found_hold = await holds.find(counter.desk, counter.caller, HoldRef(*hold_place), at=at)
            return hold(counter.partner, found_hold) if found_hold else None
        if scopes.POINTS_REDEEM in held and (asked := read_approval_id(counter.partner, id)):
            at = await info.context.now()
            found_approval = await tills.find_approval(counter.desk, counter.caller, *asked, at)
            return approval(counter.partner, found_approval) if found_approval else None
        if scopes.MEMBERS_READ in held and (pairing_no := read_pairing_id(counter.partner, id)):
            at = await info.context.now()
            paired = await pairings.find(counter.desk, counter.caller, pairing_no, at)
            return pairing(counter.partner, paired) if paired else None
        if scopes.MEMBERS_READ in held and (member_id := read_member_id(counter.partner, id)):
            try:
                ref = MemberRef(id=member_id)
                found_member = await recognition.identify(
                    counter.desk, counter.caller, ref, None, await info.context.now()
                )
            except errors.Rejection:
                return None
            return await _member(info, counter, found_member, None)
        return None


async def _member(
    info: Info[Context, None], counter: Counter, found: Identified, terminal_id: int | None
) -> Member | None:
    at = await info.context.now()
    standing = await lots.standing(counter.desk.pool, found.member_id, unit=POINTS, at=at)
    if standing is None:
        return None
    visit = None
    if terminal_id is not None:
        begun = identification.begin_visit(found, partner_id=counter.caller.partner_id, terminal_id=terminal_id, at=at)
        visit = identification.issue_visit(counter.desk.vault, begun)
    return Member(
        id=member_id_for(counter.partner, found.member_id),
        tier=found.tier,
        identified_by=found.visit.level if found.visit else found.level,
        status=found.status,
        balance=balance_of(standing, found.member_id, at),
        visit=visit,
    )


def balance_of(standing: Standing, holder_id: int, at: datetime) -> Balance:
    """A balance as a partner may see it: nothing is available while the member has locked spending."""
    return Balance(
        available=Points(0 if standing.spend_locked else standing.available),
        pending=Points(standing.pending),
        as_of=at,
        known_held=standing.held,
        known_debt=standing.debt,
        holder_id=holder_id,
    )
