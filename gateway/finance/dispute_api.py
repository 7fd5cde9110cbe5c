"""Disputes of statements' lines over GraphQL: a partner opens, answers and withdraws, finance takes up and decides, and
both sides show what speaks for them and see the same."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, masking, person_calls, scopes
from gateway.claim_types import hash_of
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.calls import DESK, known_as
from gateway.finance.reconciliation_api import PartnerCode
from gateway.finance.reconciliation_types import break_number, whose
from gateway.finance.statement_api import read_statement_id, statement_id
from gateway.inputs import KEY, REPLAYED, described
from gateway.person_calls import PersonCall
from gateway.rejections import Rejection
from gateway.types import Money, money
from kit.amounts import minor_from_decimal
from kit.secrets import Vault, opaque_id, read_opaque_id
from members.messages import COLLEAGUE, STAFF
from settlement.reconciliation import disputed_breaks, disputes, disputing
from settlement.reconciliation.disputes import Dispute, DisputeInvalid, DisputeUnknown, Shown, Trail

_IDS, _PREFIX = "statement dispute", "dsp"
_DISPUTE = "Id of the dispute."
_NOTE = "What is said; both sides read it, and it stays for ever."
PARTNERS = (scopes.DISPUTES_WRITE,)
BOTH = (scopes.DISPUTES_WRITE, scopes.SETTLEMENT_MAKE)
TELL, AGREE, ESCALATE, WITHDRAW = "TELL", "AGREE", "ESCALATE", "WITHDRAW"
Deed = Callable[[AsyncConnection, int, str, datetime], Awaitable[None]]
ANSWERS = {TELL: disputes.tell, ESCALATE: disputes.escalate, WITHDRAW: disputes.withdraw}


@strawberry.input(description="What is wrong with a line of a statement.")
class OpenDisputeInput:
    idempotency_key: str = described(KEY)
    statement_id: strawberry.ID = described("Id of the statement.")
    line: int = described("Number of the line.")
    reason: str = described("D01 to D11.")
    amount: Decimal = described("How much of it, in the partner's favour.")
    note: str = described(_NOTE)
    reference: str | None = described("Number of the receipt, where it is about one.", default=None)


@strawberry.input(description="What the partner says to where a dispute stands.")
class AnswerDisputeInput:
    idempotency_key: str = described(KEY)
    dispute_id: strawberry.ID = described(_DISPUTE)
    answer: str = described(
        "TELL what was asked, AGREE to what is offered, ESCALATE so that somebody else decides, WITHDRAW."
    )
    note: str | None = described(f"{_NOTE} None for AGREE, which needs none.", default=None)


@strawberry.input(description="Something that moves a dispute nowhere.")
class SayInDisputeInput:
    idempotency_key: str = described(KEY)
    dispute_id: strawberry.ID = described(_DISPUTE)
    note: str = described(_NOTE)


@strawberry.input(description="A file that speaks for a side and stays with it; we keep its hash.")
class AddDisputeEvidenceInput:
    idempotency_key: str = described(KEY)
    dispute_id: strawberry.ID = described(_DISPUTE)
    file_name: str = described("What it is called.")
    media_type: str = described("An image, PDF, text, CSV, JSON or spreadsheet.")
    size_bytes: int = described("Its size, at most 10 MiB.")
    sha256: str = described("Its SHA-256, 64 hexadecimal digits.")


@strawberry.input(description="A dispute that finance looks at.")
class TakeUpDisputeInput:
    idempotency_key: str = described(KEY)
    dispute_id: strawberry.ID = described(_DISPUTE)
    question: str | None = described("What the partner is asked, of one that was taken up before.", default=None)


@strawberry.input(description="A break that is really about a line of a statement.")
class DisputeBreakInput:
    idempotency_key: str = described(KEY)
    break_id: strawberry.ID = described("Id of the break, as `settlementBreaks` has it.")
    statement_id: strawberry.ID = described("Id of the partner's statement.")
    line: int = described("Number of the line.")
    reason: str = described("D01 to D11.")
    cause: str = described(_NOTE)


@strawberry.input(description="What the operator gives.")
class DecideDisputeInput:
    idempotency_key: str = described(KEY)
    dispute_id: strawberry.ID = described(_DISPUTE)
    amount: Decimal = described("What is offered, or given where it was escalated; 0 rejects.")
    note: str = described(_NOTE)


@strawberry.type(description="A step of a dispute.")
class DisputeStep:
    state: str = described("Where it led.")
    side: str = described("Whose it was: PARTNER, OPERATOR or SILENCE.")
    note: str = described("What was said.")
    awarded: Money | None = described("What is offered or given with it.")
    at: datetime = described("When.")


@strawberry.type(description="What a side says beside its steps.")
class DisputeNote:
    side: str = described("PARTNER or OPERATOR.")
    note: str = described("Its words.")
    at: datetime = described("When.")


@strawberry.type(description="A file that a side showed.")
class DisputeEvidence:
    side: str = described("PARTNER or OPERATOR: who has it.")
    file_name: str = described("What it is called.")
    media_type: str | None = described("What it is; of old ones not known.")
    size_bytes: int | None = described("Its size; of old ones not known.")
    sha256: str = described("Its SHA-256: who gets it from the other side checks it by this.")
    at: datetime = described("When.")


@strawberry.type(description="What a partner says is wrong with a line of its statement, and where that stands.")
class StatementDispute:
    id: strawberry.ID = described("Its id.")
    partner_name: str = described("Whose it is.")
    run: int = described("Number of the statement's run.")
    statement_id: strawberry.ID = described("The statement.")
    line: int = described("Number of the line.")
    reason: str = described("D01 to D11; more may appear.")
    reference: str | None = described("Number of the receipt, where it is about one.")
    amount: Money = described("What is disputed.")
    mode: str = described("WITHHELD: not paid until it is decided. PAY_FIRST: paid, and given back where it is right.")
    state: str = described("Where it stands; more states may appear.")
    waits_for: str | None = described("PARTNER or OPERATOR: who has to say something; none where it is over.")
    deadline: datetime | None = described("Until when; then silence decides.")
    awarded: Money | None = described("What is offered, or was given.")
    opened_at: datetime = described("When it was opened.")
    steps: list[DisputeStep] = described("What was done, in order.")
    notes: list[DisputeNote] = described("What was said beside that.")
    evidence: list[DisputeEvidence] = described("What was shown.")


@strawberry.type(description="The dispute as it stands.")
class DisputeSuccess:
    dispute: StatementDispute = described("The dispute.")
    replayed: bool = described(REPLAYED)


DisputeResult = Annotated[
    DisputeSuccess | Rejection, strawberry.union("DisputeResult", description="The dispute, or the reason.")
]


@strawberry.type
class DisputeQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        cost=20,
        description="Disputes, oldest first: the partner's own; for the operator's staff, all, or one partner's. In "
        "some states, where that is said.",
    )
    async def statement_disputes(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        partner: PartnerCode = None,
        states: list[str] | None = None,
    ) -> Connection[StatementDispute]:
        cursors = Cursors(info.context.services.vault, "statement dispute")
        async with info.context.services.database.reading() as connection:
            rows = await disputes.page(
                connection, partner_id=await whose(info.context, partner), states=states,
                after=cursors.read(after) or 0, limit=connections.bounded(first) + 1,
            )  # fmt: skip
            found = await _views(info, connection, rows)
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.dispute_id),
            node=lambda row: found[row.dispute_id],
        )  # fmt: skip

    @access.query(scopes=DESK, cost=10, description="One dispute. Null where there is none of this id.")
    async def statement_dispute(self, info: Info[Context, None], id: strawberry.ID) -> StatementDispute | None:
        number = _read_dispute_id(info.context.services.vault, id)
        async with info.context.services.database.reading() as connection:
            try:
                its = await disputes.read(connection, number)
            except DisputeUnknown:
                return None
            return (await _views(info, connection, [its]))[number]


@strawberry.type
class DisputeMutation:
    @access.mutation(
        scopes=PARTNERS, moves_points=False, description="Disputes so much of a line of a statement of the own partner."
    )
    async def open_dispute(self, info: Info[Context, None], input: OpenDisputeInput) -> DisputeResult:
        services, at = info.context.services, await info.context.now()
        who, partner_id = person_calls.person_of(info.context.viewer, COLLEAGUE), _partner(info)
        number, actor = read_statement_id(services.vault, input.statement_id), await known_as(info, who)
        content = (
            str(number),
            str(input.line),
            input.reason,
            str(input.amount.normalize()),
            input.note,
            input.reference or "",
        )
        call = PersonCall(who, "openDispute", input.idempotency_key, content, at)
        async with services.database.transaction() as connection:

            async def open_() -> int:
                currency = await disputes.currency_of(connection, number, partner_id=partner_id)
                made = await disputes.dispute(
                    connection, number, input.line, partner_id=partner_id, reason=input.reason,
                    amount_minor=_minor(input.amount, currency), note=input.note, actor=actor, at=at,
                    reference=input.reference,
                )  # fmt: skip
                return made.dispute_id

            made, replayed = await person_calls.numbered(connection, services.vault, call, open_)
            return await _answer(info, connection, made, is_new=not replayed)

    @access.mutation(
        scopes=PARTNERS,
        moves_points=False,
        description="Answers the operator in a dispute of the own partner, or takes it back.",
    )
    async def answer_dispute(self, info: Info[Context, None], input: AnswerDisputeInput) -> DisputeResult:
        if input.answer not in (AGREE, *ANSWERS):
            raise masking.coded(masking.BAD_USER_INPUT, f"`answer` is one of {', '.join((AGREE, *ANSWERS))}.")
        partner_id = _partner(info)

        async def answer(connection: AsyncConnection, number: int, actor: str, at: datetime) -> None:
            if input.answer == AGREE:
                await disputes.agree(connection, number, partner_id=partner_id, actor=actor, at=at)
            else:
                await ANSWERS[input.answer](
                    connection, number, partner_id=partner_id, note=input.note or "", actor=actor, at=at
                )

        content = (input.answer, input.note or "")
        return await _once(info, "answerDispute", input.idempotency_key, input.dispute_id, answer, *content)

    @access.mutation(
        scopes=BOTH,
        moves_points=False,
        description="Says something in a dispute for the own side; it moves nothing.",
    )
    async def say_in_dispute(self, info: Info[Context, None], input: SayInDisputeInput) -> DisputeResult:
        async def say(connection: AsyncConnection, number: int, actor: str, at: datetime) -> None:
            whose = info.context.viewer.partner_id
            await disputes.say(connection, number, partner_id=whose, note=input.note, actor=actor, at=at)

        return await _once(info, "sayInDispute", input.idempotency_key, input.dispute_id, say, input.note)

    @access.mutation(
        scopes=BOTH, moves_points=False, description="Shows a file in a dispute, for the own side; we keep its hash."
    )
    async def add_dispute_evidence(self, info: Info[Context, None], input: AddDisputeEvidenceInput) -> DisputeResult:
        shown = Shown(input.file_name, input.media_type, input.size_bytes, hash_of(input.sha256))

        async def show(connection: AsyncConnection, number: int, actor: str, at: datetime) -> None:
            whose = info.context.viewer.partner_id
            await disputes.add_evidence(connection, number, partner_id=whose, shown=shown, actor=actor, at=at)

        content = (input.file_name, input.media_type, str(input.size_bytes), input.sha256)
        return await _once(info, "addDisputeEvidence", input.idempotency_key, input.dispute_id, show, *content)

    @access.mutation(
        scopes=(scopes.SETTLEMENT_MAKE,),
        moves_points=False,
        description="Takes a dispute up; with a question, asks the partner for more.",
    )
    async def take_up_dispute(self, info: Info[Context, None], input: TakeUpDisputeInput) -> DisputeResult:
        async def take_up(connection: AsyncConnection, number: int, actor: str, at: datetime) -> None:
            if input.question is None:
                await disputes.acknowledge(connection, number, actor=actor, at=at)
            else:
                await disputes.ask(connection, number, note=input.question, actor=actor, at=at)

        key = input.idempotency_key
        return await _once(info, "takeUpDispute", key, input.dispute_id, take_up, input.question or "", is_staff=True)

    @access.mutation(
        scopes=(scopes.SETTLEMENT_MAKE,),
        moves_points=False,
        description="Ends a break by disputing, for its partner, the line of a statement that it is about, by what it "
        "is worth.",
    )
    async def dispute_break(self, info: Info[Context, None], input: DisputeBreakInput) -> DisputeResult:
        services, at = info.context.services, await info.context.now()
        who = person_calls.person_of(info.context.viewer, STAFF)
        number, statement = (
            break_number(services.vault, input.break_id),
            read_statement_id(services.vault, input.statement_id),
        )
        content = (str(number), str(statement), str(input.line), input.reason, input.cause)
        call = PersonCall(who, "disputeBreak", input.idempotency_key, content, at)
        async with services.database.transaction() as connection:

            async def dispute() -> int:
                person_calls.require_fresh(who)
                made = await disputed_breaks.dispute(
                    connection, number, statement_id=statement, line_no=input.line, reason=input.reason,
                    cause=input.cause, actor=who.name, at=at,
                )  # fmt: skip
                return made.dispute_id

            made, replayed = await person_calls.numbered(connection, services.vault, call, dispute)
            return await _answer(info, connection, made, is_new=not replayed)

    @access.mutation(
        scopes=(scopes.SETTLEMENT_DECIDE,),
        moves_points=False,
        description="Offers an amount, rejects with none, or decides what was escalated; somebody new to the dispute.",
    )
    async def decide_dispute(self, info: Info[Context, None], input: DecideDisputeInput) -> DisputeResult:
        async def decide(connection: AsyncConnection, number: int, actor: str, at: datetime) -> None:
            its = await disputes.read(connection, number)
            awarded = _minor(input.amount, its.currency)
            await disputes.answer(connection, number, awarded_minor=awarded, note=input.note, actor=actor, at=at)

        content = (str(input.amount.normalize()), input.note)
        key = input.idempotency_key
        return await _once(info, "decideDispute", key, input.dispute_id, decide, *content, is_staff=True)


def dispute_id(vault: Vault, number: int) -> strawberry.ID:
    """A dispute's id as both sides know it."""
    return strawberry.ID(opaque_id(connections.id_key(vault, _IDS), _PREFIX, number.to_bytes(8, "big")))


def _read_dispute_id(vault: Vault, opaque: str) -> int:
    raw = read_opaque_id(connections.id_key(vault, _IDS), _PREFIX, opaque)
    return int.from_bytes(raw, "big") if raw is not None and len(raw) == 8 else 0


def _partner(info: Info[Context, None]) -> int:
    partner_id = info.context.viewer.partner_id
    if partner_id is None:
        raise DisputeUnknown("there is no such dispute")
    return partner_id


def _minor(amount: Decimal, currency: str) -> int:
    """An amount in minor units. Rejects DISPUTE_INVALID."""
    try:
        return minor_from_decimal(amount, currency)
    except ValueError as error:
        raise DisputeInvalid(f"an amount of {currency} has fewer decimals") from error


async def _once(
    info: Info[Context, None], operation: str, key: str, opaque: str, do: Deed, *content: str, is_staff: bool = False
) -> DisputeSuccess:
    """Do something in a dispute once under the person's key. Whoever of finance does it has proved a moment ago who
    they are."""
    services, at, viewer = info.context.services, await info.context.now(), info.context.viewer
    who = person_calls.person_of(viewer, STAFF if is_staff or viewer.partner_id is None else COLLEAGUE)
    number, actor = _read_dispute_id(services.vault, opaque), await known_as(info, who)
    async with services.database.transaction() as connection:
        await disputes.read(connection, number, partner_id=viewer.partner_id)
        is_new = await person_calls.is_new(
            connection, services.vault, who, operation, key, str(number), *content, at=at
        )
        if is_new:
            if who.audience == STAFF:
                person_calls.require_fresh(who)
            await do(connection, number, actor, at)
        return await _answer(info, connection, number, is_new=is_new)


async def _answer(
    info: Info[Context, None], connection: AsyncConnection, number: int, *, is_new: bool
) -> DisputeSuccess:
    its = await disputes.read(connection, number, partner_id=info.context.viewer.partner_id)
    return DisputeSuccess(dispute=(await _views(info, connection, [its]))[number], replayed=not is_new)


async def _views(
    info: Info[Context, None], connection: AsyncConnection, rows: Sequence[Dispute]
) -> dict[int, StatementDispute]:
    services = info.context.services
    trails = await disputes.trail(connection, [row.dispute_id for row in rows])
    directory = await services.directory.get()
    names = {partner.partner_id: partner.name for partner in directory.partners()}
    return {row.dispute_id: _view(services.vault, row, names[row.partner_id], trails[row.dispute_id]) for row in rows}


def _view(vault: Vault, its: Dispute, partner: str, trail: Trail) -> StatementDispute:
    def of(minor: int | None) -> Money | None:
        return None if minor is None else money(minor, its.currency)

    return StatementDispute(
        id=dispute_id(vault, its.dispute_id), partner_name=partner, run=its.run_id,
        statement_id=statement_id(vault, its.statement_id), line=its.line_no, reason=its.reason,
        reference=its.reference, amount=money(its.amount_minor, its.currency),
        mode=its.mode, state=its.state, waits_for=disputing.waits_for(its.state), deadline=its.deadline,
        awarded=of(its.awarded_minor), opened_at=its.at,
        steps=[
            DisputeStep(state=one.state, side=one.side, note=one.note, awarded=of(one.awarded_minor), at=one.at)
            for one in trail.steps
        ],
        notes=[DisputeNote(side=one.side, note=one.note, at=one.at) for one in trail.notes],
        evidence=[
            DisputeEvidence(
                side=one.side, file_name=one.shown.name, media_type=one.shown.media_type,
                size_bytes=one.shown.size_bytes, sha256=one.shown.sha256.hex(), at=one.at,
            )
            for one in trail.evidence
        ],
    )  # fmt: skip
