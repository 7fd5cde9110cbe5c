-- Reading the journal by transaction number. A reader takes entries with its watermark <= xid < the oldest transaction
-- that still runs: all of those are finished and every later one has a larger number, so each entry is read once, also
-- when commits come out of order. The oldest transaction is that of the whole cluster: one that somebody leaves open,
-- in whatever database, delays every reader and never makes one wrong.

-- Below it every transaction is finished, as journal.xid counts. Raises LX002 in a cluster that the numbers are not of.
CREATE FUNCTION ledger.horizon() RETURNS xid8 LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE e ledger.epoch;
BEGIN
  SELECT * INTO STRICT e FROM ledger.epoch ORDER BY epoch DESC LIMIT 1;
  IF e.cluster_id <> (SELECT system_identifier FROM pg_control_system()) THEN
    RAISE EXCEPTION 'the database was restored into another cluster, whose transactions count anew: run tessera migrate'
      USING ERRCODE = 'LX002';
  END IF;
  RETURN (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + e.xid_offset)::text::xid8;
END $$;

-- Where a reader may read to in one step: about p_entries entries on, with all entries of the last one's transaction.
-- STABLE on purpose: the caller's next statement sees no less.
CREATE FUNCTION ledger.readable_until(p_from xid8, p_entries int) RETURNS xid8
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE v_until xid8 := ledger.horizon(); v_last xid8;
BEGIN
  SELECT xid INTO v_last FROM ledger.journal
  WHERE xid >= p_from AND xid < v_until ORDER BY xid OFFSET p_entries - 1 LIMIT 1;
  RETURN least(v_until, (v_last::text::bigint + 1)::text::xid8);
END $$;

-- Postings by day, parties and accounts: of entries with a transaction in [p_from, p_until).
CREATE FUNCTION ledger.rolled(p_from xid8, p_until xid8)
RETURNS TABLE (day date, unit smallint, issuer_id int, funder_id int, partner_id int, debit smallint, credit smallint,
               postings bigint, points bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  SELECT (j.at AT TIME ZONE 'UTC')::date, p.unit, p.issuer_id, p.funder_id, p.partner_id, p.debit, p.credit, count(*),
         sum(p.amount)::bigint
  FROM ledger.journal j JOIN ledger.posting p USING (holder_id, unit, seq)
  WHERE j.xid >= p_from AND j.xid < p_until
  GROUP BY 1, 2, 3, 4, 5, 6, 7
$$;

-- Add what was recorded since to the totals; how many entries this step took. Of several rollers one works, the others
-- wait for it and go on where it ended.
CREATE FUNCTION ledger.roll_up(p_entries int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
DECLARE v_from xid8; v_until xid8; v_entries bigint;
BEGIN
  SELECT xid INTO STRICT v_from FROM ledger.watermark WHERE reader = 'ROLL_UP' FOR UPDATE;
  v_until := ledger.readable_until(v_from, p_entries);
  SELECT count(*) INTO v_entries FROM ledger.journal WHERE xid >= v_from AND xid < v_until;
  INSERT INTO ledger.rollup AS r SELECT * FROM ledger.rolled(v_from, v_until)
  ON CONFLICT (day, unit, issuer_id, funder_id, partner_id, debit, credit)
  DO UPDATE SET postings = r.postings + excluded.postings, points = r.points + excluded.points;
  UPDATE ledger.watermark SET xid = v_until WHERE reader = 'ROLL_UP';
  RETURN v_entries;
END $$;

-- How far each reader is behind: entries not read yet, counted up to 100,000, and when the first was recorded;
-- held_back is how many transaction numbers the oldest running transaction keeps from everybody.
CREATE FUNCTION ledger.lags()
RETURNS TABLE (reader text, epoch int, is_at_home boolean, entries bigint, oldest_recorded_at timestamptz, held_back bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT w.reader, e.epoch, e.cluster_id = c.system_identifier,
         (SELECT count(*) FROM (SELECT FROM ledger.journal j WHERE j.xid >= w.xid LIMIT 100000) waiting),
         (SELECT j.recorded_at FROM ledger.journal j WHERE j.xid >= w.xid ORDER BY j.xid LIMIT 1),
         pg_snapshot_xmax(s)::text::bigint - pg_snapshot_xmin(s)::text::bigint
  FROM ledger.watermark w
  CROSS JOIN (SELECT * FROM ledger.epoch ORDER BY epoch DESC LIMIT 1) e
  CROSS JOIN pg_control_system() c
  CROSS JOIN pg_current_snapshot() s
  ORDER BY w.reader
$$;

-- Rule A12. Every row returned is a violation. It reads all postings: for `tessera audit`, not for every minute.
CREATE FUNCTION ledger.audit_rollups() RETURNS TABLE (rule text, holder_id bigint, unit smallint, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT 'A12 roll-up = its postings', NULL::bigint, unit,
         format('%s, issuer %s, funder %s, partner %s, %s to %s: rolled up %s postings of %s points, found %s of %s', day,
                issuer_id, funder_id, partner_id, debit, credit, r.postings, r.points, p.postings, p.points)
  FROM ledger.rollup r
  FULL JOIN (SELECT f.* FROM ledger.watermark w CROSS JOIN LATERAL ledger.rolled('0', w.xid) f WHERE w.reader = 'ROLL_UP') p
    USING (day, unit, issuer_id, funder_id, partner_id, debit, credit)
  WHERE (r.postings, r.points) IS DISTINCT FROM (p.postings, p.points)
$$;

-- After a dump was restored into another cluster, whose transaction numbers are small again: begin an epoch in which
-- entries get numbers above all that are there, and roll up anew. Watermarks of other readers stay right: what was not
-- read yet still lies above them. Returns the epoch, null where the cluster is the one it was. For the tables' owner,
-- before the first till; `tessera migrate` calls it. Holds the journal for as long as adding up all postings takes.
CREATE FUNCTION ledger.re_base() RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  e ledger.epoch; v_cluster bigint := (SELECT system_identifier FROM pg_control_system());
  v_xmin bigint; v_next bigint; v_offset bigint;
BEGIN
  PERFORM FROM ledger.watermark ORDER BY reader FOR UPDATE;
  SELECT * INTO STRICT e FROM ledger.epoch ORDER BY epoch DESC LIMIT 1;
  IF e.cluster_id = v_cluster THEN
    RETURN NULL;
  END IF;
  LOCK TABLE ledger.journal IN ACCESS EXCLUSIVE MODE;
  v_xmin := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
  SELECT greatest((SELECT max(xid) FROM ledger.watermark), (SELECT max(xid) FROM ledger.journal))::text::bigint + 1 INTO v_next;
  v_offset := greatest(e.xid_offset, v_next - v_xmin);
  EXECUTE format('ALTER TABLE ledger.journal ALTER COLUMN xid SET DEFAULT (pg_current_xact_id()::text::bigint + %s)::text::xid8',
                 v_offset);
  INSERT INTO ledger.epoch VALUES (e.epoch + 1, v_cluster, v_offset);
  DELETE FROM ledger.rollup;
  INSERT INTO ledger.rollup SELECT * FROM ledger.rolled('0', (v_xmin + v_offset)::text::xid8);
  UPDATE ledger.watermark SET xid = (v_xmin + v_offset)::text::xid8 WHERE reader = 'ROLL_UP';
  RETURN e.epoch + 1;
END $$;
