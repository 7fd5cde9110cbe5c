"""Statements on what a promotion brought a partner. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_BOUGHT = (
    "SELECT r.holder_id, r.at, r.kind, CASE r.kind WHEN 1 THEN r.total WHEN 2 THEN 0 ELSE -r.total END AS sales, "
    "(SELECT coalesce(sum((e ->> 1)::bigint), 0) FROM jsonb_array_elements(r.decision -> 'reasons') e "
    "WHERE r.kind = 1 AND e -> 2 ->> 'rule' = ANY (:rules)) AS points "
    "FROM partners.receipt r WHERE r.partner_id = :partner_id AND r.cutoff_id >= :cutoff_id AND r.unit = 1 "
    "AND r.currency = :currency AND r.at >= :since AND r.at < :until"
)


async def arms(connection: AsyncConnection, wanted: Mapping[str, Any]) -> Sequence[RowMapping]:
    """Of each arm: how many members were drawn who were the partner's by then, or anybody where the rules work at no
    other partner (is_alone), and the sum and squares of what they bought here since."""
    statement = text(
        f"WITH bought AS ({_BOUGHT}), "
        "drawn AS (SELECT a.holder_id, a.arm, a.at FROM partners.holdout_arm a WHERE a.experiment = :experiment "
        "AND a.at < :until AND (:is_alone OR EXISTS (SELECT FROM partners.receipt r WHERE r.holder_id = a.holder_id "
        "AND r.partner_id = :partner_id AND r.at <= a.at))), "
        "sums AS (SELECT d.holder_id, d.arm, coalesce(sum(b.sales), 0) AS sales FROM drawn d "
        "LEFT JOIN bought b ON b.holder_id = d.holder_id AND b.at >= d.at GROUP BY d.holder_id, d.arm) "
        "SELECT arm, count(*) AS members, sum(sales)::bigint AS sales_minor, sum(sales::numeric * sales) AS squares "
        "FROM sums GROUP BY arm"
    )
    return (await connection.execute(statement, dict(wanted))).mappings().all()


async def given(connection: AsyncConnection, wanted: Mapping[str, Any]) -> RowMapping:
    """What the rules gave at the partner: buyers (who bought at all), participants (who got something), points."""
    statement = text(
        f"WITH bought AS ({_BOUGHT}) SELECT count(DISTINCT holder_id) FILTER (WHERE kind = 1) AS buyers, "
        "count(DISTINCT holder_id) FILTER (WHERE points > 0) AS participants, "
        "coalesce(sum(points), 0)::bigint AS points FROM bought"
    )
    return (await connection.execute(statement, dict(wanted))).mappings().one()


async def points_by_rule(connection: AsyncConnection, wanted: Mapping[str, Any]) -> dict[str, int]:
    """Points that each of the rules gave at the partner."""
    statement = text(
        "SELECT e -> 2 ->> 'rule' AS rule, sum((e ->> 1)::bigint)::bigint AS points FROM partners.receipt r, "
        "jsonb_array_elements(r.decision -> 'reasons') e WHERE r.partner_id = :partner_id "
        "AND r.cutoff_id >= :cutoff_id AND r.unit = 1 AND r.kind = 1 AND r.currency = :currency AND r.at >= :since "
        "AND r.at < :until AND e -> 2 ->> 'rule' = ANY (:rules) GROUP BY 1"
    )
    return {row.rule: row.points for row in await connection.execute(statement, dict(wanted))}


async def owed_minor(connection: AsyncConnection, wanted: Mapping[str, Any]) -> int:
    """What the partner owes others for discounts of the rules, less what was returned; minor units."""
    statement = text(
        "SELECT coalesce(sum(CASE WHEN payer_id = :partner_id THEN amount ELSE -amount END), 0)::bigint "
        "FROM partners.clearing_event WHERE cutoff_id >= :cutoff_id AND currency = :currency AND rule = ANY (:rules) "
        "AND ((payer_id = :partner_id AND NOT is_return) OR (payee_id = :partner_id AND is_return))"
    )
    return int((await connection.execute(statement, dict(wanted))).scalar_one())
