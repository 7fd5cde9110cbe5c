-- The ledger's operations. Each is one call, takes its locks itself, answers with a status and never raises for a
-- business "no". Order inside: cut-off, account lock, idempotency probe, what is due, the check, the inserts.
--
-- status: 0 done, 1 replayed, 2 key used for another input, 3 insufficient points, 4 no such account,
--         5 nothing to take back, 6 spending is locked, 7 the day's cap
-- account kinds: 1 available, 2 pending, 3 held, 4 debt; 10 issued, 11 redeemed, 12 expired, 13 returned
-- entry kinds: 1 accrual, 2 activation, 3 redemption, 7 expiry, 8 return, 9 refund, 20 decline

-- The open cut-off's number, under its shared lock. Read, lock, read again: the closer may have passed in between,
-- and an entry recorded in a cut-off that is already counted would be lost to settlement.
CREATE FUNCTION ledger.enter_cutoff() RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_cutoff int;
BEGIN
  LOOP
    SELECT cutoff_id INTO STRICT v_cutoff FROM ledger.cutoff WHERE state = 'OPEN';
    PERFORM pg_advisory_xact_lock_shared(7305002, v_cutoff);
    PERFORM FROM ledger.cutoff WHERE cutoff_id = v_cutoff AND state = 'OPEN';
    IF FOUND THEN
      RETURN v_cutoff;
    END IF;
  END LOOP;
END $$;

-- First step of closing: entries from here on belong to the next cut-off. Returns the number of the one that drains;
-- one that an earlier closer left draining is handed out again.
CREATE FUNCTION ledger.drain_cutoff(p_at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int;
BEGIN
  SELECT cutoff_id INTO v_cutoff FROM ledger.cutoff WHERE state = 'DRAINING' ORDER BY cutoff_id LIMIT 1 FOR UPDATE;
  IF FOUND THEN
    RETURN v_cutoff;
  END IF;
  SELECT cutoff_id INTO STRICT v_cutoff FROM ledger.cutoff WHERE state = 'OPEN' FOR UPDATE;
  UPDATE ledger.cutoff SET state = 'DRAINING', cut_at = p_at WHERE cutoff_id = v_cutoff;
  INSERT INTO ledger.cutoff (cutoff_id, state, opened_at) VALUES (v_cutoff + 1, 'OPEN', p_at);
  RETURN v_cutoff;
END $$;

-- Second step, in a transaction of its own: wait for every writer that holds the cut-off, then count.
CREATE FUNCTION ledger.seal_cutoff(p_cutoff int) RETURNS ledger.cutoff
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v ledger.cutoff;
BEGIN
  PERFORM pg_advisory_xact_lock(7305002, p_cutoff);
  UPDATE ledger.cutoff c
  SET state = 'CUT',
      journal_count = (SELECT count(*) FROM ledger.journal WHERE cutoff_id = p_cutoff),
      posting_count = (SELECT count(*) FROM ledger.posting WHERE cutoff_id = p_cutoff),
      posting_points = (SELECT coalesce(sum(amount), 0) FROM ledger.posting WHERE cutoff_id = p_cutoff)
  WHERE cutoff_id = p_cutoff AND state = 'DRAINING';
  SELECT * INTO STRICT v FROM ledger.cutoff WHERE cutoff_id = p_cutoff;
  RETURN v;
END $$;

-- New holders, each with an empty account in the unit; returns their numbers.
CREATE FUNCTION ledger.open_accounts(p_count int, p_unit smallint) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  INSERT INTO ledger.account (holder_id, unit)
  SELECT nextval('ledger.holder_id_seq'), p_unit FROM generate_series(1, p_count)
  RETURNING holder_id
$$;

-- A holder's wish that nothing be spent, or its end.
CREATE FUNCTION ledger.lock_spending(p_holder bigint, p_unit smallint, p_locked boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  UPDATE ledger.account SET spend_locked = p_locked WHERE holder_id = p_holder AND unit = p_unit;
  RETURN FOUND;
END $$;

-- Lock accounts in one order for everyone. NO KEY, so that foreign keys do not wait.
CREATE FUNCTION ledger.lock_accounts(p_holders bigint[], p_unit smallint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  PERFORM FROM ledger.account WHERE holder_id = ANY (p_holders) AND unit = p_unit ORDER BY holder_id
  FOR NO KEY UPDATE;
END $$;

-- Apply activations and expiries that are due, each at its own due instant; the caller holds the locks.
-- Held points do not expire: they wait for their hold.
CREATE FUNCTION ledger.settle_due(p_holders bigint[], p_unit smallint, p_at timestamptz, p_cutoff int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_accounts int;
BEGIN
  PERFORM FROM ledger.account WHERE holder_id = ANY (p_holders) AND unit = p_unit AND next_due <= p_at;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  WITH due AS MATERIALIZED (  -- one row per lot and what becomes of it; one without a kind where nothing does
    SELECT a.holder_id, d.lot_seq, d.lot_no, d.issuer_id, d.funder_id, d.terms_id, d.remaining, d.kind, d.due_at,
           a.seq + CASE WHEN d.kind IS NULL THEN 0
                        ELSE dense_rank() OVER (PARTITION BY a.holder_id ORDER BY d.due_at, d.kind) END AS seq,
           a.available, a.pending, a.held, a.debt, a.last_at
    FROM ledger.account a
    LEFT JOIN LATERAL (
      SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.remaining, e.kind, e.due_at
      FROM ledger.lot l
      CROSS JOIN LATERAL (
        SELECT 2::smallint AS kind, l.activates_at AS due_at WHERE NOT l.active AND l.activates_at <= p_at
        UNION ALL
        SELECT 7::smallint, l.expires_at WHERE l.remaining > 0 AND l.expires_at <= p_at
      ) e
      WHERE l.holder_id = a.holder_id AND l.unit = a.unit AND l.open
    ) d ON true
    WHERE a.holder_id = ANY (p_holders) AND a.unit = p_unit AND a.next_due <= p_at
  ), entry AS (
    SELECT holder_id, seq, kind, due_at, coalesce(sum(remaining), 0)::bigint AS amount, min(available) AS available,
           min(pending) AS pending, min(held) AS held, min(debt) AS debt, min(last_at) AS last_at
    FROM due GROUP BY holder_id, seq, kind, due_at
  ), placed AS MATERIALIZED (
    SELECT holder_id, seq, kind, due_at, amount, held, debt, greatest(due_at, last_at) AS recorded_at,
           (available + sum(CASE kind WHEN 2 THEN amount ELSE -amount END) OVER w)::bigint AS available_after,
           (pending - sum(CASE kind WHEN 2 THEN amount ELSE 0 END) OVER w)::bigint AS pending_after
    FROM entry WINDOW w AS (PARTITION BY holder_id ORDER BY seq)
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, partner_id, cutoff_id, unit, kind)
    SELECT holder_id, seq, amount, available_after, pending_after, held, debt, due_at, recorded_at,
           0, p_cutoff, p_unit, kind FROM placed WHERE kind IS NOT NULL
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT holder_id, seq, lot_seq, remaining, issuer_id, funder_id, CASE kind WHEN 2 THEN issuer_id ELSE 0 END,
           terms_id, terms_id, p_cutoff, p_unit,
           row_number() OVER (PARTITION BY holder_id, seq ORDER BY lot_seq, lot_no),
           CASE kind WHEN 2 THEN 2 ELSE 1 END, CASE kind WHEN 2 THEN 1 ELSE 12 END, lot_no
    FROM due WHERE kind IS NOT NULL
  ), lot AS (
    UPDATE ledger.lot l
    SET active = l.active OR d.activated,
        remaining = CASE WHEN d.expired THEN 0 ELSE l.remaining END,
        open = l.held > 0 OR (l.remaining > 0 AND NOT d.expired)
    FROM (SELECT holder_id, lot_seq, lot_no, bool_or(kind = 2) AS activated, bool_or(kind = 7) AS expired
          FROM due WHERE kind IS NOT NULL GROUP BY holder_id, lot_seq, lot_no) d
    WHERE l.holder_id = d.holder_id AND l.unit = p_unit AND l.seq = d.lot_seq AND l.lot_no = d.lot_no
  )
  UPDATE ledger.account a
  SET seq = h.seq, available = h.available_after, pending = h.pending_after,
      last_at = greatest(a.last_at, h.recorded_at),
      next_due = coalesce((
        SELECT min(CASE WHEN l.active OR l.activates_at <= p_at THEN l.expires_at ELSE l.activates_at END)
        FROM ledger.lot l
        WHERE l.holder_id = a.holder_id AND l.unit = p_unit AND l.open AND l.remaining > 0 AND l.expires_at > p_at
      ), 'infinity')
  FROM (SELECT DISTINCT ON (holder_id) holder_id, seq, available_after, pending_after, recorded_at
        FROM placed ORDER BY holder_id, seq DESC) h
  WHERE a.holder_id = h.holder_id AND a.unit = p_unit;
  GET DIAGNOSTICS v_accounts = ROW_COUNT;
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
  RETURN ledger.settle_due(v_holders, p_unit, p_at, v_cutoff);
END $$;

-- What the journal already knows of an idempotency key, for an account that the caller has locked.
CREATE FUNCTION ledger.find_entry(p_holder bigint, p_unit smallint, p_idem_key uuid)
RETURNS TABLE (fingerprint uuid, kind smallint, seq bigint, available_after bigint, pending_after bigint)
LANGUAGE sql STABLE AS $$
  SELECT j.fingerprint, j.kind, j.seq, j.available_after, j.pending_after
  FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key
$$;

-- Accrue a batch: an item is an entry, and its lots are those behind the item before's last up to p_lot_until. Several
-- items of one account are taken in order. Only positions in p_take are recorded; the caller holds the locks, has
-- probed the keys and applied what is due. A lot whose activation lies after p_at is pending.
-- Arrays are read by position instead of joined, so that a batch costs in proportion to its size.
CREATE FUNCTION ledger.record_accruals(
  p_unit smallint, p_at timestamptz, p_cutoff int, p_take int[],
  p_holders bigint[], p_partners int[], p_idem_keys uuid[], p_fingerprints uuid[], p_lot_until int[],
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[], p_lot_activates timestamptz[],
  p_lot_expires timestamptz[])
RETURNS TABLE (ord int, seq bigint, available_after bigint, pending_after bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH item AS (
    SELECT o AS ord, p_holders[o] AS holder_id, coalesce(p_lot_until[o - 1], 0) + 1 AS lot_from,
           p_lot_until[o] AS lot_until
    FROM unnest(p_take) AS o
  ), placed AS MATERIALIZED (
    SELECT i.ord, i.holder_id, i.lot_from, i.lot_until, a.held, a.debt, s.points, s.due_at,
           greatest(p_at, a.last_at) AS recorded_at, a.seq + row_number() OVER w AS seq,
           (a.available + sum(s.at_once) OVER w)::bigint AS available_after,
           (a.pending + sum(s.points - s.at_once) OVER w)::bigint AS pending_after
    FROM item i
    JOIN ledger.account a ON a.holder_id = i.holder_id AND a.unit = p_unit
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(p_lot_points[n]), 0)::bigint AS points,
             coalesce(sum(p_lot_points[n]) FILTER (WHERE p_lot_activates[n] <= p_at), 0)::bigint AS at_once,
             min(CASE WHEN p_lot_activates[n] <= p_at THEN p_lot_expires[n] ELSE p_lot_activates[n] END) AS due_at
      FROM generate_series(i.lot_from, i.lot_until) n
    ) s
    WINDOW w AS (PARTITION BY i.holder_id ORDER BY i.ord)
  ), journal AS (
    INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind)
    SELECT holder_id, seq, points, available_after, pending_after, held, debt, p_at, recorded_at, p_idem_keys[ord],
           p_fingerprints[ord], p_partners[ord], p_cutoff, p_unit, 1 FROM placed
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
    SET seq = n.seq, available = n.available, pending = n.pending, last_at = n.recorded_at,
        next_due = least(a.next_due, n.due_at)
    FROM (SELECT holder_id, max(seq) AS seq, max(available_after) AS available, max(pending_after) AS pending,
                 max(recorded_at) AS recorded_at, min(due_at) AS due_at
          FROM placed GROUP BY holder_id) n
    WHERE a.holder_id = n.holder_id AND a.unit = p_unit
  )
  SELECT ord, seq, available_after, pending_after FROM placed;
END $$;

-- Accrue one entry of one or several lots, on its own.
CREATE FUNCTION ledger.accrue(
  p_holder bigint, p_unit smallint, p_partner int, p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  p_lot_issuers int[], p_lot_funders int[], p_lot_terms int[], p_lot_points bigint[],
  p_lot_activates timestamptz[], p_lot_expires timestamptz[],
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); v_due timestamptz; e record; n int := cardinality(p_lot_points);
BEGIN
  SELECT a.next_due INTO v_due FROM ledger.account a WHERE a.holder_id = p_holder AND a.unit = p_unit
  FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint = p_fingerprint THEN 1 ELSE 2 END;
    seq := e.seq; available := e.available_after; pending := e.pending_after;
    RETURN;
  END IF;
  IF v_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
  END IF;
  SELECT 0, r.seq, r.available_after, r.pending_after INTO status, seq, available, pending
  FROM ledger.record_accruals(
    p_unit, p_at, v_cutoff, ARRAY[1], ARRAY[p_holder], ARRAY[p_partner], ARRAY[p_idem_key], ARRAY[p_fingerprint],
    ARRAY[n], p_lot_issuers, p_lot_funders, p_lot_terms, p_lot_points, p_lot_activates, p_lot_expires) r;
END $$;

-- Redeem: the lots that expire first go first. Too few points is a final "no" and is journalled, so that a retry
-- with the same key hears the same answer.
CREATE FUNCTION ledger.redeem(
  p_holder bigint, p_unit smallint, p_amount bigint, p_partner int, p_terms int, p_idem_key uuid, p_fingerprint uuid,
  p_at timestamptz, p_day date,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_taken bigint;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint IS DISTINCT FROM p_fingerprint THEN 2 WHEN e.kind = 20 THEN 3 ELSE 1 END;
    seq := e.seq; available := e.available_after; pending := e.pending_after;
    RETURN;
  END IF;
  IF a.spend_locked THEN
    status := 6; available := a.available; pending := a.pending;
    RETURN;
  END IF;
  IF a.spent + p_amount > a.daily_cap AND a.spent_on = p_day OR p_amount > a.daily_cap THEN
    status := 7; available := a.available; pending := a.pending;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  IF a.available < p_amount THEN
    status := 3;
  ELSE
    status := 0;
    a.available := a.available - p_amount;
    a.spent := p_amount + CASE WHEN a.spent_on = p_day THEN a.spent ELSE 0 END;
    a.spent_on := p_day;
    WITH queue AS (
      SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.remaining,
             (sum(l.remaining) OVER (ORDER BY l.expires_at, l.seq, l.lot_no) - l.remaining)::bigint AS ahead
      FROM ledger.lot l
      WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.open AND l.active AND l.remaining > 0
    ), taken AS MATERIALIZED (
      SELECT *, least(remaining, p_amount - ahead) AS take, row_number() OVER (ORDER BY ahead) AS leg
      FROM queue WHERE ahead < p_amount
    ), lot AS (
      UPDATE ledger.lot l SET remaining = l.remaining - t.take, open = l.remaining - t.take > 0 OR l.held > 0
      FROM taken t WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = t.lot_seq AND l.lot_no = t.lot_no
    ), posting AS (
      INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                  terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
      SELECT p_holder, a.seq, lot_seq, take, issuer_id, funder_id, p_partner, terms_id, p_terms, v_cutoff, p_unit,
             leg, 1, 11, lot_no FROM taken
      RETURNING amount
    )
    SELECT coalesce(sum(amount), 0) INTO v_taken FROM posting;
    IF v_taken <> p_amount THEN
      RAISE EXCEPTION 'ledger corrupt: account % of unit % says % available, its lots gave % of %',
        p_holder, p_unit, a.available + p_amount, v_taken, p_amount USING ERRCODE = 'LX001';
    END IF;
  END IF;
  INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind)
  VALUES (p_holder, a.seq, p_amount, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, p_partner, v_cutoff, p_unit, CASE status WHEN 3 THEN 20 ELSE 3 END);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, last_at = a.last_at, spent = a.spent, spent_on = a.spent_on
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  seq := a.seq; available := a.available; pending := a.pending;
END $$;

-- Take back part of an accrual: from its own lots, pending or available, as far as they still hold points.
-- p_lot_points asks per lot number; `taken` tells what was there. Held points stay with their hold.
CREATE FUNCTION ledger.return_accrual(
  p_holder bigint, p_unit smallint, p_ref_seq bigint, p_lot_nos smallint[], p_lot_points bigint[], p_partner int,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint, OUT taken bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_available bigint; v_pending bigint;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint = p_fingerprint THEN 1 ELSE 2 END;
    seq := e.seq; available := e.available_after; pending := e.pending_after; taken := e.amount;
    RETURN;
  END IF;
  PERFORM FROM ledger.journal j
  WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.seq = p_ref_seq AND j.kind = 1;
  IF NOT FOUND THEN
    status := 5;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  WITH asked AS (
    SELECT l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.active, least(l.remaining, t.points) AS take
    FROM unnest(p_lot_nos, p_lot_points) AS t(lot_no, points)
    JOIN ledger.lot l ON l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = t.lot_no
    WHERE l.remaining > 0 AND t.points > 0
  ), lot AS (
    UPDATE ledger.lot l
    SET remaining = l.remaining - k.take, returned = l.returned + k.take, open = l.remaining - k.take > 0 OR l.held > 0
    FROM asked k
    WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = k.lot_no
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT p_holder, a.seq, p_ref_seq, take, issuer_id, funder_id, p_partner, terms_id, terms_id, v_cutoff, p_unit,
           row_number() OVER (ORDER BY lot_no), CASE WHEN active THEN 1 ELSE 2 END, 13, lot_no FROM asked
    RETURNING debit, amount
  )
  SELECT coalesce(sum(amount) FILTER (WHERE debit = 1), 0), coalesce(sum(amount) FILTER (WHERE debit = 2), 0)
  INTO v_available, v_pending FROM posting;
  taken := v_available + v_pending;
  a.available := a.available - v_available;
  a.pending := a.pending - v_pending;
  INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind)
  VALUES (p_holder, a.seq, taken, p_ref_seq, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, p_partner, v_cutoff, p_unit, 8);
  UPDATE ledger.account x SET seq = a.seq, available = a.available, pending = a.pending, last_at = a.last_at
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  status := 0; seq := a.seq; available := a.available; pending := a.pending;
END $$;

-- Give back points of a redemption into the lots they came from, the last consumed first, never more than each gave.
-- A lot that has expired meanwhile is good for p_grace from now.
CREATE FUNCTION ledger.refund_redemption(
  p_holder bigint, p_unit smallint, p_ref_seq bigint, p_amount bigint, p_grace interval, p_partner int,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_room bigint; v_due timestamptz;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = p_idem_key;
  IF FOUND THEN
    status := CASE WHEN e.fingerprint = p_fingerprint THEN 1 ELSE 2 END;
    seq := e.seq; available := e.available_after; pending := e.pending_after;
    RETURN;
  END IF;
  SELECT j.amount - coalesce((SELECT sum(r.amount) FROM ledger.journal r
                              WHERE r.holder_id = p_holder AND r.unit = p_unit AND r.seq > p_ref_seq
                                AND r.kind = 9 AND r.ref_seq = p_ref_seq), 0)
  INTO v_room FROM ledger.journal j
  WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.seq = p_ref_seq AND j.kind = 3;
  IF v_room IS NULL OR v_room < p_amount OR p_amount <= 0 THEN
    status := 5;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  WITH refunded AS (
    SELECT p.lot_seq, p.lot_no, sum(p.amount) AS amount
    FROM ledger.journal r JOIN ledger.posting p USING (holder_id, unit, seq)
    WHERE r.holder_id = p_holder AND r.unit = p_unit AND r.seq > p_ref_seq AND r.kind = 9 AND r.ref_seq = p_ref_seq
    GROUP BY p.lot_seq, p.lot_no
  ), source AS (
    SELECT p.leg, p.lot_seq, p.lot_no, p.issuer_id, p.funder_id, p.lot_terms_id, p.terms_id, p.partner_id,
           (p.amount - coalesce(r.amount, 0))::bigint AS room
    FROM ledger.posting p LEFT JOIN refunded r USING (lot_seq, lot_no)
    WHERE p.holder_id = p_holder AND p.unit = p_unit AND p.seq = p_ref_seq AND p.credit = 11
  ), queue AS (
    SELECT *, (sum(room) OVER (ORDER BY leg DESC) - room)::bigint AS ahead FROM source WHERE room > 0
  ), given AS MATERIALIZED (
    SELECT *, least(room, p_amount - ahead) AS give, row_number() OVER (ORDER BY ahead) AS new_leg
    FROM queue WHERE ahead < p_amount
  ), lot AS (
    UPDATE ledger.lot l
    SET remaining = l.remaining + g.give, open = true,
        expires_at = CASE WHEN l.expires_at <= p_at THEN p_at + p_grace ELSE l.expires_at END
    FROM given g WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = g.lot_seq AND l.lot_no = g.lot_no
    RETURNING l.expires_at
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT p_holder, a.seq, lot_seq, give, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, v_cutoff, p_unit,
           new_leg, 11, 1, lot_no FROM given
  )
  SELECT min(expires_at) INTO v_due FROM lot;
  a.available := a.available + p_amount;
  INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind)
  VALUES (p_holder, a.seq, p_amount, p_ref_seq, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key,
          p_fingerprint, p_partner, v_cutoff, p_unit, 9);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, last_at = a.last_at, next_due = least(x.next_due, v_due)
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  status := 0; seq := a.seq; available := a.available; pending := a.pending;
END $$;

-- Every row returned is a violation; see docs/invariants.md for what each rule says.
CREATE FUNCTION ledger.audit() RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  WITH by_posting AS (
    SELECT holder_id, unit,
           sum(CASE WHEN credit = 1 THEN amount WHEN debit = 1 THEN -amount ELSE 0 END) AS available,
           sum(CASE WHEN credit = 2 THEN amount WHEN debit = 2 THEN -amount ELSE 0 END) AS pending,
           sum(CASE WHEN credit = 3 THEN amount WHEN debit = 3 THEN -amount ELSE 0 END) AS held,
           sum(CASE WHEN debit = 4 THEN amount WHEN credit = 4 THEN -amount ELSE 0 END) AS debt
    FROM ledger.posting GROUP BY holder_id, unit
  ), by_lot AS (
    SELECT holder_id, unit, sum(remaining) FILTER (WHERE active) AS available,
           sum(remaining) FILTER (WHERE NOT active) AS pending, sum(held) AS held
    FROM ledger.lot GROUP BY holder_id, unit
  ), lot_posting AS (
    SELECT holder_id, unit, lot_seq AS seq, lot_no,
           sum(CASE WHEN credit IN (1, 2) THEN amount ELSE 0 END - CASE WHEN debit IN (1, 2) THEN amount ELSE 0 END) AS remaining,
           sum(CASE WHEN credit = 3 THEN amount WHEN debit = 3 THEN -amount ELSE 0 END) AS held,
           sum(CASE WHEN credit = 11 THEN amount WHEN debit = 11 THEN -amount ELSE 0 END) AS redeemed,
           sum(CASE WHEN credit = 12 THEN amount ELSE 0 END) AS expired,
           sum(CASE WHEN credit = 13 THEN amount ELSE 0 END) AS returned,
           sum(CASE WHEN debit = 10 THEN amount ELSE 0 END) AS granted
    FROM ledger.posting GROUP BY holder_id, unit, lot_seq, lot_no
  ), entry AS (
    SELECT holder_id, unit, seq, sum(amount) AS amount,
           sum(CASE WHEN credit = 1 THEN amount WHEN debit = 1 THEN -amount ELSE 0 END) AS available,
           sum(CASE WHEN credit = 2 THEN amount WHEN debit = 2 THEN -amount ELSE 0 END) AS pending,
           sum(CASE WHEN credit = 3 THEN amount WHEN debit = 3 THEN -amount ELSE 0 END) AS held
    FROM ledger.posting GROUP BY holder_id, unit, seq
  ), history AS (
    SELECT j.holder_id, j.unit, j.seq, j.kind, j.amount, e.amount AS posted, j.available_after, j.pending_after,
           j.held_after, j.recorded_at,
           sum(coalesce(e.available, 0)) OVER w AS available, sum(coalesce(e.pending, 0)) OVER w AS pending,
           sum(coalesce(e.held, 0)) OVER w AS held, lag(j.recorded_at) OVER w AS recorded_before
    FROM ledger.journal j LEFT JOIN entry e USING (holder_id, unit, seq)
    WINDOW w AS (PARTITION BY j.holder_id, j.unit ORDER BY j.seq)
  ), journal AS (
    SELECT holder_id, unit, count(*) AS entries, min(seq) AS first, max(seq) AS last FROM ledger.journal
    GROUP BY holder_id, unit
  )
  SELECT 'A1 balance = its postings', a.holder_id, a.unit,
         format('cached %s/%s/%s/%s, postings %s/%s/%s/%s', a.available, a.pending, a.held, a.debt, p.available, p.pending, p.held, p.debt)
  FROM ledger.account a LEFT JOIN by_posting p USING (holder_id, unit)
  WHERE (a.available, a.pending, a.held, a.debt) IS DISTINCT FROM
        (coalesce(p.available, 0), coalesce(p.pending, 0), coalesce(p.held, 0), coalesce(p.debt, 0))
  UNION ALL
  SELECT 'A2 balance = its lots', a.holder_id, a.unit,
         format('cached %s/%s/%s, lots %s/%s/%s', a.available, a.pending, a.held, l.available, l.pending, l.held)
  FROM ledger.account a LEFT JOIN by_lot l USING (holder_id, unit)
  WHERE (a.available, a.pending, a.held) IS DISTINCT FROM
        (coalesce(l.available, 0), coalesce(l.pending, 0), coalesce(l.held, 0))
  UNION ALL
  SELECT 'A3 lot = its postings', coalesce(l.holder_id, p.holder_id), coalesce(l.unit, p.unit),
         format('lot %s.%s', coalesce(l.seq, p.seq), coalesce(l.lot_no, p.lot_no))
  FROM ledger.lot l FULL JOIN lot_posting p USING (holder_id, unit, seq, lot_no)
  WHERE (l.granted, l.remaining, l.held, l.returned) IS DISTINCT FROM (p.granted, p.remaining, p.held, p.returned)
     OR l.granted <> l.remaining + l.held + l.returned + p.redeemed + p.expired
  UNION ALL
  SELECT 'A4 journal has no gap and ends at the head', a.holder_id, a.unit,
         format('head %s, entries %s, %s to %s', a.seq, j.entries, j.first, j.last)
  FROM ledger.account a LEFT JOIN journal j USING (holder_id, unit)
  WHERE (a.seq, a.seq) IS DISTINCT FROM (coalesce(j.entries, 0), coalesce(j.last, 0))
  UNION ALL
  SELECT 'A5 open holds = held', a.holder_id, a.unit, format('held %s without a hold', a.held)
  FROM ledger.account a WHERE a.held <> 0  -- nothing places holds yet
  UNION ALL
  SELECT 'A6 entry = its postings', h.holder_id, h.unit, format('entry %s says %s, postings %s', h.seq, h.amount, h.posted)
  FROM history h WHERE h.kind <> 20 AND h.amount <> coalesce(h.posted, 0) OR h.kind = 20 AND h.posted IS NOT NULL
  UNION ALL
  SELECT 'A6 posting belongs to an entry', e.holder_id, e.unit, format('entry %s', e.seq)
  FROM entry e LEFT JOIN ledger.journal j USING (holder_id, unit, seq) WHERE j.seq IS NULL
  UNION ALL
  SELECT 'A7 balance history = running sum', h.holder_id, h.unit, format('entry %s', h.seq)
  FROM history h
  WHERE (h.available_after, h.pending_after, h.held_after) IS DISTINCT FROM
        (h.available::bigint, h.pending::bigint, h.held::bigint) OR h.recorded_at < h.recorded_before
  UNION ALL
  SELECT 'A11 issued = all that became of it', NULL, i.unit, format('issuer %s: issued %s, found %s', i.issuer_id, i.issued, i.found)
  FROM (
    SELECT p.unit, p.issuer_id, p.issued, p.gone + coalesce(l.here, 0) AS found
    FROM (SELECT unit, issuer_id,
                 sum(CASE WHEN debit = 10 THEN amount WHEN credit = 10 THEN -amount ELSE 0 END) AS issued,
                 sum(CASE WHEN credit IN (11, 12, 13) THEN amount WHEN debit IN (11, 12, 13) THEN -amount ELSE 0 END) AS gone
          FROM ledger.posting GROUP BY unit, issuer_id) p
    LEFT JOIN (SELECT unit, issuer_id, sum(remaining + held) AS here FROM ledger.lot GROUP BY unit, issuer_id) l
      USING (unit, issuer_id)
  ) i WHERE i.issued <> i.found
  UNION ALL
  SELECT 'A15 nothing negative', a.holder_id, a.unit, 'account'
  FROM ledger.account a WHERE least(a.available, a.pending, a.held, a.debt, a.spent) < 0
  UNION ALL
  SELECT 'A15 nothing negative', l.holder_id, l.unit, format('lot %s.%s', l.seq, l.lot_no)
  FROM ledger.lot l WHERE least(l.remaining, l.held, l.returned) < 0
  UNION ALL
  SELECT 'A16 cut-off = what is recorded in it', NULL, NULL,
         format('cut-off %s: counted %s entries, %s postings, %s points; found %s, %s, %s', c.cutoff_id,
                c.journal_count, c.posting_count, c.posting_points, j.n, p.n, p.points)
  FROM ledger.cutoff c
  LEFT JOIN (SELECT cutoff_id, count(*) AS n FROM ledger.journal GROUP BY cutoff_id) j USING (cutoff_id)
  LEFT JOIN (SELECT cutoff_id, count(*) AS n, sum(amount) AS points FROM ledger.posting GROUP BY cutoff_id) p USING (cutoff_id)
  WHERE c.state = 'CUT' AND (c.journal_count, c.posting_count, c.posting_points) IS DISTINCT FROM
        (coalesce(j.n, 0), coalesce(p.n, 0), coalesce(p.points, 0))
$$;

-- The hot path plans once per session, by index: a plan made while a table was empty must not scan it for ever, and
-- planning these statements anew costs more than running them.
DO $$
DECLARE r regprocedure;
BEGIN
  FOR r IN SELECT p.oid::regprocedure FROM pg_proc p
           WHERE p.pronamespace = 'ledger'::regnamespace AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')
             AND p.proname IN ('enter_cutoff', 'lock_accounts', 'settle_due', 'record_accruals', 'accrue', 'redeem',
                               'return_accrual', 'refund_redemption') LOOP
    EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', r);
    EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off', r);
    EXECUTE format('ALTER FUNCTION %s SET enable_hashjoin = off', r);
    EXECUTE format('ALTER FUNCTION %s SET enable_mergejoin = off', r);
  END LOOP;
END $$;

DO $$
DECLARE r regprocedure; v_definer boolean;
BEGIN
  FOR r, v_definer IN SELECT p.oid::regprocedure, p.prosecdef FROM pg_proc p
                      WHERE p.pronamespace = 'ledger'::regnamespace LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', r);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tessera_app, tessera_ledger', r);
    IF v_definer THEN
      EXECUTE format('ALTER FUNCTION %s OWNER TO tessera_ledger', r);
    END IF;
  END LOOP;
END $$;
