-- The past. Entries are recorded in the order of time (A7), and what fell due is recorded with its due instant, so what
-- an account was at an instant is what its entries recorded up to then say; only behind the last one may something be
-- due that nobody has recorded yet.

-- Number of the last entry recorded up to an instant; 0 where there is none. Halves, so that it costs a few probes of
-- the primary key however long the account is.
CREATE FUNCTION ledger.entry_until(p_holder bigint, p_unit smallint, p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE v_low bigint := 0; v_high bigint; v_middle bigint; v_recorded_at timestamptz;
BEGIN
  SELECT seq INTO v_high FROM ledger.account WHERE holder_id = p_holder AND unit = p_unit;
  WHILE v_low < v_high LOOP
    v_middle := (v_low + v_high + 1) / 2;
    SELECT recorded_at INTO STRICT v_recorded_at FROM ledger.journal
    WHERE holder_id = p_holder AND unit = p_unit AND seq = v_middle;
    IF v_recorded_at <= p_at THEN
      v_low := v_middle;
    ELSE
      v_high := v_middle - 1;
    END IF;
  END LOOP;
  RETURN v_low;
END $$;

-- Lots as they were at an instant, added up from postings: of some holders, or with null of all, which reads everything.
-- What was due by then counts as done. expires_at is what holds now: a refund with grace may have moved it later.
CREATE FUNCTION ledger.lots_at(p_holders bigint[], p_unit smallint, p_at timestamptz)
RETURNS TABLE (holder_id bigint, seq bigint, lot_no smallint, issuer_id int, funder_id int, terms_id int, granted bigint,
               remaining bigint, held bigint, is_active boolean, activates_at timestamptz, expires_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  WITH posted AS (
    SELECT p.holder_id, p.lot_seq AS seq, p.lot_no,
           sum(CASE WHEN credit IN (1, 2) THEN p.amount ELSE 0 END - CASE WHEN debit IN (1, 2) THEN p.amount ELSE 0 END) AS remaining,
           sum(CASE WHEN credit = 3 THEN p.amount WHEN debit = 3 THEN -p.amount ELSE 0 END) AS held,
           bool_or(credit = 1) AS is_active
    FROM ledger.posting p JOIN ledger.journal j USING (holder_id, unit, seq)
    WHERE (p_holders IS NULL OR p.holder_id = ANY (p_holders)) AND p.unit = p_unit AND j.recorded_at <= p_at
    GROUP BY p.holder_id, p.lot_seq, p.lot_no
  ), lapsed AS (
    SELECT p.holder_id, p.lot_seq AS seq, p.lot_no, sum(p.amount) AS points
    FROM ledger.hold h
    JOIN ledger.account a ON a.holder_id = h.holder_id AND a.unit = h.unit AND a.last_at <= p_at
    JOIN ledger.posting p ON p.holder_id = h.holder_id AND p.unit = h.unit AND p.seq = h.seq
    WHERE (p_holders IS NULL OR h.holder_id = ANY (p_holders)) AND h.unit = p_unit AND h.state = 0 AND h.lapses_at <= p_at
    GROUP BY p.holder_id, p.lot_seq, p.lot_no
  ), foreseen AS (  -- of who owes: what became available on the way has repaid
    SELECT a.holder_id, f.seq, f.lot_no, f.remaining
    FROM ledger.account a CROSS JOIN LATERAL ledger.foresee(a.holder_id, a.unit, p_at) f
    WHERE (p_holders IS NULL OR a.holder_id = ANY (p_holders)) AND a.unit = p_unit AND a.debt > 0 AND a.last_at <= p_at
      AND a.next_due <= p_at
  )
  SELECT holder_id, p.seq, lot_no, l.issuer_id, l.funder_id, l.terms_id, l.granted,
         CASE WHEN f.remaining IS NOT NULL THEN f.remaining
              WHEN a.last_at <= p_at AND l.expires_at <= p_at
               AND (u.notice_days = 0 OR ledger.may_expire(holder_id, p_unit, p.seq, lot_no)) THEN 0
              ELSE p.remaining + coalesce(d.points, 0) END::bigint,
         (p.held - coalesce(d.points, 0))::bigint, p.is_active OR a.last_at <= p_at AND l.activates_at <= p_at,
         l.activates_at, l.expires_at
  FROM posted p
  JOIN ledger.lot l USING (holder_id, seq, lot_no)
  LEFT JOIN lapsed d USING (holder_id, seq, lot_no)
  LEFT JOIN foreseen f USING (holder_id, seq, lot_no)
  JOIN ledger.account a USING (holder_id)
  JOIN ledger.unit u ON u.unit = p_unit
  WHERE l.unit = p_unit AND a.unit = p_unit
$$;

-- An account as it was at an instant; nothing where it is not known. seq is its last entry by then, in the journal:
-- where something was due that nobody had recorded, the amounts are ahead of it.
CREATE FUNCTION ledger.balance_at(p_holder bigint, p_unit smallint, p_at timestamptz)
RETURNS TABLE (seq bigint, available bigint, pending bigint, held bigint, debt bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE a ledger.account; v_seq bigint;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  IF a.last_at <= p_at AND a.next_due <= p_at THEN
    RETURN QUERY
    SELECT a.seq, coalesce(sum(f.remaining) FILTER (WHERE f.is_active), 0)::bigint,
           coalesce(sum(f.remaining) FILTER (WHERE NOT f.is_active), 0)::bigint, coalesce(sum(f.held), 0)::bigint,
           (a.debt - coalesce(sum(f.repaid), 0))::bigint
    FROM ledger.foresee(p_holder, p_unit, p_at) f;
  ELSIF a.last_at <= p_at THEN
    RETURN QUERY SELECT a.seq, a.available::bigint, a.pending::bigint, a.held::bigint, a.debt::bigint;
  ELSIF a.holder_id IS NOT NULL THEN
    v_seq := ledger.entry_until(p_holder, p_unit, p_at);
    RETURN QUERY
    SELECT coalesce(j.seq, 0), coalesce(j.available_after, 0), coalesce(j.pending_after, 0), coalesce(j.held_after, 0),
           coalesce(j.debt_after, 0)
    FROM (SELECT) one
    LEFT JOIN ledger.journal j ON j.holder_id = p_holder AND j.unit = p_unit AND j.seq = v_seq;
  END IF;
END $$;
