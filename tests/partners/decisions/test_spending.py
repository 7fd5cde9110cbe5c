"""How much of a bill points may pay, and how they fall on the lines."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from partners.decisions import spending
from partners.receipts.receipts import Line
from tests.builders import PROGRAMME
from tests.partners.decisions.test_earning import TERMS


@given(st.integers(0, 10**10), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10**9))
def test_points_never_pay_more_than_the_smaller_share_or_the_balance(
    total: int, ceiling: int, share: int, balance: int
) -> None:
    programme, terms = replace(PROGRAMME, bill_ceiling_bp=ceiling), replace(TERMS, bill_share_bp=share)
    found = spending.limit(total, terms=terms, programme=programme, available=balance)
    assert found.points <= balance
    assert found.value_minor * 10_000 <= total * min(ceiling, share)


def test_the_limit_names_what_bound_it() -> None:
    def bound(**how: object) -> str:
        return spending.limit(10_000, terms=TERMS, **{"programme": PROGRAMME, "available": 10**6, **how}).bound_by  # type: ignore[arg-type]

    assert bound() == "AGREEMENT_SHARE"
    assert bound(programme=replace(PROGRAMME, bill_ceiling_bp=100)) == "PROGRAMME_CEILING"
    assert bound(available=3) == "BALANCE"
    assert bound(locked=True) == "SPEND_LOCK"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.data())
def test_points_and_their_value_are_spread_over_the_lines_without_remainder(
    parts: list[int], data: st.DataObject
) -> None:
    points = data.draw(st.integers(0, sum(parts)))
    lines = [Line(str(number), "GOODS", amount) for number, amount in enumerate(parts)]
    paid, earn_lines = spending.spread(lines, points, points)
    assert sum(paid) == sum(line.points_value_minor for line in earn_lines) == points
    assert all(line.points_value_minor <= line.amount_minor for line in earn_lines)
