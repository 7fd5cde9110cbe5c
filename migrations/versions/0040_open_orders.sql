-- Orders of rewards that wait to be handed over: few among all that ever were.
CREATE INDEX reward_order_open ON partners.reward_order (reward_id, at, holder_id, seq)
  WHERE fulfilled_at IS NULL AND returned_at IS NULL;
