"""The member app at /app/gifts and /app/means: presents of a plan, given, entered, taken back; how all is paid."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import visits
from gateway.pages.catalogues import marked as _
from gateway.pages.subscription import HERE, INTERVALS, MEANS, TEXT_VERSION
from gateway.pages.visits import Screen, Visitor, decided, done, status_of

GIFTS = "/app/gifts"
MOST_PERIODS = 12

STATES: Mapping[str, str] = MappingProxyType(
    {
        "OPEN": _("waits for its payment; then the code is good"),
        "WAITING": _("paid; nobody has used the code yet"),
        "USED": _("somebody has it"),
        "TAKEN_BACK": _("taken back"),
        "VOID": _("not paid in time"),
    }
)


async def gifts(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/gifts: presents that the member gave, a form to give one and one to enter a code."""
    own = (await visitor.ask("Gifts"))["own"]
    plans = await visitor.ask("Plans")
    return visitor.page(
        "gifts.html", status=status_of(problem), own=own, plans=plans, states=STATES, intervals=INTERVALS,
        names={one["code"]: one["name"] for one in plans}, most=MOST_PERIODS, problem=problem, pay_at=MEANS,
    )  # fmt: skip


async def means(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/means: whether a means of payment is there, since when, and the way to give another."""
    own = (await visitor.ask("PaymentMeans"))["own"]
    return visitor.page("means.html", status=status_of(problem), own=own, problem=problem)


async def give(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/gifts/give: a present is bought; its code is shown once."""
    plan, _sep, interval = fields.get("price", "").partition(" ")
    periods = fields.get("periods", "")
    given: dict[str, Any] = {
        "plan": plan, "interval": interval,
        "intervals": int(periods) if periods.isascii() and periods.isdigit() and len(periods) < 4 else 0,
    }  # fmt: skip
    told = await done(visitor, fields, "GiveSubscription", given, GIFTS, gifts)
    if isinstance(told, Response):
        return told
    names = {one["code"]: one["name"] for one in await visitor.ask("Plans")}
    return visitor.page("gift_given.html", told=told, names=names, intervals=INTERVALS)


async def redeem(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/gifts/redeem: the code of a present is entered."""
    given = {"code": fields.get("code", "").strip()[:100]}
    return await decided(visitor, fields, "RedeemGift", given, HERE, gifts)


async def take_back(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/gifts/back: a present that nobody has used is taken back."""
    return await decided(visitor, fields, "TakeGiftBack", {"giftId": fields.get("gift", "")}, GIFTS, gifts)


async def give_means(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/means: the provider's own page is made, where a means of payment is given; the page leads there."""
    told = await done(visitor, fields, "GivePaymentMeans", {"textVersion": TEXT_VERSION}, MEANS, means)
    if isinstance(told, Response):
        return told
    return visitor.page("means_given.html", address=told["address"])


_SCREENS: tuple[tuple[str, Screen], ...] = (("/gifts", gifts), ("/means", means))
_DEEDS: tuple[tuple[str, Screen], ...] = (
    ("/gifts/give", give),
    ("/gifts/redeem", redeem),
    ("/gifts/back", take_back),
    ("/means", give_means),
)

ROUTES: list[BaseRoute] = visits.routes(_SCREENS, _DEEDS)
