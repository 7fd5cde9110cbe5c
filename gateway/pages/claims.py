"""The member app at /app/claims: points that are missing, where a claim stands, and a refusal that is contested."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import rendering, visits
from gateway.pages.catalogues import marked as _
from gateway.pages.visits import Screen, Visitor, decided, status_of

HERE = "/app/claims"
CLAIMS_ON_A_PAGE = 10
_FIELDS = ("partner", "businessDate", "reference", "total", "place")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KINDS = frozenset({"image/jpeg", "image/png", "image/webp", "application/pdf"})

STATES: Mapping[str, str] = MappingProxyType(
    {
        "FILED": _("the partner is asked"),
        "ACCEPTED": _("the partner agrees; points are on the way"),
        "REFUSED": _("the partner refuses"),
        "CONTESTED": _("the programme decides"),
        "UPHELD": _("the programme agrees; points are on the way"),
        "DISMISSED": _("the programme agrees with the partner"),
        "CREDITED": _("points are given"),
        "FOUND": _("the receipt came by itself"),
        "REPLACED": _("another claim took its place"),
        "CLOSED": _("closed"),
    }
)
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "P01": _("There is no such purchase."),
        "P02": _("The receipt has another day, place or sum."),
        "P03": _("The points went to another card."),
        "P04": _("The purchase was taken back or cancelled."),
        "P05": _("Nothing of the purchase earns points."),
        "P06": _("The partner wants to look at it with the programme."),
    }
)
CONTESTS: Mapping[str, str] = MappingProxyType(
    {
        "C01": _("I have the receipt."),
        "C02": _("What I told is right."),
        "C03": _("I showed my card."),
    }
)


async def claims(
    visitor: Visitor, problem: str | None = None, given: Mapping[str, str] = MappingProxyType({})
) -> Response:
    """GET /app/claims: claims with their states, and the form for a new one."""
    asked = visitor.request.query_params
    own = (await visitor.ask("Claims", first=CLAIMS_ON_A_PAGE, after=asked.get("after")))["own"]
    return visitor.page(
        "claims.html", status=status_of(problem), own=own, states=STATES, refusals=REFUSALS, contests=CONTESTS,
        problem=problem, given={name: given.get(name, "") for name in _FIELDS},
    )  # fmt: skip


async def claim(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/claims: a purchase whose points are missing is claimed."""

    async def again(back: Visitor, problem: str | None = None) -> Response:
        return await claims(back, problem, fields)

    given: dict[str, Any] = {name: fields.get(name, "").strip() for name in _FIELDS}
    given["total"] = rendering.amount(given["total"])
    return await decided(visitor, fields, "ClaimMissingPoints", given | _evidence(fields), HERE, again)


async def contest(visitor: Visitor, fields: Mapping[str, str]) -> Response:
    """POST /app/claims/contest: the operator is to decide on a refusal."""
    given = {"claimId": fields.get("claim", ""), "reason": fields.get("reason", "")}
    return await decided(visitor, fields, "ContestClaim", given | _evidence(fields), HERE, claims)


def _evidence(fields: Mapping[str, str]) -> dict[str, Any]:
    """What the page's script says of the chosen picture, which stays with the member until somebody asks for it."""
    digest, kind, size = (fields.get(f"evidence_{part}", "") for part in ("sha256", "type", "size"))
    if not _SHA256.fullmatch(digest) or kind not in _KINDS or not (size.isascii() and size.isdigit()):
        return {}
    return {"evidence": [{"sha256": digest, "mediaType": kind, "sizeBytes": int(size[:9])}]}


_SCREENS: tuple[tuple[str, Screen], ...] = (("/claims", claims),)
_DEEDS: tuple[tuple[str, Screen], ...] = (("/claims", claim), ("/claims/contest", contest))

ROUTES: list[BaseRoute] = visits.routes(_SCREENS, _DEEDS)
