"""PURE: a file of opening balances: points and money of before, by funder and cohort, read whole or not at all.

CSV with a header, or one JSON object a line, of the fields `kind, account, party, version, currency, points, amount`:

    STOCK     party, version, points               points that are out there: issued and billed before
    BALANCE   account, party, version, currency, amount   what an account comes to: Dr above zero, Cr below, exact

version is the number of the party's own agreement that stands for the cohort. A field that does not belong is empty.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kit.amounts import LARGEST
from kit.errors import FieldProblem

STOCK, BALANCE = "STOCK", "BALANCE"
FIELDS = ("kind", "account", "party", "version", "currency", "points", "amount")
MOST_LINES = 100_000
OPERATOR_CODE = "operator"


@dataclass(frozen=True, slots=True)
class OpeningLine:
    """A line as it stands in the file; amount_micro is Dr above zero. Empty and 0 where the field does not belong."""

    line_no: int
    kind: str
    account: str
    party: str
    version: int
    currency: str
    points: int
    amount_micro: int


def read(content: str, *, is_json: bool) -> tuple[list[OpeningLine], list[FieldProblem]]:
    """Every line of a file, and what is wrong with it; where anything is, nothing of it is to be used."""
    found, problems = [], []
    for line_no, row in _rows(content, is_json):
        if isinstance(row, FieldProblem):
            problems.append(row)
            continue
        line, wrong = _line(line_no, row)
        problems += wrong
        if line is not None:
            found.append(line)
    if not found and not problems:
        problems.append(FieldProblem(("file",), "EMPTY", "there is no line in it"))
    if len(found) > MOST_LINES:
        problems.append(FieldProblem(("file",), "TOO_LONG", f"at most {MOST_LINES} lines"))
    return found, problems + _doubled(found)


def _rows(content: str, is_json: bool) -> Iterator[tuple[int, Mapping[str, object] | FieldProblem]]:
    if is_json:
        for line_no, text in enumerate(content.splitlines(), start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError:
                row = None
            is_row = isinstance(row, dict) and not set(row) - set(FIELDS)
            yield line_no, row if is_row else _problem(line_no, "line", "INVALID", "an object of the known fields")
        return
    reader = csv.DictReader(io.StringIO(content, newline=""), restkey="rest")
    if tuple(reader.fieldnames or ()) != FIELDS:
        yield 1, _problem(1, "line", "INVALID", f"the header is {','.join(FIELDS)}")
        return
    for row in reader:
        is_whole = "rest" not in row and None not in row.values()
        wrong = _problem(reader.line_num, "line", "INVALID", "as many fields as the header")
        yield reader.line_num, row if is_whole else wrong


def _line(line_no: int, row: Mapping[str, object]) -> tuple[OpeningLine | None, list[FieldProblem]]:
    said = {name: str(row.get(name, "") if row.get(name) is not None else "").strip() for name in FIELDS}
    if said["kind"] not in (STOCK, BALANCE):
        return None, [_problem(line_no, "kind", "UNKNOWN", f"{STOCK} or {BALANCE}")]
    is_stock, problems = said["kind"] == STOCK, []
    for name in ("account", "currency", "amount") if is_stock else ("points",):
        if said[name]:
            problems.append(_problem(line_no, name, "NOT_EMPTY", f"a line of {said['kind']} has none"))
    version = _whole(said["version"]) if said["version"] or is_stock else 0
    points = _whole(said["points"]) if is_stock else 0
    amount = 0 if is_stock else _micro(said["amount"])
    if version is None:
        problems.append(_problem(line_no, "version", "INVALID", "the number of a version"))
    if points is None or (is_stock and points == 0):
        problems.append(_problem(line_no, "points", "OUT_OF_RANGE", "more than none, whole"))
    if amount is None or (not is_stock and amount == 0):
        problems.append(_problem(line_no, "amount", "INVALID", "such as -12.500000, at most six decimals, not zero"))
    if problems or version is None or points is None or amount is None:
        return None, problems
    its = OpeningLine(line_no, said["kind"], said["account"], said["party"], version, said["currency"], points, amount)
    return its, []


def _doubled(found: Sequence[OpeningLine]) -> list[FieldProblem]:
    seen: set[tuple[str, ...]] = set()
    problems = []
    for one in found:
        key = (one.kind, one.account, one.party, str(one.version), one.currency)
        if key in seen:
            problems.append(_problem(one.line_no, "line", "DUPLICATE", "the same was said further up"))
        seen.add(key)
    return problems


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _micro(text: str) -> int | None:
    try:
        scaled = Decimal(text).scaleb(6)
        return int(scaled) if scaled.is_finite() and scaled == int(scaled) and abs(scaled) <= LARGEST else None
    except (ArithmeticError, ValueError):
        return None


def _problem(line_no: int, name: str, code: str, message: str) -> FieldProblem:
    return FieldProblem((str(line_no), name), code, message)
