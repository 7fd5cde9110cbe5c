"""Files that partners send: what is wrong with a record is said with its line, what is wrong with the file ends it."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.amounts import exponent
from settlement.reconciliation import files
from settlement.reconciliation.files import FileHead, FileTail, PartnerFileInvalid, Problem, Record

HEAD = "H,1,cafe,RECEIPTS,2026-03-31,14,EUR\n"
SALE = "D,OUT-1,T1,2026-03-31,R-1,SALE,500,12.50,2.08,,2026-03-31T18:03:11+03:00\n"
RETURN = "D,OUT-1,,2026-03-31,R-2,RETURN,-100,-2.50,,R-1,\n"
GOOD = HEAD + SALE + RETURN + "T,2,400,10.00\n"


def read(text: str | bytes, file_format: files.Format = "CSV") -> list[files.Event]:
    return list(files.read(io.BytesIO(text.encode() if isinstance(text, str) else text), file_format))


def as_json(text: str) -> str:
    names = {"H": files.HEAD, "D": files.DETAIL[: -files.OPTIONAL], "T": files.TAIL}
    rows = [line.split(",") for line in text.splitlines()]
    return "".join(json.dumps(dict(zip(names[row[0]], row, strict=True))) + "\n" for row in rows)


def test_a_file_is_read_record_by_record_as_csv_and_as_json_lines():
    head, sale, back, tail = read(GOOD)
    assert head == FileHead("cafe", "RECEIPTS", date(2026, 3, 31), 14, "EUR")
    assert sale == Record(2, "OUT-1", "T1", date(2026, 3, 31), "R-1", "SALE", 500, 1250, 208, None,
                          datetime(2026, 3, 31, 15, 3, 11, tzinfo=UTC))  # fmt: skip
    assert (back.points, back.amount_minor, back.original_reference, back.terminal) == (-100, -250, "R-1", None)
    assert (tail.records, tail.points, tail.amount_minor) == (2, 400, 1000)
    assert read(as_json(GOOD), "JSONL")[:3] == [head, sale, back]


def test_json_numbers_are_taken_as_they_are_written_and_never_as_floats():
    text = as_json(GOOD).replace('"12.50"', "12.50").replace('"500"', "500")
    assert read(text, "JSONL")[1].amount_minor == 1250


def test_windows_line_ends_and_a_mark_at_the_beginning_do_no_harm():
    assert [e for e in read("\ufeff" + GOOD.replace("\n", "\r\n")) if isinstance(e, Record)] == read(GOOD)[1:3]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (SALE.replace("500", "5.5"), "POINTS_INVALID"),
        (SALE.replace("500", "٥"), "POINTS_INVALID"),
        (SALE.replace("12.50", "12.505"), "AMOUNT_INVALID"),
        (SALE.replace("12.50", "1e3"), "AMOUNT_INVALID"),
        (SALE.replace("12.50", '"12,50"'), "AMOUNT_INVALID"),
        (SALE.replace("2026-03-31,R", "31.03.2026,R"), "DATE_INVALID"),
        (SALE.replace("+03:00", ""), "DATE_INVALID"),
        (SALE.replace("SALE", "GIFT"), "KIND_UNKNOWN"),
        (SALE.replace("R-1", ""), "TEXT_INVALID"),
        (SALE.replace("R-1", "R" * 65), "TEXT_INVALID"),
    ],
)
def test_a_wrong_record_is_told_with_its_line_and_the_others_are_read(line, code):
    figures = (500 if "POINTS" not in code else 0) - 100
    text = (
        HEAD
        + line
        + RETURN
        + (f"T,2,{figures},10.00\n" if code not in ("POINTS_INVALID", "AMOUNT_INVALID") else "T,2,1,1\n")
    )
    _, problem, record, _ = read(text)
    assert isinstance(problem, Problem)
    assert (problem.line_no, problem.code) == (2, code)
    assert isinstance(record, Record)
    assert json.loads(files.write_result(problem))["line"] == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (SALE, "begins with its head"),
        (HEAD + SALE, "trailer"),
        (GOOD + SALE, "behind the trailer"),
        (GOOD.replace("T,2", "T,3"), "says 3 records"),
        (GOOD.replace("T,2,400", "T,2,401"), "401 points"),
        (GOOD.replace(",10.00", ",10.01"), "10.01"),
        (GOOD.replace("H,1", "H,2"), "version 1"),
        (GOOD.replace("RECEIPTS", "STOCK"), "the type is RECEIPTS"),
        (GOOD.replace("SALE,", "SALE,,,"), "line 2 has 13 fields"),
        (HEAD + "X,1\n", "H, D or T"),
        (HEAD + '"D,1\n', "not CSV"),
        (HEAD + "D," + "x" * 5000 + "\n", "longer than"),
        (HEAD.encode() + b"D,\xff\n", "not UTF-8"),
        (HEAD + "D,\x00\n", "zero byte"),
    ],
)
def test_a_broken_file_ends_with_what_is_wrong(text, why):
    with pytest.raises(PartnerFileInvalid, match=why):
        read(text)


@pytest.mark.parametrize("line", ["[1]", "{", '{"record": ["D"]}', '{"record": NaN}', '{"evil": "1"}', "[" * 3000])
def test_json_lines_that_are_no_records_end_the_file(line):
    with pytest.raises(PartnerFileInvalid, match="line 1"):
        read(line + "\n", "JSONL")


def test_a_file_that_is_too_large_is_not_read_on():
    with pytest.raises(PartnerFileInvalid, match="larger"):
        list(files.read(io.BytesIO(GOOD.encode()), "CSV", most_bytes=50))


def test_two_files_with_the_same_content_have_the_same_hash():
    assert read(GOOD)[-1] == read(GOOD)[-1]
    assert read(GOOD)[-1].content_sha256 != read(GOOD.replace("R-2", "R-3"))[-1].content_sha256


@given(st.binary(max_size=300), st.sampled_from(["CSV", "JSONL"]))
@settings(max_examples=200)
def test_bytes_of_any_kind_are_refused_or_read_and_never_anything_else(content, file_format):
    try:
        events = read(HEAD.encode() + content if file_format == "CSV" else content, file_format)
    except PartnerFileInvalid:
        return
    assert isinstance(events[-1], FileTail)


CELLS = st.text(st.sampled_from(' ,"=+-@azAZ09/.ü'), max_size=8)
AMOUNTS = st.from_regex(r"\A-?[0-9]{0,6}(\.[0-9]{0,4})?\Z")


@given(
    cells=st.tuples(
        CELLS, CELLS, st.sampled_from(["2026-03-31", "2026-02-30", "20260331", ""]), CELLS,
        st.sampled_from([*files.KINDS, "GIFT"]), st.from_regex(r"\A-?[0-9]{0,14}\Z"), AMOUNTS, AMOUNTS, CELLS,
        st.sampled_from(["", "2026-03-31T18:03:11+03:00", "2026-03-31T18:03:11", "noon"]), st.sampled_from(["", "0.01", "x"]),
    ),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]), quoted=st.booleans(),
)  # fmt: skip
@settings(max_examples=200)
def test_a_plain_line_is_read_as_the_general_way_reads_it(cells: Any, currency: str, quoted: bool) -> None:
    text = ",".join(("D", *(f'"{one}"' if quoted and '"' not in one else one for one in cells)))
    plain = files.plain_record(text, 7, currency, exponent(currency))
    if plain is not None:
        assert plain == files._record(files._csv_fields(text, 7), 7, currency)


def test_most_lines_are_plain() -> None:
    assert files.plain_record("D,1,T1,2026-03-31,R-1,SALE,5,12.5,2.08,,2026-03-31T18:03:11+03:00,0.01", 2, "EUR", 2)
    assert files.plain_record("D,1,,2026-03-31,R-1,RETURN,-5,-12.50,,,", 2, "EUR", 2)
    assert files.plain_record("D,1,,2026-03-31,R-1,SALE,5,12.505,,,", 2, "EUR", 2) is None
