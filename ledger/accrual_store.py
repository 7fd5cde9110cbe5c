"""SQL of accruals on the hot path: one call for one, one call for many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from ledger.accruals import Accrual, Lot


async def accrue_one(pool: asyncpg.Pool, unit: int, item: Accrual, at: datetime) -> asyncpg.Record:
    """Record one accrual: status, seq, available, pending."""
    if len(item.lots) == 1:
        [lot] = item.lots
        return await pool.fetchrow(
            "SELECT status, seq, available, pending FROM ledger.accrue_lot($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)",
            item.holder_id, unit, item.partner_id, item.idem_key, item.fingerprint, at, lot.issuer_id, lot.funder_id,
            lot.terms_id, lot.points, lot.activates_at, lot.expires_at,
        )  # fmt: skip
    return await pool.fetchrow(
        "SELECT status, seq, available, pending FROM ledger.accrue($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)",
        item.holder_id, unit, item.partner_id, item.idem_key, item.fingerprint, at, *_lot_columns(item.lots),
    )  # fmt: skip


async def accrue_many(
    pool: asyncpg.Pool, unit: int, items: Sequence[Accrual], at: datetime
) -> Sequence[asyncpg.Record]:
    """Record accruals, of one account several too, in one call: the same columns per item, in order."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT * FROM ledger.accrue_many($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13)",
        unit,
        at,
        [item.holder_id for item in items],
        [item.partner_id for item in items],
        [item.idem_key for item in items],
        [item.fingerprint for item in items],
        list(accumulate(len(item.lots) for item in items)),
        *_lot_columns([lot for item in items for lot in item.lots]),
    )
    return sorted(found, key=itemgetter("ord"))


def _lot_columns(lots: Sequence[Lot]) -> list[list[Any]]:
    return [
        [lot.issuer_id for lot in lots],
        [lot.funder_id for lot in lots],
        [lot.terms_id for lot in lots],
        [lot.points for lot in lots],
        [lot.activates_at for lot in lots],
        [lot.expires_at for lot in lots],
    ]
