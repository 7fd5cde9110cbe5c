"""What a gate finds against a launch or a raise has a sentence for people, whatever it finds."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.pages.operator_phrases import AGAINST, against
from partners.promotions.launching import Cover, Expectation, Objective, examine, examine_raise

TODAY = date(2026, 3, 2)
NONE_KEPT = {"cover": None}
SOME = {"cover": {"amount": "1.00", "currencyCode": "EUR"}}

figures = st.integers(-10, 10)
objectives = st.builds(
    Objective, st.sampled_from(["", " ", "visits", "x" * 101]), figures, figures.map(lambda n: TODAY + timedelta(n))
)
expectations = st.builds(Expectation, figures, st.integers(-10, 10_010), figures, figures, figures, figures)


@given(st.none() | objectives, expectations)
def test_whatever_stands_against_a_launch_has_a_sentence(objective: Objective | None, expected: Expectation) -> None:
    for one in examine(objective, expected, on=TODAY).problems:
        said = {"path": list(one.path), "code": one.code}
        assert against(said, SOME) is not None, said
        told = against(said, NONE_KEPT)
        assert told is not None
        assert "%(cover)s" not in told  # a figure that nobody kept is not told


@given(figures, st.none() | st.builds(Cover, figures, figures))
def test_whatever_stands_against_a_raise_has_a_sentence(more: int, cover: Cover | None) -> None:
    for one in examine_raise(more, cover)[1]:
        assert against({"path": list(one.path), "code": one.code}, SOME) in AGAINST.values()


def test_of_what_is_not_known_here_the_programs_own_sentence_is_shown() -> None:
    assert against({"path": ["cover"], "code": "SOMETHING_NEW"}, SOME) is None
