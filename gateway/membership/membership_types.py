"""What a member who is signed in reads of their own membership. Nobody reads another's here, and no partner any."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, connections
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context, Services
from gateway.event_api import Offer, offer_of
from gateway.inputs import described
from gateway.membership.own_ids import APPROVAL, CARD, own_id, own_key
from gateway.membership.own_types import OwnRecord
from gateway.membership.progress import (
    BroughtFriend,
    MemberBadge,
    MemberStamps,
    TierStanding,
    badge_of,
    friend_of,
    stamps_of,
    standing_of,
)
from gateway.scalars import EntryKind
from gateway.subscription import gift_api, payment_means_types, subscription_types
from gateway.subscription.gift_api import SubscriptionGift
from gateway.subscription.payment_means_types import OwnPaymentMeans
from gateway.subscription.subscription_types import MemberSubscription, SeatElsewhere
from gateway.types import PartnerView, Transaction, partner_view, transaction_of
from gateway.wallet.offer import wallets
from kit.amounts import Points
from ledger import history
from ledger.accounts import POINTS
from ledger.history import Entry, LatestEntry, LotAt
from members import approvals, badges, cards, consents, identification, standings
from members.approvals import Approval
from members.cards import HeldCard
from members.consents import OPERATOR, Consent
from members.identification import MemberRef
from partners.agreements.onboarding import PartnerUnknown
from partners.callers import Caller
from partners.desk import Desk
from partners.directory import Directory
from partners.mechanics import facts, invitations, offers, registry
from partners.receipts import histories
from partners.receipts.records import StoredReceipt

MOST_DATES = 50


@strawberry.type(description="A card of the member's.")
class MemberCard:
    id: strawberry.ID = described("Opaque id, the member's own.")
    last_four: str = described("The last four digits of its number; the others are not kept.")
    status: str = described("ACTIVE, LOST, BLOCKED; more may appear.")
    status_at: datetime = described("Since when.")
    issued_at: datetime = described("When it was issued.")


@strawberry.type(description="What a member has agreed to, or refused, for one purpose.")
class MemberConsent:
    purpose: str = described("PROGRAMME, PERSONAL_DATA, PARTNER_TRANSFER, ADVERTISING_EMAIL; more may appear.")
    partner: PartnerView | None = described("To which partner; null: to the programme itself.")
    granted: bool = described("Whether the member agrees.")
    text_version: str = described("To which version of the words.")
    at: datetime = described("Since when.")


@strawberry.type(description="A till's question that waits for the member's answer.")
class WaitingApproval:
    id: strawberry.ID = described("Opaque id, the member's own.")
    partner: PartnerView = described("Who asks.")
    outlet: str = described("Where.")
    points: Points = described("How many points would be spent.")
    asked_at: datetime = described("When it was asked.")
    expires_at: datetime = described("Until when it can be answered.")


@strawberry.type(description="Points and the instant at which something becomes of them by itself.")
class DatedPoints:
    kind: str = described("ACTIVATION: they become available. EXPIRY: they end. More may appear.")
    points: Points = described("How many.")
    at: datetime = described("When.")
    partner: PartnerView | None = described("Where they were earned.")


@strawberry.type(description="One thing that happened to the member's points, with the balances behind it.")
class AccountEntry:
    number: int = described("Its number in the account, from 1 without a gap.")
    kind: EntryKind = described(
        "ACCRUAL, ACTIVATION, REDEMPTION, HOLD, CAPTURE, RELEASE, LAPSE, RETURN, REFUND, EXPIRY; more may appear."
    )
    change: Points = described("What the member owns more after it, pending and held counted; less where negative.")
    moved: Points = described("How many points it moved, also where the member owns as many as before.")
    at: datetime = described("When it happened.")
    available: Points = described("Available after it.")
    pending: Points = described("Pending after it.")
    held: Points = described("Held after it.")
    debt: Points = described("Owed after it.")
    partner: PartnerView | None = described("At which partner; null where none had to do with it.")
    answers: int | None = described("The number of the entry that it answers: what was returned, captured, released.")
    answered_by: list[int] = described("The numbers of the entries that answer it: its return, activation, capture.")
    transaction: Transaction | None = described("The purchase, return or redemption behind it, with its reasons.")


@strawberry.type(description="What only the member who is signed in reads of their membership.")
class Membership(OwnRecord):
    @access.field(description="Whether nothing can be spent; earning goes on.")
    def spending_locked(self) -> bool:
        return self.own.account.spend_locked

    @access.field(description="The most that can be spent in one day of the programme; null for no such limit.")
    def daily_cap(self) -> Points | None:
        cap = self.own.account.daily_cap
        return None if cap is None else Points(cap)

    @access.field(description="Wallets of phones that passes are made for here: APPLE, GOOGLE; more may appear.")
    def wallets(self, info: Info[Context, None]) -> list[str]:
        return list(wallets(info.context.services.settings).offered)

    @access.field(cost=2, description="The member's cards, those in use first.")
    async def cards(self, info: Info[Context, None]) -> list[MemberCard]:
        services = info.context.services
        async with services.database.reading() as connection:
            held = await cards.of_member(connection, self.own.member_id)
        return [_card(services, self.own.member_id, each) for each in held]

    @access.field(cost=2, description="What the member has agreed to or refused; what is not here was not asked.")
    async def consents(self, info: Info[Context, None]) -> list[MemberConsent]:
        services = info.context.services
        directory = await services.directory.get()
        async with services.database.reading() as connection:
            found = await consents.state_at(connection, self.own.member_id, self.own.at)
        return [_consent(directory, each) for each in found]

    @access.field(cost=2, description="Tills' questions that wait for an answer, the latest first.")
    async def approvals(self, info: Info[Context, None]) -> list[WaitingApproval]:
        services = info.context.services
        directory = await services.directory.get()
        async with services.database.reading() as connection:
            found = await approvals.waiting(connection, self.own.member_id, at=self.own.at)
        return [_approval(services, directory, each) for each in found]

    @access.field(
        cost=5, description=f"What becomes of points by itself, the next first: at most {MOST_DATES} of each kind."
    )
    async def dates(self, info: Info[Context, None]) -> list[DatedPoints]:
        services = info.context.services
        directory = await services.directory.get()
        async with services.database.reading() as connection:
            lots = await history.lots_at(connection, self.own.member_id, POINTS, at=self.own.at)
        return _dates(directory, lots)

    @access.field(cost=5, description="Where the member stands on the ladder of tiers, and what is missing.")
    async def standing(self, info: Info[Context, None]) -> TierStanding:
        services = info.context.services
        directory = await services.directory.get()
        async with services.database.reading() as connection:
            ladder = await registry.ladder(connection, at=self.own.at)
            found = await standings.standing(connection, self.own.member_id, self.own.at, ladder=ladder)
        return standing_of(found, directory.programme.base_currency)

    @access.field(cost=2, description="What the member bears: clubs, discount cards, achievements.")
    async def badges(self, info: Info[Context, None]) -> list[MemberBadge]:
        async with info.context.services.database.reading() as connection:
            found = await badges.borne(connection, self.own.member_id, at=self.own.at)
        return [badge_of(one) for one in found]

    @access.field(cost=5, description="Stamps that the member has, by kind.")
    async def stamps(self, info: Info[Context, None]) -> list[MemberStamps]:
        services = info.context.services
        directory = await services.directory.get()
        async with services.database.reading() as connection:
            seen = await facts.member_facts(
                connection, services.vault, directory.programme, self.own.member_id, OPERATOR, occurred_at=self.own.at,
                at=self.own.at, wants_birthday=False,
            )  # fmt: skip
        found = {} if seen is None else seen.member.stamps
        release = directory.shelf.at(self.own.at, self.own.at)
        return [
            stamps_of(code, number, release, info.context.language, self.own.at)
            for code, number in sorted(found.items())
            if number
        ]

    @access.field(cost=2, description="Whom the member brought, the last first.")
    async def brought(self, info: Info[Context, None]) -> list[BroughtFriend]:
        found = await invitations.brought(info.context.services.database, self.own.member_id)
        return [friend_of(one) for one in found]

    @access.field(
        size=access.paged(),
        description="What is on offer to the member at a partner, and what each offer asks for; what ends first is "
        "first. Of no such partner an error with the rejection's code.",
    )
    async def offers(
        self, info: Info[Context, None], partner: str, first: First = 20, after: After = None
    ) -> Connection[Offer]:
        desk: Desk = info.context.services.lanes
        cursors = Cursors(info.context.services.vault, f"offer to {self.own.member_id}")
        begin, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        there = (await desk.directory.get()).partner_by_code(partner)
        if there is None:
            raise PartnerUnknown("there is no such partner")
        async with desk.database.reading() as connection:
            member = await identification.identify(
                connection, desk.vault, MemberRef(id=self.own.member_id), partner_id=OPERATOR, terminal_id=None,
                at=self.own.at,
            )  # fmt: skip
        caller = Caller(there.partner_id, info.context.viewer.client_no)
        found = await offers.offers_to(desk, caller, member, at=self.own.at)
        found.sort(key=lambda one: (one.valid_until is None, one.valid_until or self.own.at))
        rows = list(enumerate(found, start=1))
        return connections.page(
            rows[begin : begin + wanted],
            first,
            after=after,
            cursor=lambda row: cursors.write(row[0]),
            node=lambda row: offer_of(row[1], info.context.language),
        )

    @access.field(cost=5, description="The member's own subscriptions, the latest first, or only the one of this id.")
    async def subscriptions(
        self, info: Info[Context, None], id: strawberry.ID | None = None
    ) -> list[MemberSubscription]:
        found = await subscription_types.own(info.context.services, self.own.member_id, self.own.at)
        return [one for one in found if id in (None, one.id)]

    @access.field(cost=5, description="Presents that the member gave, the latest first.")
    async def gifts(self, info: Info[Context, None]) -> list[SubscriptionGift]:
        return await gift_api.given(info.context.services, self.own.member_id)

    @access.field(cost=2, description="How the member's subscriptions are paid.")
    async def payment_means(self, info: Info[Context, None]) -> OwnPaymentMeans:
        return await payment_means_types.own(info.context.services, self.own.member_id)

    @access.field(cost=2, description="Seats in others' subscriptions that the member has or is offered.")
    async def seats(self, info: Info[Context, None]) -> list[SeatElsewhere]:
        return await subscription_types.seats_elsewhere(info.context.services, self.own.member_id)

    @access.field(
        size=access.paged(),
        description="What happened to the points, the latest first: all of it, or some kinds, or at one partner, named "
        "by its code.",
    )
    async def entries(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        kinds: list[EntryKind] | None = None,
        partner: str | None = None,
        up_to: Annotated[int | None, strawberry.argument(description="Begin with this number, not the last.")] = None,
    ) -> Connection[AccountEntry]:
        services = info.context.services
        cursors = Cursors(services.vault, f"entry of {self.own.member_id}")
        directory = await services.directory.get()
        before, wanted = cursors.read(after), connections.bounded(first) + 1
        if before is None and up_to is not None:
            before = up_to + 1
        at_partner = None if partner is None else directory.partner_by_code(partner)
        if partner is not None and at_partner is None:
            raise PartnerUnknown("there is no partner of this code")
        async with services.database.reading() as connection:
            found = await history.latest(
                connection, self.own.member_id, POINTS, before=before, kinds=kinds,
                partner_id=at_partner.partner_id if at_partner else None, limit=wanted,
            )  # fmt: skip
            answered = await history.answers(
                connection, self.own.member_id, seqs=[entry.seq for entry in found[:first]]
            )
        receipts = await histories.receipts_of(
            services.database.pool, self.own.member_id, [entry.seq for entry in found[:first]]
        )
        nodes = _entries(services, directory, found, receipts, answered, info.context.language)
        return connections.page(
            nodes, first, after=after, cursor=lambda node: cursors.write(node.number), node=lambda node: node
        )


def _card(services: Services, member_id: int, card: HeldCard) -> MemberCard:
    return MemberCard(
        id=own_id(services.vault, CARD, member_id, card.card_id), last_four=card.last_four, status=card.status,
        status_at=card.status_at, issued_at=card.issued_at,
    )  # fmt: skip


def _consent(directory: Directory, consent: Consent) -> MemberConsent:
    return MemberConsent(
        purpose=consent.purpose, partner=_partner(directory, consent.partner_id), granted=consent.granted,
        text_version=consent.text_version, at=consent.at,
    )  # fmt: skip


def _approval(services: Services, directory: Directory, approval: Approval) -> WaitingApproval:
    partner, outlet = _partner(directory, approval.partner_id), directory.outlet_by_id(approval.outlet_id)
    assert partner is not None
    return WaitingApproval(
        id=own_id(services.vault, APPROVAL, approval.member_id, approval.approval_no), partner=partner,
        outlet=outlet.name if outlet else "", points=Points(approval.points), asked_at=approval.asked_at,
        expires_at=approval.expires_at,
    )  # fmt: skip


def _dates(directory: Directory, lots: Sequence[LotAt]) -> list[DatedPoints]:
    left = [lot for lot in lots if lot.remaining + lot.held > 0]
    ending = sorted((lot for lot in left if lot.is_active), key=lambda lot: lot.expires_at)[:MOST_DATES]
    coming = sorted((lot for lot in left if not lot.is_active), key=lambda lot: lot.activates_at)[:MOST_DATES]
    dated = [("EXPIRY", lot, lot.expires_at) for lot in ending]
    dated += [("ACTIVATION", lot, lot.activates_at) for lot in coming]
    return [
        DatedPoints(
            kind=kind, points=Points(lot.remaining + lot.held), at=at, partner=_partner(directory, lot.issuer_id)
        )
        for kind, lot, at in sorted(dated, key=lambda each: each[2])
    ]


def _entries(
    services: Services,
    directory: Directory,
    found: Sequence[LatestEntry],
    receipts: dict[int, StoredReceipt],
    answered: dict[int, list[int]],
    language: str,
) -> list[AccountEntry]:
    return [
        AccountEntry(
            number=entry.seq, kind=EntryKind(entry.kind), change=Points(_owned(entry) - entry.owned_before),
            moved=Points(entry.amount), at=entry.at, available=Points(entry.available_after),
            pending=Points(entry.pending_after), held=Points(entry.held_after), debt=Points(entry.debt_after),
            partner=_partner(directory, entry.partner_id), answers=entry.ref_seq,
            answered_by=answered.get(entry.seq, []),
            transaction=_transaction(services, directory, receipts.get(entry.seq), language),
        )
        for entry in found
    ]  # fmt: skip


def _owned(entry: Entry) -> int:
    return entry.available_after + entry.pending_after + entry.held_after - entry.debt_after


def _transaction(
    services: Services, directory: Directory, receipt: StoredReceipt | None, language: str
) -> Transaction | None:
    partner = None if receipt is None else directory.partner(receipt.partner_id)
    if receipt is None or partner is None:
        return None
    return transaction_of(receipt, replace(partner, id_key=own_key(services.vault)), language, directory)


def _partner(directory: Directory, partner_id: int) -> PartnerView | None:
    partner = directory.partner(partner_id)
    return None if partner is None else partner_view(partner)
