-- Debt: what a return could not take from the lots of its accrual and the holder owes. Other lots that are available
-- serve at once, those that expire first going first; what is missing then is the account's debt, and whatever becomes
-- available later repays it before anything else is done with it. Nothing is ever available while something is owed.
-- docs/decisions/0013-debt-and-substitution.md says what is posted.

-- The open lots of an account as they will be once all that is due by an instant is applied, and how much of each
-- expired and repaid on the way; a rehearsal of settle_due that writes nothing.
CREATE FUNCTION ledger.foresee(p_holder bigint, p_unit smallint, p_at timestamptz)
RETURNS TABLE (seq bigint, lot_no smallint, remaining bigint, held bigint, is_active boolean, expired bigint, repaid bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
  v_debt bigint; v_step timestamptz; v_before timestamptz := '-infinity'; v_points bigint; v_seqs bigint[];
  v_nos smallint[]; v_left bigint[]; v_held bigint[]; v_active boolean[]; v_expired bigint[]; v_repaid bigint[];
  v_activates timestamptz[]; v_expires timestamptz[];
BEGIN
  SELECT a.debt INTO v_debt FROM ledger.account a WHERE a.holder_id = p_holder AND a.unit = p_unit;
  SELECT array_agg(l.seq), array_agg(l.lot_no), array_agg(l.remaining), array_agg(l.held), array_agg(l.active),
         array_agg(0::bigint), array_agg(0::bigint), array_agg(l.activates_at),
         array_agg(CASE WHEN l.expires_at > p_at OR ledger.may_expire(p_holder, p_unit, l.seq, l.lot_no)
                        THEN l.expires_at ELSE 'infinity' END)
  INTO v_seqs, v_nos, v_left, v_held, v_active, v_expired, v_repaid, v_activates, v_expires
  FROM (SELECT * FROM ledger.lot o WHERE o.holder_id = p_holder AND o.unit = p_unit AND o.open
        ORDER BY o.expires_at, o.seq, o.lot_no) l;
  FOR v_step IN  -- who owes nothing comes to the same in one step
    SELECT t.due_at FROM unnest(v_activates || v_expires) AS t(due_at) WHERE t.due_at <= p_at AND v_debt > 0
    UNION
    SELECT h.lapses_at FROM ledger.hold h
    WHERE h.holder_id = p_holder AND h.unit = p_unit AND h.state = 0 AND h.lapses_at <= p_at AND v_debt > 0
    UNION
    SELECT p_at ORDER BY 1
  LOOP
    FOR n IN 1 .. coalesce(cardinality(v_seqs), 0) LOOP
      v_active[n] := v_active[n] OR v_activates[n] <= v_step;
      IF v_held[n] > 0 THEN
        SELECT coalesce(sum(p.amount), 0) INTO v_points
        FROM ledger.hold h JOIN ledger.posting p ON p.holder_id = h.holder_id AND p.unit = h.unit AND p.seq = h.seq
        WHERE h.holder_id = p_holder AND h.unit = p_unit AND h.state = 0 AND h.lapses_at > v_before
          AND h.lapses_at <= v_step AND p.lot_seq = v_seqs[n] AND p.lot_no = v_nos[n];
        v_held[n] := v_held[n] - v_points;
        v_left[n] := v_left[n] + v_points;
      END IF;
      IF v_expires[n] <= v_step THEN
        v_expired[n] := v_expired[n] + v_left[n];
        v_left[n] := 0;
      END IF;
    END LOOP;
    FOR n IN 1 .. coalesce(cardinality(v_seqs), 0) LOOP
      IF v_active[n] AND v_debt > 0 THEN
        v_points := least(v_debt, v_left[n]);
        v_debt := v_debt - v_points;
        v_left[n] := v_left[n] - v_points;
        v_repaid[n] := v_repaid[n] + v_points;
      END IF;
    END LOOP;
    v_before := v_step;
  END LOOP;
  RETURN QUERY SELECT * FROM unnest(v_seqs, v_nos, v_left, v_held, v_active, v_expired, v_repaid);
END $$;

-- What a return of p_lot_points from each lot of an accrual would take, per lot, once all that is due by p_at is
-- applied: from the lot itself, and of the rest what the holder owes and what is forgiven. Never more together than was
-- granted and not asked back before. p_shortfall: 0 the rest is nobody's business here, 1 the holder owes of it what it
-- had the use of, 2 it is forgiven. What expired was of no use to anybody and is not owed.
CREATE FUNCTION ledger.split_return(
  p_holder bigint, p_unit smallint, p_ref_seq bigint, p_lot_nos smallint[], p_lot_points bigint[], p_shortfall smallint,
  p_at timestamptz)
RETURNS TABLE (lot_no smallint, is_active boolean, take bigint, owed bigint, forgiven bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  WITH lot AS (
    SELECT l.lot_no, t.points, l.granted, l.returned, coalesce(f.remaining, 0) AS remaining,
           coalesce(f.is_active, l.active) AS is_active, coalesce(s.owed, 0) AS owed_before,
           coalesce(s.owed + s.forgiven, 0) AS asked_before, coalesce(f.expired, 0) + coalesce(x.points, 0) AS expired
    FROM unnest(p_lot_nos, p_lot_points) AS t(lot_no, points)
    JOIN ledger.lot l ON l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_ref_seq AND l.lot_no = t.lot_no
    LEFT JOIN ledger.foresee(p_holder, p_unit, p_at) f ON f.seq = l.seq AND f.lot_no = l.lot_no
    CROSS JOIN LATERAL (
      SELECT sum(s.owed) AS owed, sum(s.forgiven) AS forgiven FROM ledger.shortfall s
      WHERE s.holder_id = p_holder AND s.unit = p_unit AND s.lot_seq = p_ref_seq AND s.lot_no = l.lot_no
    ) s
    CROSS JOIN LATERAL (
      SELECT sum(p.amount) AS points FROM ledger.posting p
      WHERE p.holder_id = p_holder AND p.unit = p_unit AND p.seq > p_ref_seq AND p.lot_seq = p_ref_seq
        AND p.lot_no = l.lot_no AND p.credit = 12
    ) x
  ), asked AS (
    SELECT *, greatest(least(points, granted - returned - asked_before), 0) AS due FROM lot
  ), taken AS (
    SELECT *, least(due, remaining) AS take,
           greatest(granted - returned - remaining - expired - owed_before, 0) AS used
    FROM asked
  ), split AS (
    SELECT *, CASE p_shortfall WHEN 1 THEN least(due - take, used) ELSE 0 END AS owed FROM taken
  )
  SELECT lot_no, is_active, take::bigint, owed::bigint,
         (CASE WHEN p_shortfall > 0 THEN due - take - owed ELSE 0 END)::bigint
  FROM split
$$;

-- What a return would do at an instant if p_refund points were given back in the same call: taken from the member's
-- lots, its own or others; owed when all is done; forgiven. Writes nothing.
CREATE FUNCTION ledger.preview_return(
  p_holder bigint, p_unit smallint, p_ref_seq bigint, p_lot_nos smallint[], p_lot_points bigint[], p_shortfall smallint,
  p_refund bigint, p_at timestamptz, OUT taken bigint, OUT owed bigint, OUT forgiven bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE v_pool bigint; v_debt bigint; v_active bigint; v_paid bigint;
BEGIN
  SELECT coalesce(sum(s.take), 0), coalesce(sum(s.take) FILTER (WHERE s.is_active), 0), coalesce(sum(s.owed), 0),
         coalesce(sum(s.forgiven), 0)
  INTO taken, v_active, owed, forgiven
  FROM ledger.split_return(p_holder, p_unit, p_ref_seq, p_lot_nos, p_lot_points, p_shortfall, p_at) s;
  IF owed > 0 THEN
    SELECT coalesce(sum(f.remaining) FILTER (WHERE f.is_active), 0), coalesce(sum(f.repaid), 0) INTO v_pool, v_paid
    FROM ledger.foresee(p_holder, p_unit, p_at) f;
    SELECT a.debt - v_paid INTO v_debt FROM ledger.account a WHERE a.holder_id = p_holder AND a.unit = p_unit;
    v_paid := least(owed, greatest(v_pool - v_active + p_refund - v_debt, 0));
    taken := taken + v_paid;
    owed := owed - v_paid;
  END IF;
END $$;

-- Repay what is owed from what is available, as far as it goes: the return that fell short first is served first, by
-- the lots that expire first, in an entry of its own that refers to it. Each posting carries the lot that pays, and as
-- its event's partner and terms those of the lot that it stands in for. The caller holds the lock and has applied what
-- is due. Tells what is available then.
CREATE FUNCTION ledger.repay_debt(p_holder bigint, p_unit smallint, p_at timestamptz, p_cutoff int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE a ledger.account; v_return bigint; v_open bigint; v_amount bigint; v_paid bigint; v_noted bigint; v_bytes bytea;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  WHILE a.debt > 0 AND a.available > 0 LOOP
    SELECT s.seq, sum(s.owed - s.repaid) INTO v_return, v_open FROM ledger.shortfall s
    WHERE s.holder_id = p_holder AND s.unit = p_unit AND s.repaid < s.owed GROUP BY s.seq ORDER BY s.seq LIMIT 1;
    v_amount := least(a.available, v_open);
    a.seq := a.seq + 1;
    a.last_at := greatest(p_at, a.last_at);
    a.available := a.available - v_amount;
    a.debt := a.debt - v_amount;
    WITH payer AS (
      SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id,
             (sum(l.remaining) OVER w - l.remaining)::bigint AS beginning, (sum(l.remaining) OVER w)::bigint AS ending
      FROM ledger.lot l
      WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.open AND l.active AND l.remaining > 0
      WINDOW w AS (ORDER BY l.expires_at, l.seq, l.lot_no)
    ), claim AS (
      SELECT s.lot_seq, s.lot_no, s.issuer_id, s.terms_id,
             (sum(s.owed - s.repaid) OVER w - (s.owed - s.repaid))::bigint AS beginning,
             (sum(s.owed - s.repaid) OVER w)::bigint AS ending
      FROM ledger.shortfall s
      WHERE s.holder_id = p_holder AND s.unit = p_unit AND s.seq = v_return AND s.repaid < s.owed
      WINDOW w AS (ORDER BY s.lot_no)
    ), part AS MATERIALIZED (  -- where a lot that pays and one that fell short overlap
      SELECT p.lot_seq, p.lot_no, p.issuer_id, p.funder_id, p.terms_id, c.lot_seq AS for_seq, c.lot_no AS for_no,
             c.issuer_id AS for_issuer, c.terms_id AS for_terms,
             least(p.ending, c.ending, v_amount) - greatest(p.beginning, c.beginning) AS points,
             (row_number() OVER (ORDER BY p.beginning, c.beginning))::smallint AS leg
      FROM payer p CROSS JOIN claim c
      WHERE least(p.ending, c.ending, v_amount) > greatest(p.beginning, c.beginning)
    ), lot AS (
      UPDATE ledger.lot l
      SET remaining = l.remaining - t.points, open = l.remaining - t.points > 0 OR l.held > 0
      FROM (SELECT lot_seq, lot_no, sum(points)::bigint AS points FROM part GROUP BY lot_seq, lot_no) t
      WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = t.lot_seq AND l.lot_no = t.lot_no
    ), noted AS (
      UPDATE ledger.shortfall s SET repaid = s.repaid + t.points
      FROM (SELECT for_seq, for_no, sum(points)::bigint AS points FROM part GROUP BY for_seq, for_no) t
      WHERE s.holder_id = p_holder AND s.unit = p_unit AND s.lot_seq = t.for_seq AND s.lot_no = t.for_no
        AND s.seq = v_return
      RETURNING t.points
    ), posting AS (
      INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                  terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
      SELECT p_holder, a.seq, lot_seq, points, issuer_id, funder_id, for_issuer, terms_id, for_terms, p_cutoff, p_unit,
             leg, 1, 4, lot_no FROM part
      RETURNING leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, lot_seq, lot_no, amount
    )
    SELECT coalesce(sum(amount), 0),
           string_agg(ledger.posting_bytes(leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id,
                                           lot_seq, lot_no, amount), ''::bytea ORDER BY leg),
           (SELECT coalesce(sum(points), 0) FROM noted)
    INTO v_paid, v_bytes, v_noted FROM posting;
    IF (v_paid, v_noted) IS DISTINCT FROM (v_amount, v_amount) THEN
      RAISE EXCEPTION 'ledger corrupt: account % of unit % says % of debt can be repaid, its lots gave %, its returns took %',
        p_holder, p_unit, v_amount, v_paid, v_noted USING ERRCODE = 'LX001';
    END IF;
    a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
      p_holder, p_unit, a.seq, 12::smallint, 0, p_cutoff, v_amount, v_return, a.available, a.pending, a.held, a.debt,
      p_at, a.last_at, NULL, NULL) || v_bytes);
    INSERT INTO ledger.journal (holder_id, seq, amount, ref_seq, available_after, pending_after, held_after, debt_after,
                                at, recorded_at, partner_id, cutoff_id, unit, kind, hash)
    VALUES (p_holder, a.seq, v_amount, v_return, a.available, a.pending, a.held, a.debt, p_at, a.last_at, 0, p_cutoff,
            p_unit, 12, a.head_hash);
    UPDATE ledger.account x
    SET seq = a.seq, available = a.available, debt = a.debt, last_at = a.last_at, head_hash = a.head_hash
    WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END LOOP;
  RETURN a.available;
END $$;

-- The same for those of many accounts that owe something, in the order in which everybody locks them.
CREATE FUNCTION ledger.repay_debts(p_holders bigint[], p_unit smallint, p_at timestamptz, p_cutoff int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_holder bigint;
BEGIN
  FOR v_holder IN SELECT a.holder_id FROM ledger.account a
                  WHERE a.holder_id = ANY (p_holders) AND a.unit = p_unit AND a.debt > 0 ORDER BY a.holder_id LOOP
    PERFORM ledger.repay_debt(v_holder, p_unit, p_at, p_cutoff);
  END LOOP;
END $$;

-- Bring an account that owes up to an instant, not included, one due instant after the other: what becomes available on
-- the way repays on its own day, and is not there any more to expire on a later one. One that has something available
-- besides is in the middle of a call, which has brought it up to date before.
CREATE FUNCTION ledger.settle_owing(p_holder bigint, p_unit smallint, p_at timestamptz, p_cutoff int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_due timestamptz;
BEGIN
  LOOP
    SELECT a.next_due INTO v_due FROM ledger.account a
    WHERE a.holder_id = p_holder AND a.unit = p_unit AND a.debt > 0 AND a.available = 0
      AND a.next_due < p_at;
    EXIT WHEN NOT FOUND;
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, v_due, p_cutoff);
  END LOOP;
END $$;
