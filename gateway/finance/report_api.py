"""Which reports of settlement a caller may have, and where each is."""

import strawberry
from strawberry import Info

from gateway import access, scopes
from gateway.context import Context
from gateway.inputs import described
from kit.reports.tables import in_language
from settlement.reports import catalogue


@strawberry.type(description="A report of settlement, to be had as a file.")
class SettlementReport:
    code: str = described("Its place in the catalogue: `R1`.")
    title: str = described("What it is called, in the caller's language.")
    needs_run: bool = described("Whether it is about one settlement run, which is named as `run`.")
    path: str = described("Where it is, with `run`, `format` (csv, xlsx, pdf) and `language` (en, ru, ro) as a query.")


@strawberry.type
class ReportQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.ListSize(assumed_size=len(catalogue.CATALOGUE)),
        description="Reports the caller may have: a partner those of its own statements, the operator's staff all.",
    )
    async def settlement_reports(self, info: Info[Context, None]) -> list[SettlementReport]:
        is_partner = info.context.viewer.partner_id is not None
        return [
            SettlementReport(
                code=one.code,
                title=in_language(one.title, info.context.language),
                needs_run=one.needs_run,
                path=f"/settlement/reports/{one.code}",
            )
            for one in catalogue.CATALOGUE.values()
            if one.is_of_partner or not is_partner
        ]
