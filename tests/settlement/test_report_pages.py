"""Reports of settlement on paper, drawn by an outside renderer: nothing leaves the page, every letter is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

import pypdfium2
import pytest
from PIL import Image

from kit.reports import documents
from kit.reports.tables import Report, in_language
from settlement.archive import Run, RunHead, Statement
from settlement.documents.drawing import NO_TAX
from settlement.documents.register import Document
from settlement.money import events
from settlement.netting import Instruction
from settlement.reports import of_books, of_runs, words
from settlement.reports.of_books import About
from settlement.statements import Line

AT = datetime(2026, 3, 31, 21, 30, tzinfo=UTC)
LANGUAGES = ("ru", "ro")
LONGEST = 10**15 + 10**9 + 123_456  # micro-units: a thousand million and some
PARTNER = "Cofetăria «Țărăncuța» și Împărăția Șerpilor cântând în corturi deasupra — ООО «Ёжик в этом тумане», объединённые пекарни"
SCALE = 3
POINTS_OF_MARGIN = 30  # the template leaves 16 mm, which is 45
RUSSIAN = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
ROMANIAN = {"ă": "a", "â": "a", "î": "r", "ș": "s", "ț": "t"}  # and the letter that each would be without its mark

HEAD = RunHead(
    7, "NET.EUR.2026.03.01.00.00.1/1", "NET", "EUR", 1, "finance", AT, 31, datetime(2026, 3, 1, tzinfo=UTC), AT, 6,
    "IN_REVIEW",
)  # fmt: skip
AGREEMENTS = {1: "cofetaria-tarancuta/12"}


def statement(partner_id: int = 1) -> Statement:
    kinds = [kind for kind in words.KINDS if kind not in ("OPENING", "NET")]
    lines = tuple(
        Line(n, kind, 1, 10**12, 10**9, 123_456_789, LONGEST if n % 2 else -LONGEST, LONGEST // 10_000)
        for n, kind in enumerate(kinds, start=1)
    )
    return Statement(1, 7, partner_id, "EUR", -LONGEST, -LONGEST // 10_000, LONGEST, LONGEST // 10_000, AT,
                     HEAD.opened_at, AT, lines)  # fmt: skip


def settlement_statement() -> Report:
    return of_runs.statement(statement(), HEAD, party=PARTNER, agreements=AGREEMENTS, time_zone="Europe/Chisinau")


def net() -> Report:
    payments = (Instruction(1, "EUR", "PAY_IN", LONGEST), Instruction(2, "EUR", "PAY_OUT", LONGEST))
    run = Run(HEAD, (31,), (), tuple(statement(party) for party in range(3)), payments)
    return of_runs.net(run, names={1: PARTNER, 2: PARTNER.upper()}, time_zone="Europe/Chisinau")


def register() -> Report:
    kinds = ("INVOICE", "SELF_BILLED", "CREDIT_NOTE", "SELF_BILLED_CREDIT", "SET_OFF")
    found = [
        Document(n, 7, 1, "EUR", kind, "partner:17", f"SBI-{n:08}", AT, NO_TAX, LONGEST // 10**4, LONGEST // 10**5,
                 LONGEST // 10**4, None, b"")
        for n, kind in enumerate(kinds * 14, start=1)
    ]  # fmt: skip
    about = About(PARTNER, AT, "Europe/Chisinau", "EUR", of_runs.run_facts(HEAD), {1: PARTNER}, AGREEMENTS)
    return of_books.documents(about, found)


REPORTS = {"R1": settlement_statement, "R3": net, "R17": register}


@dataclass(frozen=True)
class Drawn:
    """A page as it was drawn, and its letters with the places that the renderer gives them, in points from above."""

    image: Image.Image
    letters: list[tuple[str, tuple[float, float, float, float]]]
    text: str

    def cut(self, box: tuple[float, float, float, float]) -> Image.Image:
        """What is drawn in a place."""
        return self.image.crop(tuple(round(side * SCALE) for side in box))


@cache
def drawn(code: str, language: str) -> tuple[Drawn, ...]:
    pdf = pypdfium2.PdfDocument(documents.render(REPORTS[code](), language=language))
    return tuple(_pages(pdf))


def _pages(pdf: pypdfium2.PdfDocument) -> Iterator[Drawn]:
    for page in pdf:
        height, said = page.get_height(), page.get_textpage()
        text = said.get_text_range()
        letters = []
        for index in range(said.count_chars()):
            left, bottom, right, top = said.get_charbox(index)
            if right > left and top > bottom:
                letters.append((said.get_text_range(index, 1), (left, height - top, right, height - bottom)))
        yield Drawn(page.render(scale=SCALE).to_pil().convert("L"), letters, text)


every_report = pytest.mark.parametrize("code", REPORTS)
every_language = pytest.mark.parametrize("language", LANGUAGES)


def test_every_kind_of_line_that_rates_and_events_make_has_words() -> None:
    rated = {"ACTIVATION", "RETURN", "RETURN_OWED", "ADJUSTMENT", "ADJUSTMENT_TAKEN", "FORGIVEN", "EXPIRY", "OPENING"}
    rated |= {"FUNDED_REDEMPTION", "FUNDED_REFUND", "FUNDED_REPAYMENT"}
    rated |= {kind + borne for kind in ("REDEMPTION", "REFUND") for borne in ("", "_BORNE")}
    operators = {
        kind + back for kind in ("FUND", "SERVICE", "FUND_AT_USE", "REIMBURSEMENT") for back in ("", "_RETURNED")
    }
    billed = {kind for kind, rule in events.RULES.items() if rule.is_billed}
    assert (rated | operators | billed | {"BREAKAGE_SHARE", "CARRIED_OUT"}) - words.KINDS.keys() == set()


@every_report
@every_language
def test_what_is_on_paper_reads_back_whole(code: str, language: str) -> None:
    report = REPORTS[code]()
    text = " ".join("".join(page.text for page in drawn(code, language)).split())
    expected = [in_language(report.title, language), PARTNER if code != "R3" else report.subtitle]
    expected += [in_language(fact.title, language) for fact in report.facts]
    for table in report.tables:
        expected += [in_language(column.title, language) for column in table.columns]
        for row in table.rows:
            for cell, column in zip(row, table.columns, strict=True):
                expected.append(documents.shown(cell, column.kind, column.places, report, language))
    squeezed = text.replace(" ", "").replace("\u00a0", "")
    missing = {said for said in expected if _squeezed(said) not in squeezed}
    assert missing == set()
    assert "\ufffd" not in text


@every_report
@every_language
def test_nothing_is_drawn_outside_of_the_margins_and_nothing_over_something_else(code: str, language: str) -> None:
    for page in drawn(code, language):
        ink = page.image.point(lambda shade: 255 if shade < 200 else 0).getbbox()
        assert ink is not None
        margin = POINTS_OF_MARGIN * SCALE
        assert ink[0] >= margin
        assert ink[2] <= page.image.width - margin
        assert ink[1] >= margin
        assert ink[3] <= page.image.height - margin / 2  # the footer stands in the lower margin
        assert _overlapping(page) == []


@every_language
def test_every_letter_is_drawn_as_itself(language: str) -> None:
    """A letter that a font does not have would be an empty box, the same for all; a mark that is lost leaves the bare
    letter."""
    shapes: dict[str, bytes] = {}
    boxes: dict[str, tuple[float, float, float, float]] = {}
    for page in drawn("R1", language):
        for letter, box in page.letters:
            if letter not in shapes and letter.isalpha():
                shapes[letter] = page.cut(box).resize((24, 24)).point(lambda shade: 255 if shade < 128 else 0).tobytes()
                boxes[letter] = box
    wanted = set(RUSSIAN) - {"ъ"} if language == "ru" else {*ROMANIAN, *"abcdefghilmnoprstuvz"}
    assert wanted <= shapes.keys()
    assert len({shapes[letter] for letter in wanted}) == len(wanted)
    assert all(any(shapes[letter]) for letter in wanted)


@every_language
def test_romanian_letters_have_their_marks(language: str) -> None:
    """ă, â and î reach higher than the bare letter, ș and ț deeper; and there is ink where they do."""
    [first, *_] = drawn("R1", language)  # the partner's name is there in both
    name = PARTNER.replace(" ", "")
    letters = [one for one in first.letters if not one[0].isspace()]
    begin = "".join(letter for letter, _ in letters).index(name)
    found = dict(reversed(letters[begin : begin + len(name)]))  # of one size
    for marked, bare in ROMANIAN.items():
        left, top, right, bottom = found[marked]
        height = bottom - top
        assert height > 1.15 * _height(found[bare]), marked
        mark = (
            (left, bottom - 0.18 * height, right, bottom) if marked in "șț" else (left, top, right, top + 0.18 * height)
        )
        assert first.cut(mark).getextrema()[0] < 128, marked


def _height(box: tuple[float, float, float, float]) -> float:
    return box[3] - box[1]


def _squeezed(said: str) -> str:
    return said.replace(" ", "").replace("\u00a0", "").replace("\u202f", "")


def _overlapping(page: Drawn) -> list[str]:
    """Letters that lie on one another by more than their forms explain; two that are drawn as one have one place."""
    rows: dict[int, list[tuple[str, tuple[float, float, float, float]]]] = {}
    for letter, box in page.letters:
        if not letter.isspace():
            rows.setdefault(round((box[1] + box[3]) / 2), []).append((letter, box))
    found = []
    for row in rows.values():
        for (one, box), (other, after) in pairwise(sorted(row, key=lambda letter: letter[1][0])):
            shared = min(box[2], after[2]) - after[0]
            if box != after and shared > 0.6 * min(box[2] - box[0], after[2] - after[0]):
                found.append(one + other)
    return found
