-- Spendings, resolved holds and returns of many accounts in one call: what ledger.spend, resolve_hold and
-- return_accrual do for one, in the same order and with the same answers, without a loop and without a subtransaction.
-- An account's first item that no key answers is decided; its later ones are told to come again:
--
-- status 20: ask again in another call, an earlier item of this one has the account
--
-- Items are rows of arrays that are read by position, and what is written is worked out per item from its own account,
-- so that a batch costs in proportion to its size. OFFSET 0, and a unit that comes with the item, keep the planner from
-- going through a whole unit instead while it knows nothing of the tables. Every account is locked before it is read.

-- An account whose lots do not hold what it says is available: nothing of the batch may be written.
CREATE FUNCTION ledger.refuse_corrupt(p_holder bigint, p_unit smallint, p_available bigint, p_taken bigint, p_amount bigint)
RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RAISE EXCEPTION 'ledger corrupt: account % of unit % says % available, its lots gave % of %',
    p_holder, p_unit, p_available, p_taken, p_amount USING ERRCODE = 'LX001';
END $$;

-- Redeem (kind 3) or hold until p_lapses_at (kind 4): ledger.spend of each item.
CREATE FUNCTION ledger.spend_many(
  p_unit smallint, p_at timestamptz, p_day date, p_kinds smallint[], p_holders bigint[], p_amounts bigint[],
  p_lapses_at timestamptz[], p_partners int[], p_terms int[], p_idem_keys uuid[], p_fingerprints uuid[])
RETURNS TABLE (ord int, status smallint, seq bigint, available bigint, pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
  v_cutoff int := ledger.enter_cutoff(); v_status smallint[]; v_seq bigint[]; v_available bigint[]; v_pending bigint[];
  v_take int[];
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had an account may have recorded in the next one
  SELECT array_agg(status ORDER BY ord), array_agg(seq ORDER BY ord), array_agg(available ORDER BY ord),
         array_agg(pending ORDER BY ord), array_agg(ord ORDER BY ord) FILTER (WHERE status = 0)
  INTO v_status, v_seq, v_available, v_pending, v_take
  FROM (
    SELECT n AS ord, e.seq, coalesce(e.available_after, a.available) AS available,
           coalesce(e.pending_after, a.pending) AS pending,
           (CASE
             WHEN a.holder_id IS NULL THEN 4
             WHEN e.seq IS NOT NULL THEN
               CASE WHEN e.fingerprint IS DISTINCT FROM p_fingerprints[n] THEN 2 WHEN e.kind = 20 THEN 3 ELSE 1 END
             WHEN row_number() OVER (PARTITION BY a.holder_id, e.seq IS NULL ORDER BY n) > 1 THEN 20
             WHEN a.spend_locked THEN 6
             WHEN a.spent + p_amounts[n] > a.daily_cap AND a.spent_on = p_day OR p_amounts[n] > a.daily_cap THEN 7
             ELSE 0
           END)::smallint AS status
    FROM generate_subscripts(p_holders, 1) AS n
    LEFT JOIN ledger.account a ON a.holder_id = p_holders[n] AND a.unit = p_unit
    LEFT JOIN ledger.journal e ON e.holder_id = p_holders[n] AND e.unit = p_unit AND e.idem_key = p_idem_keys[n]
  ) known;
  RETURN QUERY SELECT n, v_status[n], v_seq[n], v_available[n], v_pending[n]
  FROM generate_subscripts(v_status, 1) AS n WHERE v_status[n] <> 0;
  IF v_take IS NULL THEN
    RETURN;
  END IF;
  PERFORM ledger.settle_due(ARRAY(SELECT p_holders[n] FROM unnest(v_take) AS n), p_unit, p_at, v_cutoff);
  RETURN QUERY
  WITH item AS (
    SELECT n AS ord, a.holder_id, a.unit, CASE WHEN a.available < p_amounts[n] THEN 20::smallint ELSE p_kinds[n] END AS kind,
           p_amounts[n] AS amount, a.seq + 1 AS seq, greatest(p_at, a.last_at) AS recorded_at,
           a.available, a.pending::bigint, a.held, a.debt, a.spent, a.spent_on, a.next_due, a.head_hash
    FROM unnest(v_take) AS n
    CROSS JOIN LATERAL (
      SELECT * FROM ledger.account x WHERE x.holder_id = p_holders[n] AND x.unit = p_unit OFFSET 0
    ) a
  ), leg AS MATERIALIZED (  -- one row per lot that gives; one without a lot where the item is declined
    SELECT i.*, t.lot_seq, t.lot_no, t.issuer_id, t.funder_id, t.lot_terms_id, t.take, t.leg, t.taken, t.bytes,
           (CASE i.kind WHEN 4 THEN 3 ELSE 11 END)::smallint AS credit
    FROM item i
    LEFT JOIN LATERAL (
      SELECT k.*, sum(k.take) OVER item AS taken,
             string_agg(ledger.posting_bytes(
               k.leg, 1::smallint, (CASE i.kind WHEN 4 THEN 3 ELSE 11 END)::smallint, k.issuer_id, k.funder_id,
               p_partners[i.ord], k.lot_terms_id, p_terms[i.ord], k.lot_seq, k.lot_no, k.take), ''::bytea) OVER item AS bytes
      FROM (
        SELECT q.*, least(q.remaining, i.amount - q.ahead) AS take, (row_number() OVER (ORDER BY q.ahead))::smallint AS leg
        FROM (
          SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id AS lot_terms_id, l.remaining,
                 (sum(l.remaining) OVER (ORDER BY l.expires_at, l.seq, l.lot_no) - l.remaining)::bigint AS ahead
          FROM ledger.lot l
          WHERE l.holder_id = i.holder_id AND l.unit = p_unit AND l.open AND l.active AND l.remaining > 0
        ) q
        WHERE q.ahead < i.amount AND i.kind <> 20
      ) k
      WINDOW item AS (ORDER BY k.leg ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ) t ON true
  ), placed AS (
    SELECT *, available - CASE kind WHEN 20 THEN 0 ELSE amount END AS available_after,
           held + CASE kind WHEN 4 THEN amount ELSE 0 END AS held_after
    FROM leg WHERE coalesce(leg, 1) = 1
  ), entry AS MATERIALIZED (
    SELECT p.*, CASE
             WHEN p.kind <> 20 AND p.taken IS DISTINCT FROM p.amount
             THEN ledger.refuse_corrupt(p.holder_id, p_unit, p.available, p.taken::bigint, p.amount)
             ELSE sha256(p.head_hash || ledger.entry_bytes(
               p.holder_id, p_unit, p.seq, p.kind, p_partners[p.ord], v_cutoff, p.amount, NULL, p.available_after,
               p.pending, p.held_after, p.debt, p_at, p.recorded_at, p_idem_keys[p.ord], p_fingerprints[p.ord])
               || coalesce(p.bytes, ''::bytea))
           END AS hash
    FROM placed p
  ), lot AS (
    UPDATE ledger.lot l
    SET remaining = l.remaining - g.take, held = l.held + CASE g.kind WHEN 4 THEN g.take ELSE 0 END,
        open = l.remaining - g.take > 0 OR l.held > 0 OR g.kind = 4
    FROM leg g WHERE l.holder_id = g.holder_id AND l.unit = g.unit AND l.seq = g.lot_seq AND l.lot_no = g.lot_no
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT g.holder_id, g.seq, g.lot_seq, g.take, g.issuer_id, g.funder_id, p_partners[g.ord], g.lot_terms_id,
           p_terms[g.ord], v_cutoff, p_unit, g.leg, 1, g.credit, g.lot_no
    FROM leg g WHERE g.leg IS NOT NULL
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
    SELECT e.holder_id, e.seq, e.amount, e.available_after, e.pending, e.held_after, e.debt, p_at, e.recorded_at,
           p_idem_keys[e.ord], p_fingerprints[e.ord], p_partners[e.ord], v_cutoff, p_unit, e.kind, e.hash
    FROM entry e
  ), hold AS (
    INSERT INTO ledger.hold (holder_id, seq, amount, lapses_at, partner_id, unit)
    SELECT e.holder_id, e.seq, e.amount, p_lapses_at[e.ord], p_partners[e.ord], p_unit FROM entry e WHERE e.kind = 4
  ), account AS (
    UPDATE ledger.account a
    SET seq = e.seq, available = e.available_after, held = e.held_after, last_at = e.recorded_at, head_hash = e.hash,
        spent = CASE WHEN e.kind = 20 THEN a.spent WHEN a.spent_on = p_day THEN a.spent + e.amount ELSE e.amount END,
        spent_on = CASE e.kind WHEN 20 THEN a.spent_on ELSE p_day END,
        next_due = least(a.next_due, CASE e.kind WHEN 4 THEN p_lapses_at[e.ord] END)
    FROM entry e WHERE a.holder_id = e.holder_id AND a.unit = e.unit
  )
  SELECT e.ord, (CASE e.kind WHEN 20 THEN 3 ELSE 0 END)::smallint, e.seq, e.available_after, e.pending FROM entry e;
END $$;

-- Capture (kind 5) or release (kind 6) holds: ledger.resolve_hold of each item.
CREATE FUNCTION ledger.resolve_many(
  p_unit smallint, p_at timestamptz, p_kinds smallint[], p_holders bigint[], p_ref_seqs bigint[], p_amounts bigint[],
  p_partners int[], p_terms int[], p_idem_keys uuid[], p_fingerprints uuid[])
RETURNS TABLE (ord int, status smallint, seq bigint, available bigint, pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
  v_cutoff int := ledger.enter_cutoff(); v_status smallint[]; v_seq bigint[]; v_available bigint[]; v_pending bigint[];
  v_take int[]; v_due timestamptz[];
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had an account may have recorded in the next one
  SELECT array_agg(status ORDER BY ord), array_agg(seq ORDER BY ord), array_agg(available ORDER BY ord),
         array_agg(pending ORDER BY ord), array_agg(ord ORDER BY ord) FILTER (WHERE status = 0)
  INTO v_status, v_seq, v_available, v_pending, v_take
  FROM (
    SELECT n AS ord, e.seq, coalesce(e.pending_after, a.pending) AS pending,
           -- What was freed of an expired lot expired in the same call, in an entry behind this one: the answer told it.
           CASE WHEN e.seq IS NULL THEN a.available ELSE (
             SELECT greatest(j.available_after - j.debt_after, 0) FROM ledger.journal j
             WHERE j.holder_id = e.holder_id AND j.unit = p_unit AND j.seq >= e.seq AND j.xid = e.xid AND j.kind IN (e.kind, 7)
             ORDER BY j.seq DESC LIMIT 1) END AS available,
           (CASE
             WHEN a.holder_id IS NULL THEN 4
             WHEN e.seq IS NOT NULL THEN CASE WHEN e.fingerprint IS DISTINCT FROM p_fingerprints[n] THEN 2 ELSE 1 END
             WHEN row_number() OVER (PARTITION BY a.holder_id, e.seq IS NULL ORDER BY n) > 1 THEN 20
             WHEN h.seq IS NULL THEN 5
             WHEN h.state = 3 OR h.state = 0 AND h.lapses_at <= p_at THEN 9
             WHEN h.state <> 0 THEN 8
             WHEN p_kinds[n] = 5 AND p_amounts[n] > h.amount THEN 10
             WHEN p_kinds[n] = 5 AND p_amounts[n] <= 0 THEN 5
             ELSE 0
           END)::smallint AS status
    FROM generate_subscripts(p_holders, 1) AS n
    LEFT JOIN ledger.account a ON a.holder_id = p_holders[n] AND a.unit = p_unit
    LEFT JOIN ledger.journal e ON e.holder_id = p_holders[n] AND e.unit = p_unit AND e.idem_key = p_idem_keys[n]
    LEFT JOIN ledger.hold h ON h.holder_id = p_holders[n] AND h.unit = p_unit AND h.seq = p_ref_seqs[n]
                           AND h.partner_id = p_partners[n]
  ) known;
  RETURN QUERY SELECT n, v_status[n], v_seq[n], v_available[n], v_pending[n]
  FROM generate_subscripts(v_status, 1) AS n WHERE v_status[n] <> 0;
  IF v_take IS NULL THEN
    RETURN;
  END IF;
  PERFORM ledger.settle_due(ARRAY(SELECT p_holders[n] FROM unnest(v_take) AS n), p_unit, p_at, v_cutoff);
  WITH item AS (
    SELECT n AS ord, a.holder_id, a.unit, p_kinds[n] AS kind, h.seq AS ref_seq, h.amount,
           CASE p_kinds[n] WHEN 5 THEN p_amounts[n] ELSE 0 END AS capture, a.seq + 1 AS seq,
           greatest(p_at, a.last_at) AS recorded_at, a.available, a.pending, a.held, a.debt, a.head_hash
    FROM unnest(v_take) AS n
    CROSS JOIN LATERAL (
      SELECT * FROM ledger.account x WHERE x.holder_id = p_holders[n] AND x.unit = p_unit OFFSET 0
    ) a
    CROSS JOIN LATERAL (
      SELECT * FROM ledger.hold x WHERE x.holder_id = p_holders[n] AND x.unit = p_unit AND x.seq = p_ref_seqs[n] OFFSET 0
    ) h
  ), leg AS MATERIALIZED (  -- per lot of the hold what is captured, and what goes back
    SELECT i.*, t.lot_seq, t.lot_no, t.issuer_id, t.funder_id, t.lot_terms_id, t.set_aside, t.captured, t.points, t.credit,
           t.leg, t.due_at, t.bytes
    FROM item i
    CROSS JOIN LATERAL (
      SELECT k.*, min(k.expires_at) FILTER (WHERE k.credit = 1) OVER item AS due_at,
             string_agg(ledger.posting_bytes(
               k.leg, 3::smallint, k.credit, k.issuer_id, k.funder_id, p_partners[i.ord], k.lot_terms_id, p_terms[i.ord],
               k.lot_seq, k.lot_no, k.points), ''::bytea) OVER item AS bytes
      FROM (
        SELECT s.*, part.points, part.credit, (row_number() OVER (ORDER BY s.placed, part.credit DESC))::smallint AS leg
        FROM (
          SELECT p.leg AS placed, p.lot_seq, p.lot_no, p.issuer_id, p.funder_id, p.lot_terms_id, p.amount AS set_aside,
                 l.expires_at,
                 greatest(least(p.amount, i.capture - (sum(p.amount) OVER (ORDER BY p.leg) - p.amount)::bigint), 0) AS captured
          FROM ledger.posting p
          JOIN ledger.lot l ON l.holder_id = p.holder_id AND l.unit = p.unit AND l.seq = p.lot_seq AND l.lot_no = p.lot_no
          WHERE p.holder_id = i.holder_id AND p.unit = p_unit AND p.seq = i.ref_seq
        ) s
        CROSS JOIN LATERAL (
          SELECT s.captured AS points, 11::smallint AS credit UNION ALL SELECT s.set_aside - s.captured, 1::smallint
        ) part
        WHERE part.points > 0
      ) k
      WINDOW item AS (ORDER BY k.leg ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ) t
  ), placed AS (
    SELECT *, available + amount - capture AS available_after, held - amount AS held_after FROM leg WHERE leg = 1
  ), entry AS MATERIALIZED (
    SELECT p.*, sha256(p.head_hash || ledger.entry_bytes(
             p.holder_id, p_unit, p.seq, p.kind, p_partners[p.ord], v_cutoff, p.amount, p.ref_seq, p.available_after,
             p.pending, p.held_after, p.debt, p_at, p.recorded_at, p_idem_keys[p.ord], p_fingerprints[p.ord]) || p.bytes) AS hash
    FROM placed p
  ), lot AS (
    UPDATE ledger.lot l
    SET held = l.held - g.set_aside, remaining = l.remaining + g.set_aside - g.captured,
        open = l.held - g.set_aside > 0 OR l.remaining + g.set_aside - g.captured > 0
    FROM leg g
    WHERE l.holder_id = g.holder_id AND l.unit = g.unit AND l.seq = g.lot_seq AND l.lot_no = g.lot_no
      AND (g.credit = 11 OR g.captured = 0)  -- one row of a lot that is captured in part
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT g.holder_id, g.seq, g.lot_seq, g.points, g.issuer_id, g.funder_id, p_partners[g.ord], g.lot_terms_id,
           p_terms[g.ord], v_cutoff, p_unit, g.leg, 3, g.credit, g.lot_no
    FROM leg g
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
    SELECT e.holder_id, e.seq, e.amount, e.ref_seq, e.available_after, e.pending, e.held_after, e.debt, p_at,
           e.recorded_at, p_idem_keys[e.ord], p_fingerprints[e.ord], p_partners[e.ord], v_cutoff, p_unit, e.kind, e.hash
    FROM entry e
  ), hold AS (
    UPDATE ledger.hold h SET state = CASE e.kind WHEN 5 THEN 1 ELSE 2 END, captured = e.capture
    FROM entry e WHERE h.holder_id = e.holder_id AND h.unit = e.unit AND h.seq = e.ref_seq
  ), account AS (
    UPDATE ledger.account a
    SET seq = e.seq, available = e.available_after, held = e.held_after, last_at = e.recorded_at, head_hash = e.hash,
        next_due = least(a.next_due, e.due_at)
    FROM entry e WHERE a.holder_id = e.holder_id AND a.unit = e.unit
  )
  SELECT array_agg(ord), array_agg(seq), array_agg(pending), array_agg(due_at)
  INTO v_take, v_seq, v_pending, v_due FROM entry;
  PERFORM ledger.settle_due(
    ARRAY(SELECT p_holders[t.n] FROM unnest(v_take, v_due) AS t(n, due_at) WHERE t.due_at <= p_at), p_unit, p_at, v_cutoff);
  PERFORM ledger.repay_debts(ARRAY(SELECT p_holders[n] FROM unnest(v_take) AS n), p_unit, p_at, v_cutoff);
  RETURN QUERY
  SELECT t.n, 0::smallint, t.entry_seq, a.available, t.pending_after
  FROM unnest(v_take, v_seq, v_pending) AS t(n, entry_seq, pending_after)
  CROSS JOIN LATERAL (
    SELECT x.available::bigint FROM ledger.account x WHERE x.holder_id = p_holders[t.n] AND x.unit = p_unit OFFSET 0
  ) a;
END $$;

-- Take back parts of accruals: ledger.return_accrual of each item. An item's lots are those behind the item before's
-- last up to p_lot_until. The few whose own lots fall short, where that is to be owed or forgiven (p_shortfalls), are
-- taken back one by one: others of the account's lots may have to serve.
CREATE FUNCTION ledger.return_many(
  p_unit smallint, p_at timestamptz, p_holders bigint[], p_ref_seqs bigint[], p_partners int[], p_idem_keys uuid[],
  p_fingerprints uuid[], p_lot_until int[], p_lot_nos smallint[], p_lot_points bigint[], p_shortfalls smallint[])
RETURNS TABLE (ord int, status smallint, seq bigint, available bigint, pending bigint, taken bigint, owed bigint,
               forgiven bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
  v_cutoff int := ledger.enter_cutoff(); v_status smallint[]; v_seq bigint[]; v_available bigint[]; v_pending bigint[];
  v_taken bigint[]; v_owed bigint[]; v_forgiven bigint[]; v_take int[]; v_short int[]; v_item int; v_from int;
BEGIN
  PERFORM ledger.lock_accounts(p_holders, p_unit);
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had an account may have recorded in the next one
  SELECT array_agg(status ORDER BY ord), array_agg(seq ORDER BY ord), array_agg(available ORDER BY ord),
         array_agg(pending ORDER BY ord), array_agg(taken ORDER BY ord), array_agg(owed ORDER BY ord), array_agg(forgiven ORDER BY ord),
         array_agg(ord ORDER BY ord) FILTER (WHERE status = 0)
  INTO v_status, v_seq, v_available, v_pending, v_taken, v_owed, v_forgiven, v_take
  FROM (
    SELECT n AS ord, e.seq, CASE WHEN e.seq IS NOT NULL THEN greatest(e.available_after - e.debt_after, 0) END AS available,
           e.pending_after AS pending, e.amount - s.owed - s.forgiven AS taken, CASE WHEN e.seq IS NOT NULL THEN s.owed END AS owed,
           CASE WHEN e.seq IS NOT NULL THEN s.forgiven END AS forgiven,
           (CASE
             WHEN a.holder_id IS NULL THEN 4
             WHEN e.seq IS NOT NULL THEN CASE WHEN e.fingerprint = p_fingerprints[n] THEN 1 ELSE 2 END
             WHEN row_number() OVER (PARTITION BY a.holder_id, e.seq IS NULL ORDER BY n) > 1 THEN 20
             WHEN o.seq IS NULL THEN 5
             ELSE 0
           END)::smallint AS status
    FROM generate_subscripts(p_holders, 1) AS n
    LEFT JOIN ledger.account a ON a.holder_id = p_holders[n] AND a.unit = p_unit
    LEFT JOIN ledger.journal e ON e.holder_id = p_holders[n] AND e.unit = p_unit AND e.idem_key = p_idem_keys[n]
    LEFT JOIN ledger.journal o ON o.holder_id = p_holders[n] AND o.unit = p_unit AND o.seq = p_ref_seqs[n] AND o.kind = 1
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(x.owed), 0)::bigint AS owed, coalesce(sum(x.forgiven), 0)::bigint AS forgiven
      FROM ledger.shortfall x WHERE x.holder_id = p_holders[n] AND x.unit = p_unit AND x.seq = e.seq
    ) s
  ) known;
  RETURN QUERY SELECT n, v_status[n], v_seq[n], v_available[n], v_pending[n], v_taken[n], v_owed[n], v_forgiven[n]
  FROM generate_subscripts(v_status, 1) AS n WHERE v_status[n] <> 0;
  IF v_take IS NULL THEN
    RETURN;
  END IF;
  PERFORM ledger.settle_due(ARRAY(SELECT p_holders[n] FROM unnest(v_take) AS n), p_unit, p_at, v_cutoff);
  v_short := ARRAY(
    SELECT n FROM unnest(v_take) AS n
    WHERE p_shortfalls[n] > 0 AND EXISTS (
      SELECT FROM generate_series(coalesce(p_lot_until[n - 1], 0) + 1, p_lot_until[n]) AS k
      CROSS JOIN LATERAL (
        SELECT l.remaining < p_lot_points[k] OR EXISTS (
                 SELECT FROM ledger.shortfall x
                 WHERE x.holder_id = p_holders[n] AND x.unit = p_unit AND x.lot_seq = p_ref_seqs[n] AND x.lot_no = p_lot_nos[k])
               AS is_short
        FROM ledger.lot l
        WHERE l.holder_id = p_holders[n] AND l.unit = p_unit AND l.seq = p_ref_seqs[n] AND l.lot_no = p_lot_nos[k] OFFSET 0
      ) lot
      WHERE lot.is_short));
  FOREACH v_item IN ARRAY v_short LOOP
    v_from := coalesce(p_lot_until[v_item - 1], 0) + 1;
    RETURN QUERY
    SELECT v_item, r.status, r.seq, r.available, r.pending, r.taken, r.owed, r.forgiven
    FROM ledger.return_accrual(
      p_holders[v_item], p_unit, p_ref_seqs[v_item], p_lot_nos[v_from:p_lot_until[v_item]], p_lot_points[v_from:p_lot_until[v_item]],
      p_partners[v_item], p_idem_keys[v_item], p_fingerprints[v_item], p_at, p_shortfalls[v_item]) r;
  END LOOP;
  v_take := ARRAY(SELECT n FROM unnest(v_take) AS n WHERE n <> ALL (v_short));
  RETURN QUERY
  WITH item AS (
    SELECT n AS ord, a.holder_id, a.unit, p_ref_seqs[n] AS ref_seq, a.seq + 1 AS seq, greatest(p_at, a.last_at) AS recorded_at,
           a.available::bigint, a.pending::bigint, a.held, a.debt, a.head_hash
    FROM unnest(v_take) AS n
    CROSS JOIN LATERAL (
      SELECT * FROM ledger.account x WHERE x.holder_id = p_holders[n] AND x.unit = p_unit OFFSET 0
    ) a
  ), leg AS MATERIALIZED (  -- one row per lot that gives; one without a lot where there is nothing left
    SELECT i.*, t.lot_no, t.issuer_id, t.funder_id, t.lot_terms_id, t.take, t.debit, t.leg, t.bytes,
           coalesce(t.from_available, 0)::bigint AS from_available, coalesce(t.from_pending, 0)::bigint AS from_pending
    FROM item i
    LEFT JOIN LATERAL (
      SELECT k.*, sum(k.take) FILTER (WHERE k.debit = 1) OVER item AS from_available,
             sum(k.take) FILTER (WHERE k.debit = 2) OVER item AS from_pending,
             string_agg(ledger.posting_bytes(
               k.leg, k.debit, 13::smallint, k.issuer_id, k.funder_id, p_partners[i.ord], k.lot_terms_id, k.lot_terms_id,
               i.ref_seq, k.lot_no, k.take), ''::bytea) OVER item AS bytes
      FROM (
        SELECT l.lot_no, l.issuer_id, l.funder_id, l.terms_id AS lot_terms_id, least(l.remaining, p_lot_points[n]) AS take,
               (CASE WHEN l.active THEN 1 ELSE 2 END)::smallint AS debit,
               (row_number() OVER (ORDER BY l.lot_no))::smallint AS leg
        FROM generate_series(coalesce(p_lot_until[i.ord - 1], 0) + 1, p_lot_until[i.ord]) AS n
        JOIN ledger.lot l ON l.holder_id = i.holder_id AND l.unit = p_unit AND l.seq = i.ref_seq AND l.lot_no = p_lot_nos[n]
        WHERE l.remaining > 0 AND p_lot_points[n] > 0
      ) k
      WINDOW item AS (ORDER BY k.leg ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ) t ON true
  ), placed AS (
    SELECT *, from_available + from_pending AS taken, available - from_available AS available_after,
           pending - from_pending AS pending_after
    FROM leg WHERE coalesce(leg, 1) = 1
  ), entry AS MATERIALIZED (
    SELECT p.*, sha256(p.head_hash || ledger.entry_bytes(
             p.holder_id, p_unit, p.seq, 8::smallint, p_partners[p.ord], v_cutoff, p.taken, p.ref_seq, p.available_after,
             p.pending_after, p.held, p.debt, p_at, p.recorded_at, p_idem_keys[p.ord], p_fingerprints[p.ord])
             || coalesce(p.bytes, ''::bytea)) AS hash
    FROM placed p
  ), lot AS (
    UPDATE ledger.lot l
    SET remaining = l.remaining - g.take, returned = l.returned + g.take, open = l.remaining - g.take > 0 OR l.held > 0
    FROM leg g WHERE l.holder_id = g.holder_id AND l.unit = g.unit AND l.seq = g.ref_seq AND l.lot_no = g.lot_no
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT g.holder_id, g.seq, g.ref_seq, g.take, g.issuer_id, g.funder_id, p_partners[g.ord], g.lot_terms_id,
           g.lot_terms_id, v_cutoff, p_unit, g.leg, g.debit, 13, g.lot_no
    FROM leg g WHERE g.leg IS NOT NULL
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
    SELECT e.holder_id, e.seq, e.taken, e.ref_seq, e.available_after, e.pending_after, e.held, e.debt, p_at, e.recorded_at,
           p_idem_keys[e.ord], p_fingerprints[e.ord], p_partners[e.ord], v_cutoff, p_unit, 8, e.hash
    FROM entry e
  ), account AS (
    UPDATE ledger.account a
    SET seq = e.seq, available = e.available_after, pending = e.pending_after, last_at = e.recorded_at, head_hash = e.hash
    FROM entry e WHERE a.holder_id = e.holder_id AND a.unit = e.unit
  )
  SELECT e.ord, 0::smallint, e.seq, e.available_after, e.pending_after, e.taken, 0::bigint, 0::bigint FROM entry e;
END $$;

-- Which of these accounts somebody else has locked at this moment; waits for nobody.
CREATE FUNCTION ledger.busy_accounts(p_holders bigint[], p_unit smallint) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH free AS MATERIALIZED (
    SELECT holder_id FROM ledger.account WHERE holder_id = ANY (p_holders) AND unit = p_unit FOR NO KEY UPDATE SKIP LOCKED
  )
  SELECT a.holder_id FROM ledger.account a
  WHERE a.holder_id = ANY (p_holders) AND a.unit = p_unit AND NOT EXISTS (SELECT FROM free f WHERE f.holder_id = a.holder_id)
$$;
