"""Controls over the books, as statements: every row returned is a violation. Private to settlement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

ENTRIES_BALANCE = """
    SELECT format('booking %s, entry %s: %s micro-units of %s too many', booking_id, entry_no, sum(amount_micro),
                  currency)
    FROM settlement.money_posting GROUP BY booking_id, entry_no, currency HAVING sum(amount_micro) <> 0
"""

BOOKED_ONCE = """
    SELECT format('cut-off %s is in %s bookings', cutoff_id, count(*))
    FROM settlement.booking WHERE source LIKE 'cutoff:%' GROUP BY cutoff_id HAVING count(*) > 1
    UNION ALL
    SELECT format('booking %s says cut-off %s, its source %s', booking_id, cutoff_id, source)
    FROM settlement.booking WHERE source LIKE 'cutoff:%' AND source <> 'cutoff:' || cutoff_id
    UNION ALL
    SELECT format('cut-off %s is booked and was not cut', b.cutoff_id)
    FROM settlement.booking b LEFT JOIN ledger.cutoff c USING (cutoff_id)
    WHERE b.source LIKE 'cutoff:%' AND c.state IS DISTINCT FROM 'CUT'
    UNION ALL
    SELECT format('cut-off %s is not booked, a later one is', c.cutoff_id)
    FROM ledger.cutoff c
    WHERE c.cutoff_id < (SELECT max(cutoff_id) FROM settlement.booking WHERE source LIKE 'cutoff:%')
      AND NOT EXISTS (SELECT FROM settlement.booking b WHERE b.source = 'cutoff:' || c.cutoff_id)
"""

# Points that can be spent, of lots and of transfers on their way, less what postings of cut-offs that are not booked
# did to them: what the books must have seen. Nothing of rating is in it.
_SEEN = """
    lots AS (
      SELECT funder_id, terms_id, sum(points) AS points FROM (
        SELECT funder_id, terms_id, remaining + held AS points FROM ledger.lot WHERE unit = 1 AND active AND open
        UNION ALL
        SELECT p.funder_id, p.lot_terms_id, p.amount
        FROM ledger.transfer t JOIN ledger.posting p USING (holder_id, unit, seq)
        WHERE t.unit = 1 AND t.state = 0 AND p.debit = 1 AND NOT EXISTS (
          SELECT FROM ledger.journal j
          WHERE j.holder_id = t.receiver_id AND j.unit = t.unit AND j.kind = 15
            AND j.idem_key = ledger.transfer_key(t.holder_id, t.unit, t.seq))
      ) here GROUP BY funder_id, terms_id
    ), unbooked AS (
      SELECT p.funder_id, p.lot_terms_id AS terms_id,
             sum(CASE WHEN p.credit IN (1, 3) THEN p.amount ELSE 0 END
                 - CASE WHEN p.debit IN (1, 3) THEN p.amount ELSE 0 END) AS points
      FROM ledger.posting p
      WHERE p.unit = 1 AND 14 NOT IN (p.debit, p.credit)
        AND NOT EXISTS (SELECT FROM settlement.booking b WHERE b.source = 'cutoff:' || p.cutoff_id)
      GROUP BY p.funder_id, p.lot_terms_id
    ), seen AS (
      SELECT funder_id, terms_id, coalesce(l.points, 0) - coalesce(u.points, 0) AS points
      FROM lots l FULL JOIN unbooked u USING (funder_id, terms_id)
    )
"""

STOCK_IS_LOTS = f"""
    WITH {_SEEN}, moved AS (
      SELECT funder_id, terms_id, sum(points) AS points FROM settlement.stock_movement GROUP BY funder_id, terms_id
    )
    SELECT format('funder %s, terms %s: the books saw %s points, the lots say %s', funder_id, terms_id,
                  coalesce(m.points, 0), coalesce(s.points, 0))
    FROM seen s FULL JOIN moved m USING (funder_id, terms_id) WHERE coalesce(s.points, 0) <> coalesce(m.points, 0)
"""

# At what of the fund part was billed by the version, or since stock changed hands.
OBLIGATION_IS_LOTS = f"""
    WITH {_SEEN}, due AS (
      SELECT s.funder_id, s.terms_id, a.currency,
             s.points * coalesce((SELECT t.billed_fund_micro FROM settlement.stock_transfer t
                                  WHERE t.funder_id = s.funder_id AND t.terms_id = s.terms_id
                                  ORDER BY t.from_cutoff DESC LIMIT 1), a.billed_fund_micro) AS amount_micro
      FROM seen s JOIN partners.agreement a USING (terms_id)
    ), kept AS (
      SELECT party_id AS funder_id, cohort_id AS terms_id, currency, -sum(amount_micro) AS amount_micro
      FROM settlement.money_posting WHERE account = '2100' GROUP BY party_id, cohort_id, currency
    )
    SELECT format('funder %s, terms %s: 2100 is %s micro-units of %s, the lots say %s', funder_id, terms_id,
                  coalesce(k.amount_micro, 0), currency, coalesce(d.amount_micro, 0))
    FROM due d FULL JOIN kept k USING (funder_id, terms_id, currency)
    WHERE coalesce(d.amount_micro, 0) <> coalesce(k.amount_micro, 0)
"""

CLAIM_IS_DEBT = """
    WITH owed AS (
      SELECT issuer_id, terms_id, sum(owed - repaid) AS points FROM ledger.shortfall WHERE unit = 1
      GROUP BY issuer_id, terms_id
    ), unbooked AS (
      SELECT issuer_id, terms_id, sum(points) AS points FROM (
        SELECT CASE WHEN p.debit = 4 THEN p.issuer_id ELSE p.partner_id END AS issuer_id,
               CASE WHEN p.debit = 4 THEN p.lot_terms_id ELSE p.terms_id END AS terms_id,
               CASE WHEN p.debit = 4 THEN p.amount ELSE -p.amount END AS points
        FROM ledger.posting p
        WHERE p.unit = 1 AND 4 IN (p.debit, p.credit)
          AND NOT EXISTS (SELECT FROM settlement.booking b WHERE b.source = 'cutoff:' || p.cutoff_id)
      ) p GROUP BY issuer_id, terms_id
    ), due AS (
      SELECT issuer_id, terms_id, a.currency,
             (coalesce(o.points, 0) - coalesce(u.points, 0)) * a.fund_price_micro AS amount_micro
      FROM owed o FULL JOIN unbooked u USING (issuer_id, terms_id) JOIN partners.agreement a USING (terms_id)
    ), kept AS (
      SELECT party_id AS issuer_id, cohort_id AS terms_id, currency, sum(amount_micro) AS amount_micro
      FROM settlement.money_posting WHERE account = '1260' GROUP BY party_id, cohort_id, currency
    )
    SELECT format('issuer %s, terms %s: 1260 is %s micro-units of %s, the debts say %s', issuer_id, terms_id,
                  coalesce(k.amount_micro, 0), currency, coalesce(d.amount_micro, 0))
    FROM due d FULL JOIN kept k USING (issuer_id, terms_id, currency)
    WHERE coalesce(d.amount_micro, 0) <> coalesce(k.amount_micro, 0)
"""

ESTIMATES_KEEP_APART = """
    SELECT format('booking %s, entry %s: %s on account %s', booking_id, entry_no, kind, account)
    FROM settlement.money_posting
    WHERE (account IN ('2105', '4200E')) <> (kind = 'BREAKAGE_ESTIMATE')
"""

ESTIMATES_ARE_THE_MODELS = """
    WITH standing AS (
      SELECT max(breakage_run_id) AS breakage_run_id FROM settlement.breakage_run r
      WHERE NOT EXISTS (SELECT FROM settlement.booking b WHERE b.reverses = r.booking_id)
    ), due AS (
      SELECT funder_id, terms_id, month, estimate_micro FROM settlement.breakage_estimate JOIN standing
      USING (breakage_run_id)
    ), kept AS (
      SELECT party_id AS funder_id, cohort_id AS terms_id, cohort_month AS month, sum(amount_micro) AS amount_micro
      FROM settlement.money_posting WHERE account = '2105' GROUP BY party_id, cohort_id, cohort_month
    )
    SELECT format('funder %s, terms %s, month %s: 2105 is %s, the model says %s', funder_id, terms_id, month,
                  coalesce(k.amount_micro, 0), coalesce(d.estimate_micro, 0))
    FROM due d FULL JOIN kept k USING (funder_id, terms_id, month)
    WHERE coalesce(k.amount_micro, 0) <> coalesce(d.estimate_micro, 0)
"""

EXCHANGE_IS_SWEPT = """
    SELECT format('after booking %s exchange clearing is %s micro-units of %s', s.booking_id, sum(p.amount_micro),
                  p.currency)
    FROM settlement.booking s JOIN settlement.money_posting p ON p.booking_id <= s.booking_id AND p.account = '1900'
    WHERE s.source LIKE 'fx:%' GROUP BY s.booking_id, p.currency HAVING sum(p.amount_micro) <> 0
"""

CLOSED_STAYS_CLOSED = """
    SELECT format('booking %s at %s came after everything up to %s was closed', b.booking_id, b.at, l.through)
    FROM settlement.period_lock l JOIN settlement.booking b ON b.at <= l.through AND b.booking_id > l.last_booking_id
"""

OPENINGS_ARE_KEPT = """
    SELECT format('funder %s, terms %s: %s points were brought in, %s approved', o.funder_id, o.terms_id,
                  sum(l.granted), o.points)
    FROM settlement.opening_stock o JOIN ledger.lot l USING (funder_id, terms_id)
    WHERE l.unit = 1 AND l.contributor_id IS NULL
    GROUP BY o.funder_id, o.terms_id, o.points HAVING sum(l.granted) > o.points
"""


async def violations(connection: AsyncConnection, control: str) -> list[str]:
    """What one of the controls above found, as sentences."""
    return list((await connection.execute(text(control))).scalars())


async def booked_cutoffs(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Number of the booking and of the cut-off of everything that was booked of cut-offs."""
    found = await connection.execute(
        text(
            "SELECT booking_id, cutoff_id FROM settlement.booking WHERE source = 'cutoff:' || cutoff_id "
            "ORDER BY cutoff_id"
        )
    )
    return found.all()


async def accounts_used(connection: AsyncConnection) -> list[str]:
    """Every account that something was ever booked on."""
    found = await connection.execute(text("SELECT DISTINCT account FROM settlement.money_posting ORDER BY account"))
    return list(found.scalars())
