from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.secrets import Vault
from partners.coupons import codes


def test_a_drawn_code_is_twelve_characters_and_a_check_and_reads_as_itself() -> None:
    drawn = {codes.draw() for _ in range(200)}
    assert len(drawn) == 200
    for code in drawn:
        assert len(code) == codes.LENGTH + 1
        assert not set(code[: codes.LENGTH]) & set("ILOU")
        assert codes.normal(code) == code
        assert codes.normal(codes.shown(code).lower()) == code


@given(
    body=st.text(codes.ALPHABET, min_size=12, max_size=12), at=st.integers(0, 11), other=st.sampled_from(codes.ALPHABET)
)
def test_one_wrong_character_is_seen(body: str, at: int, other: str) -> None:
    code = body + codes.check_character(body)
    wrong = code[:at] + other + code[at + 1 :]
    assert (codes.normal(wrong) is None) == (wrong != code)


@given(body=st.text(codes.ALPHABET, min_size=12, max_size=12), at=st.integers(0, 10))
def test_two_neighbours_that_changed_places_are_seen(body: str, at: int) -> None:
    turned = body[:at] + body[at + 1] + body[at] + body[at + 2 :]
    assert (codes.normal(turned + codes.check_character(body)) is None) == (turned != body)


def test_letters_that_look_like_figures_are_read_as_these() -> None:
    body = "101010101010"
    code = body + codes.check_character(body)
    assert codes.normal("IoLOiO 1o10-10" + code[-1]) == code


@pytest.mark.parametrize("text", ["", "ABC", "SUMMER-26", "7" * 13, "0" * 100, "ÄÖÜ4567890123"])
def test_what_cannot_be_a_code_is_none(text: str) -> None:
    assert codes.normal(text) is None


def test_a_word_is_no_code_and_a_code_is_no_word(vault: Vault) -> None:
    assert codes.normal_word(" summer-26 ") == "SUMMER-26"
    assert [codes.normal_word(text) for text in ("abc", "a b c d", "ÄÖÜß", "x" * 33)] == [None] * 4
    body = "0123456789AB"
    code = body + codes.check_character(body)
    assert codes.normal_word(code) is None
    assert codes.lookup(vault, "SUMMER-26") != codes.lookup(vault, "SUMMER-27")
