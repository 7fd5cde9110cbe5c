DO $$
DECLARE r regprocedure;
BEGIN
  FOR r IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'members'::regnamespace LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', r);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tessera_app', r);
  END LOOP;
END $$;
