"""What partners send about holds."""

from datetime import date, datetime, timedelta

import strawberry

from gateway.inputs import KEY, MemberRefInput, ProofInput, described
from kit.amounts import Points
from partners.holds.holds import HoldWish
from partners.receipts.receipts import Receipt


@strawberry.input(description="Points to be set aside for a sale that is not finished.")
class PlaceHoldInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Whose points.")
    outlet: str = described("The partner's code of the outlet.")
    reference: str = described("The partner's own number of what they are held for; need not be unique.")
    points: Points = described("How many.")
    proof: ProofInput | None = described(
        "Holding needs one, as spending does; capturing then needs none.", default=None
    )
    terminal: str | None = described("The outlet's code of the till.", default=None)
    lasts_seconds: int | None = described(
        "How long they stay held, no longer than the agreement allows; 900 where nothing is said.", default=None
    )

    def wish(self) -> HoldWish:
        """What is asked, as the partners' package has it."""
        seconds = self.lasts_seconds
        return HoldWish(self.points, None if seconds is None else timedelta(seconds=seconds), self.reference)


@strawberry.input(description="A hold to be captured alone: for a reward or a service, with no purchase that earns.")
class CaptureHoldInput:
    idempotency_key: str = described(KEY)
    hold_id: strawberry.ID = described("The hold.")
    reference: str = described("The partner's own number of this redemption.")
    outlet: str = described("The partner's code of the outlet.")
    business_date: date = described("The till's business date.")
    occurred_at: datetime = described("When it happened, by the till's clock.")
    points: Points | None = described("How many of it; all where nothing is said. The rest goes back.", default=None)
    terminal: str | None = described("The outlet's code of the till.", default=None)
    description: str | None = described("What the points were spent on.", default=None)

    def receipt(self) -> Receipt:
        """A receipt of nothing in the place and under the reference of the capture; the agreement's currency."""
        facts = {"description": self.description} if self.description else {}
        return Receipt(
            reference=self.reference, outlet=self.outlet, terminal=self.terminal, business_date=self.business_date,
            occurred_at=self.occurred_at, currency="", total_minor=0, facts=facts,
        )  # fmt: skip


@strawberry.input(description="A hold to be let go.")
class ReleaseHoldInput:
    idempotency_key: str = described(KEY)
    hold_id: strawberry.ID = described("The hold.")
