"""What is owed to members over time, and whom reports can be about."""

from datetime import datetime
from decimal import Decimal

import strawberry
from strawberry import Info

from gateway import access, connections
from gateway.connections import First
from gateway.context import Context
from gateway.finance.calls import DESK
from gateway.inputs import described
from gateway.scalars import CurrencyCode
from settlement import standings
from settlement.statements import decimal_from_micro


@strawberry.type(description="What is owed to members, as the books had it when a run was made.")
class LiabilityStanding:
    run: int = described("Number of the run.")
    at: datetime = described("Business instant.")
    face: Decimal = described("The obligation at face.")
    breakage: Decimal = described("What of it is expected never to be used: an estimate.")
    service: Decimal = described("The service part that is deferred.")
    expected: Decimal = described("Face less breakage, with the service part.")


@strawberry.type(description="A partner that settlement has to do with.")
class SettlementPartner:
    code: str = described("Its code, as reports take it.")
    name: str = described("Its name.")


@strawberry.type
class LiabilityQuery:
    @access.query(
        scopes=DESK,
        cost=5,
        size=access.ListSize(assumed_size=24, slicing_arguments=["first"]),
        description="What is owed to members in a currency at each of the latest runs, the earliest first.",
    )
    async def settlement_liability(
        self, info: Info[Context, None], currency_code: CurrencyCode, first: First = 24
    ) -> list[LiabilityStanding]:
        async with info.context.services.database.reading() as connection:
            found = await standings.liability(connection, currency=currency_code, most=connections.bounded(first))
        return [
            LiabilityStanding(
                run=one.run_id, at=one.at, face=decimal_from_micro(one.face_micro),
                breakage=decimal_from_micro(one.breakage_micro), service=decimal_from_micro(one.service_micro),
                expected=decimal_from_micro(one.expected_micro),
            )
            for one in found
        ]  # fmt: skip

    @access.query(scopes=DESK, size=access.ListSize(assumed_size=50), description="Every partner, by its code.")
    async def settlement_partners(self, info: Info[Context, None]) -> list[SettlementPartner]:
        directory = await info.context.services.directory.get()
        return [SettlementPartner(code=one.code, name=one.name) for one in directory.partners()]

    @access.query(
        scopes=DESK, size=access.ListSize(assumed_size=3), description="The currencies of runs and of the programme."
    )
    async def settlement_currencies(self, info: Info[Context, None]) -> list[str]:
        async with info.context.services.database.reading() as connection:
            return await standings.currencies(connection)
