"""Statements that reports alone need. Private to the package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_LIVE = (
    "NOT EXISTS (SELECT FROM settlement.run_step x WHERE x.run_id = r.run_id "
    "            AND x.to_state IN ('ABORTED', 'SUPERSEDED'))"
)

# What can be spent when a cut-off was cut, counted in the lots: what there is now, less what later postings did.
_LOTS = """
    lots AS (
      SELECT funder_id, terms_id, sum(points) AS points FROM (
        SELECT funder_id, terms_id, remaining + held AS points FROM ledger.lot WHERE unit = 1 AND active AND open
        UNION ALL
        SELECT p.funder_id, p.lot_terms_id, p.amount
        FROM ledger.transfer t JOIN ledger.posting p USING (holder_id, unit, seq)
        WHERE t.unit = 1 AND t.state = 0 AND p.debit = 1 AND NOT EXISTS (
          SELECT FROM ledger.journal j WHERE j.holder_id = t.receiver_id AND j.unit = t.unit AND j.kind = 15
            AND j.idem_key = ledger.transfer_key(t.holder_id, t.unit, t.seq))
        UNION ALL
        SELECT funder_id, lot_terms_id, -amount * ((credit IN (1, 3))::int - (debit IN (1, 3))::int)
        FROM ledger.posting WHERE unit = 1 AND cutoff_id > :last AND 14 NOT IN (debit, credit)
      ) here GROUP BY funder_id, terms_id
    )
"""


async def stock_rolled(connection: AsyncConnection, *, currency: str, first: int, last: int) -> Sequence[Row[Any]]:
    """Points that can be spent by funder, version and kind between cut-offs; OPENING is before, LOTS by the lots."""
    found = await connection.execute(
        text(
            f"WITH {_LOTS}, moved AS ( "
            "  SELECT m.funder_id, m.terms_id, CASE WHEN b.cutoff_id < :first THEN 'OPENING' ELSE m.kind END AS kind, "
            "         m.points FROM settlement.stock_movement m JOIN settlement.booking b USING (booking_id) "
            "  WHERE b.cutoff_id <= :last "
            "  UNION ALL SELECT funder_id, terms_id, 'LOTS', points FROM lots) "
            "SELECT funder_id, terms_id, kind, CAST(sum(points) AS bigint) AS points FROM moved "
            "LEFT JOIN partners.agreement USING (terms_id) "
            "WHERE coalesce(currency, (SELECT base_currency FROM partners.programme)) = :currency "
            "GROUP BY funder_id, terms_id, kind ORDER BY 1, 2, 3"
        ),
        {"currency": currency, "first": first, "last": last},
    )
    return found.all()


async def obligation_rolled(
    connection: AsyncConnection, *, currency: str, run_id: int, last: int
) -> Sequence[Row[Any]]:
    """The obligation at face by funder, version and kind in a run; OPENING is before it, LOTS what the lots make it."""
    found = await connection.execute(
        text(
            f"WITH {_LOTS} "
            "SELECT m.funder_id, m.terms_id, CASE WHEN r.run_id < :run_id THEN 'OPENING' ELSE m.kind END AS kind, "
            "       CAST(sum(m.amount_micro) AS bigint) AS amount_micro "
            "FROM settlement.obligation_movement m JOIN settlement.run r USING (run_id) "
            f"WHERE r.currency = :currency AND r.run_id <= :run_id AND {_LIVE} GROUP BY 1, 2, 3 "
            "UNION ALL "
            "SELECT l.funder_id, l.terms_id, 'LOTS', CAST(l.points * coalesce(( "
            "    SELECT t.billed_fund_micro FROM settlement.stock_transfer t "
            "    WHERE t.funder_id = l.funder_id AND t.terms_id = l.terms_id AND t.from_cutoff <= :last "
            "    ORDER BY t.from_cutoff DESC LIMIT 1), a.billed_fund_micro) AS bigint) "
            "FROM lots l JOIN partners.agreement a USING (terms_id) WHERE a.currency = :currency ORDER BY 1, 2, 3"
        ),
        {"currency": currency, "run_id": run_id, "last": last},
    )
    return found.all()


async def balances_at(connection: AsyncConnection, *, currency: str, at: datetime) -> Sequence[Row[Any]]:
    """Balances of the books at an instant by account, party and cohort, debit positive."""
    found = await connection.execute(
        text(
            "SELECT account, party_id, cohort_id, CAST(sum(amount_micro) AS bigint) AS amount_micro "
            "FROM settlement.money_posting JOIN settlement.booking USING (booking_id) "
            "WHERE currency = :currency AND at <= :at GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
        {"currency": currency, "at": at},
    )
    return found.all()


async def estimates(connection: AsyncConnection, *, currency: str) -> Sequence[Row[Any]]:
    """What the latest run of the breakage model expects, and what the one before did."""
    found = await connection.execute(
        text(
            "WITH last AS (SELECT max(breakage_run_id) AS n FROM settlement.breakage_run) "
            "SELECT e.funder_id, e.terms_id, e.month, e.issued, e.redeemed, e.expired, e.urr_ppm, e.estimate_micro, "
            "       r.model, p.urr_ppm AS prior_ppm, e.estimate_micro - coalesce(p.estimate_micro, 0) AS effect_micro "
            "FROM settlement.breakage_estimate e JOIN last ON e.breakage_run_id = last.n "
            "JOIN settlement.breakage_run r USING (breakage_run_id) "
            "LEFT JOIN settlement.breakage_estimate p ON p.breakage_run_id = e.breakage_run_id - 1 "
            "  AND (p.funder_id, p.terms_id, p.month) = (e.funder_id, e.terms_id, e.month) "
            "WHERE e.currency = :currency ORDER BY 1, 2, 3"
        ),
        {"currency": currency},
    )
    return found.all()


async def budgets(connection: AsyncConnection, *, sponsor_id: int | None) -> Sequence[Row[Any]]:
    """Budgets of promotions with what is used of them; a sponsor's, or everybody's."""
    found = await connection.execute(
        text(
            "SELECT b.code, b.sponsor_id, b.unit, b.currency, b.ceiling, "
            "       CAST(coalesce(sum(c.used), 0) AS bigint) AS used, "
            "       CAST(count(*) FILTER (WHERE c.used >= c.ceiling) AS bigint) AS reached "
            "FROM partners.budget b LEFT JOIN partners.budget_counter c USING (budget_id) "
            "WHERE CAST(:sponsor_id AS int) IS NULL OR b.sponsor_id = :sponsor_id "
            "GROUP BY b.budget_id ORDER BY b.code"
        ),
        {"sponsor_id": sponsor_id},
    )
    return found.all()


async def general_ledger(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """The books' entries of a run and its cut-offs, summed by day, account and party."""
    found = await connection.execute(
        text(
            "SELECT b.source, CAST(b.at AT TIME ZONE 'UTC' AS date) AS day, p.account, p.party_id, p.cohort_id, "
            "       p.kind, p.currency, "
            "       CAST(coalesce(sum(p.amount_micro) FILTER (WHERE p.amount_micro > 0), 0) AS bigint) "
            "         AS debit_micro, "
            "       CAST(coalesce(-sum(p.amount_micro) FILTER (WHERE p.amount_micro < 0), 0) AS bigint) "
            "         AS credit_micro, count(*) AS entries "
            "FROM settlement.booking b JOIN settlement.money_posting p USING (booking_id) "
            "WHERE b.run_id = :run_id OR b.cutoff_id IN ( "
            "  SELECT w.cutoff_id FROM settlement.run_window x JOIN settlement.window w USING (window_id) "
            "  WHERE x.run_id = :run_id) "
            "GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 2, 1, 3, 4, 5, 6"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def trail(connection: AsyncConnection, *, run_id: int | None, limit: int) -> Sequence[Row[Any]]:
    """The latest of the audit trail, in order: of a run, or of everything.

    Every entry is chained to the one before among these of its kind, from the first on: a run's to the run's, all to
    all.
    """
    found = await connection.execute(
        text(
            "WITH chained AS ("
            "  SELECT entry_id, at, actor, action, subject, detail ->> 'reason' AS reason, "
            "         CAST(detail AS text) AS detail, ledger.chain(''::bytea, convert_to(concat_ws(chr(31), entry_id, "
            "           actor, action, subject, detail, extract(epoch FROM at)), 'UTF8')) OVER w AS hash_after "
            "  FROM kit.audit_trail WHERE CAST(:subject AS text) IS NULL OR subject = :subject "
            "  WINDOW w AS (ORDER BY entry_id)), "
            "linked AS (SELECT *, coalesce(lag(hash_after) OVER (ORDER BY entry_id), ''::bytea) AS hash_before "
            "           FROM chained) "
            "SELECT * FROM (SELECT * FROM linked ORDER BY entry_id DESC LIMIT :limit) t ORDER BY entry_id"
        ),
        {"subject": None if run_id is None else f"run:{run_id}", "limit": limit},
    )
    return found.all()


async def lots_by_expiry(connection: AsyncConnection, *, currency: str, time_zone: str) -> Sequence[Row[Any]]:
    """Points that can be spent by funder, version, month in which they became so (UTC) and month in which they expire
    in a time zone, with the fund part that is billed for each."""
    found = await connection.execute(
        text(
            """
            SELECT l.funder_id, l.terms_id,
                   CAST(date_trunc('month', l.activates_at AT TIME ZONE 'UTC') AS date) AS month,
                   CAST(date_trunc('month', l.expires_at AT TIME ZONE :time_zone) AS date) AS expiry_month,
                   CAST(sum(l.remaining + l.held) AS bigint) AS points,
                   coalesce((SELECT t.billed_fund_micro FROM settlement.stock_transfer t
                             WHERE t.funder_id = l.funder_id AND t.terms_id = l.terms_id
                             ORDER BY t.from_cutoff DESC LIMIT 1), max(a.billed_fund_micro), 0) AS fund_micro
            FROM ledger.lot l LEFT JOIN partners.agreement a USING (terms_id)
            WHERE l.unit = 1 AND l.active AND l.open
              AND coalesce(a.currency, (SELECT base_currency FROM partners.programme)) = :currency
            GROUP BY 1, 2, 3, 4 HAVING sum(l.remaining + l.held) <> 0 ORDER BY 4, 1, 2, 3
            """
        ),
        {"currency": currency, "time_zone": time_zone},
    )
    return found.all()
