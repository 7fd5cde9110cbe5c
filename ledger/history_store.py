"""Statements on the past. Private to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_BALANCE = text("SELECT * FROM ledger.balance_at(:holder_id, CAST(:unit AS smallint), :at)")
_LOTS = text("""
    SELECT seq, lot_no, issuer_id, funder_id, terms_id, granted, remaining, held, is_active, activates_at, expires_at
    FROM ledger.lots_at(ARRAY[CAST(:holder_id AS bigint)], CAST(:unit AS smallint), :at) ORDER BY seq, lot_no
""")
_OUTSTANDING = text("""
    SELECT issuer_id, funder_id, terms_id,
           coalesce(sum(remaining + held) FILTER (WHERE is_active), 0)::bigint AS active,
           coalesce(sum(remaining) FILTER (WHERE NOT is_active), 0)::bigint AS pending, sum(held)::bigint AS held
    FROM (
      SELECT issuer_id, funder_id, terms_id, remaining, held, is_active
      FROM ledger.lots_at(NULL, CAST(:unit AS smallint), :at)
      UNION ALL  -- on its way between two holders
      SELECT p.issuer_id, p.funder_id, p.lot_terms_id, CASE p.credit WHEN 14 THEN p.amount ELSE -p.amount END, 0,
             1 IN (p.debit, p.credit)
      FROM ledger.posting p JOIN ledger.journal j USING (holder_id, unit, seq)
      WHERE p.unit = :unit AND 14 IN (p.debit, p.credit) AND j.recorded_at <= :at
    ) owned
    GROUP BY issuer_id, funder_id, terms_id HAVING sum(remaining + held) > 0
    ORDER BY issuer_id, funder_id, terms_id
""")
_ENTRIES = text("""
    SELECT j.seq, k.code AS kind, j.amount, j.ref_seq, j.partner_id, j.at, j.recorded_at,
           j.available_after, j.pending_after, j.held_after, j.debt_after
    FROM ledger.journal j JOIN ledger.entry_kind k USING (kind)
    WHERE j.holder_id = :holder_id AND j.unit = :unit
      AND j.seq > greatest(:after, ledger.entry_until(:holder_id, CAST(:unit AS smallint), :before))
      AND j.seq <= ledger.entry_until(:holder_id, CAST(:unit AS smallint), :last)
    ORDER BY j.seq LIMIT :limit
""")


_POSTINGS = text("""
    SELECT p.leg, d.code AS debit, c.code AS credit, p.amount AS points, p.issuer_id, p.funder_id, p.partner_id,
           p.lot_seq, p.lot_no, p.lot_terms_id, p.terms_id, p.cutoff_id
    FROM ledger.posting p JOIN ledger.account_kind d ON d.kind = p.debit JOIN ledger.account_kind c ON c.kind = p.credit
    WHERE p.holder_id = :holder_id AND p.unit = :unit AND p.seq = :seq ORDER BY p.leg
""")
_LATEST = text("""
    SELECT j.seq, k.code AS kind, j.amount, j.ref_seq, j.partner_id, j.at, j.recorded_at,
           j.available_after, j.pending_after, j.held_after, j.debt_after,
           coalesce(b.available_after + b.pending_after + b.held_after - b.debt_after, 0) AS owned_before
    FROM ledger.journal j JOIN ledger.entry_kind k USING (kind)
         LEFT JOIN ledger.journal b ON b.holder_id = j.holder_id AND b.unit = j.unit AND b.seq = j.seq - 1
    WHERE j.holder_id = :holder_id AND j.unit = :unit AND (CAST(:before AS bigint) IS NULL OR j.seq < :before)
      AND (CAST(:kinds AS text[]) IS NULL OR k.code = ANY (CAST(:kinds AS text[])))
      AND (CAST(:partner_id AS int) IS NULL OR j.partner_id = :partner_id)
    ORDER BY j.seq DESC LIMIT :limit
""")


async def latest(
    connection: AsyncConnection,
    holder_id: int,
    unit: int,
    *,
    before: int | None,
    kinds: Sequence[str] | None,
    partner_id: int | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Entries before a number, or the last of all, of some kinds and a partner or of any, the latest first."""
    given = {
        "holder_id": holder_id, "unit": unit, "before": before, "limit": limit,
        "kinds": None if kinds is None else list(kinds), "partner_id": partner_id,
    }  # fmt: skip
    return (await connection.execute(_LATEST, given)).all()


async def answers(connection: AsyncConnection, holder_id: int, unit: int, seqs: Sequence[int]) -> Sequence[Row[Any]]:
    """Which entries answer these, which come before them: seq, ref_seq, in their order."""
    statement = text("""
        SELECT seq, ref_seq FROM ledger.journal
        WHERE holder_id = :holder_id AND unit = :unit AND seq > :first AND ref_seq = ANY (:seqs) ORDER BY seq
    """)
    given = {"holder_id": holder_id, "unit": unit, "first": min(seqs), "seqs": list(seqs)}
    return (await connection.execute(statement, given)).all()


async def postings(connection: AsyncConnection, holder_id: int, unit: int, seq: int) -> Sequence[Row[Any]]:
    """The postings of an entry, leg by leg."""
    return (await connection.execute(_POSTINGS, {"holder_id": holder_id, "unit": unit, "seq": seq})).all()


async def balance(connection: AsyncConnection, holder_id: int, unit: int, at: datetime) -> Row[Any] | None:
    """An account as it was at an instant."""
    return (await connection.execute(_BALANCE, {"holder_id": holder_id, "unit": unit, "at": at})).one_or_none()


async def lots(connection: AsyncConnection, holder_id: int, unit: int, at: datetime) -> Sequence[Row[Any]]:
    """An account's lots as they were at an instant."""
    return (await connection.execute(_LOTS, {"holder_id": holder_id, "unit": unit, "at": at})).all()


async def outstanding(connection: AsyncConnection, unit: int, at: datetime) -> Sequence[Row[Any]]:
    """What all lots held at an instant, by issuer, funder and terms."""
    return (await connection.execute(_OUTSTANDING, {"unit": unit, "at": at})).all()


async def entries(
    connection: AsyncConnection,
    holder_id: int,
    unit: int,
    *,
    before: datetime,
    last: datetime,
    after: int,
    limit: int,
) -> Sequence[Row[Any]]:
    """Entries recorded behind one instant up to another, beginning behind a number, in their order."""
    given = {"holder_id": holder_id, "unit": unit, "before": before, "last": last, "after": after, "limit": limit}
    return (await connection.execute(_ENTRIES, given)).all()
