"""How tills keep a partner to its cap: a budget of points that every purchase of the partner counts against.

Where the one of BLOCK is used up, purchases earn nothing. Where the one of PENDING_HOLD is, they earn points that stay
pending until they are let go. ALERT is measured and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.promotions import budgets
from partners.terms import OPERATOR, exposure_code, holding_code
from settlement.exposure.caps import BLOCK, PENDING_HOLD
from settlement.exposure.limits import UNLIMITED
from settlement.windows.cycle import SYSTEM

_CODES: Mapping[str, Callable[[str], str]] = {BLOCK: exposure_code, PENDING_HOLD: holding_code}


class TillLimits:
    """Limits as budgets of the partners' purchases."""

    async def used(self, connection: AsyncConnection, partner_code: str, policy: str) -> int:
        """How many points count against the partner's limit of a policy; 0 where there is none yet."""
        if policy not in _CODES:
            return 0
        try:
            found = await budgets.usage(connection, _CODES[policy](partner_code))
        except budgets.BudgetUnknown:
            return 0
        return sum(one.used for one in found)

    async def given_back(self, connection: AsyncConnection, partner_code: str, policy: str, *, since: int) -> int:
        """How many points returns gave back to the partner's limit of a policy in transactions from a number on."""
        if policy not in _CODES:
            return 0
        try:
            return await budgets.given_back(connection, _CODES[policy](partner_code), since=since)
        except budgets.BudgetUnknown:
            return 0

    async def limit(self, connection: AsyncConnection, partner_code: str, policy: str) -> int:
        """How many points may be counted in all under the limit of a policy; very many where tills keep none."""
        if policy not in _CODES:
            return UNLIMITED
        try:
            return (await budgets.read(connection, _CODES[policy](partner_code))).ceiling
        except budgets.BudgetUnknown:
            return UNLIMITED

    async def set_limit(
        self, connection: AsyncConnection, partner_code: str, points: int, *, policy: str, at: datetime
    ) -> None:
        """Let so many points be counted in all from now on; nothing for a policy that tills do not keep."""
        if policy not in _CODES:
            return
        code = _CODES[policy](partner_code)
        try:
            held = await budgets.read(connection, code)
        except budgets.BudgetUnknown:
            source = {"code": code, "unit": "points", "limit": points}
            await budgets.add(connection, source=source, sponsor_id=OPERATOR, actor=SYSTEM, at=at)
            return
        if held.ceiling != points:
            await budgets.set_limit(connection, code, points, actor=SYSTEM, at=at)

    async def lift(self, connection: AsyncConnection, partner_code: str, *, policy: str, at: datetime) -> None:
        """Limit a partner no more that was held to a policy. Its budget stays, and everything fits into it."""
        if policy not in _CODES:
            return
        code = _CODES[policy](partner_code)
        try:
            held = await budgets.read(connection, code)
        except budgets.BudgetUnknown:
            return
        if held.ceiling != UNLIMITED:
            await budgets.set_limit(connection, code, UNLIMITED, actor=SYSTEM, at=at)
