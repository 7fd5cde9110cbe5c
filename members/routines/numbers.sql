-- So many next numbers of a series at once: the last of them. One by one, as the counter's trigger wants it, so that no
-- number can be left out.
CREATE FUNCTION members.next_numbers(p_series text, p_count int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE v_last bigint;
BEGIN
  FOR i IN 1..p_count LOOP
    UPDATE members.invoice_counter SET last_no = last_no + 1 WHERE series = p_series RETURNING last_no INTO STRICT v_last;
  END LOOP;
  RETURN v_last;
END $$;
