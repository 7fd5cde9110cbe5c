"""Conditions: the traps of the engine are closed, a second engine agrees, and an author is told what is wrong where."""

from __future__ import annotations

from typing import Any

import cel
import pytest

from partners.promotions import expressions
from partners.promotions.basket import Counters, Member
from partners.promotions.expressions import ERRED, FAILS, HOLDS, ExpressionInvalid, Facts, Predicate, plain_facts
from tests.partners.promotions.expression_corpus import BASKET, CONTEXT, rows
from tests.partners.promotions.offers import basket, context, line

CORPUS = rows()
FACTS = Facts(BASKET, CONTEXT)


class SecondEngine:
    """common-expression-language, which is written by other people in another language."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.context = cel.Context(variables=facts)

    def answer(self, source: str) -> str:
        """HOLDS only for what is True itself; everything that is neither true nor false is ERRED."""
        try:
            result = cel.evaluate(source, self.context)
        except (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError):
            return ERRED
        if result is True:
            return HOLDS
        return FAILS if result is False else ERRED


SECOND = SecondEngine(plain_facts(BASKET, CONTEXT))


def test_the_corpus_is_as_long_as_it_should_be_and_no_row_stands_twice() -> None:
    assert len({source for source, _ in CORPUS}) == len(CORPUS) >= 200


@pytest.mark.parametrize(("source", "expected"), CORPUS)
def test_both_engines_answer_every_row_alike(source: str, expected: str) -> None:
    """Oracle A-13."""
    assert Predicate(source).answer(FACTS).state == expected
    assert SECOND.answer(source) == expected


def test_an_error_is_a_value_that_python_would_take_for_true_and_it_does_not_hold() -> None:
    """Trap 1: asked naively the engine's answer is a text, and a text is true."""
    naive = expressions._compiled("1 / 0 == 1").eval(FACTS.activation()).value()
    assert isinstance(naive, str)
    assert naive
    assert Predicate("1 / 0 == 1").holds(FACTS) is None
    answer = Predicate("1 / 0 == 1").answer(FACTS)
    assert (answer.state, "divide by zero" in answer.error) == (ERRED, True)


def test_a_budget_of_iterations_that_is_overrun_is_an_error_too() -> None:
    facts = Facts(basket(*(line(number, 1) for number in range(10_001))), context())
    assert Predicate("basket.lines.all(l, l.amount_minor == 1)").holds(facts) is None
    fewer = Facts(basket(*(line(number, 1) for number in range(500))), context())
    assert Predicate("basket.lines.all(l, l.amount_minor == 1)").holds(fewer) is True


def test_facts_that_do_not_fit_make_every_condition_err() -> None:
    facts = Facts(basket(), context(member=Member(age_days=2**63)))
    assert Predicate("true").holds(facts) is None
    assert Predicate("member.age_days > 0").answer(facts).state == ERRED


def test_the_compiled_form_is_no_artefact_and_the_source_is_kept() -> None:
    """Trap 3: what would be serialised differs from time to time."""
    assert Predicate('member.tier == "GOLD"').source == 'member.tier == "GOLD"'


@pytest.mark.parametrize(
    ("source", "column", "told"),
    [
        ('member.teir == "GOLD"', 7, "expected tier"),
        ('basket.lines.exists(l, l.categry == "coffee")', 25, "expected category"),
        ("hour >= 8", 1, "expected one of basket, member, local, place, event, coupons"),
        ('local.hour >= "8"', 12, "one type"),
        ("member.tier == 3", 13, "one type"),
        ("member.tier", 1, "true or false"),
        ("basket.total_minor > 1.5", 22, "whole numbers"),
        ("basket.total_minor > 1e3", 22, "whole numbers"),
        ('member.counters["partner.evr.count"] == 0', 18, "expected partner.ever.count"),
        ('timestamp(local.date) == timestamp("2026-01-01T00:00:00Z")', 1, "local"),
        ("double(local.hour) > 1", 1, "local"),
        ("basket.lines.exists(l, basket.lines.exists(k, k.no == l.no))", 43, "one loop at a time"),
        ("member.tier ==", 15, "Syntax error"),
        ("true) || (true", 5, "Syntax error"),
    ],
)
def test_what_is_wrong_is_told_by_column_with_what_was_expected(source: str, column: int, told: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        expressions.check(source)
    assert refused.value.column == column
    assert told in refused.value.message


@pytest.mark.parametrize(
    "source",
    [
        "basket.lines.filter(l, l.no > 0).map(l, l.no).size() > 0",
        "basket.lines.exists(l, l.no > 0) && basket.lines.all(l, l.no < 9)",
        'member.tier == "1.5 timestamp( .exists("',
        'member.counters["partner.ever.count"] == 0 || !("partner.ever.count" in member.counters)',
    ],
)
def test_what_is_sound_passes(source: str) -> None:
    expressions.check(source)


def test_an_expression_over_a_line_may_speak_of_it_and_must_not_loop() -> None:
    expressions.check_line('l.category == "coffee" && l.amount_minor >= 100')
    for source in ('l.categry == "x"', "l.category", "basket.lines.exists(k, k.no == l.no)", "l.amount_minor > 0.5"):
        with pytest.raises(ExpressionInvalid):
            expressions.check_line(source)


def test_a_selection_names_lines_by_position_and_none_where_it_errs() -> None:
    assert expressions.selection('l.category in ["coffee", "tobacco"]').lines(FACTS) == (0, 3)
    assert expressions.selection("l.amount_minor > 10000").lines(FACTS) == ()
    assert expressions.selection("10 / l.amount_minor > 10000").lines(FACTS) is None


def test_only_what_is_asked_about_is_built() -> None:
    named = expressions.needed(['member.tier == "basket.lines"', 'basket.lines.exists(x, x.sku == "a")'])
    assert named == {"basket": ("lines",), "member": ("tier",), "Line": ("sku",)}
    few = Facts(BASKET, CONTEXT, named)
    assert Predicate('member.tier == "GOLD"').holds(few) is True
    assert Predicate('basket.lines.exists(x, x.sku == "tob-2")').holds(few) is True
    assert Predicate("local.hour > 1").holds(few) is None


@pytest.mark.parametrize(("source", "expected"), CORPUS)
def test_a_row_is_answered_alike_when_only_what_it_names_is_built(source: str, expected: str) -> None:
    facts = Facts(BASKET, CONTEXT, expressions.needed([source]))
    assert Predicate(source).answer(facts).state == expected


def test_the_values_that_explain_a_condition_are_its_left_sides() -> None:
    source = 'size(basket.lines.filter(l, l.category == "coffee")) >= 2 && (local.hour < 9 || member.tier == "X")'
    assert expressions.subjects(source) == (
        'size(basket.lines.filter(l, l.category == "coffee"))', '(local.hour < 9 || member.tier == "X")',
    )  # fmt: skip
    assert expressions.actual("size(basket.lines)", FACTS) == 5
    assert expressions.actual("1 / 0", FACTS) is None
    assert Counters.key("a", "", "") == "a//"
