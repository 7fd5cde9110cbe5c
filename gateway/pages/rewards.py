"""The member app at /app/rewards and /app/friends: what points and stamps are good for, and whom the member brought."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import visits
from gateway.pages.catalogues import marked as _
from gateway.pages.visits import Screen, Visitor, done, status_of

REWARDS_ON_A_PAGE = 20

FRIENDS: Mapping[str, str] = MappingProxyType(
    {
        "REGISTERED": _("came, and has not bought yet"),
        "QUALIFYING": _("bought; counts when the purchase is kept"),
        "REWARDED": _("bought and kept it: you both were given something"),
        "LAPSED": _("bought nothing in time"),
    }
)


async def rewards(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/rewards: what there is for points, how many are left, stamps and clubs."""
    asked = visitor.request.query_params
    found = await visitor.ask("Rewards", first=REWARDS_ON_A_PAGE, after=asked.get("after"))
    viewer = await visitor.ask("Progress")
    # A badge that only says yes to a promotion is no club.
    clubs = [one for one in viewer["own"]["badges"] if ":" not in one["code"]]
    return visitor.page(
        "rewards.html", status=status_of(problem), rewards=found, viewer=viewer, clubs=clubs, problem=problem,
        is_first=not asked.get("after"),
    )  # fmt: skip


async def friends(visitor: Visitor, problem: str | None = None, invitation: str | None = None) -> Response:
    """GET /app/friends: who came by the member's invitations, and how far each came."""
    own = (await visitor.ask("Friends"))["own"]
    return visitor.page(
        "friends.html", status=status_of(problem), own=own, states=FRIENDS, invitation=invitation, problem=problem
    )


async def order(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/rewards/order: points are spent on a reward; the page says what to show where it is fetched."""
    given = {name: fields.get(name, "") for name in ("partner", "reward", "outlet")}
    told = await done(visitor, fields, "OrderReward", given, "/app/rewards", rewards)
    if isinstance(told, Response):
        return told
    return visitor.page("ordered.html", told=told, title=fields.get("title", "")[:100])


async def invite(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/friends/invite: a code to give away is drawn, and shown once."""
    told = await done(visitor, fields, "InviteFriend", {}, "/app/friends", friends)
    if isinstance(told, Response):
        return told
    return await friends(visitor, invitation=told["invitation"] or "")


_SCREENS: tuple[tuple[str, Screen], ...] = (("/rewards", rewards), ("/friends", friends))
_DEEDS: tuple[tuple[str, Screen], ...] = (("/rewards/order", order), ("/friends/invite", invite))

ROUTES: list[BaseRoute] = visits.routes(_SCREENS, _DEEDS)
