"""The statements of messages to people. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_KEY = "person_id, audience, message_id"


async def contact(connection: AsyncConnection, member_id: int) -> Row[Any] | None:
    """How an active member is written to: language, time zone, sealed key and data, where they are."""
    found = await connection.execute(
        text("""
            SELECT m.member_id, m.language, m.time_zone, k.sealed_key, p.sealed
            FROM members.member m LEFT JOIN members.member_key k USING (member_id)
                                  LEFT JOIN members.personal p USING (member_id)
            WHERE m.member_id = :member_id AND m.status = 'ACTIVE'
        """),
        {"member_id": member_id},
    )
    return found.one_or_none()


async def sealed_key(connection: AsyncConnection, member_id: int) -> bytes | None:
    """A member's own key as it is kept; None where it is destroyed."""
    found = await connection.execute(
        text("SELECT sealed_key FROM members.member_key WHERE member_id = :member_id"), {"member_id": member_id}
    )
    sealed: bytes | None = found.scalar_one_or_none()
    return sealed


async def write_manner(connection: AsyncConnection, member_id: int, language: str, time_zone: str | None) -> bool:
    """Set how a member is written to; False where there is no such member."""
    found = await connection.execute(
        text("""
            UPDATE members.member SET language = :language, time_zone = :time_zone WHERE member_id = :member_id
            RETURNING member_id
        """),
        {"member_id": member_id, "language": language, "time_zone": time_zone},
    )
    return found.one_or_none() is not None


async def insert_message(
    connection: AsyncConnection,
    *,
    person_id: int,
    audience: str,
    message_id: UUID,
    purpose: str,
    channel: str,
    sealed: bytes,
    accepted_at: datetime,
    now: datetime,
    good_until: datetime | None,
) -> datetime:
    """Accept a message and queue it; the instant of its acceptance, which is the first one's where it was before."""
    values = {
        "person_id": person_id, "audience": audience, "message_id": message_id, "purpose": purpose, "channel": channel,
        "sealed": sealed, "accepted_at": accepted_at, "now": now, "good_until": good_until,
    }  # fmt: skip
    found = await connection.execute(
        text(f"""
            WITH accepted AS (
              INSERT INTO members.message
                ({_KEY}, purpose, channel, sealed, accepted_at, written_at, good_until)
              VALUES
                (:person_id, :audience, :message_id, :purpose, :channel, :sealed, :accepted_at, :now, :good_until)
              ON CONFLICT DO NOTHING
              RETURNING {_KEY}, accepted_at
            ), queued AS (
              INSERT INTO members.message_queue ({_KEY}, due_at) SELECT {_KEY}, :now FROM accepted
            )
            SELECT accepted_at FROM accepted
        """),
        values,
    )
    accepted_at_first: datetime | None = found.scalar_one_or_none()
    if accepted_at_first is None:
        first = await message(connection, audience, person_id, message_id)
        assert first is not None
        accepted_at_first = first.accepted_at
    return accepted_at_first


_MESSAGE = f"""
    SELECT {", ".join(f"m.{name}" for name in _KEY.split(", "))}, m.purpose, m.channel, m.sealed, m.accepted_at,
           m.written_at, m.good_until, o.outcome, o.evidence, o.at
    FROM members.message m LEFT JOIN members.message_outcome o USING ({_KEY})
"""


async def message(connection: AsyncConnection, audience: str, person_id: int, message_id: UUID) -> Row[Any] | None:
    """A message with what became of it."""
    found = await connection.execute(
        text(f"{_MESSAGE} WHERE m.person_id = :person_id AND m.audience = :audience AND m.message_id = :message_id"),
        {"person_id": person_id, "audience": audience, "message_id": message_id},
    )
    return found.one_or_none()


async def latest(connection: AsyncConnection, limit: int) -> Sequence[Row[Any]]:
    """The messages to somebody that were written last."""
    found = await connection.execute(
        text(f"{_MESSAGE} WHERE m.audience <> 'NOBODY' ORDER BY m.written_at DESC, m.message_id LIMIT :limit"),
        {"limit": limit},
    )
    return found.all()


async def any_due(connection: AsyncConnection, now: datetime) -> bool:
    """Whether a message's time has come."""
    found = await connection.execute(
        text("SELECT EXISTS (SELECT FROM members.message_queue WHERE due_at <= :now)"), {"now": now}
    )
    return bool(found.scalar_one())


async def take_due(
    connection: AsyncConnection, now: datetime, leased_until: datetime, most_tries: int, limit: int
) -> Sequence[Row[Any]]:
    """Messages whose time has come, each for one taker only until the lease ends; their number of tries grows."""
    found = await connection.execute(
        text(f"""
            WITH due AS (
              SELECT {_KEY} FROM members.message_queue
              WHERE due_at <= :now AND tries < :most_tries ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
            ), taken AS (
              UPDATE members.message_queue q SET due_at = :leased_until, tries = q.tries + 1 FROM due
              WHERE (q.person_id, q.audience, q.message_id) = (due.person_id, due.audience, due.message_id)
              RETURNING q.person_id, q.audience, q.message_id, q.tries
            )
            SELECT {_KEY}, t.tries, m.purpose, m.channel, m.sealed, m.good_until
            FROM taken t JOIN members.message m USING ({_KEY}) ORDER BY m.written_at
        """),
        {"now": now, "leased_until": leased_until, "most_tries": most_tries, "limit": limit},
    )
    return found.all()


async def close_abandoned(connection: AsyncConnection, now: datetime, most_tries: int, outcome: str) -> None:
    """Close messages whose last taker died with them."""
    await connection.execute(
        text(f"""
            WITH gone AS (
              DELETE FROM members.message_queue WHERE due_at <= :now AND tries >= :most_tries RETURNING {_KEY}
            )
            INSERT INTO members.message_outcome ({_KEY}, outcome, at)
            SELECT {_KEY}, :outcome, :now FROM gone ON CONFLICT DO NOTHING
        """),
        {"now": now, "most_tries": most_tries, "outcome": outcome},
    )


async def put_back(
    connection: AsyncConnection, audience: str, person_id: int, message_id: UUID, due_at: datetime
) -> None:
    """Let a message that was taken be tried again at an instant."""
    await connection.execute(
        text("""
            UPDATE members.message_queue SET due_at = :due_at
            WHERE person_id = :person_id AND audience = :audience AND message_id = :message_id
        """),
        {"person_id": person_id, "audience": audience, "message_id": message_id, "due_at": due_at},
    )


async def close(
    connection: AsyncConnection,
    audience: str,
    person_id: int,
    message_id: UUID,
    outcome: str,
    evidence: str | None,
    at: datetime,
) -> None:
    """Record what became of a message, once, and take it off the queue."""
    await connection.execute(
        text(f"""
            WITH gone AS (
              DELETE FROM members.message_queue
              WHERE person_id = :person_id AND audience = :audience AND message_id = :message_id
            )
            INSERT INTO members.message_outcome ({_KEY}, outcome, evidence, at)
            VALUES (:person_id, :audience, :message_id, :outcome, :evidence, :at) ON CONFLICT DO NOTHING
        """),
        {
            "person_id": person_id,
            "audience": audience,
            "message_id": message_id,
            "outcome": outcome,
            "evidence": evidence,
            "at": at,
        },
    )


async def forget_codes(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete one-time codes that were good until an earlier instant; how many."""
    found = await connection.execute(
        text(f"""
            DELETE FROM members.message WHERE ({_KEY}) IN (
              SELECT {_KEY} FROM members.message
              WHERE purpose = 'SIGN_IN_CODE' AND good_until < :before LIMIT :limit)
            RETURNING 1
        """),
        {"before": before, "limit": limit},
    )
    return len(found.all())
