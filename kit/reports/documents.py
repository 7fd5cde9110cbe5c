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
_DAY = {"en": "yyyy-MM-dd", "ru": "dd.MM.yyyy", "ro": "dd.MM.yyyy"}
_WORDS = {
    "en": {"page": "Page", "of": "of", "total": "Total", "empty": "Nothing in this period."},
    "ru": {"page": "Страница", "of": "из", "total": "Итого", "empty": "За этот период ничего нет."},
    "ro": {"page": "Pagina", "of": "din", "total": "Total", "empty": "Nimic în această perioadă."},
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
        "tables": [_table(table, report, language) for table in report.tables],
        "notes": [in_language(note, language) for note in report.notes],
        "hash": report.content_hash(),
        "wide": any(len(table.columns) > 7 for table in report.tables),
    }


def _table(table: Table, report: Report, language: str) -> dict[str, Any]:
    def cells(row: Sequence[Cell]) -> list[str]:
        return [shown(c, k.kind, k.places, report, language) for c, k in zip(row, table.columns, strict=True)]

    totals = table.totals()
    return {
        "title": in_language(table.title, language),
        "columns": [
            {"title": in_language(column.title, language), "right": column.kind.is_number, "width": column.width}
            for column in table.columns
        ],
        "rows": [cells(row) for row in table.rows],
        "totals": cells(totals) if totals is not None else None,
        "note": in_language(table.note, language) if table.note else None,
    }


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
