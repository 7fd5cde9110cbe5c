"""Rewards that members ordered and that wait to be handed over, as the partner that gives them sees them."""

import struct
from datetime import UTC, date, datetime, timedelta
from typing import Final

import strawberry
from strawberry import Info

from gateway import access, connections, masking, purchase_api, scopes
from gateway.connections import After, Connection, First
from gateway.context import Context
from gateway.inputs import described
from kit.amounts import Points
from kit.secrets import opaque_id, read_opaque_id
from partners.directory import Directory, Partner
from partners.mechanics import rewards
from partners.mechanics.rewards import Order

_PLACE: Final = struct.Struct(">qqq")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@strawberry.type(description="A reward that somebody took and that waits to be handed over.")
class RewardOrder:
    reward: str = described("The reward's code.")
    title: str = described("What it is, in the language that was asked for.")
    points: Points = described("What it cost.")
    reference: str = described("What whoever fetches it shows; `handOverReward` finds the redemption by it.")
    outlet: str = described("Code of the outlet where it is fetched.")
    business_date: date = described("The business date of the redemption.")
    ordered_at: datetime = described("When it was taken.")


@strawberry.type
class RewardOrderQuery:
    @access.query(
        scopes=(scopes.POINTS_REDEEM,),
        size=access.paged(),
        description="The partner's own rewards that were taken, at a till or in the app, and that nobody has handed "
        "over or returned; who waits longest comes first.",
    )
    async def reward_orders(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[RewardOrder]:
        counter = await purchase_api.counter_of(info)
        partner, behind = counter.partner, _read(counter.partner, after)
        async with counter.desk.database.reading() as connection:
            found = await rewards.waiting(
                connection, partner.partner_id, after=behind, limit=connections.bounded(first) + 1
            )
        return connections.page(
            found, first, after=after, cursor=lambda row: cursor(partner, row.place),
            node=lambda row: _shown(row, counter.directory, partner, info.context.language),
        )  # fmt: skip


def _shown(found: Order, directory: Directory, partner: Partner, language: str) -> RewardOrder:
    outlet = next(one for one in directory.outlets(partner.partner_id) if one.outlet_id == found.outlet_id)
    return RewardOrder(
        reward=found.code, title=found.names.get(language, ""), points=Points(found.points),
        reference=found.reference, outlet=outlet.code, business_date=found.business_date, ordered_at=found.at,
    )  # fmt: skip


def cursor(partner: Partner, place: tuple[datetime, int, int]) -> str:
    """The cursor of a place in the partner's list: nothing to another partner."""
    at, holder_id, seq = place
    return opaque_id(partner.id_key, "rwo", _PLACE.pack((at - _EPOCH) // timedelta(microseconds=1), holder_id, seq))


def _read(partner: Partner, after: str | None) -> tuple[datetime, int, int] | None:
    """The place of a cursor, None for none. Raises BAD_USER_INPUT for one that is not of this list."""
    if after is None:
        return None
    raw = read_opaque_id(partner.id_key, "rwo", after)
    if raw is None or len(raw) != _PLACE.size:
        raise masking.coded(masking.BAD_USER_INPUT, "`after` is not a cursor of this list.")
    micros, holder_id, seq = _PLACE.unpack(raw)
    return _EPOCH + timedelta(microseconds=micros), holder_id, seq
