"""Claims to missing points over GraphQL: a member makes and contests them, the partner answers, finance decides."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, connections, masking, person_calls, scopes
from gateway.claim_types import (
    EvidenceInput,
    MissingPointsClaim,
    read_claim_id,
    read_own_claim_id,
    shown_of,
    views,
)
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.calls import known_as
from gateway.inputs import KEY, REPLAYED, described
from gateway.membership.membership_api import person
from gateway.person_calls import PersonCall
from gateway.rejections import Rejection
from kit.amounts import minor_from_decimal
from kit.errors import FieldProblem
from members.messages import COLLEAGUE, STAFF
from partners import callers
from partners.agreements.onboarding import PartnerUnknown
from settlement.claims import claiming, claims
from settlement.claims.claims import ClaimDraft, ClaimInvalid, ClaimUnknown, Purchase, Shown

MAKE = (scopes.SETTLEMENT_MAKE,)
_CLAIM = "Id of the claim."
OPEN = (*claiming.WAITING, *claiming.TO_CREDIT)


@strawberry.input(description="A purchase whose points are missing, as its receipt says.")
class ClaimMissingPointsInput:
    idempotency_key: str = described(KEY)
    partner: str = described("Code of the partner.")
    business_date: date = described("Day of the receipt.")
    reference: str = described("Number of the receipt.")
    total: Decimal = described("What the purchase came to, in the partner's currency.")
    outlet: str | None = described("Code of the outlet; this or `place`.", default=None)
    place: str | None = described("Where it was, in words, where the outlet's code is not known.", default=None)
    terminal: str | None = described("Code of the till, where the receipt shows it.", default=None)
    occurred_at: datetime | None = described("When it was, where the receipt shows it.", default=None)
    evidence: list[EvidenceInput] | None = described("Pictures of the receipt, at most 5.", default=None)


@strawberry.input(description="A refusal that the member does not accept.")
class ContestClaimInput:
    idempotency_key: str = described(KEY)
    claim_id: strawberry.ID = described(_CLAIM)
    reason: str = described("C01: the receipt is there. C02: what was told is right. C03: the card was shown.")
    evidence: list[EvidenceInput] | None = described("What speaks for it, at most 5.", default=None)


@strawberry.input(description="A partner's answer to a claim.")
class AnswerClaimInput:
    idempotency_key: str = described(KEY)
    claim_id: strawberry.ID = described(_CLAIM)
    accepted: bool = described("Whether the points are given, at the partner's cost.")
    total: Decimal | None = described("Accepted: what the purchase came to, where not as told.", default=None)
    outlet: str | None = described("Accepted: code of the outlet, where not as told.", default=None)
    terminal: str | None = described("Accepted: code of the till. The late original is refused by it.", default=None)
    reference: str | None = described("Accepted: number of the receipt, where not as told.", default=None)
    reason: str | None = described("Refused: P01 to P06.", default=None)
    note: str | None = described("Refused: what the member reads besides, at most 500 characters.", default=None)
    evidence: list[EvidenceInput] | None = described("Refused: what speaks for it, at most 5.", default=None)


@strawberry.input(description="What is to become of a contested claim.")
class ProposeClaimDecisionInput:
    idempotency_key: str = described(KEY)
    claim_id: strawberry.ID = described(_CLAIM)
    upheld: bool = described("Whether the points are given, at the partner's cost.")
    reason: str = described("Why; the member reads it.")


@strawberry.type(description="The claim as it stands.")
class ClaimMissingPointsSuccess:
    claim: MissingPointsClaim = described("The claim.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The operator decides.")
class ContestClaimSuccess:
    claim: MissingPointsClaim = described("The claim.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The answer stands.")
class AnswerClaimSuccess:
    claim: MissingPointsClaim = described("The claim.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="It waits for somebody else, who says `decideFinanceProposal`.")
class ProposeClaimDecisionSuccess:
    number: int = described("Number of the proposal.")
    replayed: bool = described(REPLAYED)


ClaimMissingPointsResult = Annotated[
    ClaimMissingPointsSuccess | Rejection,
    strawberry.union("ClaimMissingPointsResult", description="The claim, or the reason."),
]
ContestClaimResult = Annotated[
    ContestClaimSuccess | Rejection, strawberry.union("ContestClaimResult", description="The claim, or the reason.")
]
AnswerClaimResult = Annotated[
    AnswerClaimSuccess | Rejection, strawberry.union("AnswerClaimResult", description="The claim, or the reason.")
]
ProposeClaimDecisionResult = Annotated[
    ProposeClaimDecisionSuccess | Rejection,
    strawberry.union("ProposeClaimDecisionResult", description="Proposed, or the reason."),
]


@strawberry.type
class ClaimQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        description="Claims to missing points, oldest first: those about the partner's own purchases; for the "
        "operator's staff, all. Only those that are not over, unless all are asked for. Who made one is not told.",
    )
    async def missing_points_claims(
        self, info: Info[Context, None], first: First = 20, after: After = None, all_states: bool = False
    ) -> Connection[MissingPointsClaim]:
        cursors = Cursors(info.context.services.vault, "missing points claim")
        async with info.context.services.database.reading() as connection:
            rows = await claims.page(
                connection, partner_id=info.context.viewer.partner_id, after=cursors.read(after) or 0,
                states=None if all_states else OPEN, limit=connections.bounded(first) + 1,
            )  # fmt: skip
            found = await views(info, connection, rows)
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.claim_id),
            node=lambda row: found[row.claim_id],
        )  # fmt: skip


@strawberry.type
class ClaimMutation:
    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Claims that the points of a purchase of the signed-in member are missing. Its partner is asked; "
        "if it says nothing in time the points are given.",
    )
    async def claim_missing_points(
        self, info: Info[Context, None], input: ClaimMissingPointsInput
    ) -> ClaimMissingPointsResult:
        services, at, who = info.context.services, await info.context.now(), person(info)
        directory, shown = await services.directory.get(), shown_of(input.evidence)
        partner = directory.partner_by_code(input.partner)
        if partner is None:
            raise PartnerUnknown("there is no such partner")
        currency = callers.terms_at(directory, partner.partner_id, at).currency
        draft = ClaimDraft(
            partner.partner_id, input.business_date, input.reference, _minor(input.total, currency), currency,
            input.outlet, input.place, input.terminal, input.occurred_at, shown,
        )  # fmt: skip
        content = (
            input.partner, input.business_date.isoformat(), input.reference, str(draft.total_minor),
            input.outlet or "", input.place or "", input.terminal or "",
            "" if input.occurred_at is None else input.occurred_at.isoformat(), *_told(shown),
        )  # fmt: skip
        call = PersonCall(who, "claimMissingPoints", input.idempotency_key, content, at)
        async with services.database.transaction() as connection:

            async def file() -> int:
                made = await claims.file(connection, services.vault, directory, draft, member_id=who.number, at=at)
                return made.claim_id

            number, replayed = await person_calls.numbered(connection, services.vault, call, file)
            its = await claims.read(connection, number, member_id=who.number)
            view = (await views(info, connection, [its], of_member=who.number))[number]
        return ClaimMissingPointsSuccess(claim=view, replayed=replayed)

    @access.mutation(
        scopes=(scopes.MEMBER_SELF,),
        moves_points=False,
        description="Has the operator decide on a claim of the signed-in member that the partner refused, once.",
    )
    async def contest_claim(self, info: Info[Context, None], input: ContestClaimInput) -> ContestClaimResult:
        services, at, who = info.context.services, await info.context.now(), person(info)
        number, shown = read_own_claim_id(services.vault, who.number, input.claim_id), shown_of(input.evidence)
        content = (str(number), input.reason, *_told(shown))
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, who, "contestClaim", input.idempotency_key, *content, at=at
            )
            if is_new:
                await claims.contest(connection, number, member_id=who.number, reason=input.reason, at=at, shown=shown)
            its = await claims.read(connection, number, member_id=who.number)
            view = (await views(info, connection, [its], of_member=who.number))[number]
        return ContestClaimSuccess(claim=view, replayed=not is_new)

    @access.mutation(
        scopes=(scopes.DISPUTES_WRITE,),
        moves_points=False,
        description="Answers a claim for the own partner, once. What is accepted is billed like any purchase.",
    )
    async def answer_claim(self, info: Info[Context, None], input: AnswerClaimInput) -> AnswerClaimResult:
        services, at = info.context.services, await info.context.now()
        who, partner_id = person_calls.person_of(info.context.viewer, COLLEAGUE), info.context.viewer.partner_id
        if partner_id is None:
            raise ClaimUnknown("there is no such claim")
        number = read_claim_id(services.vault, input.claim_id)
        directory, actor = await services.directory.get(), await known_as(info, who)
        answer = _Answer(input, number)
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, who, "answerClaim", input.idempotency_key, *answer.content, at=at
            )
            if is_new and input.accepted:
                its = await claims.read(connection, number, partner_id=partner_id)
                await claims.accept(
                    connection, directory, number, partner_id=partner_id, actor=actor, at=at,
                    purchase=answer.purchase(its.currency),
                )  # fmt: skip
            elif is_new:
                await claims.refuse(
                    connection, number, partner_id=partner_id, reason=input.reason or "", actor=actor, at=at,
                    note=input.note, shown=shown_of(input.evidence),
                )  # fmt: skip
            its = await claims.read(connection, number, partner_id=partner_id)
            view = (await views(info, connection, [its]))[number]
        return AnswerClaimSuccess(claim=view, replayed=not is_new)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Proposes what becomes of a claim that a member contests."
    )
    async def propose_claim_decision(
        self, info: Info[Context, None], input: ProposeClaimDecisionInput
    ) -> ProposeClaimDecisionResult:
        services, at = info.context.services, await info.context.now()
        who, number = (
            person_calls.person_of(info.context.viewer, STAFF),
            read_claim_id(services.vault, input.claim_id),
        )
        content = (str(number), str(input.upheld), input.reason)
        call = PersonCall(who, "proposeClaimDecision", input.idempotency_key, content, at)
        async with services.database.transaction() as connection:

            async def propose() -> int:
                person_calls.require_fresh(who)
                return await claims.propose(
                    connection, number, upheld=input.upheld, cause=input.reason, actor=who.name, at=at
                )

            made, replayed = await person_calls.numbered(connection, services.vault, call, propose)
        return ProposeClaimDecisionSuccess(number=made, replayed=replayed)


def _told(shown: Sequence[Shown]) -> Iterator[str]:
    """Evidence as it is compared with what an earlier call of the same key told."""
    for one in shown:
        yield from (one.media_type, str(one.size_bytes), one.sha256.hex())


def _minor(amount: Decimal, currency: str) -> int:
    """An amount in minor units. Rejects CLAIM_INVALID."""
    try:
        return minor_from_decimal(amount, currency)
    except ValueError as error:
        problem = FieldProblem(("total",), "NOT_MINOR_UNITS", str(error))
        raise ClaimInvalid("an amount has more decimals than its currency", problems=[problem]) from error


class _Answer:
    """A partner's answer as it came in. Raises BAD_USER_INPUT where it says what its kind has no room for."""

    def __init__(self, said: AnswerClaimInput, number: int) -> None:
        of_refusal = (said.reason, said.note, said.evidence)
        of_acceptance = (said.total, said.outlet, said.terminal, said.reference)
        if any(one is not None for one in (of_refusal if said.accepted else of_acceptance)):
            raise masking.coded(
                masking.BAD_USER_INPUT, "What is accepted has no reason, and what is refused no purchase."
            )
        self._said = said
        self.content = (
            str(number), str(said.accepted), "" if said.total is None else str(said.total.normalize()),
            said.outlet or "", said.terminal or "", said.reference or "", said.reason or "", said.note or "",
            *_told(shown_of(said.evidence)),
        )  # fmt: skip

    def purchase(self, currency: str) -> Purchase:
        """The purchase as the partner has it."""
        said = self._said
        minor = None if said.total is None else _minor(said.total, currency)
        return Purchase(minor, said.outlet, said.terminal, said.reference)
