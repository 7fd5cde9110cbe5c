"""Disputes as a partner has them: what is wrong with a line of its statement, and its answers until that is over."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, person_calls, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance_api import statement_by_id
from gateway.hold_inputs import KEY
from gateway.inputs import described
from gateway.person_calls import PersonCall
from gateway.purchase_api import counter_of
from gateway.rejections import Rejection
from gateway.types import Money, money
from kit.amounts import minor_from_decimal
from kit.secrets import Vault, opaque_id, read_opaque_id
from members.messages import COLLEAGUE
from partners.directory import Partner
from settlement.reconciliation import disputes
from settlement.reconciliation.disputes import Dispute, DisputeInvalid, DisputeUnknown

_DISPUTE = "dsp"
_ID = "The dispute, as `ownDisputes` names it."
_NOTE = "What there is to say, for whoever decides."


@strawberry.type(description="What a partner disputes of a line of its statement, and where that stands.")
class OwnDispute:
    id: strawberry.ID = described("Opaque id.")
    run: int = described("Number of the statement's run.")
    line: int = described("The line's place in the statement.")
    reason: str = described("D01 to D11, as reports name them.")
    amount: Money = described("What is disputed, in the partner's favour.")
    awarded: Money | None = described("What is offered, or was given.")
    mode: str = described("WITHHELD: not paid until it is over. PAY_FIRST: paid first, given back afterwards.")
    state: str = described(
        "OPENED, ACKNOWLEDGED, INFO_REQUESTED, PROPOSED, REJECTED, ESCALATED, ACCEPTED, ARBITRATED, CLOSED."
    )
    opened_at: datetime = described("Business instant.")
    deadline: datetime | None = described("Until when somebody has to say something; null where it is over.")


@strawberry.input(description="What is wrong with a line of the own statement.")
class OpenDisputeInput:
    idempotency_key: str = described(KEY)
    statement_id: strawberry.ID = described("The statement.")
    line: int = described("The line's place in it.")
    reason: str = described("D01 to D11.")
    amount: Decimal = described("How much of the line, above zero, in the statement's currency.")
    note: str = described(_NOTE)
    reference: str | None = described("The partner's own number of a receipt that it is about.", default=None)


@strawberry.input(description="A partner's answer in a dispute.")
class AnswerDisputeInput:
    idempotency_key: str = described(KEY)
    dispute_id: strawberry.ID = described(_ID)
    answer: str = described("TELL: what was asked. AGREE: with what is offered. ESCALATE: somebody else decides.")
    note: str = described(_NOTE, default="")


@strawberry.type(description="A dispute as it stands now.")
class DisputeSuccess:
    dispute: OwnDispute = described("The dispute.")
    replayed: bool = described("True when an earlier call did it; nothing was written now.")


DisputeResult = Annotated[
    DisputeSuccess | Rejection, strawberry.union("DisputeResult", description="Done, or the reason.")
]
Deed = Callable[[AsyncConnection, str, datetime], Awaitable[Dispute]]


@strawberry.type
class DisputeQuery:
    @access.query(
        scopes=(scopes.STATEMENTS_ACCEPT,),
        size=access.paged(),
        description="Disputes of the signed-in colleague's partner, in the order they were opened.",
    )
    async def own_disputes(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[OwnDispute]:
        partner, vault = (await counter_of(info)).partner, info.context.services.vault
        cursors = Cursors(vault, "own dispute")
        async with info.context.services.database.reading() as connection:
            rows = await disputes.page(
                connection, partner_id=partner.partner_id, after=cursors.read(after) or 0,
                limit=connections.bounded(first) + 1,
            )  # fmt: skip
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.dispute_id),
            node=lambda row: _shown(vault, row),
        )  # fmt: skip


@strawberry.type
class DisputeMutation:
    @access.mutation(
        scopes=(scopes.STATEMENTS_ACCEPT,), moves_points=False,
        description="Disputes a part of a line of the own statement. Takes a proof of a moment ago.",
    )  # fmt: skip
    async def open_dispute(self, info: Info[Context, None], input: OpenDisputeInput) -> DisputeResult:
        partner = (await counter_of(info)).partner
        found = await statement_by_id(info.context, input.statement_id)
        if found is None:
            raise DisputeInvalid("there is no such line of this partner, or no such reason")
        its = found.statement
        try:
            amount_minor = minor_from_decimal(input.amount, its.currency)
        except ValueError:
            raise DisputeInvalid("this is no amount of the statement's currency") from None

        async def dispute(connection: AsyncConnection, actor: str, at: datetime) -> Dispute:
            return await disputes.dispute(
                connection, its.statement_id, input.line, partner_id=partner.partner_id, reason=input.reason,
                amount_minor=amount_minor, note=input.note, actor=actor, at=at, reference=input.reference,
            )  # fmt: skip

        content = (str(its.statement_id), str(input.line), input.reason, str(amount_minor), input.note,
                   input.reference or "")  # fmt: skip
        return await _done(info, partner, "openDispute", input.idempotency_key, dispute, *content)

    @access.mutation(
        scopes=(scopes.STATEMENTS_ACCEPT,), moves_points=False,
        description="Answers in a dispute of the own partner's. Takes a proof of a moment ago.",
    )  # fmt: skip
    async def answer_dispute(self, info: Info[Context, None], input: AnswerDisputeInput) -> DisputeResult:
        partner = (await counter_of(info)).partner
        number = _number(info.context.services.vault, input.dispute_id)

        async def answer(connection: AsyncConnection, actor: str, at: datetime) -> Dispute:
            its = await disputes.read(connection, number, partner_id=partner.partner_id)
            if input.answer == "AGREE":
                return await disputes.agree(connection, number, partner_id=its.partner_id, actor=actor, at=at)
            if input.answer not in ("TELL", "ESCALATE"):
                raise DisputeInvalid("an answer is TELL, AGREE or ESCALATE")
            deed = disputes.tell if input.answer == "TELL" else disputes.escalate
            return await deed(connection, number, partner_id=its.partner_id, note=input.note, actor=actor, at=at)

        content = (str(number), input.answer, input.note)
        return await _done(info, partner, "answerDispute", input.idempotency_key, answer, *content)


async def _done(
    info: Info[Context, None], partner: Partner, operation: str, key: str, deed: Deed, *content: str
) -> DisputeSuccess:
    """Do something once under its key; the dispute as it stands afterwards."""
    services, at = info.context.services, await info.context.now()
    person = person_calls.person_of(info.context.viewer, COLLEAGUE)
    async with services.database.transaction() as connection:

        async def do() -> int:
            person_calls.require_fresh(person)
            return (await deed(connection, f"{partner.code}/{person.name}", at)).dispute_id

        call = PersonCall(person, operation, key, content, at)
        number, replayed = await person_calls.numbered(connection, services.vault, call, do)
        its = await disputes.read(connection, number, partner_id=partner.partner_id)
    return DisputeSuccess(dispute=_shown(services.vault, its), replayed=replayed)


def _shown(vault: Vault, its: Dispute) -> OwnDispute:
    awarded = None if its.awarded_minor is None else money(its.awarded_minor, its.currency)
    return OwnDispute(
        id=strawberry.ID(opaque_id(_key(vault), _DISPUTE, its.dispute_id.to_bytes(8, "big"))), run=its.run_id,
        line=its.line_no, reason=its.reason, amount=money(its.amount_minor, its.currency), awarded=awarded,
        mode=its.mode, state=its.state, opened_at=its.at, deadline=its.deadline,
    )  # fmt: skip


def _number(vault: Vault, opaque: str) -> int:
    """The number inside a dispute's id. Rejects DISPUTE_UNKNOWN."""
    raw = read_opaque_id(_key(vault), _DISPUTE, opaque)
    if raw is None:
        raise DisputeUnknown("there is no such dispute")
    return int.from_bytes(raw, "big")


def _key(vault: Vault) -> bytes:
    return connections.id_key(vault, "own dispute id")
