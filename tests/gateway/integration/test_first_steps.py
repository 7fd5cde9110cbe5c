"""What an input says was done besides a purchase, wherever in it that stands."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.integration.first_steps import HOLD_CAPTURED, OFFLINE, POINTS_SPENT, told_besides

RECEIPT = {"reference": "A-1", "lines": [{"lineId": "1", "amount": "5.00"}], "payments": []}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, set()),
        ({"input": {"receipt": RECEIPT, "redeem": None}}, set()),
        ({"input": {"receipt": RECEIPT | {"entryMode": "ONLINE"}}}, set()),
        ({"input": {"receipt": RECEIPT, "redeem": {"points": "5"}}}, {POINTS_SPENT}),
        ({"receipt": RECEIPT, "redeem": {"holdId": "hld_1"}}, {POINTS_SPENT, HOLD_CAPTURED}),
        ({"how": {"holdId": "hld_1"}, "receipt": RECEIPT}, {HOLD_CAPTURED}),
        ({"input": {"items": [{"receipt": RECEIPT | {"entryMode": "OFFLINE"}}, {}]}}, {OFFLINE}),
        ({"mode": "OFFLINE"}, set()),
    ],
)
def test_an_input_tells_what_is_done_with_it_however_a_program_names_its_variables(
    variables: dict[str, Any], told: set[str]
) -> None:
    assert told_besides(variables) == told


def test_of_a_list_the_first_is_looked_at_and_what_is_nested_without_end_is_left() -> None:
    assert told_besides({"items": [{}, {"redeem": {"points": "5"}}]}) == set()
    deep: dict[str, Any] = {"redeem": {"points": "5"}}
    for _ in range(10):
        deep = {"inside": deep}
    assert told_besides(deep) == set()
