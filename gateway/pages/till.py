"""The till page at /portal/till, for merchants without an integration: one field, a keyboard, and a cashier's rights.

The page itself is drawn once; what is sold goes from its module to the gateway as named documents, each sale under a
key that was made for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.context import Services
from gateway.pages import documents, files, phrases, rendering
from gateway.pages.catalogues import marked as _
from gateway.scopes import POINTS_ACCRUE
from gateway.sessions import people, viewers
from gateway.sessions.asking import NotAnswered
from members.messages import COLLEAGUE

HOME = "/portal/till"
_OF_TILL = (
    "TillMember", "TillOffers", "TillQuote", "TillPurchase", "TillHold", "TillRelease", "TillCancel", "TillReturnQuote",
    "TillReturn", "TillPairing", "TillPaired",
)  # fmt: skip

_EYE = "camera=(self), geolocation=(), microphone=()"
"""The till alone may look through the camera; every other page may not."""

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "member": _("Card, number or phone"),
        "amount": _("Amount of the bill"),
        "points": _("Points to spend; Enter for none"),
        "proof": _("Code on the member's phone, or PIN"),
        "done": _("Enter for the next sale"),
        "receipt": _("Number of the receipt to return"),
        "day": _("Day of the receipt; Enter for today"),
        "notDay": _("Enter a day as 24.12.2026, or nothing for today."),
        "camera": _("Hold the code before the camera. F9 ends it."),
        "noCamera": _("This device has no camera that the page may use. Type the number of the card."),
        "nothingKept": _("The till is not on this device yet. Open this page once with a network."),
        "part": _("Amount to return; Enter for all of it"),
        "giveBack": _("Enter to return"),
        "pairing": _("Code for the member's phone"),
        "pairingOver": _("The code is over. F7 shows a new one."),
        "unknown": _("Nobody is found by this. Scan again, or type the number of the card."),
        "notAmount": _("Enter an amount as on a receipt, for instance 12.50."),
        "notPoints": _("Enter whole points, at most {most}."),
        "away": _("No network: the sale earns only. Scan or type the number of the card."),
        "kept": _("Kept. It is sent when there is a network again."),
        "codeOffline": _("Without a network a code is no good. Type the number of the card."),
        "failed": _("The gateway did not answer. Press Enter to try again: nothing is done twice."),
        "signIn": _("Your session has ended. Sign in again: what waits is kept."),
        "refused": _("A sale that waited was refused:"),
        "earns": _("earns"),
        "most": _("may spend"),
        "available": _("available"),
        "after": _("left afterwards"),
        "held": _("set aside for this sale"),
        "released": _("No longer set aside"),
        "refund": _("hand back"),
        "deduct": _("keep back for points that are gone"),
        "takeBack": _("points taken back"),
        "pointsBack": _("points given back"),
        "nothingToUndo": _("There is no sale to undo."),
        "receiptNumber": _("receipt"),
    }
)


async def page(request: Request) -> Response:
    """GET /portal/till: the till, for a cashier who is signed in."""
    found = await people.signed_in_colleague(request)
    if found is None:
        return people.ask_to_sign_in(request, COLLEAGUE)
    services: Services = request.app.state.services
    frame = await rendering.frame_of(request)
    viewer = await viewers.viewer_of(request, found)
    if POINTS_ACCRUE not in viewer.scopes:
        return rendering.page(
            request, "problem.html", frame, status=403, sentence=phrases.NO_CASHIER, back="/portal/security"
        )
    try:
        told = await documents.ask(request, viewer, "TillPlaces", language=frame.language)
    except NotAnswered as no:
        sentence = phrases.OTHER_PROBLEM
        return rendering.page(request, "problem.html", frame, status=no.status, sentence=sentence, back=HOME)
    directory = await services.directory.get()
    at = await services.now()
    terms = directory.terms_at(found.partner_id, at)
    texts = {name: documents.documents()[name] for name in _OF_TILL}
    shown = rendering.page(
        request, "till/till.html", frame, told=told, csrf=found.csrf, scripts=texts, words=WORDS, at=at.isoformat(),
        is_offline=False,
        currency=terms.currency if terms else directory.programme.base_currency,
        places=[
            {"outlet": outlet["code"], "terminal": terminal, "name": outlet["name"]}
            for outlet in told["outlets"]
            for terminal in outlet["terminals"]
        ],
    )  # fmt: skip
    shown.headers["Permissions-Policy"] = _EYE
    return shown


async def offline(request: Request) -> Response:
    """GET /portal/till/offline: the till without any data, which a browser keeps and fills with what it kept."""
    frame = await rendering.frame_of(request)
    return rendering.page(
        request, "till/till.html", frame, told=None, csrf="", scripts={}, words=WORDS, at="", currency="", places=[],
        is_offline=True,
    )  # fmt: skip


async def worker(_request: Request) -> Response:
    """GET /portal/till/worker.js: what answers for the till where there is no network."""
    kept = ("basecoat.cdn.min.css", "app.css", "till.css", "till.mjs", "once.mjs", "icon.svg")
    return files.worker("till", HOME, kept)


ROUTES: list[BaseRoute] = [
    Route(HOME, page, methods=["GET"]),
    Route(f"{HOME}/offline", offline, methods=["GET"]),
    Route(f"{HOME}/worker.js", worker, methods=["GET"]),
]
