-- The open cut-off's number, under its shared lock. Lock first, then read: the closer may have passed in between, and an
-- entry recorded in a cut-off that is already counted would be lost to settlement. The session remembers which was open
-- last, so that nearly always one look is enough; a transaction that keeps a cut-off is answered that one.
CREATE FUNCTION ledger.enter_cutoff() RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_kept text := current_setting('tessera.kept_cutoff', true); v_cutoff int; v_locked boolean;
BEGIN
  IF v_kept <> '' THEN
    RETURN v_kept;
  END IF;
  v_cutoff := nullif(current_setting('tessera.last_cutoff', true), '');
  LOOP
    IF v_cutoff IS NULL THEN
      SELECT cutoff_id INTO STRICT v_cutoff FROM ledger.cutoff WHERE state = 'OPEN';
      PERFORM set_config('tessera.last_cutoff', v_cutoff::text, false);
    END IF;
    v_locked := pg_advisory_xact_lock_shared(7305002, v_cutoff) IS NOT NULL;  -- cheaper than to PERFORM it
    PERFORM FROM ledger.cutoff WHERE cutoff_id = v_cutoff AND state = 'OPEN';
    IF FOUND THEN
      RETURN v_cutoff;
    END IF;
    v_cutoff := NULL;
  END LOOP;
END $$;

-- The same for what takes several calls: all that the transaction records from here on is in this one cut-off, though
-- the closer may open the next meanwhile.
CREATE FUNCTION ledger.keep_cutoff() RETURNS int LANGUAGE plpgsql AS $$
DECLARE v_cutoff int := ledger.enter_cutoff();
BEGIN
  RETURN set_config('tessera.kept_cutoff', v_cutoff::text, true);
END $$;

-- The same for what has recorded something already: what follows is in the cut-off that it entered last.
CREATE FUNCTION ledger.stay_in_cutoff() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RETURN set_config('tessera.kept_cutoff', ledger.entered_cutoff()::text, true);
END $$;

-- The cut-off that this transaction has just entered.
CREATE FUNCTION ledger.entered_cutoff() RETURNS int LANGUAGE sql STABLE AS $$
  SELECT coalesce(nullif(current_setting('tessera.kept_cutoff', true), ''),
                  current_setting('tessera.last_cutoff', true))::int
$$;

-- First step of closing: entries from here on belong to the next cut-off. Returns the number of the one that drains;
-- one that an earlier closer left draining is handed out again. Who waited for another closer looks again, because what it
-- waited for is not open any more. NULL where the open one began later.
CREATE FUNCTION ledger.drain_cutoff(p_at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int; v_opened timestamptz;
BEGIN
  LOOP
    SELECT cutoff_id INTO v_cutoff FROM ledger.cutoff WHERE state = 'DRAINING' ORDER BY cutoff_id LIMIT 1 FOR UPDATE;
    IF FOUND THEN
      RETURN v_cutoff;
    END IF;
    SELECT cutoff_id, opened_at INTO v_cutoff, v_opened FROM ledger.cutoff WHERE state = 'OPEN' FOR UPDATE;
    EXIT WHEN FOUND;
  END LOOP;
  IF v_opened > p_at THEN
    RETURN NULL;
  END IF;
  UPDATE ledger.cutoff SET state = 'DRAINING', cut_at = p_at WHERE cutoff_id = v_cutoff;
  INSERT INTO ledger.cutoff (cutoff_id, state, opened_at) VALUES (v_cutoff + 1, 'OPEN', p_at);
  RETURN v_cutoff;
END $$;

-- Second step, in a transaction of its own: wait for every writer that holds the cut-off, then count what was not
-- counted as it came.
CREATE FUNCTION ledger.seal_cutoff(p_cutoff int) RETURNS ledger.cutoff
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v ledger.cutoff;
BEGIN
  PERFORM pg_advisory_xact_lock(7305002, p_cutoff);
  PERFORM FROM ledger.cutoff WHERE cutoff_id = p_cutoff AND state = 'DRAINING' FOR UPDATE;
  IF FOUND THEN
    PERFORM ledger.tally_rest(p_cutoff);
    UPDATE ledger.cutoff c
    SET state = 'CUT', seal = ledger.seal_of(p_cutoff), journal_count = n.journal_count,
        posting_count = n.posting_count, posting_points = n.posting_points
    FROM (SELECT sum(journal_count) AS journal_count, sum(posting_count) AS posting_count,
                 sum(posting_points) AS posting_points FROM ledger.tally WHERE cutoff_id = p_cutoff) n
    WHERE c.cutoff_id = p_cutoff;
  END IF;
  SELECT * INTO STRICT v FROM ledger.cutoff WHERE cutoff_id = p_cutoff;
  RETURN v;
END $$;
