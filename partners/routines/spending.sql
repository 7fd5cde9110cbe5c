-- One purchase that spends points (kind 1), or the spending half alone (kind 2). The rotating code or approval that
-- proved it is used up here. A claim lost to another card in this very moment undoes the call with TS001: decide again.
CREATE FUNCTION partners.record_spending(
  p_kind smallint, p_unit smallint, p_at timestamptz, p_day date,
  p_holder bigint, p_claim uuid, p_idem_key uuid, p_fingerprint uuid,
  p_partner int, p_outlet int, p_terminal int, p_client int, p_card bigint, p_terms int,
  p_reference text, p_date date, p_occurred timestamptz, p_currency text, p_total bigint, p_awarded bigint,
  p_detail text, p_decision text, p_redeem bigint, p_code_card bigint, p_code_step bigint, p_approval bigint,
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[],
  p_lot_activates timestamptz[], p_lot_expires timestamptz[],
  OUT status smallint, OUT holder_id bigint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_cutoff int; v_redemption bigint; n int := cardinality(p_lot_points);
BEGIN
  PERFORM ledger.enter_cutoff();
  PERFORM ledger.lock_accounts(ARRAY[p_holder], p_unit);
  v_cutoff := ledger.keep_cutoff();
  SELECT k.status, k.holder_id INTO status, holder_id
  FROM partners.known_items(p_unit, ARRAY[p_holder], ARRAY[p_claim], ARRAY[p_idem_key], ARRAY[p_fingerprint]) k;
  IF status <> 0 THEN
    IF status = 3 THEN
      SELECT e.available_after INTO available FROM ledger.find_entry(p_holder, p_unit, p_idem_key) e;
    END IF;
    RETURN;
  END IF;
  status := partners.used_proof(p_holder, p_code_card, p_code_step, p_approval);
  IF status <> 0 THEN
    RETURN;
  END IF;
  SELECT CASE WHEN r.status IN (6, 7) THEN r.status + 10 ELSE r.status END, r.seq, r.available, r.pending
  INTO status, v_redemption, available, pending
  FROM ledger.redeem(p_holder, p_unit, p_redeem, p_partner, p_terms, p_idem_key, p_fingerprint, p_at, p_day) r;
  IF status <> 0 THEN
    RETURN;
  END IF;
  INSERT INTO partners.receipt_claim (claim, idem_key, fingerprint, holder_id, partner_id)
  VALUES (p_claim, p_idem_key, p_fingerprint, p_holder, p_partner) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'another card claimed the receipt in this moment' USING ERRCODE = 'TS001';
  END IF;
  PERFORM partners.use_proof(p_holder, p_code_card, p_code_step, p_approval, p_at);
  seq := v_redemption;
  IF p_kind = 1 THEN
    SELECT e.seq, e.available_after, e.pending_after INTO seq, available, pending
    FROM ledger.record_accruals(
      p_unit, p_at, v_cutoff, ARRAY[1], ARRAY[p_holder], ARRAY[p_partner], ARRAY[NULL::uuid], ARRAY[NULL::uuid],
      ARRAY[n], p_lot_issuers, p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires) e;
  END IF;
  INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, redeemed, redemption_seq, occurred_at, at,
                                card_id, partner_id, outlet_id, terminal_id, client_id, terms_id, cutoff_id,
                                business_date, unit, kind, currency, reference, detail, decision)
  VALUES (p_holder, seq, p_claim, p_total, p_awarded, p_redeem, v_redemption, p_occurred, p_at,
          p_card, p_partner, p_outlet, p_terminal, p_client, p_terms, v_cutoff,
          p_date, p_unit, p_kind, p_currency, p_reference, p_detail::jsonb, p_decision::jsonb);
END $$;
