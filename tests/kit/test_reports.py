"""Reports as files: what people see is what the values say, whatever a partner typed into them."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pypdf
import pypdfium2
import pytest

from kit.reports import csv_files, documents, workbooks
from kit.reports.tables import LANGUAGES, Column, Fact, Kind, LongTable, Report, Row, Table, Term

HOSTILE = '=cmd|"/C calc"!A0 #import "x" $y$ *b* «Ștefan»'


def words(english: str, russian: str = "", romanian: str = "") -> dict[str, str]:
    return {"en": english, "ru": russian or english, "ro": romanian or english}


COLUMNS = (
    Column("line_no", words("Line", "Строка", "Linia"), Kind.COUNT),
    Column("kind", words("Kind", "Вид", "Tip"), width=3),
    Column("points", words("Points", "Баллы", "Puncte"), Kind.COUNT, is_summed=True),
    Column("amount", words("Amount", "Сумма", "Sumă"), Kind.AMOUNT, is_summed=True),
    Column("at", words("At", "Когда", "Când"), Kind.INSTANT, width=2),
)
AT = datetime(2026, 3, 31, 21, 30, tzinfo=UTC)


def row(number: int) -> Row:
    return (number, HOSTILE, 1000 * number, Decimal("-0.10") * number, AT)


def report(rows: int = 3) -> Report:
    lines = Table("lines", words("Lines", "Строки", "Rânduri înșirate"), COLUMNS, [row(n) for n in range(1, rows + 1)])
    empty = Table("none", words("Late items", "Опоздавшие", "Întârziate"), COLUMNS[:2], [])
    facts = (
        Fact("net", words("Net", "Итог", "Net"), Decimal("-1234567.89"), Kind.AMOUNT),
        Fact("day", words("Day", "День", "Ziua"), date(2026, 3, 1), Kind.DATE),
    )
    title = words("Settlement statement", "Расчётный отчёт", "Extras de decontare")
    return Report("R1", title, HOSTILE, AT, "Europe/Chisinau", facts, (lines, empty), (words("A note"),))


def text_of(pdf: bytes) -> str:
    return "\n".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(pdf))


@pytest.mark.parametrize(
    ("language", "seen"),
    [
        ("en", ["Settlement statement", "−1,234,567.89", "2026-04-01 00:30:00", "Nothing in this period.", "−0.60"]),
        (
            "ru",
            ["Расчётный отчёт", "−1\xa0234\xa0567,89", "01.04.2026 00:30:00", "За этот период ничего нет.", "Итого"],
        ),
        ("ro", ["Extras de decontare", "−1.234.567,89", "Rânduri înșirate", "Nimic în această perioadă.", "«Ștefan»"]),
    ],
)
def test_a_pdf_reads_back_in_each_language_with_what_a_partner_typed_left_as_it_is(
    language: str, seen: list[str]
) -> None:
    text = text_of(documents.render(report(), language=language))
    assert all(part in text for part in [*seen, HOSTILE])


def test_a_pdf_says_that_archives_keep_it_and_screen_readers_read_it() -> None:
    reader = pypdf.PdfReader(io.BytesIO(documents.render(report(), language="ro")))
    metadata = reader.trailer["/Root"]["/Metadata"].get_object().get_data().decode()
    assert "<pdfaid:part>2</pdfaid:part>" in metadata
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in metadata
    assert "<pdfuaid:part>1</pdfuaid:part>" in metadata
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"] is True or reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert reader.trailer["/Root"]["/Lang"] == "ro"


def test_a_page_is_drawn_and_not_empty() -> None:
    image = pypdfium2.PdfDocument(documents.render(report(), language="ru"))[0].render(scale=1).to_pil().convert("L")
    dark = sum(count for shade, count in enumerate(image.histogram()) if shade < 128)
    assert 500 < dark < image.width * image.height / 5


def test_many_columns_with_long_titles_stand_beside_each_other_and_none_upon_another() -> None:
    titles = ["Month", "Partner", "What for", *(f"Equally where used {number}" for number in range(8)), "Corrected"]
    columns = [
        Column(f"c{number}", words(title), Kind.EXACT if title.startswith("Equally") else Kind.TEXT)
        for number, title in enumerate(titles)
    ]
    figures = [Decimal(number) + Decimal("51.123456") for number in range(8)]
    crowded = Table("crowded", words("Crowded"), columns, [("2017-10", "Pharmacy", "Remainder", *figures, "nothing")])
    told = Report("R16", words("Shares"), "Tessera", AT, "Europe/Chisinau", (), (crowded,))
    page = pypdfium2.PdfDocument(documents.render(told, language="en"))[0]
    text = page.get_textpage()
    ends = 0.0
    for cell in ["2017-10", "Pharmacy", "Remainder", *(str(figure) for figure in figures), "nothing"]:
        found = text.search(cell).get_next()
        assert found is not None, cell
        left, right = text.get_charbox(found[0])[0], text.get_charbox(found[0] + found[1] - 1)[2]
        assert ends < left, cell
        ends = right
    assert ends < page.get_width()
    assert "Times are those of Europe/Chisinau." in text_of(documents.render(told, language="en"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_report_gives_the_same_bytes(language: str) -> None:
    assert documents.render(report(), language=language) == documents.render(report(), language=language)
    assert workbooks.render(report(), language=language) == workbooks.render(report(), language=language)


def test_a_report_too_long_for_paper_is_refused_with_what_to_do() -> None:
    with pytest.raises(documents.ReportTooLong, match="take the CSV file or the workbook"):
        documents.render(report(documents.MOST_ROWS + 1), language="en")


def test_a_workbook_holds_numbers_as_numbers_totals_as_formulas_and_text_as_text() -> None:
    book = openpyxl.load_workbook(io.BytesIO(workbooks.render(report(), language="ru")))
    about, lines, late = (book[name] for name in book.sheetnames)
    assert about["B4"].value == pytest.approx(-1234567.89)
    assert [cell.value for cell in lines[1]] == ["Строка", "Вид", "Баллы", "Сумма", "Когда"]
    assert lines.freeze_panes == "A2"
    assert (lines["C2"].value, lines["C2"].data_type) == (1000, "n")
    assert (lines["B2"].value, lines["B2"].data_type) == (HOSTILE, "s")
    assert lines["E2"].value == datetime(2026, 4, 1, 0, 30)
    assert (lines["C5"].value, lines["D5"].value) == ("=SUM(C2:C4)", "=SUM(D2:D4)")
    assert late.max_row == 1


def test_a_workbooks_totals_are_there_for_programs_that_do_not_compute() -> None:
    book = openpyxl.load_workbook(io.BytesIO(workbooks.render(report(), language="en")), data_only=True)
    assert book.worksheets[1]["C5"].value == 6000
    assert book.worksheets[1]["D5"].value == pytest.approx(-0.6)


def test_a_number_too_long_for_a_sheet_is_written_as_text_rather_than_wrongly() -> None:
    table = Table("t", words("T"), (Column("micro", words("Micro"), Kind.COUNT),), [(9_007_199_254_740_993,)])
    plain = Report("X", words("X"), "", AT, "UTC", (), (table,))
    book = openpyxl.load_workbook(io.BytesIO(workbooks.render(plain, language="en")))
    assert book.worksheets[1]["A2"].value == "9007199254740993"


def test_a_term_is_words_for_people_and_a_code_for_machines() -> None:
    state = Term("PAID", words("Paid", "Оплачено", "Plătit"))
    table = Table("t", words("T"), (Column("state", words("State")),), [(state,)])
    paper = Report("X", words("X"), "", AT, "UTC", (), (table,))
    assert csv_files.render(table) == "state\nPAID\n"
    assert "Оплачено" in text_of(documents.render(paper, language="ru"))
    book = openpyxl.load_workbook(io.BytesIO(workbooks.render(paper, language="ro")))
    assert book.worksheets[1]["A2"].value == "Plătit"


def test_csv_is_the_same_for_every_language_and_reads_back() -> None:
    text = csv_files.render(report().tables[0])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["line_no", "kind", "points", "amount", "at"]
    assert rows[1] == ["1", "'" + HOSTILE, "1000", "-0.10", "2026-03-31T21:30:00+00:00"]
    assert "\r" not in text


async def rows_one_by_one(count: int) -> AsyncIterator[Row]:
    for number in range(1, count + 1):
        yield row(number)


async def test_a_long_table_is_streamed_in_blocks_that_make_up_the_same_file() -> None:
    blocks = [block async for block in csv_files.stream(LongTable("lines", {}, COLUMNS, rows_one_by_one(5000)))]
    assert max(len(block) for block in blocks) < 2 * csv_files.BLOCK
    assert b"".join(blocks).decode() == csv_files.render(Table("lines", {}, COLUMNS, [row(n) for n in range(1, 5001)]))


async def test_a_long_table_goes_on_in_the_next_sheet_and_each_has_its_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbooks, "MOST_ROWS", 100)
    path = tmp_path / "long.xlsx"
    table = LongTable("lines", words("Lines"), COLUMNS, rows_one_by_one(250))
    assert await workbooks.write_long(report(0), table, str(path), language="en") == 250
    book = openpyxl.load_workbook(path, data_only=True)
    assert book.sheetnames[1:] == ["Lines", "Lines 2", "Lines 3"]
    assert [sheet.max_row for sheet in book.worksheets[1:]] == [102, 102, 52]
    assert sum(sheet.cell(sheet.max_row, 3).value for sheet in book.worksheets[1:]) == 1000 * 250 * 251 // 2


def test_the_hash_of_a_report_is_of_what_it_says() -> None:
    assert report().content_hash() == report().content_hash()
    assert report().content_hash() != report(4).content_hash()
