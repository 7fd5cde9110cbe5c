"""Statements on what providers tell by themselves. Private to the members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_event(
    connection: AsyncConnection, provider: str, event_id: str, kind: str, reference: str, now: datetime
) -> bool:
    """Write that something was told, due to be looked at; False where it was told before."""
    done = await connection.execute(
        text("""
            WITH told AS (
              INSERT INTO members.provider_event (provider, event_id, kind, reference, heard_at)
              VALUES (:provider, :event_id, :kind, :reference, :now) ON CONFLICT DO NOTHING RETURNING provider, event_id
            )
            INSERT INTO members.provider_event_due (provider, event_id, due_at)
            SELECT provider, event_id, CAST(:now AS timestamptz) FROM told
        """),
        {"provider": provider, "event_id": event_id, "kind": kind, "reference": reference, "now": now},
    )
    return done.rowcount == 1


async def waiting(connection: AsyncConnection, provider: str, most: int) -> int:
    """How many events of a provider nobody has looked at, counted up to a number."""
    found = await connection.execute(
        text("""
            SELECT count(*) FROM (
              SELECT FROM members.provider_event_due WHERE provider = :provider LIMIT :most
            ) counted
        """),
        {"provider": provider, "most": most},
    )
    return int(found.scalar_one())


async def take(
    connection: AsyncConnection, providers: Sequence[str], now: datetime, first_wait_seconds: int, limit: int
) -> Sequence[Row[Any]]:
    """The next events that are due, of these providers; each is due again after a wait that doubles, up to some hours,
    unless it is done: provider, event_id, kind, reference, tries. Whoever takes others at the same time is not waited
    for."""
    found = await connection.execute(
        text("""
            WITH next AS (
              SELECT provider, event_id FROM members.provider_event_due
              WHERE due_at <= :now AND provider = ANY (:providers)
              ORDER BY due_at, provider, event_id LIMIT :limit FOR UPDATE SKIP LOCKED
            ), taken AS (
              UPDATE members.provider_event_due d
              SET tries = d.tries + 1, due_at = :now + make_interval(secs => :wait * 2 ^ least(d.tries, 8))
              FROM next n WHERE d.provider = n.provider AND d.event_id = n.event_id
              RETURNING d.provider, d.event_id, d.tries
            )
            SELECT t.provider, t.event_id, e.kind, e.reference, t.tries
            FROM taken t JOIN members.provider_event e USING (provider, event_id) ORDER BY e.heard_at, t.event_id
        """),
        {"now": now, "providers": list(providers), "wait": first_wait_seconds, "limit": limit},
    )
    return found.all()


async def drop_due(connection: AsyncConnection, provider: str, event_id: str) -> None:
    """An event was looked at."""
    await connection.execute(
        text("DELETE FROM members.provider_event_due WHERE provider = :provider AND event_id = :event_id"),
        {"provider": provider, "event_id": event_id},
    )


# --- Means of payment that are being given ------------------------------------------------------------------------


async def insert_setup(
    connection: AsyncConnection, holder_id: int, provider: str, reference: str, text_version: str, at: datetime
) -> None:
    """Write that a member is giving a means of payment; again changes nothing."""
    await connection.execute(
        text("""
            INSERT INTO members.means_setup (holder_id, provider, reference, text_version, at)
            VALUES (:holder_id, :provider, :reference, :text_version, :at) ON CONFLICT DO NOTHING
        """),
        {"holder_id": holder_id, "provider": provider, "reference": reference, "text_version": text_version, "at": at},
    )


async def setup(connection: AsyncConnection, provider: str, reference: str) -> Row[Any] | None:
    """Who is giving a means of payment: holder_id, setup_no, text_version, is_done."""
    found = await connection.execute(
        text("""
            SELECT s.holder_id, s.setup_no, s.text_version, d.at IS NOT NULL AS is_done
            FROM members.means_setup s LEFT JOIN members.means_setup_done d USING (holder_id, setup_no)
            WHERE s.provider = :provider AND s.reference = :reference
        """),
        {"provider": provider, "reference": reference},
    )
    return found.one_or_none()


async def open_setups(
    connection: AsyncConnection, providers: Sequence[str], since: datetime, limit: int
) -> Sequence[Row[Any]]:
    """Setups that were begun since and of which nothing has come yet, the latest first: provider, reference."""
    found = await connection.execute(
        text("""
            SELECT s.provider, s.reference
            FROM members.means_setup s LEFT JOIN members.means_setup_done d USING (holder_id, setup_no)
            WHERE d.setup_no IS NULL AND s.provider = ANY (:providers) AND s.at >= :since
            ORDER BY s.at DESC, s.setup_no DESC LIMIT :limit
        """),
        {"providers": list(providers), "since": since, "limit": limit},
    )
    return found.all()


async def insert_setup_done(
    connection: AsyncConnection, holder_id: int, setup_no: int, means_no: int, at: datetime
) -> None:
    """Write which means came of a setup."""
    await connection.execute(
        text("INSERT INTO members.means_setup_done VALUES (:holder_id, :setup_no, :means_no, :at)"),
        {"holder_id": holder_id, "setup_no": setup_no, "means_no": means_no, "at": at},
    )
