"""Statements on transfers and adjustments. Private to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_OUT = text("""
    SELECT status, seq, available, pending, taken FROM ledger.transfer_out(
      :sender_id, CAST(:unit AS smallint), :receiver_id, CAST(:points AS bigint),
      CAST(:contributor_ids AS bigint[]), CAST(:ref_seq AS bigint), :is_spending, :is_whole, :takes_pending,
      :keeps_contributor, CAST(:idem_key AS uuid), CAST(:fingerprint AS uuid), :at, :day)
""")
_PARTS = text("""
    SELECT t.receiver_id, t.state, t.settled_seq, t.sent_at, p.issuer_id, p.funder_id, p.lot_terms_id AS terms_id,
           p.amount AS points, l.activates_at, t.expires[p.leg] AS expires_at, p.debit = 1 AS is_active,
           p.lot_seq, p.lot_no, l.contributor_id, l.contributor_seq, l.contributor_lot_no, t.keeps_contributor
    FROM ledger.transfer t
    JOIN ledger.posting p USING (holder_id, unit, seq)
    JOIN ledger.lot l ON l.holder_id = p.holder_id AND l.unit = p.unit AND l.seq = p.lot_seq AND l.lot_no = p.lot_no
    WHERE t.holder_id = :sender_id AND t.unit = :unit AND t.seq = :seq
    ORDER BY p.leg
""")
_IN = text("""
    SELECT status, seq, available, pending FROM ledger.transfer_in(
      CAST(:kind AS smallint), :holder_id, CAST(:unit AS smallint), :sender_id, :sender_seq, :at,
      CAST(:issuers AS int[]), CAST(:funders AS int[]), CAST(:terms AS int[]), CAST(:points AS bigint[]),
      CAST(:activates AS timestamptz[]), CAST(:expires AS timestamptz[]), CAST(:active AS boolean[]),
      CAST(:home_seqs AS bigint[]), CAST(:home_lot_nos AS smallint[]), CAST(:contributors AS bigint[]),
      CAST(:contributor_seqs AS bigint[]), CAST(:contributor_lot_nos AS smallint[]))
""")
_ADJUST = text("""
    SELECT status, seq, available, pending FROM ledger.adjust(
      :holder_id, CAST(:unit AS smallint), :points, CAST(:issuer_id AS int), CAST(:funder_id AS int),
      CAST(:terms_id AS int), CAST(:expires_at AS timestamptz), :key, :key, :at, CAST(:of AS uuid))
""")


async def transfer_out(connection: AsyncConnection, given: Mapping[str, Any]) -> Row[Any]:
    """The first half of a transfer, as ledger.transfer_out answers."""
    return (await connection.execute(_OUT, dict(given))).one()


async def parts(connection: AsyncConnection, sender_id: int, unit: int, seq: int) -> Sequence[Row[Any]]:
    """What a transfer carries, lot by lot, each with where the transfer stands; nothing where there is none."""
    return (await connection.execute(_PARTS, {"sender_id": sender_id, "unit": unit, "seq": seq})).all()


async def transfer_in(connection: AsyncConnection, given: Mapping[str, Any]) -> Row[Any]:
    """The second half of a transfer, as ledger.transfer_in answers."""
    return (await connection.execute(_IN, dict(given))).one()


async def finish(connection: AsyncConnection, sender_id: int, unit: int, seq: int, settled_seq: int) -> None:
    """Say of a transfer that it arrived."""
    await connection.execute(
        text("SELECT ledger.finish_transfer(:sender_id, CAST(:unit AS smallint), :seq, :settled_seq)"),
        {"sender_id": sender_id, "unit": unit, "seq": seq, "settled_seq": settled_seq},
    )


async def unfinished(
    connection: AsyncConnection, after: tuple[datetime, int, int, int] | None, limit: int
) -> Sequence[Row[Any]]:
    """Transfers on their way, the oldest first, behind (sent_at, sender, unit, seq): sender_id, unit, seq, sent_at."""
    sent_at, sender_id, unit, seq = after or (None, 0, 0, 0)
    found = await connection.execute(
        text("""
            SELECT holder_id AS sender_id, unit, seq, sent_at FROM ledger.transfer
            WHERE state = 0 AND (CAST(:sent_at AS timestamptz) IS NULL
                                 OR (sent_at, holder_id, unit, seq) > (:sent_at, :sender_id, :unit, :seq))
            ORDER BY sent_at, holder_id, unit, seq LIMIT :limit
        """),
        {"sent_at": sent_at, "sender_id": sender_id, "unit": unit, "seq": seq, "limit": limit},
    )
    return found.all()


async def account_is_closed(connection: AsyncConnection, holder_id: int, unit: int) -> bool | None:
    """Whether an account takes no transfer; None where there is no such account."""
    found = await connection.execute(
        text("SELECT closed FROM ledger.account WHERE holder_id = :holder_id AND unit = :unit"),
        {"holder_id": holder_id, "unit": unit},
    )
    return found.scalar_one_or_none()


async def is_known(connection: AsyncConnection, holder_id: int, unit: int, idem_key: UUID) -> bool:
    """Whether an account has an entry under a key."""
    found = await connection.execute(
        text("SELECT 1 FROM ledger.journal WHERE holder_id = :holder_id AND unit = :unit AND idem_key = :idem_key"),
        {"holder_id": holder_id, "unit": unit, "idem_key": idem_key},
    )
    return found.one_or_none() is not None


async def close_account(connection: AsyncConnection, holder_id: int, unit: int, *, closed: bool) -> None:
    """Let an account take no transfer any more, or take them again."""
    await connection.execute(
        text("SELECT ledger.close_account(:holder_id, CAST(:unit AS smallint), :closed)"),
        {"holder_id": holder_id, "unit": unit, "closed": closed},
    )


async def lock_spending(connection: AsyncConnection, holder_id: int, unit: int) -> None:
    """Let nothing be spent from an account."""
    await connection.execute(
        text("SELECT ledger.lock_spending(:holder_id, CAST(:unit AS smallint), true)"),
        {"holder_id": holder_id, "unit": unit},
    )


async def given_between(connection: AsyncConnection, holder_id: int, other_id: int, unit: int) -> int:
    """Points that a holder sent to another, less those that came from it; what came back was not sent."""
    found = await connection.execute(
        text("""
            SELECT coalesce(sum(CASE holder_id WHEN :holder_id THEN amount ELSE -amount END), 0) FROM ledger.transfer
            WHERE unit = :unit AND state <> 2
              AND (holder_id = :holder_id AND receiver_id = :other_id
                   OR holder_id = :other_id AND receiver_id = :holder_id)
        """),
        {"holder_id": holder_id, "other_id": other_id, "unit": unit},
    )
    return int(found.scalar_one())


async def contributed_by(connection: AsyncConnection, holder_id: int, unit: int, at: datetime) -> Sequence[Row[Any]]:
    """Who contributed what an account has available at an instant: contributor_id, points."""
    found = await connection.execute(
        text("""
            SELECT coalesce(contributor_id, holder_id) AS contributor_id, sum(remaining)::bigint AS points
            FROM ledger.lot
            WHERE holder_id = :holder_id AND unit = :unit AND open AND remaining > 0
              AND (active OR activates_at <= :at) AND expires_at > :at
            GROUP BY 1 ORDER BY 1
        """),
        {"holder_id": holder_id, "unit": unit, "at": at},
    )
    return found.all()


async def left_of(
    connection: AsyncConnection, holder_id: int, contributor_id: int, contributor_seq: int, unit: int, at: datetime
) -> dict[int, int]:
    """What an account still has of somebody's accrual at an instant: the accrual's lot number to points."""
    found = await connection.execute(
        text("""
            SELECT contributor_lot_no, sum(remaining)::bigint AS points FROM ledger.lot
            WHERE holder_id = :holder_id AND unit = :unit AND open AND contributor_id = :contributor_id
              AND contributor_seq = :contributor_seq AND expires_at > :at
            GROUP BY contributor_lot_no
        """),
        {
            "holder_id": holder_id,
            "unit": unit,
            "contributor_id": contributor_id,
            "contributor_seq": contributor_seq,
            "at": at,
        },
    )
    return {row.contributor_lot_no: row.points for row in found}


async def holders_with_anything(connection: AsyncConnection, holder_ids: Sequence[int]) -> list[int]:
    """Those of these holders that have anything of any unit available or pending, as last recorded."""
    found = await connection.execute(
        text("""
            SELECT DISTINCT holder_id FROM ledger.account
            WHERE holder_id = ANY (CAST(:holder_ids AS bigint[])) AND available + pending > 0 ORDER BY holder_id
        """),
        {"holder_ids": list(holder_ids)},
    )
    return list(found.scalars())


async def units_with_points(connection: AsyncConnection, holder_id: int) -> list[int]:
    """The units of which a holder has anything available or pending, as last recorded."""
    found = await connection.execute(
        text("""
            SELECT unit FROM ledger.account WHERE holder_id = :holder_id AND available + pending > 0 ORDER BY unit
        """),
        {"holder_id": holder_id},
    )
    return list(found.scalars())


async def add_account(connection: AsyncConnection, holder_id: int, unit: int) -> None:
    """An account of a holder in a unit, where there is none."""
    await connection.execute(
        text("SELECT ledger.add_account(:holder_id, CAST(:unit AS smallint))"), {"holder_id": holder_id, "unit": unit}
    )


async def adjust(connection: AsyncConnection, given: Mapping[str, Any]) -> Row[Any]:
    """An adjustment, as ledger.adjust answers."""
    return (await connection.execute(_ADJUST, dict(given))).one()
