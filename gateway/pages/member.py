"""The member app at /app: the card, the points, what happened, offers, and what the member decides.

Every page asks a named document for the member who is signed in. What changes something is a form with the page's token
and a key of its own, so that a double click and a step back do nothing twice; it is answered with a redirection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gateway.context import LANGUAGES
from gateway.pages import (
    claims,
    documents,
    files,
    gifts,
    pairing,
    phrases,
    places,
    rendering,
    rewards,
    subscription,
    visits,
    wallet,
)
from gateway.pages.dates import by_day
from gateway.pages.visits import HOME, Screen, Visitor, code_of, decided, status_of
from gateway.sessions import answers, forms, people, session, views
from gateway.sessions.asking import NotAnswered
from gateway.sessions.cookies import jar_of
from members.messages import MEMBER

_OF_SCRIPTS = ("BalanceChanged", "Clock", "LatestEntry", "PutCardOnDevice")
ENTRIES_ON_A_PAGE = 15
OFFERS_ON_A_PAGE = 20
TEXT_VERSION = "app-1"
_YEAR_SECONDS = 365 * 24 * 3_600
_WAIT_SECONDS = 5.0


# --- Screens ------------------------------------------------------------------------------------------------


async def card(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app: the card, what is available, and tills that wait for an answer."""
    viewer = await visitor.ask("Card")
    return visitor.page(
        "card.html", status=status_of(problem), viewer=viewer, problem=problem, ending=places.ending_soon(viewer),
        is_fresh=visitor.viewer.person is not None and visitor.viewer.person.is_fresh,
        scripts={name: documents.documents()[name] for name in _OF_SCRIPTS},
    )  # fmt: skip


async def points(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/points: the balance by what becomes of it and when, the tier, and what a bill would earn."""
    asked = visitor.request.query_params
    estimate = None
    if asked.get("total"):
        try:
            told = await visitor.ask(
                "Estimate", partner=asked.get("partner", ""), total=rendering.amount(asked["total"])
            )
            estimate = told["own"]["estimate"]
        except NotAnswered as no:
            problem = code_of(no)
    viewer = await visitor.ask("Points")
    return visitor.page(
        "points.html", status=status_of(problem), viewer=viewer, estimate=estimate, problem=problem,
        partner=asked.get("partner", ""), total=asked.get("total", "")[:20],
        dates=by_day(viewer["own"]["dates"], visitor.frame.zone),
    )  # fmt: skip


async def history(visitor: Visitor) -> Response:
    """GET /app/history: what happened to the points, the latest first."""
    asked = visitor.request.query_params
    kind, shop, entry = asked.get("kind", ""), asked.get("partner", ""), asked.get("entry", "")
    up_to = int(entry) if entry.isascii() and entry.isdigit() and len(entry) < 10 else None
    viewer = await visitor.ask(
        "History", first=ENTRIES_ON_A_PAGE, after=asked.get("after"), upTo=up_to, partner=shop or None,
        kinds=sorted(phrases.FILTERS[kind]) if kind in phrases.FILTERS else None,
    )  # fmt: skip
    return visitor.page(
        "history.html", viewer=viewer, kind=kind, partner=shop, is_first=not asked.get("after") and up_to is None
    )


async def offers(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/offers: what is on offer at a partner, and what each offer asks for."""
    asked = visitor.request.query_params
    shop = asked.get("partner", "")
    if not shop:
        partners = (await visitor.ask("Partners"))["own"]["partners"]
        if not partners:
            return visitor.page("offers.html", partners=[], offers=None, partner="", problem=problem)
        shop = partners[0]["code"]
    viewer = await visitor.ask("Offers", partner=shop, first=OFFERS_ON_A_PAGE, after=asked.get("after"))
    return visitor.page(
        "offers.html", status=status_of(problem), partners=viewer["own"]["partners"], offers=viewer["own"]["offers"],
        partner=shop, problem=problem,
    )  # fmt: skip


async def me(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/me: what the member decides, their cards, the language, and the ways out."""
    return visitor.page("me.html", status=status_of(problem), viewer=await visitor.ask("Me"), problem=problem)


async def consents(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/consents: what the member agreed to, by purpose and partner, and everything they ever answered."""
    own = (await visitor.ask("Consents"))["own"]
    return visitor.page("consents.html", status=status_of(problem), own=own, problem=problem, version=TEXT_VERSION)


async def leave(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/leave: asks whether the member really wants to be forgotten."""
    viewer = await visitor.ask("Points")
    return visitor.page("leave.html", status=status_of(problem), viewer=viewer, problem=problem)


async def record(visitor: Visitor) -> Response:
    """GET /app/record: everything that the programme keeps of the member, as a file."""
    told = await visitor.ask("Record")
    headers = {"Content-Disposition": 'attachment; filename="record.json"', "Cache-Control": "no-store"}
    return StreamingResponse(_record(visitor, told), headers=headers, media_type="application/json")


async def _record(visitor: Visitor, told: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """The file, piece by piece: it takes as long as the member's allowance lets it."""
    yield b'{"member": ' + orjson.dumps(told) + b', "entries": ['
    after, is_more, separator = None, True, b""
    while is_more:
        try:
            found = (await visitor.ask("RecordEntries", first=50, after=after))["own"]["entries"]
        except NotAnswered as no:
            if no.status != 429:
                raise
            await asyncio.sleep(_WAIT_SECONDS)
            continue
        for entry in found["nodes"]:
            yield separator + b"\n" + orjson.dumps(entry)
            separator = b","
        after, is_more = found["pageInfo"]["endCursor"], found["pageInfo"]["hasNextPage"]
    yield b"\n]}\n"


# --- What a member decides ----------------------------------------------------------------------------------


async def answer(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/answer: a till's question is answered."""
    given = {"approvalId": fields.get("approval", ""), "approved": fields.get("approved") == "yes"}
    return await decided(visitor, fields, "AnswerApproval", given, HOME, card)


async def lock(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/lock: spending is locked or unlocked."""
    return await decided(visitor, fields, "LockSpending", {"locked": fields.get("locked") == "yes"}, "/app/me", me)


async def cap(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/cap: the day's limit is set, or taken away where nothing was entered."""
    text = fields.get("points", "").strip()
    given = {"points": text or None}
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        return await me(visitor, "DAILY_CAP_INVALID")
    return await decided(visitor, fields, "SetDailyCap", given, "/app/me", me)


async def consent(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/consent: one consent is given or withdrawn."""
    given = {
        "purpose": fields.get("purpose", ""), "granted": fields.get("granted") == "yes",
        "textVersion": TEXT_VERSION, "partner": fields.get("partner") or None,
    }  # fmt: skip
    return await decided(visitor, fields, "SetConsent", given, "/app/consents", consents)


async def card_gone(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/card-gone: a card is reported gone."""
    return await decided(visitor, fields, "ReportCardLost", {"cardId": fields.get("card", "")}, "/app/me", me)


async def accept(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/accept: yes to an offer."""
    shop = fields.get("partner", "")
    given = {"partner": shop, "promotion": fields.get("promotion", "")}
    back = f"/app/offers?partner={quote(shop, safe='')}"
    return await decided(visitor, fields, "AcceptOffer", given, back, offers)


async def language(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/language: pages are in another language from now on, in this browser."""
    response = RedirectResponse(forms.local_path(fields.get("next"), HOME), 303)
    if fields.get("language") in LANGUAGES:
        is_https = jar_of(visitor.request, MEMBER).is_https
        response.set_cookie(
            views.LANGUAGE_COOKIE, fields["language"], max_age=_YEAR_SECONDS, path="/", secure=is_https,
            httponly=True, samesite="lax",
        )  # fmt: skip
    return response


async def forget(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/leave: the member is forgotten, and signed out."""
    response = await decided(visitor, fields, "ForgetMe", {}, "/sign-in", leave)
    if response.status_code == 303 and response.headers["location"] == "/sign-in":
        jar_of(visitor.request, MEMBER).drop_session(response)
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


async def sign_out(visitor: Visitor, _: Mapping[str, str]) -> Response:
    """POST /app/sign-out: the session is ended, and with it the card of this device."""
    async with visitor.request.app.state.services.database.transaction() as connection:
        await session.end(connection, visitor.found.session, now=people.now_of(visitor.request))
    return answers.signed_out(visitor.request, MEMBER)


# --- What lets the card work without a network --------------------------------------------------------------


async def offline(request: Request) -> Response:
    """GET /app/offline: the card's page with nothing of anybody on it, which a browser keeps."""
    asked = request.query_params.get("language")
    frame = await rendering.frame_of(request)
    if asked in LANGUAGES:
        frame = replace(frame, language=asked)
    return rendering.page(request, "member/offline.html", frame)


async def worker(request: Request) -> Response:
    """GET /app/worker.js: what answers for us where there is no network."""
    kept = ("basecoat.cdn.min.css", "app.css", "card.mjs", "once.mjs", "lean-qr.mjs", "icon.svg")
    return files.worker("card", HOME, kept)


async def manifest(request: Request) -> Response:
    """GET /app/manifest.webmanifest: what a phone asks for when the app is put on its first page."""
    frame = await rendering.frame_of(request)
    told = {
        "name": frame.programme, "short_name": frame.programme[:12], "id": HOME, "start_url": HOME, "scope": HOME,
        "display": "standalone", "background_color": "#faf7f2", "theme_color": "#7a2f10", "lang": frame.language,
        "icons": [
            {"src": files.path("icon.svg"), "sizes": "any", "type": "image/svg+xml", "purpose": "any"},
            {"src": files.path("icon-512.png"), "sizes": "512x512", "type": "image/png", "purpose": "any maskable"},
        ],
    }  # fmt: skip
    return Response(orjson.dumps(told), headers={"Cache-Control": "no-cache"}, media_type="application/manifest+json")


# --- Parts --------------------------------------------------------------------------------------------------


_SCREENS: tuple[tuple[str, Screen], ...] = (
    ("", card),
    ("/points", points),
    ("/history", history),
    ("/offers", offers),
    ("/me", me),
    ("/consents", consents),
    ("/record", record),
    ("/leave", leave),
)
_DEEDS: tuple[tuple[str, Screen], ...] = (
    ("/answer", answer),
    ("/lock", lock),
    ("/cap", cap),
    ("/consent", consent),
    ("/card-gone", card_gone),
    ("/accept", accept),
    ("/language", language),
    ("/leave", forget),
    ("/sign-out", sign_out),
)

ROUTES: list[BaseRoute] = [
    Route(f"{HOME}/offline", offline, methods=["GET"]),
    Route(f"{HOME}/worker.js", worker, methods=["GET"]),
    Route(f"{HOME}/manifest.webmanifest", manifest, methods=["GET"]),
    *visits.routes(_SCREENS, _DEEDS),
    *subscription.ROUTES,
    *gifts.ROUTES,
    *rewards.ROUTES,
    *wallet.ROUTES,
    *claims.ROUTES,
    *pairing.ROUTES,
    *places.ROUTES,
]
