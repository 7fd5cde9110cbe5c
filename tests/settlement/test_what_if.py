"""What-if: the same functions with other prices, and nothing written."""

from __future__ import annotations

from typing import Any

import pytest

from settlement import what_if

Coalition = Any


async def test_a_draft_is_rated_by_the_same_functions_and_nothing_is_written(coalition: Coalition) -> None:
    a, b = await coalition.partner("a"), await coalition.partner("b")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    await coalition.spend(member, "b", b, 600)
    await coalition.settle()
    before = await coalition.rows()
    async with coalition.database.reading() as connection:
        found = {d.kind: d for d in await what_if.compare(connection, 1, 1, {"service_price_micro": 2_500})}
        assert found["ACTIVATION"].base_micro == -10_000_000
        assert found["NET"].delta_micro == -1_000 * 1_000
        other = {d.kind: d for d in await what_if.compare(connection, 1, 2, {"reimbursement_price_micro": 9_000})}
        assert other["REDEMPTION"].delta_micro == 600 * 1_000
        for changes in ({}, {"service_price_micro": -1}, {"name": 1}, {"hybrid_fund_micro": 9_000_000}):
            with pytest.raises(what_if.WhatIfInvalid):
                await what_if.compare(connection, 1, 1, changes)
    assert await coalition.rows() == before
