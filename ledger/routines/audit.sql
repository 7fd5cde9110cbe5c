-- The rules about debt, for some holders (null: for all) and one unit (null: for all). Every row is a violation.
CREATE FUNCTION ledger.audit_debts(p_holders bigint[], p_unit smallint)
RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  WITH account AS (
    SELECT a.holder_id, a.unit, a.available, a.debt FROM ledger.account a
    WHERE (p_holders IS NULL OR a.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR a.unit = p_unit) AND a.debt > 0
  ), shortfall AS (
    SELECT s.holder_id, s.unit, s.seq, sum(s.owed) AS owed, sum(s.forgiven) AS forgiven, sum(s.repaid) AS repaid
    FROM ledger.shortfall s
    WHERE (p_holders IS NULL OR s.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR s.unit = p_unit)
    GROUP BY s.holder_id, s.unit, s.seq
  ), posted AS (
    SELECT p.holder_id, p.unit, p.seq, sum(p.amount) FILTER (WHERE p.debit = 4) AS owed,
           sum(p.amount) FILTER (WHERE p.debit = 19) AS forgiven
    FROM ledger.posting p
    WHERE (p_holders IS NULL OR p.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR p.unit = p_unit)
      AND p.credit = 13 AND p.debit IN (4, 19)
    GROUP BY p.holder_id, p.unit, p.seq
  ), repaid AS (
    SELECT j.holder_id, j.unit, j.ref_seq AS seq, sum(j.amount) AS repaid FROM ledger.journal j
    WHERE (p_holders IS NULL OR j.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR j.unit = p_unit) AND j.kind = 12
    GROUP BY j.holder_id, j.unit, j.ref_seq
  )
  SELECT 'A17 debt = what returns fell short of and nobody repaid', holder_id, unit,
         format('account %s, returns %s', a.debt, s.debt)
  FROM account a
  FULL JOIN (SELECT holder_id, unit, sum(owed - repaid) AS debt FROM shortfall GROUP BY holder_id, unit) s
    USING (holder_id, unit)
  WHERE coalesce(a.debt, 0) <> coalesce(s.debt, 0)
  UNION ALL
  SELECT 'A17 shortfall = its postings', holder_id, unit,
         format('return %s: owed %s, forgiven %s, repaid %s; postings %s, %s, repayments %s', seq, s.owed, s.forgiven,
                s.repaid, p.owed, p.forgiven, r.repaid)
  FROM shortfall s FULL JOIN posted p USING (holder_id, unit, seq) FULL JOIN repaid r USING (holder_id, unit, seq)
  WHERE (s.owed, s.forgiven, s.repaid) IS DISTINCT FROM
        (coalesce(p.owed, 0), coalesce(p.forgiven, 0), coalesce(r.repaid, 0))
  UNION ALL
  SELECT 'A18 nothing is available while something is owed', holder_id, unit, format('available %s, debt %s', available, debt)
  FROM account WHERE available > 0
$$;

-- Rules A19 and A20. A19 is what an account shows by itself: its transfers are its entries of kind 14, and what came back
-- is an entry of kind 16. A20 takes both sides: each second half belongs to a transfer and is as large, a transfer that
-- arrived has one, and what postings say is on its way is what transfers say that have no second half yet.
CREATE FUNCTION ledger.audit_sent(p_holders bigint[], p_unit smallint)
RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  WITH sent AS MATERIALIZED (
    SELECT * FROM ledger.transfer t
    WHERE (p_holders IS NULL OR t.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR t.unit = p_unit)
  ), entry AS MATERIALIZED (
    SELECT j.holder_id, j.unit, j.seq, j.kind, j.amount, j.idem_key FROM ledger.journal j
    WHERE j.kind IN (14, 16) AND (p_holders IS NULL OR j.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR j.unit = p_unit)
  )
  SELECT 'A19 transfer = its entries', holder_id, unit, format('entry %s', seq)
  FROM sent t FULL JOIN (SELECT * FROM entry WHERE kind = 14) e USING (holder_id, unit, seq)
  WHERE t.amount IS DISTINCT FROM e.amount
  UNION ALL
  SELECT 'A19 transfer = its entries', t.holder_id, t.unit, format('entry %s came back', t.seq)
  FROM sent t LEFT JOIN entry e
    ON e.holder_id = t.holder_id AND e.unit = t.unit AND e.kind = 16
   AND e.idem_key = ledger.transfer_key(t.holder_id, t.unit, t.seq)
  WHERE (t.state = 2, CASE t.state WHEN 2 THEN t.settled_seq END, CASE t.state WHEN 2 THEN t.amount END) IS DISTINCT FROM
        (e.seq IS NOT NULL, e.seq, e.amount)
$$;
CREATE FUNCTION ledger.audit_transfers() RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  WITH half AS MATERIALIZED (
    SELECT t.*, j.seq AS in_seq, j.amount AS in_amount
    FROM ledger.transfer t LEFT JOIN ledger.journal j
      ON j.holder_id = t.receiver_id AND j.unit = t.unit AND j.kind = 15
     AND j.idem_key = ledger.transfer_key(t.holder_id, t.unit, t.seq)
  )
  SELECT 'A20 both halves of a transfer agree', h.holder_id, h.unit, format('entry %s', h.seq)
  FROM half h
  WHERE h.in_amount <> h.amount OR h.state = 2 AND h.in_seq IS NOT NULL
     OR h.state = 1 AND h.in_seq IS DISTINCT FROM h.settled_seq
  UNION ALL
  SELECT 'A20 both halves of a transfer agree', j.holder_id, j.unit, format('entry %s has no first half', j.seq)
  FROM ledger.journal j
  LEFT JOIN half h ON h.receiver_id = j.holder_id AND h.unit = j.unit AND h.in_seq = j.seq
  WHERE j.kind = 15 AND h.seq IS NULL
  UNION ALL
  SELECT 'A20 on its way = unfinished transfers', NULL, unit,
         format('issuer %s, funder %s, terms %s: postings %s, transfers %s', issuer_id, funder_id, lot_terms_id,
                coalesce(p.points, 0), coalesce(o.points, 0))
  FROM (
    SELECT unit, issuer_id, funder_id, lot_terms_id, sum(CASE credit WHEN 14 THEN amount ELSE -amount END) AS points
    FROM ledger.posting WHERE 14 IN (debit, credit) GROUP BY unit, issuer_id, funder_id, lot_terms_id
  ) p
  FULL JOIN (
    SELECT o.unit, o.issuer_id, o.funder_id, o.lot_terms_id, sum(o.amount) AS points
    FROM half h JOIN ledger.posting o USING (holder_id, unit, seq)
    WHERE h.state = 0 AND h.in_seq IS NULL GROUP BY o.unit, o.issuer_id, o.funder_id, o.lot_terms_id
  ) o USING (unit, issuer_id, funder_id, lot_terms_id)
  WHERE coalesce(p.points, 0) <> coalesce(o.points, 0)
$$;

-- Every row returned is a violation; see docs/invariants.md for what each rule says.
CREATE FUNCTION ledger.audit() RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  WITH by_posting AS (
    SELECT holder_id, unit,
           sum(CASE WHEN credit = 1 THEN amount WHEN debit = 1 THEN -amount ELSE 0 END) AS available,
           sum(CASE WHEN credit = 2 THEN amount WHEN debit = 2 THEN -amount ELSE 0 END) AS pending,
           sum(CASE WHEN credit = 3 THEN amount WHEN debit = 3 THEN -amount ELSE 0 END) AS held,
           sum(CASE WHEN debit = 4 THEN amount WHEN credit = 4 THEN -amount ELSE 0 END) AS debt
    FROM ledger.posting GROUP BY holder_id, unit
  ), by_lot AS (
    SELECT holder_id, unit, sum(remaining) FILTER (WHERE active) AS available,
           sum(remaining) FILTER (WHERE NOT active) AS pending, sum(held) AS held
    FROM ledger.lot GROUP BY holder_id, unit
  ), lot_posting AS (
    SELECT holder_id, unit, lot_seq AS seq, lot_no,
           sum(CASE WHEN credit IN (1, 2) THEN amount ELSE 0 END - CASE WHEN debit IN (1, 2) THEN amount ELSE 0 END) AS remaining,
           sum(CASE WHEN credit = 3 THEN amount WHEN debit = 3 THEN -amount ELSE 0 END) AS held,
           sum(CASE WHEN credit = 11 THEN amount WHEN debit = 11 THEN -amount ELSE 0 END) AS redeemed,
           sum(CASE WHEN credit = 12 THEN amount ELSE 0 END) AS expired,
           sum(CASE WHEN credit = 13 AND debit IN (1, 2) THEN amount ELSE 0 END) AS returned,
           sum(CASE WHEN credit = 4 THEN amount ELSE 0 END) AS repaid,
           sum(CASE WHEN debit IN (10, 15) OR debit = 14 AND seq = lot_seq THEN amount ELSE 0 END) AS granted,
           sum(CASE WHEN credit IN (14, 15) THEN amount WHEN debit = 14 AND seq <> lot_seq THEN -amount ELSE 0 END) AS gone
    FROM ledger.posting GROUP BY holder_id, unit, lot_seq, lot_no
  ), entry AS (
    SELECT holder_id, unit, seq, sum(amount) AS amount,
           sum(CASE WHEN credit = 1 THEN amount WHEN debit = 1 THEN -amount ELSE 0 END) AS available,
           sum(CASE WHEN credit = 2 THEN amount WHEN debit = 2 THEN -amount ELSE 0 END) AS pending,
           sum(CASE WHEN credit = 3 THEN amount WHEN debit = 3 THEN -amount ELSE 0 END) AS held,
           sum(CASE WHEN debit = 4 THEN amount WHEN credit = 4 THEN -amount ELSE 0 END) AS debt
    FROM ledger.posting GROUP BY holder_id, unit, seq
  ), history AS (
    SELECT j.holder_id, j.unit, j.seq, j.kind, j.amount, e.amount AS posted, j.available_after, j.pending_after,
           j.held_after, j.debt_after, j.recorded_at,
           sum(coalesce(e.available, 0)) OVER w AS available, sum(coalesce(e.pending, 0)) OVER w AS pending,
           sum(coalesce(e.held, 0)) OVER w AS held, sum(coalesce(e.debt, 0)) OVER w AS debt,
           lag(j.recorded_at) OVER w AS recorded_before
    FROM ledger.journal j LEFT JOIN entry e USING (holder_id, unit, seq)
    WINDOW w AS (PARTITION BY j.holder_id, j.unit ORDER BY j.seq)
  ), journal AS (
    SELECT holder_id, unit, count(*) AS entries, min(seq) AS first, max(seq) AS last FROM ledger.journal
    GROUP BY holder_id, unit
  )
  SELECT 'A1 balance = its postings', a.holder_id, a.unit,
         format('cached %s/%s/%s/%s, postings %s/%s/%s/%s', a.available, a.pending, a.held, a.debt, p.available, p.pending, p.held, p.debt)
  FROM ledger.account a LEFT JOIN by_posting p USING (holder_id, unit)
  WHERE (a.available, a.pending, a.held, a.debt) IS DISTINCT FROM
        (coalesce(p.available, 0), coalesce(p.pending, 0), coalesce(p.held, 0), coalesce(p.debt, 0))
  UNION ALL
  SELECT 'A2 balance = its lots', a.holder_id, a.unit,
         format('cached %s/%s/%s, lots %s/%s/%s', a.available, a.pending, a.held, l.available, l.pending, l.held)
  FROM ledger.account a LEFT JOIN by_lot l USING (holder_id, unit)
  WHERE (a.available, a.pending, a.held) IS DISTINCT FROM
        (coalesce(l.available, 0), coalesce(l.pending, 0), coalesce(l.held, 0))
  UNION ALL
  SELECT 'A3 lot = its postings', coalesce(l.holder_id, p.holder_id), coalesce(l.unit, p.unit),
         format('lot %s.%s', coalesce(l.seq, p.seq), coalesce(l.lot_no, p.lot_no))
  FROM ledger.lot l FULL JOIN lot_posting p USING (holder_id, unit, seq, lot_no)
  WHERE (l.granted, l.remaining, l.held, l.returned) IS DISTINCT FROM (p.granted, p.remaining, p.held, p.returned)
     OR l.granted <> l.remaining + l.held + l.returned + p.redeemed + p.expired + p.repaid + p.gone
  UNION ALL
  SELECT 'A4 journal has no gap and ends at the head', a.holder_id, a.unit,
         format('head %s, entries %s, %s to %s', a.seq, j.entries, j.first, j.last)
  FROM ledger.account a LEFT JOIN journal j USING (holder_id, unit)
  WHERE (a.seq, a.seq) IS DISTINCT FROM (coalesce(j.entries, 0), coalesce(j.last, 0))
  UNION ALL
  SELECT 'A5 open holds = held', a.holder_id, a.unit, format('held %s, holds %s', a.held, h.amount)
  FROM ledger.account a
  LEFT JOIN (SELECT holder_id, unit, sum(amount) AS amount FROM ledger.hold WHERE state = 0 GROUP BY holder_id, unit) h
    USING (holder_id, unit)
  WHERE a.held <> coalesce(h.amount, 0)
  UNION ALL
  SELECT 'A6 entry = its postings', h.holder_id, h.unit, format('entry %s says %s, postings %s', h.seq, h.amount, h.posted)
  FROM history h WHERE h.kind <> 20 AND h.amount <> coalesce(h.posted, 0) OR h.kind = 20 AND h.posted IS NOT NULL
  UNION ALL
  SELECT 'A6 posting belongs to an entry', e.holder_id, e.unit, format('entry %s', e.seq)
  FROM entry e LEFT JOIN ledger.journal j USING (holder_id, unit, seq) WHERE j.seq IS NULL
  UNION ALL
  SELECT 'A7 balance history = running sum', h.holder_id, h.unit, format('entry %s', h.seq)
  FROM history h
  WHERE (h.available_after, h.pending_after, h.held_after, h.debt_after) IS DISTINCT FROM
        (h.available::bigint, h.pending::bigint, h.held::bigint, h.debt::bigint) OR h.recorded_at < h.recorded_before
  UNION ALL
  SELECT 'A11 issued = all that became of it', NULL, i.unit, format('issuer %s: issued %s, found %s', i.issuer_id, i.issued, i.found)
  FROM (
    SELECT p.unit, p.issuer_id, p.issued, p.gone + coalesce(l.here, 0) AS found
    FROM (SELECT unit, issuer_id,
                 sum(CASE WHEN debit IN (10, 15) THEN amount WHEN credit IN (10, 15) THEN -amount ELSE 0 END) AS issued,
                 sum(CASE WHEN credit IN (4, 11, 12, 13, 14) THEN amount ELSE 0 END
                     - CASE WHEN debit IN (4, 11, 12, 13, 14, 19) THEN amount ELSE 0 END) AS gone
          FROM ledger.posting GROUP BY unit, issuer_id) p
    LEFT JOIN (SELECT unit, issuer_id, sum(remaining + held) AS here FROM ledger.lot GROUP BY unit, issuer_id) l
      USING (unit, issuer_id)
  ) i WHERE i.issued <> i.found
  UNION ALL
  SELECT 'A15 nothing negative', a.holder_id, a.unit, 'account'
  FROM ledger.account a WHERE least(a.available, a.pending, a.held, a.debt, a.spent) < 0
  UNION ALL
  SELECT 'A15 nothing negative', l.holder_id, l.unit, format('lot %s.%s', l.seq, l.lot_no)
  FROM ledger.lot l WHERE least(l.remaining, l.held, l.returned) < 0
  UNION ALL
  SELECT * FROM ledger.audit_debts(NULL, NULL)
  UNION ALL
  SELECT 'A16 cut-off = what is recorded in it', NULL, NULL,
         format('cut-off %s: counted %s entries, %s postings, %s points; found %s, %s, %s', c.cutoff_id,
                c.journal_count, c.posting_count, c.posting_points, j.n, p.n, p.points)
  FROM ledger.cutoff c
  LEFT JOIN (SELECT cutoff_id, count(*) AS n FROM ledger.journal GROUP BY cutoff_id) j USING (cutoff_id)
  LEFT JOIN (SELECT cutoff_id, count(*) AS n, sum(amount) AS points FROM ledger.posting GROUP BY cutoff_id) p USING (cutoff_id)
  WHERE c.state = 'CUT' AND (c.journal_count, c.posting_count, c.posting_points) IS DISTINCT FROM
        (coalesce(j.n, 0), coalesce(p.n, 0), coalesce(p.points, 0))
  UNION ALL
  SELECT * FROM ledger.audit_sent(NULL, NULL)
  UNION ALL
  SELECT * FROM ledger.audit_transfers()
$$;
