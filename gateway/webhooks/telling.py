"""Telling a partner's developers that an endpoint of theirs is no longer called."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.messages import letters
from gateway.sessions import colleagues
from kit.secrets import Vault
from members import messages


async def disabled(
    connection: AsyncConnection, vault: Vault, site: str, endpoint: RowMapping, reason: str, *, at: datetime,
    now: datetime,
) -> int:  # fmt: skip
    """Write to the partner's developers, to its managers where it has none, that an endpoint was disabled because it
    took nothing for days (FAILING) or said that it is gone (GONE); how many. at is the business instant, now the
    wall's."""
    everybody = await colleagues.everybody(connection, endpoint["partner_id"], now=now)
    wanted = [each for each in everybody if colleagues.DEVELOPER in each.roles]
    wanted = wanted or [each for each in everybody if colleagues.MANAGER in each.roles]
    for each in wanted:
        letter = letters.webhook_disabled(
            each.language, host=urlsplit(endpoint["url"]).hostname or "", reason=reason, site=site.rstrip("/")
        )
        await messages.accept(
            connection, await colleagues.recipient(connection, vault, each.actor_id), letter, message_id=uuid4(),
            purpose=messages.SERVICE_NOTICE, at=at, now=now,
        )  # fmt: skip
    return len(wanted)
