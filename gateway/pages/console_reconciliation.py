"""Files of partners at the console, and the list of what does not balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, desk_phrases, listings
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_MAKE
from gateway.sessions.uploads import Upload

FILES, TROUBLE = "/console/files", "/console/trouble"
ON_A_PAGE = 25
LARGEST_FILE_BYTES = 2 * 1024 * 1024

LIST = Listing(
    "partner-files", _("Files of partners"), "ConsoleFiles", "partnerFiles", FILES,
    (
        Field("partner", _("Partner"), path="partnerName"),
        Field("sequence", "№", "count"),
        Field("state", _("State"), "state"),
        Field("why", _("Why"), path="message"),
        Field("day", _("The partner's day"), "date", path="businessDate"),
        Field("records", _("Records"), "count"),
        Field("refused", _("Not taken"), "count"),
        Field("points", _("Points"), "count"),
        Field("sent", _("Sent"), "instant", path="sentAt"),
    ),
)  # fmt: skip
TROUBLES = Listing(
    "trouble", _("Trouble"), "ConsoleTrouble", "settlementTrouble", TROUBLE,
    (
        Field("code", _("What"), "code", words={code: words[0] for code, words in desk_phrases.TROUBLE.items()}),
        Field("subject", _("About")),
        Field("detail", _("Why")),
        Field("since", _("Since"), "date"),
        Field("run", _("Run"), "count"),
    ),
)  # fmt: skip


async def files(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/files: what partners sent, and what became of it."""
    told = await LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/files.html", problem=problem, listing=LIST, files=told[LIST.root],
        partners=told["settlementPartners"], can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def send(at: Desk, fields: Mapping[str, str], file: Upload | None) -> Response:
    """POST /console/files: a file that a partner gave somebody of finance is taken for it."""
    try:
        written = "" if file is None else file.content.decode()
    except UnicodeDecodeError:
        written = ""
    if not written:
        return await files(at, Problem("PARTNER_FILE_INVALID"))
    kind = "JSONL" if file is not None and file.name.lower().endswith((".jsonl", ".ndjson")) else "CSV"
    given = {"partner": fields.get("partner", ""), "format": kind, "content": written}
    return await decided(at, fields, "SendPartnerFile", given, onward=FILES, again=files)


async def compare(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/files/compare: a file is compared with our receipts, once."""
    return await decided(
        at, fields, "CompareFile", {"fileId": fields.get("file", "")}, onward="/console/breaks", again=files
    )  # fmt: skip


async def look(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/files/look: what was missing when files were compared is looked for again."""
    return await decided(at, fields, "LookForMissing", {}, onward="/console/breaks", again=files)


async def trouble(at: Desk) -> Response:
    """GET /console/trouble: everything that does not balance or is late, the gravest first."""
    return at.page("console/trouble.html", found=(await at.ask("ConsoleTrouble"))["settlementTrouble"])


async def trouble_file(at: Desk) -> Response:
    """GET /console/trouble/file: the same as a file."""
    found: list[dict[str, Any]] = (await at.ask("ConsoleTrouble"))["settlementTrouble"]
    return await listings.file_of(TROUBLES, at, found)


ROUTES: list[BaseRoute] = [
    *listings.routes((LIST,)),
    *desk.routes(
        ((FILES, files), (TROUBLE, trouble), (TROUBLE + "/file", trouble_file)),
        ((FILES + "/compare", compare), (FILES + "/look", look)),
        ((FILES, send, LARGEST_FILE_BYTES),),
    ),
]
