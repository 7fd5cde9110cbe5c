-- Budgets that count over any run of so many days. Their periods are a day and the number of days: 2026-03-05/30.

-- What is used of a budget, at most, in any run of days that the period's day is in.
CREATE FUNCTION partners.used_in_window(p_budget int, p_scope text, p_period text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT max(w.used)::bigint
  FROM (
    SELECT d.day, sum(d.used) OVER (
             ORDER BY d.day RANGE BETWEEN make_interval(days => split_part(p_period, '/', 2)::int - 1) PRECEDING AND CURRENT ROW) AS used
    FROM (
      SELECT left(k.period, 10)::date AS day, k.used
      FROM partners.budget_counter k
      WHERE k.budget_id = p_budget AND k.scope = p_scope
        AND k.period >= to_char(left(p_period, 10)::date - (split_part(p_period, '/', 2)::int - 1), 'YYYY-MM-DD')
        AND k.period < to_char(left(p_period, 10)::date + split_part(p_period, '/', 2)::int, 'YYYY-MM-DD')
      UNION ALL SELECT left(p_period, 10)::date, 0
    ) d
  ) w
  WHERE w.day >= left(p_period, 10)::date
$$;

-- Look whether charges fit into the runs of days that they are in, and keep others from charging the same until the call
-- ends. Returns the items that do not fit, as partners.use_budgets does. What one call charges to one budget and scope
-- counts together, on whatever days: a purchase that is refused for it is decided again, alone.
CREATE FUNCTION partners.use_windows(
  p_of int[], p_budgets int[], p_scopes text[], p_periods text[], p_amounts bigint[])
RETURNS TABLE (item int, budget_id int) LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO partners.budget_window (budget_id, scope, used, ceiling)
  SELECT DISTINCT b.budget_id, t.scope, 0, b.ceiling
  FROM unnest(p_budgets, p_scopes, p_periods) AS t(budget_id, scope, period)
  JOIN partners.budget b ON b.budget_id = t.budget_id
  WHERE t.period LIKE '%/%'
  ORDER BY b.budget_id, t.scope
  ON CONFLICT DO NOTHING;
  PERFORM FROM partners.budget_window w
  JOIN (SELECT DISTINCT t.budget_id, t.scope FROM unnest(p_budgets, p_scopes, p_periods) AS t(budget_id, scope, period)
        WHERE t.period LIKE '%/%') t ON (w.budget_id, w.scope) = (t.budget_id, t.scope)
  ORDER BY w.budget_id, w.scope FOR NO KEY UPDATE OF w;
  RETURN QUERY
    SELECT DISTINCT r.item, r.budget_id
    FROM (
      SELECT t.item, t.budget_id,
             sum(t.amount) OVER (PARTITION BY t.budget_id, t.scope ORDER BY t.item)
             + max(partners.used_in_window(t.budget_id, t.scope, t.period)) OVER (PARTITION BY t.budget_id, t.scope) AS would_be
      FROM unnest(p_of, p_budgets, p_scopes, p_periods, p_amounts) AS t(item, budget_id, scope, period, amount)
      WHERE t.period LIKE '%/%'
    ) r
    LEFT JOIN partners.budget b ON b.budget_id = r.budget_id
    WHERE r.would_be > coalesce(b.ceiling, 0);
  IF FOUND THEN
    RETURN;
  END IF;
  UPDATE partners.budget_window w SET used = n.used, ceiling = n.ceiling
  FROM (
    SELECT t.budget_id, t.scope, b.ceiling,
           sum(t.amount)::bigint + max(partners.used_in_window(t.budget_id, t.scope, t.period)) AS used
    FROM unnest(p_budgets, p_scopes, p_periods, p_amounts) AS t(budget_id, scope, period, amount)
    JOIN partners.budget b ON b.budget_id = t.budget_id
    WHERE t.period LIKE '%/%' GROUP BY t.budget_id, t.scope, b.ceiling
  ) n WHERE (w.budget_id, w.scope) = (n.budget_id, n.scope);
END $$;
