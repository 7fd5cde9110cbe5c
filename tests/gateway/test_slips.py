"""What a slip says, in three languages with their plurals."""

from __future__ import annotations

import pytest

from gateway import slips


@pytest.mark.parametrize(
    ("points", "language", "expected"),
    [
        (1, "en", "1 point"), (2, "en", "2 points"), (1234, "en", "1,234 points"),
        (1, "ru", "1 балл"), (22, "ru", "22 балла"), (11, "ru", "11 баллов"), (25, "ru", "25 баллов"),
        (1, "ro", "1 punct"), (5, "ro", "5 puncte"), (20, "ro", "20 de puncte"),
    ],
)  # fmt: skip
def test_points_take_the_plural_of_the_language(points: int, language: str, expected: str) -> None:
    assert slips.points_text(points, language) == expected


def test_every_sentence_is_there_in_every_language() -> None:
    for name, sentences in slips._TEXTS.items():
        assert set(sentences) == {"en", "ru", "ro"}, name


def test_a_reason_names_its_rate_and_amount() -> None:
    facts = {"eligible_minor": 123_45, "rate_bp": 150}
    assert slips.reason_text("BASE", facts, "EUR", "en") == "1.5% of €123.45"
    assert slips.reason_text("BASE", facts, "EUR", "ro").startswith("1,5% din")
    assert slips.reason_text("SOMETHING_NEW", {}, "EUR", "en") == "SOMETHING_NEW"


def test_a_slip_says_what_moved_and_leaves_out_what_did_not() -> None:
    assert slips.slip_lines("en", earned=5, available=12) == ["Earned: 5 points", "Available: 12 points"]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "Owed, to be taken from the next points: 2 points"),
        ("ru", "Долг, будет списан из следующих начислений: 2 балла"),
        ("ro", "Datorat, se va reține din punctele următoare: 2 puncte"),
    ],
)
def test_what_is_owed_is_said_last_in_every_language(language: str, expected: str) -> None:
    assert slips.slip_lines(language, available=0, debt=2)[-1] == expected
