-- Spend or set aside: the lots that expire first go first. Kind 3 redeems, kind 4 holds until p_lapses_at. Too few points
-- is a final "no" and is journalled, so that a retry with the same key hears the same answer.
CREATE FUNCTION ledger.spend(
  p_kind smallint, p_holder bigint, p_unit smallint, p_amount bigint, p_lapses_at timestamptz, p_partner int, p_terms int,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz, p_day date,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_taken bigint; v_bytes bytea := '';
  v_kind smallint; v_credit smallint := CASE p_kind WHEN 4 THEN 3 ELSE 11 END;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint IS DISTINCT FROM p_fingerprint THEN 2 WHEN e.kind = 20 THEN 3 ELSE 1 END;
    seq := e.seq; available := e.available_after; pending := e.pending_after;
    RETURN;
  END IF;
  IF a.spend_locked THEN
    status := 6; available := a.available; pending := a.pending;
    RETURN;
  END IF;
  IF a.spent + p_amount > a.daily_cap AND a.spent_on = p_day OR p_amount > a.daily_cap THEN
    status := 7; available := a.available; pending := a.pending;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  IF a.available < p_amount THEN
    status := 3;
    v_kind := 20;
  ELSE
    status := 0;
    v_kind := p_kind;
    a.available := a.available - p_amount;
    a.spent := p_amount + CASE WHEN a.spent_on = p_day THEN a.spent ELSE 0 END;
    a.spent_on := p_day;
    IF p_kind = 4 THEN
      a.held := a.held + p_amount;
      a.next_due := least(a.next_due, p_lapses_at);
      INSERT INTO ledger.hold (holder_id, seq, amount, lapses_at, partner_id, unit)
      VALUES (p_holder, a.seq, p_amount, p_lapses_at, p_partner, p_unit);
    END IF;
    WITH queue AS (
      SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.remaining,
             (sum(l.remaining) OVER (ORDER BY l.expires_at, l.seq, l.lot_no) - l.remaining)::bigint AS ahead
      FROM ledger.lot l
      WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.open AND l.active AND l.remaining > 0
    ), taken AS MATERIALIZED (
      SELECT *, least(remaining, p_amount - ahead) AS take, (row_number() OVER (ORDER BY ahead))::smallint AS leg
      FROM queue WHERE ahead < p_amount
    ), lot AS (
      UPDATE ledger.lot l
      SET remaining = l.remaining - t.take, held = l.held + CASE p_kind WHEN 4 THEN t.take ELSE 0 END,
          open = l.remaining - t.take > 0 OR l.held > 0 OR p_kind = 4
      FROM taken t WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = t.lot_seq AND l.lot_no = t.lot_no
    ), posting AS (
      INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                  terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
      SELECT p_holder, a.seq, lot_seq, take, issuer_id, funder_id, p_partner, terms_id, p_terms, v_cutoff, p_unit,
             leg, 1, v_credit, lot_no FROM taken
      RETURNING leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, lot_seq, lot_no, amount
    )
    SELECT coalesce(sum(amount), 0),
           string_agg(ledger.posting_bytes(leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id,
                                           lot_seq, lot_no, amount), ''::bytea ORDER BY leg)
    INTO v_taken, v_bytes FROM posting;
    IF v_taken <> p_amount THEN
      RAISE EXCEPTION 'ledger corrupt: account % of unit % says % available, its lots gave % of %',
        p_holder, p_unit, a.available + p_amount, v_taken, p_amount USING ERRCODE = 'LX001';
    END IF;
  END IF;
  a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
    p_holder, p_unit, a.seq, v_kind, p_partner, v_cutoff, p_amount, NULL, a.available, a.pending, a.held, a.debt, p_at,
    a.last_at, p_idem_key, p_fingerprint) || v_bytes);
  INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, a.seq, p_amount, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, p_partner, v_cutoff, p_unit, v_kind, a.head_hash);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, held = a.held, last_at = a.last_at, spent = a.spent, spent_on = a.spent_on,
      next_due = a.next_due, head_hash = a.head_hash
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  seq := a.seq; available := a.available; pending := a.pending;
END $$;

-- Redeem: place and capture in one.
CREATE FUNCTION ledger.redeem(
  p_holder bigint, p_unit smallint, p_amount bigint, p_partner int, p_terms int, p_idem_key uuid, p_fingerprint uuid,
  p_at timestamptz, p_day date,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE sql AS $$
  SELECT * FROM ledger.spend(3::smallint, p_holder, p_unit, p_amount, NULL, p_partner, p_terms, p_idem_key, p_fingerprint,
                             p_at, p_day)
$$;

-- Place a hold: points are set aside until it is captured, released, or lapses at p_lapses_at.
CREATE FUNCTION ledger.place_hold(
  p_holder bigint, p_unit smallint, p_amount bigint, p_lapses_at timestamptz, p_partner int, p_terms int,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz, p_day date,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE sql AS $$
  SELECT * FROM ledger.spend(4::smallint, p_holder, p_unit, p_amount, p_lapses_at, p_partner, p_terms, p_idem_key,
                             p_fingerprint, p_at, p_day)
$$;
