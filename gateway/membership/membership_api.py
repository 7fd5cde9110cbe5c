"""What a member who is signed in decides: spend lock, daily cap, approvals, consents, a card that is gone."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated
from uuid import uuid4

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context, Person, Services
from gateway.inputs import KEY, REPLAYED, MemberRefInput, described
from gateway.membership.membership_types import Membership
from gateway.membership.own_ids import APPROVAL, CARD, MEMBER, own_id, read_own_id
from gateway.membership.own_types import Own
from gateway.messages import letters
from gateway.messages.notices import zone_of
from gateway.rejections import Rejection
from gateway.sessions.views import sender_of
from gateway.types import Balance, Member
from kit import audit, clock, errors
from kit.amounts import Points
from kit.errors import FieldProblem
from ledger import accounts
from ledger.accounts import POINTS
from members import approvals, cards, consents, identification, messages
from members.cards import CardUnknown, MemberUnknown
from members.consents import OPERATOR, ConsentGiven
from members.identification import MemberRef
from members.messages import AddressUnknown
from partners.agreements.onboarding import PartnerUnknown

_CHANNEL = "MEMBERS_APP"
SESSION = "SESSION"


class DailyCapInvalid(errors.Rejection):
    """A cap of fewer points than none."""

    code = "DAILY_CAP_INVALID"
    retryable = False


Deed = Callable[[AsyncConnection], Awaitable[None]]


@strawberry.input(description="Whether anything can be spent.")
class LockSpendingInput:
    idempotency_key: str = described(KEY)
    locked: bool = described("True: nothing is spent by any way from now on. False takes a proof of a moment ago.")


@strawberry.input(description="The most that can be spent in one day.")
class SetDailyCapInput:
    idempotency_key: str = described(KEY)
    points: Points | None = described(
        "How many; null for no such limit. A higher one, or none, takes a proof of a moment ago.", default=None
    )


@strawberry.input(description="An answer to a till's question.")
class AnswerApprovalInput:
    idempotency_key: str = described(KEY)
    approval_id: strawberry.ID = described("The question, as `own { approvals }` names it.")
    approved: bool = described("Whether the points may be spent; true takes a proof of a moment ago.")


@strawberry.input(description="A consent given or withdrawn, for one purpose and by itself.")
class SetConsentInput:
    idempotency_key: str = described(KEY)
    purpose: str = described("PROGRAMME, PERSONAL_DATA, PARTNER_TRANSFER, ADVERTISING_EMAIL; more may appear.")
    granted: bool = described("Whether the member agrees from now on.")
    text_version: str = described("The version of the words that were shown.")
    partner: str | None = described("The partner's code, where it is about one.", default=None)


@strawberry.input(description="A card that is gone.")
class ReportCardLostInput:
    idempotency_key: str = described(KEY)
    card_id: strawberry.ID = described("The card, as `own { cards }` names it.")


@strawberry.type(description="A member's own decision, done.")
class MemberDecision:
    member: Member = described("The member as they are now.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The spend lock is as was asked.")
class LockSpendingSuccess(MemberDecision):
    pass


@strawberry.type(description="The cap is as was asked.")
class SetDailyCapSuccess(MemberDecision):
    pass


@strawberry.type(description="The till hears the answer.")
class AnswerApprovalSuccess(MemberDecision):
    pass


@strawberry.type(description="The consent is in the ledger of consents.")
class SetConsentSuccess(MemberDecision):
    pass


@strawberry.type(description="The card neither earns nor spends any more.")
class ReportCardLostSuccess(MemberDecision):
    pass


LockSpendingResult = Annotated[
    LockSpendingSuccess | Rejection, strawberry.union("LockSpendingResult", description="Done, or the reason.")
]
SetDailyCapResult = Annotated[
    SetDailyCapSuccess | Rejection, strawberry.union("SetDailyCapResult", description="Done, or the reason.")
]
AnswerApprovalResult = Annotated[
    AnswerApprovalSuccess | Rejection, strawberry.union("AnswerApprovalResult", description="Done, or the reason.")
]
SetConsentResult = Annotated[
    SetConsentSuccess | Rejection, strawberry.union("SetConsentResult", description="Done, or the reason.")
]
ReportCardLostResult = Annotated[
    ReportCardLostSuccess | Rejection, strawberry.union("ReportCardLostResult", description="Done, or the reason.")
]


@strawberry.type
class MembershipMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Locks the signed-in member's spending at every till, for gifts too, or unlocks it.",
    )
    async def lock_spending(self, info: Info[Context, None], input: LockSpendingInput) -> LockSpendingResult:
        async def change(connection: AsyncConnection) -> None:
            held = await _account(connection, info, at)
            if not input.locked and held.spend_locked:
                person_calls.require_fresh(person(info))
                await tell(connection, info.context.services, _member_id(info), letters.SPENDING_UNLOCKED, at)
            await accounts.lock_spending(connection, _member_id(info), locked=input.locked)
            action = "SPENDING_LOCKED" if input.locked else "SPENDING_UNLOCKED"
            await note(connection, info, action, {}, at)

        at = await info.context.now()
        done = await once(info, "lockSpending", input.idempotency_key, change, str(input.locked), at=at)
        return LockSpendingSuccess(member=await own_member(info), replayed=not done)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Sets the most that the signed-in member can spend in one day of the programme, by all ways.",
    )
    async def set_daily_cap(self, info: Info[Context, None], input: SetDailyCapInput) -> SetDailyCapResult:
        async def change(connection: AsyncConnection) -> None:
            held = (await _account(connection, info, at)).daily_cap
            if input.points is not None and input.points < 0:
                problem = FieldProblem(("points",), "INVALID", "none or more")
                raise DailyCapInvalid("a cap is not negative", problems=[problem])
            if held is not None and (input.points is None or input.points > held):
                person_calls.require_fresh(person(info))
                await tell(connection, info.context.services, _member_id(info), letters.DAILY_CAP_RAISED, at)
            await accounts.set_daily_cap(connection, _member_id(info), points=input.points)
            await note(connection, info, "DAILY_CAP_SET", {"points": input.points}, at)

        at = await info.context.now()
        done = await once(info, "setDailyCap", input.idempotency_key, change, str(input.points), at=at)
        return SetDailyCapSuccess(member=await own_member(info), replayed=not done)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Answers a till that asked the signed-in member whether points may be spent, once and for all.",
    )
    async def answer_approval(self, info: Info[Context, None], input: AnswerApprovalInput) -> AnswerApprovalResult:
        async def change(connection: AsyncConnection) -> None:
            if input.approved:
                person_calls.require_fresh(person(info))
            number = read_own_id(info.context.services.vault, APPROVAL, _member_id(info), input.approval_id) or 0
            await approvals.decide(connection, _member_id(info), number, approved=input.approved, at=at)

        at = await info.context.now()
        content = (input.approval_id, str(input.approved))
        done = await once(info, "answerApproval", input.idempotency_key, change, *content, at=at)
        return AnswerApprovalSuccess(member=await own_member(info), replayed=not done)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Gives or withdraws one consent of the signed-in member; withdrawing is as easy as giving.",
    )
    async def set_consent(self, info: Info[Context, None], input: SetConsentInput) -> SetConsentResult:
        async def change(connection: AsyncConnection) -> None:
            given = ConsentGiven(
                input.purpose, input.text_version, at, await _partner_id(info, input.partner), _CHANNEL
            )
            await (consents.grant if input.granted else consents.withdraw)(connection, _member_id(info), given)

        at = await info.context.now()
        content = (input.purpose, str(input.granted), input.text_version, input.partner or "")
        done = await once(info, "setConsent", input.idempotency_key, change, *content, at=at)
        return SetConsentSuccess(member=await own_member(info), replayed=not done)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Says that a card of the signed-in member is gone: it neither earns nor spends from now on.",
    )
    async def report_card_lost(self, info: Info[Context, None], input: ReportCardLostInput) -> ReportCardLostResult:
        async def change(connection: AsyncConnection) -> None:
            card_id = read_own_id(info.context.services.vault, CARD, _member_id(info), input.card_id)
            if card_id is None:
                raise CardUnknown
            await cards.mark_lost(connection, card_id, at=at)
            await note(connection, info, "CARD_LOST", {"card": card_id}, at)

        at = await info.context.now()
        done = await once(info, "reportCardLost", input.idempotency_key, change, input.card_id, at=at)
        return ReportCardLostSuccess(member=await own_member(info), replayed=not done)


async def own_member(info: Info[Context, None]) -> Member:
    """The member who is signed in, with all that is theirs. Rejects MEMBER_UNKNOWN, MEMBER_CLOSED."""
    services, at, member_id = info.context.services, await info.context.now(), _member_id(info)
    async with services.database.reading() as connection:
        found = await identification.identify(
            connection, services.vault, MemberRef(id=member_id), partner_id=OPERATOR, terminal_id=None, at=at
        )
        account = await _account(connection, info, at)
    return Member(
        id=own_id(services.vault, MEMBER, member_id),
        tier=found.tier,
        status=found.status,
        identified_by=SESSION,
        balance=Balance(
            available=Points(account.available), pending=Points(account.pending), as_of=at, known_held=account.held,
            known_debt=account.debt, holder_id=member_id,
        ),
        visit=None,
        own=Membership(own=Own(member_id, account, at)),
    )  # fmt: skip


def names_self(info: Info[Context, None], ref: MemberRefInput) -> bool:
    """Whether a reference is the id of the very member who is signed in; no other way of naming is looked up."""
    own = own_id(info.context.services.vault, MEMBER, _member_id(info))
    return ref.id is not None and ref.id.value == own


async def once(info: Info[Context, None], operation: str, key: str, change: Deed, *content: str, at: datetime) -> bool:
    """Do something in a transaction, once under its key; whether it was done now."""
    async with info.context.services.database.transaction() as connection:
        vault = info.context.services.vault
        is_new = await person_calls.is_new(connection, vault, person(info), operation, key, *content, at=at)
        if is_new:
            await change(connection)
    return is_new


def person(info: Info[Context, None]) -> Person:
    """The member who is signed in. Raises FORBIDDEN."""
    return person_calls.person_of(info.context.viewer, messages.MEMBER)


def _member_id(info: Info[Context, None]) -> int:
    return person(info).number


async def _account(connection: AsyncConnection, info: Info[Context, None], at: datetime) -> accounts.Balance:
    found = await accounts.balance(connection, _member_id(info), POINTS, at=at)
    if found is None:
        raise MemberUnknown
    return found


async def _partner_id(info: Info[Context, None], code: str | None) -> int:
    if code is None:
        return OPERATOR
    partner = (await info.context.services.directory.get()).partner_by_code(code)
    if partner is None:
        raise PartnerUnknown(f"there is no partner '{code}'")
    return partner.partner_id


async def note(
    connection: AsyncConnection, info: Info[Context, None], action: str, detail: Mapping[str, object], at: datetime
) -> None:
    """Write into the audit trail what the signed-in member did."""
    subject = f"member:{_member_id(info)}"
    await audit.write(connection, actor="member", action=action, subject=subject, detail=detail, at=at)


async def tell(connection: AsyncConnection, services: Services, member_id: int, what: str, at: datetime) -> None:
    """Write to a member that somebody, as we hope they themselves, has made spending easier."""
    try:
        to = await messages.member(connection, services.vault, member_id)
    except AddressUnknown:
        return  # nobody to tell; the audit trail has it
    sender, now = await sender_of(services), clock.wall()
    letter = letters.security_notice(to.language, what=what, at=now, zone=zone_of(to, sender), site=sender.site)
    await messages.accept(connection, to, letter, message_id=uuid4(), purpose=messages.SECURITY_NOTICE, at=at, now=now)
