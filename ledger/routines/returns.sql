-- Take back part of an accrual: from its own lots, pending or available, as far as they still hold points.
-- p_lot_points asks per lot number; `taken` tells what was there. Held points stay with their hold. p_shortfall says what
-- becomes of the rest: 0 nothing, 1 the holder owes it (`owed`; other lots pay at once what they can), 2 it is forgiven.
CREATE FUNCTION ledger.return_accrual(
  p_holder bigint, p_unit smallint, p_ref_seq bigint, p_lot_nos smallint[], p_lot_points bigint[], p_partner int,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz, p_shortfall smallint DEFAULT 0,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint, OUT taken bigint, OUT owed bigint,
  OUT forgiven bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_available bigint; v_pending bigint;
  v_bytes bytea; v_short_nos smallint[] := '{}'; v_owed bigint[] := '{}'; v_forgiven bigint[] := '{}';
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint = p_fingerprint THEN 1 ELSE 2 END;
    SELECT coalesce(sum(s.owed), 0), coalesce(sum(s.forgiven), 0) INTO owed, forgiven FROM ledger.shortfall s
    WHERE s.holder_id = p_holder AND s.unit = p_unit AND s.seq = e.seq;
    seq := e.seq; available := greatest(e.available_after - e.debt_after, 0); pending := e.pending_after;
    taken := e.amount - owed - forgiven;
    RETURN;
  END IF;
  PERFORM FROM ledger.journal j
  WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.seq = p_ref_seq AND j.kind = 1;
  IF NOT FOUND THEN
    status := 5;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  PERFORM FROM unnest(p_lot_nos, p_lot_points) AS t(lot_no, points)
  JOIN ledger.lot l ON l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = t.lot_no
  WHERE p_shortfall > 0 AND (l.remaining < t.points OR EXISTS (
    SELECT FROM ledger.shortfall s
    WHERE s.holder_id = p_holder AND s.unit = p_unit AND s.lot_seq = p_ref_seq AND s.lot_no = t.lot_no));
  IF FOUND THEN
    SELECT array_agg(s.lot_no), array_agg(s.take), array_agg(s.owed), array_agg(s.forgiven)
    INTO p_lot_nos, p_lot_points, v_owed, v_forgiven
    FROM ledger.split_return(p_holder, p_unit, p_ref_seq, p_lot_nos, p_lot_points, p_shortfall, p_at) s;
    v_short_nos := p_lot_nos;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  WITH asked AS (
    SELECT l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.active, least(l.remaining, t.points) AS take
    FROM unnest(p_lot_nos, p_lot_points) AS t(lot_no, points)
    JOIN ledger.lot l ON l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = t.lot_no
    WHERE l.remaining > 0 AND t.points > 0
  ), lot AS (
    UPDATE ledger.lot l
    SET remaining = l.remaining - k.take, returned = l.returned + k.take, open = l.remaining - k.take > 0 OR l.held > 0
    FROM asked k
    WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = k.lot_no
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT p_holder, a.seq, p_ref_seq, take, issuer_id, funder_id, p_partner, terms_id, terms_id, v_cutoff, p_unit,
           row_number() OVER (ORDER BY turn, lot_no), debit, 13, lot_no
    FROM (
      SELECT lot_no, issuer_id, funder_id, terms_id, take, CASE WHEN active THEN 1 ELSE 2 END AS debit, 1 AS turn FROM asked
      UNION ALL
      SELECT l.lot_no, l.issuer_id, l.funder_id, l.terms_id, r.points, r.debit, r.turn
      FROM unnest(v_short_nos, v_owed, v_forgiven) AS t(lot_no, owed, forgiven)
      JOIN ledger.lot l ON l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = t.lot_no
      CROSS JOIN LATERAL (VALUES (t.owed, 4, 2), (t.forgiven, 19, 3)) AS r(points, debit, turn)
      WHERE r.points > 0
    ) part
    RETURNING leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, lot_seq, lot_no, amount
  )
  SELECT coalesce(sum(amount) FILTER (WHERE debit = 1), 0), coalesce(sum(amount) FILTER (WHERE debit = 2), 0),
         coalesce(sum(amount) FILTER (WHERE debit = 4), 0), coalesce(sum(amount) FILTER (WHERE debit = 19), 0),
         string_agg(ledger.posting_bytes(leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id,
                                         lot_seq, lot_no, amount), ''::bytea ORDER BY leg)
  INTO v_available, v_pending, owed, forgiven, v_bytes FROM posting;
  taken := v_available + v_pending;
  a.available := a.available - v_available;
  a.pending := a.pending - v_pending;
  a.debt := a.debt + owed;
  a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
    p_holder, p_unit, a.seq, 8::smallint, p_partner, v_cutoff, taken + owed + forgiven, p_ref_seq, a.available, a.pending, a.held, a.debt,
    p_at, a.last_at, p_idem_key, p_fingerprint) || coalesce(v_bytes, ''::bytea));
  INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, a.seq, taken + owed + forgiven, p_ref_seq, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, p_partner, v_cutoff, p_unit, 8, a.head_hash);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, pending = a.pending, debt = a.debt, last_at = a.last_at,
      head_hash = a.head_hash
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  status := 0; seq := a.seq; available := a.available; pending := a.pending;
  IF owed + forgiven > 0 THEN
    INSERT INTO ledger.shortfall (holder_id, lot_seq, seq, owed, forgiven, issuer_id, terms_id, unit, lot_no)
    SELECT p_holder, p_ref_seq, a.seq, t.owed, t.forgiven, l.issuer_id, l.terms_id, p_unit, l.lot_no
    FROM unnest(v_short_nos, v_owed, v_forgiven) AS t(lot_no, owed, forgiven)
    JOIN ledger.lot l ON l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = t.lot_no
    WHERE t.owed + t.forgiven > 0;
  END IF;
  IF a.debt > 0 THEN
    available := ledger.repay_debt(p_holder, p_unit, p_at, v_cutoff);
  END IF;
END $$;

-- Give back points of a redemption into the lots they came from, the last consumed first, never more than each gave.
-- A lot that has expired meanwhile is good for p_grace from now. What is owed is repaid from it first.
CREATE FUNCTION ledger.refund_redemption(
  p_holder bigint, p_unit smallint, p_ref_seq bigint, p_amount bigint, p_grace interval, p_partner int,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_room bigint; v_due timestamptz;
  v_bytes bytea;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint = p_fingerprint THEN 1 ELSE 2 END;
    seq := e.seq; available := greatest(e.available_after - e.debt_after, 0); pending := e.pending_after;
    RETURN;
  END IF;
  -- Of a redemption or a capture: what went to REDEEMED, less what earlier refunds gave back.
  SELECT sum(p.amount) - coalesce((SELECT sum(r.amount) FROM ledger.journal r
                                   WHERE r.holder_id = p_holder AND r.unit = p_unit AND r.seq > p_ref_seq
                                     AND r.kind = 9 AND r.ref_seq = p_ref_seq), 0)
  INTO v_room FROM ledger.posting p
  WHERE p.holder_id = p_holder AND p.unit = p_unit AND p.seq = p_ref_seq AND p.credit = 11;
  IF v_room IS NULL OR v_room < p_amount OR p_amount <= 0 THEN
    status := 5;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  WITH refunded AS (
    SELECT p.lot_seq, p.lot_no, sum(p.amount) AS amount
    FROM ledger.journal r JOIN ledger.posting p USING (holder_id, unit, seq)
    WHERE r.holder_id = p_holder AND r.unit = p_unit AND r.seq > p_ref_seq AND r.kind = 9 AND r.ref_seq = p_ref_seq
    GROUP BY p.lot_seq, p.lot_no
  ), source AS (
    SELECT p.leg, p.lot_seq, p.lot_no, p.issuer_id, p.funder_id, p.lot_terms_id, p.terms_id, p.partner_id,
           (p.amount - coalesce(r.amount, 0))::bigint AS room
    FROM ledger.posting p LEFT JOIN refunded r USING (lot_seq, lot_no)
    WHERE p.holder_id = p_holder AND p.unit = p_unit AND p.seq = p_ref_seq AND p.credit = 11
  ), queue AS (
    SELECT *, (sum(room) OVER (ORDER BY leg DESC) - room)::bigint AS ahead FROM source WHERE room > 0
  ), given AS MATERIALIZED (
    SELECT *, least(room, p_amount - ahead) AS give, row_number() OVER (ORDER BY ahead) AS new_leg
    FROM queue WHERE ahead < p_amount
  ), lot AS (
    UPDATE ledger.lot l
    SET remaining = l.remaining + g.give, open = true,
        expires_at = CASE WHEN l.expires_at <= p_at AND ledger.may_expire(p_holder, p_unit, l.seq, l.lot_no)
                          THEN p_at + p_grace ELSE l.expires_at END
    FROM given g WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = g.lot_seq AND l.lot_no = g.lot_no
    RETURNING l.expires_at
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT p_holder, a.seq, lot_seq, give, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, v_cutoff, p_unit,
           new_leg, 11, 1, lot_no FROM given
    RETURNING leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, lot_seq, lot_no, amount
  )
  SELECT string_agg(ledger.posting_bytes(leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id,
                                         lot_seq, lot_no, amount), ''::bytea ORDER BY leg),
         (SELECT min(expires_at) FROM lot)
  INTO v_bytes, v_due FROM posting;
  a.available := a.available + p_amount;
  a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
    p_holder, p_unit, a.seq, 9::smallint, p_partner, v_cutoff, p_amount, p_ref_seq, a.available, a.pending, a.held, a.debt,
    p_at, a.last_at, p_idem_key, p_fingerprint) || v_bytes);
  INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, a.seq, p_amount, p_ref_seq, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, p_partner, v_cutoff, p_unit, 9, a.head_hash);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, last_at = a.last_at, next_due = least(x.next_due, v_due),
      head_hash = a.head_hash
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  status := 0; seq := a.seq; available := a.available; pending := a.pending;
  IF a.debt > 0 THEN
    available := ledger.repay_debt(p_holder, p_unit, p_at, v_cutoff);
  END IF;
END $$;
