"""The audit trail: who did what to what, and when. Appended to, never changed; the database refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import store


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
