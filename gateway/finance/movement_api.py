"""From a line of a partner's own statement to the receipts behind it."""

import strawberry
from strawberry import Info

from gateway import access, connections, masking, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.drill_api import SettlementMovement
from gateway.finance.statement_api import statement_by_id
from kit.amounts import Points
from settlement import drill
from settlement.drill import Numbered
from settlement.statements import decimal_from_micro


@strawberry.type
class MovementQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        cost=20,
        size=access.paged(),
        description="What is behind a line of the own statement, in the order it was recorded: it sums to the line. "
        "Receipts of other partners are not shown, only what they cost or bring.",
    )
    async def own_movements(
        self, info: Info[Context, None], statement_id: strawberry.ID, line: int, first: First = 20, after: After = None
    ) -> Connection[SettlementMovement]:
        services, viewer = info.context.services, info.context.viewer
        if viewer.partner_id is None:
            raise masking.coded(masking.BAD_USER_INPUT, "Partners ask this; staff ask `settlementMovements`.")
        cursors = Cursors(services.vault, f"own movements of line {line}")
        found = await statement_by_id(info.context, statement_id)
        its = None if found is None else found.statement
        partner = (await services.directory.get()).partner(viewer.partner_id)
        chosen = None if its is None else next((one for one in its.lines if one.line_no == line), None)
        rows: list[Numbered] = []
        if its is not None and partner is not None and chosen is not None:
            async with services.database.transaction() as connection:
                rows = await drill.movements(
                    connection, its, chosen, id_key=partner.id_key, after=cursors.read(after) or 0,
                    limit=connections.bounded(first) + 1,
                )  # fmt: skip
        return connections.page(rows, first, after=after, cursor=lambda row: cursors.write(row.number), node=_movement)


def _movement(row: Numbered) -> SettlementMovement:
    """A movement as its partner sees it: entries of the ledger are the operator's to look at."""
    one = row.detail
    return SettlementMovement(
        number=row.number, cutoff=one.cutoff_id, kind=one.kind, at=one.at, business_date=one.business_date,
        outlet=one.outlet, reference=one.reference, points=Points(one.points),
        unit_price=decimal_from_micro(one.unit_price_micro), amount_exact=decimal_from_micro(one.amount_micro),
        entry_id=None, receipt_entry_id=None,
    )  # fmt: skip
