"""What partners and finance do over GraphQL about files and breaks: send, compare, assign, explain, resolve, take back.

A partner's program sends its own files; people of finance do the rest in their own name, with a proof of a moment ago.
What gives money goes by two people, or within the month's budget, as at the terminal.
"""

import io
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, masking, person_calls, scopes
from gateway.context import Context
from gateway.finance.calls import DECIDE, MAKE, Do, once, person
from gateway.finance.reconciliation_pages import file_number
from gateway.finance.reconciliation_types import (
    FileComparison,
    PartnerFile,
    SettlementBreak,
    break_number,
    comparison_of,
    names,
    partner_file_of,
    shown_breaks,
)
from gateway.inputs import KEY, REPLAYED, described
from gateway.rejections import Rejection
from kit.secrets import fingerprint
from partners import calls
from partners.agreements import programme
from partners.directory import Partner
from settlement.reconciliation import breaks, comparing, intake, register, resolving
from settlement.reconciliation.files import Format
from settlement.reconciliation.intake import FileCall

FORMATS: dict[str, Format] = {"CSV": "CSV", "JSONL": "JSONL"}
_RESOLVING: dict[str, Callable[..., Awaitable[object]]] = {
    "ACCEPT": resolving.accept, "POST": resolving.post, "WRITE_OFF": resolving.write_off,
}  # fmt: skip

_BREAK = "Id of the break, as `settlementBreaks` has it."
_CAUSE = "Why; it stays for ever."


@strawberry.input(description="A file of receipts. A larger one goes to /settlement/files.")
class SendPartnerFileInput:
    idempotency_key: str = described(KEY)
    format: str = described("CSV or JSONL.", default="CSV")
    content: str = described("The whole file, as it lies on the disk.")
    partner: str | None = described("Code of the partner whose it is; a partner's program leaves it out.", default=None)


@strawberry.input(description="A file that is to be compared with our receipts.")
class ComparePartnerFileInput:
    idempotency_key: str = described(KEY)
    file_id: strawberry.ID = described("Id of the file.")


@strawberry.input(description="Nothing but the key.")
class LookForMissingLinesInput:
    idempotency_key: str = described(KEY)


@strawberry.input(description="Who is to look after a break.")
class AssignBreakInput:
    idempotency_key: str = described(KEY)
    break_id: strawberry.ID = described(_BREAK)
    owner: str = described("Name of somebody who acts here.")
    due_on: date | None = described("By when; by default what its value asks for.", default=None)


@strawberry.input(description="Something about a break, and why.")
class BreakCauseInput:
    idempotency_key: str = described(KEY)
    break_id: strawberry.ID = described(_BREAK)
    cause: str = described(_CAUSE)


@strawberry.input(description="Something to say about a break.")
class AddBreakNoteInput:
    idempotency_key: str = described(KEY)
    break_id: strawberry.ID = described(_BREAK)
    text: str = described("At most 2,000 characters.")


@strawberry.input(description="How a break ends.")
class ResolveBreakInput:
    idempotency_key: str = described(KEY)
    break_id: strawberry.ID = described(_BREAK)
    resolution: str = described(
        "ACCEPT leaves it as it is, POST corrects it in the partner's next statement, WRITE_OFF gives it up."
    )
    cause: str = described(_CAUSE)


@strawberry.input(description="Breaks whose lines are one thing after all.")
class MatchBreaksInput:
    idempotency_key: str = described(KEY)
    break_ids: list[strawberry.ID] = described(
        "One break with a line on either side, or up to twelve that are one line here and several there."
    )
    cause: str = described(_CAUSE)


@strawberry.input(description="A resolved break that somebody has looked at.")
class VerifyBreakInput:
    idempotency_key: str = described(KEY)
    break_id: strawberry.ID = described(_BREAK)


@strawberry.type(description="The acknowledgement of a file: taken or refused, and what came of its lines.")
class SendPartnerFileSuccess:
    file: PartnerFile = described("The file; one that was refused says why.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A file that was compared.")
class ComparePartnerFileSuccess:
    comparison: FileComparison = described("What came of it.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="What came since files were compared.")
class LookForMissingLinesSuccess:
    arrived: int | None = described("Lines of ours that were missing and are matched now. Null in a replay.")
    missing: int | None = described("Lines of theirs that are due by now and missing. Null in a replay.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="Breaks as they stand now.")
class BreaksSuccess:
    breaks: list[SettlementBreak] = described("The break, or all that were one match.")
    proposal: int | None = described("Number of the proposal that somebody else decides; null where it is done.")
    replayed: bool = described(REPLAYED)


SendPartnerFileResult = Annotated[
    SendPartnerFileSuccess | Rejection, strawberry.union("SendPartnerFileResult", description="Done, or the reason.")
]
ComparePartnerFileResult = Annotated[
    ComparePartnerFileSuccess | Rejection,
    strawberry.union("ComparePartnerFileResult", description="Done, or the reason."),
]
LookForMissingLinesResult = Annotated[
    LookForMissingLinesSuccess | Rejection,
    strawberry.union("LookForMissingLinesResult", description="Done, or the reason."),
]
BreaksResult = Annotated[
    BreaksSuccess | Rejection, strawberry.union("BreaksResult", description="Done, or the reason.")
]


@strawberry.type
class ReconciliationMutation:
    @access.mutation(
        scopes=(scopes.SETTLEMENT_FILES, scopes.SETTLEMENT_MAKE),
        moves_points=False,
        takes_batch=True,
        cost=50,
        description="Takes a file of a partner's receipts, all of it or what is right in it, as agreed. One that is "
        "refused is an answer too, which is kept.",
    )
    async def send_partner_file(self, info: Info[Context, None], input: SendPartnerFileInput) -> SendPartnerFileResult:
        services, file_format = info.context.services, FORMATS.get(input.format)
        if file_format is None:
            raise masking.coded(masking.BAD_USER_INPUT, "`format` is CSV or JSONL.")
        calls.check_key(input.idempotency_key)
        partner, actor = await _sender(info, input.partner)
        asked = fingerprint("sendPartnerFile", partner.code, file_format, input.content)
        at = await services.now()
        made = await intake.receive(
            services.database, io.BytesIO(input.content.encode()), file_format, partner_id=partner.partner_id,
            actor=actor, at=at, call=FileCall(fingerprint("sendPartnerFile", input.idempotency_key), asked),
        )  # fmt: skip
        shown = partner_file_of(services.vault, made, await names(info.context))
        return SendPartnerFileSuccess(file=shown, replayed=made.is_replayed)

    @access.mutation(
        scopes=MAKE, moves_points=False, cost=50, description="Compares a partner's file with our receipts, once."
    )
    async def compare_partner_file(
        self, info: Info[Context, None], input: ComparePartnerFileInput
    ) -> ComparePartnerFileResult:
        number = file_number(info.context.services.vault, input.file_id) or 0

        async def compare(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await comparing.compare(connection, number, actor=actor, at=at)

        _, is_new = await once(info, "comparePartnerFile", input.idempotency_key, compare, str(number))
        async with info.context.services.database.reading() as connection:
            made = await comparing.comparison(connection, number)
        assert made is not None
        return ComparePartnerFileSuccess(comparison=comparison_of(made), replayed=not is_new)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        cost=50,
        description="Looks again after lines that were missing when files were compared.",
    )
    async def look_for_missing_lines(
        self, info: Info[Context, None], input: LookForMissingLinesInput
    ) -> LookForMissingLinesResult:
        async def look(connection: AsyncConnection, actor: str, at: datetime) -> tuple[int, int]:
            return await comparing.look_again(connection, actor=actor, at=at)

        found, is_new = await once(info, "lookForMissingLines", input.idempotency_key, look)
        arrived, missing = found if found is not None else (None, None)
        return LookForMissingLinesSuccess(arrived=arrived, missing=missing, replayed=not is_new)

    @access.mutation(scopes=MAKE, moves_points=False, description="Gives a break to somebody who looks after it.")
    async def assign_break(self, info: Info[Context, None], input: AssignBreakInput) -> BreaksResult:
        async def assign(connection: AsyncConnection, actor: str, at: datetime) -> None:
            on = breaks.local_day(at, (await programme.read(connection)).time_zone)
            await register.assign(
                connection, number, owner=input.owner, actor=actor, at=at, on=on, due_on=input.due_on
            )  # fmt: skip

        number = break_number(info.context.services.vault, input.break_id)
        return await _done(info, "assignBreak", input.idempotency_key, assign, [number], input.owner, str(input.due_on))

    @access.mutation(scopes=MAKE, moves_points=False, description="Says where a break comes from.")
    async def explain_break(self, info: Info[Context, None], input: BreakCauseInput) -> BreaksResult:
        async def explain(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await register.explain(connection, number, cause=input.cause, actor=actor, at=at)

        number = break_number(info.context.services.vault, input.break_id)
        return await _done(info, "explainBreak", input.idempotency_key, explain, [number], input.cause)

    @access.mutation(
        scopes=(scopes.SETTLEMENT_MAKE, scopes.SETTLEMENT_DECIDE),
        moves_points=False,
        description="Says something about a break that moves it nowhere.",
    )
    async def add_break_note(self, info: Info[Context, None], input: AddBreakNoteInput) -> BreaksResult:
        async def add(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await register.note(connection, number, text=input.text, actor=actor, at=at)

        number = break_number(info.context.services.vault, input.break_id)
        return await _done(info, "addBreakNote", input.idempotency_key, add, [number], input.text)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Ends a break. What gives money is decided by somebody else (`decideFinanceProposal`), but for "
        "what one person may write off in a month.",
    )
    async def resolve_break(self, info: Info[Context, None], input: ResolveBreakInput) -> BreaksResult:
        step = _RESOLVING.get(input.resolution)
        if step is None:
            raise masking.coded(masking.BAD_USER_INPUT, f"`resolution` is one of {', '.join(_RESOLVING)}.")

        async def resolve(connection: AsyncConnection, actor: str, at: datetime) -> int | None:
            made = await step(connection, number, cause=input.cause, actor=actor, at=at)
            return made if isinstance(made, int) else None

        number = break_number(info.context.services.vault, input.break_id)
        content = (input.resolution, input.cause)
        return await _done(info, "resolveBreak", input.idempotency_key, resolve, [number], *content)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Says that lines of breaks are the same thing: a match by hand.",
    )
    async def match_breaks(self, info: Info[Context, None], input: MatchBreaksInput) -> BreaksResult:
        async def match(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await resolving.match(connection, numbers, cause=input.cause, actor=actor, at=at)

        numbers = [break_number(info.context.services.vault, one) for one in input.break_ids]
        return await _done(info, "matchBreaks", input.idempotency_key, match, numbers, input.cause)

    @access.mutation(
        scopes=DECIDE,
        moves_points=False,
        description="Takes back what somebody else matched by hand; its breaks are open again.",
    )
    async def undo_break_match(self, info: Info[Context, None], input: BreakCauseInput) -> BreaksResult:
        async def undo(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await resolving.undo_match(connection, number, cause=input.cause, actor=actor, at=at)

        number = break_number(info.context.services.vault, input.break_id)
        return await _done(info, "undoBreakMatch", input.idempotency_key, undo, [number], input.cause)

    @access.mutation(scopes=DECIDE, moves_points=False, description="Says that a resolved break is really over.")
    async def verify_break(self, info: Info[Context, None], input: VerifyBreakInput) -> BreaksResult:
        async def verify(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await register.verify(connection, number, actor=actor, at=at)

        number = break_number(info.context.services.vault, input.break_id)
        return await _done(info, "verifyBreak", input.idempotency_key, verify, [number])

    @access.mutation(
        scopes=DECIDE, moves_points=False, description="Opens a break again that was resolved by no money."
    )
    async def reopen_break(self, info: Info[Context, None], input: BreakCauseInput) -> BreaksResult:
        async def reopen(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await register.reopen(connection, number, cause=input.cause, actor=actor, at=at)

        number = break_number(info.context.services.vault, input.break_id)
        return await _done(info, "reopenBreak", input.idempotency_key, reopen, [number], input.cause)


async def _sender(info: Info[Context, None], code: str | None) -> tuple[Partner, str]:
    """Whose file it is, and who sends it. Rejects STEP_UP_REQUIRED; raises BAD_USER_INPUT."""
    viewer, directory = info.context.viewer, await info.context.services.directory.get()
    if viewer.partner_id is not None:
        own = directory.partner(viewer.partner_id)
        if own is not None and code in (None, own.code):
            return own, f"client:{viewer.client_id}"
    elif scopes.SETTLEMENT_MAKE in viewer.scopes:
        who = person(info)
        named = directory.partner_by_code(code) if code is not None else None
        if named is not None:
            person_calls.require_fresh(who)
            return named, who.name
    raise masking.coded(masking.BAD_USER_INPUT, "A partner's program sends its own files; finance names the partner.")


async def _done(
    info: Info[Context, None], operation: str, key: str, do: Do[int | None], numbers: list[int], *content: str
) -> BreaksSuccess:
    proposal, is_new = await once(info, operation, key, do, *(str(one) for one in numbers), *content)
    async with info.context.services.database.reading() as connection:
        rows = [await register.read(connection, one) for one in numbers]
        shown = await shown_breaks(info.context, connection, rows)
    return BreaksSuccess(breaks=shown, proposal=proposal, replayed=not is_new)
