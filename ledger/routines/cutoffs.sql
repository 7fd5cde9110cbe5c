-- The open cut-off's number, under its shared lock. Read, lock, read again: the closer may have passed in between,
-- and an entry recorded in a cut-off that is already counted would be lost to settlement. A transaction enters once:
-- all that it records is in one cut-off, though the closer may open the next meanwhile.
CREATE FUNCTION ledger.enter_cutoff() RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_cutoff int; v_entered text := current_setting('tessera.cutoff', true);
BEGIN
  IF split_part(v_entered, ':', 1) = pg_current_xact_id()::text THEN
    RETURN split_part(v_entered, ':', 2)::int;
  END IF;
  LOOP
    SELECT cutoff_id INTO STRICT v_cutoff FROM ledger.cutoff WHERE state = 'OPEN';
    PERFORM pg_advisory_xact_lock_shared(7305002, v_cutoff);
    PERFORM FROM ledger.cutoff WHERE cutoff_id = v_cutoff AND state = 'OPEN';
    IF FOUND THEN
      PERFORM set_config('tessera.cutoff', pg_current_xact_id() || ':' || v_cutoff, true);
      RETURN v_cutoff;
    END IF;
  END LOOP;
END $$;

-- First step of closing: entries from here on belong to the next cut-off. Returns the number of the one that drains;
-- one that an earlier closer left draining is handed out again.
CREATE FUNCTION ledger.drain_cutoff(p_at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int;
BEGIN
  SELECT cutoff_id INTO v_cutoff FROM ledger.cutoff WHERE state = 'DRAINING' ORDER BY cutoff_id LIMIT 1 FOR UPDATE;
  IF FOUND THEN
    RETURN v_cutoff;
  END IF;
  SELECT cutoff_id INTO STRICT v_cutoff FROM ledger.cutoff WHERE state = 'OPEN' FOR UPDATE;
  UPDATE ledger.cutoff SET state = 'DRAINING', cut_at = p_at WHERE cutoff_id = v_cutoff;
  INSERT INTO ledger.cutoff (cutoff_id, state, opened_at) VALUES (v_cutoff + 1, 'OPEN', p_at);
  RETURN v_cutoff;
END $$;

-- Second step, in a transaction of its own: wait for every writer that holds the cut-off, then count.
CREATE FUNCTION ledger.seal_cutoff(p_cutoff int) RETURNS ledger.cutoff
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v ledger.cutoff;
BEGIN
  PERFORM pg_advisory_xact_lock(7305002, p_cutoff);
  UPDATE ledger.cutoff c
  SET state = 'CUT',
      seal = ledger.seal_of(p_cutoff),
      journal_count = (SELECT count(*) FROM ledger.journal WHERE cutoff_id = p_cutoff),
      posting_count = (SELECT count(*) FROM ledger.posting WHERE cutoff_id = p_cutoff),
      posting_points = (SELECT coalesce(sum(amount), 0) FROM ledger.posting WHERE cutoff_id = p_cutoff)
  WHERE cutoff_id = p_cutoff AND state = 'DRAINING';
  SELECT * INTO STRICT v FROM ledger.cutoff WHERE cutoff_id = p_cutoff;
  RETURN v;
END $$;
