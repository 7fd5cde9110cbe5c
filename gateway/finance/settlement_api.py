"""What finance reads over GraphQL beside statements: runs, windows, agreements, caps, deposits, calendars, proposals.

A partner reads its own agreement; the rest is the programme's, for whoever of its staff makes or decides.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import strawberry
from strawberry import Info

from gateway import access, connections, masking, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.calls import DESK
from gateway.finance.settlement_types import (
    AgreementVersion,
    FinanceProposal,
    Holiday,
    PartnerDeposit,
    PartnerExposure,
    SettlementCutoff,
    SettlementRun,
    SettlementWindow,
    TaxRuleVersion,
    WhatIfDifference,
    agreement_of,
    cutoff_of,
    deposit_of,
    difference_of,
    exposure_of,
    proposals_of,
    run_of,
    tax_rule_of,
    window_of,
)
from gateway.inputs import described
from kit.errors import Rejection
from ledger import cutoffs
from partners.agreements import agreements
from partners.clearing import clearing
from partners.directory import Directory
from settlement import archive, proposals, runs, what_if
from settlement.documents import taxes
from settlement.exposure import deposits, limits
from settlement.rating import OPERATOR
from settlement.windows import cycle

_AGREEMENTS = (scopes.SETTLEMENT_READ, scopes.AGREEMENTS_MAKE, scopes.AGREEMENTS_DECIDE)
Row = TypeVar("Row")
T = TypeVar("T")


@strawberry.input(description="A price that a draft would say otherwise.")
class PriceInput:
    name: str = described("fund_price_micro, service_price_micro, reimbursement_price_micro, …")
    value: int = described("Micro-units a point, or basis points; not below zero.")


@strawberry.type
class SettlementQuery:
    @access.query(
        scopes=_AGREEMENTS,
        size=access.paged(),
        description="Versions of agreements, the latest first: a partner's own that were approved; for the operator's "
        "staff everybody's, also what waits.",
    )
    async def agreements(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[AgreementVersion]:
        viewer, directory = info.context.viewer, await info.context.services.directory.get()
        is_staff = viewer.partner_id is None
        own = [p for p in directory.partners() if is_staff or p.partner_id == viewer.partner_id]
        found = []
        async with info.context.services.database.reading() as connection:
            for partner in own:
                before = None
                for one in await agreements.versions(connection, partner.partner_id):
                    if is_staff or one.state == "APPROVED":
                        found.append(agreement_of(partner.code, one, before, is_staff=is_staff))
                    before = one if one.state == "APPROVED" else before
        found.sort(key=lambda one: (one.valid_from, one.partner, one.version), reverse=True)
        return _page(info, "agreement", found, first, after, lambda one: one)

    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Settlement runs, the latest first: those in a state and a currency, where that is said.",
    )
    async def settlement_runs(
        self,
        info: Info[Context, None],
        first: First = 20,
        after: After = None,
        state: str | None = None,
        currency_code: str | None = None,
    ) -> Connection[SettlementRun]:
        async with info.context.services.database.reading() as connection:
            every = await archive.runs(connection, currency=currency_code)
        found = [run for run in every if state in (None, run.state)]
        return _page(info, "settlement run", found, first, after, run_of)

    @access.query(scopes=DESK, description="One settlement run. Null where there is none of this number.")
    async def settlement_run(self, info: Info[Context, None], number: int) -> SettlementRun | None:
        async with info.context.services.database.reading() as connection:
            try:
                return run_of(await archive.head(connection, number))
            except archive.RunUnknown:
                return None

    @access.query(scopes=DESK, size=access.paged(), description="Windows, the latest first.")
    async def settlement_windows(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[SettlementWindow]:
        async with info.context.services.database.reading() as connection:
            found = (await cycle.windows(connection))[::-1]
        return _page(info, "settlement window", found, first, after, window_of)

    @access.query(scopes=DESK, size=access.paged(), description="Cut-offs, the latest first; that one is open.")
    async def settlement_cutoffs(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[SettlementCutoff]:
        async with info.context.services.database.reading() as connection:
            found = (await cutoffs.cutoffs(connection))[::-1]
        return _page(info, "settlement cut-off", found, first, after, cutoff_of)

    @access.query(
        scopes=DESK, size=access.paged(), description="Where partners with a cap stood when they were last measured."
    )
    async def partner_exposures(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[PartnerExposure]:
        directory = await info.context.services.directory.get()
        async with info.context.services.database.reading() as connection:
            found = await limits.last(connection)
        return _page(
            info, "exposure", found, first, after, lambda one: exposure_of(one, _code(directory, one.partner_id))
        )

    @access.query(scopes=DESK, size=access.paged(), description="What partners have to have deposited, and have.")
    async def partner_deposits(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[PartnerDeposit]:
        directory, at = await info.context.services.directory.get(), await info.context.now()
        async with info.context.services.database.reading() as connection:
            found = await deposits.standings(connection, at=at)
        return _page(
            info, "deposit", found, first, after, lambda one: deposit_of(one, _code(directory, one.partner_id))
        )

    @access.query(scopes=DESK, size=access.paged(), description="What finance proposed and nobody has decided.")
    async def finance_proposals(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[FinanceProposal]:
        async with info.context.services.database.reading() as connection:
            waiting = await proposals.waiting(connection)
            makers = await proposals.makers(connection, waiting)
        directory = await info.context.services.directory.get()
        called = {OPERATOR: directory.programme.name} | {one.partner_id: one.name for one in directory.partners()}
        found = proposals_of(waiting, makers, called)
        return _page(info, "proposal", found, first, after, lambda one: one)

    @access.query(scopes=DESK, size=access.paged(), description="Days on which nobody works, in order.")
    async def holidays(self, info: Info[Context, None], first: First = 20, after: After = None) -> Connection[Holiday]:
        async with info.context.services.database.reading() as connection:
            found = await runs.holidays(connection)
        return _page(info, "holiday", found, first, after, lambda one: Holiday(day=one[0], name=one[1]))

    @access.query(scopes=DESK, size=access.paged(), description="The version of every tax rule that holds now.")
    async def tax_rules(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[TaxRuleVersion]:
        at = await info.context.now()
        async with info.context.services.database.reading() as connection:
            found = sorted((await taxes.in_force(connection, at=at)).values(), key=lambda rule: rule.code)
        return _page(info, "tax rule", found, first, after, tax_rule_of)

    @access.query(
        scopes=DESK,
        cost=20,
        size=access.ListSize(assumed_size=20),
        description="What other prices would have made of a partner's statement in a run that is over. Writes nothing.",
    )
    async def what_if(
        self, info: Info[Context, None], run: int, partner: str, prices: list[PriceInput]
    ) -> list[WhatIfDifference]:
        changes = {one.name: one.value for one in prices}
        async with info.context.services.database.reading() as connection:
            names = await clearing.names(connection)
            partner_id = next((n for n, name in names.items() if name.code == partner), None)
            if partner_id is None:
                raise masking.coded(masking.BAD_USER_INPUT, "There is no such partner.")
            try:
                return [difference_of(one) for one in await what_if.compare(connection, run, partner_id, changes)]
            except Rejection as no:
                raise masking.coded(masking.BAD_USER_INPUT, str(no)) from no


def _page(
    info: Info[Context, None], kind: str, found: Sequence[Row], first: int, after: str | None, node: Callable[[Row], T]
) -> Connection[T]:
    """A page of a list that is whole; a cursor is a place in it."""
    cursors = Cursors(info.context.services.vault, kind)
    begin = cursors.read(after) or 0
    rows = list(enumerate(found, start=1))[begin : begin + connections.bounded(first) + 1]
    return connections.page(
        rows, first, after=after, cursor=lambda row: cursors.write(row[0]), node=lambda row: node(row[1])
    )


def _code(directory: Directory, partner_id: int) -> str:
    found = directory.partner(partner_id)
    return str(partner_id) if found is None else found.code
