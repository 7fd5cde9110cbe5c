-- What a purchase writes, in one call. Order inside: cut-off, account locks in holder order, keys and receipts known,
-- proof, the ledger's entries, the claim, the receipt. A denied item writes nothing.
-- All of it is in one cut-off, which is kept once the accounts are locked: whoever had them may have recorded in the next
-- one what is taken here. It is entered before too, so that nobody waits for a closer with accounts in hand.
--
-- status: 0 recorded, 1 replayed, 2 key used for another input, 3 insufficient points, 4 no such account,
--         5 receipt recorded already, 6 receipt cancelled, 7 stale, 8 code used, 9 decide again,
--         10 approval used, 16 spending is locked, 17 the day's cap

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
RETURNS TABLE (ord int, status smallint, holder_id bigint, seq bigint, available bigint, pending bigint, debt bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE v_cutoff int; v_ords int[]; v_status smallint[]; v_owners bigint[]; v_take int[]; v_won uuid[];
BEGIN
  PERFORM ledger.enter_cutoff();
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  v_cutoff := ledger.keep_cutoff();
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
  SELECT e.ord, 0::smallint, p_holders[e.ord], e.seq, e.available_after, e.pending_after, e.debt_after FROM entry e
  UNION ALL
  SELECT n, (CASE v_status[n] WHEN 0 THEN 9 ELSE v_status[n] END)::smallint, v_owners[n], NULL, NULL, NULL, NULL
  FROM unnest(v_ords) n WHERE n <> ALL (v_take);
END $$;

-- One purchase that earns and spends nothing, on its own: the same as a batch of one, for a lone till, without what a
-- batch needs. Whatever stands in the way is left to the batch, which tells it apart: any status but 0 wrote nothing, and
-- a claim taken already undoes the call with TS001.
CREATE FUNCTION partners.record_purchase(
  p_unit smallint, p_at timestamptz, p_holder bigint, p_claim uuid, p_idem_key uuid, p_fingerprint uuid,
  p_partner int, p_outlet int, p_terminal int, p_client int, p_card bigint, p_terms int,
  p_reference text, p_date date, p_occurred timestamptz, p_currency text, p_total bigint,
  p_awarded bigint, p_detail text, p_decision text,
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[],
  p_lot_points bigint[], p_lot_activates timestamptz[], p_lot_expires timestamptz[])
RETURNS ledger.accrued LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE e ledger.accrued;
BEGIN
  IF cardinality(p_lot_points) = 1 THEN
    e := ledger.accrue_lot(p_holder, p_unit, p_partner, p_idem_key, p_fingerprint, p_at, p_lot_issuers[1],
                           p_lot_funders[1], p_lot_terms[1], p_lot_points[1], p_lot_activates[1], p_lot_expires[1]);
  ELSE
    e := ledger.accrue(p_holder, p_unit, p_partner, p_idem_key, p_fingerprint, p_at, p_lot_issuers, p_lot_funders,
                       p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires);
  END IF;
  IF e.status <> 0 THEN
    RETURN e;
  END IF;
  INSERT INTO partners.receipt_claim (claim, idem_key, fingerprint, holder_id, partner_id)
  VALUES (p_claim, p_idem_key, p_fingerprint, p_holder, p_partner) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the receipt or its key is known' USING ERRCODE = 'TS001';
  END IF;
  INSERT INTO partners.receipt (holder_id, seq, claim, total, awarded, occurred_at, at, card_id, partner_id,
                                outlet_id, terminal_id, client_id, terms_id, cutoff_id, business_date, unit, kind,
                                currency, reference, detail, decision)
  VALUES (p_holder, e.seq, p_claim, p_total, p_awarded, p_occurred, p_at, p_card, p_partner, p_outlet, p_terminal,
          p_client, p_terms, ledger.entered_cutoff(), p_date, p_unit, 1, p_currency, p_reference, p_detail::jsonb,
          p_decision::jsonb);
  RETURN e;
END $$;
