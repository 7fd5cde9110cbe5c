-- Resolve an open hold, once: capture p_amount of it (kind 5) or nothing (kind 6, release). What is captured is taken in
-- the order in which it was set aside; the rest goes back to its own lots, and where such a lot has expired meanwhile, it
-- expires in the same call. Only the partner that placed a hold finds it.
CREATE FUNCTION ledger.resolve_hold(
  p_kind smallint, p_holder bigint, p_unit smallint, p_ref_seq bigint, p_amount bigint, p_partner int, p_terms int,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; h ledger.hold; v_bytes bytea;
  v_due timestamptz; v_capture bigint := CASE p_kind WHEN 5 THEN p_amount ELSE 0 END;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint IS DISTINCT FROM p_fingerprint THEN 2 ELSE 1 END;
    -- What was freed of an expired lot expired in the same call, in an entry behind this one, and what was owed was
    -- repaid in one behind that: the answer told it.
    SELECT greatest(j.available_after - j.debt_after, 0) INTO available FROM ledger.journal j
    WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.seq >= e.seq AND j.xid = e.xid AND j.kind IN (e.kind, 7)
    ORDER BY j.seq DESC LIMIT 1;
    seq := e.seq; pending := e.pending_after;
    RETURN;
  END IF;
  SELECT * INTO h FROM ledger.hold x
  WHERE x.holder_id = p_holder AND x.unit = p_unit AND x.seq = p_ref_seq AND x.partner_id = p_partner;
  status := CASE WHEN NOT FOUND THEN 5 WHEN h.state = 3 OR h.state = 0 AND h.lapses_at <= p_at THEN 9
                 WHEN h.state <> 0 THEN 8 WHEN v_capture > h.amount THEN 10
                 WHEN p_kind = 5 AND v_capture <= 0 THEN 5 ELSE 0 END;
  IF status <> 0 THEN
    available := a.available; pending := a.pending;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  a.held := a.held - h.amount;
  a.available := a.available + h.amount - v_capture;
  WITH placed AS (
    SELECT p.leg, p.lot_seq, p.lot_no, p.issuer_id, p.funder_id, p.lot_terms_id, p.amount,
           (sum(p.amount) OVER (ORDER BY p.leg) - p.amount)::bigint AS ahead
    FROM ledger.posting p WHERE p.holder_id = p_holder AND p.unit = p_unit AND p.seq = p_ref_seq
  ), split AS MATERIALIZED (
    SELECT *, greatest(least(amount, v_capture - ahead), 0) AS capture FROM placed
  ), lot AS (
    UPDATE ledger.lot l
    SET held = l.held - s.amount, remaining = l.remaining + s.amount - s.capture,
        open = l.held - s.amount > 0 OR l.remaining + s.amount - s.capture > 0
    FROM split s WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = s.lot_seq AND l.lot_no = s.lot_no
    RETURNING CASE WHEN s.amount > s.capture THEN l.expires_at END AS due_at
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT p_holder, a.seq, lot_seq, points, issuer_id, funder_id, p_partner, lot_terms_id, p_terms, v_cutoff, p_unit,
           row_number() OVER (ORDER BY leg, credit DESC), 3, credit, lot_no
    FROM (SELECT leg, lot_seq, lot_no, issuer_id, funder_id, lot_terms_id, capture AS points, 11 AS credit FROM split
          UNION ALL
          SELECT leg, lot_seq, lot_no, issuer_id, funder_id, lot_terms_id, amount - capture, 1 FROM split) part
    WHERE points > 0
    RETURNING leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, lot_seq, lot_no, amount
  )
  SELECT string_agg(ledger.posting_bytes(leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id,
                                         lot_seq, lot_no, amount), ''::bytea ORDER BY leg),
         (SELECT min(due_at) FROM lot)
  INTO v_bytes, v_due FROM posting;
  UPDATE ledger.hold x SET state = CASE p_kind WHEN 5 THEN 1 ELSE 2 END, captured = v_capture
  WHERE x.holder_id = p_holder AND x.unit = p_unit AND x.seq = p_ref_seq;
  a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
    p_holder, p_unit, a.seq, p_kind, p_partner, v_cutoff, h.amount, p_ref_seq, a.available, a.pending, a.held, a.debt, p_at,
    a.last_at, p_idem_key, p_fingerprint) || v_bytes);
  INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, a.seq, h.amount, p_ref_seq, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, p_partner, v_cutoff, p_unit, p_kind, a.head_hash);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, held = a.held, last_at = a.last_at, next_due = least(x.next_due, v_due),
      head_hash = a.head_hash
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  status := 0; seq := a.seq; available := a.available; pending := a.pending;
  IF v_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT x.available INTO available FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  IF a.debt > 0 THEN
    available := ledger.repay_debt(p_holder, p_unit, p_at, v_cutoff);
  END IF;
END $$;
