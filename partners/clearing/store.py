"""Statements of what settlement asks of partners. Private to the package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def agreements(connection: AsyncConnection, terms_ids: Sequence[int]) -> Sequence[RowMapping]:
    """Agreement versions by their numbers."""
    found = await connection.execute(
        text("SELECT * FROM partners.agreement WHERE terms_id = ANY (:terms_ids)"), {"terms_ids": list(terms_ids)}
    )
    return found.mappings().all()


async def signed_agreements(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Every approved version of every partner, in order of partner and version."""
    found = await connection.execute(
        text(
            "SELECT g.* FROM partners.agreement g JOIN kit.approval USING (approval_id) WHERE approved "
            "ORDER BY partner_id, version"
        )
    )
    return found.mappings().all()


async def names(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Number, code and name of every partner, by code."""
    found = await connection.execute(text("SELECT partner_id, code, name FROM partners.partner ORDER BY code"))
    return found.all()


async def clearing_events(
    connection: AsyncConnection, *, partner_id: int, cutoff_ids: Sequence[int], carried: Sequence[tuple[int, int]]
) -> AsyncIterator[Row[Any]]:
    """Postings that one partner may have to do with, with its own receipts and nobody else's.

    What it funded or carries (carried are funders and versions): activations, returns, also of points that are owed or
    forgiven, adjustments, uses and expiries; what it honoured: redemptions and refunds. The receipt of an activation is
    the one that earned the lot, wherever the lot came from; of the others, the one that moved the points.
    It is only shown if it is the partner's own. Needs a transaction: the rows are streamed.
    """
    rows = await connection.stream(
        text(
            """
            SELECT p.cutoff_id, p.debit, p.credit, p.issuer_id, p.funder_id, p.partner_id, p.holder_id,
                   p.amount AS points, p.lot_terms_id, p.terms_id, j.at, r.business_date, o.code AS outlet, r.reference,
                   p.seq, r.holder_id AS receipt_holder_id, r.seq AS receipt_seq
            FROM ledger.posting p
            JOIN ledger.journal j USING (holder_id, unit, seq)
            LEFT JOIN ledger.lot l ON p.debit = 2 AND l.holder_id = p.holder_id AND l.unit = p.unit
                                   AND l.seq = p.lot_seq AND l.lot_no = p.lot_no
            LEFT JOIN LATERAL (
              SELECT r.business_date, r.outlet_id, r.reference, r.holder_id, r.seq FROM partners.receipt r
              WHERE r.holder_id = coalesce(l.contributor_id, p.holder_id) AND r.unit = p.unit
                AND r.partner_id = :partner_id
                AND CASE WHEN p.debit IN (2, 10) THEN r.seq = coalesce(l.contributor_seq, p.lot_seq) AND r.kind = 1
                         ELSE r.seq = p.seq OR r.redemption_seq = p.seq END
              ORDER BY r.seq LIMIT 1
            ) r ON true
            LEFT JOIN partners.outlet o ON o.outlet_id = r.outlet_id
            WHERE p.cutoff_id = ANY (:cutoff_ids) AND p.unit = 1
              AND ((p.funder_id = :partner_id
                    OR (p.funder_id, p.lot_terms_id) IN (
                      SELECT * FROM unnest(CAST(:funders AS int[]), CAST(:versions AS int[]))))
                   AND (p.debit IN (2, 10, 15) AND p.credit = 1 OR p.debit IN (1, 4, 19) AND p.credit = 13
                        OR p.debit IN (1, 3) AND p.credit = 11 OR p.debit = 11 AND p.credit = 1
                        OR p.debit = 1 AND p.credit IN (4, 12, 15))
                   OR p.partner_id = :partner_id
                   AND (p.debit IN (1, 3) AND p.credit = 11 OR p.debit = 11 AND p.credit = 1))
            ORDER BY p.cutoff_id, j.recorded_at, p.holder_id, p.seq, p.leg
            """
        ),
        {
            "partner_id": partner_id,
            "cutoff_ids": list(cutoff_ids),
            "funders": [funder_id for funder_id, _ in carried],
            "versions": [terms_id for _, terms_id in carried],
        },
    )
    async for row in rows:
        yield row


async def currencies(connection: AsyncConnection) -> list[str]:
    """The currencies of agreements and of the programme, in order."""
    found = await connection.execute(
        text("SELECT currency FROM partners.agreement UNION SELECT base_currency FROM partners.programme ORDER BY 1")
    )
    return list(found.scalars())


async def owed_groups(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """What parties owe each other beside points in cut-offs, summed by everything but the receipt and the rule."""
    found = await connection.execute(
        text(
            "SELECT cutoff_id, kind, payer_id, payee_id, terms_id, currency, is_return, "
            "       CAST(sum(amount) AS bigint) AS amount_minor, count(*) AS count "
            "FROM partners.clearing_event WHERE cutoff_id = ANY (:cutoff_ids) "
            "GROUP BY cutoff_id, kind, payer_id, payee_id, terms_id, currency, is_return "
            "ORDER BY cutoff_id, kind, payer_id, payee_id, terms_id, currency, is_return"
        ),
        {"cutoff_ids": list(cutoff_ids)},
    )
    return found.all()


async def owed(
    connection: AsyncConnection, *, partner_id: int, currency: str, cutoff_ids: Sequence[int]
) -> AsyncIterator[Row[Any]]:
    """Events that a partner pays or is paid for, with their receipts. Needs a transaction: the rows are streamed."""
    rows = await connection.stream(
        text(
            """
            SELECT e.cutoff_id, e.kind, e.payer_id, e.payee_id, e.terms_id, e.currency, e.amount AS amount_minor,
                   e.is_return, e.rule, e.holder_id, e.seq, e.event_no, r.at, r.business_date, o.code AS outlet,
                   r.reference
            FROM partners.clearing_event e
            JOIN partners.receipt r USING (holder_id, unit, seq)
            JOIN partners.outlet o ON o.outlet_id = r.outlet_id
            WHERE e.cutoff_id = ANY (:cutoff_ids) AND e.unit = 1 AND e.currency = :currency
              AND :partner_id IN (e.payer_id, e.payee_id)
            ORDER BY e.cutoff_id, r.at, e.holder_id, e.seq, e.event_no
            """
        ),
        {"partner_id": partner_id, "currency": currency, "cutoff_ids": list(cutoff_ids)},
    )
    async for row in rows:
        yield row


async def purchased(
    connection: AsyncConnection, covered: Sequence[tuple[int, int, datetime, datetime]], currency: str,
    since: datetime, until: datetime,
) -> Sequence[Row[Any]]:  # fmt: skip
    """What members bought while something covered them, as far as it was recorded in [since, until): key, partner_id,
    minor units less returns, above zero. Of several covers under one key a receipt counts once."""
    found = await connection.execute(
        text(
            """
            SELECT key, partner_id, CAST(sum(amount) AS bigint) AS amount_minor FROM (
              SELECT DISTINCT c.key, r.holder_id, r.seq, r.partner_id,
                     CASE WHEN r.kind = 1 THEN r.total ELSE -r.total END AS amount
              FROM unnest(CAST(:keys AS bigint[]), CAST(:members AS bigint[]), CAST(:since_each AS timestamptz[]),
                          CAST(:until_each AS timestamptz[])) AS c(key, member_id, since, until)
              JOIN partners.receipt r ON r.holder_id = c.member_id AND r.unit = 1 AND r.kind IN (1, 3, 4)
                AND r.at >= :since AND r.at < :until AND r.currency = :currency
                AND r.occurred_at >= c.since AND r.occurred_at < c.until
            ) x GROUP BY key, partner_id HAVING sum(amount) > 0 ORDER BY key, partner_id
            """
        ),
        {
            "keys": [one[0] for one in covered], "members": [one[1] for one in covered],
            "since_each": [one[2] for one in covered], "until_each": [one[3] for one in covered],
            "currency": currency, "since": since, "until": until,
        },
    )  # fmt: skip
    return found.all()
