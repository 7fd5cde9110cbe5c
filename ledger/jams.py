"""Jams: accounts that a batch has waited for in vain, remembered as long as somebody keeps them locked.

A batch waits for its locks some seconds at most (`lock_timeout` of the routines). Whose they are is looked for without
waiting, and what comes for the same account is not sent before the account is free: one jam costs one wait.
"""

from __future__ import annotations

from collections.abc import Collection

import asyncpg

from ledger import batch_store
from ledger.accounts import POINTS


class Jams:
    """What one process knows of them, for the accounts of one unit."""

    def __init__(self, pool: asyncpg.Pool, unit: int = POINTS) -> None:
        self._pool = pool
        self._unit = unit
        self._known: set[int] = set()

    async def known(self, holder_ids: Collection[int]) -> set[int]:
        """Those of the accounts that were jammed before and still are. Asks nobody where none of them was."""
        suspects = self._known.intersection(holder_ids)
        return await self.look(suspects) if suspects else suspects

    async def look(self, holder_ids: Collection[int]) -> set[int]:
        """Those of the accounts that somebody has locked right now; they are remembered, the others forgotten."""
        busy = await batch_store.busy_accounts(self._pool, holder_ids, self._unit)
        self._known.difference_update(holder_ids)
        self._known |= busy
        return busy
