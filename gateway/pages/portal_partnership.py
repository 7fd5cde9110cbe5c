"""What a partner's managers look at of their part in the programme: promotions and what they brought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import partnership_phrases, portal_frame
from gateway.pages.portal_frame import HOME, Office

PROMOTIONS = f"{HOME}/promotions"
ON_A_PAGE = 20
ISSUED = frozenset({"ACTIVATION", "RETURN"})
REDEEMED = frozenset({"REDEMPTION", "REFUND"})


@dataclass(frozen=True, slots=True)
class Three:
    """The statement in points: issued and redeemed, less what was taken or given back, each with the numbers of the
    lines that it sums. The third number is the statement's own net."""

    issued: int
    issued_lines: tuple[int, ...]
    redeemed: int
    redeemed_lines: tuple[int, ...]


def three_numbers(lines: Iterable[Mapping[str, Any]]) -> Three:
    """PURE: the points of a statement's lines."""
    held = list(lines)
    issued = [each for each in held if each["kind"] in ISSUED]
    redeemed = [each for each in held if each["kind"] in REDEEMED]
    return Three(
        sum(_signed(each, "RETURN") for each in issued), tuple(each["number"] for each in issued),
        sum(_signed(each, "REFUND") for each in redeemed), tuple(each["number"] for each in redeemed),
    )  # fmt: skip


def _signed(line: Mapping[str, Any], taken_back: str) -> int:
    points = int(line["points"])
    return -abs(points) if line["kind"] == taken_back else points


async def promotions(office: Office) -> Response:
    """GET /portal/promotions: promotions that work at the partner's tills, or that it pays for."""
    found = await office.ask("PortalPromotions", first=ON_A_PAGE, after=office.asked("after") or None)
    return office.page("promotions.html", found=found["promotions"], is_first=not office.asked("after"))


async def promotion(office: Office) -> Response:
    """GET /portal/promotions/{code}: one of them, what it gave, and what it brought against who was held out."""
    told = await office.ask("PortalPromotion", code=office.request.path_params["code"])
    if told["promotion"] is None or not told["promotion"]["rules"]:
        return office.missing(PROMOTIONS)
    return office.page(
        "promotion.html", promotion=told["promotion"], result=told["promotionResult"],
        verdicts=partnership_phrases.VERDICTS,
    )  # fmt: skip


ROUTES: list[BaseRoute] = portal_frame.routes((("/promotions", promotions), ("/promotions/{code}", promotion)))
