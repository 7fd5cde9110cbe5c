-- What may be written to a hot table is said by one policy of the table instead of its CHECK constraints: PostgreSQL
-- parses a constraint from its stored text for every statement that writes, and plans a policy once. See decision 0015.
-- Whoever writes is held to it but a superuser and the owner of the tables, whom no privilege keeps from anything either.
-- That no balance is negative holds for them too: there one short constraint stays.
DO $$
DECLARE r record;
BEGIN
  FOR r IN SELECT conrelid::regclass AS hot, conname FROM pg_constraint
           WHERE contype = 'c' AND conrelid IN (
             'ledger.account'::regclass, 'ledger.journal'::regclass, 'ledger.posting'::regclass, 'ledger.lot'::regclass,
             'ledger.hold'::regclass, 'partners.receipt'::regclass) LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', r.hot, r.conname);
  END LOOP;
END $$;

ALTER TABLE ledger.account
  ADD CONSTRAINT nothing_is_negative CHECK (least(available, pending, held, debt, spent, daily_cap) >= 0);

ALTER TABLE ledger.journal ENABLE ROW LEVEL SECURITY;
CREATE POLICY nothing_is_negative ON ledger.journal
  USING (true) WITH CHECK (least(amount, available_after, pending_after, held_after, debt_after) >= 0);

ALTER TABLE ledger.posting ENABLE ROW LEVEL SECURITY;
CREATE POLICY from_one_account_to_another ON ledger.posting
  USING (true) WITH CHECK (amount > 0 AND debit <> credit);

ALTER TABLE ledger.lot ENABLE ROW LEVEL SECURITY;
CREATE POLICY no_more_than_was_granted ON ledger.lot
  USING (true) WITH CHECK (
    least(remaining, held, returned, granted - remaining - held - returned, granted - 1) >= 0
    AND open = (remaining > 0 OR held > 0) AND expires_at > activates_at);

ALTER TABLE ledger.hold ENABLE ROW LEVEL SECURITY;
CREATE POLICY no_more_than_was_set_aside ON ledger.hold
  USING (true) WITH CHECK (
    amount > 0 AND captured BETWEEN 0 AND amount AND state BETWEEN 0 AND 3 AND (captured = 0 OR state = 1));

ALTER TABLE partners.receipt ENABLE ROW LEVEL SECURITY;
CREATE POLICY nothing_is_negative ON partners.receipt
  USING (true) WITH CHECK (least(awarded, redeemed) >= 0 AND kind BETWEEN 1 AND 4);

-- A smallint between two bigints is padded to eight bytes: with unit behind seq, keys of lots and postings are shorter.
ALTER TABLE ledger.posting DROP CONSTRAINT posting_pkey, ADD PRIMARY KEY (holder_id, seq, unit, leg);
ALTER TABLE ledger.lot DROP CONSTRAINT lot_pkey, ADD PRIMARY KEY (holder_id, seq, unit, lot_no);
DROP INDEX ledger.lot_open;
CREATE INDEX lot_open ON ledger.lot (holder_id, expires_at, seq, unit, lot_no) WHERE open;

-- Room for updates in place is kept on a page; a little less is enough, and more lots fit. A table in partitions has no
-- pages of its own.
DO $$
BEGIN
  IF (SELECT relkind FROM pg_class WHERE oid = 'ledger.lot'::regclass) = 'r' THEN
    ALTER TABLE ledger.lot SET (fillfactor = 75);
  END IF;
END $$;
