-- Counting a cut-off as it fills. Tallies are taken behind a watermark of transaction numbers, so that each entry is in
-- one; the last one, when the cut-off is sealed, has all that no other has, however old a transaction still runs
-- elsewhere: whoever wrote to the cut-off itself has ended by then.

CREATE FUNCTION ledger.counted(p_cutoff int, p_from xid8, p_until xid8)
RETURNS TABLE (cutoff_id int, journal_count bigint, posting_count bigint, posting_points numeric, hash bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  SELECT j.cutoff_id, count(*), coalesce(sum(p.postings), 0)::bigint, coalesce(sum(p.points), 0),
         sha256(coalesce(string_agg(int8send(j.holder_id) || int2send(j.unit) || int8send(j.seq) || j.hash, ''::bytea
                                    ORDER BY j.holder_id, j.unit, j.seq), ''::bytea))
  FROM ledger.journal j
  CROSS JOIN LATERAL (SELECT count(*) AS postings, sum(p.amount) AS points FROM ledger.posting p
                      WHERE p.holder_id = j.holder_id AND p.unit = j.unit AND p.seq = j.seq) p
  WHERE (p_cutoff IS NULL OR j.cutoff_id = p_cutoff) AND j.xid >= p_from AND (p_until IS NULL OR j.xid < p_until)
  GROUP BY j.cutoff_id
$$;

-- Count what was recorded since, about p_entries entries of it; how many it took. Nothing where transaction numbers are
-- those of another cluster: then sealing counts all.
CREATE FUNCTION ledger.tally_up(p_entries int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
DECLARE v_from xid8; v_until xid8; v_entries bigint;
BEGIN
  SELECT xid INTO STRICT v_from FROM ledger.watermark WHERE reader = 'TALLY' FOR UPDATE;
  BEGIN
    v_until := ledger.readable_until(v_from, p_entries);
  EXCEPTION WHEN SQLSTATE 'LX002' THEN
    RETURN 0;
  END;
  IF v_until <= v_from THEN
    RETURN 0;
  END IF;
  SELECT count(*) INTO v_entries FROM ledger.journal WHERE xid >= v_from AND xid < v_until;
  INSERT INTO ledger.tally (cutoff_id, tally_no, from_xid, until_xid, journal_count, posting_count, posting_points, hash)
  SELECT c.cutoff_id, 1 + (SELECT count(*) FROM ledger.tally t WHERE t.cutoff_id = c.cutoff_id), v_from, v_until,
         n.journal_count, n.posting_count, n.posting_points, n.hash
  FROM ledger.counted(NULL, v_from, v_until) n JOIN ledger.cutoff c USING (cutoff_id) WHERE c.state <> 'CUT';
  UPDATE ledger.watermark SET xid = v_until WHERE reader = 'TALLY';
  RETURN v_entries;
END $$;

-- Count the rest of a cut-off to which nobody writes any more.
CREATE FUNCTION ledger.tally_rest(p_cutoff int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
DECLARE v_from xid8;
BEGIN
  SELECT xid INTO STRICT v_from FROM ledger.watermark WHERE reader = 'TALLY' FOR UPDATE;
  INSERT INTO ledger.tally (cutoff_id, tally_no, from_xid, journal_count, posting_count, posting_points, hash)
  SELECT p_cutoff, 1 + (SELECT count(*) FROM ledger.tally t WHERE t.cutoff_id = p_cutoff), v_from,
         coalesce(n.journal_count, 0), coalesce(n.posting_count, 0), coalesce(n.posting_points, 0),
         coalesce(n.hash, sha256(''))
  FROM (SELECT) one LEFT JOIN ledger.counted(p_cutoff, v_from, NULL) n ON true;
END $$;
