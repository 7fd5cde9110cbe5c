"""PURE: a report as a workbook. Numbers are numbers, instants and dates are dates, totals are formulas over the cells.

The first sheet says what the report is; each table has a sheet with a frozen header and a filter. Text never becomes
a formula or a link, whatever it begins with.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

from kit.reports.tables import Cell, Column, Fact, Kind, LongTable, Report, Table, Term, in_language

MOST_ROWS = 1_000_000  # a sheet holds 1,048,576; what is longer goes on in the next
LONGEST_TEXT = 32_767
_WIDEST = 60
_ABOUT = {"en": "About", "ru": "О документе", "ro": "Despre"}
_ZONE = {"en": "Time zone", "ru": "Часовой пояс", "ro": "Fusul orar"}
_TOTAL = {"en": "Total", "ru": "Итого", "ro": "Total"}
_FORBIDDEN = str.maketrans(dict.fromkeys("[]:*?/\\", " "))


def render(report: Report, *, language: str) -> bytes:
    """The workbook's bytes; the same report gives the same bytes."""
    buffer = io.BytesIO()
    with _Book(buffer, report, language) as book:
        for table in report.tables:
            book.add(table)
    return buffer.getvalue()


async def write_long(report: Report, table: LongTable, path: str, *, language: str) -> int:
    """A report with one long table to a file, row by row in bounded memory; returns how many rows it has."""
    with _Book(path, report, language, is_streamed=True) as book:
        return await book.add_long(table)


class _Book:
    """A workbook being written."""

    def __init__(self, target: io.BytesIO | str, report: Report, language: str, *, is_streamed: bool = False) -> None:
        # Strings stay strings, and without shared strings a streamed sheet keeps nothing in memory.
        options: dict[str, Any] = {
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "constant_memory": is_streamed,
            "in_memory": not is_streamed,
        }
        self._book = xlsxwriter.Workbook(target, options)
        made_at = report.at.astimezone(report.zone).replace(tzinfo=None)
        self._book.set_properties({"title": in_language(report.title, language), "created": made_at})
        self._report = report
        self._language = language
        self._formats: dict[tuple[str, int, bool], Format] = {}
        self._head = self._book.add_format(
            {"bold": True, "bg_color": "#E8ECF1", "bottom": 1, "text_wrap": True, "valign": "top"}
        )
        self._title = self._book.add_format({"bold": True, "font_size": 14})
        self._label = self._book.add_format({"font_color": "#555555"})
        self._names: set[str] = set()

    def __enter__(self) -> _Book:
        self._about()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._book.close()

    def add(self, table: Table) -> None:
        """A sheet with a table and its totals."""
        sheet = self._sheet(table.title, table.columns)
        for number, row in enumerate(table.rows, start=1):
            self._write_row(sheet, number, row, table.columns)
        self._widen(sheet, table)
        totals = table.totals()
        if totals is not None:
            self._write_totals(sheet, len(table.rows), totals, table.columns)
        if table.rows:
            sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)

    async def add_long(self, table: LongTable) -> int:
        """Sheets of a million rows at most, with the totals of each under it."""
        count = 0
        sums: list[Any] = []
        sheet: Worksheet | None = None
        inside = MOST_ROWS
        async for row in _each(table.rows):
            if inside == MOST_ROWS:
                if sheet is not None:
                    self._write_totals(sheet, inside, sums, table.columns)
                sheet, inside = self._sheet(table.title, table.columns), 0
                sums = _nothing(table.columns)
            inside += 1
            count += 1
            assert sheet is not None
            self._write_row(sheet, inside, row, table.columns)
            for index, cell in enumerate(row):
                if sums[index] is not None and cell is not None:
                    sums[index] += cell
        if sheet is None:
            sheet, inside = self._sheet(table.title, table.columns), 0
            sums = _nothing(table.columns)
        if any(column.is_summed for column in table.columns):
            self._write_totals(sheet, inside, sums, table.columns)
        return count

    def _about(self) -> None:
        report = self._report
        sheet = self._book.add_worksheet(self._name(in_language(_ABOUT, self._language)))
        sheet.set_column(0, 0, 32)
        sheet.set_column(1, 1, 48)
        sheet.write_string(0, 0, f"{report.code}  {in_language(report.title, self._language)}", self._title)
        sheet.write_string(1, 0, report.subtitle)
        number = 3
        for fact in report.facts:
            sheet.write_string(number, 0, in_language(fact.title, self._language), self._label)
            self._write_fact(sheet, number, fact)
            number += 1
        sheet.write_string(number, 0, in_language(_ZONE, self._language), self._label)
        sheet.write_string(number, 1, report.time_zone)
        number += 1
        for note in report.notes:
            number += 1
            sheet.write_string(number, 0, in_language(note, self._language))

    def _write_fact(self, sheet: Worksheet, number: int, fact: Fact) -> None:
        self._write(sheet, number, 1, fact.value, Column(fact.key, fact.title, fact.kind, fact.places))

    def _sheet(self, title: Any, columns: Sequence[Column]) -> Worksheet:
        sheet = self._book.add_worksheet(self._name(in_language(title, self._language)))
        for index, column in enumerate(columns):
            sheet.set_column(index, index, _width(column, in_language(column.title, self._language)))
        for index, column in enumerate(columns):
            sheet.write_string(0, index, in_language(column.title, self._language), self._head)
        sheet.freeze_panes(1, 0)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0)
        return sheet

    def _widen(self, sheet: Worksheet, table: Table) -> None:
        for index, column in enumerate(table.columns):
            if column.kind is Kind.TEXT and table.rows:
                longest = max(len(self._said(row[index])) for row in table.rows[:1000])
                width = _width(column, in_language(column.title, self._language))
                sheet.set_column(index, index, min(max(width, longest + 2), _WIDEST))

    def _write_row(self, sheet: Worksheet, number: int, row: Sequence[Cell], columns: Sequence[Column]) -> None:
        for index, (cell, column) in enumerate(zip(row, columns, strict=True)):
            self._write(sheet, number, index, cell, column)

    def _write(self, sheet: Worksheet, number: int, index: int, cell: Cell, column: Column) -> None:
        style = self._format(column, is_bold=False)
        if cell is None:
            return
        if isinstance(cell, bool):
            sheet.write_boolean(number, index, cell)
        elif isinstance(cell, int | Decimal):
            # A sheet holds 15 digits of a number. What has more is written as text rather than wrongly.
            if len(Decimal(cell).as_tuple().digits) <= 15:
                sheet.write_number(number, index, cell, style)
            else:
                sheet.write_string(number, index, f"{cell:f}" if isinstance(cell, Decimal) else str(cell))
        elif isinstance(cell, datetime):
            sheet.write_datetime(number, index, cell.astimezone(self._report.zone).replace(tzinfo=None), style)
        elif isinstance(cell, date):
            sheet.write_datetime(number, index, cell, style)
        else:
            sheet.write_string(number, index, self._said(cell)[:LONGEST_TEXT], style)

    def _said(self, cell: Cell) -> str:
        return in_language(cell.words, self._language) if isinstance(cell, Term) else str(cell or "")

    def _write_totals(self, sheet: Worksheet, rows: int, totals: Sequence[Cell], columns: Sequence[Column]) -> None:
        number = rows + 1
        sheet.write_string(number, 0, in_language(_TOTAL, self._language), self._format(Column("", {}), is_bold=True))
        for index, (total, column) in enumerate(zip(totals, columns, strict=True)):
            if column.is_summed:
                name = xl_col_to_name(index)
                formula = f"=SUM({name}2:{name}{max(rows + 1, 2)})"
                sheet.write_formula(number, index, formula, self._format(column, is_bold=True), total)

    def _format(self, column: Column, *, is_bold: bool) -> Format:
        key = (column.kind.value, column.places, is_bold)
        if key not in self._formats:
            style: dict[str, Any] = {"valign": "top"}
            if pattern := _pattern(column):
                style["num_format"] = pattern
            if is_bold:
                style |= {"bold": True, "top": 1}
            self._formats[key] = self._book.add_format(style)
        return self._formats[key]

    def _name(self, title: str) -> str:
        """A sheet's name: 31 characters at most, no two alike."""
        base = title.translate(_FORBIDDEN).strip("' ")[:28] or "Sheet"
        name, number = base, 1
        while name.lower() in self._names:
            number += 1
            name = f"{base[: 28 - len(str(number))]} {number}"
        self._names.add(name.lower())
        return name


def _nothing(columns: Sequence[Column]) -> list[Any]:
    return [0 if column.is_summed else None for column in columns]


async def _each(rows: AsyncIterable[Sequence[Cell]]) -> AsyncIterable[Sequence[Cell]]:
    async for row in rows:
        yield row


def _pattern(column: Column) -> str:
    decimals = "." + "0" * column.places if column.places else ""
    return {
        Kind.COUNT: "#,##0",
        Kind.AMOUNT: f"#,##0{decimals};[Red]-#,##0{decimals}",
        Kind.EXACT: "#,##0.000000;[Red]-#,##0.000000",
        Kind.PERCENT: f"0{decimals}%",
        Kind.DATE: "yyyy-mm-dd",
        Kind.INSTANT: "yyyy-mm-dd hh:mm:ss",
    }.get(column.kind, "")


def _width(column: Column, title: str) -> int:
    least = {Kind.INSTANT: 20, Kind.DATE: 12, Kind.COUNT: 12, Kind.AMOUNT: 14, Kind.EXACT: 18}.get(column.kind, 10)
    return min(max(least, len(title) + 2), _WIDEST)
