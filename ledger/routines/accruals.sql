-- What the journal already knows of an idempotency key, for an account that the caller has locked. What was available is
-- what its call told: of an account that owes, the entry comes before the repayment that the same call made.
CREATE FUNCTION ledger.find_entry(p_holder bigint, p_unit smallint, p_idem_key uuid)
RETURNS TABLE (fingerprint uuid, kind smallint, seq bigint, available_after bigint, pending_after bigint)
LANGUAGE sql STABLE AS $$
  SELECT j.fingerprint, j.kind, j.seq, greatest(j.available_after - j.debt_after, 0), j.pending_after
  FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key
$$;

-- Accrue a batch: an item is an entry, and its lots are those behind the item before's last up to p_lot_until. Several
-- items of one account are taken in order. Only positions in p_take are recorded; the caller holds the locks, has
-- probed the keys and applied what is due. A lot whose activation lies after p_at is pending.
-- Arrays are read by position instead of joined, so that a batch costs in proportion to its size. Items of an account
-- that owes are recorded one by one (p_owing), so that each repays what it can before the next.
CREATE FUNCTION ledger.record_accruals(
  p_unit smallint, p_at timestamptz, p_cutoff int, p_take int[],
  p_holders bigint[], p_partners int[], p_idem_keys uuid[], p_fingerprints uuid[], p_lot_until int[],
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[], p_lot_activates timestamptz[],
  p_lot_expires timestamptz[], p_owing boolean DEFAULT false)
RETURNS TABLE (ord int, seq bigint, available_after bigint, pending_after bigint, debt_after bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE n int; e record; v_available bigint; v_recorded int;
BEGIN
  RETURN QUERY
  WITH item AS (
    SELECT o AS ord, p_holders[o] AS holder_id, coalesce(p_lot_until[o - 1], 0) + 1 AS lot_from,
           p_lot_until[o] AS lot_until
    FROM unnest(p_take) AS o
  ), placed AS MATERIALIZED (
    SELECT i.ord, i.holder_id, i.lot_from, i.lot_until, a.held, a.debt::bigint, s.points, s.due_at,
           greatest(p_at, a.last_at) AS recorded_at, a.seq + row_number() OVER w AS seq,
           (a.available + sum(s.at_once) OVER w)::bigint AS available_after,
           (a.pending + sum(s.points - s.at_once) OVER w)::bigint AS pending_after, a.head_hash
    FROM item i
    JOIN ledger.account a ON a.holder_id = i.holder_id AND a.unit = p_unit AND (a.debt > 0) = p_owing
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(p_lot_points[n]), 0)::bigint AS points,
             coalesce(sum(p_lot_points[n]) FILTER (WHERE p_lot_activates[n] <= p_at), 0)::bigint AS at_once,
             min(CASE WHEN p_lot_activates[n] <= p_at THEN p_lot_expires[n] ELSE p_lot_activates[n] END) AS due_at
      FROM generate_series(i.lot_from, i.lot_until) n
    ) s
    WINDOW w AS (PARTITION BY i.holder_id ORDER BY i.ord)
  ), chained AS MATERIALIZED (
    SELECT p.*, ledger.chain(p.head_hash, ledger.entry_bytes(
             p.holder_id, p_unit, p.seq, 1::smallint, p_partners[p.ord], p_cutoff, p.points, NULL, p.available_after,
             p.pending_after, p.held, p.debt, p_at, p.recorded_at, p_idem_keys[p.ord], p_fingerprints[p.ord])
             || coalesce(l.bytes, ''::bytea)) OVER (PARTITION BY p.holder_id ORDER BY p.seq) AS hash
    FROM placed p
    CROSS JOIN LATERAL (
      SELECT string_agg(ledger.posting_bytes(
               (n - p.lot_from + 1)::smallint, 10::smallint,
               (CASE WHEN p_lot_activates[n] <= p_at THEN 1 ELSE 2 END)::smallint, p_lot_issuers[n], p_lot_funders[n],
               p_partners[p.ord], p_lot_terms[n], p_lot_terms[n], p.seq, (n - p.lot_from + 1)::smallint,
               p_lot_points[n]), ''::bytea ORDER BY n) AS bytes
      FROM generate_series(p.lot_from, p.lot_until) n
    ) l
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
    SELECT holder_id, seq, points, available_after, pending_after, held, debt, p_at, recorded_at, p_idem_keys[ord],
           p_fingerprints[ord], p_partners[ord], p_cutoff, p_unit, 1, hash FROM chained
  ), lot AS (
    INSERT INTO ledger.lot (holder_id, seq, granted, remaining, activates_at, expires_at, issuer_id, funder_id,
                            terms_id, unit, lot_no, active)
    SELECT p.holder_id, p.seq, p_lot_points[n], p_lot_points[n], p_lot_activates[n], p_lot_expires[n],
           p_lot_issuers[n], p_lot_funders[n], p_lot_terms[n], p_unit, n - p.lot_from + 1, p_lot_activates[n] <= p_at
    FROM placed p CROSS JOIN LATERAL generate_series(p.lot_from, p.lot_until) n
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT p.holder_id, p.seq, p.seq, p_lot_points[n], p_lot_issuers[n], p_lot_funders[n], p_partners[p.ord],
           p_lot_terms[n], p_lot_terms[n], p_cutoff, p_unit, n - p.lot_from + 1, 10,
           CASE WHEN p_lot_activates[n] <= p_at THEN 1 ELSE 2 END, n - p.lot_from + 1
    FROM placed p CROSS JOIN LATERAL generate_series(p.lot_from, p.lot_until) n
  ), account AS (
    UPDATE ledger.account a
    SET seq = n.seq, available = n.available_after, pending = n.pending_after, last_at = n.recorded_at,
        next_due = least(a.next_due, n.due_at), head_hash = n.hash
    FROM (SELECT holder_id, seq, available_after, pending_after, recorded_at, hash,
                 min(due_at) OVER (PARTITION BY holder_id) AS due_at,
                 seq = max(seq) OVER (PARTITION BY holder_id) AS is_last
          FROM chained) n
    WHERE n.is_last AND a.holder_id = n.holder_id AND a.unit = p_unit
  )
  SELECT ord, seq, available_after, pending_after, debt FROM placed;
  GET DIAGNOSTICS v_recorded = ROW_COUNT;
  IF v_recorded = cardinality(p_take) THEN
    RETURN;
  END IF;
  FOR n IN SELECT o FROM unnest(p_take) AS o
           JOIN ledger.account a ON a.holder_id = p_holders[o] AND a.unit = p_unit AND a.debt > 0 ORDER BY o LOOP
    SELECT * INTO STRICT e FROM ledger.record_accruals(
      p_unit, p_at, p_cutoff, ARRAY[n], p_holders, p_partners, p_idem_keys, p_fingerprints, p_lot_until, p_lot_issuers,
      p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires,
      EXISTS (SELECT FROM ledger.account a WHERE a.holder_id = p_holders[n] AND a.unit = p_unit AND a.debt > 0));
    v_available := ledger.repay_debt(p_holders[n], p_unit, p_at, p_cutoff);
    RETURN QUERY SELECT n, e.seq, v_available, e.pending_after, greatest(e.debt_after - e.available_after, 0);
  END LOOP;
END $$;

-- Accrue one entry of one lot, on its own: the same as a batch of one, without what a batch needs. A call pays for
-- preparing each statement, each column and each expression more than for running it: there are few of them.
-- The cut-off is entered as enter_cutoff does it, which is asked only where what the session remembers does not hold any
-- more. The account is moved on by the statement that locks it, whoever it had to wait for, and the key is looked at behind
-- that lock, by the journal's own index: where it is known, the account is put back as it was. Where something is due it is
-- applied first; an account that owes, or that has later entries than this one, is left to a batch of one.
CREATE FUNCTION ledger.accrue_lot(
  p_holder bigint, p_unit smallint, p_partner int, p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  p_issuer int, p_funder int, p_terms int, p_points bigint, p_activates timestamptz, p_expires timestamptz)
RETURNS ledger.accrued LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := nullif(current_setting('tessera.last_cutoff', true), ''); v_locked boolean;
  v_active boolean := p_activates <= p_at;
  v_seq bigint; v_available bigint; v_pending bigint; v_held bigint; v_hash bytea; v_is_clear boolean;
  v_last timestamptz; v_due timestamptz; v_hash_before bytea;  -- as they were before
BEGIN
  v_locked := pg_advisory_xact_lock_shared(7305002, v_cutoff) IS NOT NULL;
  PERFORM FROM ledger.cutoff WHERE cutoff_id = v_cutoff AND state = 'OPEN';
  IF NOT FOUND THEN
    v_cutoff := ledger.enter_cutoff();
  END IF;
  LOOP
    UPDATE ledger.account a
    SET seq = a.seq + 1, last_at = p_at,
        available = a.available + CASE WHEN v_active THEN p_points ELSE 0::bigint END,
        pending = a.pending + CASE WHEN v_active THEN 0::bigint ELSE p_points END,
        next_due = least(a.next_due, CASE WHEN v_active THEN p_expires ELSE p_activates END),
        head_hash = sha256(a.head_hash || textsend(ledger.accrual_text(
          p_holder, p_unit, a.seq + 1, p_partner, v_cutoff, p_points,
          a.available + CASE WHEN v_active THEN p_points ELSE 0::bigint END,
          a.pending + CASE WHEN v_active THEN 0::bigint ELSE p_points END, a.held, p_at, p_idem_key,
          p_fingerprint, p_issuer, p_funder, p_terms, CASE WHEN v_active THEN 1 ELSE 2 END)))
    WHERE a.holder_id = p_holder AND a.unit = p_unit AND a.next_due > p_at AND a.last_at <= p_at
      AND a.debt = 0
    RETURNING a.seq, a.available, a.pending, a.held, a.head_hash, old.last_at, old.next_due, old.head_hash
    INTO v_seq, v_available, v_pending, v_held, v_hash, v_last, v_due, v_hash_before;
    EXIT WHEN FOUND;
    IF v_is_clear THEN
      RAISE EXCEPTION 'ledger corrupt: of account % of unit % something stays due', p_holder, p_unit USING ERRCODE = 'LX001';
    END IF;
    SELECT a.debt = 0 AND a.last_at <= p_at INTO v_is_clear
    FROM ledger.account a WHERE a.holder_id = p_holder AND a.unit = p_unit FOR NO KEY UPDATE;
    IF NOT FOUND THEN
      RETURN (4, NULL, NULL, NULL, NULL)::ledger.accrued;
    END IF;
    IF NOT v_is_clear THEN
      RETURN ledger.accrue_lots(p_holder, p_unit, p_partner, p_idem_key, p_fingerprint, p_at, ARRAY[p_issuer],
                                ARRAY[p_funder], ARRAY[p_terms], ARRAY[p_points], ARRAY[p_activates], ARRAY[p_expires]);
    END IF;
    PERFORM FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
    IF FOUND THEN
      RETURN ledger.accrued_before(p_holder, p_unit, p_idem_key, p_fingerprint);
    END IF;
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
  END LOOP;
  INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, v_seq, p_points, v_available, v_pending, v_held, 0, p_at, p_at, p_idem_key, p_fingerprint,
          p_partner, v_cutoff, p_unit, 1, v_hash)
  ON CONFLICT (holder_id, unit, idem_key) WHERE idem_key IS NOT NULL DO NOTHING;
  IF NOT FOUND THEN
    UPDATE ledger.account a
    SET seq = a.seq - 1, last_at = v_last, next_due = v_due, head_hash = v_hash_before,
        available = a.available - CASE WHEN v_active THEN p_points ELSE 0::bigint END,
        pending = a.pending - CASE WHEN v_active THEN 0::bigint ELSE p_points END
    WHERE a.holder_id = p_holder AND a.unit = p_unit;
    RETURN ledger.accrued_before(p_holder, p_unit, p_idem_key, p_fingerprint);
  END IF;
  INSERT INTO ledger.lot (holder_id, seq, granted, remaining, activates_at, expires_at, issuer_id, funder_id,
                          terms_id, unit, lot_no, active)
  VALUES (p_holder, v_seq, p_points, p_points, p_activates, p_expires, p_issuer, p_funder, p_terms, p_unit, 1, v_active);
  INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                              terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
  VALUES (p_holder, v_seq, v_seq, p_points, p_issuer, p_funder, p_partner, p_terms, p_terms, v_cutoff, p_unit, 1, 10,
          CASE WHEN v_active THEN 1::smallint ELSE 2::smallint END, 1);
  RETURN (0, v_seq, v_available, v_pending, 0)::ledger.accrued;
END $$;

-- What a key's first call was told, for an account that the caller has locked; status 2 where it stood for another input.
CREATE FUNCTION ledger.accrued_before(p_holder bigint, p_unit smallint, p_idem_key uuid, p_fingerprint uuid)
RETURNS ledger.accrued LANGUAGE sql STABLE AS $$
  SELECT (CASE WHEN j.fingerprint = p_fingerprint THEN 1 ELSE 2 END, j.seq, greatest(j.available_after - j.debt_after, 0),
          j.pending_after, greatest(j.debt_after - j.available_after, 0))::ledger.accrued
  FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key
$$;

-- Accrue one entry of any number of lots, on its own: of one lot as above, of none or of several funders as a batch of one.
CREATE FUNCTION ledger.accrue(
  p_holder bigint, p_unit smallint, p_partner int, p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[],
  p_lot_activates timestamptz[], p_lot_expires timestamptz[])
RETURNS ledger.accrued LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF cardinality(p_lot_points) = 1 THEN
    RETURN ledger.accrue_lot(p_holder, p_unit, p_partner, p_idem_key, p_fingerprint, p_at, p_lot_issuers[1],
                             p_lot_funders[1], p_lot_terms[1], p_lot_points[1], p_lot_activates[1], p_lot_expires[1]);
  END IF;
  RETURN ledger.accrue_lots(p_holder, p_unit, p_partner, p_idem_key, p_fingerprint, p_at, p_lot_issuers, p_lot_funders,
                            p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires);
END $$;

-- The same whatever stands in the way.
CREATE FUNCTION ledger.accrue_lots(
  p_holder bigint, p_unit smallint, p_partner int, p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[],
  p_lot_activates timestamptz[], p_lot_expires timestamptz[])
RETURNS ledger.accrued LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); e ledger.accrued;
BEGIN
  PERFORM FROM ledger.account a WHERE a.holder_id = p_holder AND a.unit = p_unit FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN (4, NULL, NULL, NULL, NULL)::ledger.accrued;
  END IF;
  PERFORM FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    RETURN ledger.accrued_before(p_holder, p_unit, p_idem_key, p_fingerprint);
  END IF;
  PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
  SELECT 0, r.seq, r.available_after, r.pending_after, r.debt_after INTO STRICT e
  FROM ledger.record_accruals(
    p_unit, p_at, v_cutoff, ARRAY[1], ARRAY[p_holder], ARRAY[p_partner], ARRAY[p_idem_key], ARRAY[p_fingerprint],
    ARRAY[coalesce(cardinality(p_lot_points), 0)], p_lot_issuers, p_lot_funders, p_lot_terms, p_lot_points,
    p_lot_activates, p_lot_expires) r;
  RETURN e;
END $$;
