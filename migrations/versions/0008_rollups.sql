-- The journal as a feed: whoever reads it remembers up to which transaction, and misses none that commits late.
CREATE INDEX journal_xid ON ledger.journal (xid);

-- Transaction numbers begin anew in another cluster. An epoch adds what keeps journal.xid growing across a restore.
CREATE TABLE ledger.epoch (
  epoch      int PRIMARY KEY,
  cluster_id bigint NOT NULL,            -- what pg_control_system() says of the cluster that writes in it
  xid_offset bigint NOT NULL CHECK (xid_offset >= 0)
);
INSERT INTO ledger.epoch SELECT 1, system_identifier, 0 FROM pg_control_system();

CREATE TABLE ledger.watermark (
  reader text PRIMARY KEY,
  xid    xid8 NOT NULL                   -- every entry of a smaller transaction was read, no other
);
INSERT INTO ledger.watermark VALUES ('ROLL_UP', '0'), ('WATCH', '0');

CREATE TABLE ledger.rollup (
  day        date NOT NULL,              -- of the entry's business instant, in UTC
  unit       smallint NOT NULL,
  issuer_id  int NOT NULL,
  funder_id  int NOT NULL,
  partner_id int NOT NULL,
  debit      smallint NOT NULL,
  credit     smallint NOT NULL,
  postings   bigint NOT NULL CHECK (postings > 0),
  points     bigint NOT NULL CHECK (points > 0),
  PRIMARY KEY (day, unit, issuer_id, funder_id, partner_id, debit, credit)
) WITH (fillfactor = 70);

CREATE TABLE ledger.watch_position (
  is_only          boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  after_holder     bigint NOT NULL DEFAULT 0,    -- the pass over all accounts has come so far
  passes           bigint NOT NULL DEFAULT 0,
  accounts         bigint NOT NULL DEFAULT 0,    -- looked at since ever
  pass_began_at    timestamptz,
  pass_ended_at    timestamptz,
  looked_at        timestamptz
);
INSERT INTO ledger.watch_position DEFAULT VALUES;

-- What the watch found, kept for ever: a violation that is gone has a clearance, and comes again as another row.
CREATE TABLE ledger.violation (
  violation_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  holder_id     bigint NOT NULL,
  unit          smallint NOT NULL,
  rule          text NOT NULL,
  places        bigint NOT NULL CHECK (places > 0),      -- how many lots or entries of the account
  detail        text NOT NULL,                           -- of one of them
  first_seen_at timestamptz NOT NULL
);
CREATE TABLE ledger.clearance (
  violation_id bigint PRIMARY KEY REFERENCES ledger.violation,
  cleared_at   timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON ledger.rollup TO tessera_ledger;
GRANT SELECT, UPDATE ON ledger.watermark, ledger.watch_position TO tessera_ledger;
GRANT SELECT ON ledger.epoch TO tessera_ledger;
GRANT SELECT, INSERT ON ledger.violation, ledger.clearance TO tessera_ledger;
GRANT SELECT ON ledger.epoch, ledger.watermark, ledger.rollup, ledger.watch_position, ledger.violation, ledger.clearance
  TO tessera_app;
