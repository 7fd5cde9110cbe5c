"""PURE: what a report is before it is a file. Columns know what kind of values they hold; rows are plain values.

Amounts are `Decimal`, already in units of their currency with the places to be shown; counts and points are `int`;
instants are UTC and shown in the report's time zone. None is an empty cell.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from zoneinfo import ZoneInfo

LANGUAGES = ("en", "ru", "ro")

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Term:
    """A cell with a code for machines and words for people: a kind of line, a state."""

    code: str
    words: Words


Cell = str | int | Decimal | date | datetime | bool | Term | None
Row = Sequence[Cell]


class Kind(Enum):
    """What a column holds, which decides how its cells are written in each kind of file."""

    TEXT = "text"
    COUNT = "count"
    AMOUNT = "amount"
    EXACT = "exact"
    PERCENT = "percent"
    DATE = "date"
    INSTANT = "instant"

    @property
    def is_number(self) -> bool:
        """Whether cells are numbers, which stand to the right and may be summed."""
        return self in (Kind.COUNT, Kind.AMOUNT, Kind.EXACT, Kind.PERCENT)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: key is its name for machines, title what people read; places are the decimals of an amount.

    is_summed says that the table shows its total; only numbers can be. width is relative to other columns.
    """

    key: str
    title: Words
    kind: Kind = Kind.TEXT
    places: int = 2
    is_summed: bool = False
    width: int = 1

    def __post_init__(self) -> None:
        if self.is_summed and not self.kind.is_number:
            raise ValueError(f"the column {self.key} holds no numbers and cannot be summed")


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its rows in hand, in the order of its columns. totals overrides what is_summed columns sum to."""

    key: str
    title: Words
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    note: Words | None = None

    def totals(self) -> tuple[Cell, ...] | None:
        """The sum of each summed column, None under the others; None where no column is summed."""
        if not any(column.is_summed for column in self.columns):
            return None
        return tuple(
            _sum(row[index] for row in self.rows) if column.is_summed else None
            for index, column in enumerate(self.columns)
        )


@dataclass(frozen=True, slots=True)
class LongTable:
    """A table too long to be held: its rows come one after another and are seen once."""

    key: str
    title: Words
    columns: tuple[Column, ...]
    rows: AsyncIterable[Row]


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of a report's head: what it is called and what it is."""

    key: str
    title: Words
    value: Cell
    kind: Kind = Kind.TEXT
    places: int = 2


@dataclass(frozen=True, slots=True)
class Report:
    """A report: number in the catalogue, head, tables. at is the business instant that it speaks of (UTC).

    The same values give the same bytes of every file.
    """

    code: str
    title: Words
    subtitle: str
    at: datetime
    time_zone: str
    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
    notes: tuple[Words, ...] = field(default=())

    @property
    def zone(self) -> ZoneInfo:
        """The zone that its instants are shown in."""
        return ZoneInfo(self.time_zone)

    def content_hash(self) -> str:
        """SHA-256 over what the report says, whatever file it becomes: the same values, the same hash."""
        said = {
            "code": self.code,
            "at": self.at.isoformat(),
            "facts": [[fact.key, machine_text(fact.value)] for fact in self.facts],
            "tables": [
                [
                    table.key,
                    [column.key for column in table.columns],
                    [[machine_text(c) for c in row] for row in table.rows],
                ]
                for table in self.tables
            ],
        }
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return sha256(text.encode()).hexdigest()


def machine_text(cell: Cell) -> str:
    """A cell for machines: dots, no thousands, ISO 8601, empty for nothing."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    if isinstance(cell, Term):
        return cell.code
    return str(cell)


def in_language(words: Words, language: str) -> str:
    """The words in a language, English where they are missing."""
    return words.get(language) or words["en"]


def _sum(cells: Iterable[Cell]) -> Cell:
    numbers = [cell for cell in cells if isinstance(cell, int | Decimal)]
    return sum(numbers[1:], start=numbers[0]) if numbers else 0
