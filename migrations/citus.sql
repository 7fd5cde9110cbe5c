-- What the ledger's routines need in another form on Citus; `tessera migrate --citus` runs it after them.
-- Advisory locks belong to a node, SELECT ... FOR UPDATE works on one shard at a time, and a reference table may not be
-- updated from a subquery on shards. Never run by us against Citus.

-- Runs on one node: returns when every writer of that node that holds the cut-off has ended. The lock goes with the
-- call's own transaction, and need not stay: who comes later reads that the cut-off is not open any more. A node that
-- does not see so yet (its part of the closing is prepared and not committed) makes the closer try again later.
CREATE OR REPLACE FUNCTION ledger.await_writers(p_cutoff int) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7305002, p_cutoff);
  PERFORM FROM ledger.cutoff WHERE cutoff_id = p_cutoff AND state <> 'OPEN';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'cut-off % is still open on this node', p_cutoff USING ERRCODE = 'LX003';
  END IF;
  RETURN 'drained';
END $$;

-- Second step of closing, as in ledger/routines/cutoffs.sql: wait on every node, then count what cannot change any more.
CREATE OR REPLACE FUNCTION ledger.seal_cutoff(p_cutoff int) RETURNS ledger.cutoff
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  v ledger.cutoff; v_refused text; v_entries bigint; v_postings bigint;
  v_points numeric; v_seal bytea;
BEGIN
  SELECT string_agg(format('node %s: %s', n.nodeid, n.result), '; ') INTO v_refused
  FROM pg_catalog.run_command_on_all_nodes(format('SELECT ledger.await_writers(%s)', p_cutoff)) n
  WHERE NOT n.success OR n.result IS DISTINCT FROM 'drained';
  IF v_refused IS NOT NULL THEN
    RAISE EXCEPTION 'cut-off % cannot be counted yet: %', p_cutoff, v_refused USING ERRCODE = 'LX003';
  END IF;
  SELECT count(*) INTO v_entries FROM ledger.journal WHERE cutoff_id = p_cutoff;
  SELECT count(*), coalesce(sum(amount), 0) INTO v_postings, v_points FROM ledger.posting WHERE cutoff_id = p_cutoff;
  v_seal := ledger.seal_of(p_cutoff);
  UPDATE ledger.cutoff c
  SET state = 'CUT', journal_count = v_entries, posting_count = v_postings, posting_points = v_points, seal = v_seal
  WHERE cutoff_id = p_cutoff AND state = 'DRAINING';
  SELECT * INTO STRICT v FROM ledger.cutoff WHERE cutoff_id = p_cutoff;
  RETURN v;
END $$;

-- Sweep, as in ledger/routines/due.sql: account by account, each locked on its own shard, in the order of everyone.
CREATE OR REPLACE FUNCTION ledger.sweep_due(p_unit smallint, p_at timestamptz, p_limit int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_cutoff int := ledger.enter_cutoff(); v_holder bigint; v_found int := 0;
BEGIN
  FOR v_holder IN SELECT a.holder_id FROM ledger.account a WHERE a.unit = p_unit AND a.next_due <= p_at
                  ORDER BY a.holder_id LIMIT p_limit LOOP
    PERFORM FROM ledger.account a WHERE a.holder_id = v_holder AND a.unit = p_unit FOR NO KEY UPDATE;
    PERFORM ledger.settle_due(ARRAY[v_holder], p_unit, p_at, v_cutoff);
    v_found := v_found + 1;
  END LOOP;
  RETURN v_found;
END $$;

-- Transaction numbers belong to a node, too: whoever reads the journal by them would read past entries of other nodes.
-- Until each node reads its own, nobody reads.
CREATE OR REPLACE FUNCTION ledger.horizon() RETURNS xid8 LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION 'on Citus the journal cannot be read by transaction number yet: there are no roll-ups and no watch'
    USING ERRCODE = 'feature_not_supported';
END $$;

REVOKE ALL ON FUNCTION ledger.await_writers(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.await_writers(int) TO tessera_ledger;

-- Citus signs in to the other nodes as whoever a statement runs as, which in the ledger's functions is their owner.
-- It has no password; that only the nodes let it in is for pg_hba.conf to say.
ALTER ROLE tessera_ledger LOGIN;

-- Nor counts anybody as entries come: sealing counts all of a cut-off.
CREATE OR REPLACE FUNCTION ledger.tally_up(p_entries int) RETURNS bigint LANGUAGE sql SET search_path = pg_catalog AS $$
  SELECT 0::bigint
$$;
