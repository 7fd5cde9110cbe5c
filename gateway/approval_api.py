"""Approvals: a till asks the member to agree in the app, and sends the answer's id as proof of the spending."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, scopes, slips
from gateway.context import Context
from gateway.inputs import KEY, MemberRefInput, described
from gateway.purchase_api import call_of
from gateway.rejections import Rejection
from gateway.types import Node, approval_id_for
from kit.amounts import Points
from members import approvals
from partners.directory import Partner
from partners.tills import tills


@strawberry.input(description="A question to a member: may so many points be spent here?")
class RequestApprovalInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Who is asked.")
    outlet: str = described("The partner's code of the outlet.")
    points: Points = described("How many. The approval is good for exactly as many, at this partner, once.")
    terminal: str | None = described("The outlet's code of the till.", default=None)


@strawberry.type(description="A question to a member, and what became of it.")
class Approval(Node):
    status: str = described("ASKED, APPROVED, DECLINED, EXPIRED, USED; more may appear.")
    points: Points = described("How many points it is about.")
    expires_at: datetime = described("Until when it can be answered and used.")


@strawberry.type(description="A member who was asked.")
class RequestApprovalSuccess:
    approval: Approval = described("The question; `node` tells what became of it.")
    replayed: bool = described("True when an earlier call asked; nobody is asked again.")
    cashier_text: str = described("For the till's screen.")


RequestApprovalResult = Annotated[
    RequestApprovalSuccess | Rejection,
    strawberry.union("RequestApprovalResult", description="The question, or the reason."),
]


@strawberry.type
class ApprovalMutation:
    @access.mutation(
        scopes=(scopes.POINTS_REDEEM,),
        moves_points=False,
        description="Asks a member to agree in the app that points are spent here. Send the id as `proof.approvalId` "
        "once it is approved.",
    )
    async def request_approval(self, info: Info[Context, None], input: RequestApprovalInput) -> RequestApprovalResult:
        counter, call = await call_of(info, "requestApproval", input.idempotency_key)
        found, replayed = await tills.request_approval(
            counter.desk, call, counter.member_ref(input.member), input.outlet, input.terminal, points=input.points
        )
        return RequestApprovalSuccess(
            approval=approval(counter.partner, found),
            replayed=replayed,
            cashier_text=slips.text("asked", info.context.language, found.points),
        )


def approval(partner: Partner, found: approvals.Approval) -> Approval:
    """A question as the partner that asked it sees it."""
    return Approval(
        id=approval_id_for(partner, found),
        status=found.state,
        points=Points(found.points),
        expires_at=found.expires_at,
    )
