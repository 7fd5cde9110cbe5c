"""Files, breaks, payments and what the bank told, as partners and finance see them."""

from datetime import date, datetime

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections
from gateway.connections import After, Connection, Cursors, First, id_key, id_keys
from gateway.context import Context
from gateway.finance.entry_ids import entry_id
from gateway.finance.reconciliation_pages import file_id
from gateway.inputs import described
from gateway.types import Money, money
from kit.amounts import Points, minor_from_micro
from kit.secrets import Vault, opaque_id, read_opaque_id
from partners.agreements import programme
from settlement.bank import paying
from settlement.bank.notices import Noticed
from settlement.bank.paying import PaymentLeg, PaymentOrder
from settlement.bank.receiving import Received
from settlement.bank.reporting import Reported
from settlement.bank.suspense import Item
from settlement.reconciliation import breaks, intake, register
from settlement.reconciliation.comparing import Comparison
from settlement.reconciliation.intake import Acknowledgement, LineResult
from settlement.reconciliation.register import Break, BreakUnknown, Note, Step
from settlement.reconciliation.standing import Late

_BREAK_IDS, _BREAK = "settlement break id", "brk"
_PAYMENT_IDS, _PAYMENT = "settlement payment id", "pay"


@strawberry.type(description="What came of a line of a partner's file.")
class PartnerFileLine:
    line: int = described("Its number in the file; the head is 1.")
    reference: str | None = described("The partner's own number, as far as it could be read.")
    kind: str | None = described("SALE, REDEMPTION, RETURN or CANCELLATION.")
    code: str | None = described("Why the line was not taken.")
    message: str | None = described("The same as a sentence for developers.")
    match: str | None = described("The rule that matched it: EXACT, TOLERANCE, GROUPED, ARRIVED, MANUAL.")
    break_id: strawberry.ID | None = described("The break that it ended in, where nothing matched.")
    category: str | None = described("That break's category.")


@strawberry.type(description="A file of receipts that a partner sent, and what became of it as a whole.")
class PartnerFile:
    id: strawberry.ID = described("Its id, as the upload answered it.")
    partner_name: str = described("Whose it is.")
    state: str = described("TAKEN or REFUSED; more may appear.")
    code: str | None = described("Why it was refused.")
    message: str | None = described("The same as a sentence for developers.")
    sequence: int | None = described("Its number among the partner's files, as far as it could be read.")
    business_date: date | None = described("The day that it is about.")
    records: int = described("Lines between head and trailer.")
    refused: int = described("Of them, how many were not taken.")
    points: Points = described("Points of its trailer.")
    sent_at: datetime = described("Business instant at which it came.")
    number: strawberry.Private[int]

    @access.field(size=access.paged(), description="What came of each of its lines, in order.")
    async def lines(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[PartnerFileLine]:
        services = info.context.services
        cursors, key = Cursors(services.vault, "partner file line"), id_key(services.vault, _BREAK_IDS)
        async with services.database.reading() as connection:
            rows = await intake.results(
                connection, self.number, after=cursors.read(after) or 0, limit=connections.bounded(first) + 1
            )
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.line_no), node=lambda row: _line(row, key)
        )


@strawberry.type(description="A step of a break's way.")
class BreakStep:
    state: str = described("Where it went: OPEN, ASSIGNED, EXPLAINED, RESOLVED, VERIFIED.")
    resolution: str | None = described("How it was resolved, where it was.")
    reason: str = described("Why.")
    by: str = described("Who.")
    at: datetime = described("Business instant.")


@strawberry.type(description="What somebody of finance said about a break.")
class BreakNote:
    number: int = described("Its number.")
    text: str = described("What was said.")
    by: str = described("Who.")
    at: datetime = described("Business instant.")


@strawberry.type(description="A line that a break is about.")
class BreakSide:
    side: str = described("OURS or THEIRS.")
    file_line: int | None = described("Of theirs: its number in the partner's file.")
    entry_id: strawberry.ID | None = described("Of ours: the ledger's entry, as `ledgerEntry` takes it.")


@strawberry.type(description="Something that a partner and we, or the bank and we, say differently.")
class SettlementBreak:
    id: strawberry.ID = described("Its id.")
    partner_name: str | None = described("With whom; none where nobody knows yet.")
    category: str = described("Why the sides differ: QUANTITY, MISSING_OURS, PAYMENT_DIFFERENCE; more may appear.")
    state: str = described("OPEN, ASSIGNED, EXPLAINED, RESOLVED or VERIFIED.")
    resolution: str | None = described("How it was resolved: POST, ACCEPT, WRITE_OFF, DISPUTE, ARRIVED, MATCHED.")
    reference: str | None = described("Reference of the receipt or payment that it is about, if it is about one.")
    points: Points = described("Ours less theirs.")
    value: Money | None = described("What it is about in money, positive where the partner would pay; none where none.")
    seen_at: datetime = described("Business instant at which it was found.")
    days_open: int = described("Business days that it was, or has been, open.")
    due_on: date | None = described("By when its owner resolves it.")
    owner: str | None = described("Who looks after it; to the operator's staff alone.")
    escalated_to: str | None = described(
        "The role that was told last because nobody resolved it in time; to the operator's staff alone."
    )
    number: strawberry.Private[int]

    @access.field(
        size=access.ListSize(assumed_size=2), description="The lines that it is about; to the operator's staff alone."
    )
    async def sides(self, info: Info[Context, None]) -> list[BreakSide]:
        if info.context.viewer.partner_id is not None:
            return []
        services = info.context.services
        async with services.database.reading() as connection:
            found = await register.sides(connection, self.number)
        return [
            BreakSide(
                side=one.side, file_line=one.line_no,
                entry_id=None if one.holder_id is None or one.seq is None
                else entry_id(services.vault, one.holder_id, one.seq),
            )
            for one in found
        ]  # fmt: skip

    @access.field(size=access.paged(), description="How it got where it is; to the operator's staff alone.")
    async def history(self, info: Info[Context, None], first: First = 20, after: After = None) -> Connection[BreakStep]:
        services, is_staff = info.context.services, info.context.viewer.partner_id is None
        cursors = Cursors(services.vault, "break step")
        begin, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with services.database.reading() as connection:
            steps = await register.trail(connection, self.number) if is_staff else []
        rows = [one for one in steps if one.step_no > begin][:wanted]
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.step_no), node=_step
        )  # fmt: skip

    @access.field(size=access.paged(), description="What was said about it, in order; to the operator's staff alone.")
    async def notes(self, info: Info[Context, None], first: First = 20, after: After = None) -> Connection[BreakNote]:
        services, is_staff = info.context.services, info.context.viewer.partner_id is None
        cursors = Cursors(services.vault, "break note")
        begin, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with services.database.reading() as connection:
            rows = await register.notes(connection, self.number, after=begin, limit=wanted) if is_staff else []
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.note_no), node=_note
        )  # fmt: skip


@strawberry.type(description="A payment of a settlement run.")
class SettlementPayment:
    id: strawberry.ID = described("Its id.")
    reference: str = described("The creditor reference (ISO 11649) that a payment for it carries.")
    partner_name: str = described("Who pays or is paid.")
    direction: str = described("PAY_IN: the partner pays the operator. PAY_OUT: the operator pays the partner.")
    amount: Money = described("How much.")
    left: Money = described("What of it is not paid, covered or written off.")
    due_on: date = described("By when.")
    state: str = described("DUE, INSTRUCTED, ACKED, REJECTED, PARTIAL, MATCHED, RETURNED, OVERDUE, DEFAULTED.")


@strawberry.type(description="What came of comparing a partner's file with our receipts.")
class FileComparison:
    records: int = described("Records that were compared.")
    matched: int = described("Of them, how many are one of our receipts.")
    breaks: int = described("Breaks that were found.")
    rules_version: int = described("Version of the rules that compared.")


@strawberry.type(description="A file for the bank: payments to partners, or collections from them.")
class PaymentFile:
    number: int = described("Its number.")
    message_id: str = described("What it calls itself (MsgId).")
    run: int = described("Number of the settlement run.")
    kind: str = described("PAIN_001 pays out, PAIN_008 collects.")
    payments: int = described("How many.")
    total: Money = described("Their sum.")
    execute_on: date = described("When the bank is to do it.")
    sha256: str = described("Of its content, hexadecimal.")
    prepared_by: str = described("Who made it.")
    released_by: str | None = described("Who let it go to the bank; none before somebody did.")
    row: strawberry.Private[PaymentOrder]

    @access.field(cost=20, description="The file as it goes to the bank (XML). Null before it was let go.")
    async def content(self, info: Info[Context, None]) -> str | None:
        if self.row.released_by is None:
            return None
        async with info.context.services.database.reading() as connection:
            return (await paying.content(connection, self.row.order_id)).decode()


@strawberry.type(description="Money at the bank of which nobody has said what it is for.")
class SuspenseItem:
    number: int = described("Its number.")
    amount: Money = described("How much, positive where it came in.")
    partner_name: str | None = described("Whose it is, as far as anything tells.")
    since: datetime = described("Business instant at which its statement was taken.")


@strawberry.type(description="A statement of the bank that was taken.")
class BankStatement:
    reference: str = described("What the bank calls it.")
    closing: Money = described("What the account closed with.")
    payments: int = described("How many payments it has.")
    matched: int = described("Of them, how many are for a payment of ours.")
    left_over: int = described("Of them, how many are for nothing that is known: suspense, or a fee.")
    taken_before: bool = described("Whether it was taken before; nothing was written then.")


@strawberry.type(description="A notice of the bank that was taken. It moves no money.")
class BankNotice:
    reference: str = described("What the bank calls it.")
    entries: int = described("How many entries it tells of.")
    taken_before: bool = described("Whether it was taken before; nothing was written then.")


@strawberry.type(description="What the bank said of a payment file.")
class PaymentReport:
    reference: str = described("What the bank calls it.")
    file: int = described("Number of the payment file.")
    taken: int = described("Payments that the bank took.")
    rejected: int = described("Payments that it rejected; they may be sent again.")
    taken_before: bool = described("Whether it was taken before; nothing was written then.")


@strawberry.type(description="Something that does not balance, or is late.")
class LateItem:
    kind: str = described("BALANCE, BREAK, PAYMENT, SUSPENSE, DISPUTE, FILE; more may appear.")
    subject: str = described("Which.")
    since: str = described("Since when, or by when it was due.")
    detail: str = described("What about it.")


# --- Ids and rows ---------------------------------------------------------------------------------------------


def break_number(vault: Vault, opaque: str) -> int:
    """The number inside a break's id. Rejects BREAK_UNKNOWN."""
    raw = _read(vault, _BREAK_IDS, _BREAK, opaque)
    if raw is None:
        raise BreakUnknown("there is no such break")
    return raw


def payment_number(vault: Vault, opaque: str) -> int:
    """The number inside a payment's id. Rejects LEG_STATE."""
    raw = _read(vault, _PAYMENT_IDS, _PAYMENT, opaque)
    if raw is None:
        raise paying.LegState("there is no such payment")
    return raw


async def names(context: Context) -> dict[int, str]:
    """What partners are called, by number."""
    directory = await context.services.directory.get()
    return {partner.partner_id: partner.name for partner in directory.partners()}


async def whose(context: Context, partner: str | None) -> int | None:
    """Whose things are asked for: a partner's own, whatever it names; for staff the partner of a code, or everybody's
    (None). No partner has the number that stands for a code that there is not."""
    if context.viewer.partner_id is not None or partner is None:
        return context.viewer.partner_id
    found = (await context.services.directory.get()).partner_by_code(partner)
    return -1 if found is None else found.partner_id


async def shown_breaks(context: Context, connection: AsyncConnection, rows: list[Break]) -> list[SettlementBreak]:
    """Breaks as whoever asks sees them, with their age in business days."""
    zone = (await programme.read(connection)).time_zone
    on = breaks.local_day(await context.services.now(), zone)
    days = await register.days_open(connection, rows, on=on, zone=zone)
    called, key = await names(context), id_key(context.services.vault, _BREAK_IDS)
    is_staff = context.viewer.partner_id is None
    return [_break(row, called, key, days[row.break_id], is_staff=is_staff) for row in rows]


def partner_file_of(vault: Vault, row: Acknowledgement, called: dict[int, str]) -> PartnerFile:
    """A file as it is shown."""
    return PartnerFile(
        id=strawberry.ID(file_id(vault, row.file_id)), partner_name=called[row.partner_id],
        state=row.state, code=row.code, message=row.message, sequence=row.sequence,
        business_date=row.business_date, records=row.records, refused=row.refused, points=Points(row.points),
        sent_at=row.at, number=row.file_id,
    )  # fmt: skip


def payment_of(vault: Vault, row: PaymentLeg, called: dict[int, str]) -> SettlementPayment:
    """A payment as it is shown."""
    return SettlementPayment(
        id=strawberry.ID(opaque_id(id_key(vault, _PAYMENT_IDS), _PAYMENT, row.leg_id.to_bytes(8, "big"))),
        reference=row.reference, partner_name=called[row.partner_id], direction=row.direction,
        amount=money(row.amount_minor, row.currency), left=money(row.left_minor, row.currency), due_on=row.due_on,
        state=row.state,
    )  # fmt: skip


def comparison_of(row: Comparison) -> FileComparison:
    """What came of comparing, as it is shown."""
    return FileComparison(
        records=row.records, matched=row.matched, breaks=row.breaks, rules_version=row.rules_version
    )  # fmt: skip


def payment_file_of(row: PaymentOrder) -> PaymentFile:
    """A file for the bank as it is shown."""
    return PaymentFile(
        number=row.order_id, message_id=row.message_id, run=row.run_id, kind=row.kind, payments=row.legs,
        total=money(row.total_minor, row.currency), execute_on=row.execute_on, sha256=row.sha256.hex(),
        prepared_by=row.actor, released_by=row.released_by, row=row,
    )  # fmt: skip


def suspense_item_of(row: Item, called: dict[int, str]) -> SuspenseItem:
    """Money in suspense as it is shown."""
    return SuspenseItem(
        number=row.item_id, amount=money(row.amount_minor, row.currency),
        partner_name=None if row.partner_id is None else called.get(row.partner_id), since=row.at,
    )  # fmt: skip


def bank_statement_of(row: Received) -> BankStatement:
    """A statement that was taken, as it is shown."""
    return BankStatement(
        reference=row.statement_ref, closing=money(row.closing_minor, row.currency), payments=row.payments,
        matched=row.matched, left_over=row.left_over, taken_before=row.is_replayed,
    )  # fmt: skip


def bank_notice_of(row: Noticed) -> BankNotice:
    """A notice that was taken, as it is shown."""
    return BankNotice(reference=row.notice_ref, entries=row.entries, taken_before=row.is_replayed)


def payment_report_of(row: Reported) -> PaymentReport:
    """A report on payments, as it is shown."""
    return PaymentReport(
        reference=row.report_ref, file=row.order_id, taken=row.taken, rejected=row.rejected,
        taken_before=row.is_replayed,
    )  # fmt: skip


def late_item_of(row: Late) -> LateItem:
    """Something late as it is shown."""
    return LateItem(kind=row.kind, subject=row.subject, since=row.since, detail=row.detail)


def _read(vault: Vault, purpose: str, prefix: str, opaque: str) -> int | None:
    raws = (read_opaque_id(key, prefix, opaque) for key in id_keys(vault, purpose))
    raw = next((raw for raw in raws if raw is not None), None)
    return None if raw is None else int.from_bytes(raw, "big")


def _line(row: LineResult, key: bytes) -> PartnerFileLine:
    shown = None if row.break_id is None else opaque_id(key, _BREAK, row.break_id.to_bytes(8, "big"))
    return PartnerFileLine(
        line=row.line_no, reference=row.reference, kind=row.kind, code=row.code, message=row.message, match=row.stage,
        break_id=None if shown is None else strawberry.ID(shown), category=row.category,
    )  # fmt: skip


def _break(row: Break, called: dict[int, str], key: bytes, days: int, *, is_staff: bool) -> SettlementBreak:
    value = None
    if row.currency is not None and row.value_micro:
        value = money(minor_from_micro(row.value_micro, row.currency), row.currency)
    return SettlementBreak(
        id=strawberry.ID(opaque_id(key, _BREAK, row.break_id.to_bytes(8, "big"))),
        partner_name=None if row.partner_id is None else called.get(row.partner_id), category=row.category,
        state=row.state, resolution=row.resolution, reference=row.detail.get("reference"), points=Points(row.points),
        value=value, seen_at=row.seen_at, days_open=days, due_on=row.due_on, owner=row.owner if is_staff else None,
        escalated_to=row.escalated_to if is_staff else None,
        number=row.break_id,
    )  # fmt: skip


def _step(row: Step) -> BreakStep:
    return BreakStep(state=row.to_state, resolution=row.resolution, reason=row.reason, by=row.actor, at=row.at)


def _note(row: Note) -> BreakNote:
    return BreakNote(number=row.note_no, text=row.note, by=row.actor, at=row.at)
