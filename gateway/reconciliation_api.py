"""What partners and finance read over GraphQL of files, breaks and payments. A partner's client sees its own alone."""

from datetime import date, datetime

import strawberry
from strawberry import Info

from gateway import access, connections, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import described
from gateway.reconciliation_pages import file_id
from gateway.types import Money, money
from kit.amounts import Points, minor_from_micro
from kit.secrets import opaque_id
from partners import programme
from settlement.bank import paying
from settlement.bank.paying import PaymentLeg
from settlement.reconciliation import breaks, intake, register
from settlement.reconciliation.intake import Acknowledgement
from settlement.reconciliation.register import Break

_BREAK_IDS, _BREAK = "settlement break id", "brk"
_PAYMENT_IDS, _PAYMENT = "settlement payment id", "pay"


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


@strawberry.type
class ReconciliationQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_FILES, scopes.SETTLEMENT_READ),
        size=access.paged(),
        description="Files of receipts, latest first: the partner's own; for the operator's staff, everybody's.",
    )
    async def partner_files(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[PartnerFile]:
        services = info.context.services
        cursors = Cursors(services.vault, "partner file")
        async with services.database.reading() as connection:
            rows = await intake.acknowledgements(
                connection, partner_id=info.context.viewer.partner_id, before=cursors.read(after),
                limit=connections.bounded(first) + 1,
            )  # fmt: skip
        names = await _names(info.context)

        def node(row: Acknowledgement) -> PartnerFile:
            return PartnerFile(
                id=strawberry.ID(file_id(services.vault, row.file_id)), partner_name=names[row.partner_id],
                state=row.state, code=row.code, message=row.message, sequence=row.sequence,
                business_date=row.business_date, records=row.records, refused=row.refused, points=Points(row.points),
                sent_at=row.at,
            )  # fmt: skip

        return connections.page(rows, first, after=after, cursor=lambda row: cursors.write(row.file_id), node=node)

    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        description="Breaks, oldest first: the partner's own; for the operator's staff, all. Only "
        "those that are unresolved, unless all are asked for.",
    )
    async def settlement_breaks(
        self, info: Info[Context, None], first: First = 20, after: After = None, all_states: bool = False
    ) -> Connection[SettlementBreak]:
        services = info.context.services
        cursors = Cursors(services.vault, "settlement break")
        async with services.database.reading() as connection:
            rows = await register.page(
                connection, partner_id=info.context.viewer.partner_id, after=cursors.read(after) or 0,
                states=None if all_states else register.UNRESOLVED, limit=connections.bounded(first) + 1,
            )  # fmt: skip
            zone = (await programme.read(connection)).time_zone
            on = breaks.local_day(await services.now(), zone)
            days = await register.days_open(connection, rows, on=on, zone=zone)
        names, key = await _names(info.context), connections.id_key(services.vault, _BREAK_IDS)
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.break_id),
            node=lambda row: _break(row, names, key, days[row.break_id]),
        )  # fmt: skip

    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        description="Payments of settlement runs, latest first: the partner's own; for the operator's staff, all.",
    )
    async def settlement_payments(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[SettlementPayment]:
        services = info.context.services
        cursors = Cursors(services.vault, "settlement payment")
        async with services.database.reading() as connection:
            rows = await paying.page(
                connection, partner_id=info.context.viewer.partner_id, before=cursors.read(after),
                limit=connections.bounded(first) + 1,
            )  # fmt: skip
        names, key = await _names(info.context), connections.id_key(services.vault, _PAYMENT_IDS)
        return connections.page(
            rows,
            first,
            after=after,
            cursor=lambda row: cursors.write(row.leg_id),
            node=lambda row: _payment(row, names, key),
        )


async def _names(context: Context) -> dict[int, str]:
    directory = await context.services.directory.get()
    return {partner.partner_id: partner.name for partner in directory.partners()}


def _break(row: Break, names: dict[int, str], key: bytes, days: int) -> SettlementBreak:
    value = None if row.currency is None or not row.value_micro else money(_minor(row), row.currency)
    return SettlementBreak(
        id=strawberry.ID(opaque_id(key, _BREAK, row.break_id.to_bytes(8, "big"))),
        partner_name=None if row.partner_id is None else names.get(row.partner_id), category=row.category,
        state=row.state, resolution=row.resolution, reference=row.detail.get("reference"), points=Points(row.points),
        value=value, seen_at=row.seen_at, days_open=days, due_on=row.due_on,
    )  # fmt: skip


def _minor(row: Break) -> int:
    assert row.currency is not None
    return minor_from_micro(row.value_micro, row.currency)


def _payment(row: PaymentLeg, names: dict[int, str], key: bytes) -> SettlementPayment:
    return SettlementPayment(
        id=strawberry.ID(opaque_id(key, _PAYMENT, row.leg_id.to_bytes(8, "big"))),
        reference=row.reference, partner_name=names[row.partner_id], direction=row.direction,
        amount=money(row.amount_minor, row.currency), left=money(row.left_minor, row.currency), due_on=row.due_on,
        state=row.state,
    )  # fmt: skip
