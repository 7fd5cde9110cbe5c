-- What a cut-off holds, counted as it fills: entries of it with a transaction in [from_xid, until_xid), and a hash over
-- theirs. The last tally of a cut-off, taken when it is sealed, has no end: all that no other has. The seal is over
-- these hashes, so that it costs no more for a cut-off that holds more.
CREATE TABLE ledger.tally (
  cutoff_id      int NOT NULL REFERENCES ledger.cutoff,
  tally_no       int NOT NULL CHECK (tally_no >= 1),
  from_xid       xid8 NOT NULL,
  until_xid      xid8 CHECK (until_xid > from_xid),
  journal_count  bigint NOT NULL CHECK (journal_count >= 0),
  posting_count  bigint NOT NULL CHECK (posting_count >= 0),
  posting_points numeric NOT NULL CHECK (posting_points >= 0),
  hash           bytea NOT NULL CHECK (length(hash) = 32),   -- SHA-256 over its entries' hashes, by holder, unit and seq
  PRIMARY KEY (cutoff_id, tally_no)
);
CREATE UNIQUE INDEX tally_one_has_the_rest ON ledger.tally (cutoff_id) WHERE until_xid IS NULL;
-- What is cut already keeps the seal that it has.
INSERT INTO ledger.watermark
SELECT 'TALLY', coalesce((SELECT min(j.xid) FROM ledger.cutoff c JOIN ledger.journal j USING (cutoff_id) WHERE c.state <> 'CUT'),
                         '0');

GRANT SELECT, INSERT ON ledger.tally TO tessera_ledger;
GRANT SELECT ON ledger.tally TO tessera_app;
