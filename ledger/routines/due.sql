-- Apply activations and expiries that are due, each at its own due instant; the caller holds the locks.
-- Held points do not expire: they wait for their hold.
CREATE FUNCTION ledger.settle_due(p_holders bigint[], p_unit smallint, p_at timestamptz, p_cutoff int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_accounts int;
BEGIN
  PERFORM FROM ledger.account WHERE holder_id = ANY (p_holders) AND unit = p_unit AND next_due <= p_at;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  WITH due AS MATERIALIZED (  -- one row per lot and what becomes of it; one without a kind where nothing does
    SELECT a.holder_id, d.lot_seq, d.lot_no, d.issuer_id, d.funder_id, d.terms_id, d.remaining, d.kind, d.due_at,
           a.seq + CASE WHEN d.kind IS NULL THEN 0
                        ELSE dense_rank() OVER (PARTITION BY a.holder_id ORDER BY d.due_at, d.kind) END AS seq,
           a.available, a.pending, a.held, a.debt, a.last_at
    FROM ledger.account a
    LEFT JOIN LATERAL (
      SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.remaining, e.kind, e.due_at
      FROM ledger.lot l
      CROSS JOIN LATERAL (
        SELECT 2::smallint AS kind, l.activates_at AS due_at WHERE NOT l.active AND l.activates_at <= p_at
        UNION ALL
        SELECT 7::smallint, l.expires_at WHERE l.remaining > 0 AND l.expires_at <= p_at
      ) e
      WHERE l.holder_id = a.holder_id AND l.unit = a.unit AND l.open
    ) d ON true
    WHERE a.holder_id = ANY (p_holders) AND a.unit = p_unit AND a.next_due <= p_at
  ), entry AS (
    SELECT holder_id, seq, kind, due_at, coalesce(sum(remaining), 0)::bigint AS amount, min(available) AS available,
           min(pending) AS pending, min(held) AS held, min(debt) AS debt, min(last_at) AS last_at
    FROM due GROUP BY holder_id, seq, kind, due_at
  ), placed AS MATERIALIZED (
    SELECT holder_id, seq, kind, due_at, amount, held, debt, greatest(due_at, last_at) AS recorded_at,
           (available + sum(CASE kind WHEN 2 THEN amount ELSE -amount END) OVER w)::bigint AS available_after,
           (pending - sum(CASE kind WHEN 2 THEN amount ELSE 0 END) OVER w)::bigint AS pending_after
    FROM entry WINDOW w AS (PARTITION BY holder_id ORDER BY seq)
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, partner_id, cutoff_id, unit, kind)
    SELECT holder_id, seq, amount, available_after, pending_after, held, debt, due_at, recorded_at,
           0, p_cutoff, p_unit, kind FROM placed WHERE kind IS NOT NULL
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT holder_id, seq, lot_seq, remaining, issuer_id, funder_id, CASE kind WHEN 2 THEN issuer_id ELSE 0 END,
           terms_id, terms_id, p_cutoff, p_unit,
           row_number() OVER (PARTITION BY holder_id, seq ORDER BY lot_seq, lot_no),
           CASE kind WHEN 2 THEN 2 ELSE 1 END, CASE kind WHEN 2 THEN 1 ELSE 12 END, lot_no
    FROM due WHERE kind IS NOT NULL
  ), lot AS (
    UPDATE ledger.lot l
    SET active = l.active OR d.activated,
        remaining = CASE WHEN d.expired THEN 0 ELSE l.remaining END,
        open = l.held > 0 OR (l.remaining > 0 AND NOT d.expired)
    FROM (SELECT holder_id, lot_seq, lot_no, bool_or(kind = 2) AS activated, bool_or(kind = 7) AS expired
          FROM due WHERE kind IS NOT NULL GROUP BY holder_id, lot_seq, lot_no) d
    WHERE l.holder_id = d.holder_id AND l.unit = p_unit AND l.seq = d.lot_seq AND l.lot_no = d.lot_no
  )
  UPDATE ledger.account a
  SET seq = h.seq, available = h.available_after, pending = h.pending_after,
      last_at = greatest(a.last_at, h.recorded_at),
      next_due = coalesce((
        SELECT min(CASE WHEN l.active OR l.activates_at <= p_at THEN l.expires_at ELSE l.activates_at END)
        FROM ledger.lot l
        WHERE l.holder_id = a.holder_id AND l.unit = p_unit AND l.open AND l.remaining > 0 AND l.expires_at > p_at
      ), 'infinity')
  FROM (SELECT DISTINCT ON (holder_id) holder_id, seq, available_after, pending_after, recorded_at
        FROM placed ORDER BY holder_id, seq DESC) h
  WHERE a.holder_id = h.holder_id AND a.unit = p_unit;
  GET DIAGNOSTICS v_accounts = ROW_COUNT;
  RETURN v_accounts;
END $$;

-- Sweep: apply what is due for up to p_limit accounts; returns how many were touched, 0 when none is left.
CREATE FUNCTION ledger.sweep_due(p_unit smallint, p_at timestamptz, p_limit int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); v_holders bigint[];
BEGIN
  SELECT array_agg(holder_id) INTO v_holders FROM (
    SELECT holder_id FROM ledger.account WHERE unit = p_unit AND next_due <= p_at ORDER BY holder_id LIMIT p_limit
    FOR NO KEY UPDATE) due;
  IF v_holders IS NULL THEN
    RETURN 0;
  END IF;
  RETURN ledger.settle_due(v_holders, p_unit, p_at, v_cutoff);
END $$;
