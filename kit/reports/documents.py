"""PURE: a report as a PDF that archives keep (PDF/A-2a) and that screen readers read (PDF/UA-1).

The template takes data only as JSON, so nothing that a partner typed is ever read as markup. No font of the machine
and no package of the network is used: the same report gives the same bytes anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import typst
from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal, format_percent

from kit.errors import Rejection
from kit.reports.tables import Cell, Kind, Report, Table, Term, in_language

MOST_ROWS = 2_000  # of a report on paper; what is longer is for machines
_TEMPLATE = Path(__file__).with_name("report.typ")
_STANDARDS: list[Literal["a-2a", "ua-1"]] = ["a-2a", "ua-1"]
_CHARACTERS = {False: 105, True: 175}  # that a line has room for, upright and lying
_BETWEEN = 2
_WORDS_ON_A_LINE = 18
_DAY = {"en": "yyyy-MM-dd", "ru": "dd.MM.yyyy", "ro": "dd.MM.yyyy"}
_WORDS = {
    "en": {
        "page": "Page",
        "of": "of",
        "total": "Total",
        "empty": "Nothing in this period.",
        "zone": "Times are those of",
    },
    "ru": {
        "page": "Страница",
        "of": "из",
        "total": "Итого",
        "empty": "За этот период ничего нет.",
        "zone": "Время указано по зоне",
    },
    "ro": {
        "page": "Pagina",
        "of": "din",
        "total": "Total",
        "empty": "Nimic în această perioadă.",
        "zone": "Orele sunt cele din",
    },
}


class ReportTooLong(Rejection):
    """The report has more rows than a PDF may; take the CSV file or the workbook."""

    code = "REPORT_TOO_LONG"
    retryable = False


def render(report: Report, *, language: str) -> bytes:
    """The PDF's bytes. Takes a tenth of a second and more: call it in a thread. Rejects REPORT_TOO_LONG."""
    rows = sum(len(table.rows) for table in report.tables)
    if rows > MOST_ROWS:
        raise ReportTooLong(f"{rows:,} rows are too many for a PDF; take the CSV file or the workbook")
    compiler = typst.Compiler(
        _TEMPLATE.read_bytes(), font_paths=_fonts(), sys_inputs={"report": json.dumps(_data(report, language))}
    )
    made = compiler.compile(format="pdf", pdf_standards=list(_STANDARDS), timestamp=report.at.astimezone(UTC))
    return cast(bytes, made)


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False)


def _data(report: Report, language: str) -> dict[str, Any]:
    is_wide = any(len(table.columns) > 7 for table in report.tables)
    return {
        "language": language,
        "words": _WORDS.get(language, _WORDS["en"]),
        "code": report.code,
        "title": in_language(report.title, language),
        "subtitle": report.subtitle,
        "facts": [
            [in_language(fact.title, language), shown(fact.value, fact.kind, fact.places, report, language)]
            for fact in report.facts
        ],
        "tables": [_table(table, report, language, _CHARACTERS[is_wide]) for table in report.tables],
        "notes": [in_language(note, language) for note in report.notes],
        "hash": report.content_hash(),
        "zone": report.time_zone,
        "wide": is_wide,
    }


def _table(table: Table, report: Report, language: str, room: int) -> dict[str, Any]:
    def cells(row: Sequence[Cell]) -> list[str]:
        return [shown(c, k.kind, k.places, report, language) for c, k in zip(row, table.columns, strict=True)]

    totals = table.totals()
    titles = [in_language(column.title, language) for column in table.columns]
    rows, sums = [cells(row) for row in table.rows], cells(totals) if totals is not None else None
    written = [[title, *(row[n] for row in rows), *([sums[n]] if sums else [])] for n, title in enumerate(titles)]
    columns = [
        {
            "title": titles[number], "right": column.kind.is_number, "width": column.width,
            "weight": _weight(written[number], is_number=column.kind.is_number),
        }
        for number, column in enumerate(table.columns)
    ]  # fmt: skip
    needed = sum(
        max(map(len, texts)) if column["right"] else _longest_word(texts)
        for column, texts in zip(columns, written, strict=True)
    )
    return {
        "title": in_language(table.title, language),
        "columns": columns,
        "is_tight": needed + _BETWEEN * len(columns) > room,
        "rows": rows,
        "totals": sums,
        "note": in_language(table.note, language) if table.note else None,
    }


def _weight(texts: Sequence[str], *, is_number: bool) -> int:
    """How much of a tight line a column gets: a figure is never broken, a title and words are, between words."""
    if is_number:
        return max(_longest_word(texts[:1]), *(len(text) for text in texts[1:]), 1)
    return max(_longest_word(texts), min(max(map(len, texts)), _WORDS_ON_A_LINE))


def _longest_word(texts: Sequence[str]) -> int:
    return max((len(word) for text in texts for word in text.split()), default=1)


def shown(cell: Cell, kind: Kind, places: int, report: Report, language: str) -> str:
    """A cell as people of a language read it, instants in the report's time zone."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return {"en": ("no", "yes"), "ru": ("нет", "да"), "ro": ("nu", "da")}.get(language, ("no", "yes"))[cell]
    if isinstance(cell, int | Decimal):
        return _number(cell, kind, places, language)
    if isinstance(cell, datetime):
        local = cell.astimezone(report.zone)
        return str(format_datetime(local, f"{_DAY.get(language, _DAY['en'])} HH:mm:ss", locale=language))
    if isinstance(cell, Term):
        return in_language(cell.words, language)
    if isinstance(cell, date):
        return str(format_date(cell, _DAY.get(language, _DAY["en"]), locale=language))
    return str(cell)


def _number(cell: int | Decimal, kind: Kind, places: int, language: str) -> str:
    if kind is Kind.COUNT:
        return str(format_decimal(cell, locale=language))
    if kind is Kind.PERCENT:
        return str(format_percent(cell, "#,##0." + "0" * places + "%" if places else "#,##0%", locale=language))
    decimals = 6 if kind is Kind.EXACT else places
    pattern = "#,##0." + "0" * decimals if decimals else "#,##0"
    return str(format_decimal(cell, pattern, locale=language)).replace("-", "\u2212")
