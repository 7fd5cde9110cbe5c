-- The rules of the audit that an account can break alone, for some holders (null: for all) and one unit (null: for all).
-- It reads these accounts by their keys and nothing else, so it may be asked while tills are busy.
CREATE FUNCTION ledger.audit_accounts(p_holders bigint[], p_unit smallint)
RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  WITH account AS MATERIALIZED (
    SELECT * FROM ledger.account a
    WHERE (p_holders IS NULL OR a.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR a.unit = p_unit)
  ), lot AS MATERIALIZED (
    SELECT * FROM ledger.lot l
    WHERE (p_holders IS NULL OR l.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR l.unit = p_unit)
  ), posting AS MATERIALIZED (
    SELECT p.holder_id, p.unit, p.seq, p.lot_seq, p.lot_no, p.debit, p.credit, p.amount, p.cutoff_id FROM ledger.posting p
    WHERE (p_holders IS NULL OR p.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR p.unit = p_unit)
  ), journal AS MATERIALIZED (
    SELECT j.holder_id, j.unit, j.seq, j.kind, j.amount, j.available_after, j.pending_after, j.held_after, j.debt_after,
           j.recorded_at, j.cutoff_id
    FROM ledger.journal j
    WHERE (p_holders IS NULL OR j.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR j.unit = p_unit)
  ), entry AS MATERIALIZED (
    SELECT holder_id, unit, seq, sum(amount) AS amount, min(cutoff_id) AS cutoff_from, max(cutoff_id) AS cutoff_to,
           sum(CASE WHEN credit = 1 THEN amount WHEN debit = 1 THEN -amount ELSE 0 END) AS available,
           sum(CASE WHEN credit = 2 THEN amount WHEN debit = 2 THEN -amount ELSE 0 END) AS pending,
           sum(CASE WHEN credit = 3 THEN amount WHEN debit = 3 THEN -amount ELSE 0 END) AS held,
           sum(CASE WHEN debit = 4 THEN amount WHEN credit = 4 THEN -amount ELSE 0 END) AS debt
    FROM posting GROUP BY holder_id, unit, seq
  ), by_posting AS (
    SELECT holder_id, unit, sum(available) AS available, sum(pending) AS pending, sum(held) AS held, sum(debt) AS debt
    FROM entry GROUP BY holder_id, unit
  ), by_lot AS (
    SELECT holder_id, unit, sum(remaining) FILTER (WHERE active) AS available,
           sum(remaining) FILTER (WHERE NOT active) AS pending, sum(held) AS held
    FROM lot GROUP BY holder_id, unit
  ), by_hold AS (
    SELECT h.holder_id, h.unit, sum(h.amount) AS amount FROM ledger.hold h
    WHERE h.state = 0 AND (p_holders IS NULL OR h.holder_id = ANY (p_holders)) AND (p_unit IS NULL OR h.unit = p_unit)
    GROUP BY h.holder_id, h.unit
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
    FROM posting GROUP BY holder_id, unit, lot_seq, lot_no
  ), history AS (
    SELECT j.*, e.amount AS posted, e.cutoff_from, e.cutoff_to, lag(j.recorded_at) OVER w AS recorded_before,
           sum(coalesce(e.available, 0)) OVER w AS available, sum(coalesce(e.pending, 0)) OVER w AS pending,
           sum(coalesce(e.held, 0)) OVER w AS held, sum(coalesce(e.debt, 0)) OVER w AS debt
    FROM journal j LEFT JOIN entry e USING (holder_id, unit, seq)
    WINDOW w AS (PARTITION BY j.holder_id, j.unit ORDER BY j.seq)
  ), numbering AS (
    SELECT holder_id, unit, count(*) AS entries, min(seq) AS first, max(seq) AS last FROM journal GROUP BY holder_id, unit
  )
  SELECT 'A1 balance = its postings', holder_id, unit,
         format('cached %s/%s/%s/%s, postings %s/%s/%s/%s', a.available, a.pending, a.held, a.debt, p.available, p.pending, p.held, p.debt)
  FROM account a FULL JOIN by_posting p USING (holder_id, unit)
  WHERE (a.available, a.pending, a.held, a.debt) IS DISTINCT FROM
        (coalesce(p.available, 0), coalesce(p.pending, 0), coalesce(p.held, 0), coalesce(p.debt, 0))
  UNION ALL
  SELECT 'A2 balance = its lots', holder_id, unit,
         format('cached %s/%s/%s, lots %s/%s/%s', a.available, a.pending, a.held, l.available, l.pending, l.held)
  FROM account a FULL JOIN by_lot l USING (holder_id, unit)
  WHERE (a.available, a.pending, a.held) IS DISTINCT FROM
        (coalesce(l.available, 0), coalesce(l.pending, 0), coalesce(l.held, 0))
  UNION ALL
  SELECT 'A3 lot = its postings', holder_id, unit, format('lot %s.%s', seq, lot_no)
  FROM lot l FULL JOIN lot_posting p USING (holder_id, unit, seq, lot_no)
  WHERE (l.granted, l.remaining, l.held, l.returned) IS DISTINCT FROM (p.granted, p.remaining, p.held, p.returned)
     OR l.granted <> l.remaining + l.held + l.returned + p.redeemed + p.expired + p.repaid + p.gone
  UNION ALL
  SELECT 'A4 journal has no gap and ends at the head', holder_id, unit,
         format('head %s, entries %s, %s to %s', a.seq, j.entries, j.first, j.last)
  FROM account a FULL JOIN numbering j USING (holder_id, unit)
  WHERE (a.seq, a.seq) IS DISTINCT FROM (coalesce(j.entries, 0), coalesce(j.last, 0))
  UNION ALL
  SELECT 'A5 open holds = held', holder_id, unit, format('held %s, holds %s', a.held, h.amount)
  FROM account a FULL JOIN by_hold h USING (holder_id, unit) WHERE coalesce(a.held, 0) <> coalesce(h.amount, 0)
  UNION ALL
  SELECT 'A6 entry = its postings', holder_id, unit, format('entry %s says %s, postings %s', seq, amount, posted)
  FROM history WHERE kind <> 20 AND amount <> coalesce(posted, 0) OR kind = 20 AND posted IS NOT NULL
  UNION ALL
  SELECT 'A6 posting belongs to an entry', holder_id, unit, format('entry %s', e.seq)
  FROM entry e LEFT JOIN journal j USING (holder_id, unit, seq) WHERE j.kind IS NULL
  UNION ALL
  SELECT 'A7 balance history = running sum', holder_id, unit, format('entry %s', seq)
  FROM history
  WHERE (available_after, pending_after, held_after, debt_after) IS DISTINCT FROM
        (available::bigint, pending::bigint, held::bigint, debt::bigint) OR recorded_at < recorded_before
  UNION ALL
  SELECT 'A15 nothing negative', holder_id, unit, 'account'
  FROM account WHERE least(available, pending, held, debt, spent) < 0
  UNION ALL
  SELECT 'A15 nothing negative', holder_id, unit, format('lot %s.%s', seq, lot_no)
  FROM lot WHERE least(remaining, held, returned) < 0
  UNION ALL
  SELECT * FROM ledger.audit_debts(p_holders, p_unit)
  UNION ALL
  SELECT 'A16 postings lie in the cut-off of their entry', holder_id, unit,
         format('entry %s is in cut-off %s, its postings in %s to %s', seq, cutoff_id, cutoff_from, cutoff_to)
  FROM history WHERE cutoff_from <> cutoff_id OR cutoff_to <> cutoff_id
  UNION ALL
  SELECT * FROM ledger.audit_sent(p_holders, p_unit)
$$;

-- One step of the watch: the accounts that entries touched since the last step, p_entries entries at most; the next
-- p_accounts accounts of the pass over all; and those whose violations are not cleared. What it finds is kept with the
-- instant it was first seen. is_behind: there is more to read. Of several watchers one works, the others wait.
CREATE FUNCTION ledger.watch(
  p_at timestamptz, p_entries int, p_accounts int,
  OUT touched int, OUT visited int, OUT added int, OUT cleared int, OUT is_behind boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  w ledger.watch_position; v_from xid8; v_until xid8; v_touched bigint[]; v_visited bigint[]; v_suspect bigint[];
  v_all bigint[]; v_found ledger.violation[]; v_is_round boolean;
BEGIN
  SELECT xid INTO STRICT v_from FROM ledger.watermark WHERE reader = 'WATCH' FOR UPDATE;
  SELECT * INTO STRICT w FROM ledger.watch_position;
  v_until := ledger.readable_until(v_from, p_entries);
  v_touched := ARRAY(SELECT DISTINCT holder_id FROM ledger.journal WHERE xid >= v_from AND xid < v_until);
  SELECT coalesce(array_agg(DISTINCT holder_id), '{}'), count(*) < p_accounts INTO v_visited, v_is_round
  FROM (SELECT holder_id FROM ledger.account WHERE holder_id > w.after_holder ORDER BY holder_id, unit LIMIT p_accounts) next;
  v_suspect := ARRAY(SELECT DISTINCT v.holder_id FROM ledger.violation v
                     WHERE NOT EXISTS (SELECT FROM ledger.clearance c WHERE c.violation_id = v.violation_id)
                     ORDER BY v.holder_id LIMIT p_accounts);
  v_all := ARRAY(SELECT unnest(v_touched) UNION SELECT unnest(v_visited) UNION SELECT unnest(v_suspect));

  v_found := ARRAY(SELECT ROW(0, holder_id, unit, rule, count(*), min(detail), p_at)::ledger.violation
                   FROM ledger.audit_accounts(v_all, NULL) GROUP BY holder_id, unit, rule);
  INSERT INTO ledger.violation (holder_id, unit, rule, places, detail, first_seen_at)
  SELECT f.holder_id, f.unit, f.rule, f.places, f.detail, p_at FROM unnest(v_found) f
  WHERE NOT EXISTS (
    SELECT FROM ledger.violation v
    WHERE (v.holder_id, v.unit, v.rule) = (f.holder_id, f.unit, f.rule)
      AND NOT EXISTS (SELECT FROM ledger.clearance c WHERE c.violation_id = v.violation_id))
  ORDER BY f.holder_id, f.unit, f.rule;
  GET DIAGNOSTICS added = ROW_COUNT;
  INSERT INTO ledger.clearance
  SELECT v.violation_id, p_at FROM ledger.violation v
  WHERE v.holder_id = ANY (v_all)
    AND NOT EXISTS (SELECT FROM ledger.clearance c WHERE c.violation_id = v.violation_id)
    AND NOT EXISTS (SELECT FROM unnest(v_found) f
                    WHERE (v.holder_id, v.unit, v.rule) = (f.holder_id, f.unit, f.rule));
  GET DIAGNOSTICS cleared = ROW_COUNT;

  UPDATE ledger.watermark SET xid = v_until WHERE reader = 'WATCH';
  UPDATE ledger.watch_position
  SET after_holder = CASE WHEN v_is_round THEN 0 ELSE coalesce((SELECT max(h) FROM unnest(v_visited) h), after_holder) END,
      passes = passes + v_is_round::int, accounts = accounts + cardinality(v_all), looked_at = p_at,
      pass_began_at = CASE WHEN w.after_holder = 0 AND p_accounts > 0 THEN p_at ELSE pass_began_at END,
      pass_ended_at = CASE WHEN v_is_round THEN p_at ELSE pass_ended_at END;
  touched := cardinality(v_touched);
  visited := cardinality(v_visited);
  is_behind := v_until < ledger.horizon() AND EXISTS (
    SELECT FROM ledger.journal WHERE xid >= v_until AND xid < ledger.horizon());
END $$;
