"""Partners' files on their way in: read once as a stream, taken whole, in part as agreed, or not at all, and answered.

Whoever sends a file gets an acknowledgement, also of one that is refused: that is an answer, kept, and a break that
somebody has to close. What of a refused file was written goes with its transaction.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import islice
from typing import IO
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.database import Database
from kit.errors import Rejection
from partners import outcomes
from partners.clearing import clearing
from settlement.reconciliation import file_store, files, register
from settlement.reconciliation.breaks import Category
from settlement.reconciliation.files import Event, FileHead, FileTail, Format, PartnerFileInvalid, Problem, Record
from settlement.reconciliation.register import NewBreak

WHOLE, RECORDS = "WHOLE", "RECORDS"
TAKEN, REFUSED = "TAKEN", "REFUSED"
MOST_PROBLEMS = 1_000  # kept of a file that is refused for them
_CHUNK = 2_000

FILE_DUPLICATE, FILE_GAP, FILE_PARTNER, RECORDS_WRONG = "FILE_DUPLICATE", "FILE_GAP", "FILE_PARTNER", "RECORDS_WRONG"


class FileUnknown(Rejection):
    """There is no such file, or it is another partner's."""

    code = "FILE_UNKNOWN"
    retryable = False


class FileRuleInvalid(Rejection):
    """Files are taken WHOLE or by RECORDS, and what may be written off in a month is no less than nothing."""

    code = "FILE_RULE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of a file as a whole. code and message say why it was refused; figures are those of its trailer.

    refused counts records that were not taken; of a file taken WHOLE it is 0.
    """

    file_id: int
    partner_id: int
    type: str
    format: str
    state: str
    code: str | None
    message: str | None
    sequence: int | None
    business_date: date | None
    currency: str | None
    mode: str
    records: int
    refused: int
    points: int
    amount_minor: int
    content_sha256: bytes | None
    actor: str
    at: datetime
    is_replayed: bool = False  # the call was made before; nothing was written now


@dataclass(frozen=True, slots=True)
class FileRule:
    """How a partner's files are taken, and how much of breaks one person may write off in a month, minor units."""

    mode: str = WHOLE
    write_off_minor: int = 0


@dataclass(frozen=True, slots=True)
class FileCall:
    """A call that sends a file, with the key under which it is made once, and what is sent."""

    idem_key: UUID
    fingerprint: UUID


class _Earlier(Exception):  # noqa: N818 - it is an answer
    """The call was made before."""

    def __init__(self, file_id: int) -> None:
        super().__init__()
        self.file_id = file_id


class _NotTaken(Exception):  # noqa: N818 - it is an answer
    """The file is refused: why, what of it was read, and what is wrong with its lines."""

    def __init__(self, code: str, message: str, *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.problems = problems
        self.head: FileHead | None = None


async def receive(
    database: Database, source: IO[bytes], file_format: Format, *, partner_id: int, actor: str, at: datetime,
    most_bytes: int = files.MOST_BYTES, progress: Callable[[int], None] | None = None, call: FileCall | None = None,
) -> Acknowledgement:  # fmt: skip
    """Take a file of a partner; the answer, which is kept. Memory holds some thousand lines, whatever comes.

    A file is taken once: its number follows the last one's, and its content came never before. A call that was made
    before has the answer of then. Takes the database, because what is refused is written after everything of it was
    rolled back. Who may send is the caller's rule. Rejects IDEMPOTENCY_KEY_REUSED.
    """
    try:
        async with _begun(database, partner_id, actor, call) as connection:
            made = await _take(connection, source, file_format, partner_id, actor, at, most_bytes, progress)
            await _keep_call(connection, made, call)
            return made
    except _Earlier as one:
        async with database.reading() as connection:
            made = await acknowledgement(connection, one.file_id, partner_id=partner_id)
            return replace(made, is_replayed=True)
    except _NotTaken as no:
        async with _begun(database, partner_id, actor, call) as connection:
            made = await _refuse(connection, no, file_format, partner_id, actor, at)
            await _keep_call(connection, made, call)
            return made


async def acknowledgement(connection: AsyncConnection, file_id: int, *, partner_id: int | None) -> Acknowledgement:
    """What became of a file; partner_id is whose it has to be, None may see every one. Rejects FILE_UNKNOWN."""
    row = await file_store.file(connection, file_id)
    if row is None or partner_id not in (None, row.partner_id):
        raise FileUnknown(f"there is no file {file_id}")
    return Acknowledgement(**row._mapping)


async def acknowledgements(
    connection: AsyncConnection, *, partner_id: int | None, before: int | None = None, limit: int = 50
) -> list[Acknowledgement]:
    """Files that came, the latest first: of a partner, older than one, as asked for."""
    rows = await file_store.files_page(connection, partner_id=partner_id, before=before, limit=limit)
    return [Acknowledgement(**row._mapping) for row in rows]


async def result_lines(connection: AsyncConnection, file_id: int) -> AsyncIterator[str]:
    """The result file, JSON lines: for each line of a file its number, reference, and what came of it: a code where it
    was not taken, the stage of its match, or its break and category. Nothing where it was not compared yet."""
    after = 0
    while rows := await file_store.problems_page(connection, file_id, after=after, limit=_CHUNK):
        for row in rows:
            yield files.write_result(Problem(row.line_no, row.code, row.message, row.reference)) + "\n"
        after = rows[-1].line_no
    after = 0
    while rows := await file_store.results_page(connection, file_id, after=after, limit=_CHUNK):
        for row in rows:
            said = {"line": row.line_no, "reference": row.reference, "kind": row.kind}
            said |= {"match": row.stage} if row.stage else {}
            said |= {"break": row.break_id, "category": row.category} if row.break_id and not row.stage else {}
            yield json.dumps(said, ensure_ascii=False) + "\n"
        after = rows[-1].line_no


async def rule_of(connection: AsyncConnection, partner_id: int) -> FileRule:
    """How a partner's files are taken: whole where nothing was said."""
    row = await file_store.rule(connection, partner_id)
    return FileRule() if row is None else FileRule(**row._mapping)


async def change_rule(
    connection: AsyncConnection, partner_id: int, rule: FileRule, *, actor: str, at: datetime
) -> None:
    """Say how a partner's files are taken from now on, on behalf of a FINANCE_CHECKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, FILE_RULE_INVALID.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_CHECKER)
    if rule.mode not in (WHOLE, RECORDS) or rule.write_off_minor < 0:
        raise FileRuleInvalid("a mode is WHOLE or RECORDS, and a budget is not below zero")
    said = {"mode": rule.mode, "write_off_minor": rule.write_off_minor}
    await file_store.insert_rule(connection, {"partner_id": partner_id, **said, "actor": actor, "at": at})
    await audit.write(
        connection, actor=actor, action="FILE_RULE_CHANGED", subject=f"partner:{partner_id}", detail=said, at=at
    )


@dataclass(frozen=True, slots=True)
class LineResult:
    """What came of a line of a file: a code where it was not taken, the stage of its match, or its break."""

    line_no: int
    reference: str | None
    kind: str | None = None
    code: str | None = None
    message: str | None = None
    stage: str | None = None
    break_id: int | None = None
    category: str | None = None


async def results(connection: AsyncConnection, file_id: int, *, after: int = 0, limit: int = 50) -> list[LineResult]:
    """What came of lines of a file behind a line, in order."""
    wrong = await file_store.problems_page(connection, file_id, after=after, limit=limit)
    right = await file_store.results_page(connection, file_id, after=after, limit=limit)
    found = [LineResult(row.line_no, row.reference, code=row.code, message=row.message) for row in wrong]
    found += [
        LineResult(row.line_no, row.reference, row.kind, stage=row.stage,
                   break_id=None if row.stage else row.break_id, category=None if row.stage else row.category)
        for row in right
    ]  # fmt: skip
    return sorted(found, key=lambda one: one.line_no)[:limit]


# --- Taking ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _begun(
    database: Database, partner_id: int, actor: str, call: FileCall | None
) -> AsyncIterator[AsyncConnection]:
    """A transaction in which a partner's file is taken. Raises _Earlier; rejects IDEMPOTENCY_KEY_REUSED."""
    async with database.transaction() as connection:
        await file_store.lock_partner(connection, partner_id)
        if call is not None:
            earlier = await file_store.call(connection, actor, call.idem_key)
            if earlier is not None and earlier.fingerprint != call.fingerprint:
                raise outcomes.rejection(outcomes.KEY_REUSED)
            if earlier is not None:
                raise _Earlier(earlier.file_id)
        yield connection


async def _keep_call(connection: AsyncConnection, made: Acknowledgement, call: FileCall | None) -> None:
    if call is not None:
        row = {"actor": made.actor, "idem_key": call.idem_key, "fingerprint": call.fingerprint,
               "file_id": made.file_id, "at": made.at}  # fmt: skip
        await file_store.insert_call(connection, row)


async def _take(
    connection: AsyncConnection, source: IO[bytes], file_format: Format, partner_id: int, actor: str, at: datetime,
    most_bytes: int, progress: Callable[[int], None] | None,
) -> Acknowledgement:  # fmt: skip
    mode = (await rule_of(connection, partner_id)).mode
    file_id = await file_store.next_file_id(connection)
    reading = _Reading(connection, file_id, mode)
    try:
        async with aclosing(_chunks(files.read(source, file_format, most_bytes=most_bytes))) as chunks:
            async for chunk in chunks:
                if reading.head is None and isinstance(chunk[0], FileHead):
                    reading.head = chunk[0]
                    await _check_head(connection, chunk[0], partner_id)
                await reading.keep(chunk)
                if progress is not None:
                    progress(len(chunk))
        return await _kept(connection, reading, file_format, partner_id, actor, at)
    except PartnerFileInvalid as wrong:
        no = _NotTaken(wrong.code, wrong.message)
        no.head = reading.head
        raise no from wrong
    except _NotTaken as no:
        no.head = reading.head
        raise


class _Reading:
    """A file while it is read: what it is of, its problems so far, its end."""

    def __init__(self, connection: AsyncConnection, file_id: int, mode: str) -> None:
        self.file_id = file_id
        self.mode = mode
        self.head: FileHead | None = None
        self.tail: FileTail | None = None
        self.refused = 0
        self.problems: list[Problem] = []
        self._connection = connection

    async def keep(self, chunk: Sequence[Event]) -> None:
        """Write records and problems of a part of the file. A file that is taken whole is only read on once one of its
        records is wrong, to tell of the others."""
        records = [e for e in chunk if isinstance(e, Record)]
        problems = [e for e in chunk if isinstance(e, Problem)]
        self.refused += len(problems)
        self.tail = next((e for e in chunk if isinstance(e, FileTail)), self.tail)
        if self.mode == WHOLE:
            self.problems += problems[: MOST_PROBLEMS - len(self.problems)]
            records = [] if self.problems else records
            problems = []
        await file_store.copy_records(self._connection, [_record_row(self.file_id, one) for one in records])
        await file_store.copy_problems(self._connection, [_problem_row(self.file_id, one) for one in problems])


async def _chunks(events: Iterator[Event]) -> AsyncGenerator[list[Event]]:
    """Events in parts, each read away from the loop while the one before is stored; what was read before the file
    stopped making sense comes too. Whoever leaves early closes it. Rejects PARTNER_FILE_INVALID."""
    ahead = asyncio.ensure_future(asyncio.to_thread(_read_on, events))
    try:
        while True:
            chunk, wrong = await ahead
            if chunk and wrong is None:
                ahead = asyncio.ensure_future(asyncio.to_thread(_read_on, events))
            if chunk:
                yield chunk
            if wrong is not None:
                raise wrong
            if not chunk:
                break
    finally:
        await asyncio.wait([ahead])  # the source is read by nobody once this is over


def _read_on(events: Iterator[Event]) -> tuple[list[Event], PartnerFileInvalid | None]:
    chunk: list[Event] = []
    try:
        chunk.extend(islice(events, _CHUNK))
    except PartnerFileInvalid as wrong:
        return chunk, wrong
    return chunk, None


async def _check_head(connection: AsyncConnection, head: FileHead, partner_id: int) -> None:
    named = (await clearing.names(connection)).get(partner_id)
    if named is None or head.partner != named.code:
        raise _NotTaken(FILE_PARTNER, f"the file says it is {head.partner}'s")
    last = await file_store.last_sequence(connection, partner_id, head.type)
    if last is not None and head.sequence <= last:
        raise _NotTaken(FILE_DUPLICATE, f"file {head.sequence} was taken before; the last was {last}")
    if last is not None and head.sequence > last + 1:
        raise _NotTaken(FILE_GAP, f"file {head.sequence} came before file {last + 1}")


async def _kept(
    connection: AsyncConnection, reading: _Reading, file_format: Format, partner_id: int, actor: str, at: datetime
) -> Acknowledgement:
    head, tail = reading.head, reading.tail
    assert head is not None
    assert tail is not None
    sha256 = bytes.fromhex(tail.content_sha256)
    if (earlier := await file_store.taken_before(connection, partner_id, sha256)) is not None:
        raise _NotTaken(FILE_DUPLICATE, f"the same content came as file {earlier}")
    if reading.problems:
        raise _NotTaken(
            RECORDS_WRONG, f"{reading.refused} of {tail.records} records are wrong, and the file is taken whole",
            problems=reading.problems,
        )  # fmt: skip
    made = Acknowledgement(
        reading.file_id, partner_id, head.type, file_format, TAKEN, None, None, head.sequence, head.business_date,
        head.currency, reading.mode, tail.records, reading.refused, tail.points, tail.amount_minor, sha256, actor, at,
    )  # fmt: skip
    await _write(connection, made)
    await register.close_file_breaks(connection, partner_id, sequence=head.sequence, file_id=made.file_id, at=at)
    return made


async def _refuse(
    connection: AsyncConnection, no: _NotTaken, file_format: Format, partner_id: int, actor: str, at: datetime
) -> Acknowledgement:
    head, file_id = no.head, await file_store.next_file_id(connection)
    made = Acknowledgement(
        file_id, partner_id, "RECEIPTS" if head is None else head.type, file_format, REFUSED, no.code, str(no),
        None if head is None or head.sequence < 1 else head.sequence, None if head is None else head.business_date,
        None if head is None else head.currency, (await rule_of(connection, partner_id)).mode, len(no.problems),
        len(no.problems), 0, 0, None, actor, at,
    )  # fmt: skip
    await _write(connection, made)
    await file_store.copy_problems(connection, [_problem_row(file_id, one) for one in no.problems])
    said = {"code": no.code, "message": str(no), "sequence": made.sequence}
    await register.open_breaks(
        connection,
        [
            NewBreak(
                source=f"file-refused:{partner_id}/{made.sequence}/{no.code}", leg="FILE", category=Category.FILE,
                partner_id=partner_id, file_id=file_id, detail=said,
            )
        ],
        at=at,
    )  # fmt: skip
    return made


async def _write(connection: AsyncConnection, made: Acknowledgement) -> None:
    row = {name: getattr(made, name) for name in Acknowledgement.__dataclass_fields__ if name != "is_replayed"}
    await file_store.insert_file(connection, row)
    detail = {"file": made.file_id, "sequence": made.sequence, "records": made.records, "code": made.code}
    await audit.write(
        connection, actor=made.actor, action=f"FILE_{made.state}", subject=f"partner:{made.partner_id}", detail=detail,
        at=made.at,
    )  # fmt: skip


def _record_row(file_id: int, one: Record) -> tuple[object, ...]:
    return (
        file_id, one.line_no, one.outlet, one.terminal, one.business_date, one.reference, one.kind, one.points,
        one.amount_minor, one.tax_minor, one.unit_price_micro, one.original_reference, one.occurred_at,
    )  # fmt: skip


def _problem_row(file_id: int, one: Problem) -> tuple[object, ...]:
    return file_id, one.line_no, one.code, one.message, one.reference
