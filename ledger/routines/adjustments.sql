-- Adjustments: what two people decided to give a holder, or to take. account kind: 15 adjusted; entry kind: 17.

-- p_points above zero are given, in a lot of their own that is spendable at once, with the issuer, funder, terms and
-- expiry told; below zero they are taken, from the lots that expire first, and those lots say who had paid for them. With
-- p_of they are taken from the lots of the entry of that key alone.
-- Neither the spend lock nor the day's cap bind: nobody spends. Fewer points than are to be taken is a "no" (3), which
-- writes nothing but what was due anyway.
CREATE FUNCTION ledger.adjust(
  p_holder bigint, p_unit smallint, p_points bigint, p_issuer int, p_funder int, p_terms int, p_expires_at timestamptz,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz, p_of uuid DEFAULT NULL,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_taken bigint; v_bytes bytea; v_of bigint;
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
  IF p_points = 0 THEN
    status := 5;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  IF a.available + p_points < 0 THEN
    status := 3; available := a.available; pending := a.pending;
    RETURN;
  END IF;
  IF p_of IS NOT NULL THEN
    SELECT j.seq INTO v_of FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_of;
    SELECT coalesce(sum(l.remaining), 0) INTO v_taken FROM ledger.lot l
    WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = v_of AND l.open AND l.active;
    IF v_taken + p_points < 0 THEN
      status := 3; available := v_taken; pending := a.pending;
      RETURN;
    END IF;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  a.available := a.available + p_points;
  IF p_points > 0 THEN
    INSERT INTO ledger.lot (holder_id, seq, granted, remaining, activates_at, expires_at, issuer_id, funder_id,
                            terms_id, unit, lot_no, active)
    VALUES (p_holder, a.seq, p_points, p_points, p_at, p_expires_at, p_issuer, p_funder, p_terms, p_unit, 1, true);
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    VALUES (p_holder, a.seq, a.seq, p_points, p_issuer, p_funder, 0, p_terms, p_terms, v_cutoff, p_unit, 1, 15, 1, 1);
    v_bytes := ledger.posting_bytes(1::smallint, 15::smallint, 1::smallint, p_issuer, p_funder, 0, p_terms, p_terms,
                                    a.seq, 1::smallint, p_points);
    a.next_due := least(a.next_due, p_expires_at);
  ELSE
    WITH queue AS (
      SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.remaining,
             (sum(l.remaining) OVER (ORDER BY l.expires_at, l.seq, l.lot_no) - l.remaining)::bigint AS ahead
      FROM ledger.lot l
      WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.open AND l.active AND l.remaining > 0
        AND (p_of IS NULL OR l.seq = v_of)
    ), taken AS MATERIALIZED (
      SELECT *, least(remaining, -p_points - ahead) AS take, (row_number() OVER (ORDER BY ahead))::smallint AS leg
      FROM queue WHERE ahead < -p_points
    ), lot AS (
      UPDATE ledger.lot l SET remaining = l.remaining - t.take, open = l.remaining - t.take > 0 OR l.held > 0
      FROM taken t WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = t.lot_seq AND l.lot_no = t.lot_no
    ), posting AS (
      INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                  terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
      SELECT p_holder, a.seq, lot_seq, take, issuer_id, funder_id, 0, terms_id, terms_id, v_cutoff, p_unit, leg, 1, 15,
             lot_no FROM taken
    )
    SELECT coalesce(sum(take), 0),
           string_agg(ledger.posting_bytes(leg, 1::smallint, 15::smallint, issuer_id, funder_id, 0, terms_id, terms_id,
                                           lot_seq, lot_no, take), ''::bytea ORDER BY leg)
    INTO v_taken, v_bytes FROM taken;
    IF v_taken <> -p_points THEN
      RAISE EXCEPTION 'ledger corrupt: account % of unit % says % available, its lots gave % of %',
        p_holder, p_unit, a.available - p_points, v_taken, -p_points USING ERRCODE = 'LX001';
    END IF;
  END IF;
  a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
    p_holder, p_unit, a.seq, 17::smallint, 0, v_cutoff, abs(p_points), NULL, a.available, a.pending, a.held, a.debt, p_at,
    a.last_at, p_idem_key, p_fingerprint) || v_bytes);
  INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, a.seq, abs(p_points), a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, 0, v_cutoff, p_unit, 17, a.head_hash);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, last_at = a.last_at, next_due = a.next_due, head_hash = a.head_hash
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  status := 0; seq := a.seq; available := a.available; pending := a.pending;
  IF a.debt > 0 THEN
    available := ledger.repay_debt(p_holder, p_unit, p_at, v_cutoff);
  END IF;
END $$;
