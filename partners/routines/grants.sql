-- What a decision gives and uses up beside points, inside the call that records it: the caller has locked the account in
-- points, which comes before every other unit of the member. p_cause is the claim of the receipt, or what else it was
-- given for; each thing is given once for a cause.
--
-- kinds: COUPON (code of the batch), STAMP (code of the unit), BADGE, ENTITLEMENT, TIER_CREDIT, RAFFLE_TICKET. Of coupons
-- the keyed hashes and tails of their codes come in the order of the grants, as many as all quantities together.
CREATE FUNCTION partners.give_grants(
  p_holder bigint, p_partner int, p_terms int, p_cause uuid, p_at timestamptz,
  p_kinds text[], p_codes text[], p_quantities int[], p_expires timestamptz[], p_lookups uuid[], p_tails text[])
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE s record; v_status smallint;
BEGIN
  IF 'COUPON' = ANY (p_kinds) THEN
    PERFORM partners.grant_coupons(
      p_holder, p_cause, array_agg(b.batch_id ORDER BY c.no), p_lookups, p_tails,
      array_agg(coalesce(c.expires_at, least(b.expires_at, p_at + b.lasts_days * interval '1 day'), b.expires_at) ORDER BY c.no))
    FROM (
      SELECT t.code, t.expires_at, row_number() OVER (ORDER BY t.ord, n) AS no
      FROM unnest(p_kinds, p_codes, p_quantities, p_expires) WITH ORDINALITY AS t(kind, code, quantity, expires_at, ord)
      CROSS JOIN LATERAL generate_series(1, t.quantity) n
      WHERE t.kind = 'COUPON'
    ) c JOIN partners.coupon_batch b ON b.code = c.code;
  END IF;
  FOR s IN
    SELECT u.unit, array_agg(t.quantity::bigint ORDER BY t.ord) AS stamps,
           array_agg(coalesce(t.expires_at, p_at + interval '100 years') ORDER BY t.ord) AS ends
    FROM unnest(p_kinds, p_codes, p_quantities, p_expires) WITH ORDINALITY AS t(kind, code, quantity, expires_at, ord)
    JOIN partners.stamp_unit u ON u.code = t.code WHERE t.kind = 'STAMP' GROUP BY u.unit ORDER BY u.unit
  LOOP
    PERFORM ledger.add_account(p_holder, s.unit);
    SELECT a.status INTO v_status FROM ledger.accrue(
      p_holder, s.unit, p_partner, p_cause, p_cause, p_at, array_fill(p_partner, ARRAY[cardinality(s.stamps)]),
      array_fill(p_partner, ARRAY[cardinality(s.stamps)]), array_fill(p_terms, ARRAY[cardinality(s.stamps)]), s.stamps,
      array_fill(p_at, ARRAY[cardinality(s.stamps)]), s.ends) a;
    IF v_status NOT IN (0, 1) THEN
      RAISE EXCEPTION 'stamps of unit % for holder % were refused: %', s.unit, p_holder, v_status USING ERRCODE = 'LX002';
    END IF;
  END LOOP;
  IF 'BADGE' = ANY (p_kinds) THEN
    PERFORM members.give_badges(p_holder, p_cause, p_at, array_agg(t.code), array_agg(t.expires_at))
    FROM unnest(p_kinds, p_codes, p_expires) AS t(kind, code, expires_at) WHERE t.kind = 'BADGE';
  END IF;
  IF 'TIER_CREDIT' = ANY (p_kinds) THEN
    PERFORM members.give_tier_credits(p_holder, p_cause, p_at, array_agg(t.code), array_agg(t.quantity))
    FROM unnest(p_kinds, p_codes, p_quantities) AS t(kind, code, quantity) WHERE t.kind = 'TIER_CREDIT';
  END IF;
  IF 'ENTITLEMENT' = ANY (p_kinds) THEN
    INSERT INTO partners.entitlement (holder_id, code, cause, quantity, expires_at, at, partner_id)
    SELECT p_holder, t.code, p_cause, sum(t.quantity), max(t.expires_at), p_at, p_partner
    FROM unnest(p_kinds, p_codes, p_quantities, p_expires) AS t(kind, code, quantity, expires_at)
    WHERE t.kind = 'ENTITLEMENT' GROUP BY t.code
    ON CONFLICT DO NOTHING;
  END IF;
  IF 'RAFFLE_TICKET' = ANY (p_kinds) THEN
    INSERT INTO partners.raffle_ticket (holder_id, raffle, cause, ticket_no, at)
    SELECT p_holder, t.code, p_cause, n, p_at
    FROM (SELECT k.code, sum(k.quantity)::int AS quantity FROM unnest(p_kinds, p_codes, p_quantities) AS k(kind, code, quantity)
          WHERE k.kind = 'RAFFLE_TICKET' GROUP BY k.code) t
    CROSS JOIN LATERAL generate_series(1, t.quantity) n
    ON CONFLICT DO NOTHING;
  END IF;
END $$;

-- The key of what a cause uses up, in the journal of a unit: other than the key of what it gives there.
CREATE FUNCTION partners.using_key(p_cause uuid) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT encode(substring(sha256('uses'::bytea || uuid_send(p_cause)) FOR 16), 'hex')::uuid
$$;

-- Use up stamps that were there before. 0 where they were, 45 where one unit has too few: nothing was written then.
CREATE FUNCTION partners.use_stamps(
  p_holder bigint, p_partner int, p_terms int, p_cause uuid, p_at timestamptz, p_day date,
  p_codes text[], p_quantities int[]) RETURNS smallint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE s record; v_key uuid := partners.using_key(p_cause); v_status smallint;
BEGIN
  FOR s IN
    SELECT u.unit, sum(t.quantity) AS wanted
    FROM unnest(p_codes, p_quantities) AS t(code, quantity) LEFT JOIN partners.stamp_unit u USING (code)
    GROUP BY u.unit ORDER BY u.unit
  LOOP
    PERFORM ledger.lock_accounts(ARRAY[p_holder], s.unit);
    PERFORM FROM ledger.find_entry(p_holder, s.unit, v_key);
    CONTINUE WHEN FOUND;
    IF s.unit IS NULL OR s.wanted > (
      SELECT coalesce(sum(l.remaining), 0) FROM ledger.lot l
      WHERE l.holder_id = p_holder AND l.unit = s.unit AND l.open AND l.activates_at <= p_at AND l.expires_at > p_at) THEN
      RETURN 45;
    END IF;
  END LOOP;
  FOR s IN
    SELECT u.unit, sum(t.quantity) AS wanted
    FROM unnest(p_codes, p_quantities) AS t(code, quantity) JOIN partners.stamp_unit u USING (code)
    GROUP BY u.unit ORDER BY u.unit
  LOOP
    SELECT r.status INTO v_status
    FROM ledger.redeem(p_holder, s.unit, s.wanted, p_partner, p_terms, v_key, v_key, p_at, p_day) r;
    IF v_status NOT IN (0, 1) THEN
      RAISE EXCEPTION 'stamps of unit % of holder % cannot be used: %', s.unit, p_holder, v_status USING ERRCODE = 'LX002';
    END IF;
  END LOOP;
  RETURN 0;
END $$;

-- Take back what was given for a cause, as far as it is there (a return has decided again): p_quantities of each kind and
-- code. Coupons that nobody used go first; one that was used keeps what it did, and is never good again. Stamps that were
-- used come off others of the unit, now or when there are some: who could buy, use them and give the purchases back would
-- drink for nothing. p_key is the return's own, once.
CREATE FUNCTION partners.take_back_grants(
  p_holder bigint, p_partner int, p_cause uuid, p_key uuid, p_at timestamptz,
  p_kinds text[], p_codes text[], p_quantities int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE s record; v_nos smallint[]; v_points bigint[]; v_status smallint;
BEGIN
  PERFORM FROM partners.coupon c WHERE c.cause = p_cause ORDER BY c.coupon_id FOR NO KEY UPDATE;
  UPDATE partners.coupon c
  SET state = CASE c.state WHEN 3 THEN 3 ELSE 4 END, revoked_at = p_at, reserved_by = NULL, reserved_until = NULL
  FROM (SELECT x.coupon_id, row_number() OVER (PARTITION BY x.batch_id ORDER BY x.state = 3, x.cause_no DESC) AS no, t.quantity
        FROM unnest(p_kinds, p_codes, p_quantities) AS t(kind, code, quantity)
        JOIN partners.coupon_batch b ON b.code = t.code
        JOIN partners.coupon x ON x.cause = p_cause AND x.batch_id = b.batch_id AND x.state IN (0, 1, 2, 3)
        WHERE t.kind = 'COUPON' AND x.revoked_at IS NULL) v
  WHERE c.coupon_id = v.coupon_id AND v.no <= v.quantity;
  FOR s IN
    SELECT u.unit, e.seq, sum(t.quantity) AS quantity
    FROM unnest(p_kinds, p_codes, p_quantities) AS t(kind, code, quantity)
    JOIN partners.stamp_unit u ON u.code = t.code
    CROSS JOIN LATERAL ledger.find_entry(p_holder, u.unit, p_cause) e
    WHERE t.kind = 'STAMP' GROUP BY u.unit, e.seq ORDER BY u.unit
  LOOP
    PERFORM ledger.lock_accounts(ARRAY[p_holder], s.unit);
    SELECT array_agg(w.lot_no ORDER BY w.lot_no), array_agg(w.take ORDER BY w.lot_no) INTO v_nos, v_points
    FROM (
      SELECT l.lot_no,
             least(l.granted - l.returned,
                   s.quantity - (sum(l.granted - l.returned) OVER (ORDER BY l.lot_no DESC) - (l.granted - l.returned)))::bigint AS take
      FROM ledger.lot l WHERE l.holder_id = p_holder AND l.unit = s.unit AND l.seq = s.seq
    ) w WHERE w.take > 0;
    CONTINUE WHEN v_nos IS NULL;
    SELECT r.status INTO v_status FROM ledger.return_accrual(
      p_holder, s.unit, s.seq, v_nos, v_points, p_partner, p_key, p_key, p_at, 1::smallint) r;
    IF v_status NOT IN (0, 1) THEN
      RAISE EXCEPTION 'stamps of unit % of holder % cannot be returned: %', s.unit, p_holder, v_status USING ERRCODE = 'LX002';
    END IF;
  END LOOP;
  PERFORM members.revoke_grants(
    p_holder, p_cause, p_at,
    ARRAY(SELECT t.code FROM unnest(p_kinds, p_codes) AS t(kind, code) WHERE t.kind = 'BADGE'),
    ARRAY(SELECT t.code FROM unnest(p_kinds, p_codes) WITH ORDINALITY AS t(kind, code, n)
          WHERE t.kind = 'TIER_CREDIT' ORDER BY t.n),
    ARRAY(SELECT t.quantity FROM unnest(p_kinds, p_quantities) WITH ORDINALITY AS t(kind, quantity, n)
          WHERE t.kind = 'TIER_CREDIT' ORDER BY t.n));
  UPDATE partners.entitlement e
  SET quantity = greatest(e.quantity - t.quantity, e.used, 1),
      revoked_at = CASE WHEN e.quantity - t.quantity <= e.used THEN p_at END
  FROM unnest(p_kinds, p_codes, p_quantities) AS t(kind, code, quantity)
  WHERE t.kind = 'ENTITLEMENT' AND e.holder_id = p_holder AND e.code = t.code AND e.cause = p_cause AND e.revoked_at IS NULL;
  UPDATE partners.raffle_ticket r SET revoked_at = p_at
  FROM unnest(p_kinds, p_codes, p_quantities) AS t(kind, code, quantity)
  WHERE t.kind = 'RAFFLE_TICKET' AND r.holder_id = p_holder AND r.raffle = t.code AND r.cause = p_cause AND r.revoked_at IS NULL
    AND r.ticket_no > (SELECT max(m.ticket_no) FROM partners.raffle_ticket m
                       WHERE m.holder_id = p_holder AND m.raffle = t.code AND m.cause = p_cause AND m.revoked_at IS NULL) - t.quantity;
END $$;

-- Give stamps back that a cause had used up, for it was taken back; they are good for the grace at least. How many: so many
-- of each unit as are named, and where none is all of them.
CREATE FUNCTION partners.give_back_stamps(
  p_holder bigint, p_partner int, p_cause uuid, p_key uuid, p_grace interval, p_at timestamptz,
  p_codes text[] DEFAULT '{}', p_quantities int[] DEFAULT '{}') RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE s record; v_status smallint; v_done bigint := 0;
BEGIN
  FOR s IN
    SELECT u.unit, e.seq, coalesce(w.quantity, j.amount) AS amount FROM partners.stamp_unit u
    LEFT JOIN (SELECT t.code, sum(t.quantity) AS quantity FROM unnest(p_codes, p_quantities) AS t(code, quantity) GROUP BY 1) w
      USING (code)
    CROSS JOIN LATERAL ledger.find_entry(p_holder, u.unit, partners.using_key(p_cause)) e
    JOIN ledger.journal j ON j.holder_id = p_holder AND j.unit = u.unit AND j.seq = e.seq
    WHERE cardinality(p_codes) = 0 OR w.quantity IS NOT NULL ORDER BY u.unit
  LOOP
    SELECT r.status INTO v_status FROM ledger.refund_redemption(
      p_holder, s.unit, s.seq, s.amount, p_grace, p_partner, partners.using_key(p_key), partners.using_key(p_key), p_at) r;
    IF v_status NOT IN (0, 1) THEN
      RAISE EXCEPTION 'stamps of unit % of holder % cannot be given back: %', s.unit, p_holder, v_status USING ERRCODE = 'LX002';
    END IF;
    v_done := v_done + s.amount;
  END LOOP;
  RETURN v_done;
END $$;
