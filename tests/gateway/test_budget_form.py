"""The form of a new budget: what it says to the API, and at which field it is told what was expected."""

from __future__ import annotations

import pytest
from hypothesis import given as having
from hypothesis import strategies as st

from gateway.pages import budget_form
from gateway.pages.workplace import Problem
from partners.promotions.documents import BudgetDocument, read_as

TYPED = {"code": " cap ", "unit": "points", "limit": "1", "period": "total", "zone": "UTC", "onExceed": "deny"}


@pytest.mark.parametrize(
    ("unit", "limit", "sent"),
    [
        ("points", "12\u00a0000", "12000"),
        ("points", "007", "7"),
        ("count", "", "-1"),
        ("points", "1.5", "-1"),
        ("points", "1,000", "-1"),  # a thousand to one, one to another
        ("points", "-5", "-1"),
        ("points", "\u0661", "-1"),
        ("points", "9" * 19, "-1"),
        ("money", "", "0"),
        ("money", "0", "0"),
        ("money", "5", "-1"),
    ],
)
def test_a_limit_is_a_whole_number_or_one_that_no_budget_has(unit: str, limit: str, sent: str) -> None:
    assert budget_form.given({**TYPED, "unit": unit, "limit": limit})["limit"] == sent


@pytest.mark.parametrize(
    ("period", "days", "sent"),
    [("month", "", "month"), ("rolling", "30", "rolling:30"), ("rolling", "", "rolling:"), ("month", "30", "month:30")],
)
def test_days_and_the_period_are_told_together(period: str, days: str, sent: str) -> None:
    assert budget_form.given({**TYPED, "period": period, "days": days})["period"] == sent


def test_what_is_left_empty_is_nobodys_and_boxes_are_scopes() -> None:
    told = budget_form.given({**TYPED, "scope member": "1", "scope outlet": "1", "scope moon": "1", "sponsor": " "})
    assert (told["code"], told["sponsor"], told["currencyCode"]) == ("cap", None, None)
    assert told["scopes"] == ["member", "outlet"]
    assert budget_form.given({})["unit"] == ""  # and the API says so


@having(st.integers(0, 10**15), st.sampled_from(list(budget_form.BUDGET_SCOPES)), st.integers(1, 999))
def test_whatever_the_form_offers_is_a_budget(limit: int, scope: str, days: int) -> None:
    typed = {
        **TYPED,
        "limit": f"{limit:,}".replace(",", " "),
        "scope " + scope: "1",
        "period": "rolling",
        "days": str(days),
    }
    for unit in set(budget_form.UNITS) - {"money"}:
        for end in budget_form.EXHAUSTED:
            told = budget_form.given({**typed, "unit": unit, "onExceed": end})
            source = {name: told[name] for name in ("code", "unit", "scopes", "period", "zone")}
            made = read_as(BudgetDocument, {**source, "limit": int(told["limit"]), "on_exceed": told["onExceed"]})
            assert (made.limit, made.rolling_days, made.scopes) == (limit, days, (scope,))


def test_each_part_that_the_api_finds_wrong_is_a_field_of_the_form_in_its_order() -> None:
    every = ("on_exceed", "zone", "period", "scopes", "limit", "currency", "unit", "code")
    told = budget_form.wrong(Problem("BUDGET_INVALID", parts=every), TYPED)
    assert list(told) == ["code", "unit", "currency", "limit", "scopes", "period", "zone", "onExceed"]
    assert list(budget_form.wrong(Problem("BUDGET_INVALID", parts=("period",)), {**TYPED, "days": "x"})) == ["days"]
    of_money = budget_form.wrong(Problem("BUDGET_INVALID", parts=("limit",)), {**TYPED, "unit": "money"})
    assert of_money["limit"] != told["limit"]
    for code, name in (("BUDGET_EXISTS", "code"), ("BUDGET_RESERVED", "code"), ("PARTNER_UNKNOWN", "sponsor")):
        assert list(budget_form.wrong(Problem(code), TYPED)) == [name]
    assert budget_form.wrong(Problem("FORBIDDEN"), TYPED) == {}
