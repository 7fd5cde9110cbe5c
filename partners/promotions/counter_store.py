"""What is left of budgets, read before a decision. Rows in, rows out."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

# Each counter by its whole key, in a subquery: joined, with the budget from one table and the scope from another, the
# planner looks for it among all counters of the budget, which are as many as there are members. LIMIT: planned once,
# see FEW in partners/mechanics/fact_store.py.
_REMAINING = """
    SELECT w.code, w.scope, w.period, greatest(coalesce(b.ceiling, 0) - coalesce(CASE WHEN w.period LIKE '%/%'
      THEN partners.used_in_window(b.budget_id, w.scope, w.period)
      ELSE (SELECT c.used FROM partners.budget_counter c
            WHERE c.budget_id = b.budget_id AND c.scope = w.scope AND c.period = w.period) END, 0), 0) AS remaining
    FROM (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) LIMIT cardinality($1::text[]))
      AS w(code, scope, period)
    LEFT JOIN partners.budget b ON b.code = w.code
"""


async def remaining(pool: asyncpg.Pool, keys: Sequence[tuple[str, str, str]]) -> list[asyncpg.Record]:
    """What is left of budgets, each asked for as (code, scope, period): code, scope, period, remaining. A budget that
    there is no more has nothing left."""
    found: list[asyncpg.Record] = await pool.fetch(
        _REMAINING,
        [code for code, _, _ in keys],
        [scope for _, scope, _ in keys],
        [period for _, _, period in keys],
    )
    return found
