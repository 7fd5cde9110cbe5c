"""Grants looked at and ended by people: one, or all that somebody gave. Instants are the wall's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.oauth import clients, grant_store, grants
from kit import audit
from kit.errors import Rejection


class GrantUnknown(Rejection):
    """There is no such grant, or it has ended."""

    code = "GRANT_UNKNOWN"
    retryable = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person allowed a client to do; ended_why None: it is in force until ends_at."""

    grant_id: str
    given_by: str
    terminal_id: int | None
    scopes: tuple[str, ...]
    created_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    ended_why: str | None


async def of_client(connection: AsyncConnection, client_id: str) -> list[Grant]:
    """A client's last thousand grants, the newest first. Rejects CLIENT_UNKNOWN."""
    client_no = await clients.held(connection, client_id)
    rows = await connection.run_sync(grant_store.grants_of, client_no)
    return [Grant(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]


async def end(connection: AsyncConnection, grant_id: str, *, by: str, at: datetime) -> None:
    """End a grant: no token is given under it, and those it gave are refused within ten seconds.

    For an actor in ONBOARDING. Rejects GRANT_UNKNOWN, ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await clients.onboarding(connection, by)
    ended = await connection.run_sync(lambda sync: grants.end(sync, why="ENDED_BY_OPERATOR", at=at, grant_id=grant_id))
    if not ended:
        raise GrantUnknown("there is no such grant in force; `tessera oauth grants CLIENT` names them")
    await _record(connection, ended, actor_id, at)


async def end_all_of(connection: AsyncConnection, actor_id: int, *, at: datetime) -> int:
    """End what a person let apps do in their name, as when they sign out everywhere or leave; how many were in force.

    A till that they enrolled speaks for itself and stays.
    """
    ended = await connection.run_sync(lambda sync: grants.end(sync, why="ENDED_BY_GIVER", at=at, actor_id=actor_id))
    await _record(connection, ended, actor_id, at)
    return len(ended)


async def _record(connection: AsyncConnection, ended: list[str], actor_id: int, at: datetime) -> None:
    for grant_id in ended:
        await audit.write(
            connection, actor=actor_id, action="GRANT_ENDED", subject=f"grant:{grant_id}", detail={}, at=at
        )
