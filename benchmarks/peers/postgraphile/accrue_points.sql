-- What accruePoints does in the database, as a function that PostGraphile finds: the card, then the recording call. What
-- the gateway works out on the way (the token, the terms, the award, the reasons) is given or the same every time.
CREATE SCHEMA bench_peer;
CREATE FUNCTION bench_peer.accrue_points(
  idempotency_key text, card uuid, reference text, total int, occurred_at timestamptz, business_date date
) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  found  record;
  points bigint := total / 100;
  told   record;
BEGIN
  SELECT c.card_id, c.member_id INTO STRICT found
  FROM members.card c JOIN members.member m USING (member_id) WHERE c.number_lookup = card AND c.status = 'ACTIVE';
  SELECT * INTO told FROM partners.record_purchase(
    1::smallint, occurred_at, found.member_id, md5(reference)::uuid, md5(idempotency_key)::uuid,
    md5(reference || total)::uuid, 1, 1, 1, 1, found.card_id, 1, reference, business_date, occurred_at, 'EUR', total,
    points, NULL,
    '{"tier":"BASE","level":"NUMBER","lines":{"":10},"reasons":[["BASE",10,{"rate_bp":100,"eligible_minor":1000}]],'
      '"lots":{"1":10}}',
    ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[points], ARRAY[occurred_at + interval '14 days'],
    ARRAY[occurred_at + interval '12 months']);
  IF told.status <> 0 THEN
    RAISE EXCEPTION 'the recording call answered %', told.status;
  END IF;
  RETURN told.seq;
END $$;
GRANT USAGE ON SCHEMA bench_peer TO tessera_app;
