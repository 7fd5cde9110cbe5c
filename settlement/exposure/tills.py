"""How tills keep a partner to its cap: a budget of points that every purchase of the partner counts against.

Only BLOCK is kept there: where it is used up, purchases earn nothing. PENDING_HOLD grants points that stay pending,
which a purchase cannot do yet; like ALERT it is measured and told.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.promotions import budgets
from partners.terms import OPERATOR, exposure_code
from settlement.exposure.caps import BLOCK
from settlement.windows.cycle import SYSTEM


class TillLimits:
    """Limits as budgets of the partners' purchases."""

    async def used(self, connection: AsyncConnection, partner_code: str) -> int:
        """How many points were ever counted against the partner's limit; 0 where there is none yet."""
        try:
            found = await budgets.usage(connection, exposure_code(partner_code))
        except budgets.BudgetUnknown:
            return 0
        return sum(one.used for one in found)

    async def set_limit(
        self, connection: AsyncConnection, partner_code: str, points: int, *, policy: str, at: datetime
    ) -> None:
        """Let so many points be counted in all from now on; nothing for a policy that tills do not keep."""
        if policy != BLOCK:
            return
        code = exposure_code(partner_code)
        try:
            held = await budgets.read(connection, code)
        except budgets.BudgetUnknown:
            source = {"code": code, "unit": "points", "limit": points}
            await budgets.add(connection, source=source, sponsor_id=OPERATOR, actor=SYSTEM, at=at)
            return
        if held.ceiling != points:
            await budgets.set_limit(connection, code, points, actor=SYSTEM, at=at)
