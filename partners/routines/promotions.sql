-- What a decision by rules writes beside points. It is called in the statement that recorded the receipt and behind that:
-- the last locks of a call are those of budgets, in key order, so that the most wanted ones are held the shortest. Where a
-- budget has no room any more, or a receipt came in between that the decision did not know of, the whole statement is
-- undone with TS002, whose detail tells the positions of the items, and of budgets the numbers: {"denied": [[1, 17]], "stale": [2]}.
-- They are decided again.

-- Charge budgets, a charge being of the item of its place in p_of. Null where all fit, else the items that do not, taken in
-- order, and into what, [[1, 17]]: what was charged for the others has to be undone. It runs under its caller's settings.
CREATE FUNCTION partners.use_budgets(
  p_of int[], p_budgets int[], p_scopes text[], p_periods text[], p_amounts bigint[])
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE v_denied jsonb; v_charged partners.budget_counter[];
BEGIN
  IF array_to_string(p_periods, ' ') LIKE '%/%' THEN  -- some count over the last days: see budget_windows.sql
    SELECT jsonb_agg(jsonb_build_array(w.item, w.budget_id)) INTO v_denied
    FROM partners.use_windows(p_of, p_budgets, p_scopes, p_periods, p_amounts) w;
    IF v_denied IS NOT NULL THEN
      RETURN v_denied;
    END IF;
  END IF;
  IF cardinality(p_budgets) = 1 THEN  -- the same without what several need
    INSERT INTO partners.budget_counter AS k (budget_id, scope, period, used, ceiling)
    SELECT b.budget_id, p_scopes[1], p_periods[1], p_amounts[1], b.ceiling
    FROM partners.budget b WHERE b.budget_id = p_budgets[1] AND p_amounts[1] <= b.ceiling
    ON CONFLICT (budget_id, scope, period) DO UPDATE
    SET used = k.used + excluded.used, ceiling = excluded.ceiling
    WHERE k.used + excluded.used <= excluded.ceiling;
    RETURN CASE WHEN NOT FOUND THEN jsonb_build_array(jsonb_build_array(p_of[1], p_budgets[1])) END;
  END IF;
  WITH charged AS (
    INSERT INTO partners.budget_counter AS k (budget_id, scope, period, used, ceiling)
    SELECT w.budget_id, w.scope, w.period, w.amount, b.ceiling
    FROM (
      SELECT t.budget_id, t.scope, t.period, sum(t.amount)::bigint AS amount
      FROM (SELECT unnest(p_budgets) AS budget_id, unnest(p_scopes) AS scope, unnest(p_periods) AS period,
                   unnest(p_amounts) AS amount) t
      GROUP BY t.budget_id, t.scope, t.period ORDER BY t.budget_id, t.scope, t.period
    ) w
    CROSS JOIN LATERAL (  -- LIMIT: one by one, so that what is in order stays so
      SELECT o.ceiling FROM partners.budget o WHERE o.budget_id = w.budget_id LIMIT 1
    ) b
    WHERE w.amount <= b.ceiling
    ORDER BY w.budget_id, w.scope, w.period
    ON CONFLICT (budget_id, scope, period) DO UPDATE
    SET used = k.used + excluded.used, ceiling = excluded.ceiling
    WHERE k.used + excluded.used <= excluded.ceiling
    RETURNING k AS counter
  )
  SELECT array_agg(c.counter) INTO v_charged FROM charged c;
  IF cardinality(v_charged) = cardinality(p_budgets) THEN
    RETURN NULL;
  END IF;
  RETURN partners.denied_charges(p_of, p_budgets, p_scopes, p_periods, p_amounts, v_charged);
END $$;

-- Of charges those that are not among the counters that were charged, as use_budgets returns them. Where a ceiling was raised
-- in this moment, all of such a counter: none of them was counted.
CREATE FUNCTION partners.denied_charges(
  p_of int[], p_budgets int[], p_scopes text[], p_periods text[], p_amounts bigint[], p_charged partners.budget_counter[])
RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_agg(DISTINCT jsonb_build_array(r.item, r.budget_id))
  FROM (
    SELECT t.budget_id, t.scope, t.period FROM unnest(p_budgets, p_scopes, p_periods) AS t(budget_id, scope, period)
    EXCEPT SELECT c.budget_id, c.scope, c.period FROM unnest(p_charged) AS c
  ) d
  JOIN (
    SELECT t.item, t.budget_id, t.scope, t.period,
           sum(t.amount) OVER (PARTITION BY t.budget_id, t.scope, t.period ORDER BY t.item) AS running,
           sum(t.amount) OVER (PARTITION BY t.budget_id, t.scope, t.period) AS whole
    FROM unnest(p_of, p_budgets, p_scopes, p_periods, p_amounts) AS t(item, budget_id, scope, period, amount)
  ) r ON (r.budget_id, r.scope, r.period) = (d.budget_id, d.scope, d.period)
  LEFT JOIN partners.budget b ON b.budget_id = d.budget_id
  LEFT JOIN partners.budget_counter k ON (k.budget_id, k.scope, k.period) = (d.budget_id, d.scope, d.period)
  CROSS JOIN LATERAL (SELECT coalesce(b.ceiling, 0) - coalesce(k.used, 0) AS room) x
  WHERE r.running > x.room OR r.whole <= x.room
$$;

-- Write what decisions of items say: charges of budgets, and what one party owes another. p_seqs are the entries of the
-- receipts, null where an item was not recorded now; p_if_seqs what the account's number was when the item was decided,
-- null where its decision read nothing of the account.
CREATE FUNCTION partners.record_promoted(
  p_unit smallint, p_holders bigint[], p_seqs bigint[], p_if_seqs bigint[],
  p_charge_of int[], p_budgets int[], p_scopes text[], p_periods text[], p_amounts bigint[],
  p_event_of int[], p_kinds smallint[], p_payers int[], p_payees int[], p_terms int[], p_rules text[],
  p_owed bigint[], p_currencies text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_stale int[] := '{}'; v_leaves_out boolean := false; v_denied jsonb;
BEGIN
  FOR n IN 1 .. cardinality(p_seqs) LOOP  -- a loop that only compares costs less than a query
    IF p_seqs[n] IS NULL THEN
      v_leaves_out := true;
    ELSIF p_if_seqs[n] < p_seqs[n] - 1 THEN
      PERFORM FROM partners.receipt r
      WHERE r.holder_id = p_holders[n] AND r.unit = p_unit AND r.seq > p_if_seqs[n] AND r.seq < p_seqs[n];
      IF FOUND THEN
        v_stale := v_stale || n;
      END IF;
    END IF;
  END LOOP;
  IF cardinality(p_charge_of) > 0 AND (v_leaves_out OR v_stale <> '{}') THEN
    SELECT coalesce(array_agg(t.item), '{}'), array_agg(t.budget_id), array_agg(t.scope), array_agg(t.period),
           array_agg(t.amount)
    INTO p_charge_of, p_budgets, p_scopes, p_periods, p_amounts
    FROM unnest(p_charge_of, p_budgets, p_scopes, p_periods, p_amounts) AS t(item, budget_id, scope, period, amount)
    WHERE p_seqs[t.item] IS NOT NULL AND t.item <> ALL (v_stale);
  END IF;
  IF cardinality(p_charge_of) > 0 THEN
    v_denied := partners.use_budgets(p_charge_of, p_budgets, p_scopes, p_periods, p_amounts);
  END IF;
  IF v_denied IS NOT NULL OR v_stale <> '{}' THEN
    RAISE EXCEPTION 'what was decided does not hold any more' USING ERRCODE = 'TS002',
      DETAIL = jsonb_build_object('denied', coalesce(v_denied, '[]'), 'stale', v_stale)::text;
  END IF;
  IF cardinality(p_charge_of) > 0 THEN
    INSERT INTO partners.budget_charge (holder_id, seq, amount, budget_id, unit, scope, period)
    SELECT p_holders[p_charge_of[n]], p_seqs[p_charge_of[n]], p_amounts[n], p_budgets[n], p_unit, p_scopes[n], p_periods[n]
    FROM (SELECT generate_subscripts(p_charge_of, 1) AS n) c;
  END IF;
  IF cardinality(p_event_of) > 0 THEN
    INSERT INTO partners.clearing_event (holder_id, seq, amount, payer_id, payee_id, terms_id, cutoff_id, unit, event_no, kind,
                                         is_return, currency, rule)
    SELECT p_holders[p_event_of[e]], p_seqs[p_event_of[e]], p_owed[e], p_payers[e], p_payees[e], p_terms[e],
           ledger.entered_cutoff(), p_unit, row_number() OVER (PARTITION BY p_event_of[e] ORDER BY e), p_kinds[e], false,
           p_currencies[e], p_rules[e]
    FROM generate_subscripts(p_event_of, 1) e WHERE p_seqs[p_event_of[e]] IS NOT NULL;
  END IF;
  RETURN true;
END $$;

-- Use up what decisions of items used and give what they gave beside points, before budgets are charged, in the cut-off of
-- the items' entries: p_given is a JSON list, of the items (`of`, from 1) that have any. Where something is used up already
-- the whole statement is undone with TS002, whose detail tells it: {"used": [[1, 44]]}, with the statuses of
-- partners.use_coupons and partners.use_stamps.
CREATE FUNCTION partners.record_given(p_holders bigint[], p_seqs bigint[], p_given text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE g record; v_status smallint; v_used jsonb := '[]';
BEGIN
  IF p_given IS NULL THEN
    RETURN true;
  END IF;
  FOR g IN
    SELECT * FROM jsonb_to_recordset(p_given::jsonb) AS x(
      of int, partner int, terms int, claim uuid, at timestamptz, day date, wall timestamptz, proved boolean, coupons uuid[],
      stamps text[], counts int[], kinds text[], codes text[], quantities int[], ends timestamptz[], lookups uuid[],
      tails text[])
    ORDER BY x.coupons, x.of
  LOOP
    CONTINUE WHEN p_seqs[g.of] IS NULL;
    PERFORM ledger.stay_in_cutoff();
    SELECT u.status INTO v_status
    FROM partners.use_coupons(g.coupons, p_holders[g.of], g.partner, NULL, g.claim, NULL, g.proved, g.wall, g.at) u;
    IF v_status = 0 AND cardinality(g.stamps) > 0 THEN
      v_status := partners.use_stamps(p_holders[g.of], g.partner, g.terms, g.claim, g.at, g.day, g.stamps, g.counts);
    END IF;
    IF v_status <> 0 THEN
      v_used := v_used || jsonb_build_array(jsonb_build_array(g.of, v_status));
    ELSIF cardinality(g.kinds) > 0 THEN
      PERFORM partners.give_grants(p_holders[g.of], g.partner, g.terms, g.claim, g.at, g.kinds, g.codes, g.quantities,
                                   g.ends, g.lookups, g.tails);
    END IF;
  END LOOP;
  IF v_used <> '[]' THEN
    RAISE EXCEPTION 'something is used up already' USING ERRCODE = 'TS002',
      DETAIL = jsonb_build_object('denied', '[]'::jsonb, 'stale', '[]'::jsonb, 'used', v_used)::text;
  END IF;
  RETURN true;
END $$;

-- What a return takes back and gives back of a purchase (p_original its entry) beside points: grants by kind and code, and
-- of what the purchase had used up the coupons by number, and so many stamps of each unit, that it does not use any more.
CREATE FUNCTION partners.record_taken_back(
  p_unit smallint, p_holder bigint, p_partner int, p_seq bigint, p_original bigint, p_key uuid, p_at timestamptz,
  p_grace interval, p_kinds text[], p_codes text[], p_quantities int[], p_coupons bigint[], p_stamps text[], p_counts int[])
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_claim uuid;
BEGIN
  IF p_seq IS NULL OR cardinality(p_kinds) + cardinality(p_coupons) + cardinality(p_stamps) = 0 THEN
    RETURN false;
  END IF;
  SELECT r.claim INTO STRICT v_claim FROM partners.receipt r
  WHERE r.holder_id = p_holder AND r.unit = p_unit AND r.seq = p_original;
  IF cardinality(p_kinds) > 0 THEN
    PERFORM partners.take_back_grants(p_holder, p_partner, v_claim, p_key, p_at, p_kinds, p_codes, p_quantities);
  END IF;
  IF cardinality(p_coupons) > 0 THEN
    PERFORM partners.release_coupons(NULL, v_claim, NULL, p_coupons);
  END IF;
  IF cardinality(p_stamps) > 0 THEN
    PERFORM partners.give_back_stamps(p_holder, p_partner, v_claim, p_key, p_grace, p_at, p_stamps, p_counts);
  END IF;
  RETURN true;
END $$;

-- What a return gives back: to budgets, for the period they were charged to, and what parties owed each other for what was
-- returned, the other way round. p_seq is the return's entry, null where nothing was recorded now.
CREATE FUNCTION partners.record_given_back(
  p_unit smallint, p_holder bigint, p_seq bigint,
  p_budgets int[], p_scopes text[], p_periods text[], p_amounts bigint[],
  p_kinds smallint[], p_payers int[], p_payees int[], p_terms int[], p_rules text[], p_owed bigint[],
  p_currencies text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF p_seq IS NULL THEN
    RETURN false;
  END IF;
  PERFORM FROM partners.budget_counter k
  JOIN unnest(p_budgets, p_scopes, p_periods) AS t(budget_id, scope, period)
    ON (k.budget_id, k.scope, k.period) = (t.budget_id, t.scope, t.period)
  ORDER BY k.budget_id, k.scope, k.period FOR NO KEY UPDATE OF k;
  UPDATE partners.budget_counter k SET used = k.used - t.amount
  FROM unnest(p_budgets, p_scopes, p_periods, p_amounts) AS t(budget_id, scope, period, amount)
  WHERE (k.budget_id, k.scope, k.period) = (t.budget_id, t.scope, t.period);
  INSERT INTO partners.budget_charge (holder_id, seq, amount, budget_id, unit, scope, period)
  SELECT p_holder, p_seq, -t.amount, t.budget_id, p_unit, t.scope, t.period
  FROM unnest(p_budgets, p_scopes, p_periods, p_amounts) AS t(budget_id, scope, period, amount);
  INSERT INTO partners.clearing_event (holder_id, seq, amount, payer_id, payee_id, terms_id, cutoff_id, unit, event_no, kind,
                                       is_return, currency, rule)
  SELECT p_holder, p_seq, p_owed[e], p_payers[e], p_payees[e], p_terms[e], ledger.entered_cutoff(), p_unit, e,
         p_kinds[e], true, p_currencies[e], p_rules[e]
  FROM generate_subscripts(p_kinds, 1) e;
  RETURN true;
END $$;

-- Whether a rule of a release's manifest counts against a budget.
CREATE FUNCTION partners.counts_against(p_manifest text, p_code text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT p_manifest::jsonb -> 'budgets' @> jsonb_build_array(jsonb_build_object('code', p_code))
$$;

-- What is wrong with budgets and clearing events; must be nothing.
-- B1: what is used of a budget is what its charges say. B2: no more is used than the ceiling was when it was charged.
-- B3: a charge is of an entry, and what a party owes another of a receipt, in the receipt's cut-off. B4: a budget's ceiling is what
-- its last change says, and of one of money what was paid in. B5: of one that counts over days no more was used in any run of
-- them than the ceiling was. B6: what a person raised after a release that counts against it was published, another approved.
CREATE FUNCTION partners.audit_promotions()
RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text) LANGUAGE sql STABLE AS $$
  SELECT 'B1', NULL::bigint, NULL::smallint,
         format('budget %s, scope "%s", period "%s": %s used, %s charged', budget_id, scope, period, k.used, c.amount)
  FROM partners.budget_counter k
  FULL JOIN (SELECT budget_id, scope, period, sum(amount) AS amount FROM partners.budget_charge GROUP BY 1, 2, 3) c
    USING (budget_id, scope, period)
  WHERE k.used IS DISTINCT FROM c.amount
  UNION ALL
  SELECT 'B2', NULL, NULL, format('budget %s, scope "%s", period "%s": %s used of %s', budget_id, scope, period, used, ceiling)
  FROM partners.budget_counter WHERE used NOT BETWEEN 0 AND ceiling
  UNION ALL
  SELECT 'B3', c.holder_id, c.unit, format('charge of budget %s in entry %s is of no receipt or moment', c.budget_id, c.seq)
  FROM partners.budget_charge c LEFT JOIN partners.receipt r USING (holder_id, unit, seq)
  LEFT JOIN partners.moment m USING (holder_id, unit, seq) WHERE r.seq IS NULL AND m.seq IS NULL
  UNION ALL
  SELECT 'B3', e.holder_id, e.unit, format('clearing event %s of entry %s: its receipt is in cut-off %s, itself in %s',
                                           e.event_no, e.seq, r.cutoff_id, e.cutoff_id)
  FROM partners.clearing_event e LEFT JOIN partners.receipt r USING (holder_id, unit, seq)
  WHERE r.cutoff_id IS DISTINCT FROM e.cutoff_id
  UNION ALL
  SELECT 'B4', NULL, NULL, format('budget %s: ceiling %s, its changes say %s', b.budget_id, b.ceiling, l.ceiling)
  FROM partners.budget b
  LEFT JOIN LATERAL (
    SELECT CASE b.unit WHEN 'money' THEN sum(funded) ELSE max(ceiling) FILTER (WHERE is_last) END AS ceiling
    FROM (SELECT funded, ceiling, limit_no = max(limit_no) OVER () AS is_last
          FROM partners.budget_limit WHERE budget_id = b.budget_id) changes
  ) l ON true
  WHERE b.ceiling IS DISTINCT FROM coalesce(l.ceiling, 0)
  UNION ALL
  SELECT 'B5', NULL, NULL, format('budget %s, scope "%s", period "%s": %s used of %s in a run of days', k.budget_id, k.scope,
                                  k.period, u.used, l.ceiling)
  FROM partners.budget_counter k
  CROSS JOIN LATERAL (SELECT partners.used_in_window(k.budget_id, k.scope, k.period) AS used) u
  LEFT JOIN LATERAL (SELECT max(c.ceiling) AS ceiling FROM partners.budget_limit c WHERE c.budget_id = k.budget_id) l ON true
  WHERE k.period LIKE '%/%' AND u.used > coalesce(l.ceiling, 0)
  UNION ALL
  SELECT 'B6', NULL, NULL, format('budget %s, change %s: raised to %s by one person alone', l.budget_id, l.limit_no, l.ceiling)
  FROM (SELECT c.*, lag(c.ceiling, 1, 0) OVER (PARTITION BY c.budget_id ORDER BY c.limit_no) AS before
        FROM partners.budget_limit c) l
  JOIN partners.budget b ON b.budget_id = l.budget_id
  LEFT JOIN kit.approval a ON a.approval_id = l.approval_id AND a.approved AND a.subject = 'budget:' || b.code
  WHERE l.ceiling > l.before AND l.author_id IS NOT NULL AND a.approval_id IS NULL
    AND (l.approval_id IS NOT NULL OR EXISTS (
      SELECT FROM partners.release r JOIN kit.approval p ON p.approval_id = r.approval_id
      WHERE p.approved AND p.decided_at < l.at AND partners.counts_against(r.manifest, b.code)))
$$;
