"""Statements on what there is of promotions and releases, page by page. Private to the partners."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

_RELEASE = """
    SELECT r.release_id, r.parent_id, r.kind, r.sha256, r.effective_from, r.at, a.approved, a.decided_at, a.detail,
           m.name AS author, c.name AS approver,
           ARRAY(SELECT u.code FROM partners.release_rule h JOIN partners.rule u USING (rule_id)
                 WHERE h.release_id = r.release_id ORDER BY u.code) AS codes,
           ARRAY(SELECT h.version FROM partners.release_rule h JOIN partners.rule u USING (rule_id)
                 WHERE h.release_id = r.release_id ORDER BY u.code) AS versions
    FROM partners.release r JOIN kit.actor m ON m.actor_id = r.author_id
    LEFT JOIN kit.approval a USING (approval_id) LEFT JOIN kit.actor c ON c.actor_id = a.checker_id
"""


async def promotions(
    connection: AsyncConnection,
    *,
    before: int | None,
    limit: int,
    codes: Collection[str] | None,
    sponsor_id: int | None,
) -> Sequence[Row[Any]]:
    """Promotions below a number, the latest first: all, or where codes are given those and the sponsor's own."""
    found = await connection.execute(
        text("""
            SELECT promotion_id, code, names, sponsor_id, at FROM partners.promotion
            WHERE (CAST(:before AS int) IS NULL OR promotion_id < :before)
              AND (CAST(:codes AS text[]) IS NULL OR code = ANY (CAST(:codes AS text[])) OR sponsor_id = :sponsor_id)
            ORDER BY promotion_id DESC LIMIT :limit
        """),
        {
            "before": before, "limit": limit, "codes": None if codes is None else list(codes),
            "sponsor_id": sponsor_id,
        },
    )  # fmt: skip
    return found.all()


async def promotion(connection: AsyncConnection, code: str) -> Row[Any] | None:
    """The promotion of a code."""
    found = await connection.execute(
        text("SELECT promotion_id, code, names, sponsor_id, at FROM partners.promotion WHERE code = :code"),
        {"code": code},
    )
    return found.one_or_none()


async def latest_rules(connection: AsyncConnection, promotion_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """The last version of each rule of promotions: promotion_id, document, author, at; by the rule's code."""
    found = await connection.execute(
        text("""
            SELECT DISTINCT ON (u.code) u.promotion_id, v.document, m.name AS author, v.at
            FROM partners.rule u JOIN partners.rule_version v USING (rule_id)
            JOIN kit.actor m ON m.actor_id = v.author_id
            WHERE u.promotion_id = ANY (CAST(:promotion_ids AS int[])) ORDER BY u.code, v.version DESC
        """),
        {"promotion_ids": list(promotion_ids)},
    )
    return found.all()


async def rule_version(connection: AsyncConnection, code: str, version: int) -> Row[Any]:
    """A version of a rule that there is: document, author, at."""
    found = await connection.execute(
        text("""
            SELECT v.document, m.name AS author, v.at FROM partners.rule u JOIN partners.rule_version v USING (rule_id)
            JOIN kit.actor m ON m.actor_id = v.author_id WHERE u.code = :code AND v.version = :version
        """),
        {"code": code, "version": version},
    )
    return found.one()


async def releases(connection: AsyncConnection, *, before: int | None, limit: int) -> Sequence[Row[Any]]:
    """Releases below a number, the latest first, whatever became of them, with the rules that they hold."""
    found = await connection.execute(
        text(
            f"{_RELEASE} WHERE CAST(:before AS int) IS NULL OR r.release_id < :before "
            "ORDER BY r.release_id DESC LIMIT :limit"
        ),
        {"before": before, "limit": limit},
    )
    return found.all()


async def release(connection: AsyncConnection, release_id: int) -> Row[Any] | None:
    """The same of one release."""
    found = await connection.execute(text(f"{_RELEASE} WHERE r.release_id = :release_id"), {"release_id": release_id})
    return found.one_or_none()
