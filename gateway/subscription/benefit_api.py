"""A partner tells what was used of a benefit of a subscription, so that it is paid for it."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, scopes
from gateway.context import Context
from gateway.inputs import KEY, MemberRefInput, described
from gateway.purchase_api import call_of
from gateway.rejections import Rejection
from members.subscription import entitlements
from members.subscription.entitlements import Use
from partners import callers, outcomes
from partners.tills import recognition


@strawberry.input(description="Units of a benefit that a member used.")
class ReportUsageInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Who used it.")
    benefit: str = described("The benefit's code, as `entitlements` says it.")
    units: int = described("How many.", default=1)
    used_at: datetime = described("When, by the partner's clock; at most four weeks ago.")
    outlet: str | None = described("The outlet's code; needed where the member is named by a visit.", default=None)
    terminal: str | None = described("The outlet's code of the till.", default=None)


@strawberry.type(description="The use is on record, and counts for the month in which it was told.")
class ReportUsageSuccess:
    replayed: bool = described("True when an earlier call told it; nothing was written now.")


ReportUsageResult = Annotated[
    ReportUsageSuccess | Rejection, strawberry.union("ReportUsageResult", description="Done, or the reason.")
]


@strawberry.type
class BenefitMutation:
    @access.mutation(
        scopes=(scopes.EVENTS_WRITE,),
        moves_points=False,
        description="Tells that a member used a benefit of a subscription here, so that the partner is paid for it. "
        "Once under a key; a member is found as at a till.",
    )
    async def report_usage(self, info: Info[Context, None], input: ReportUsageInput) -> ReportUsageResult:
        counter, call = await call_of(info, "reportUsage", input.idempotency_key)
        terminal_id = None
        if input.outlet is not None:
            terminal_id = callers.place_of(counter.directory, counter.caller, input.outlet, input.terminal).terminal_id
        found = await recognition.identify(
            counter.desk, counter.caller, counter.member_ref(input.member), terminal_id, call.at
        )
        use = Use(
            found.member_id, input.benefit, input.units, input.used_at, counter.caller.partner_id,
            counter.caller.client_no,
        )  # fmt: skip
        async with info.context.services.database.transaction() as connection:
            done = await entitlements.report_use(connection, use, key=call.idem_key, at=call.at)
        if done is None:
            raise outcomes.rejection(outcomes.KEY_REUSED)
        return ReportUsageSuccess(replayed=not done)
