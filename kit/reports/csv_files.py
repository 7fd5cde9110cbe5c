"""PURE: tables as CSV for machines: RFC 4180, UTF-8 without mark, LF, dots, ISO 8601, empty for nothing.

The header names columns by their keys, in no language, so that the file of a table is the same bytes for everybody.
Text that a spreadsheet would take for a formula gets an apostrophe: people do open these files.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable

from kit.reports.tables import Cell, Column, LongTable, Table, machine_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
BLOCK = 64 * 1024


def render(table: Table) -> str:
    """A table as one text, header first."""
    return header(table.columns) + "".join(row_text(row) for row in table.rows)


async def stream(table: LongTable) -> AsyncIterator[bytes]:
    """A long table in blocks of about 64 KiB, header first; memory does not grow with it."""
    block = [header(table.columns)]
    size = len(block[0])
    async for row in table.rows:
        line = row_text(row)
        block.append(line)
        size += len(line)
        if size >= BLOCK:
            yield "".join(block).encode()
            block, size = [], 0
    yield "".join(block).encode()


def header(columns: Iterable[Column]) -> str:
    """The first line: the columns' keys."""
    return row_text([column.key for column in columns])


def row_text(cells: Iterable[Cell]) -> str:
    """One line, ended."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([_safe(cell) for cell in cells])
    return buffer.getvalue()


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that begins like one gets an apostrophe before it."""
    return "'" + text if text.startswith(_FORMULA) else text


def _safe(cell: Cell) -> str:
    text = machine_text(cell)
    return inert(text) if isinstance(cell, str) else text
