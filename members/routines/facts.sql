-- What is true of members at an instant, for those who decide above. A member's own number is taken as it is; whom it
-- stands for is found before.

-- A member, and who is merged into them now; nobody twice, as only the last row of each counts.
CREATE FUNCTION members.selves(p_member bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
  SELECT p_member
  UNION ALL
  SELECT s.member_id FROM members.succession s
  WHERE s.survivor_id = p_member AND s.member_id <> p_member AND s.seq = (
    SELECT max(n.seq) FROM members.succession n WHERE n.member_id = s.member_id)
$$;

-- The card that has this keyed hash of its number, and the member that it stands for now. issued_to is the member whom it is
-- of where that one was ever merged. Nothing where there is no such card.
CREATE FUNCTION members.recognised(p_lookup uuid)
RETURNS TABLE (card_id bigint, card_status text, member_id bigint, member_status text, tier text, language text,
               issued_to bigint)
LANGUAGE sql STABLE AS $$
  SELECT c.card_id, c.status, m.member_id, m.status, m.tier, m.language, s.member_id
  FROM members.card c
  LEFT JOIN LATERAL (
    SELECT x.member_id, x.survivor_id FROM members.succession x WHERE x.member_id = c.member_id ORDER BY x.seq DESC LIMIT 1
  ) s ON true
  JOIN members.member m ON m.member_id = coalesce(s.survivor_id, c.member_id)
  WHERE c.number_lookup = p_lookup
$$;

-- The periods of a day that activity is added up by. The parts are put together here: to_char is only STABLE, and what
-- calls it cannot be declared IMMUTABLE, nor inlined.
CREATE FUNCTION members.digits(p_number numeric, p_length int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT lpad(p_number::int::text, p_length, '0')
$$;
CREATE FUNCTION members.periods(p_day date) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
  SELECT ARRAY[
    'ever', members.digits(extract(year FROM p_day), 4),
    members.digits(extract(year FROM p_day), 4) || '-' || members.digits(extract(month FROM p_day), 2),
    members.digits(extract(year FROM p_day), 4) || '-' || members.digits(extract(month FROM p_day), 2) || '-'
      || members.digits(extract(day FROM p_day), 2)]
$$;

-- Grants less blocks, of the member's own subscriptions and of those in which they have a seat. Of one subscription the
-- last grant that covers the instant says the plan; a block of one subscription takes nothing from another.
CREATE FUNCTION members.entitled(p_member bigint, p_at timestamptz)
RETURNS TABLE (owner_id bigint, subscription_no bigint, plan text, benefits text[], is_trial boolean, valid_until timestamptz)
LANGUAGE sql STABLE AS $$
  SELECT DISTINCT ON (g.subscription_no) g.holder_id, g.subscription_no, p.code,
         ARRAY(SELECT b.benefit FROM members.plan_benefit b WHERE b.plan_id = g.plan_id ORDER BY 1),
         g.source IN ('TRIAL', 'FREE'), g.valid_until
  FROM (
    SELECT s.id AS holder_id, NULL::bigint AS subscription_no FROM members.selves(p_member) AS s(id)
    UNION ALL
    SELECT t.holder_id, t.subscription_no FROM members.subscription_seat t
    WHERE t.member_id IN (SELECT members.selves(p_member)) AND t.accepted_at <= p_at AND t.removed_at IS NULL
  ) w
  JOIN members.entitlement_grant g ON g.holder_id = w.holder_id
    AND g.subscription_no = coalesce(w.subscription_no, g.subscription_no)
    AND g.valid_from <= p_at AND g.valid_until > p_at
  JOIN members.plan p ON p.plan_id = g.plan_id
  WHERE NOT EXISTS (
    SELECT FROM members.entitlement_block x
    WHERE x.holder_id = g.holder_id AND x.subscription_no = g.subscription_no AND x.valid_from <= p_at)
  ORDER BY g.subscription_no, g.grant_no DESC
$$;

-- What a rule may ask of a member, each by itself, so that a decision reads no more than its rules name. They are all
-- queries in FROM, which the planner takes apart: a function of one value would be called once per member.

-- Segments, in the version of each that is in force, also those of whom the member stands for.
CREATE FUNCTION members.segments_of(p_member bigint, p_at timestamptz) RETURNS TABLE (segments text[])
LANGUAGE sql STABLE AS $$
  SELECT ARRAY(SELECT DISTINCT s.segment FROM members.selves(p_member) AS self(id)
               JOIN members.segment_member s ON s.member_id = self.id
               JOIN LATERAL (
                 SELECT v.version FROM members.segment_version v
                 WHERE v.segment = s.segment AND v.valid_from <= p_at ORDER BY v.version DESC LIMIT 1
               ) v ON v.version = s.version
               ORDER BY 1)
$$;

-- Attributes that are verified and have not expired; what was found last counts, whichever number it was noted of.
CREATE FUNCTION members.attributes_of(p_member bigint, p_at timestamptz) RETURNS TABLE (attributes text[])
LANGUAGE sql STABLE AS $$
  SELECT ARRAY(SELECT a.kind FROM (
                 SELECT DISTINCT ON (x.kind) x.kind, x.holds, x.expires_at FROM members.selves(p_member) AS self(id)
                 JOIN members.attribute x ON x.member_id = self.id
                 WHERE x.at <= p_at ORDER BY x.kind, x.at DESC, x.seq DESC) a
               WHERE a.holds AND a.expires_at > p_at ORDER BY 1)
$$;

-- Badges, also of whom the member stands for.
CREATE FUNCTION members.badges_of(p_member bigint, p_at timestamptz) RETURNS TABLE (badges text[])
LANGUAGE sql STABLE AS $$
  SELECT ARRAY(SELECT DISTINCT b.badge FROM members.selves(p_member) AS self(id)
               JOIN members.badge b ON b.member_id = self.id
               WHERE b.at <= p_at
                 AND (b.expires_at IS NULL OR b.expires_at > p_at) AND (b.revoked_at IS NULL OR b.revoked_at > p_at)
               ORDER BY 1)
$$;

-- The household that the member is in, or is; null for none.
CREATE FUNCTION members.household_of(p_member bigint, p_at timestamptz) RETURNS TABLE (household_id bigint)
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN m.status = 'HOUSEHOLD' THEN m.member_id ELSE h.household_id END
  FROM members.member m
  LEFT JOIN LATERAL (
    SELECT x.household_id FROM (
      SELECT household_id, joined FROM members.household_move WHERE member_id = m.member_id AND at <= p_at
      ORDER BY seq DESC LIMIT 1) x WHERE x.joined
  ) h ON true
  WHERE m.member_id = p_member
$$;

-- The plan, empty for none, and every benefit of every subscription.
CREATE FUNCTION members.plan_of(p_member bigint, p_at timestamptz) RETURNS TABLE (plan text, benefits text[])
LANGUAGE sql STABLE AS $$
  SELECT coalesce((array_agg(x.plan ORDER BY x.subscription_no))[1], ''),
         coalesce(array_agg(DISTINCT b ORDER BY b) FILTER (WHERE b IS NOT NULL), '{}')
  FROM members.entitled(p_member, p_at) x LEFT JOIN LATERAL unnest(x.benefits) AS b ON true
$$;

-- The day of birth as it is sealed, and the key it is sealed under, itself sealed.
CREATE FUNCTION members.birth_of(p_member bigint) RETURNS TABLE (sealed_key bytea, sealed bytea)
LANGUAGE sql STABLE AS $$
  SELECT k.sealed_key, p.sealed
  FROM members.member m
  LEFT JOIN members.member_key k ON k.member_id = m.member_id
  LEFT JOIN members.personal p ON p.member_id = m.member_id
  WHERE m.member_id = p_member
$$;

-- Since when and through whom somebody is a member.
CREATE FUNCTION members.enrolment_of(p_member bigint) RETURNS TABLE (enrolled_at timestamptz, enrolled_by int)
LANGUAGE sql STABLE AS $$ SELECT m.enrolled_at, m.enrolled_by FROM members.member m WHERE m.member_id = p_member $$;

-- All that a rule may ask of a member: nothing personal in clear.
CREATE FUNCTION members.facts(p_member bigint, p_at timestamptz)
RETURNS TABLE (tier text, status text, enrolled_at timestamptz, enrolled_by int, household_id bigint, segments text[],
               attributes text[], badges text[], tier_credits bigint, sealed_key bytea, sealed bytea, plan text,
               benefits text[])
LANGUAGE sql STABLE AS $$
  SELECT m.tier, m.status, m.enrolled_at, m.enrolled_by, h.household_id, s.segments, a.attributes, b.badges,
         (SELECT coalesce(sum(c.credits), 0)::bigint FROM members.tier_credit c
          WHERE c.member_id IN (SELECT members.selves(m.member_id)) AND c.at <= p_at
            AND (c.revoked_at IS NULL OR c.revoked_at > p_at)),
         k.sealed_key, k.sealed, e.plan, e.benefits
  FROM members.member m
  CROSS JOIN LATERAL members.plan_of(m.member_id, p_at) e
  CROSS JOIN LATERAL members.household_of(m.member_id, p_at) h
  CROSS JOIN LATERAL members.segments_of(m.member_id, p_at) s
  CROSS JOIN LATERAL members.attributes_of(m.member_id, p_at) a
  CROSS JOIN LATERAL members.badges_of(m.member_id, p_at) b
  CROSS JOIN LATERAL members.birth_of(m.member_id) k
  WHERE m.member_id = p_member
$$;

-- Add to what members bought: a row is a change on a day at a partner (never 0). The caller has read it from receipts up
-- to the positions given, and nobody else added meanwhile: each position must be the one that it was read from.
CREATE FUNCTION members.add_activity(
  p_members bigint[], p_partners int[], p_days date[], p_purchases bigint[], p_amounts bigint[],
  p_of bigint[], p_from bigint[], p_until bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_moved bigint;
BEGIN
  WITH moved AS (
    INSERT INTO members.activity_position AS p (member_id, seq)
    SELECT * FROM unnest(p_of, p_until) ORDER BY 1
    ON CONFLICT (member_id) DO UPDATE SET seq = EXCLUDED.seq
    WHERE p.seq = (SELECT f.seq FROM unnest(p_of, p_from) AS f(member_id, seq) WHERE f.member_id = p.member_id)
    RETURNING 1
  )
  SELECT count(*) INTO v_moved FROM moved;
  IF v_moved <> cardinality(p_of) THEN
    RAISE EXCEPTION 'somebody else added these members up' USING ERRCODE = 'TS004';
  END IF;
  INSERT INTO members.activity AS a (member_id, period, partner_id, purchases, amount_minor)
  SELECT t.member_id, period, w.partner_id, sum(t.purchases), sum(t.amount)
  FROM unnest(p_members, p_partners, p_days, p_purchases, p_amounts) AS t(member_id, partner_id, day, purchases, amount)
  CROSS JOIN LATERAL unnest(members.periods(t.day)) AS period
  CROSS JOIN LATERAL (VALUES (0), (t.partner_id)) AS w(partner_id)
  GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ON CONFLICT (member_id, period, partner_id) DO UPDATE
  SET purchases = a.purchases + EXCLUDED.purchases, amount_minor = a.amount_minor + EXCLUDED.amount_minor;
END $$;

-- Whether any of some members was ever in a household that any of others was in.
CREATE FUNCTION members.shared_household(p_members bigint[], p_others bigint[]) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM members.household_move a JOIN members.household_move b USING (household_id)
    WHERE a.member_id = ANY (p_members) AND b.member_id = ANY (p_others))
$$;
