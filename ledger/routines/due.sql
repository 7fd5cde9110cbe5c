-- Apply what is due, each at its own due instant: activations, lapses of holds, expiries. The caller holds the locks.
-- Held points do not expire: they wait for their hold. What a lapse frees goes back to its own lot, and expires with it,
-- at once where the lot's expiry has passed. A lot expires only if it may (ledger/routines/expiry_notices.sql). What becomes
-- available repays on its own day what the account owes (ledger/routines/debts.sql).
CREATE FUNCTION ledger.settle_due(p_holders bigint[], p_unit smallint, p_at timestamptz, p_cutoff int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_accounts int; v_owing bigint[]; v_notice_days int;
BEGIN
  PERFORM FROM ledger.account WHERE holder_id = ANY (p_holders) AND unit = p_unit AND next_due <= p_at;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  v_notice_days := (SELECT u.notice_days FROM ledger.unit u WHERE u.unit = p_unit);
  v_owing := ARRAY(SELECT a.holder_id FROM ledger.account a
                   WHERE a.holder_id = ANY (p_holders) AND a.unit = p_unit AND a.debt > 0);
  FOR n IN 1 .. cardinality(v_owing) LOOP
    PERFORM ledger.settle_owing(v_owing[n], p_unit, p_at, p_cutoff);
  END LOOP;
  WITH due AS MATERIALIZED (  -- one row per lot and what becomes of it; one without a kind where nothing does
    SELECT a.holder_id, d.lot_seq, d.lot_no, d.issuer_id, d.funder_id, d.terms_id, d.points, d.kind, d.due_at, d.ref_seq,
           a.seq + CASE WHEN d.kind IS NULL THEN 0 ELSE dense_rank() OVER (
             PARTITION BY a.holder_id ORDER BY d.due_at, d.turn, d.ref_seq) END AS seq,
           a.available, a.pending, a.held, a.debt, a.last_at, a.head_hash
    FROM ledger.account a
    LEFT JOIN LATERAL (
      SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id, e.points, e.kind, e.turn, e.due_at, e.ref_seq
      FROM ledger.lot l
      CROSS JOIN LATERAL (
        SELECT v_notice_days = 0 OR l.expires_at <= p_at AND ledger.may_expire(l.holder_id, l.unit, l.seq, l.lot_no) AS may_expire
      ) x
      CROSS JOIN LATERAL (
        SELECT 2::smallint AS kind, 1 AS turn, l.activates_at AS due_at, l.remaining AS points, NULL::bigint AS ref_seq
        WHERE NOT l.active AND l.activates_at <= p_at
        UNION ALL
        SELECT 7::smallint, 3, l.expires_at, l.remaining, NULL WHERE l.remaining > 0 AND l.expires_at <= p_at AND x.may_expire
        UNION ALL
        SELECT k.kind, k.turn, k.due_at, p.amount, k.ref_seq
        FROM ledger.hold h
        JOIN ledger.posting p ON p.holder_id = h.holder_id AND p.unit = h.unit AND p.seq = h.seq
        CROSS JOIN LATERAL (
          SELECT 10::smallint AS kind, 2 AS turn, h.lapses_at AS due_at, h.seq AS ref_seq
          UNION ALL
          SELECT 7::smallint, 3, greatest(h.lapses_at, l.expires_at), NULL WHERE l.expires_at <= p_at AND x.may_expire
        ) k
        WHERE l.held > 0 AND h.holder_id = l.holder_id AND h.unit = l.unit AND h.state = 0 AND h.lapses_at <= p_at
          AND p.lot_seq = l.seq AND p.lot_no = l.lot_no
      ) e
      WHERE l.holder_id = a.holder_id AND l.unit = a.unit AND l.open
    ) d ON true
    WHERE a.holder_id = ANY (p_holders) AND a.unit = p_unit AND a.next_due <= p_at
  ), leg AS MATERIALIZED (
    SELECT *, CASE kind WHEN 2 THEN 2 WHEN 10 THEN 3 ELSE 1 END::smallint AS debit,
           CASE kind WHEN 7 THEN 12 ELSE 1 END::smallint AS credit,
           CASE kind WHEN 2 THEN issuer_id ELSE 0 END AS partner_id,
           (row_number() OVER (PARTITION BY holder_id, seq ORDER BY lot_seq, lot_no, points))::smallint AS leg
    FROM due WHERE kind IS NOT NULL
  ), entry AS (
    SELECT d.holder_id, d.seq, d.kind, d.due_at, d.ref_seq, coalesce(sum(d.points), 0)::bigint AS amount,
           min(d.available) AS available, min(d.pending) AS pending, min(d.held) AS held, min(d.debt) AS debt,
           min(d.last_at) AS last_at, min(d.head_hash) AS head_hash
    FROM due d GROUP BY d.holder_id, d.seq, d.kind, d.due_at, d.ref_seq
  ), placed AS (
    SELECT holder_id, seq, kind, due_at, ref_seq, amount, debt, head_hash, greatest(due_at, last_at) AS recorded_at,
           (available + sum(CASE kind WHEN 7 THEN -amount ELSE amount END) OVER w)::bigint AS available_after,
           (pending - sum(CASE kind WHEN 2 THEN amount ELSE 0 END) OVER w)::bigint AS pending_after,
           (held - sum(CASE kind WHEN 10 THEN amount ELSE 0 END) OVER w)::bigint AS held_after
    FROM entry WINDOW w AS (PARTITION BY holder_id ORDER BY seq)
  ), chained AS MATERIALIZED (
    SELECT p.*, CASE WHEN p.kind IS NULL THEN p.head_hash ELSE ledger.chain(p.head_hash, ledger.entry_bytes(
             p.holder_id, p_unit, p.seq, p.kind, 0, p_cutoff, p.amount, p.ref_seq, p.available_after, p.pending_after,
             p.held_after, p.debt, p.due_at, p.recorded_at, NULL, NULL) || l.bytes)
             OVER (PARTITION BY p.holder_id ORDER BY p.seq) END AS hash
    FROM placed p
    LEFT JOIN (
      SELECT holder_id, seq,
             string_agg(ledger.posting_bytes(leg, debit, credit, issuer_id, funder_id, partner_id, terms_id, terms_id,
                                             lot_seq, lot_no, points), ''::bytea ORDER BY leg) AS bytes
      FROM leg GROUP BY holder_id, seq
    ) l USING (holder_id, seq)
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, partner_id, cutoff_id, unit, kind, hash)
    SELECT holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt, due_at, recorded_at,
           0, p_cutoff, p_unit, kind, hash FROM chained WHERE kind IS NOT NULL
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT holder_id, seq, lot_seq, points, issuer_id, funder_id, partner_id, terms_id, terms_id, p_cutoff, p_unit, leg,
           debit, credit, lot_no FROM leg
  ), hold AS (
    UPDATE ledger.hold h SET state = 3
    FROM (SELECT DISTINCT holder_id, ref_seq FROM due WHERE kind = 10) d
    WHERE h.holder_id = d.holder_id AND h.unit = p_unit AND h.seq = d.ref_seq
  ), lot AS (
    UPDATE ledger.lot l
    SET active = l.active OR d.activated, remaining = l.remaining + d.freed - d.expired, held = l.held - d.freed,
        open = l.held - d.freed > 0 OR l.remaining + d.freed - d.expired > 0
    FROM (SELECT holder_id, lot_seq, lot_no, bool_or(kind = 2) AS activated,
                 coalesce(sum(points) FILTER (WHERE kind = 10), 0)::bigint AS freed,
                 coalesce(sum(points) FILTER (WHERE kind = 7), 0)::bigint AS expired
          FROM due WHERE kind IS NOT NULL GROUP BY holder_id, lot_seq, lot_no) d
    WHERE l.holder_id = d.holder_id AND l.unit = p_unit AND l.seq = d.lot_seq AND l.lot_no = d.lot_no
  )
  UPDATE ledger.account a
  SET seq = h.seq, available = h.available_after, pending = h.pending_after, held = h.held_after, head_hash = h.hash,
      last_at = greatest(a.last_at, h.recorded_at),
      next_due = least(coalesce((
        SELECT min(CASE WHEN l.active OR l.activates_at <= p_at THEN l.expires_at ELSE l.activates_at END)
        FROM ledger.lot l
        WHERE l.holder_id = a.holder_id AND l.unit = p_unit AND l.open AND l.expires_at > p_at
      ), 'infinity'), coalesce((
        SELECT min(o.lapses_at) FROM ledger.hold o
        WHERE o.holder_id = a.holder_id AND o.unit = p_unit AND o.state = 0 AND o.lapses_at > p_at
      ), 'infinity'))
  FROM (SELECT DISTINCT ON (holder_id) holder_id, seq, available_after, pending_after, held_after, recorded_at, hash
        FROM chained ORDER BY holder_id, seq DESC) h
  WHERE a.holder_id = h.holder_id AND a.unit = p_unit;
  GET DIAGNOSTICS v_accounts = ROW_COUNT;
  IF cardinality(v_owing) > 0 THEN
    PERFORM ledger.repay_debts(v_owing, p_unit, p_at, p_cutoff);
  END IF;
  RETURN v_accounts;
END $$;

-- Sweep: apply what is due for up to p_limit accounts; returns how many were touched, 0 when none is left.
CREATE FUNCTION ledger.sweep_due(p_unit smallint, p_at timestamptz, p_limit int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); v_holders bigint[];
BEGIN
  SELECT array_agg(holder_id) INTO v_holders FROM (
    SELECT holder_id FROM ledger.account WHERE unit = p_unit AND next_due <= p_at ORDER BY holder_id LIMIT p_limit
    FOR NO KEY UPDATE) due;
  IF v_holders IS NULL THEN
    RETURN 0;
  END IF;
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had an account may have recorded in the next one
  RETURN ledger.settle_due(v_holders, p_unit, p_at, v_cutoff);
END $$;
