"""What partners are answered about holds."""

from datetime import datetime

import strawberry

from gateway import access, slips
from gateway.inputs import REPLAYED, described
from gateway.types import Balance, Node, Recording, Redemption, hold_id_for
from kit.amounts import Points
from partners.directory import Partner
from partners.holds import holds
from partners.holds.holds import Held


@strawberry.type(description="Points set aside for a sale that is not finished.")
class Hold(Node):
    status: str = described("OPEN, CAPTURED, RELEASED, LAPSED; more may appear.")
    points: Points = described("How many were set aside.")
    captured_points: Points = described("How many of them were spent; the rest went back unless it is still open.")
    reference: str = described("The partner's own number of what they were held for.")
    placed_at: datetime = described("Since when.")
    lapses_at: datetime = described("When they go back by themselves, if nothing happens before.")


def hold(partner: Partner, found: holds.Hold) -> Hold:
    """A hold as the partner that placed it sees it."""
    return Hold(
        id=hold_id_for(partner, found.ref),
        status=found.state,
        points=Points(found.points),
        captured_points=Points(found.captured_points),
        reference=found.reference,
        placed_at=found.placed_at,
        lapses_at=found.lapses_at,
    )


@strawberry.interface(description="A hold that was placed or let go, or found so before.")
class Holding:
    done: strawberry.Private[Held]
    language: strawberry.Private[str]
    hold: Hold = described("The hold as it is now.")

    @access.field(description=REPLAYED)
    def replayed(self) -> bool:
        return self.done.replayed

    @access.field(description="The member's points after it; null in a replay.")
    def balance(self) -> Balance | None:
        done = self.done
        if done.available is None or done.pending is None:
            return None
        return Balance(
            available=Points(done.available), pending=Points(done.pending), as_of=done.at, known_held=done.held,
            known_debt=None, holder_id=done.hold.ref.holder_id,
        )  # fmt: skip

    @access.field(description="For the till's screen.")
    def cashier_text(self) -> str:
        return "; ".join(self._slip())

    @access.field(description="For the printed receipt.")
    def slip_lines(self) -> list[str]:
        return self._slip()

    def _slip(self) -> list[str]:
        found = self.done.hold
        is_released = found.state == holds.RELEASED
        return slips.slip_lines(
            self.language,
            held=0 if is_released else found.points,
            released=found.points if is_released else 0,
            available=self.done.available,
        )


@strawberry.type(description="Points that were set aside.")
class PlaceHoldSuccess(Holding):
    pass


@strawberry.type(description="A hold that was let go.")
class ReleaseHoldSuccess(Holding):
    pass


@strawberry.type(description="A hold that was captured alone.")
class CaptureHoldSuccess(Recording):
    hold: Hold = described("The hold as it is now.")
    transaction: Redemption = described("The redemption.")
