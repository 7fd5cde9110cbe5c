-- What a purchase writes, in one call. Order inside: cut-off, account locks in holder order, keys and receipts known,
-- proof, the ledger's entries, the claim, the receipt. A denied item writes nothing.
--
-- status: 0 recorded, 1 replayed, 2 key used for another input, 3 insufficient points, 4 no such account,
--         5 receipt recorded already, 6 receipt cancelled, 7 stale, 8 code used, 9 decide again,
--         16 spending is locked, 17 the day's cap

-- What is known of items before they are recorded, for accounts that the caller has locked: their status as above,
-- 0 where nothing stands in the way.
CREATE FUNCTION partners.known_items(
  p_unit smallint, p_holders bigint[], p_claims uuid[], p_idem_keys uuid[], p_fingerprints uuid[])
RETURNS TABLE (ord int, status smallint, holder_id bigint)
LANGUAGE sql STABLE AS $$
  WITH item AS (
    SELECT t.ord::int AS ord, t.holder_id, t.claim, t.idem_key, t.fingerprint,
           row_number() OVER (PARTITION BY t.claim ORDER BY t.ord) > 1
           OR row_number() OVER (PARTITION BY t.idem_key ORDER BY t.ord) > 1 AS repeated
    FROM unnest(p_holders, p_claims, p_idem_keys, p_fingerprints) WITH ORDINALITY
         AS t(holder_id, claim, idem_key, fingerprint, ord)
  )
  SELECT i.ord,
         (CASE
           WHEN k.claim IS NOT NULL THEN CASE WHEN k.fingerprint = i.fingerprint THEN 1 ELSE 2 END
           WHEN e.ord IS NOT NULL THEN CASE WHEN NOT e.same THEN 2 WHEN e.kind = 20 THEN 3 ELSE 1 END
           WHEN c.claim IS NOT NULL THEN CASE WHEN c.holder_id IS NULL THEN 6 WHEN c.fingerprint = i.fingerprint THEN 1 ELSE 5 END
           WHEN a.holder_id IS NULL THEN 4
           WHEN i.repeated THEN 9
           ELSE 0 END)::smallint,
         coalesce(k.holder_id, c.holder_id, i.holder_id)
  FROM item i
  LEFT JOIN ledger.account a ON a.holder_id = i.holder_id AND a.unit = p_unit
  LEFT JOIN partners.receipt_claim k ON k.idem_key = i.idem_key
  LEFT JOIN partners.receipt_claim c ON c.claim = i.claim
  LEFT JOIN ledger.find_entries(p_holders, p_unit, p_idem_keys, p_fingerprints) e ON e.ord = i.ord
$$;

-- Purchases that earn and spend nothing, a batch: one row per item in the result, in the items' order. Several items
-- of one account are taken in order; the same receipt or key twice is left for another call (9).
CREATE FUNCTION partners.record_purchases(
  p_unit smallint, p_at timestamptz,
  p_holders bigint[], p_claims uuid[], p_idem_keys uuid[], p_fingerprints uuid[],
  p_partners int[], p_outlets int[], p_terminals int[], p_clients int[], p_cards bigint[], p_terms int[],
  p_references text[], p_dates date[], p_occurred timestamptz[], p_currencies text[], p_totals bigint[],
  p_awarded bigint[], p_details text[], p_decisions text[],
  p_lot_items int[], p_lot_nos smallint[], p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[],
  p_lot_points bigint[], p_lot_activates timestamptz[], p_lot_expires timestamptz[])
RETURNS TABLE (ord int, status smallint, holder_id bigint, seq bigint, available bigint, pending bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE v_cutoff int := ledger.enter_cutoff(); v_ords int[]; v_status smallint[]; v_owners bigint[]; v_take int[];
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  SELECT array_agg(ord ORDER BY ord), array_agg(status ORDER BY ord), array_agg(holder_id ORDER BY ord)
  INTO v_ords, v_status, v_owners
  FROM partners.known_items(p_unit, p_holders, p_claims, p_idem_keys, p_fingerprints);
  WITH item AS (
    SELECT t.ord, t.claim, t.idem_key, t.fingerprint, t.holder_id, t.partner_id
    FROM unnest(v_ords, v_status, p_claims, p_idem_keys, p_fingerprints, p_holders, p_partners)
         AS t(ord, status, claim, idem_key, fingerprint, holder_id, partner_id)
    WHERE t.status = 0
  ), won AS (
    INSERT INTO partners.receipt_claim (claim, idem_key, fingerprint, holder_id, partner_id)
    SELECT claim, idem_key, fingerprint, holder_id, partner_id FROM item ORDER BY claim
    ON CONFLICT DO NOTHING RETURNING claim
  )
  SELECT array_agg(i.ord) INTO v_take FROM item i JOIN won USING (claim);
  IF v_take IS NOT NULL THEN
    PERFORM ledger.settle_due((SELECT array_agg(p_holders[n]) FROM unnest(v_take) n), p_unit, p_at, v_cutoff);
  END IF;
  RETURN QUERY
  WITH entry AS MATERIALIZED (
    SELECT * FROM ledger.record_accruals(
      p_unit, p_at, v_cutoff, coalesce(v_take, '{}'), p_holders, p_partners, p_idem_keys, p_fingerprints,
      p_lot_items, p_lot_nos, p_lot_issuers, p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires)
  ), receipt AS (
    INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, occurred_at, at, card_id, partner_id,
                                  outlet_id, terminal_id, client_id, terms_id, cutoff_id, business_date, unit, kind,
                                  currency, reference, detail, decision)
    SELECT t.holder_id, e.seq, t.claim, t.total, t.awarded, t.occurred_at, p_at, t.card_id, t.partner_id,
           t.outlet_id, t.terminal_id, t.client_id, t.terms_id, v_cutoff, t.business_date, p_unit, 1,
           t.currency, t.reference, t.detail::jsonb, t.decision::jsonb
    FROM entry e
    JOIN unnest(v_ords, p_holders, p_claims, p_totals, p_awarded, p_occurred, p_cards, p_partners, p_outlets,
                p_terminals, p_clients, p_terms, p_dates, p_currencies, p_references, p_details, p_decisions)
         AS t(ord, holder_id, claim, total, awarded, occurred_at, card_id, partner_id, outlet_id, terminal_id,
              client_id, terms_id, business_date, currency, reference, detail, decision) ON t.ord = e.ord
  )
  SELECT i.ord, (CASE WHEN i.status = 0 AND e.ord IS NULL THEN 9 ELSE i.status END)::smallint,
         i.holder_id, e.seq, e.available_after, e.pending_after
  FROM unnest(v_ords, v_status, v_owners) AS i(ord, status, holder_id)
  LEFT JOIN entry e ON e.ord = i.ord
  ORDER BY i.ord;
END $$;

-- One purchase that spends points (kind 1), or the spending half alone (kind 2). The rotating code that proved it is
-- used up here. A claim lost to another card in this very moment undoes the call with TS001: decide again.
CREATE FUNCTION partners.record_spending(
  p_kind smallint, p_unit smallint, p_at timestamptz, p_day date,
  p_holder bigint, p_claim uuid, p_idem_key uuid, p_fingerprint uuid,
  p_partner int, p_outlet int, p_terminal int, p_client int, p_card bigint, p_terms int,
  p_reference text, p_date date, p_occurred timestamptz, p_currency text, p_total bigint, p_awarded bigint,
  p_detail text, p_decision text, p_redeem bigint, p_code_card bigint, p_code_step bigint,
  p_lot_nos smallint[], p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[],
  p_lot_activates timestamptz[], p_lot_expires timestamptz[],
  OUT status smallint, OUT holder_id bigint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); v_redemption bigint; n int := cardinality(p_lot_points);
BEGIN
  PERFORM ledger.lock_accounts(ARRAY[p_holder], p_unit);
  SELECT k.status, k.holder_id INTO status, holder_id
  FROM partners.known_items(p_unit, ARRAY[p_holder], ARRAY[p_claim], ARRAY[p_idem_key], ARRAY[p_fingerprint]) k;
  IF status <> 0 THEN
    IF status = 3 THEN
      SELECT e.available_after INTO available
      FROM ledger.find_entries(ARRAY[p_holder], p_unit, ARRAY[p_idem_key], ARRAY[p_fingerprint]) e;
    END IF;
    RETURN;
  END IF;
  PERFORM FROM members.code_use u WHERE u.card_id = p_code_card AND u.step = p_code_step;
  IF FOUND THEN
    status := 8;
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
  IF p_code_card IS NOT NULL THEN
    INSERT INTO members.code_use (card_id, step, used_at) VALUES (p_code_card, p_code_step, p_at);
  END IF;
  seq := v_redemption;
  IF p_kind = 1 THEN
    SELECT e.seq, e.available_after, e.pending_after INTO seq, available, pending
    FROM ledger.record_accruals(
      p_unit, p_at, v_cutoff, ARRAY[1], ARRAY[p_holder], ARRAY[p_partner], ARRAY[NULL::uuid], ARRAY[NULL::uuid],
      array_fill(1, ARRAY[n]), p_lot_nos, p_lot_issuers, p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates,
      p_lot_expires) e;
  END IF;
  INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, redeemed, redemption_seq, occurred_at, at,
                                card_id, partner_id, outlet_id, terminal_id, client_id, terms_id, cutoff_id,
                                business_date, unit, kind, currency, reference, detail, decision)
  VALUES (p_holder, seq, p_claim, p_total, p_awarded, p_redeem, v_redemption, p_occurred, p_at,
          p_card, p_partner, p_outlet, p_terminal, p_client, p_terms, v_cutoff,
          p_date, p_unit, p_kind, p_currency, p_reference, p_detail::jsonb, p_decision::jsonb);
END $$;

-- A return (kind 3) or cancellation (kind 4) as it was decided on the account's state number p_if_seq; if the account
-- moved since, 7: decide again. `taken` is what could be taken back.
CREATE FUNCTION partners.record_return(
  p_kind smallint, p_unit smallint, p_at timestamptz, p_if_seq bigint, p_grace interval,
  p_holder bigint, p_claim uuid, p_idem_key uuid, p_fingerprint uuid,
  p_partner int, p_outlet int, p_terminal int, p_client int, p_terms int,
  p_reference text, p_date date, p_occurred timestamptz, p_currency text, p_total bigint,
  p_detail text, p_decision text, p_original_seq bigint, p_accrual_seq bigint, p_redemption_seq bigint,
  p_lot_nos smallint[], p_lot_points bigint[], p_refund bigint,
  OUT status smallint, OUT holder_id bigint, OUT seq bigint, OUT available bigint, OUT pending bigint, OUT taken bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); v_seq bigint; v_refund_seq bigint;
BEGIN
  PERFORM ledger.lock_accounts(ARRAY[p_holder], p_unit);
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
  IF p_accrual_seq IS NOT NULL THEN
    SELECT r.status, r.seq, r.available, r.pending, r.taken INTO status, seq, available, pending, taken
    FROM ledger.return_accrual(p_holder, p_unit, p_accrual_seq, p_lot_nos, p_lot_points, p_partner, p_idem_key,
                               p_fingerprint, p_at) r;
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
  seq := coalesce(seq, v_refund_seq);
  INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, redeemed, redemption_seq, original_seq,
                                occurred_at, at, partner_id, outlet_id, terminal_id, client_id, terms_id, cutoff_id,
                                business_date, unit, kind, currency, reference, detail, decision)
  VALUES (p_holder, seq, p_claim, p_total, taken, p_refund, v_refund_seq, p_original_seq,
          p_occurred, p_at, p_partner, p_outlet, p_terminal, p_client, p_terms, v_cutoff,
          p_date, p_unit, p_kind, p_currency, p_reference, p_detail::jsonb, p_decision::jsonb);
END $$;

DO $$
DECLARE r regprocedure;
BEGIN
  FOR r IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'partners'::regnamespace LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', r);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tessera_app', r);
  END LOOP;
END $$;
