-- Accrue a batch on its own: cut-off, locks, keys known, what is due, the entries. One row per item in the result, told
-- apart by ord. Several items of one account are taken in order; an item that repeats an earlier one's key is left for
-- another call (9). Planned once per session, by index, like the rest of the hot path.
CREATE FUNCTION ledger.accrue_many(
  p_unit smallint, p_at timestamptz, p_holders bigint[], p_partners int[], p_idem_keys uuid[], p_fingerprints uuid[],
  p_lot_until int[], p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[],
  p_lot_activates timestamptz[], p_lot_expires timestamptz[])
RETURNS TABLE (ord int, status smallint, seq bigint, available bigint, pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE v_cutoff int := ledger.enter_cutoff(); v_status smallint[]; v_take int[];
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  WITH item AS (
    SELECT t.ord, t.holder_id, t.idem_key, t.fingerprint,
           row_number() OVER (PARTITION BY t.holder_id, t.idem_key ORDER BY t.ord) > 1 AS repeated
    FROM unnest(p_holders, p_idem_keys, p_fingerprints) WITH ORDINALITY AS t(holder_id, idem_key, fingerprint, ord)
  )
  SELECT array_agg((CASE WHEN a.holder_id IS NULL THEN 4
                         WHEN e.seq IS NOT NULL THEN CASE WHEN e.fingerprint IS DISTINCT FROM i.fingerprint THEN 2 ELSE 1 END
                         WHEN i.repeated THEN 9
                         ELSE 0 END)::smallint ORDER BY i.ord)
  INTO v_status
  FROM item i
  LEFT JOIN ledger.account a ON a.holder_id = i.holder_id AND a.unit = p_unit
  LEFT JOIN LATERAL ledger.find_entry(i.holder_id, p_unit, i.idem_key) e ON true;
  v_take := ARRAY(SELECT n FROM generate_subscripts(v_status, 1) n WHERE v_status[n] = 0);
  PERFORM ledger.settle_due(ARRAY(SELECT p_holders[n] FROM unnest(v_take) n), p_unit, p_at, v_cutoff);
  RETURN QUERY
  SELECT r.ord, 0::smallint, r.seq, r.available_after, r.pending_after
  FROM ledger.record_accruals(
    p_unit, p_at, v_cutoff, v_take, p_holders, p_partners, p_idem_keys, p_fingerprints, p_lot_until, p_lot_issuers,
    p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires) r;
  IF cardinality(v_take) < cardinality(v_status) THEN
    RETURN QUERY
    SELECT n, v_status[n], e.seq, e.available_after, e.pending_after
    FROM generate_subscripts(v_status, 1) n
    LEFT JOIN LATERAL ledger.find_entry(p_holders[n], p_unit, p_idem_keys[n]) e ON v_status[n] = 1
    WHERE v_status[n] <> 0;
  END IF;
END $$;
