"""The member app at /app/wallet: a card for the wallet of a phone, which says when what it shows was so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import files, rendering, visits
from gateway.pages.catalogues import marked as _
from gateway.pages.catalogues import translations
from gateway.pages.visits import Screen, Visitor, done, status_of
from gateway.sessions import people
from gateway.wallet import apple
from gateway.wallet.offer import APPLE, GOOGLE, wallets
from gateway.wallet.passes import Face

HERE = "/app/wallet"
NOTE = _(
    "The balance is that of the moment named. Points are earned with this number; to spend them the app is needed."
)
_LABELS = (_("Points"), _("Card number"), _("Balance of"))


async def wallet(visitor: Visitor, problem: str | None = None) -> Response:
    """GET /app/wallet: the wallets that passes are made for here."""
    viewer = await visitor.ask("Wallets")
    return visitor.page(
        "wallet.html", status=status_of(problem), viewer=viewer, problem=problem, note=NOTE, link=None, is_known=False
    )


async def put(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/wallet: a card is issued, and put on a pass: a file for Apple's wallet, a link for Google's."""
    chosen = fields.get("wallet", "")
    told = await done(visitor, fields, "PutCardInWallet", {"wallet": chosen}, HERE, wallet)
    if isinstance(told, Response):
        return told
    viewer = await visitor.ask("Wallets")
    services = visitor.request.app.state.services
    makers = wallets(services.settings)
    if told["card"] is None:
        return visitor.page("wallet.html", viewer=viewer, problem=None, note=NOTE, link=None, is_known=True)
    face = _face(visitor, told["card"], viewer["balance"])
    if chosen == APPLE and makers.apple is not None:
        headers = {"Content-Disposition": 'attachment; filename="card.pkpass"', "Cache-Control": "no-store"}
        return Response(makers.apple.pack(face), headers=headers, media_type=apple.MEDIA_TYPE)
    assert chosen == GOOGLE
    assert makers.google is not None
    site = services.settings.issuer.rstrip("/")
    link = makers.google.link(
        face, site=site, icon=site + files.path("icon-512.png"), now=people.now_of(visitor.request)
    )
    return visitor.page("wallet.html", viewer=viewer, problem=None, note=NOTE, link=link, is_known=False)


def _face(visitor: Visitor, card: Mapping[str, Any], balance: Mapping[str, Any]) -> Face:
    say = translations(visitor.frame.language).gettext
    points, number, as_of = (say(label) for label in _LABELS)
    return Face(
        serial=str(card["id"]), number=str(card["number"]), programme=visitor.frame.programme,
        points=int(balance["available"]), points_label=points, number_label=number, as_of_label=as_of,
        as_of=rendering.formats(visitor.frame)["moment"](balance["asOf"]), note=say(NOTE),
    )  # fmt: skip


_SCREENS: tuple[tuple[str, Screen], ...] = (("/wallet", wallet),)
_DEEDS: tuple[tuple[str, Screen], ...] = (("/wallet", put),)

ROUTES: list[BaseRoute] = visits.routes(_SCREENS, _DEEDS)
