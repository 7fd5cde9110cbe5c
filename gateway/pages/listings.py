"""Lists of the console: what each has in its columns, where it comes from, and the same list as a file.

A list is a connection of a named document. Its page shows some of it, its file the first thousand, asked with the same
rights and filters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.context import LANGUAGES
from gateway.pages import desk, desk_phrases
from gateway.pages.catalogues import marked as _
from gateway.pages.catalogues import translations
from gateway.pages.desk import Desk
from kit.reports import csv_files, workbooks
from kit.reports.tables import Cell, Column, Kind, Report, Table, Term, Words
from settlement.reports import catalogue

MOST_ROWS = 1_000
"""What a file has at most. Lists that grow beyond have a report, which has no end."""
_PAGE = 100
FORMATS = ("xlsx", "csv")
_CUT = _("The first %(most)s only: narrow the list, or take its report.")

Told = Mapping[str, Any]
Asked = Callable[[Desk], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its name for machines, its words, what it holds, and where in a node that stands.

    kind is text, count, exact, date, instant; state, for a code that the pages have words for; money, which is two
    columns of a file; code, for words out of `words`. link is where it leads, with the node's names in braces.
    """

    key: str
    title: str
    kind: str = "text"
    path: str = ""
    link: str = ""
    words: Mapping[str, str] | None = None

    def of(self, node: Told) -> Any:
        """What stands in it; None where nothing does."""
        found: Any = node
        for name in (self.path or self.key).split("."):
            found = None if found is None else found[name]
        return found

    def href(self, node: Told) -> str:
        """Where it leads."""
        return self.link.format(**node)

    def word(self, node: Told) -> str:
        """The words for its code; the code where there are none."""
        code = self.of(node)
        return (self.words or {}).get(code, code)

    @property
    def is_number(self) -> bool:
        """Whether it stands to the right."""
        return self.kind in ("count", "exact", "money")


def _nothing(_: Desk) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: its name, title, document, the field that is its connection, and where its page is. asked is what the
    page's address narrows it by, as the document takes it."""

    key: str
    title: str
    document: str
    root: str
    path: str
    fields: tuple[Field, ...]
    asked: Asked = _nothing

    def of(self, told: Told) -> Any:
        """Its connection in what its document told; None where that is of something that there is not."""
        found: Any = told
        for name in self.root.split("."):
            found = None if found is None else found[name]
        return found

    async def page(self, at: Desk, on_a_page: int, **more: Any) -> dict[str, Any]:
        """What a page shows of it: all that the document tells."""
        return await at.ask(
            self.document, first=on_a_page, after=at.asked("after") or None, **self.asked(at), **more
        )  # fmt: skip


def routes(listings: Iterable[Listing]) -> list[BaseRoute]:
    """The way to each list's file: its page's path and /file, with the page's filters."""
    return desk.routes([(f"{each.path}/file", partial(_file, each)) for each in listings])


async def _file(listing: Listing, at: Desk) -> Response:
    if at.asked("format") not in FORMATS:
        return at.missing(at.home)
    nodes, is_cut = await _nodes(listing, at)
    return await file_of(listing, at, nodes, is_cut=is_cut)


async def file_of(listing: Listing, at: Desk, nodes: Sequence[Told], *, is_cut: bool = False) -> Response:
    """These nodes as the file of a list, in the format that the address asks for."""
    format = at.asked("format")
    if format not in FORMATS:
        return at.missing(at.home)
    table = Table(
        listing.key, in_all(listing.title), columns_of(listing), [row_of(listing, node) for node in nodes],
        note=in_all(_CUT, most=str(MOST_ROWS)) if is_cut else None,
    )  # fmt: skip
    now = await at.request.app.state.services.now()
    report = Report(listing.key, table.title, at.frame.programme, now, str(at.frame.zone), (), (table,))
    return await as_file(at, report, format)


async def as_file(at: Desk, report: Report, format: str) -> Response:
    """A report as a file that a browser keeps."""
    if format == "csv":
        content = csv_files.render(report.tables[0]).encode()
    else:
        content = await asyncio.to_thread(workbooks.render, report, language=at.frame.language)
    name = f"{report.code}.{format}"
    headers = {"Cache-Control": "private, no-store", "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type=catalogue.FORMATS[format])


async def _nodes(listing: Listing, at: Desk) -> tuple[list[Told], bool]:
    """The first nodes of a list, and whether there are more."""
    found: list[Told] = []
    after: str | None = None
    while len(found) < MOST_ROWS:
        told = listing.of(await at.ask(listing.document, first=_PAGE, after=after, **listing.asked(at)))
        if told is None:
            return [], False
        found += told["nodes"]
        if not told["pageInfo"]["hasNextPage"]:
            return found, False
        after = told["pageInfo"]["endCursor"]
    return found[:MOST_ROWS], True


# --- As files have them -------------------------------------------------------------------------------------

_KINDS = {
    "count": Kind.COUNT, "exact": Kind.EXACT, "date": Kind.DATE, "instant": Kind.INSTANT, "money": Kind.AMOUNT,
}  # fmt: skip


def columns_of(listing: Listing) -> tuple[Column, ...]:
    """The columns of its file; money has one for the currency too."""
    made = []
    for each in listing.fields:
        places = 6 if each.kind == "exact" else 2
        made.append(Column(each.key, in_all(each.title), _KINDS.get(each.kind, Kind.TEXT), places=places))
        if each.kind == "money":
            made.append(Column(f"{each.key}_currency", in_all(_("Currency"))))
    return tuple(made)


def row_of(listing: Listing, node: Told) -> Sequence[Cell]:
    """A row of its file."""
    row: list[Cell] = []
    for each in listing.fields:
        found = each.of(node)
        if each.kind == "money":
            row += [None, None] if found is None else [Decimal(found["amount"]), found["currencyCode"]]
        else:
            row.append(None if found is None else _cell(each, found))
    return row


def _cell(its: Field, found: Any) -> Cell:
    if its.kind == "count":
        return int(found)
    if its.kind == "exact":
        return Decimal(found)
    if its.kind == "date":
        return date.fromisoformat(found[:10])
    if its.kind == "instant":
        return datetime.fromisoformat(found)
    if its.kind == "state" and found in desk_phrases.STATES:
        return Term(found, in_all(desk_phrases.STATES[found][0]))
    if its.words is not None and found in its.words:
        return Term(found, in_all(its.words[found]))
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def in_all(text: str, **named: str) -> Words:
    """A marked text in every language."""
    found = {each: translations(each).gettext(text) for each in LANGUAGES}
    return {language: said % named for language, said in found.items()} if named else found
