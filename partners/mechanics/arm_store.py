"""Statements on the arms of members in experiments. Private to the partners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg


async def arms(
    pool: asyncpg.Pool, wanted: Sequence[tuple[int, str]], at: datetime
) -> list[tuple[str | None, int | None]]:
    """Of members in experiments, given as (holder, experiment), the stored arm (None where there is none), and then the
    household; in order."""
    rows = await pool.fetch(
        "SELECT arm, household_id FROM partners.arms_of($1, $2, $3) ORDER BY ord",
        [holder_id for holder_id, _ in wanted],
        [experiment for _, experiment in wanted],
        at,
    )
    return [(row["arm"], row["household_id"]) for row in rows]


async def keep(pool: asyncpg.Pool, drawn: Sequence[tuple[int, str, str, str]], at: datetime) -> list[str]:
    """Store arms, given as (holder, experiment, arm, who was drawn), where there is none yet; those that count, in
    order."""
    rows = await pool.fetch(
        "SELECT arm FROM partners.keep_arms($1, $2, $3, $4, $5) ORDER BY ord",
        [holder_id for holder_id, _, _, _ in drawn],
        [experiment for _, experiment, _, _ in drawn],
        [arm for _, _, arm, _ in drawn],
        [who for _, _, _, who in drawn],
        at,
    )
    return [row["arm"] for row in rows]
