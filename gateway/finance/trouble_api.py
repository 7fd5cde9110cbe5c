"""What does not balance and what is late, as finance asks for it."""

from datetime import date

import strawberry
from strawberry import Info

from gateway import access
from gateway.context import Context
from gateway.finance.calls import DESK
from gateway.inputs import described
from settlement import trouble


@strawberry.type(description="Something that finance has to look after.")
class SettlementTrouble:
    code: str = described(f"What it is: {', '.join(trouble.CODES)}; more may appear.")
    subject: str = described("A window, a run, a payment, a partner, by its name.")
    detail: str = described("A sentence for whoever looks after it.")
    since: date | None = described("Since when, where that is known.")
    run: int | None = described("Number of the run that it is about.")


@strawberry.type
class TroubleQuery:
    @access.query(
        scopes=DESK,
        cost=10,
        size=access.ListSize(assumed_size=30),
        description="What does not balance and what is late, the gravest first. The controls that calculate everything "
        "once more are not asked: the control of a run asks them.",
    )
    async def settlement_trouble(self, info: Info[Context, None]) -> list[SettlementTrouble]:
        at = await info.context.now()
        async with info.context.services.database.reading() as connection:
            found = await trouble.found(connection, at=at)
        return [
            SettlementTrouble(code=t.code, subject=t.subject, detail=t.detail, since=t.since, run=t.run_id)
            for t in found
        ]
