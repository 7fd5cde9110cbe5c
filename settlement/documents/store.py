"""Statements on documents and tax rules. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def next_number(connection: AsyncConnection, entity: str, series: str) -> int:
    """The next number of a series, which is given back if the transaction is rolled back; others wait for it."""
    found = await connection.execute(
        text(
            "INSERT INTO settlement.document_counter AS c (entity, series, last_no) VALUES (:entity, :series, 1) "
            "ON CONFLICT (entity, series) DO UPDATE SET last_no = c.last_no + 1 RETURNING last_no"
        ),
        {"entity": entity, "series": series},
    )
    return int(found.scalar_one())


async def insert_document(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A document without its lines; returns what it is found by."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.document (entity, series, number, kind, run_id, partner_id, currency, issued_at, "
            "  tax_rule, tax_version, base_minor, tax_minor, gross_minor, corrects_id, content_hash) "
            "VALUES (:entity, :series, :number, :kind, :run_id, :partner_id, :currency, :issued_at, :tax_rule, "
            "  :tax_version, :base_minor, :tax_minor, :gross_minor, :corrects_id, :content_hash) RETURNING document_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_document_lines(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Lines of a document that was written in this transaction."""
    if rows:
        await connection.execute(
            text(
                "INSERT INTO settlement.document_line "
                "       (document_id, line_no, kind, terms_id, points, base_minor, tax_minor) "
                "VALUES (:document_id, :line_no, :kind, :terms_id, :points, :base_minor, :tax_minor)"
            ),
            list(rows),
        )


async def documents(
    connection: AsyncConnection, *, run_id: int | None, partner_id: int | None, before: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Documents of a run and of a partner where asked for, the latest first."""
    found = await connection.execute(
        text(
            "SELECT d.*, t.rate_bp, t.rounding, t.tax_code FROM settlement.document d "
            "JOIN settlement.tax_rule t ON t.code = d.tax_rule AND t.version = d.tax_version "
            "WHERE (CAST(:run_id AS int) IS NULL OR run_id = :run_id) "
            "  AND (CAST(:partner_id AS int) IS NULL OR partner_id = :partner_id) "
            "  AND (CAST(:before AS bigint) IS NULL OR document_id < :before) "
            "ORDER BY document_id DESC LIMIT :limit"
        ),
        {"run_id": run_id, "partner_id": partner_id, "before": before, "limit": limit},
    )
    return found.all()


async def document_lines(connection: AsyncConnection, document_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Lines of documents, in order."""
    found = await connection.execute(
        text(
            "SELECT document_id, line_no, kind, terms_id, points, base_minor, tax_minor FROM settlement.document_line "
            "WHERE document_id = ANY (:document_ids) ORDER BY document_id, line_no"
        ),
        {"document_ids": list(document_ids)},
    )
    return found.all()


async def rules_at(connection: AsyncConnection, at: datetime) -> Sequence[Row[Any]]:
    """The version of each tax rule that is in force at an instant."""
    found = await connection.execute(
        text(
            "SELECT DISTINCT ON (code) code, version, rate_bp, rounding, tax_code FROM settlement.tax_rule "
            "WHERE valid_from <= :at ORDER BY code, valid_from DESC"
        ),
        {"at": at},
    )
    return found.all()


async def insert_rule(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """Another version of a tax rule; returns its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.tax_rule (code, version, valid_from, rate_bp, rounding, tax_code, approval_id) "
            "SELECT :code, 1 + coalesce(max(version), 0), :valid_from, :rate_bp, :rounding, :tax_code, :approval_id "
            "FROM settlement.tax_rule WHERE code = :code RETURNING version"
        ),
        row,
    )
    return int(made.scalar_one())


async def latest_rule_from(connection: AsyncConnection, code: str) -> datetime | None:
    """From when the latest version of a tax rule holds; None where there is none."""
    found = await connection.execute(
        text("SELECT nullif(max(valid_from), '-infinity') FROM settlement.tax_rule WHERE code = :code"), {"code": code}
    )
    latest: datetime | None = found.scalar_one()
    return latest
