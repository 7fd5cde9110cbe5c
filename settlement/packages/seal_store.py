"""Statements about what was sealed into packages, and the ledger's seals of a period. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Seal statements: statement_id, sha256, nonce, sealed_at."""
    await connection.execute(
        text(
            "INSERT INTO settlement.statement_seal (statement_id, sha256, nonce, sealed_at) "
            "VALUES (:statement_id, :sha256, :nonce, :sealed_at)"
        ),
        list(rows),
    )


async def of_run(connection: AsyncConnection, run_id: int) -> dict[int, Row[Any]]:
    """The seals of a run's statements by their numbers: sha256, nonce."""
    found = await connection.execute(
        text(
            "SELECT statement_id, sha256, nonce FROM settlement.statement_seal "
            "JOIN settlement.statement USING (statement_id) WHERE run_id = :run_id"
        ),
        {"run_id": run_id},
    )
    return {row.statement_id: row for row in found}


async def previous_statement(connection: AsyncConnection, statement_id: int) -> Row[Any] | None:
    """The latest statement of the same party and currency before one, of a run that stands: its number and run."""
    found = await connection.execute(
        text(
            "SELECT p.statement_id, p.run_id FROM settlement.statement s "
            "JOIN settlement.statement p USING (partner_id, currency) "
            "JOIN settlement.issued_statement i ON i.statement_id = p.statement_id "
            "WHERE s.statement_id = :statement_id AND p.run_id < s.run_id AND NOT EXISTS ( "
            "  SELECT FROM settlement.run_step x "
            "  WHERE x.run_id = p.run_id AND x.to_state IN ('ABORTED', 'SUPERSEDED')) "
            "ORDER BY p.run_id DESC LIMIT 1"
        ),
        {"statement_id": statement_id},
    )
    return found.one_or_none()


async def insert_package(
    connection: AsyncConnection, *, statement_id: int, kid: str, sha256: bytes, at: datetime
) -> None:
    """Note that a package was made; again changes nothing."""
    await connection.execute(
        text(
            "INSERT INTO settlement.package (statement_id, kid, sha256, made_at) "
            "VALUES (:statement_id, :kid, :sha256, :at) ON CONFLICT DO NOTHING"
        ),
        {"statement_id": statement_id, "kid": kid, "sha256": sha256, "at": at},
    )


async def packages(connection: AsyncConnection, statement_id: int) -> Sequence[Row[Any]]:
    """Packages that were made of a statement: kid, sha256."""
    found = await connection.execute(
        text("SELECT kid, sha256 FROM settlement.package WHERE statement_id = :statement_id ORDER BY made_at"),
        {"statement_id": statement_id},
    )
    return found.all()


async def ledger_seals(connection: AsyncConnection, first: int, last: int) -> Sequence[Row[Any]]:
    """The ledger's seals of cut-offs, each with that of the one before."""
    found = await connection.execute(
        text(
            "SELECT c.cutoff_id, c.cut_at, encode(c.seal, 'hex') AS seal, encode(p.seal, 'hex') AS previous "
            "FROM ledger.cutoff c LEFT JOIN ledger.cutoff p ON p.cutoff_id = c.cutoff_id - 1 "
            "WHERE c.cutoff_id BETWEEN :first AND :last AND c.seal IS NOT NULL ORDER BY c.cutoff_id"
        ),
        {"first": first, "last": last},
    )
    return found.all()
