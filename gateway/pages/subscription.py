"""The member app at /app/subscription: plans, what the own one brought and what it costs next, change, pause, seats,
invoices, and the way out in two taps; what a promotional code makes of a price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway.pages import visits
from gateway.pages.catalogues import marked as _
from gateway.pages.visits import Screen, Visitor, code_of, decided, status_of
from gateway.sessions.asking import NotAnswered

HERE = "/app/subscription"
MEANS = "/app/means"
TEXT_VERSION = "app-1"
_PAUSES_DAYS = (30, 60, 90)

STATES: Mapping[str, str] = MappingProxyType(
    {
        "INCOMPLETE": _("waits for its first payment"),
        "TRIALING": _("being tried"),
        "ACTIVE": _("running"),
        "CANCELLING": _("ends soon"),
        "GRACE": _("a payment is overdue"),
        "ON_HOLD": _("on hold: a payment is overdue"),
        "PAUSED": _("paused"),
        "ENDED": _("ended"),
    }
)
INTERVALS: Mapping[str, str] = MappingProxyType({"MONTH": _("a month"), "QUARTER": _("a quarter"), "YEAR": _("a year")})
INVOICES: Mapping[str, str] = MappingProxyType(
    {"OPEN": _("to be paid"), "PAID": _("paid"), "VOID": _("void"), "CREDITED": _("given back")}
)
TEST_MEANS: Mapping[str, str] = MappingProxyType(
    {"ok": _("a test card that pays"), "hard_decline": _("a test card that is declined")}
)


# --- Screens ------------------------------------------------------------------------------------------------


async def subscription(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/subscription: the subscription that has not ended, or the plans that there are."""
    viewer = await visitor.ask("Subscription")
    plans = await visitor.ask("Plans")
    own = current(viewer["own"]["subscriptions"])
    plan = next((one for one in plans if own and one["code"] == own["plan"]), None)
    return visitor.page(
        "subscription.html", status=status_of(problem), viewer=viewer, plans=plans, own=own, plan=plan, problem=problem,
        past=[one for one in viewer["own"]["subscriptions"] if one["status"] == "ENDED"], pauses=_pauses(own),
        names={one["code"]: one["name"] for one in plans}, **_words(visitor),
    )  # fmt: skip


async def changing(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/subscription/change: what going over to another plan would do, before it is done."""
    own = current((await visitor.ask("Subscription"))["own"]["subscriptions"])
    if own is None:
        return RedirectResponse(HERE, 303)
    plan, _sep, interval = visitor.request.query_params.get("to", "").partition(" ")
    try:
        told = await visitor.ask("ChangePreview", id=own["id"], plan=plan, interval=interval)
    except NotAnswered as no:
        return await subscription(visitor, code_of(no))
    (previewed,) = told["own"]["subscriptions"]
    names = {one["code"]: one["name"] for one in await visitor.ask("Plans")}
    return visitor.page(
        "subscription_change.html", status=status_of(problem), own=own, plan=plan, interval=interval, names=names,
        preview=previewed["changePreview"], problem=problem, **_words(visitor),
    )  # fmt: skip


async def leaving(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/subscription/leave: what is kept until when, before the second tap."""
    own = current((await visitor.ask("Subscription"))["own"]["subscriptions"])
    if own is None or own["status"] == "CANCELLING":
        return RedirectResponse(HERE, 303)
    try:
        told = await visitor.ask("LeavePreview", id=own["id"], atOnce=False)
    except NotAnswered as no:
        return await subscription(visitor, code_of(no))
    (previewed,) = told["own"]["subscriptions"]
    return visitor.page(
        "subscription_leave.html", status=status_of(problem), own=own, preview=previewed["cancellationPreview"],
        at_once=await _at_once(visitor, own["id"]), problem=problem,
        names={one["code"]: one["name"] for one in await visitor.ask("Plans")},
    )  # fmt: skip


async def pausing(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/subscription/pause: from when until when nothing is charged and nothing given, before it is planned."""
    own = current((await visitor.ask("Subscription"))["own"]["subscriptions"])
    until = visitor.request.query_params.get("until", "")[:40]
    if own is None:
        return RedirectResponse(HERE, 303)
    try:
        told = await visitor.ask("PausePreview", id=own["id"], until=until)
    except NotAnswered as no:
        return await subscription(visitor, code_of(no))
    (previewed,) = told["own"]["subscriptions"]
    return visitor.page(
        "subscription_pause.html", status=status_of(problem), own=own, until=until, preview=previewed["pausePreview"],
        problem=problem, names={one["code"]: one["name"] for one in await visitor.ask("Plans")},
    )  # fmt: skip


# --- What a member decides ----------------------------------------------------------------------------------


async def take(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/take: a plan is taken, for an interval, to be tried first where that is said."""
    plan, _sep, interval = fields.get("price", "").partition(" ")
    given: dict[str, Any] = {"plan": plan, "interval": interval, "trial": fields.get("trial") == "yes"}
    if fields.get("code", "").strip():
        given["code"] = fields["code"].strip()
    if fields.get("means"):
        given |= {"paymentToken": fields["means"], "paymentTextVersion": TEXT_VERSION}
    return await decided(visitor, fields, "Subscribe", given, HERE, subscription)


async def look_at_code(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/code: what a promotional code makes of a price, before the plan is taken. It is no address
    of its own: who has the code, has it."""
    plan, _sep, interval = fields.get("price", "").partition(" ")
    code = fields.get("code", "").strip()[:100]
    if not code:
        return await subscription(visitor, "PLAN_CODE_INVALID")
    try:
        seen = await visitor.ask("PlanCode", code=code, plan=plan, interval=interval)
    except NotAnswered as no:
        return await subscription(visitor, code_of(no))
    return visitor.page(
        "subscription_code.html", plan=plan, interval=interval, code=code, seen=seen, given_means=fields.get("means"),
        names={one["code"]: one["name"] for one in await visitor.ask("Plans")}, **_words(visitor),
    )  # fmt: skip


async def change(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/change: the plan or the interval becomes another one."""
    given = {
        "subscriptionId": fields.get("subscription", ""), "plan": fields.get("plan", ""),
        "interval": fields.get("interval", ""),
    }  # fmt: skip
    return await decided(visitor, fields, "ChangeSubscription", given, HERE, subscription)


async def leave(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/leave: the second tap."""
    given = {"subscriptionId": fields.get("subscription", ""), "atOnce": fields.get("at_once") == "yes"}
    return await decided(visitor, fields, "CancelSubscription", given, HERE, subscription)


async def pause(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/pause: nothing is charged or given from the period's end until a day."""
    given = {"subscriptionId": fields.get("subscription", ""), "until": fields.get("until", "")}
    return await decided(visitor, fields, "PauseSubscription", given, HERE, subscription)


async def resume(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/resume: a pause or a planned end is taken back."""
    return await _of_subscription(visitor, fields, "ResumeSubscription")


async def offer_seat(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/seat: somebody is offered a seat."""
    given = {"subscriptionId": fields.get("subscription", ""), "guestId": fields.get("guest", "").strip()}
    return await decided(visitor, fields, "OfferSeat", given, HERE, subscription)


async def remove_seat(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/seat/remove: a seat is taken back."""
    number = fields.get("number", "")
    given = {
        "subscriptionId": fields.get("subscription", ""),
        "number": int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0,
    }
    return await decided(visitor, fields, "RemoveSeat", given, HERE, subscription)


async def accept_seat(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/seat/accept: a seat that was offered is taken."""
    return await _of_subscription(visitor, fields, "AcceptSeat")


async def leave_seat(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/subscription/seat/leave: a seat in somebody's subscription is given up."""
    return await _of_subscription(visitor, fields, "LeaveSeat")


# --- Parts --------------------------------------------------------------------------------------------------


def current(held: Sequence[Any]) -> Any:
    """The subscription that has not ended; None where there is none."""
    return next((one for one in held if one["status"] != "ENDED"), None)


async def _of_subscription(visitor: Visitor, fields: Mapping[str, str], name: str) -> Response:
    given = {"subscriptionId": fields.get("subscription", "")}
    return await decided(visitor, fields, name, given, HERE, subscription)


async def _at_once(visitor: Visitor, number: str) -> Any:
    """What leaving at once would give back; None where the plan does not offer it."""
    try:
        told = await visitor.ask("LeavePreview", id=number, atOnce=True)
    except NotAnswered as no:
        if code_of(no) != "LEAVING_AT_ONCE_NOT_OFFERED":
            raise
        return None
    return told["own"]["subscriptions"][0]["cancellationPreview"]


def _pauses(own: Any) -> list[datetime]:
    """Until when a pause can last."""
    if own is None or own["status"] != "ACTIVE" or own["pausedUntil"] or own["periodEndsAt"] is None:
        return []
    end = datetime.fromisoformat(own["periodEndsAt"])
    return [end + timedelta(days=days) for days in _PAUSES_DAYS]


def _words(visitor: Visitor) -> dict[str, Any]:
    is_test = visitor.request.app.state.services.settings.charging == "simulator"
    return {
        "states": STATES, "intervals": INTERVALS, "invoice_states": INVOICES, "means": TEST_MEANS if is_test else {},
        "pay_at": MEANS,
        "change_to": lambda plan, interval: f"{HERE}/change?{urlencode({'to': f'{plan} {interval}'})}",
    }  # fmt: skip


_SCREENS: tuple[tuple[str, Screen], ...] = (
    ("/subscription", subscription),
    ("/subscription/change", changing),
    ("/subscription/leave", leaving),
    ("/subscription/pause", pausing),
)
_DEEDS: tuple[tuple[str, Screen], ...] = (
    ("/subscription/take", take),
    ("/subscription/code", look_at_code),
    ("/subscription/change", change),
    ("/subscription/leave", leave),
    ("/subscription/pause", pause),
    ("/subscription/resume", resume),
    ("/subscription/seat", offer_seat),
    ("/subscription/seat/remove", remove_seat),
    ("/subscription/seat/accept", accept_seat),
    ("/subscription/seat/leave", leave_seat),
)

ROUTES: list[BaseRoute] = visits.routes(_SCREENS, _DEEDS)
