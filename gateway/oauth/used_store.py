"""The statement that remembers ids of proofs and assertions, on the raw pool."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

# A batch takes away up to twice what it brings of what can be shown no more, so the table stays as large as a minute.
_CLAIM = """
WITH swept AS (
  DELETE FROM gateway.used_id WHERE id IN (
    SELECT id FROM gateway.used_id WHERE until < $3 ORDER BY until LIMIT 2 * cardinality($1::uuid[])
    FOR UPDATE SKIP LOCKED)
)
INSERT INTO gateway.used_id (id, until)
SELECT id, until FROM unnest($1::uuid[], $2::timestamptz[]) AS given (id, until) ORDER BY id
ON CONFLICT (id) DO NOTHING RETURNING id
"""


async def claim(pool: asyncpg.Pool, ids: Sequence[UUID], untils: Sequence[datetime], at: datetime) -> set[UUID]:
    """Of ids that are each given once, those that nobody had claimed before; they are claimed until their instants."""
    return {row["id"] for row in await pool.fetch(_CLAIM, list(ids), list(untils), at)}
