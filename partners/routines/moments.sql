-- Something that is no purchase, decided by rules, in one call: the account's lock, what is known of the key, once for its
-- cause and once for its person, the ledger's entry, the moment, what is granted, budgets last (TS002: decide again).
--
-- status: 0 recorded, 1 replayed, 2 key used for another input, 4 no such account, 46 it was recorded before under another
--         key, 47 this person had it before
CREATE FUNCTION partners.record_moment(
  p_unit smallint, p_at timestamptz, p_holder bigint, p_cause uuid, p_idem_key uuid, p_fingerprint uuid,
  p_person uuid, p_what text, p_partner int, p_client int, p_terms int, p_occurred timestamptz, p_kind text, p_code text,
  p_awarded bigint, p_decision text,
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[], p_lot_activates timestamptz[],
  p_lot_expires timestamptz[],
  p_kinds text[], p_codes text[], p_quantities int[], p_ends timestamptz[], p_lookups uuid[], p_tails text[],
  p_if_seq bigint, p_budgets int[], p_scopes text[], p_periods text[], p_amounts bigint[],
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE e record; v_cutoff int; n int := coalesce(cardinality(p_budgets), 0);
BEGIN
  PERFORM ledger.enter_cutoff();
  PERFORM ledger.lock_accounts(ARRAY[p_holder], p_unit);
  v_cutoff := ledger.keep_cutoff();
  SELECT CASE WHEN k.fingerprint = p_fingerprint THEN 1 ELSE 2 END, m.seq INTO status, seq
  FROM partners.receipt_claim k LEFT JOIN partners.moment m ON m.holder_id = p_holder AND m.cause = k.claim
  WHERE k.idem_key = p_idem_key;
  IF FOUND THEN
    RETURN;
  END IF;
  PERFORM FROM partners.receipt_claim k WHERE k.claim = p_cause;
  IF FOUND THEN
    status := 46;
    RETURN;
  END IF;
  IF p_person IS NOT NULL AND members.was_given(p_person, p_what) THEN
    status := 47;
    RETURN;
  END IF;
  INSERT INTO partners.receipt_claim (claim, idem_key, fingerprint, holder_id, partner_id)
  VALUES (p_cause, p_idem_key, p_fingerprint, p_holder, p_partner) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'it is being recorded in this moment' USING ERRCODE = 'TS001';
  END IF;
  IF p_person IS NOT NULL AND NOT members.give_once(p_person, p_what, p_at) THEN
    RAISE EXCEPTION 'this person is given it in this moment' USING ERRCODE = 'TS001';
  END IF;
  e := ledger.accrue(p_holder, p_unit, p_partner, p_idem_key, p_fingerprint, p_at, p_lot_issuers, p_lot_funders,
                     p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires);
  IF e.status <> 0 THEN
    RAISE EXCEPTION 'the ledger refuses a moment of holder %: %', p_holder, e.status USING ERRCODE = 'LX002';
  END IF;
  status := 0; seq := e.seq; available := e.available; pending := e.pending;
  INSERT INTO partners.moment (holder_id, cause, seq, awarded, occurred_at, at, idem_key, fingerprint, partner_id, client_id,
                               terms_id, cutoff_id, unit, kind, code, decision)
  VALUES (p_holder, p_cause, seq, p_awarded, p_occurred, p_at, p_idem_key, p_fingerprint, p_partner, p_client, p_terms,
          v_cutoff, p_unit, p_kind, p_code, p_decision::jsonb);
  IF cardinality(p_kinds) > 0 THEN
    PERFORM partners.give_grants(p_holder, p_partner, p_terms, p_cause, p_at, p_kinds, p_codes, p_quantities, p_ends,
                                 p_lookups, p_tails);
  END IF;
  IF n > 0 THEN
    PERFORM partners.record_promoted(
      p_unit, ARRAY[p_holder], ARRAY[seq], ARRAY[p_if_seq], array_fill(1, ARRAY[n]), p_budgets, p_scopes, p_periods,
      p_amounts, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');
  END IF;
END $$;
