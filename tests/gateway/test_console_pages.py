"""The staff's console in a real browser: who is let in, what their roles open, and what finance does there."""

from __future__ import annotations

import pytest

from gateway.pages import sections
from kit import actors


def test_a_section_is_found_by_the_pages_below_it_and_opened_by_its_roles() -> None:
    assert [each.name for each in sections.open_to(frozenset({actors.AGREEMENT_MAKER}))] == ["Agreements"]
    assert sections.open_to(frozenset()) == []
    found = sections.section_of("/console/statements/stm_1/lines")
    assert found is not None
    assert (found.name, found.path) == ("Settlement", "/console/runs")
    assert sections.section_of("/console/runsandmore") is None
    assert sections.section_of(sections.HOME) is None


@pytest.mark.parametrize("role", sorted({role for each in sections.OF_FINANCE for role in each.roles}))
def test_every_role_of_finance_and_of_agreements_is_one_that_there_is(role: str) -> None:
    assert role in actors.ROLES
