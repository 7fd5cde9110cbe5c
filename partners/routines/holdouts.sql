-- Arms of members in experiments, as they are stored; of who has none yet the household, which may be drawn in their place.
CREATE FUNCTION partners.arms_of(p_holders bigint[], p_experiments text[], p_at timestamptz)
RETURNS TABLE (ord int, arm text, household_id bigint)
LANGUAGE sql STABLE AS $$
  SELECT t.ord::int, a.arm, f.household_id
  FROM unnest(p_holders, p_experiments) WITH ORDINALITY AS t(holder_id, experiment, ord)
  LEFT JOIN partners.holdout_arm a ON a.holder_id = t.holder_id AND a.experiment = t.experiment
  LEFT JOIN LATERAL members.facts(t.holder_id, p_at) f ON a.arm IS NULL
  ORDER BY t.ord
$$;

-- Store arms of members who have none; whatever another call stored first is what counts. Returns those that count.
CREATE FUNCTION partners.keep_arms(
  p_holders bigint[], p_experiments text[], p_arms text[], p_drawn text[], p_at timestamptz)
RETURNS TABLE (ord int, arm text)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO partners.holdout_arm (holder_id, experiment, arm, drawn, at)
  SELECT t.holder_id, t.experiment, t.arm, t.drawn, p_at
  FROM unnest(p_holders, p_experiments, p_arms, p_drawn) AS t(holder_id, experiment, arm, drawn)
  ORDER BY t.holder_id, t.experiment
  ON CONFLICT DO NOTHING;
  RETURN QUERY
    SELECT t.ord::int, a.arm
    FROM unnest(p_holders, p_experiments) WITH ORDINALITY AS t(holder_id, experiment, ord)
    JOIN partners.holdout_arm a ON a.holder_id = t.holder_id AND a.experiment = t.experiment;
END $$;
