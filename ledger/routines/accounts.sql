-- The ledger's operations. Each is one call, takes its locks itself, answers with a status and never raises for a
-- business "no". Order inside: cut-off, account lock, idempotency probe, what is due, the check, the inserts.
--
-- status: 0 done, 1 replayed, 2 key used for another input, 3 insufficient points, 4 no such account,
--         5 nothing to take back, 6 spending is locked, 7 the day's cap, 8 hold is resolved, 9 hold has lapsed,
--         10 more than the hold, 11 the account takes no transfer
-- account kinds: 1 available, 2 pending, 3 held, 4 debt; 10 issued, 11 redeemed, 12 expired, 13 returned,
--                14 transferred, 15 adjusted
-- entry kinds: 1 accrual, 2 activation, 3 redemption, 4 hold, 5 capture, 6 release, 7 expiry, 8 return, 9 refund,
--              10 lapse, 14 transfer out, 15 in, 16 back, 17 adjustment, 20 decline

-- New holders, each with an empty account in the unit; returns their numbers.
CREATE FUNCTION ledger.open_accounts(p_count int, p_unit smallint) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  INSERT INTO ledger.account (holder_id, unit)
  SELECT nextval('ledger.holder_id_seq'), p_unit FROM generate_series(1, p_count)
  RETURNING holder_id
$$;

-- One more account of a holder, in another unit; nothing happens where there is one.
CREATE FUNCTION ledger.add_account(p_holder bigint, p_unit smallint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  INSERT INTO ledger.account (holder_id, unit) VALUES (p_holder, p_unit) ON CONFLICT DO NOTHING
$$;

-- A holder's wish that nothing be spent, or its end.
CREATE FUNCTION ledger.lock_spending(p_holder bigint, p_unit smallint, p_locked boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  UPDATE ledger.account SET spend_locked = p_locked WHERE holder_id = p_holder AND unit = p_unit;
  RETURN FOUND;
END $$;

-- The most that a holder wishes to be spent in one day of the programme; null for no such limit.
CREATE FUNCTION ledger.set_daily_cap(p_holder bigint, p_unit smallint, p_points bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  UPDATE ledger.account SET daily_cap = p_points WHERE holder_id = p_holder AND unit = p_unit;
  RETURN FOUND;
END $$;

-- Lock accounts in one order for everyone. NO KEY, so that foreign keys do not wait.
CREATE FUNCTION ledger.lock_accounts(p_holders bigint[], p_unit smallint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  PERFORM FROM ledger.account WHERE holder_id = ANY (p_holders) AND unit = p_unit ORDER BY holder_id
  FOR NO KEY UPDATE;
END $$;

-- The key of a transfer's second half, in the journal of whoever gets the points.
CREATE FUNCTION ledger.transfer_key(p_sender bigint, p_unit smallint, p_seq bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT encode(substring(sha256('transfer'::bytea || int8send(p_sender) || int2send(p_unit) || int8send(p_seq)) FOR 16),
                'hex')::uuid
$$;
