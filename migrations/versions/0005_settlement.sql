CREATE SCHEMA settlement;
GRANT USAGE ON SCHEMA settlement TO tessera_app;

-- A run settles cut-offs. Everything below is written once, by the run, and never changed: what was wrong is put
-- right by postings in a later cut-off.
CREATE TABLE settlement.run (
  run_id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  actor          text NOT NULL CHECK (actor <> ''),
  at             timestamptz NOT NULL,   -- business instant
  through_cutoff int NOT NULL,           -- the latest cut-off in it
  opened_at      timestamptz,            -- when the first of them opened; none where that was the very first
  cut_at         timestamptz NOT NULL,   -- when the last of them closed
  wrote_at       timestamptz NOT NULL DEFAULT now()
);
-- The key is the rule: a cut-off is settled in one run at most.
CREATE TABLE settlement.run_cutoff (
  cutoff_id int PRIMARY KEY,
  run_id    int NOT NULL REFERENCES settlement.run
);
CREATE INDEX run_cutoff_run ON settlement.run_cutoff (run_id);

-- What was rated: the postings of the run's cut-offs, summed. Rating these again gives the lines again.
CREATE TABLE settlement.clearing_group (
  run_id       int NOT NULL REFERENCES settlement.run,
  kind         text NOT NULL,
  issuer_id    int NOT NULL,
  funder_id    int NOT NULL,
  partner_id   int NOT NULL,
  lot_terms_id int NOT NULL,
  terms_id     int NOT NULL,
  points       bigint NOT NULL CHECK (points > 0),
  postings     bigint NOT NULL CHECK (postings > 0),
  PRIMARY KEY (run_id, kind, issuer_id, funder_id, partner_id, lot_terms_id, terms_id)
);

-- One per party and currency. Positive is what the party receives, negative what it pays; partner 0 is the operator,
-- so the nets of a run sum to zero per currency.
CREATE TABLE settlement.statement (
  statement_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id        int NOT NULL REFERENCES settlement.run,
  partner_id    int NOT NULL,
  currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  opening_micro bigint NOT NULL,         -- carried from the statement before, micro-units
  opening_minor bigint NOT NULL,         -- the same in minor units
  net_micro     bigint NOT NULL,         -- opening and lines
  net_minor     bigint NOT NULL,         -- the same in minor units, which is what is paid
  UNIQUE (run_id, partner_id, currency)
);
CREATE INDEX statement_partner ON settlement.statement (partner_id, statement_id);

CREATE TABLE settlement.line (
  statement_id     bigint NOT NULL REFERENCES settlement.statement,
  line_no          int NOT NULL CHECK (line_no >= 1),
  kind             text NOT NULL CHECK (kind ~ '^[A-Z_]+$'),
  terms_id         int,                  -- the agreement version that priced it; none on a rounding line
  points           bigint NOT NULL CHECK (points >= 0),
  postings         bigint NOT NULL CHECK (postings >= 0),
  unit_price_micro bigint NOT NULL CHECK (unit_price_micro >= 0),
  amount_micro     bigint NOT NULL,
  amount_minor     bigint NOT NULL,
  PRIMARY KEY (statement_id, line_no),
  CHECK (kind = 'ROUNDING' OR terms_id IS NOT NULL AND abs(amount_micro) = points * unit_price_micro)
);

-- Who pays the operator what (PAY_IN), whom the operator pays (PAY_OUT): one per party and currency at most.
CREATE TABLE settlement.instruction (
  run_id       int NOT NULL REFERENCES settlement.run,
  partner_id   int NOT NULL CHECK (partner_id > 0),
  currency     text NOT NULL,
  direction    text NOT NULL CHECK (direction IN ('PAY_IN', 'PAY_OUT')),
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  PRIMARY KEY (run_id, partner_id, currency)
);

-- What the operator must keep for points that can still be spent, at face: the fund part really billed, by movement.
CREATE TABLE settlement.obligation_movement (
  run_id           int NOT NULL REFERENCES settlement.run,
  funder_id        int NOT NULL,
  terms_id         int NOT NULL,
  kind             text NOT NULL CHECK (kind ~ '^[A-Z_]+$'),
  currency         text NOT NULL,
  points           bigint NOT NULL,      -- signed: positive adds to the obligation
  unit_price_micro bigint NOT NULL CHECK (unit_price_micro >= 0),
  amount_micro     bigint NOT NULL,
  PRIMARY KEY (run_id, funder_id, terms_id, kind),
  CHECK (amount_micro = points * unit_price_micro)
);

-- Append-only by privilege.
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA settlement TO tessera_app;
