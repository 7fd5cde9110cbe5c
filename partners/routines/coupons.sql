-- Coupons inside a purchase's call: the caller has locked the account and asked what is known of the claim. Everything
-- is locked and looked at before anything is written, so that a "no" has written nothing. What changed in this very
-- moment under a limit that two share undoes the call with TS003: decide again.
--
-- status: 0 fine, 40 no good (reason tells staff why, nobody else), 41 more of a batch than one purchase takes,
--         42 fewer than one benefit needs, 43 the batch is guessed at: only with a proof of the member, 44 used up
-- reason: UNKNOWN, FOREIGN (another member's or partner's), REDEEMED, RESERVED, VOID, EARLY, EXPIRED, STOPPED
-- states: 0 generated, 1 issued, 2 reserved, 3 redeemed, 4 void; of a use 5 released, 6 given back

-- What is known of codes, for a member at a partner, at an instant. p_by: the reservation that they are under, if any.
CREATE FUNCTION partners.judge_coupons(
  p_lookups uuid[], p_holder bigint, p_partner int, p_by uuid, p_at timestamptz)
RETURNS TABLE (ord int, reason text, coupon_id bigint, batch_id int, generic boolean)
LANGUAGE sql STABLE AS $$
  SELECT t.ord::int,
         CASE
           WHEN c.coupon_id IS NULL THEN 'UNKNOWN'
           WHEN c.holder_id IS NOT NULL AND c.holder_id <> ALL (ARRAY(SELECT members.selves(p_holder))) THEN 'FOREIGN'
           WHEN cardinality(b.honoured_by) > 0 AND p_partner <> ALL (b.honoured_by) THEN 'FOREIGN'
           WHEN c.state = 4 THEN 'VOID'
           WHEN c.state = 3 THEN 'REDEEMED'
           WHEN c.state = 0 THEN 'UNKNOWN'
           WHEN c.state = 2 AND c.reserved_by IS DISTINCT FROM p_by AND c.reserved_until > p_at THEN 'RESERVED'
           WHEN b.bound_to = 'MEMBER' AND c.holder_id IS NULL THEN 'FOREIGN'
           WHEN p_at < b.valid_from THEN 'EARLY'
           WHEN p_at >= least(c.expires_at, b.expires_at) THEN 'EXPIRED'
           WHEN b.stopped_at <= p_at THEN 'STOPPED'
         END,
         c.coupon_id, c.batch_id, b.kind = 'GENERIC'
  FROM unnest(p_lookups) WITH ORDINALITY AS t(lookup, ord)
  LEFT JOIN partners.coupon c ON c.code_lookup = t.lookup
  LEFT JOIN partners.coupon_batch b ON b.batch_id = c.batch_id
$$;

-- How many more of a batch may be used, by this member too. What is reserved and over is free.
CREATE FUNCTION partners.coupons_left(p_batch int, p_holder bigint, p_at timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT least(b.total_limit - coalesce(t.used, 0) + o.lapsed, b.member_limit - coalesce(m.used, 0) + o.own,
               9223372036854775807)
  FROM partners.coupon_batch b
  CROSS JOIN LATERAL (
    SELECT count(*) AS lapsed, count(*) FILTER (WHERE u.holder_id = p_holder) AS own FROM partners.coupon_use u
    WHERE u.batch_id = p_batch AND u.state = 2 AND u.until <= p_at
  ) o
  LEFT JOIN partners.coupon_count t ON t.batch_id = b.batch_id AND t.holder_id = 0
  LEFT JOIN partners.coupon_count m ON m.batch_id = b.batch_id AND m.holder_id = p_holder
  WHERE b.batch_id = p_batch
$$;

-- What stands in the way of coupons that are good, by their batches: status 41 to 44 and the batch, else 0. p_by is the
-- basket that they are for, whose own reservation counts already. A quote asks it too: it writes nothing.
CREATE FUNCTION partners.weigh_coupons(
  p_lookups uuid[], p_holder bigint, p_by uuid, p_proved boolean, p_wall timestamptz, p_at timestamptz,
  OUT status smallint, OUT batch_id int)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE b record;
BEGIN
  FOR b IN
    SELECT c.batch_id, t.per_receipt, t.needed, count(*) AS shown, count(DISTINCT c.coupon_id) AS coupons,
           count(*) FILTER (WHERE NOT EXISTS (
             SELECT FROM partners.coupon_use u
             WHERE u.coupon_id = c.coupon_id AND u.used_by = p_by AND u.state = 2 AND u.until > p_at)) AS new,
           coalesce(t.total_limit, t.member_limit) IS NOT NULL AS limited
    FROM unnest(p_lookups) AS v(lookup) JOIN partners.coupon c ON c.code_lookup = v.lookup
    JOIN partners.coupon_batch t USING (batch_id) GROUP BY c.batch_id, t.batch_id ORDER BY c.batch_id
  LOOP
    batch_id := b.batch_id;
    status := CASE
      WHEN b.shown > least(b.per_receipt, b.coupons) THEN 41
      WHEN b.shown % b.needed <> 0 THEN 42
      WHEN NOT p_proved AND partners.is_guessed_at(b.batch_id, p_wall, p_at) THEN 43
      ELSE 0 END;
    IF status = 0 AND b.limited AND b.new > 0 AND partners.coupons_left(b.batch_id, p_holder, p_at) < b.new THEN
      status := 44;
    END IF;
    IF status <> 0 THEN
      RETURN;
    END IF;
  END LOOP;
  status := 0;
  batch_id := NULL;
END $$;

-- Give back what reservations of a batch took whose time is over: due, whoever comes next.
CREATE FUNCTION partners.lapse_coupons(p_batch int, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  WITH lapsed AS (
    SELECT u.coupon_id, u.used_by FROM partners.coupon_use u
    WHERE u.batch_id = p_batch AND u.state = 2 AND u.until <= p_at
    ORDER BY u.coupon_id, u.used_by FOR NO KEY UPDATE
  ), released AS (
    UPDATE partners.coupon_use u SET state = 5 FROM lapsed l
    WHERE u.coupon_id = l.coupon_id AND u.used_by = l.used_by RETURNING u.holder_id
  ), fewer AS (
    SELECT holder_id, count(*) AS released FROM released GROUP BY holder_id
    UNION ALL SELECT 0, count(*) FROM released HAVING count(*) > 0
  )
  UPDATE partners.coupon_count n SET used = n.used - f.released FROM fewer f
  WHERE n.batch_id = p_batch AND n.holder_id = f.holder_id;
END $$;

-- Reserve (p_until given) or redeem (p_claim given) coupons, all or none, once each.
CREATE FUNCTION partners.use_coupons(
  p_lookups uuid[], p_holder bigint, p_partner int, p_by uuid, p_claim uuid, p_until timestamptz, p_proved boolean,
  p_wall timestamptz, p_at timestamptz,
  OUT status smallint, OUT reason text, OUT batch_id int)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE v_batch int; v_ids bigint[]; v_new bigint[]; v_by uuid := coalesce(p_by, p_claim);
BEGIN
  status := 0;
  IF coalesce(cardinality(p_lookups), 0) = 0 THEN
    RETURN;
  END IF;
  PERFORM FROM partners.coupon c JOIN partners.coupon_batch t USING (batch_id)
  WHERE c.code_lookup = ANY (p_lookups) AND t.kind = 'UNIQUE' ORDER BY c.coupon_id FOR NO KEY UPDATE OF c;
  SELECT 40, j.reason, j.batch_id INTO status, reason, batch_id
  FROM partners.judge_coupons(p_lookups, p_holder, p_partner, v_by, p_at) j
  WHERE j.reason IS NOT NULL ORDER BY j.ord LIMIT 1;
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT array_agg(j.coupon_id ORDER BY j.coupon_id),
         array_agg(j.coupon_id ORDER BY j.coupon_id) FILTER (WHERE NOT EXISTS (
           SELECT FROM partners.coupon_use u
           WHERE u.coupon_id = j.coupon_id AND u.used_by = v_by AND u.state = 2 AND u.until > p_at))
  INTO v_ids, v_new
  FROM partners.judge_coupons(p_lookups, p_holder, p_partner, v_by, p_at) j;
  SELECT w.status, w.batch_id INTO status, batch_id
  FROM partners.weigh_coupons(p_lookups, p_holder, v_by, p_proved, p_wall, p_at) w;
  IF status <> 0 THEN
    RETURN;
  END IF;
  FOR v_batch IN
    SELECT DISTINCT c.batch_id FROM partners.coupon c JOIN partners.coupon_batch t USING (batch_id)
    WHERE c.coupon_id = ANY (v_new) AND coalesce(t.total_limit, t.member_limit) IS NOT NULL ORDER BY c.batch_id
  LOOP
    PERFORM partners.lapse_coupons(v_batch, p_at);
  END LOOP;
  PERFORM partners.count_coupons(v_new, p_holder);
  UPDATE partners.coupon c
  SET state = CASE WHEN p_claim IS NULL THEN 2 ELSE 3 END, reserved_by = CASE WHEN p_claim IS NULL THEN v_by END,
      reserved_until = CASE WHEN p_claim IS NULL THEN p_until END
  FROM partners.coupon_batch t
  WHERE c.coupon_id = ANY (v_ids) AND t.batch_id = c.batch_id AND t.kind = 'UNIQUE';
  INSERT INTO partners.coupon_use AS u (coupon_id, used_by, holder_id, until, at, claim, partner_id, batch_id, state)
  SELECT c.coupon_id, v_by, p_holder, CASE WHEN p_claim IS NULL THEN p_until END, p_at, p_claim, p_partner, c.batch_id,
         CASE WHEN p_claim IS NULL THEN 2 ELSE 3 END
  FROM partners.coupon c WHERE c.coupon_id = ANY (v_ids)
  ON CONFLICT (coupon_id, used_by) DO UPDATE
  SET state = EXCLUDED.state, until = EXCLUDED.until, claim = EXCLUDED.claim, at = EXCLUDED.at;
END $$;

-- Count uses of batches that have a limit; what two take in one moment is stopped here.
CREATE FUNCTION partners.count_coupons(p_coupons bigint[], p_holder bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_wanted bigint; v_done bigint;
BEGIN
  WITH used AS (
    SELECT c.batch_id, count(*) AS n FROM partners.coupon c WHERE c.coupon_id = ANY (p_coupons) GROUP BY c.batch_id
  ), wanted AS (
    SELECT h.holder_id, b.batch_id, u.n, h.most
    FROM used u JOIN partners.coupon_batch b USING (batch_id)
    CROSS JOIN LATERAL (VALUES (0::bigint, b.total_limit), (p_holder, b.member_limit)) AS h(holder_id, most)
    WHERE h.most IS NOT NULL ORDER BY b.batch_id, h.holder_id
  ), counted AS (
    INSERT INTO partners.coupon_count AS n (holder_id, batch_id, used, most)
    SELECT w.holder_id, w.batch_id, w.n, w.most FROM wanted w
    ON CONFLICT (holder_id, batch_id) DO UPDATE SET used = n.used + EXCLUDED.used
    WHERE n.used + EXCLUDED.used <= n.most
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM counted) INTO v_wanted, v_done;
  IF v_done < v_wanted THEN
    RAISE EXCEPTION 'the last coupons of a batch went in this moment' USING ERRCODE = 'TS003';
  END IF;
END $$;

-- Whether so many codes of a batch were no good of late, and fewer were used, that it takes a proof to use one.
CREATE FUNCTION partners.is_guessed_at(p_batch int, p_wall timestamptz, p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM partners.coupon_guess g
    WHERE g.kind = 'BATCH' AND g.subject = p_batch AND g.began_at > p_wall - interval '5 minutes' AND g.wrong >= 20
      AND g.wrong > (SELECT count(*) FROM partners.coupon_use u
                     WHERE u.batch_id = p_batch AND u.at > p_at - interval '5 minutes'))
$$;

-- Let a reservation go; how many coupons it held. With p_claim: give back what a purchase that was taken back had used; all
-- of it, or of several coupons those whose numbers are given. One whose own cause went back is void instead. What another
-- basket has by now, since the time of this one was over, stays that one's.
CREATE FUNCTION partners.release_coupons(p_by uuid, p_claim uuid, p_lookups uuid[], p_coupons bigint[] DEFAULT NULL)
RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_done int;
BEGIN
  WITH chosen AS (
    SELECT u.coupon_id, u.used_by, u.state FROM partners.coupon_use u JOIN partners.coupon c USING (coupon_id)
    WHERE (p_claim IS NULL AND c.code_lookup = ANY (p_lookups) AND u.used_by = p_by AND u.state = 2)
       OR (u.claim = p_claim AND u.state = 3 AND (p_coupons IS NULL OR u.coupon_id = ANY (p_coupons)))
    ORDER BY u.coupon_id, u.used_by FOR NO KEY UPDATE
  ), freed AS (
    UPDATE partners.coupon_use u SET state = CASE o.state WHEN 2 THEN 5 ELSE 6 END FROM chosen o
    WHERE u.coupon_id = o.coupon_id AND u.used_by = o.used_by RETURNING u.coupon_id, u.holder_id, u.batch_id
  ), coupon AS (
    UPDATE partners.coupon c
    SET state = CASE WHEN c.revoked_at IS NULL THEN 1 ELSE 4 END, reserved_by = NULL, reserved_until = NULL FROM freed f
    WHERE c.coupon_id = f.coupon_id AND CASE WHEN p_claim IS NULL THEN c.state = 2 AND c.reserved_by = p_by ELSE c.state = 3 END
  ), fewer AS (
    SELECT batch_id, holder_id, count(*) AS n FROM freed GROUP BY batch_id, holder_id
    UNION ALL SELECT batch_id, 0, count(*) FROM freed GROUP BY batch_id
  ), counted AS (
    UPDATE partners.coupon_count n SET used = n.used - f.n FROM fewer f
    WHERE n.batch_id = f.batch_id AND n.holder_id = f.holder_id
  )
  SELECT count(*) INTO v_done FROM freed;
  RETURN v_done;
END $$;

-- Grant coupons to a member for a cause, once each, whoever asks again; how many are new.
CREATE FUNCTION partners.grant_coupons(
  p_holder bigint, p_cause uuid, p_batches int[], p_lookups uuid[], p_tails text[], p_expires timestamptz[])
RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_done int;
BEGIN
  WITH granted AS (
    INSERT INTO partners.coupon (code_lookup, expires_at, holder_id, cause, batch_id, cause_no, state, tail)
    SELECT t.lookup, t.expires_at, p_holder, p_cause, t.batch_id,
           row_number() OVER (PARTITION BY t.batch_id ORDER BY t.ord), 1, t.tail
    FROM unnest(p_batches, p_lookups, p_tails, p_expires) WITH ORDINALITY AS t(batch_id, lookup, tail, expires_at, ord)
    ON CONFLICT (cause, batch_id, cause_no) DO NOTHING RETURNING 1
  )
  SELECT count(*) INTO v_done FROM granted;
  RETURN v_done;
END $$;

-- Take back the coupons that a purchase which was taken back had granted, as far as nobody has used them; how many.
CREATE FUNCTION partners.void_granted_coupons(p_cause uuid) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_done int;
BEGIN
  UPDATE partners.coupon SET state = 4, reserved_by = NULL, reserved_until = NULL
  WHERE cause = p_cause AND state IN (0, 1, 2);
  GET DIAGNOSTICS v_done = ROW_COUNT;
  RETURN v_done;
END $$;
