DO $$
DECLARE r regprocedure;
BEGIN
  FOR r IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'partners'::regnamespace LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', r);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tessera_app', r);
    -- A lone purchase joins and looks for nothing: each setting is made and undone by every call.
    -- Budgets are used under the settings of what records.
    IF r::text LIKE ANY ('{partners.record%,partners.use%}')
       AND r::text NOT LIKE ALL ('{partners.record_purchase(%,partners.use_budgets(%}') THEN
      -- Planned once, by index, as the ledger's own: see ledger/routines/privileges.sql.
      EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_hashjoin = off', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_mergejoin = off', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_material = off', r);
    END IF;
    IF r::text LIKE ANY ('{partners.record_purchase%,partners.record_promoted%}') THEN  -- of the lane: one locked account may not keep all the others
      EXECUTE format('ALTER FUNCTION %s SET lock_timeout = %L', r, '2s');
    END IF;
  END LOOP;
END $$;
