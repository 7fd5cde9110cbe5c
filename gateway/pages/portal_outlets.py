"""A partner's places of sale and their tills: found by name or by place, added, placed, closed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import portal_frame
from gateway.pages.portal_frame import HOME, Office
from gateway.pages.workplace import Problem, decided

OUTLETS = f"{HOME}/outlets"
ON_A_PAGE = 20
_DIGITS = re.compile(r"(\d+)", re.ASCII)


async def outlets(office: Office, problem: Problem | None = None, text: str | None = None) -> Response:
    """GET /portal/outlets?text=&page=: places of sale and their tills; of a text those that it names."""
    text = office.asked("text", 64).strip() if text is None else text
    all_of_them = (await office.ask("PortalOutlets"))["ownOutlets"]
    found = found_by(all_of_them, text)
    page = max(1, int(asked)) if (asked := office.asked("page", 4)).isdecimal() and asked.isascii() else 1
    begin = (page - 1) * ON_A_PAGE
    return office.page(
        "outlets.html", problem=problem, outlets=found[begin : begin + ON_A_PAGE], text=text, count=len(found),
        first=begin + 1, is_many=len(all_of_them) > ON_A_PAGE,
        before=_place(text, page - 1) if page > 1 else None,
        further=_place(text, page + 1) if begin + ON_A_PAGE < len(found) else None,
    )  # fmt: skip


def found_by(all_of_them: Sequence[Mapping[str, Any]], text: str) -> list[Mapping[str, Any]]:
    """PURE: those whose code, name, street or town has a text, by code, its numbers by their size."""
    wanted = text.casefold()
    return sorted(
        (
            each
            for each in all_of_them
            if any(wanted in (each[name] or "").casefold() for name in ("code", "name", "street", "town"))
        ),
        key=lambda each: [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
                          for part in _DIGITS.split(each["code"]) if part],
    )  # fmt: skip


async def add_outlet(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/outlets/add: an outlet is added."""
    given = {"code": fields.get("code", "").strip(), "name": fields.get("name", "").strip()}
    return await _done(office, fields, "AddOutlet", given, given["code"] if fields.get("many") else "")


async def place_outlet(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/outlets/place: where an outlet is, for members who look for one."""
    given: dict[str, str | None] = {name: fields.get(name, "").strip() or None for name in ("town", "street")}
    for name in ("latitude", "longitude"):
        given[name] = fields.get(name, "").strip().replace(",", ".") or None
    given["outlet"] = fields.get("outlet", "")
    return await _done(office, fields, "SetOutletPlace", given, fields.get("text", ""))


async def add_terminal(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/outlets/till: a till is added."""
    given = {"outlet": fields.get("outlet", ""), "code": fields.get("code", "").strip()}
    return await _done(office, fields, "AddTerminal", given, fields.get("text", ""))


async def close_terminal(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/outlets/close: a till is refused from now on."""
    given = {"outlet": fields.get("outlet", ""), "terminal": fields.get("terminal", "")}
    return await _done(office, fields, "CloseTerminal", given, fields.get("text", ""))


async def _done(office: Office, fields: Mapping[str, str], name: str, given: Mapping[str, Any], text: str) -> Response:
    async def again(at: Office, problem: Problem) -> Response:
        return await outlets(at, problem, fields.get("text", "")[:64])

    return await decided(office, fields, name, given, onward=_place(text[:64]), again=again)


def _place(text: str, page: int = 1) -> str:
    asked = {**({"text": text} if text else {}), **({"page": str(page)} if page > 1 else {})}
    return f"{OUTLETS}?{urlencode(asked)}" if asked else OUTLETS


ROUTES: list[BaseRoute] = portal_frame.routes(
    (("/outlets", outlets),),
    (
        ("/outlets/add", add_outlet),
        ("/outlets/place", place_outlet),
        ("/outlets/till", add_terminal),
        ("/outlets/close", close_terminal),
    ),
)
