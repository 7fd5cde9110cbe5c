"""SQL of holds: the calls that record, and the reads of what was recorded. Rows in, rows out, no decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import asyncpg

from ledger.accounts import POINTS
from partners.promotions.basket import Lot
from partners.receipts.records import HoldRow, Promoted, ProofUse, Row
from partners.receipts.store import lot_columns, promoted_after, promoted_columns

_HOLD = "SELECT holder_id, seq, points, at, lapses_at, card_id, terms_id, reference FROM partners.hold "

_RECORD_CAPTURE = (
    "partners.record_capture($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,"
    "$25,$26,$27,$28,$29)"
)
_PROMOTED_CAPTURE = promoted_after(_RECORD_CAPTURE, unit="$2", holder="$6", first=30)


async def record_hold(pool: asyncpg.Pool, row: HoldRow, *, use: ProofUse, day: date, at: datetime) -> asyncpg.Record:
    """Set points aside; use is the proof to use up, day the programme's day of the instant."""
    return await pool.fetchrow(
        "SELECT * FROM partners.record_hold($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19)",
        POINTS, at, day, row.lapses_at, row.holder_id, row.claim, row.idem_key, row.fingerprint, row.partner_id,
        row.outlet_id, row.terminal_id, row.client_id, row.card_id, row.terms_id, row.reference, row.points,
        use.code_card, use.code_step, use.approval_no,
    )  # fmt: skip


async def record_capture(
    pool: asyncpg.Pool,
    row: Row,
    lots: Sequence[Lot],
    *,
    kind: int,
    hold_seq: int,
    points: int,
    at: datetime,
    promoted: Promoted | None = None,
) -> asyncpg.Record:
    """Capture points of a hold for a purchase (kind 1), or alone (kind 2), and let the rest of it go. Raises as
    `receipt_store.record_purchase`."""
    return await pool.fetchrow(
        f"SELECT * FROM {_RECORD_CAPTURE}" if promoted is None else _PROMOTED_CAPTURE,
        kind, POINTS, at, hold_seq, points, row.holder_id, row.claim, row.idem_key, row.fingerprint, row.partner_id,
        row.outlet_id, row.terminal_id, row.client_id, row.card_id, row.terms_id, row.reference, row.business_date,
        row.occurred_at, row.currency, row.total, row.awarded, row.detail, row.decision_json, *lot_columns(lots),
        *(promoted_columns([promoted]) if promoted else ()),
    )  # fmt: skip


async def record_release(
    pool: asyncpg.Pool,
    holder_id: int,
    hold_seq: int,
    *,
    claim: UUID,
    idem_key: UUID,
    fingerprint: UUID,
    partner_id: int,
    terms_id: int,
    at: datetime,
) -> asyncpg.Record:
    """Let a hold go."""
    return await pool.fetchrow(
        "SELECT * FROM partners.record_release($1,$2,$3,$4,$5,$6,$7,$8,$9)",
        POINTS, at, hold_seq, holder_id, claim, idem_key, fingerprint, partner_id, terms_id,
    )  # fmt: skip


async def hold(pool: asyncpg.Pool, partner_id: int, holder_id: int, seq: int) -> asyncpg.Record | None:
    """What a partner said of its hold; None where there is none or it is another partner's."""
    found: asyncpg.Record | None = await pool.fetchrow(
        _HOLD + "WHERE holder_id = $2 AND unit = 1 AND seq = $3 AND partner_id = $1", partner_id, holder_id, seq
    )
    return found


async def hold_by_claim(pool: asyncpg.Pool, partner_id: int, holder_id: int, claim: UUID) -> asyncpg.Record | None:
    """The hold of a holder that was placed under a claim."""
    found: asyncpg.Record | None = await pool.fetchrow(
        _HOLD + "WHERE holder_id = $2 AND unit = 1 AND claim = $3 AND partner_id = $1", partner_id, holder_id, claim
    )
    return found


async def claim_by_idem_key(pool: asyncpg.Pool, idem_key: UUID) -> asyncpg.Record | None:
    """What an idempotency key was used for: claim, fingerprint, holder_id."""
    found: asyncpg.Record | None = await pool.fetchrow(
        "SELECT claim, fingerprint, holder_id FROM partners.receipt_claim WHERE idem_key = $1", idem_key
    )
    return found
