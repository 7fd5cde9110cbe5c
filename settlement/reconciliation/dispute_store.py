"""Statements on disputes. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_DISPUTE = """
    SELECT d.dispute_id, d.statement_id, d.line_no, d.run_id, d.partner_id, d.currency, d.reason, d.amount_minor,
           d.mode, d.reference, d.at, s.to_state AS state, s.deadline, s.awarded_minor, s.at AS state_at,
           (SELECT r.to_state FROM settlement.run_step r WHERE r.run_id = d.run_id ORDER BY r.step_no DESC LIMIT 1)
             AS run_state
    FROM settlement.dispute d
    JOIN LATERAL (SELECT * FROM settlement.dispute_step t WHERE t.dispute_id = d.dispute_id
                  ORDER BY t.step_no DESC LIMIT 1) s ON true
"""


async def insert(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A dispute with its first step; its number."""
    made = await connection.execute(
        text(
            "WITH d AS (INSERT INTO settlement.dispute (statement_id, line_no, run_id, partner_id, currency, reason, "
            "    amount_minor, mode, reference, actor, at) "
            "  VALUES (:statement_id, :line_no, :run_id, :partner_id, :currency, :reason, :amount_minor, :mode, "
            "    :reference, :actor, :at) RETURNING dispute_id), "
            "s AS (INSERT INTO settlement.dispute_step (dispute_id, step_no, from_state, to_state, deadline, actor, "
            "    note, at, side) "
            "  SELECT dispute_id, 1, NULL, 'OPENED', :deadline, :actor, :note, :at, 'PARTNER' FROM d) "
            "SELECT dispute_id FROM d"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_step(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A step of a dispute. The database refuses one that does not begin where the dispute is, or follows no edge."""
    await connection.execute(
        text(
            "INSERT INTO settlement.dispute_step (dispute_id, step_no, from_state, to_state, deadline, awarded_minor, "
            "                                     actor, note, at, side) "
            "SELECT :dispute_id, 1 + max(step_no), :from_state, :to_state, :deadline, :awarded_minor, :actor, :note, "
            "       :at, :side FROM settlement.dispute_step WHERE dispute_id = :dispute_id"
        ),
        row,
    )


async def insert_evidence(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """What speaks for one side."""
    await connection.execute(
        text(
            "INSERT INTO settlement.dispute_evidence (dispute_id, evidence_no, side, name, media_type, size_bytes, "
            "                                         sha256, actor, at) "
            "SELECT :dispute_id, 1 + coalesce(max(evidence_no), 0), :side, :name, :media_type, :size_bytes, "
            "       :sha256, :actor, :at "
            "FROM settlement.dispute_evidence WHERE dispute_id = :dispute_id"
        ),
        row,
    )


async def insert_note(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """What a side says."""
    await connection.execute(
        text(
            "INSERT INTO settlement.dispute_note (dispute_id, note_no, side, note, actor, at) "
            "SELECT :dispute_id, 1 + coalesce(max(note_no), 0), :side, :note, :actor, :at "
            "FROM settlement.dispute_note WHERE dispute_id = :dispute_id"
        ),
        row,
    )


async def steps_of(connection: AsyncConnection, dispute_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Steps of disputes, in order."""
    return await _of(connection, "dispute_step", "step_no", dispute_ids)


async def notes_of(connection: AsyncConnection, dispute_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """What sides said, in order."""
    return await _of(connection, "dispute_note", "note_no", dispute_ids)


async def evidence_of(connection: AsyncConnection, dispute_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """What sides showed, in order."""
    return await _of(connection, "dispute_evidence", "evidence_no", dispute_ids)


async def _of(connection: AsyncConnection, table: str, order: str, dispute_ids: Sequence[int]) -> Sequence[Row[Any]]:
    found = await connection.execute(
        text(f"SELECT * FROM settlement.{table} WHERE dispute_id = ANY (:ids) ORDER BY dispute_id, {order}"),
        {"ids": list(dispute_ids)},
    )
    return found.all()


async def one(connection: AsyncConnection, dispute_id: int) -> Row[Any] | None:
    """A dispute and where it stands."""
    found = await connection.execute(text(f"{_DISPUTE} WHERE d.dispute_id = :id"), {"id": dispute_id})
    return found.one_or_none()


async def page(
    connection: AsyncConnection, *, partner_id: int | None, run_id: int | None, states: Sequence[str] | None,
    after: int, limit: int | None,
) -> Sequence[Row[Any]]:  # fmt: skip
    """Disputes behind a number, in order: of a partner, of a run, in some states, as asked for; limit None: all."""
    found = await connection.execute(
        text(
            f"{_DISPUTE} WHERE d.dispute_id > :after "
            "  AND (CAST(:partner_id AS int) IS NULL OR d.partner_id = :partner_id) "
            "  AND (CAST(:run_id AS int) IS NULL OR d.run_id = :run_id) "
            "  AND (CAST(:states AS text[]) IS NULL OR s.to_state = ANY (:states)) ORDER BY d.dispute_id LIMIT :limit"
        ),
        {
            "partner_id": partner_id,
            "run_id": run_id,
            "states": None if states is None else list(states),
            "after": after,
            "limit": limit,
        },
    )
    return found.all()


async def overdue(connection: AsyncConnection, at: datetime) -> Sequence[Row[Any]]:
    """Disputes in which somebody was silent too long."""
    found = await connection.execute(
        text(f"SELECT * FROM ({_DISPUTE}) q WHERE q.deadline <= :at ORDER BY q.dispute_id"), {"at": at}
    )
    return found.all()


async def actors_of(connection: AsyncConnection, dispute_id: int) -> list[str]:
    """Who took steps in a dispute, said something in it or showed something."""
    found = await connection.execute(
        text("""
            SELECT actor FROM settlement.dispute_step WHERE dispute_id = :id
            UNION SELECT actor FROM settlement.dispute_note WHERE dispute_id = :id
            UNION SELECT actor FROM settlement.dispute_evidence WHERE dispute_id = :id
        """),
        {"id": dispute_id},
    )
    return list(found.scalars())


async def disputed(connection: AsyncConnection, statement_id: int, line_no: int) -> int:
    """What is disputed of a line, or was given for it; minor units."""
    found = await connection.execute(
        text(
            f"SELECT coalesce(sum(CASE WHEN q.deadline IS NULL THEN q.awarded_minor ELSE q.amount_minor END), 0) "
            f"FROM ({_DISPUTE}) q WHERE q.statement_id = :statement_id AND q.line_no = :line_no"
        ),
        {"statement_id": statement_id, "line_no": line_no},
    )
    return int(found.scalar_one())


async def withheld(connection: AsyncConnection, run_id: int, partner_id: int) -> int:
    """What a partner need not pay of a run because it disputes it; minor units. Later a run states what it has to."""
    found = await connection.execute(
        text(
            "SELECT coalesce(sum(amount_minor), 0) FROM settlement.dispute "
            "WHERE run_id = :run_id AND partner_id = :partner_id AND mode = 'WITHHELD'"
        ),
        {"run_id": run_id, "partner_id": partner_id},
    )
    return int(found.scalar_one())


async def link(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """That a break was resolved by a dispute."""
    await connection.execute(
        text(
            "INSERT INTO settlement.dispute_break (dispute_id, break_id, actor, at) "
            "VALUES (:dispute_id, :break_id, :actor, :at)"
        ),
        row,
    )


async def linked(connection: AsyncConnection, *, dispute_id: int | None = None, break_id: int | None = None) -> Any:
    """The dispute and the break that belong together, by either; None where there is no such pair."""
    found = await connection.execute(
        text(
            "SELECT dispute_id, break_id FROM settlement.dispute_break "
            "WHERE dispute_id = :dispute_id OR break_id = :break_id"
        ),
        {"dispute_id": dispute_id, "break_id": break_id},
    )
    return found.one_or_none()
