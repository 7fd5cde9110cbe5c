-- Lots that wait for a word from outside: see ledger/withheld.py. Called with the locks of nobody; takes those of the accounts
-- in key order. An earlier instant alone is ever set, and of a lot that still waits alone; what is due by it is applied as
-- always, by whoever touches the account next.
CREATE FUNCTION ledger.let_go(
  p_unit smallint, p_holders bigint[], p_seqs bigint[], p_lot_nos smallint[], p_activates timestamptz[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_lots int;
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  WITH wanted AS (
    SELECT * FROM unnest(p_holders, p_seqs, p_lot_nos, p_activates) AS w(holder_id, seq, lot_no, activates_at)
  ), lot AS (
    UPDATE ledger.lot l SET activates_at = w.activates_at
    FROM wanted w
    WHERE l.holder_id = w.holder_id AND l.unit = p_unit AND l.seq = w.seq AND l.lot_no = w.lot_no
      AND l.open AND NOT l.active AND l.expires_at - l.activates_at = interval '1 microsecond'
      AND w.activates_at < l.activates_at
    RETURNING l.holder_id, l.activates_at
  ), due AS (
    UPDATE ledger.account a SET next_due = least(a.next_due, d.activates_at)
    FROM (SELECT holder_id, min(activates_at) AS activates_at FROM lot GROUP BY holder_id) d
    WHERE a.holder_id = d.holder_id AND a.unit = p_unit
  )
  SELECT count(*) INTO v_lots FROM lot;
  RETURN v_lots;
END $$;
