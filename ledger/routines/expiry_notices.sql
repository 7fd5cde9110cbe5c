-- Notice before expiry. Where a unit asks for it, a lot expires only if its holder was told at least so many days before;
-- a lot whose day has come and whose holder was not told can still be spent, as before and before all others, until
-- the days have passed from when it was.

-- Whether a lot may expire when its day comes.
CREATE FUNCTION ledger.may_expire(p_holder bigint, p_unit smallint, p_seq bigint, p_lot_no smallint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT NOT EXISTS (SELECT FROM ledger.unit u WHERE u.unit = p_unit AND u.notice_days > 0)
      OR EXISTS (SELECT FROM ledger.expiry_notice n
                 WHERE n.holder_id = p_holder AND n.unit = p_unit AND n.seq = p_seq AND n.lot_no = p_lot_no)
$$;

-- Ask for notice so many days before, from the first lot of a unit on: a promise does not change while lots are out.
CREATE FUNCTION ledger.require_notice(p_unit smallint, p_days smallint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  UPDATE ledger.unit u SET notice_days = p_days
  WHERE u.unit = p_unit AND (u.notice_days = p_days OR NOT EXISTS (SELECT FROM ledger.lot l WHERE l.unit = p_unit));
  RETURN FOUND;
END $$;

-- The holders of these lots were told at an instant that they will expire. A lot whose day is nearer than the days of
-- notice, or past, expires when they have passed. Lots that are used up or were told of before are left out of the
-- answer. Locks the accounts in everyone's order.
CREATE FUNCTION ledger.record_expiry_notices(
  p_unit smallint, p_holders bigint[], p_seqs bigint[], p_lot_nos smallint[], p_at timestamptz)
RETURNS TABLE (holder_id bigint, seq bigint, lot_no smallint, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE v_cutoff int := ledger.enter_cutoff(); v_notice interval;
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  PERFORM ledger.settle_due(p_holders, p_unit, p_at, v_cutoff);
  SELECT u.notice_days * interval '24 hours' INTO STRICT v_notice FROM ledger.unit u WHERE u.unit = p_unit;
  RETURN QUERY
  WITH told AS (
    INSERT INTO ledger.expiry_notice AS n (holder_id, unit, seq, lot_no, noticed_at, expires_at)
    SELECT DISTINCT t.holder_id, l.unit, l.seq, l.lot_no, p_at, greatest(l.expires_at, p_at + v_notice)
    FROM unnest(p_holders, p_seqs, p_lot_nos) AS t(holder_id, seq, lot_no)
    JOIN ledger.lot l ON l.holder_id = t.holder_id AND l.unit = p_unit AND l.seq = t.seq AND l.lot_no = t.lot_no
    WHERE l.open
    ON CONFLICT DO NOTHING
    RETURNING n.holder_id, n.seq, n.lot_no, n.expires_at
  ), lot AS (
    UPDATE ledger.lot l SET expires_at = t.expires_at FROM told t
    WHERE l.holder_id = t.holder_id AND l.unit = p_unit AND l.seq = t.seq AND l.lot_no = t.lot_no
      AND l.expires_at < t.expires_at
  ), account AS (
    UPDATE ledger.account a SET next_due = least(a.next_due, t.expires_at)
    FROM (SELECT holder_id, min(expires_at) AS expires_at FROM told GROUP BY holder_id) t
    WHERE a.holder_id = t.holder_id AND a.unit = p_unit
  )
  SELECT t.holder_id, t.seq, t.lot_no, t.expires_at FROM told t ORDER BY t.holder_id, t.seq, t.lot_no;
END $$;

-- Lots whose holders must be told by an instant if they are to expire on their day, at most p_lots of those behind the
-- one named (nulls: from the first), by holder and in the order in which they will go. None where no notice is needed.
CREATE FUNCTION ledger.lots_to_notice(
  p_unit smallint, p_by timestamptz, p_lots int, p_holder bigint, p_expires_at timestamptz, p_seq bigint, p_lot_no smallint)
RETURNS TABLE (holder_id bigint, seq bigint, lot_no smallint, points bigint, expires_at timestamptz, tell_by timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT l.holder_id, l.seq, l.lot_no, l.remaining + l.held, l.expires_at,
         l.expires_at - u.notice_days * interval '24 hours'
  FROM ledger.lot l JOIN ledger.unit u USING (unit)
  WHERE l.unit = p_unit AND u.notice_days > 0 AND l.open
    AND l.expires_at <= p_by + u.notice_days * interval '24 hours'
    AND (p_holder IS NULL OR (l.holder_id, l.expires_at, l.seq, l.lot_no) > (p_holder, p_expires_at, p_seq, p_lot_no))
    AND NOT EXISTS (SELECT FROM ledger.expiry_notice n WHERE n.holder_id = l.holder_id AND n.unit = l.unit
                      AND n.seq = l.seq AND n.lot_no = l.lot_no)
  ORDER BY l.holder_id, l.expires_at, l.seq, l.lot_no LIMIT p_lots
$$;
