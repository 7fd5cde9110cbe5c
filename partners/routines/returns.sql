-- A return (kind 3) or cancellation (kind 4) as it was decided on the account's state number p_if_seq; if the account
-- moved since, 7: decide again. `taken` is what was taken from the member's points, the purchase's own and, where the
-- terms let the member owe the rest (p_shortfall, see ledger.return_accrual), others; `owed` is what of it the member
-- owes when all is done, `debt` all that the member owes then.
CREATE FUNCTION partners.record_return(
  p_kind smallint, p_unit smallint, p_at timestamptz, p_if_seq bigint, p_grace interval,
  p_holder bigint, p_claim uuid, p_idem_key uuid, p_fingerprint uuid,
  p_partner int, p_outlet int, p_terminal int, p_client int, p_terms int,
  p_reference text, p_date date, p_occurred timestamptz, p_currency text, p_total bigint,
  p_detail text, p_decision text, p_original_seq bigint, p_accrual_seq bigint, p_redemption_seq bigint,
  p_lot_nos smallint[], p_lot_points bigint[], p_shortfall smallint, p_refund bigint,
  OUT status smallint, OUT holder_id bigint, OUT seq bigint, OUT available bigint, OUT pending bigint, OUT taken bigint,
  OUT owed bigint, OUT debt bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_cutoff int; v_seq bigint; v_refund_seq bigint; v_repaid bigint;
BEGIN
  PERFORM ledger.enter_cutoff();
  PERFORM ledger.lock_accounts(ARRAY[p_holder], p_unit);
  v_cutoff := ledger.keep_cutoff();
  SELECT k.status, k.holder_id INTO status, holder_id
  FROM partners.known_items(p_unit, ARRAY[p_holder], ARRAY[p_claim], ARRAY[p_idem_key], ARRAY[p_fingerprint]) k;
  IF status <> 0 THEN
    RETURN;
  END IF;
  SELECT a.seq INTO v_seq FROM ledger.account a WHERE a.holder_id = p_holder AND a.unit = p_unit;
  IF v_seq <> p_if_seq THEN
    status := 7;
    RETURN;
  END IF;
  INSERT INTO partners.receipt_claim (claim, idem_key, fingerprint, holder_id, partner_id)
  VALUES (p_claim, p_idem_key, p_fingerprint, p_holder, p_partner) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    status := 9;
    RETURN;
  END IF;
  taken := 0;
  owed := 0;
  IF p_accrual_seq IS NOT NULL THEN
    SELECT r.status, r.seq, r.available, r.pending, r.taken, r.owed INTO status, seq, available, pending, taken, owed
    FROM ledger.return_accrual(p_holder, p_unit, p_accrual_seq, p_lot_nos, p_lot_points, p_partner, p_idem_key,
                               p_fingerprint, p_at, p_shortfall) r;
    IF status <> 0 THEN
      RAISE EXCEPTION 'the ledger does not know accrual % of holder %', p_accrual_seq, p_holder USING ERRCODE = 'LX002';
    END IF;
  END IF;
  IF p_refund > 0 THEN
    SELECT r.status, r.seq, r.available, r.pending INTO status, v_refund_seq, available, pending
    FROM ledger.refund_redemption(p_holder, p_unit, p_redemption_seq, p_refund, p_grace, p_partner,
                                  CASE WHEN seq IS NULL THEN p_idem_key END,
                                  CASE WHEN seq IS NULL THEN p_fingerprint END, p_at) r;
    IF status <> 0 THEN
      RAISE EXCEPTION 'the ledger refuses to refund % of redemption % of holder %', p_refund, p_redemption_seq,
        p_holder USING ERRCODE = 'LX002';
    END IF;
  END IF;
  IF owed > 0 THEN
    SELECT sum(s.repaid) INTO v_repaid FROM ledger.shortfall s
    WHERE s.holder_id = p_holder AND s.unit = p_unit AND s.lot_seq = p_accrual_seq AND s.seq = record_return.seq;
    taken := taken + v_repaid;
    owed := owed - v_repaid;
  END IF;
  seq := coalesce(seq, v_refund_seq);
  INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, redeemed, redemption_seq, original_seq,
                                occurred_at, at, partner_id, outlet_id, terminal_id, client_id, terms_id, cutoff_id,
                                business_date, unit, kind, currency, reference, detail, decision)
  VALUES (p_holder, seq, p_claim, p_total, taken, p_refund, v_refund_seq, p_original_seq,
          p_occurred, p_at, p_partner, p_outlet, p_terminal, p_client, p_terms, v_cutoff,
          p_date, p_unit, p_kind, p_currency, p_reference, p_detail::jsonb,
          CASE WHEN owed > 0 THEN p_decision::jsonb || jsonb_build_object('owed', owed) ELSE p_decision::jsonb END);
  SELECT a.debt INTO debt FROM ledger.account a WHERE a.holder_id = p_holder AND a.unit = p_unit;
END $$;
