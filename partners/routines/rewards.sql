-- Take one of a reward's stock for a redemption, in its call and behind it. The last one may go to another in this very
-- moment: then the whole call is undone with TS006.
CREATE FUNCTION partners.take_reward(p_reward int, p_holder bigint, p_seq bigint, p_unit smallint, p_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO partners.reward_order (holder_id, seq, reward_id, unit, at) VALUES (p_holder, p_seq, p_reward, p_unit, p_at);
  UPDATE partners.reward SET taken = taken + 1
  WHERE reward_id = p_reward AND taken < stock AND valid_from <= p_at AND valid_until > p_at;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the last one of a reward is gone' USING ERRCODE = 'TS006';
  END IF;
  RETURN true;
END $$;

-- Put back into stock what was returned whole since; how many. Of a part of the points the reward stays taken.
CREATE FUNCTION partners.restock_rewards(p_at timestamptz, p_limit int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_done int;
BEGIN
  WITH returned AS (
    SELECT o.holder_id, o.unit, o.seq FROM partners.reward_order o
    WHERE o.returned_at IS NULL AND EXISTS (
      SELECT FROM partners.receipt r
      WHERE r.holder_id = o.holder_id AND r.unit = o.unit AND r.original_seq = o.seq AND r.kind IN (3, 4)
      HAVING sum(r.redeemed) >= (
        SELECT w.redeemed FROM partners.receipt w WHERE w.holder_id = o.holder_id AND w.unit = o.unit AND w.seq = o.seq))
    ORDER BY o.holder_id, o.seq LIMIT p_limit FOR NO KEY UPDATE OF o SKIP LOCKED
  ), marked AS (
    UPDATE partners.reward_order o SET returned_at = p_at FROM returned t
    WHERE o.holder_id = t.holder_id AND o.unit = t.unit AND o.seq = t.seq RETURNING o.reward_id
  ), fewer AS (
    UPDATE partners.reward w SET taken = w.taken - m.n
    FROM (SELECT reward_id, count(*) AS n FROM marked GROUP BY reward_id) m WHERE w.reward_id = m.reward_id
  )
  SELECT count(*) INTO v_done FROM marked;
  RETURN v_done;
END $$;
