-- Points go from one holder to another in two halves, each an entry of one account under its lock: out (AVAILABLE or
-- PENDING to TRANSFERRED, by lot) and in (TRANSFERRED to where they were, in lots with the same facts). In between they
-- are on their way, which a row of ledger.transfer says, written with the first half; whoever finds it records the second,
-- once, under a key made of the first. Nobody's money moves: issuer, funder, terms, activation and expiry stay.
--
-- account kind: 14 transferred; entry kinds: 14 out, 15 in, 16 back; status as in accounts.sql

-- An account takes transfers or, closed, takes none.
CREATE FUNCTION ledger.close_account(p_holder bigint, p_unit smallint, p_closed boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  UPDATE ledger.account SET closed = p_closed WHERE holder_id = p_holder AND unit = p_unit;
  RETURN FOUND;
END $$;

-- The first half. Of the lots that may go (of p_contributors, null: of all; of entry p_ref_seq of theirs, null: of any)
-- those that expire first go first, pending ones only where p_takes_pending says so, and then whole. p_amount null is all
-- there is; with p_is_whole fewer than p_amount is a "no", without it as many go as are there. Where p_is_spending, the
-- spend lock and the day's cap bind as they do a redemption. Held points stay with their hold.
-- A "no" writes nothing but what was due anyway. taken is how many went.
CREATE FUNCTION ledger.transfer_out(
  p_holder bigint, p_unit smallint, p_receiver bigint, p_amount bigint, p_contributors bigint[], p_ref_seq bigint,
  p_is_spending boolean, p_is_whole boolean, p_takes_pending boolean, p_keeps_contributor boolean,
  p_idem_key uuid, p_fingerprint uuid, p_at timestamptz, p_day date,
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint, OUT taken bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; v_there bigint; v_available bigint;
  v_pending bigint; v_expires timestamptz[]; v_bytes bytea;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one
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
  IF p_amount <= 0 OR p_receiver = p_holder OR p_takes_pending AND p_amount IS NOT NULL THEN
    status := 5;
    RETURN;
  END IF;
  IF p_is_spending AND a.spend_locked THEN
    status := 6; available := a.available; pending := a.pending;
    RETURN;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  SELECT coalesce(sum(l.remaining), 0) INTO v_there FROM ledger.lot l
  WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.open AND l.remaining > 0 AND (l.active OR p_takes_pending)
    AND (p_contributors IS NULL OR coalesce(l.contributor_id, p_holder) = ANY (p_contributors))
    AND (p_ref_seq IS NULL OR coalesce(l.contributor_seq, l.seq) = p_ref_seq);
  taken := least(p_amount, v_there);
  status := CASE WHEN taken = 0 OR p_is_whole AND v_there < p_amount THEN 3
                 WHEN p_is_spending AND (taken > a.daily_cap OR a.spent_on = p_day AND a.spent + taken > a.daily_cap) THEN 7
                 ELSE 0 END;
  IF status <> 0 THEN
    available := a.available; pending := a.pending; taken := 0;
    RETURN;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  WITH queue AS (
    SELECT l.seq AS lot_seq, l.lot_no, l.issuer_id, l.funder_id, l.terms_id, l.expires_at, l.remaining,
           CASE WHEN l.active THEN 1 ELSE 2 END::smallint AS debit,
           (sum(l.remaining) OVER (ORDER BY l.expires_at, l.seq, l.lot_no) - l.remaining)::bigint AS ahead
    FROM ledger.lot l
    WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.open AND l.remaining > 0 AND (l.active OR p_takes_pending)
      AND (p_contributors IS NULL OR coalesce(l.contributor_id, p_holder) = ANY (p_contributors))
      AND (p_ref_seq IS NULL OR coalesce(l.contributor_seq, l.seq) = p_ref_seq)
  ), going AS MATERIALIZED (
    SELECT *, least(remaining, taken - ahead) AS take, (row_number() OVER (ORDER BY ahead))::smallint AS leg
    FROM queue WHERE ahead < taken
  ), lot AS (
    UPDATE ledger.lot l SET remaining = l.remaining - g.take, open = l.remaining - g.take > 0 OR l.held > 0
    FROM going g WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = g.lot_seq AND l.lot_no = g.lot_no
  ), posting AS (
    INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
    SELECT p_holder, a.seq, lot_seq, take, issuer_id, funder_id, 0, terms_id, terms_id, v_cutoff, p_unit, leg, debit,
           14, lot_no FROM going
  )
  SELECT coalesce(sum(take) FILTER (WHERE debit = 1), 0), coalesce(sum(take) FILTER (WHERE debit = 2), 0),
         array_agg(expires_at ORDER BY leg),
         string_agg(ledger.posting_bytes(leg, debit, 14::smallint, issuer_id, funder_id, 0, terms_id, terms_id, lot_seq,
                                         lot_no, take), ''::bytea ORDER BY leg)
  INTO v_available, v_pending, v_expires, v_bytes FROM going;
  a.available := a.available - v_available;
  a.pending := a.pending - v_pending;
  IF p_is_spending THEN
    a.spent := taken + CASE WHEN a.spent_on = p_day THEN a.spent ELSE 0 END;
    a.spent_on := p_day;
  END IF;
  a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
    p_holder, p_unit, a.seq, 14::smallint, 0, v_cutoff, taken, NULL, a.available, a.pending, a.held, a.debt, p_at,
    a.last_at, p_idem_key, p_fingerprint) || v_bytes);
  INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, a.seq, taken, a.available, a.pending, a.held, a.debt, p_at, a.last_at, p_idem_key, p_fingerprint,
          0, v_cutoff, p_unit, 14, a.head_hash);
  INSERT INTO ledger.transfer (holder_id, seq, receiver_id, amount, sent_at, expires, unit, keeps_contributor)
  VALUES (p_holder, a.seq, p_receiver, taken, a.last_at, v_expires, p_unit, p_keeps_contributor);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, pending = a.pending, last_at = a.last_at, spent = a.spent,
      spent_on = a.spent_on, head_hash = a.head_hash
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  status := 0; seq := a.seq; available := a.available; pending := a.pending;
END $$;

-- The second half: into the receiver's account (kind 15), or back into the sender's (kind 16) where the receiver's is
-- closed. Points that come home go into the lot that they left (p_home_seqs, p_home_lot_nos; null: none), as long as it is
-- in the same state and no point gets another expiry by it; others become a lot. What has fallen due on the way is applied
-- at once: a pending part is activated here, with its own instant, so that it is billed once.
-- A closed account says no (11), for good: the "no" is an entry under the transfer's key, so that nobody who comes later
-- puts in what somebody else brings back.
CREATE FUNCTION ledger.transfer_in(
  p_kind smallint, p_holder bigint, p_unit smallint, p_sender bigint, p_sender_seq bigint, p_at timestamptz,
  p_issuers int[], p_funders int[], p_terms int[], p_points bigint[], p_activates timestamptz[],
  p_expires timestamptz[], p_active boolean[], p_home_seqs bigint[], p_home_lot_nos smallint[],
  p_contributors bigint[], p_contributor_seqs bigint[], p_contributor_lot_nos smallint[],
  OUT status smallint, OUT seq bigint, OUT available bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v_cutoff int := ledger.enter_cutoff(); a ledger.account; e ledger.journal; h ledger.lot; t ledger.transfer;
  v_key uuid := ledger.transfer_key(p_sender, p_unit, p_sender_seq); v_points bigint := 0; v_bytes bytea := '';
  v_credit smallint; v_kind smallint := p_kind;
BEGIN
  SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit FOR NO KEY UPDATE;
  v_cutoff := ledger.enter_cutoff();  -- once more: whoever had the account may have recorded in the next one
  IF NOT FOUND THEN
    status := 4;
    RETURN;
  END IF;
  SELECT * INTO e FROM ledger.journal j WHERE j.holder_id = p_holder AND j.unit = p_unit AND j.idem_key = v_key;
  IF FOUND THEN
    status := CASE WHEN e.kind = 20 THEN 11 ELSE 1 END;
    seq := e.seq; available := greatest(e.available_after - e.debt_after, 0); pending := e.pending_after;
    RETURN;
  END IF;
  IF p_kind = 16 THEN
    SELECT * INTO t FROM ledger.transfer x
    WHERE x.holder_id = p_holder AND x.unit = p_unit AND x.seq = p_sender_seq AND p_sender = p_holder;
    IF NOT FOUND OR t.state <> 0 THEN
      status := 8;
      RETURN;
    END IF;
  END IF;
  IF a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT * INTO a FROM ledger.account x WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  a.seq := a.seq + 1;
  a.last_at := greatest(p_at, a.last_at);
  IF p_kind = 15 AND a.closed THEN
    v_kind := 20;
    SELECT sum(points) INTO v_points FROM unnest(p_points) points;
  ELSE
    FOR n IN 1 .. cardinality(p_points) LOOP
      v_credit := CASE WHEN p_active[n] THEN 1 ELSE 2 END;
      v_points := v_points + p_points[n];
      SELECT * INTO h FROM ledger.lot l
      WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = p_home_seqs[n] AND l.lot_no = p_home_lot_nos[n]
        AND (l.active = p_active[n] OR p_active[n] AND NOT l.open) AND (l.expires_at = p_expires[n] OR NOT l.open);
      IF FOUND THEN
        UPDATE ledger.lot l
        SET remaining = l.remaining + p_points[n], expires_at = p_expires[n], active = p_active[n], open = true
        WHERE l.holder_id = p_holder AND l.unit = p_unit AND l.seq = h.seq AND l.lot_no = h.lot_no;
      ELSE
        h.seq := a.seq; h.lot_no := n;
        INSERT INTO ledger.lot (holder_id, seq, granted, remaining, activates_at, expires_at, issuer_id, funder_id,
                                terms_id, unit, lot_no, active, contributor_id, contributor_seq, contributor_lot_no)
        VALUES (p_holder, a.seq, p_points[n], p_points[n], p_activates[n], p_expires[n], p_issuers[n], p_funders[n],
                p_terms[n], p_unit, n, p_active[n], p_contributors[n], p_contributor_seqs[n], p_contributor_lot_nos[n]);
      END IF;
      INSERT INTO ledger.posting (holder_id, seq, lot_seq, amount, issuer_id, funder_id, partner_id, lot_terms_id,
                                  terms_id, cutoff_id, unit, leg, debit, credit, lot_no)
      VALUES (p_holder, a.seq, h.seq, p_points[n], p_issuers[n], p_funders[n], 0, p_terms[n], p_terms[n], v_cutoff,
              p_unit, n, 14, v_credit, h.lot_no);
      v_bytes := v_bytes || ledger.posting_bytes(n::smallint, 14::smallint, v_credit, p_issuers[n], p_funders[n], 0,
                                                 p_terms[n], p_terms[n], h.seq, h.lot_no, p_points[n]);
      IF p_active[n] THEN
        a.available := a.available + p_points[n];
        a.next_due := least(a.next_due, p_expires[n]);
      ELSE
        a.pending := a.pending + p_points[n];
        a.next_due := least(a.next_due, p_activates[n]);
      END IF;
    END LOOP;
  END IF;
  a.head_hash := sha256(a.head_hash || ledger.entry_bytes(
    p_holder, p_unit, a.seq, v_kind, 0, v_cutoff, v_points, NULL, a.available, a.pending, a.held, a.debt, p_at,
    a.last_at, v_key, v_key) || v_bytes);
  INSERT INTO ledger.journal (holder_id, seq, amount, available_after, pending_after, held_after, debt_after,
                              at, recorded_at, idem_key, fingerprint, partner_id, cutoff_id, unit, kind, hash)
  VALUES (p_holder, a.seq, v_points, a.available, a.pending, a.held, a.debt, p_at, a.last_at, v_key, v_key, 0, v_cutoff,
          p_unit, v_kind, a.head_hash);
  UPDATE ledger.account x
  SET seq = a.seq, available = a.available, pending = a.pending, last_at = a.last_at, next_due = a.next_due,
      head_hash = a.head_hash
  WHERE x.holder_id = p_holder AND x.unit = p_unit;
  IF p_kind = 16 THEN
    UPDATE ledger.transfer x SET state = 2, settled_seq = a.seq
    WHERE x.holder_id = p_holder AND x.unit = p_unit AND x.seq = p_sender_seq;
  END IF;
  status := CASE v_kind WHEN 20 THEN 11 ELSE 0 END; seq := a.seq; available := a.available; pending := a.pending;
  IF v_kind <> 20 AND a.next_due <= p_at THEN
    PERFORM ledger.settle_due(ARRAY[p_holder], p_unit, p_at, v_cutoff);
    SELECT x.available, x.pending INTO available, pending FROM ledger.account x
    WHERE x.holder_id = p_holder AND x.unit = p_unit;
  END IF;
  IF v_kind <> 20 AND a.debt > 0 THEN
    available := ledger.repay_debt(p_holder, p_unit, p_at, v_cutoff);
  END IF;
END $$;

-- Say of a transfer that it arrived, as entry p_settled_seq of the receiver; false where that was said before.
CREATE FUNCTION ledger.finish_transfer(p_holder bigint, p_unit smallint, p_seq bigint, p_settled_seq bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  UPDATE ledger.transfer x SET state = 1, settled_seq = p_settled_seq
  WHERE x.holder_id = p_holder AND x.unit = p_unit AND x.seq = p_seq AND x.state = 0;
  RETURN FOUND;
END $$;
