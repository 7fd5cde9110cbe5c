"""PURE: files that partners send, CSV or JSON lines, read as a stream; a trailer says how much should have come.

    H,1,cafe,RECEIPTS,2026-03-31,14,EUR
    D,MOSCOW-1,T1,2026-03-31,R-1001,SALE,500,12.50,0.00,,2026-03-31T18:03:11+03:00
    T,1,500,12.50

As JSON lines the same fields have names (`HEAD`, `DETAIL`, `TAIL`). Points are whole; amounts are decimals with a dot;
dates are ISO 8601. Text may begin with whatever it likes: it is never a formula here, and is made harmless where
it goes into a spreadsheet. What is wrong with one record is said with its line; what is wrong with the file ends it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import sha256
from typing import IO, Literal

from kit.amounts import LARGEST, decimal_from_minor, exponent, minor_from_decimal
from kit.errors import Rejection

VERSION = "1"
TYPES = ("RECEIPTS",)
KINDS = ("SALE", "REDEMPTION", "RETURN", "CANCELLATION")
HEAD = ("record", "version", "partner", "type", "business_date", "sequence", "currency")
DETAIL = (
    "record", "outlet", "terminal", "business_date", "reference", "kind", "points", "amount", "tax_amount",
    "original_reference", "occurred_at", "unit_price",
)  # fmt: skip
OPTIONAL = 1  # fields at the end of a detail line that may be left out: unit_price, in the currency per point
TAIL = ("record", "records", "points", "amount")
MOST_BYTES = 1024 * 1024 * 1024
LONGEST_LINE = 4_096
LONGEST_TEXT = 64
MOST_POINTS = 10**12
_CODE = re.compile(r"[\x20-\x7e]{1,64}")

Format = Literal["CSV", "JSONL"]


class PartnerFileInvalid(Rejection):
    """The file cannot be read, or its trailer does not fit what came; the message names the line."""

    code = "PARTNER_FILE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class FileHead:
    """Whose file, of which type, for which day, and its number in the partner's sequence of the type."""

    partner: str
    type: str
    business_date: date
    sequence: int
    currency: str


@dataclass(frozen=True, slots=True)
class Record:
    """One receipt as the partner has it: points as whole points, amounts in minor units; None where it says nothing."""

    line_no: int
    outlet: str
    terminal: str | None
    business_date: date
    reference: str
    kind: str
    points: int
    amount_minor: int
    tax_minor: int | None
    original_reference: str | None
    occurred_at: datetime | None
    unit_price_micro: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that cannot be taken: its line, a stable code and a sentence; reference is echoed where it was read."""

    line_no: int
    code: str
    message: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class FileTail:
    """What the trailer said, which is what came: records (wrong ones too), points, amount; the content as SHA-256."""

    records: int
    points: int
    amount_minor: int
    content_sha256: str


_EARLIEST, _LATEST = date(2000, 1, 1), date(2999, 12, 31)
Event = FileHead | Record | Problem | FileTail


def read(source: IO[bytes], file_format: Format, *, most_bytes: int = MOST_BYTES) -> Iterator[Event]:
    """The head, then a Record or Problem for each detail line, then the tail. Memory holds one line.

    Rejects PARTNER_FILE_INVALID: another version, a line that is too long, a missing head or trailer, anything behind
    the trailer, and a trailer that does not count what came (its sums are compared where every record had figures).
    """
    lines = _Lines(source, most_bytes)
    head: FileHead | None = None
    records = points = amount = 0
    can_sum = True
    tail_seen = False
    places = 0
    for line_no, text in lines:
        if head is not None and not tail_seen and file_format == "CSV":
            plain = plain_record(text, line_no, head.currency, places)
            if plain is not None:
                records, points, amount = records + 1, points + plain.points, amount + plain.amount_minor
                yield plain
                continue
        fields = _fields(text, file_format, line_no)
        kind = fields.get("record")
        if tail_seen:
            raise PartnerFileInvalid(f"line {line_no}: something stands behind the trailer")
        if head is None:
            head = _head(fields, line_no)
            places = exponent(head.currency)
            yield head
        elif kind == "D":
            records += 1
            figures = _figures(fields, head.currency)
            can_sum = can_sum and figures is not None
            points, amount = (points + figures[0], amount + figures[1]) if figures else (points, amount)
            yield _record(fields, line_no, head.currency)
        elif kind == "T":
            tail_seen = True
            _check_tail(fields, line_no, head.currency, (records, points, amount), can_sum=can_sum)
        else:
            raise PartnerFileInvalid(f"line {line_no}: a record is H, D or T")
    if head is None:
        raise PartnerFileInvalid("the file is empty: it begins with a head (H)")
    if not tail_seen:
        raise PartnerFileInvalid("the trailer (T) is missing: the file was cut off")
    yield FileTail(records, points, amount, lines.digest())


_C = r"[ !#-+\--~]"  # visible ASCII without a comma and a quote
_PLAIN = re.compile(
    rf"D,({_C}{{1,64}}),({_C}{{0,64}}),([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}),({_C}{{1,64}}),({'|'.join(KINDS)}),"
    rf"(-?[0-9]{{1,12}}),(-?)([0-9]{{1,15}})(?:\.([0-9]{{1,6}}))?,({_C}{{0,24}}),({_C}{{0,64}}),({_C}{{0,40}})"
    rf"(?:,({_C}{{0,16}}))?"
)


def plain_record(text: str, line_no: int, currency: str, places: int) -> Record | None:
    """A line of a CSV file as most are, without a quote and nothing wrong with it, read at once; None for any other,
    which the general way reads or says what is wrong with. places are the decimals of the currency."""
    found = _PLAIN.fullmatch(text)
    if found is None:
        return None
    outlet, terminal, day, reference, kind, points, sign, whole, part, tax, original, instant, price = found.groups()
    if part is not None and len(part) > places:
        return None
    minor = int(whole) * 10**places + (int(part.ljust(places, "0")) if part else 0)
    if minor > LARGEST:
        return None
    try:
        return Record(
            line_no, outlet, terminal or None, _known_day(day), reference, kind, int(points), -minor if sign else minor,
            _minor(tax, currency) if tax else None, original or None, _instant(instant), _price(price or ""),
        )  # fmt: skip
    except (_Bad, ValueError):
        return None


@lru_cache(maxsize=64)
def _known_day(text: str) -> date:
    """A day; a file has few of them."""
    return date.fromisoformat(text)


def write_result(problem: Problem) -> str:
    """A line of the result file: what came of a record that was not taken, with its line and reference echoed."""
    return json.dumps(
        {"line": problem.line_no, "reference": problem.reference, "code": problem.code, "message": problem.message},
        ensure_ascii=False,
    )


class _Lines:
    """The lines of a source with their numbers, bounded, hashed while they pass."""

    def __init__(self, source: IO[bytes], most_bytes: int) -> None:
        self._source = source
        self._left = most_bytes
        self._digest = sha256()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        line_no = 0
        while raw := self._source.readline(LONGEST_LINE + 1):
            line_no += 1
            self._left -= len(raw)
            if len(raw) > LONGEST_LINE:
                raise PartnerFileInvalid(f"line {line_no} is longer than {LONGEST_LINE} bytes")
            if self._left < 0:
                raise PartnerFileInvalid("the file is larger than is taken")
            self._digest.update(raw)
            try:
                text = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise PartnerFileInvalid(f"line {line_no} is not UTF-8") from None
            if "\x00" in text:
                raise PartnerFileInvalid(f"line {line_no} holds a zero byte")
            if line_no == 1:
                text = text.removeprefix("\ufeff")
            if text:
                yield line_no, text

    def digest(self) -> str:
        return self._digest.hexdigest()


def _fields(text: str, file_format: Format, line_no: int) -> Mapping[str, str]:
    return _csv_fields(text, line_no) if file_format == "CSV" else _json_fields(text, line_no)


def _csv_fields(text: str, line_no: int) -> Mapping[str, str]:
    try:
        cells = next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise PartnerFileInvalid(f"line {line_no} is not CSV (RFC 4180), one record per line") from None
    names = {"H": HEAD, "D": DETAIL, "T": TAIL}.get(cells[0])
    if names is None:
        raise PartnerFileInvalid(f"line {line_no}: a record is H, D or T")
    if len(cells) == len(names) - OPTIONAL and names is DETAIL:
        names = DETAIL[:-OPTIONAL]
    if len(cells) != len(names):
        raise PartnerFileInvalid(f"line {line_no} has {len(cells)} fields; {cells[0]} has {len(names)}")
    return dict(zip(names, cells, strict=True))


def _json_fields(text: str, line_no: int) -> Mapping[str, str]:
    try:
        found = json.loads(text, parse_float=str, parse_int=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise PartnerFileInvalid(f"line {line_no} is not JSON") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) or v is None for v in found.values()):
        raise PartnerFileInvalid(f"line {line_no}: an object of texts, numbers and nulls is expected")
    if unknown := sorted(set(found) - {*HEAD, *DETAIL, *TAIL}):
        raise PartnerFileInvalid(f"line {line_no}: unknown field {unknown[0][:LONGEST_TEXT]}")
    return {name: value or "" for name, value in found.items()}


def _no_constant(_: str) -> None:
    raise ValueError


def _head(fields: Mapping[str, str], line_no: int) -> FileHead:
    if fields.get("record") != "H":
        raise PartnerFileInvalid(f"line {line_no}: a file begins with its head (H)")
    if fields.get("version") != VERSION:
        raise PartnerFileInvalid(f"line {line_no}: version {VERSION} of the format is taken")
    if fields.get("type") not in TYPES:
        raise PartnerFileInvalid(f"line {line_no}: the type is {' or '.join(TYPES)}")
    currency = fields.get("currency", "")
    sequence = fields.get("sequence", "")
    if not re.fullmatch("[A-Z]{3}", currency) or not re.fullmatch("[0-9]{1,9}", sequence):
        raise PartnerFileInvalid(f"line {line_no}: a currency code and a sequence number are expected")
    try:
        day = date.fromisoformat(fields.get("business_date", ""))
    except ValueError:
        raise PartnerFileInvalid(f"line {line_no}: business_date is not a date") from None
    if not _EARLIEST <= day <= _LATEST:
        raise PartnerFileInvalid(f"line {line_no}: business_date is no day of business")
    return FileHead(fields.get("partner", "")[:LONGEST_TEXT], fields["type"], day, int(sequence), currency)


def _record(fields: Mapping[str, str], line_no: int, currency: str) -> Record | Problem:
    reference = fields.get("reference", "")
    try:
        for name in ("outlet", "reference"):
            if not _CODE.fullmatch(fields.get(name, "")):
                raise _Bad("TEXT_INVALID", f"{name} has 1 to {LONGEST_TEXT} visible ASCII characters")
        if fields.get("kind") not in KINDS:
            raise _Bad("KIND_UNKNOWN", f"kind is one of {', '.join(KINDS)}")
        return Record(
            line_no=line_no,
            outlet=fields["outlet"],
            terminal=_maybe_code(fields, "terminal"),
            business_date=_day(fields.get("business_date", "")),
            reference=reference,
            kind=fields["kind"],
            points=_points(fields.get("points", "")),
            amount_minor=_minor(fields.get("amount", ""), currency),
            tax_minor=_minor(fields["tax_amount"], currency) if fields.get("tax_amount") else None,
            original_reference=_maybe_code(fields, "original_reference"),
            occurred_at=_instant(fields.get("occurred_at", "")),
            unit_price_micro=_price(fields.get("unit_price", "")),
        )
    except _Bad as bad:
        echoed = reference if _CODE.fullmatch(reference) else None
        return Problem(line_no, bad.code, str(bad), echoed)


class _Bad(Exception):  # noqa: N818 - it is told as a Problem
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _maybe_code(fields: Mapping[str, str], name: str) -> str | None:
    text = fields.get(name, "")
    if text and not _CODE.fullmatch(text):
        raise _Bad("TEXT_INVALID", f"{name} has at most {LONGEST_TEXT} visible ASCII characters")
    return text or None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _Bad("DATE_INVALID", "business_date is an ISO 8601 date") from None


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Bad("DATE_INVALID", "occurred_at is an ISO 8601 instant with its offset") from None


def _points(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,13}", text) or abs(int(text)) > MOST_POINTS:
        raise _Bad("POINTS_INVALID", "points are a whole number")
    return int(text)


def _price(text: str) -> int | None:
    if text and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise _Bad("AMOUNT_INVALID", "unit_price is a decimal with six places at most")
    return int(Decimal(text).scaleb(6)) if text else None


def _minor(text: str, currency: str) -> int:
    try:
        if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,6})?", text):
            raise ValueError
        return minor_from_decimal(Decimal(text), currency)
    except (InvalidOperation, ValueError):
        raise _Bad("AMOUNT_INVALID", f"an amount in {currency}, with a dot") from None


def _figures(fields: Mapping[str, str], currency: str) -> tuple[int, int] | None:
    """Points and amount of a record for the trailer, whatever else is wrong with it; None where they are no numbers."""
    try:
        return _points(fields.get("points", "")), _minor(fields.get("amount", ""), currency)
    except _Bad:
        return None


def _check_tail(fields: Mapping[str, str], line_no: int, currency: str, came: Sequence[int], *, can_sum: bool) -> None:
    records, points, amount_minor = came
    if max(abs(points), abs(amount_minor)) > LARGEST:
        raise PartnerFileInvalid(f"line {line_no}: the records sum to more than is counted here")
    said = (fields.get("records"), fields.get("points"))
    try:
        said_minor = _minor(fields.get("amount", ""), currency)
    except _Bad:
        raise PartnerFileInvalid(f"line {line_no}: the trailer's amount is no amount") from None
    fits = (said[1], said_minor) == (str(points), amount_minor) or not can_sum
    if said[0] != str(records) or not fits:
        shown = decimal_from_minor(amount_minor, currency)
        raise PartnerFileInvalid(
            f"line {line_no}: the trailer says {said[0]} records, {said[1]} points and {fields.get('amount')}; "
            f"{records} records, {points} points and {shown:f} could be read"
        )
