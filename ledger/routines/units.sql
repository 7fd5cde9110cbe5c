-- A unit of its own (stamps of a card, money of a gift card); its number, the same for the same code.
CREATE FUNCTION ledger.define_unit(p_code text, p_description text) RETURNS smallint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE v_unit smallint;
BEGIN
  PERFORM pg_advisory_xact_lock(7305008);
  SELECT unit INTO v_unit FROM ledger.unit WHERE code = p_code;
  IF NOT FOUND THEN
    INSERT INTO ledger.unit (unit, code, description)
    SELECT greatest(max(unit) + 1, 100), p_code, p_description FROM ledger.unit RETURNING unit INTO v_unit;
  END IF;
  RETURN v_unit;
END $$;
