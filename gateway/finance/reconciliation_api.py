"""What partners and finance read over GraphQL of files, breaks and payments. A partner's client sees its own alone."""

from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, connections, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.calls import DESK
from gateway.finance.reconciliation_types import (
    LateItem,
    PartnerFile,
    PaymentFile,
    SettlementBreak,
    SettlementPayment,
    SuspenseItem,
    break_number,
    late_item_of,
    names,
    partner_file_of,
    payment_file_of,
    payment_of,
    shown_breaks,
    suspense_item_of,
    whose,
)
from settlement.bank import paying, suspense
from settlement.reconciliation import intake, register, standing

PartnerCode = Annotated[
    str | None, strawberry.argument(description="Code of a partner; a partner itself has its own whatever it says.")
]


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
        called = await names(info.context)
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.file_id),
            node=lambda row: partner_file_of(services.vault, row, called),
        )  # fmt: skip

    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        description="Breaks, oldest first: the partner's own; for the operator's staff, all, or one partner's. Only "
        "those that are unresolved, unless all are asked for; of one category, where that is said.",
    )
    async def settlement_breaks(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        all_states: bool = False,
        partner: PartnerCode = None,
        category: str | None = None,
    ) -> Connection[SettlementBreak]:
        services = info.context.services
        cursors = Cursors(services.vault, "settlement break")
        async with services.database.reading() as connection:
            rows = await register.page(
                connection, partner_id=await whose(info.context, partner), after=cursors.read(after) or 0,
                states=None if all_states else register.UNRESOLVED, category=category,
                limit=connections.bounded(first) + 1,
            )  # fmt: skip
            found = await shown_breaks(info.context, connection, rows)
        return connections.page(
            found, first, after=after, cursor=lambda one: cursors.write(one.number), node=lambda one: one
        )  # fmt: skip

    @access.query(scopes=DESK, cost=5, description="One break. Null where there is none of this id.")
    async def settlement_break(self, info: Info[Context, None], id: strawberry.ID) -> SettlementBreak | None:
        async with info.context.services.database.reading() as connection:
            try:
                its = await register.read(connection, break_number(info.context.services.vault, id))
            except register.BreakUnknown:
                return None
            return (await shown_breaks(info.context, connection, [its]))[0]

    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        description="Payments of settlement runs, latest first: the partner's own; for the operator's staff, all, or "
        "one partner's. Of one run and in one state, where that is said.",
    )
    async def settlement_payments(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        partner: PartnerCode = None,
        run: int | None = None,
        state: str | None = None,
    ) -> Connection[SettlementPayment]:
        services = info.context.services
        cursors = Cursors(services.vault, "settlement payment")
        async with services.database.reading() as connection:
            rows = await paying.page(
                connection, partner_id=await whose(info.context, partner), run_id=run, state=state,
                before=cursors.read(after), limit=connections.bounded(first) + 1,
            )  # fmt: skip
        called = await names(info.context)
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.leg_id),
            node=lambda row: payment_of(services.vault, row, called),
        )  # fmt: skip

    @access.query(scopes=DESK, size=access.paged(), description="Files for the bank, the latest first.")
    async def payment_files(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[PaymentFile]:
        services = info.context.services
        cursors = Cursors(services.vault, "payment file")
        async with services.database.reading() as connection:
            rows = await paying.orders_page(
                connection, before=cursors.read(after), limit=connections.bounded(first) + 1
            )  # fmt: skip
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.order_id), node=payment_file_of
        )  # fmt: skip

    @access.query(scopes=DESK, cost=5, description="One file for the bank. Null where there is none of the number.")
    async def payment_file(self, info: Info[Context, None], number: int) -> PaymentFile | None:
        async with info.context.services.database.reading() as connection:
            try:
                return payment_file_of(await paying.order_of(connection, number))
            except paying.OrderUnknown:
                return None

    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Money at the bank of which nobody has said what it is for, oldest first.",
    )
    async def suspense_items(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[SuspenseItem]:
        services = info.context.services
        cursors = Cursors(services.vault, "suspense item")
        begin, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with services.database.reading() as connection:
            rows = [one for one in await suspense.items(connection) if one.item_id > begin][:wanted]
        called = await names(info.context)
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.item_id),
            node=lambda row: suspense_item_of(row, called),
        )  # fmt: skip

    @access.query(
        scopes=DESK,
        cost=20,
        size=access.paged(),
        description="Everything that does not balance or is late, what does not balance first.",
    )
    async def late_items(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[LateItem]:
        services = info.context.services
        cursors = Cursors(services.vault, "late item")
        begin, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with services.database.reading() as connection:
            found = await standing.late(connection, at=await services.now())
        rows = list(enumerate(found, start=1))[begin : begin + wanted]
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row[0]), node=lambda row: late_item_of(row[1])
        )
