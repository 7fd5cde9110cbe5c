-- What a decision above gives a member beside points, once per cause, and its end where the cause is no more.

CREATE FUNCTION members.give_badges(
  p_member bigint, p_cause uuid, p_at timestamptz, p_badges text[], p_expires timestamptz[]) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO members.badge (member_id, badge, cause, at, expires_at)
  SELECT p_member, t.badge, p_cause, p_at, max(t.expires_at)
  FROM unnest(p_badges, p_expires) AS t(badge, expires_at) GROUP BY t.badge
  ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION members.give_tier_credits(
  p_member bigint, p_cause uuid, p_at timestamptz, p_reasons text[], p_credits int[]) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO members.tier_credit (member_id, reason, cause, credits, at)
  SELECT p_member, t.reason, p_cause, sum(t.credits), p_at
  FROM unnest(p_reasons, p_credits) AS t(reason, credits) GROUP BY t.reason
  ON CONFLICT DO NOTHING
$$;

-- Take badges of a cause back, and so much of its credit for each reason as there is.
CREATE FUNCTION members.revoke_grants(
  p_member bigint, p_cause uuid, p_at timestamptz, p_badges text[], p_reasons text[], p_credits int[]) RETURNS void
LANGUAGE sql AS $$
  UPDATE members.badge SET revoked_at = p_at
  WHERE member_id = p_member AND cause = p_cause AND badge = ANY (p_badges) AND revoked_at IS NULL;
  UPDATE members.tier_credit c
  SET credits = CASE WHEN c.credits > t.credits THEN c.credits - t.credits ELSE c.credits END,
      revoked_at = CASE WHEN c.credits <= t.credits THEN p_at END
  FROM (SELECT g.reason, sum(g.credits) AS credits FROM unnest(p_reasons, p_credits) AS g(reason, credits) GROUP BY 1) t
  WHERE c.member_id = p_member AND c.cause = p_cause AND c.reason = t.reason AND c.revoked_at IS NULL
$$;

-- What is given to a person once in the whole coalition, whoever they are a member as.
CREATE FUNCTION members.was_given(p_person uuid, p_what text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM members.person_once o WHERE o.person = p_person AND o.what = p_what)
$$;

CREATE FUNCTION members.give_once(p_person uuid, p_what text, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO members.person_once (person, what, at) VALUES (p_person, p_what, p_at) ON CONFLICT DO NOTHING;
  RETURN FOUND;
END $$;
