"""kit's statements: actors and their roles, approvals, the audit trail."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_FOUNDING = 7_305_003  # an advisory lock's number, of no meaning elsewhere


async def lock_founding(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to be the one that adds the first actor."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FOUNDING})


async def any_actor_exists(connection: AsyncConnection) -> bool:
    """Whether anybody was ever added."""
    return bool((await connection.execute(text("SELECT EXISTS (SELECT FROM kit.actor)"))).scalar_one())


async def insert_actor(connection: AsyncConnection, name: str) -> None:
    """Add an actor; nothing happens if one of that name is there."""
    statement = text("INSERT INTO kit.actor (name) VALUES (:name) ON CONFLICT (name) DO NOTHING")
    await connection.execute(statement, {"name": name})


async def actor_id_by_name(connection: AsyncConnection, name: str) -> int | None:
    """The number of the actor of this name."""
    statement = text("SELECT actor_id FROM kit.actor WHERE name = :name")
    return (await connection.execute(statement, {"name": name})).scalar_one_or_none()


async def actor_name(connection: AsyncConnection, actor_id: int) -> str | None:
    """The name of an actor."""
    statement = text("SELECT name FROM kit.actor WHERE actor_id = :actor_id")
    return (await connection.execute(statement, {"actor_id": actor_id})).scalar_one_or_none()


async def roles_of(connection: AsyncConnection, actor_id: int) -> set[str]:
    """The roles that an actor holds now."""
    statement = text(
        "SELECT role FROM (SELECT DISTINCT ON (role) role, granted FROM kit.actor_role "
        "WHERE actor_id = :actor_id ORDER BY role, entry_id DESC) latest WHERE granted"
    )
    return set((await connection.execute(statement, {"actor_id": actor_id})).scalars())


async def insert_roles(connection: AsyncConnection, actor_id: int, roles: Sequence[str], *, granted: bool) -> None:
    """Grant the roles to an actor, or take them back."""
    statement = text(
        "INSERT INTO kit.actor_role (actor_id, role, granted) "
        "SELECT :actor_id, role, :granted FROM unnest(CAST(:roles AS text[])) AS role"
    )
    await connection.execute(statement, {"actor_id": actor_id, "roles": list(roles), "granted": granted})


async def holders_of(connection: AsyncConnection, role: str) -> set[int]:
    """The actors that hold a role now."""
    statement = text(
        "SELECT actor_id FROM (SELECT DISTINCT ON (actor_id) actor_id, granted FROM kit.actor_role "
        "WHERE role = :role ORDER BY actor_id, entry_id DESC) latest WHERE granted"
    )
    return set((await connection.execute(statement, {"role": role})).scalars())


async def actors_with_roles(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Everybody by name, with the roles held now: name, roles."""
    statement = text(
        "SELECT a.name, coalesce(array_agg(l.role ORDER BY l.role) FILTER (WHERE l.granted), '{}') AS roles "
        "FROM kit.actor a LEFT JOIN (SELECT DISTINCT ON (actor_id, role) actor_id, role, granted "
        "FROM kit.actor_role ORDER BY actor_id, role, entry_id DESC) l USING (actor_id) "
        "GROUP BY a.name ORDER BY a.name"
    )
    return (await connection.execute(statement)).mappings().all()


async def insert_approval(
    connection: AsyncConnection,
    *,
    kind: str,
    subject: str,
    detail: Mapping[str, Any],
    maker_id: int,
    made_at: datetime,
) -> int:
    """Record a proposal; returns its number."""
    statement = text(
        "INSERT INTO kit.approval (kind, subject, detail, maker_id, made_at) "
        "VALUES (:kind, :subject, CAST(:detail AS jsonb), :maker_id, :made_at) RETURNING approval_id"
    )
    values = {
        "kind": kind,
        "subject": subject,
        "detail": json.dumps(detail),
        "maker_id": maker_id,
        "made_at": made_at,
    }
    return int((await connection.execute(statement, values)).scalar_one())


async def approval_for_update(connection: AsyncConnection, approval_id: int) -> RowMapping | None:
    """An approval's row, locked until the transaction ends."""
    statement = text("SELECT * FROM kit.approval WHERE approval_id = :approval_id FOR UPDATE")
    return (await connection.execute(statement, {"approval_id": approval_id})).mappings().one_or_none()


async def approval(connection: AsyncConnection, approval_id: int) -> RowMapping | None:
    """An approval's row."""
    statement = text("SELECT * FROM kit.approval WHERE approval_id = :approval_id")
    return (await connection.execute(statement, {"approval_id": approval_id})).mappings().one_or_none()


async def proposal_standing(connection: AsyncConnection, kind: str, subject: str) -> int | None:
    """Number of the first proposal of a kind about a subject that is neither declined nor withdrawn."""
    found: int | None = await connection.scalar(
        text(
            "SELECT min(approval_id) FROM kit.approval "
            "WHERE kind = :kind AND subject = :subject AND approved IS DISTINCT FROM false AND withdrawn_at IS NULL"
        ),
        {"kind": kind, "subject": subject},
    )
    return found


async def approvals_waiting(connection: AsyncConnection, kinds: Sequence[str]) -> Sequence[RowMapping]:
    """Approvals of these kinds without a decision that were not withdrawn, the oldest first."""
    statement = text(
        "SELECT * FROM kit.approval WHERE decided_at IS NULL AND withdrawn_at IS NULL "
        "AND kind = ANY (CAST(:kinds AS text[])) ORDER BY approval_id"
    )
    return (await connection.execute(statement, {"kinds": list(kinds)})).mappings().all()


async def approvals_about(
    connection: AsyncConnection, kinds: Sequence[str], subject: str, limit: int, behind: tuple[bool, int] | None
) -> Sequence[RowMapping]:
    """Approvals of these kinds about a subject: those that wait, then the others, the latest first; behind one of them,
    of which is told whether it waited."""
    statement = text(
        "SELECT * FROM (SELECT *, coalesce(decided_at, withdrawn_at) IS NULL AS waits FROM kit.approval "
        "WHERE subject = :subject AND kind = ANY (CAST(:kinds AS text[]))) a "
        "WHERE CAST(:waits AS boolean) IS NULL OR (waits, approval_id) < (CAST(:waits AS boolean), :number) "
        "ORDER BY waits DESC, approval_id DESC LIMIT :limit"
    )
    waits, number = behind or (None, 0)
    values = {"kinds": list(kinds), "subject": subject, "limit": limit, "waits": waits, "number": number}
    return (await connection.execute(statement, values)).mappings().all()


async def names_of(connection: AsyncConnection, actor_ids: Sequence[int]) -> dict[int, str]:
    """The names of actors by their numbers."""
    statement = text("SELECT actor_id, name FROM kit.actor WHERE actor_id = ANY (CAST(:actor_ids AS int[]))")
    return {row.actor_id: row.name for row in await connection.execute(statement, {"actor_ids": list(actor_ids)})}


async def record_decision(
    connection: AsyncConnection,
    approval_id: int,
    *,
    checker_id: int,
    approved: bool,
    decided_at: datetime,
    reason: str | None = None,
) -> None:
    """Write the checker's decision on an approval that has none."""
    statement = text(
        "UPDATE kit.approval SET checker_id = :checker_id, approved = :approved, decided_at = :decided_at, "
        "reason = :reason WHERE approval_id = :approval_id"
    )
    values = {
        "approval_id": approval_id,
        "checker_id": checker_id,
        "approved": approved,
        "decided_at": decided_at,
        "reason": reason,
    }
    await connection.execute(statement, values)


async def record_withdrawal(connection: AsyncConnection, approval_id: int, at: datetime) -> None:
    """Write that an approval without a decision was withdrawn."""
    await connection.execute(
        text("UPDATE kit.approval SET withdrawn_at = :at WHERE approval_id = :approval_id"),
        {"approval_id": approval_id, "at": at},
    )


async def insert_audit_entry(
    connection: AsyncConnection,
    *,
    actor: int | str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    at: datetime,
) -> None:
    """Append to the audit trail; an actor given by number is written by name."""
    statement = text(
        "INSERT INTO kit.audit_trail (actor, action, subject, detail, at) VALUES "
        "(coalesce(CAST(:name AS text), (SELECT name FROM kit.actor WHERE actor_id = :actor_id)), "
        ":action, :subject, CAST(:detail AS jsonb), :at)"
    )
    values = {
        "name": actor if isinstance(actor, str) else None,
        "actor_id": None if isinstance(actor, str) else actor,
        "action": action,
        "subject": subject,
        "detail": json.dumps(detail),
        "at": at,
    }
    await connection.execute(statement, values)


async def granted_to_self(connection: AsyncConnection, actor_id: int, role: str, *, since: datetime) -> bool:
    """Whether an actor gave himself a role at an instant of the wall clock or later."""
    statement = text(
        "SELECT EXISTS (SELECT FROM kit.audit_trail t JOIN kit.actor a ON a.name = t.actor "
        "WHERE a.actor_id = :actor_id AND t.subject = 'actor:' || a.actor_id AND t.action = 'ROLES_GRANTED' "
        "AND t.detail -> 'roles' @> to_jsonb(CAST(:role AS text)) AND t.wrote_at >= :since)"
    )
    values = {"actor_id": actor_id, "role": role, "since": since}
    return bool((await connection.execute(statement, values)).scalar_one())


async def audit_entries(connection: AsyncConnection, wanted: Mapping[str, Any]) -> Sequence[RowMapping]:
    """Entries of the audit trail, the latest first; each condition counts that is not None."""
    kind = str(wanted["subject"] or "")
    of_subject = "starts_with(subject, :subject)" if kind.endswith(":") else "subject = :subject"
    statement = text(
        "SELECT entry_id, actor, action, subject, detail, at FROM kit.audit_trail "
        "WHERE (CAST(:before AS bigint) IS NULL OR entry_id < :before) "
        "AND (CAST(:actor AS text) IS NULL OR actor = :actor) "
        f"AND (CAST(:subject AS text) IS NULL OR {of_subject}) "
        "AND (CAST(:action AS text) IS NULL OR action = :action) "
        "AND (CAST(:since AS timestamptz) IS NULL OR wrote_at >= :since) "
        "AND (CAST(:until AS timestamptz) IS NULL OR wrote_at < :until) ORDER BY entry_id DESC LIMIT :limit"
    )
    return (await connection.execute(statement, dict(wanted))).mappings().all()
