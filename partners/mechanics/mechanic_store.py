"""Statements on mechanics. Private to the partners."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


async def insert(
    connection: AsyncConnection,
    kind: str,
    code: str,
    valid_from: datetime,
    document: Mapping[str, Any],
    approval_id: int,
) -> int | None:
    """Store the next version; its number, None where one that begins later, or then, is there."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(7305009, hashtext(:name))"), {"name": f"{kind}:{code}"})
    done = await connection.execute(
        text("""
            INSERT INTO partners.mechanic (kind, code, version, valid_from, document, approval_id)
            SELECT :kind, :code, coalesce(max(version), 0) + 1, :valid_from, CAST(:document AS jsonb), :approval_id
            FROM partners.mechanic WHERE kind = :kind AND code = :code
            HAVING coalesce(max(valid_from), '-infinity') < :valid_from
            RETURNING version
        """),
        {
            "kind": kind,
            "code": code,
            "valid_from": valid_from,
            "document": json.dumps(document),
            "approval_id": approval_id,
        },
    )
    return done.scalar_one_or_none()


async def in_force(connection: AsyncConnection, kind: str, code: str, at: datetime) -> Row[Any] | None:
    """The version in force at an instant: version, document."""
    found = await connection.execute(
        text("""
            SELECT version, document FROM partners.mechanic
            WHERE kind = :kind AND code = :code AND valid_from <= :at ORDER BY version DESC LIMIT 1
        """),
        {"kind": kind, "code": code, "at": at},
    )
    return found.one_or_none()


async def begun(connection: AsyncConnection, kind: str, code: str, at: datetime) -> Sequence[Row[Any]]:
    """The version in force at an instant and all before it, from the latest: version, document."""
    found = await connection.execute(
        text("""
            SELECT version, document FROM partners.mechanic
            WHERE kind = :kind AND code = :code AND valid_from <= :at ORDER BY version DESC
        """),
        {"kind": kind, "code": code, "at": at},
    )
    return found.all()


async def versions(connection: asyncpg.Connection, kind: str) -> list[asyncpg.Record]:
    """Every version of a kind, in order: code, valid_from, document."""
    found: list[asyncpg.Record] = await connection.fetch(
        "SELECT code, valid_from, document FROM partners.mechanic WHERE kind = $1 ORDER BY code, version", kind
    )
    return found
