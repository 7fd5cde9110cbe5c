"""SQL of approvals. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_APPROVAL = """
    SELECT a.member_id, a.approval_no, a.partner_id, a.outlet_id, a.points, a.asked_at, a.expires_at, a.fingerprint,
           d.approved,
           EXISTS (SELECT FROM members.approval_use u
                   WHERE u.member_id = a.member_id AND u.approval_no = a.approval_no) AS is_used
    FROM members.approval a LEFT JOIN members.approval_decision d USING (member_id, approval_no)
"""
_BY_NUMBER = f"{_APPROVAL} WHERE a.member_id = :member_id AND a.approval_no = :approval_no"


async def insert_approval(
    connection: AsyncConnection,
    *,
    member_id: int,
    partner_id: int,
    outlet_id: int,
    points: int,
    idem_key: UUID,
    fingerprint: UUID,
    asked_at: datetime,
    expires_at: datetime,
) -> bool:
    """Write a question; False where its key has one."""
    done = await connection.execute(
        text("""
            INSERT INTO members.approval (member_id, points, asked_at, expires_at, idem_key, fingerprint, partner_id,
                                          outlet_id)
            VALUES (:member_id, :points, :asked_at, :expires_at, :idem_key, :fingerprint, :partner_id, :outlet_id)
            ON CONFLICT (idem_key) DO NOTHING
        """),
        {
            "member_id": member_id, "points": points, "asked_at": asked_at, "expires_at": expires_at,
            "idem_key": idem_key, "fingerprint": fingerprint, "partner_id": partner_id, "outlet_id": outlet_id,
        },
    )  # fmt: skip
    return done.rowcount == 1


async def approval_by_key(connection: AsyncConnection, idem_key: UUID) -> Row[Any] | None:
    """The question that was asked under a key."""
    found = await connection.execute(text(f"{_APPROVAL} WHERE a.idem_key = :idem_key"), {"idem_key": idem_key})
    return found.one_or_none()


async def approval(connection: AsyncConnection, member_id: int, approval_no: int) -> Row[Any] | None:
    """A question with its answer and whether it was used."""
    given = {"member_id": member_id, "approval_no": approval_no}
    return (await connection.execute(text(_BY_NUMBER), given)).one_or_none()


async def approval_for_update(connection: AsyncConnection, member_id: int, approval_no: int) -> Row[Any] | None:
    """The same, while its member is kept from answering twice at once."""
    await connection.execute(
        text("SELECT FROM members.member WHERE member_id = :member_id FOR NO KEY UPDATE"), {"member_id": member_id}
    )
    return await approval(connection, member_id, approval_no)


async def insert_decision(
    connection: AsyncConnection, member_id: int, approval_no: int, *, approved: bool, at: datetime
) -> None:
    """Write an answer."""
    await connection.execute(
        text("""
            INSERT INTO members.approval_decision (member_id, approval_no, approved, decided_at)
            VALUES (:member_id, :approval_no, :approved, :at)
        """),
        {"member_id": member_id, "approval_no": approval_no, "approved": approved, "at": at},
    )


async def open_approvals(connection: AsyncConnection, member_id: int, at: datetime) -> Sequence[Row[Any]]:
    """Questions that nobody has answered and that can still be, the latest first."""
    statement = f"""
        {_APPROVAL} WHERE a.member_id = :member_id AND a.expires_at > :at AND d.approved IS NULL
        ORDER BY a.approval_no DESC
    """
    return (await connection.execute(text(statement), {"member_id": member_id, "at": at})).all()
