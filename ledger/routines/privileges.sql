-- The hot path plans once per session, by index: a plan made while a table was empty must not scan it for ever, and
-- planning these statements anew costs more than running them.
DO $$
DECLARE r regprocedure;
BEGIN
  FOR r IN SELECT p.oid::regprocedure FROM pg_proc p
           WHERE p.pronamespace = 'ledger'::regnamespace AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')
             AND p.proname IN ('lock_accounts', 'settle_due', 'record_accruals', 'accrue', 'accrue_lot', 'accrue_lots', 'redeem',
                               'return_accrual', 'refund_redemption', 'repay_debt', 'spend', 'place_hold', 'resolve_hold',
                               'transfer_out', 'transfer_in', 'adjust', 'spend_many', 'resolve_many', 'return_many') LOOP
    EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', r);
    EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off', r);
    -- What joins nothing need not be told how: each setting is made and undone by every call.
    IF r::text !~ '^ledger.accrue_lot\(' THEN
      EXECUTE format('ALTER FUNCTION %s SET enable_hashjoin = off', r);
      EXECUTE format('ALTER FUNCTION %s SET enable_mergejoin = off', r);
      -- Of tables that were never analysed a whole unit looks small enough to go through per item.
      EXECUTE format('ALTER FUNCTION %s SET enable_material = off', r);
    END IF;
    IF r::text ~ '_many\(' THEN
      EXECUTE format('ALTER FUNCTION %s SET enable_bitmapscan = off', r);
    END IF;
  END LOOP;
END $$;

DO $$
DECLARE r regprocedure; v_definer boolean;
BEGIN
  FOR r, v_definer IN SELECT p.oid::regprocedure, p.prosecdef FROM pg_proc p
                      WHERE p.pronamespace = 'ledger'::regnamespace LOOP
    EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', r);
    EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO tessera_app, tessera_ledger', r);
    IF v_definer THEN
      EXECUTE format('ALTER ROUTINE %s OWNER TO tessera_ledger', r);
    END IF;
  END LOOP;
END $$;
