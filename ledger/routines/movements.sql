-- The cut-off before p_before that was open at an instant.
CREATE FUNCTION ledger.cutoff_of(p_at timestamptz, p_before int) RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT max(cutoff_id) FROM ledger.cutoff WHERE opened_at <= p_at AND cutoff_id < p_before
$$;

-- What moved, by cut-off and parties: of entries with a transaction in [p_from, p_until), in the form that settlement
-- keeps. origin_cutoff is the cut-off in whose time the entry took effect: its own, or an earlier one where it came late.
CREATE FUNCTION ledger.moved(p_from xid8, p_until xid8)
RETURNS TABLE (cutoff_id int, origin_cutoff int, unit smallint, debit smallint, credit smallint, issuer_id int,
               funder_id int, partner_id int, lot_terms_id int, terms_id int, points bigint, postings bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  SELECT p.cutoff_id, CASE WHEN j.at < c.opened_at THEN ledger.cutoff_of(j.at, p.cutoff_id) ELSE p.cutoff_id END AS origin,
         p.unit, p.debit, p.credit, p.issuer_id, p.funder_id, p.partner_id, p.lot_terms_id, p.terms_id,
         sum(p.amount)::bigint, count(*)
  FROM ledger.journal j
  JOIN ledger.posting p USING (holder_id, unit, seq)
  JOIN ledger.cutoff c ON c.cutoff_id = j.cutoff_id
  WHERE j.xid >= p_from AND j.xid < p_until
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
$$;

-- The same by cut-off, from every posting of it: what a control compares the other with. Of the cut-off that was open at
-- p_at only what was recorded by then, where an instant is given.
CREATE FUNCTION ledger.moved_in(p_cutoffs int[], p_at timestamptz)
RETURNS TABLE (cutoff_id int, origin_cutoff int, unit smallint, debit smallint, credit smallint, issuer_id int,
               funder_id int, partner_id int, lot_terms_id int, terms_id int, points bigint, postings bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  SELECT p.cutoff_id, CASE WHEN j.at < c.opened_at THEN ledger.cutoff_of(j.at, p.cutoff_id) ELSE p.cutoff_id END AS origin,
         p.unit, p.debit, p.credit, p.issuer_id, p.funder_id, p.partner_id, p.lot_terms_id, p.terms_id,
         sum(p.amount)::bigint, count(*)
  FROM ledger.cutoff c
  JOIN ledger.posting p USING (cutoff_id)
  JOIN ledger.journal j USING (holder_id, unit, seq)
  WHERE c.cutoff_id = ANY (p_cutoffs) AND (p_at IS NULL OR c.cut_at <= p_at OR j.recorded_at <= p_at)
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
$$;

-- Entries by cut-off, those without postings counted too.
CREATE FUNCTION ledger.entered(p_from xid8, p_until xid8) RETURNS TABLE (cutoff_id int, entries bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  SELECT cutoff_id, count(*) FROM ledger.journal WHERE xid >= p_from AND xid < p_until GROUP BY cutoff_id
$$;

-- A transaction number that no entry recorded from now on is below: where a cut-off was cut before, all of it is.
CREATE FUNCTION ledger.reached() RETURNS xid8 LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + e.xid_offset)::text::xid8
  FROM ledger.epoch e ORDER BY epoch DESC LIMIT 1
$$;
