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
           WHEN e.seq IS NOT NULL THEN CASE WHEN e.fingerprint IS DISTINCT FROM i.fingerprint THEN 2 WHEN e.kind = 20 THEN 3 ELSE 1 END
           WHEN c.claim IS NOT NULL THEN CASE WHEN c.holder_id IS NULL THEN 6 WHEN c.fingerprint = i.fingerprint THEN 1 ELSE 5 END
           WHEN a.holder_id IS NULL THEN 4
           WHEN i.repeated THEN 9
           ELSE 0 END)::smallint,
         coalesce(k.holder_id, c.holder_id, i.holder_id)
  FROM item i
  LEFT JOIN ledger.account a ON a.holder_id = i.holder_id AND a.unit = p_unit
  LEFT JOIN partners.receipt_claim k ON k.idem_key = i.idem_key
  LEFT JOIN partners.receipt_claim c ON c.claim = i.claim
  LEFT JOIN LATERAL ledger.find_entry(i.holder_id, p_unit, i.idem_key) e ON true
$$;

-- Purchases that earn and spend nothing, a batch: one row per item in the result, told apart by ord. Several items of
-- one account are taken in order; the same receipt or key twice is left for another call (9).
CREATE FUNCTION partners.record_purchases(
  p_unit smallint, p_at timestamptz,
  p_holders bigint[], p_claims uuid[], p_idem_keys uuid[], p_fingerprints uuid[],
  p_partners int[], p_outlets int[], p_terminals int[], p_clients int[], p_cards bigint[], p_terms int[],
  p_references text[], p_dates date[], p_occurred timestamptz[], p_currencies text[], p_totals bigint[],
  p_awarded bigint[], p_details text[], p_decisions text[],
  p_lot_until int[], p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[],
  p_lot_points bigint[], p_lot_activates timestamptz[], p_lot_expires timestamptz[])
RETURNS TABLE (ord int, status smallint, holder_id bigint, seq bigint, available bigint, pending bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE v_cutoff int := ledger.enter_cutoff(); v_ords int[]; v_status smallint[]; v_owners bigint[]; v_take int[]; v_won uuid[];
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  SELECT array_agg(ord ORDER BY ord), array_agg(status ORDER BY ord), array_agg(holder_id ORDER BY ord)
  INTO v_ords, v_status, v_owners
  FROM partners.known_items(p_unit, p_holders, p_claims, p_idem_keys, p_fingerprints);
  v_take := ARRAY(SELECT n FROM unnest(v_ords) n WHERE v_status[n] = 0);
  WITH won AS (
    INSERT INTO partners.receipt_claim (claim, idem_key, fingerprint, holder_id, partner_id)
    SELECT p_claims[n], p_idem_keys[n], p_fingerprints[n], p_holders[n], p_partners[n]
    FROM unnest(v_take) n ORDER BY p_claims[n]
    ON CONFLICT DO NOTHING RETURNING claim
  )
  SELECT array_agg(claim) INTO v_won FROM won;
  IF coalesce(cardinality(v_won), 0) < cardinality(v_take) THEN
    v_take := ARRAY(SELECT n FROM unnest(v_take) n WHERE p_claims[n] = ANY (v_won));
  END IF;
  PERFORM ledger.settle_due(ARRAY(SELECT p_holders[n] FROM unnest(v_take) n), p_unit, p_at, v_cutoff);
  RETURN QUERY
  WITH entry AS MATERIALIZED (
    SELECT * FROM ledger.record_accruals(
      p_unit, p_at, v_cutoff, v_take, p_holders, p_partners, p_idem_keys, p_fingerprints, p_lot_until,
      p_lot_issuers, p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires)
  ), receipt AS (
    INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, occurred_at, at, card_id, partner_id,
                                  outlet_id, terminal_id, client_id, terms_id, cutoff_id, business_date, unit, kind,
                                  currency, reference, detail, decision)
    SELECT p_holders[n], e.seq, p_claims[n], p_totals[n], p_awarded[n], p_occurred[n], p_at, p_cards[n], p_partners[n],
           p_outlets[n], p_terminals[n], p_clients[n], p_terms[n], v_cutoff, p_dates[n], p_unit, 1,
           p_currencies[n], p_references[n], p_details[n]::jsonb, p_decisions[n]::jsonb
    FROM entry e CROSS JOIN LATERAL (SELECT e.ord AS n) o
  )
  SELECT e.ord, 0::smallint, p_holders[e.ord], e.seq, e.available_after, e.pending_after FROM entry e
  UNION ALL
  SELECT n, (CASE v_status[n] WHEN 0 THEN 9 ELSE v_status[n] END)::smallint, v_owners[n], NULL, NULL, NULL
  FROM unnest(v_ords) n WHERE n <> ALL (v_take);
END $$;

-- One purchase that spends points (kind 1), or the spending half alone (kind 2). The rotating code that proved it is
-- used up here. A claim lost to another card in this very moment undoes the call with TS001: decide again.
CREATE FUNCTION partners.record_spending(
  p_kind smallint, p_unit smallint, p_at timestamptz, p_day date,
  p_holder bigint, p_claim uuid, p_idem_key uuid, p_fingerprint uuid,
  p_partner int, p_outlet int, p_terminal int, p_client int, p_card bigint, p_terms int,
  p_reference text, p_date date, p_occurred timestamptz, p_currency text, p_total bigint, p_awarded bigint,
  p_detail text, p_decision text, p_redeem bigint, p_code_card bigint, p_code_step bigint,
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[],
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
      SELECT e.available_after INTO available FROM ledger.find_entry(p_holder, p_unit, p_idem_key) e;
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
      ARRAY[n], p_lot_issuers, p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires) e;
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
    IF r::text LIKE 'partners.record%' THEN  -- planned once, by index, as the ledger's own: see ledger/routines.sql
      EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_hashjoin = off', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_mergejoin = off', r);
    END IF;
  END LOOP;
END $$;
