-- What a decision looks at of a member, in one read: facts of the members' package, what was bought before (added up, and
-- the receipts behind what is added up), stamps, what could be spent. seq is the account's number that all of it is as of.

-- When that was bought which a return or cancellation is about; null where that is no purchase.
CREATE FUNCTION partners.returned_from(p_holder bigint, p_unit smallint, p_original bigint) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
  SELECT o.occurred_at FROM partners.receipt o
  WHERE o.holder_id = p_holder AND o.unit = p_unit AND o.seq = p_original AND o.kind = 1
$$;

-- By how many purchases a return or cancellation lets there be fewer: -1 where it is the one that makes the purchase whole.
CREATE FUNCTION partners.purchases_returned(p_holder bigint, p_unit smallint, p_seq bigint, p_original bigint, p_total bigint)
RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN before.total < o.total AND before.total + p_total >= o.total THEN -1
              WHEN o.total = 0 AND before.times = 0 THEN -1 ELSE 0 END
  FROM partners.receipt o
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(b.total), 0) AS total, count(*) AS times FROM partners.receipt b
    WHERE b.holder_id = p_holder AND b.unit = p_unit AND b.original_seq = p_original AND b.seq < p_seq
  ) before
  WHERE o.holder_id = p_holder AND o.unit = p_unit AND o.seq = p_original
$$;

-- What a member's receipts behind an entry add to what was bought, each on the day of the purchase that it is about. A
-- purchase that was returned whole is none any more. Amounts of another currency than the base count nothing. Returns are few:
-- what is looked for of them is in functions of their own, which a reading without any neither plans nor begins.
CREATE FUNCTION partners.bought(p_holder bigint, p_unit smallint, p_after bigint, p_until bigint, p_zone text, p_currency text)
RETURNS TABLE (partner_id int, day date, purchases bigint, amount bigint)
LANGUAGE sql STABLE AS $$
  SELECT r.partner_id,
         (CASE WHEN r.original_seq IS NULL THEN r.occurred_at
               ELSE partners.returned_from(p_holder, p_unit, r.original_seq) END AT TIME ZONE p_zone)::date,
         CASE WHEN r.original_seq IS NULL THEN 1::bigint
              ELSE partners.purchases_returned(p_holder, p_unit, r.seq, r.original_seq, r.total) END,
         CASE WHEN r.currency <> p_currency THEN 0 WHEN r.original_seq IS NULL THEN r.total ELSE -r.total END
  FROM partners.receipt r
  WHERE r.holder_id = p_holder AND r.unit = p_unit AND r.seq > p_after AND r.seq <= p_until
    AND CASE WHEN r.original_seq IS NULL THEN r.kind = 1
             ELSE partners.returned_from(p_holder, p_unit, r.original_seq) IS NOT NULL END
$$;

-- What whoever is merged into a member bought, at a partner (0: anywhere) and in a period, which has a name and days (null:
-- ever): added up and behind that.
CREATE FUNCTION partners.bought_by_merged(
  p_member bigint, p_partner int, p_period text, p_days daterange, p_zone text, p_currency text,
  OUT purchases bigint, OUT amount bigint)
LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(x.purchases), 0), coalesce(sum(x.amount), 0)
  FROM members.selves(p_member) AS self(id)
  CROSS JOIN LATERAL (
    SELECT a.purchases, a.amount_minor AS amount FROM members.activity a
    WHERE a.member_id = self.id AND a.period = p_period AND a.partner_id = p_partner
    UNION ALL
    SELECT b.purchases, b.amount
    FROM (SELECT max(f.seq) AS seq FROM members.activity_position f WHERE f.member_id = self.id) added
    CROSS JOIN LATERAL partners.bought(
      self.id, 1::smallint, coalesce(added.seq, 0), 9223372036854775807, p_zone, p_currency) b
    WHERE p_partner IN (0, b.partner_id) AND (p_days IS NULL OR p_days @> b.day)
  ) x
  WHERE self.id <> p_member
$$;

-- Stamps that can be used up now, by the codes of their units.
CREATE FUNCTION partners.stamps_of(p_holder bigint, p_at timestamptz) RETURNS TABLE (stamps jsonb)
LANGUAGE sql STABLE AS $$
  SELECT coalesce(jsonb_object_agg(u.code, x.n), '{}')
  FROM partners.stamp_unit u
  CROSS JOIN LATERAL (
    SELECT sum(l.remaining) AS n FROM ledger.lot l
    WHERE l.holder_id = p_holder AND l.unit = u.unit AND l.open AND l.remaining > 0 AND l.activates_at <= p_at
      AND l.expires_at > p_at
  ) x WHERE x.n > 0
$$;

CREATE FUNCTION partners.member_facts(
  p_holders bigint[], p_partners int[], p_days date[], p_zone text, p_currency text, p_at timestamptz)
RETURNS TABLE (ord int, member_id bigint, tier text, status text, enrolled_at timestamptz, enrolled_by int,
               household_id bigint, segments text[], attributes text[], badges text[], sealed_key bytea, sealed bytea,
               counters jsonb, stamps jsonb, available bigint, spend_locked boolean, seq bigint, plan text,
               benefits text[])
LANGUAGE sql STABLE AS $$
  SELECT t.ord::int, t.holder_id, f.tier, f.status, f.enrolled_at, f.enrolled_by, f.household_id, f.segments,
         f.attributes, f.badges, f.sealed_key, f.sealed, c.counters, s.stamps, b.available, b.spend_locked, b.seq,
         f.plan, f.benefits
  FROM unnest(p_holders, p_partners, p_days) WITH ORDINALITY AS t(holder_id, partner_id, day, ord)
  CROSS JOIN LATERAL members.facts(t.holder_id, p_at) f
  JOIN ledger.account b ON b.holder_id = t.holder_id AND b.unit = 1
  CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_object_agg(v.name, v.n) FILTER (WHERE v.n <> 0), '{}') AS counters
    FROM (
      SELECT x.place, x.period, sum(x.purchases) AS purchases, sum(x.amount) AS amount
      FROM (
        SELECT CASE a.partner_id WHEN 0 THEN 'coalition' ELSE 'partner' END AS place, p.name AS period, a.purchases,
               a.amount_minor AS amount
        FROM members.selves(t.holder_id) AS self(id)
        JOIN members.activity a ON a.member_id = self.id AND a.period = ANY (members.periods(t.day))
          AND a.partner_id IN (0, t.partner_id)
        JOIN unnest(ARRAY['ever', 'year', 'month', 'day'], members.periods(t.day)) AS p(name, period) ON p.period = a.period
        UNION ALL
        SELECT w.place, p.name, g.purchases, g.amount
        FROM members.selves(t.holder_id) AS self(id)
        JOIN ledger.account own ON own.holder_id = self.id AND own.unit = 1
        LEFT JOIN members.activity_position at ON at.member_id = self.id
        CROSS JOIN LATERAL (  -- one row a day and place before anything is made of it: there may be many receipts
          SELECT b.partner_id = t.partner_id AS is_here, b.day, sum(b.purchases) AS purchases, sum(b.amount) AS amount
          FROM partners.bought(self.id, 1::smallint, coalesce(at.seq, 0), own.seq, p_zone, p_currency) b GROUP BY 1, 2
        ) g
        CROSS JOIN LATERAL unnest(ARRAY['ever', 'year', 'month', 'day'], members.periods(g.day)) AS p(name, period)
        CROSS JOIN LATERAL (VALUES ('coalition'), (CASE WHEN g.is_here THEN 'partner' END)) AS w(place)
        WHERE p.period = ANY (members.periods(t.day)) AND w.place IS NOT NULL
      ) x GROUP BY 1, 2
    ) n
    CROSS JOIN LATERAL (VALUES (n.place || '.' || n.period || '.count', n.purchases),
                               (n.place || '.' || n.period || '.sum', n.amount)) AS v(name, n)
  ) c
  CROSS JOIN LATERAL partners.stamps_of(t.holder_id, p_at) s
  ORDER BY t.ord
$$;

-- Add up what was bought of the next members in order of their numbers (of some only, where they are named); how many there were, how many had something new,
-- and where to go on (null: at the end). While another does it, nothing: one is enough.
CREATE FUNCTION partners.fold_activity(
  p_after bigint, p_limit int, p_zone text, p_currency text, p_only bigint[],
  OUT looked bigint, OUT folded bigint, OUT next_after bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_holders bigint[]; v_from bigint[]; v_until bigint[]; v_all bigint[];
BEGIN
  looked := 0;
  folded := 0;
  IF NOT pg_try_advisory_xact_lock(7305007) THEN
    RETURN;
  END IF;
  v_all := ARRAY(SELECT a.holder_id FROM ledger.account a WHERE a.holder_id > p_after AND a.unit = 1 AND (p_only IS NULL OR a.holder_id = ANY (p_only))
                 ORDER BY a.holder_id LIMIT p_limit);
  SELECT array_agg(a.holder_id ORDER BY a.holder_id), array_agg(coalesce(p.seq, 0) ORDER BY a.holder_id),
         array_agg(a.seq ORDER BY a.holder_id)
  INTO v_holders, v_from, v_until
  FROM ledger.account a LEFT JOIN members.activity_position p ON p.member_id = a.holder_id
  WHERE a.holder_id = ANY (v_all) AND a.unit = 1 AND a.seq > coalesce(p.seq, 0);
  looked := cardinality(v_all);
  folded := coalesce(cardinality(v_holders), 0);
  next_after := CASE WHEN looked = p_limit THEN v_all[p_limit] END;
  IF folded > 0 THEN
    PERFORM members.add_activity(
      array_agg(g.holder_id), array_agg(g.partner_id), array_agg(g.day), array_agg(g.purchases), array_agg(g.amount),
      v_holders, v_from, v_until)
    FROM (
      SELECT h.holder_id, b.partner_id, b.day, sum(b.purchases)::bigint AS purchases, sum(b.amount)::bigint AS amount
      FROM unnest(v_holders, v_from, v_until) AS h(holder_id, after, until)
      CROSS JOIN LATERAL partners.bought(h.holder_id, 1::smallint, h.after, h.until, p_zone, p_currency) b
      GROUP BY 1, 2, 3
    ) g;
  END IF;
END $$;

-- What is wrong with mechanics; must be nothing.
-- M1: a coupon that is redeemed was redeemed once, and no other was. M2: what is counted of a batch is what was reserved or
-- redeemed of it. M3: as many of a reward are taken as were ordered and not returned. M4: what was added up is what the
-- receipts say up to there.
CREATE FUNCTION partners.audit_mechanics(p_zone text, p_currency text)
RETURNS TABLE (rule text, holder_id bigint, detail text) LANGUAGE sql STABLE AS $$
  SELECT 'M1', c.holder_id, format('coupon %s is in state %s and was redeemed %s times', c.coupon_id, c.state, u.times)
  FROM partners.coupon c JOIN partners.coupon_batch b USING (batch_id)
  CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE x.state = 3) AS times FROM partners.coupon_use x WHERE x.coupon_id = c.coupon_id) u
  WHERE b.kind = 'UNIQUE' AND u.times <> CASE c.state WHEN 3 THEN 1 ELSE 0 END
  UNION ALL
  SELECT 'M2', n.holder_id, format('batch %s: %s counted, %s used', n.batch_id, n.used, u.times)
  FROM partners.coupon_count n
  CROSS JOIN LATERAL (
    SELECT count(*) AS times FROM partners.coupon_use x
    WHERE x.batch_id = n.batch_id AND x.state IN (2, 3) AND n.holder_id IN (0, x.holder_id)) u
  WHERE n.used <> u.times
  UNION ALL
  SELECT 'M3', NULL, format('reward %s: %s taken, %s ordered', w.reward_id, w.taken, o.orders)
  FROM partners.reward w
  CROSS JOIN LATERAL (
    SELECT count(*) AS orders FROM partners.reward_order x WHERE x.reward_id = w.reward_id AND x.returned_at IS NULL) o
  WHERE w.taken <> o.orders
  UNION ALL
  SELECT 'M4', coalesce(a.member_id, f.member_id),
         format('%s at partner %s: %s purchases of %s added up, receipts say %s of %s', coalesce(a.period, f.period),
                coalesce(a.partner_id, f.partner_id), a.purchases, a.amount_minor, f.purchases, f.amount)
  FROM members.activity a
  FULL JOIN (
    SELECT p.member_id, period, w.partner_id, sum(g.purchases) AS purchases, sum(g.amount) AS amount
    FROM members.activity_position p
    CROSS JOIN LATERAL partners.bought(p.member_id, 1::smallint, 0, p.seq, p_zone, p_currency) g
    CROSS JOIN LATERAL unnest(members.periods(g.day)) AS period
    CROSS JOIN LATERAL (VALUES (0), (g.partner_id)) AS w(partner_id)
    GROUP BY 1, 2, 3
  ) f USING (member_id, period, partner_id)
  WHERE (a.purchases, a.amount_minor) IS DISTINCT FROM (f.purchases, f.amount)
$$;
