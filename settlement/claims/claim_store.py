"""Statements on claims to missing points. Private to the settlement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_CLAIM = """
    SELECT c.*, s.step_no, s.to_state AS state, s.side, s.deadline, s.at AS state_at, g.answered_minor,
           g.answered_outlet, g.answered_terminal, g.answered_reference, g.refusal, g.contest, g.points, g.holder_id,
           g.seq, g.note
    FROM settlement.claim c
    JOIN LATERAL (SELECT * FROM settlement.claim_step t WHERE t.claim_id = c.claim_id ORDER BY t.step_no DESC LIMIT 1) s
      ON true
    JOIN LATERAL (
      SELECT max(t.total_minor) AS answered_minor, max(t.outlet) AS answered_outlet,
             max(t.terminal) AS answered_terminal, max(t.reference) AS answered_reference,
             max(t.reason) FILTER (WHERE t.to_state = 'REFUSED') AS refusal,
             max(t.reason) FILTER (WHERE t.to_state = 'CONTESTED') AS contest, max(t.points) AS points,
             max(t.holder_id) AS holder_id, max(t.seq) AS seq,
             max(t.note) FILTER (WHERE t.to_state IN ('REFUSED', 'DISMISSED')) AS note
      FROM settlement.claim_step t WHERE t.claim_id = c.claim_id) g ON true
"""


async def lock_member(connection: AsyncConnection, member_id: int) -> None:
    """One after the other of what a member claims, until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(7305031, hashint8(:id))"), {"id": member_id})


async def lock_receipt(connection: AsyncConnection, partner_id: int, day: date, reference: str) -> None:
    """One after the other of claims about one receipt, until the transaction ends."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(7305032, hashtext(:key))"),
        {"key": f"{partner_id}:{day.isoformat()}:{reference}"},
    )


async def lock_claim(connection: AsyncConnection, claim_id: int) -> None:
    """One after the other of steps of a claim, until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(7305033, hashint8(:id))"), {"id": claim_id})


async def insert(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A claim with its first step; its number."""
    made = await connection.execute(
        text("""
            WITH c AS (
              INSERT INTO settlement.claim (member_id, partner_id, outlet, place, terminal, business_date, occurred_at,
                reference, currency, total_minor, contest_days, decision_days, silence_most_minor, at)
              VALUES (:member_id, :partner_id, :outlet, :place, :terminal, :business_date, :occurred_at, :reference,
                :currency, :total_minor, :contest_days, :decision_days, :silence_most_minor, :at)
              RETURNING claim_id),
            s AS (
              INSERT INTO settlement.claim_step (claim_id, step_no, to_state, side, deadline, actor, at)
              SELECT claim_id, 1, 'FILED', 'MEMBER', :deadline, 'member', :at FROM c)
            SELECT claim_id FROM c
        """),
        row,
    )
    return int(made.scalar_one())


async def insert_step(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A step of a claim. The database refuses one that does not begin where the claim is, or follows no edge."""
    names = (
        "deadline", "reason", "note", "total_minor", "outlet", "terminal", "reference", "holder_id", "seq", "points",
        "approval_id",
    )  # fmt: skip
    await connection.execute(
        text(f"""
            INSERT INTO settlement.claim_step (claim_id, step_no, from_state, to_state, side, actor, at,
                                               {", ".join(names)})
            SELECT :claim_id, 1 + max(step_no), :from_state, :to_state, :side, :actor, :at,
                   {", ".join(f"CAST(:{name} AS {_TYPES.get(name, 'text')})" for name in names)}
            FROM settlement.claim_step WHERE claim_id = :claim_id
        """),
        dict.fromkeys(names) | dict(row),
    )


_TYPES = {
    "deadline": "timestamptz", "total_minor": "bigint", "holder_id": "bigint", "seq": "bigint", "points": "bigint",
    "approval_id": "bigint",
}  # fmt: skip


async def insert_evidence(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """What speaks for a side; the same file of the same side twice is one."""
    await connection.execute(
        text("""
            INSERT INTO settlement.claim_evidence (claim_id, evidence_no, side, media_type, size_bytes, sha256,
                                                   actor, at)
            SELECT :claim_id, 1 + coalesce(max(evidence_no), 0), :side, :media_type, :size_bytes, :sha256, :actor, :at
            FROM settlement.claim_evidence WHERE claim_id = :claim_id
            ON CONFLICT (claim_id, side, sha256) DO NOTHING
        """),
        row,
    )


async def evidence_of(connection: AsyncConnection, claim_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """What was shown of claims, in order."""
    found = await connection.execute(
        text("SELECT * FROM settlement.claim_evidence WHERE claim_id = ANY (:ids) ORDER BY claim_id, evidence_no"),
        {"ids": list(claim_ids)},
    )
    return found.all()


async def one(connection: AsyncConnection, claim_id: int) -> Row[Any] | None:
    """A claim and where it stands."""
    found = await connection.execute(text(f"{_CLAIM} WHERE c.claim_id = :id"), {"id": claim_id})
    return found.one_or_none()


async def page(
    connection: AsyncConnection, *, member_id: int | None, partner_id: int | None, states: Sequence[str] | None,
    after: int, before: int | None, limit: int,
) -> Sequence[Row[Any]]:  # fmt: skip
    """Claims, as asked for: behind a number, in order; before a number, the latest first, where that is given."""
    order = "c.claim_id" if before is None else "c.claim_id DESC"
    found = await connection.execute(
        text(f"""
            SELECT * FROM ({_CLAIM}
              WHERE c.claim_id > :after AND c.claim_id < :before
                AND (CAST(:member_id AS bigint) IS NULL OR c.member_id = :member_id)
                AND (CAST(:partner_id AS int) IS NULL OR c.partner_id = :partner_id)) c
            WHERE CAST(:states AS text[]) IS NULL OR c.state = ANY (:states)
            ORDER BY {order} LIMIT :limit
        """),
        {
            "member_id": member_id, "partner_id": partner_id, "states": None if states is None else list(states),
            "after": after, "before": 2**62 if before is None else before, "limit": limit,
        },
    )  # fmt: skip
    return found.all()


async def numbers(connection: AsyncConnection, states: Sequence[str], since: datetime | None) -> list[int]:
    """Numbers of claims whose last step led to one of the states, at an instant or later."""
    found = await connection.execute(
        text("""
            SELECT t.claim_id FROM settlement.claim_step t
            WHERE t.to_state = ANY (:states) AND t.at >= coalesce(CAST(:since AS timestamptz), '-infinity')
              AND NOT EXISTS (
                SELECT FROM settlement.claim_step n WHERE n.claim_id = t.claim_id AND n.step_no > t.step_no)
            ORDER BY t.claim_id
        """),
        {"states": list(states), "since": since},
    )
    return list(found.scalars())


async def overdue(connection: AsyncConnection, at: datetime) -> list[int]:
    """Numbers of claims in which somebody was silent too long."""
    found = await connection.execute(
        text(f"SELECT q.claim_id FROM ({_CLAIM}) q WHERE q.deadline <= :at ORDER BY q.claim_id"), {"at": at}
    )
    return list(found.scalars())


async def others(
    connection: AsyncConnection, *, partner_id: int, day: date, reference: str, outlet: str | None
) -> Sequence[Row[Any]]:
    """Claims about what may be the same receipt: those of the day and reference, at the outlet or at one untold."""
    found = await connection.execute(
        text(f"""
            {_CLAIM} WHERE c.partner_id = :partner_id AND c.business_date = :day AND c.reference = :reference
              AND (CAST(:outlet AS text) IS NULL OR c.outlet IS NULL OR c.outlet = :outlet)
        """),
        {"partner_id": partner_id, "day": day, "reference": reference, "outlet": outlet},
    )
    return found.all()


async def filed_since(connection: AsyncConnection, member_id: int, since: datetime) -> int:
    """How many claims a member made after an instant."""
    found = await connection.execute(
        text("SELECT count(*) FROM settlement.claim WHERE member_id = :member_id AND at > :since"),
        {"member_id": member_id, "since": since},
    )
    return int(found.scalar_one())


async def rule(connection: AsyncConnection, partner_id: int) -> Row[Any] | None:
    """The rule for a partner's claims, else the programme's."""
    found = await connection.execute(
        text("""
            SELECT earliest_days, latest_days, answer_days, contest_days, decision_days, most_per_month,
                   silence_most_minor
            FROM settlement.claim_rule WHERE partner_id IN (0, :partner_id)
            ORDER BY partner_id DESC, rule_no DESC LIMIT 1
        """),
        {"partner_id": partner_id},
    )
    return found.one_or_none()


async def insert_rule(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """The next rule for a partner's claims; partner 0 is the programme."""
    await connection.execute(
        text("""
            INSERT INTO settlement.claim_rule (partner_id, rule_no, earliest_days, latest_days, answer_days,
              contest_days, decision_days, most_per_month, silence_most_minor, actor, at)
            SELECT :partner_id, 1 + coalesce(max(rule_no), 0), :earliest_days, :latest_days, :answer_days,
              :contest_days, :decision_days, :most_per_month, :silence_most_minor, :actor, :at
            FROM settlement.claim_rule WHERE partner_id = :partner_id
        """),
        row,
    )


async def untold(connection: AsyncConnection, limit: int) -> Sequence[Row[Any]]:
    """Steps about which the member was not written to, by claim; of those that a member should hear of."""
    found = await connection.execute(
        text("""
            SELECT t.claim_id, t.step_no, t.to_state, t.points, t.reason, t.deadline, c.member_id, c.partner_id,
                   c.business_date
            FROM settlement.claim_step t JOIN settlement.claim c USING (claim_id)
            LEFT JOIN settlement.claim_letter l USING (claim_id, step_no)
            WHERE l.claim_id IS NULL AND t.to_state IN ('REFUSED', 'DISMISSED', 'CREDITED', 'FOUND')
            ORDER BY t.claim_id, t.step_no LIMIT :limit
        """),
        {"limit": limit},
    )
    return found.all()


async def insert_letter(
    connection: AsyncConnection, claim_id: int, step_no: int, message_id: UUID | None, at: datetime
) -> bool:
    """That a member was told of a step; False where another has said so before."""
    made = await connection.execute(
        text("""
            INSERT INTO settlement.claim_letter (claim_id, step_no, message_id, at)
            VALUES (:claim_id, :step_no, :message_id, :at) ON CONFLICT DO NOTHING
        """),
        {"claim_id": claim_id, "step_no": step_no, "message_id": message_id, "at": at},
    )
    return bool(made.rowcount)
