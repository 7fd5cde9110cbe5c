"""The audit trail: who did what to what, and when. Appended to, never changed; the database refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import store


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what to what, and when; detail holds codes and numbers."""

    entry_id: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    at: datetime


async def entries(
    connection: AsyncConnection,
    *,
    limit: int,
    before: int | None = None,
    actor: str | None = None,
    subject: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Entry]:
    """Entries, the latest first: behind one, of an actor, of a subject (`partner:17`, or `partner:` for all partners),
    of an action, written down within [since, until)."""
    wanted = {
        "limit": limit, "before": before, "actor": actor, "subject": subject, "action": action, "since": since,
        "until": until,
    }  # fmt: skip
    return [Entry(**row) for row in await store.audit_entries(connection, wanted)]


async def write(
    connection: AsyncConnection,
    *,
    actor: int | str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    at: datetime,
) -> None:
    """Append an entry in the caller's transaction, so that no deed is without its entry.

    actor is a number from kit.actors, or the name of a part of the system (`settlement`) where nobody acts.
    action is UPPER_SNAKE, subject `partner:17`. detail holds codes and numbers; no personal data belongs
    here, because the trail outlives every wish to be forgotten.
    """
    await store.insert_audit_entry(connection, actor=actor, action=action, subject=subject, detail=detail, at=at)
