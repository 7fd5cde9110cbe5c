CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger TO tessera_app, tessera_ledger;

-- Reference tables: small, read everywhere, never written on the hot path.
CREATE TABLE ledger.unit (
  unit        smallint PRIMARY KEY,
  code        text NOT NULL UNIQUE,
  description text NOT NULL
);
INSERT INTO ledger.unit VALUES (1, 'POINTS', 'the coalition''s shared currency');

CREATE TABLE ledger.account_kind (
  kind smallint PRIMARY KEY,
  code text NOT NULL UNIQUE,
  side text NOT NULL CHECK (side IN ('HOLDER', 'COUNTER'))
);
INSERT INTO ledger.account_kind VALUES
  (1, 'AVAILABLE', 'HOLDER'), (2, 'PENDING', 'HOLDER'), (3, 'HELD', 'HOLDER'), (4, 'DEBT', 'HOLDER'),
  (10, 'ISSUED', 'COUNTER'), (11, 'REDEEMED', 'COUNTER'), (12, 'EXPIRED', 'COUNTER'), (13, 'RETURNED', 'COUNTER');

CREATE TABLE ledger.entry_kind (
  kind smallint PRIMARY KEY,
  code text NOT NULL UNIQUE
);
INSERT INTO ledger.entry_kind VALUES
  (1, 'ACCRUAL'), (2, 'ACTIVATION'), (3, 'REDEMPTION'), (4, 'HOLD'), (5, 'CAPTURE'), (6, 'RELEASE'),
  (7, 'EXPIRY'), (8, 'RETURN'), (9, 'REFUND'), (10, 'LAPSE'), (20, 'DECLINE');

CREATE TABLE ledger.cutoff (
  cutoff_id      int PRIMARY KEY,
  state          text NOT NULL CHECK (state IN ('OPEN', 'DRAINING', 'CUT')),
  opened_at      timestamptz NOT NULL,
  cut_at         timestamptz,
  journal_count  bigint,
  posting_count  bigint,
  posting_points numeric,
  seal           bytea,                   -- SHA-256 over the seal before and the heads of the accounts touched in it
  CHECK ((state = 'CUT') = (seal IS NOT NULL)),
  CHECK ((state = 'OPEN') = (cut_at IS NULL)),
  CHECK ((state = 'CUT') = (journal_count IS NOT NULL))
);
CREATE UNIQUE INDEX cutoff_one_is_open ON ledger.cutoff ((true)) WHERE state = 'OPEN';
INSERT INTO ledger.cutoff (cutoff_id, state, opened_at) VALUES (1, 'OPEN', '-infinity');

-- Holders are numbers handed out here; who they are is told elsewhere.
CREATE SEQUENCE ledger.holder_id_seq;

-- Holder side: holder_id leads every key, so that the schema shards by it.
CREATE TABLE ledger.account (
  holder_id    bigint NOT NULL,
  unit         smallint NOT NULL REFERENCES ledger.unit,
  seq          bigint NOT NULL DEFAULT 0,
  available    bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
  pending      bigint NOT NULL DEFAULT 0 CHECK (pending >= 0),
  held         bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  debt         bigint NOT NULL DEFAULT 0 CHECK (debt >= 0),
  next_due     timestamptz NOT NULL DEFAULT 'infinity',   -- earliest activation or expiry not yet applied
  last_at      timestamptz NOT NULL DEFAULT '-infinity',  -- recorded_at of entry number seq
  spend_locked boolean NOT NULL DEFAULT false,
  daily_cap    bigint CHECK (daily_cap >= 0),             -- most that may be spent in one day of the programme
  spent_on     date,
  spent        bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
  head_hash    bytea NOT NULL DEFAULT '',               -- hash of entry number seq
  PRIMARY KEY (holder_id, unit)
) WITH (fillfactor = 70);

CREATE TABLE ledger.journal (
  holder_id       bigint NOT NULL,
  seq             bigint NOT NULL,
  amount          bigint NOT NULL CHECK (amount >= 0),
  ref_seq         bigint,                -- the entry that this one takes back
  available_after bigint NOT NULL CHECK (available_after >= 0),
  pending_after   bigint NOT NULL CHECK (pending_after >= 0),
  held_after      bigint NOT NULL CHECK (held_after >= 0),
  debt_after      bigint NOT NULL CHECK (debt_after >= 0),
  at              timestamptz NOT NULL,  -- business instant of the effect; the due instant of a lazy one
  recorded_at     timestamptz NOT NULL,  -- never earlier than the entry before
  xid             xid8 NOT NULL DEFAULT pg_current_xact_id(),
  idem_key        uuid,                  -- 128 bits of SHA-256(client, operation, key); null for the ledger's own
  fingerprint     uuid,                  -- 128 bits of SHA-256(input)
  partner_id      int NOT NULL,          -- where it happened; 0 is the operator
  cutoff_id       int NOT NULL,
  unit            smallint NOT NULL,
  kind            smallint NOT NULL,
  hash            bytea NOT NULL,        -- SHA-256 over the entry before's, this entry and its postings
  PRIMARY KEY (holder_id, unit, seq)
);
CREATE UNIQUE INDEX journal_idem_key ON ledger.journal (holder_id, unit, idem_key) WHERE idem_key IS NOT NULL;
CREATE INDEX journal_cutoff ON ledger.journal USING brin (cutoff_id);

CREATE TABLE ledger.posting (
  holder_id    bigint NOT NULL,
  seq          bigint NOT NULL,
  lot_seq      bigint NOT NULL,
  amount       bigint NOT NULL CHECK (amount > 0),
  issuer_id    int NOT NULL,
  funder_id    int NOT NULL,
  partner_id   int NOT NULL,             -- where the event happened
  lot_terms_id int NOT NULL,             -- terms under which the lot was issued: its fund and service price
  terms_id     int NOT NULL,             -- terms of the event: a redeemer's reimbursement price
  cutoff_id    int NOT NULL,
  unit         smallint NOT NULL,
  leg          smallint NOT NULL,
  debit        smallint NOT NULL,
  credit       smallint NOT NULL,
  lot_no       smallint NOT NULL,
  CHECK (debit <> credit),
  PRIMARY KEY (holder_id, unit, seq, leg)
);
CREATE INDEX posting_cutoff ON ledger.posting USING brin (cutoff_id);

CREATE TABLE ledger.lot (
  holder_id    bigint NOT NULL,
  seq          bigint NOT NULL,          -- the accrual that made it
  granted      bigint NOT NULL CHECK (granted > 0),
  remaining    bigint NOT NULL CHECK (remaining >= 0),
  held         bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  returned     bigint NOT NULL DEFAULT 0 CHECK (returned >= 0),
  activates_at timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL,
  issuer_id    int NOT NULL,
  funder_id    int NOT NULL,
  terms_id     int NOT NULL,
  unit         smallint NOT NULL,
  lot_no       smallint NOT NULL,
  active       boolean NOT NULL,
  open         boolean NOT NULL DEFAULT true,
  CHECK (remaining + held + returned <= granted),
  CHECK (open = (remaining > 0 OR held > 0)),
  CHECK (expires_at > activates_at),
  PRIMARY KEY (holder_id, unit, seq, lot_no)
) WITH (fillfactor = 70);
-- "open" flips once in a lot's life; a predicate on remaining would make every redemption a non-HOT update.
CREATE INDEX lot_open ON ledger.lot (holder_id, unit, expires_at, seq, lot_no) WHERE open;

-- Points set aside for a purchase that is not finished. seq is the entry that placed it, whose postings say which lots.
CREATE TABLE ledger.hold (
  holder_id  bigint NOT NULL,
  seq        bigint NOT NULL,
  amount     bigint NOT NULL CHECK (amount > 0),
  captured   bigint NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND amount),
  lapses_at  timestamptz NOT NULL,
  partner_id int NOT NULL,
  unit       smallint NOT NULL,
  state      smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),  -- 0 open, 1 captured, 2 released, 3 lapsed
  CHECK (captured = 0 OR state = 1),
  PRIMARY KEY (holder_id, unit, seq)
) WITH (fillfactor = 70);
CREATE INDEX hold_open ON ledger.hold (holder_id, unit, lapses_at) WHERE state = 0;

-- Append-only by privilege: the functions' owner may insert, nobody but the schema's owner may change or remove.
GRANT SELECT, INSERT ON ledger.journal, ledger.posting TO tessera_ledger;
GRANT SELECT, INSERT, UPDATE ON ledger.account, ledger.lot, ledger.hold, ledger.cutoff TO tessera_ledger;
GRANT SELECT ON ledger.unit, ledger.account_kind, ledger.entry_kind TO tessera_ledger, tessera_app;
GRANT USAGE ON SEQUENCE ledger.holder_id_seq TO tessera_ledger;
GRANT SELECT ON ledger.account, ledger.journal, ledger.posting, ledger.lot, ledger.hold, ledger.cutoff TO tessera_app;
