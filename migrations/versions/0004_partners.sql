CREATE SCHEMA partners;
GRANT USAGE ON SCHEMA partners TO tessera_app;

-- The programme: one per database.
CREATE TABLE partners.programme (
  id               smallint PRIMARY KEY CHECK (id = 1),
  name             text NOT NULL,
  time_zone        text NOT NULL,
  base_currency    text NOT NULL CHECK (base_currency ~ '^[A-Z]{3}$'),
  languages        text[] NOT NULL,
  bill_ceiling_bp  int NOT NULL DEFAULT 10000 CHECK (bill_ceiling_bp BETWEEN 0 AND 10000),
  refund_grace_days int NOT NULL DEFAULT 30 CHECK (refund_grace_days >= 1)
);
-- What a point is worth at the till, per currency, in micro-units: 10,000 is 0.01.
CREATE TABLE partners.point_value (
  currency    text PRIMARY KEY CHECK (currency ~ '^[A-Z]{3}$'),
  value_micro bigint NOT NULL CHECK (value_micro > 0)
);

CREATE TABLE partners.partner (
  partner_id    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- 0 is the operator and has no row
  code          text NOT NULL UNIQUE CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  name          text NOT NULL CHECK (name <> ''),
  status        text NOT NULL CHECK (status IN ('ACTIVE', 'SUSPENDED')),
  sealed_id_key bytea NOT NULL,          -- 64 bytes: this partner's ids of members and transactions
  created_at    timestamptz NOT NULL
);
CREATE TABLE partners.outlet (
  outlet_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id int NOT NULL REFERENCES partners.partner,
  code       text NOT NULL CHECK (code <> '' AND length(code) <= 32),
  name       text NOT NULL,
  UNIQUE (partner_id, code)
);
CREATE TABLE partners.terminal (
  terminal_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  outlet_id   int NOT NULL REFERENCES partners.outlet,
  code        text NOT NULL CHECK (code <> '' AND length(code) <= 32),
  status      text NOT NULL CHECK (status IN ('ACTIVE', 'SUSPENDED')),
  UNIQUE (outlet_id, code)
);

-- What partner and operator signed. A version is proposed by one and approved by another, then never edited;
-- the version in force at an instant is the approved one with the latest valid_from at or before it.
CREATE TABLE partners.agreement (
  terms_id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id          int NOT NULL REFERENCES partners.partner,
  version             int NOT NULL CHECK (version >= 1),
  valid_from          timestamptz NOT NULL,
  currency            text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  earn_rate_bp        int NOT NULL CHECK (earn_rate_bp BETWEEN 0 AND 10000),
  fund_price_micro    bigint NOT NULL CHECK (fund_price_micro >= 0),
  service_price_micro bigint NOT NULL CHECK (service_price_micro >= 0),
  reimbursement_price_micro bigint NOT NULL CHECK (reimbursement_price_micro >= 0),
  funding             text NOT NULL CHECK (funding IN ('POOL')),
  return_window_days  int NOT NULL CHECK (return_window_days BETWEEN 0 AND 365),
  expiry_months       int NOT NULL CHECK (expiry_months BETWEEN 1 AND 120),
  bill_share_bp       int NOT NULL CHECK (bill_share_bp BETWEEN 0 AND 10000),
  return_policy       text NOT NULL CHECK (return_policy IN ('ISSUER_BEARS', 'REFUND_DEDUCTION')),
  tier_bonus_bp       jsonb NOT NULL DEFAULT '{}',   -- tier to basis points added to earn_rate_bp
  approval_id         bigint NOT NULL UNIQUE REFERENCES kit.approval,   -- one decision, one version
  UNIQUE (partner_id, version)
);

-- Bumped by every change above, so that a gateway notices without reading it all.
CREATE TABLE partners.revision (
  id       smallint PRIMARY KEY CHECK (id = 1),
  revision bigint NOT NULL
);
INSERT INTO partners.revision VALUES (1, 1);

-- One row per receipt, whichever card was shown and whatever key was sent. claim is 128 bits of
-- SHA-256(partner, outlet, terminal, business date, reference, kind); a cancelled unknown receipt leaves a row
-- without holder that refuses the late original.
CREATE TABLE partners.receipt_claim (
  claim       uuid PRIMARY KEY,
  idem_key    uuid NOT NULL UNIQUE,
  fingerprint uuid NOT NULL,
  holder_id   bigint,
  partner_id  int NOT NULL
);

-- kinds: 1 purchase, 2 redemption, 3 return, 4 cancellation. seq is the journal entry that the ledger wrote for it.
CREATE TABLE partners.receipt (
  holder_id      bigint NOT NULL,
  seq            bigint NOT NULL,
  claim          uuid NOT NULL,
  total          bigint NOT NULL,         -- minor units of the currency
  awarded        bigint NOT NULL DEFAULT 0 CHECK (awarded >= 0),    -- points granted; of a return: taken back
  redeemed       bigint NOT NULL DEFAULT 0 CHECK (redeemed >= 0),   -- points spent; of a return: given back
  redemption_seq bigint,                  -- entry of the spending half
  original_seq   bigint,                  -- of a return or cancellation: the purchase
  occurred_at    timestamptz NOT NULL,    -- the till's clock
  at             timestamptz NOT NULL,    -- business instant of recording
  card_id        bigint,
  partner_id     int NOT NULL,
  outlet_id      int NOT NULL,
  terminal_id    int,
  client_id      int NOT NULL,
  terms_id       int NOT NULL,
  cutoff_id      int NOT NULL,
  business_date  date NOT NULL,
  unit           smallint NOT NULL,
  kind           smallint NOT NULL CHECK (kind BETWEEN 1 AND 4),
  currency       text NOT NULL,
  reference      text NOT NULL,
  detail         jsonb,                   -- lines, payments and what else the partner sent
  decision       jsonb NOT NULL,          -- what was decided on it, with the context, so that it can be decided again
  PRIMARY KEY (holder_id, unit, seq)
);
CREATE INDEX receipt_cutoff ON partners.receipt USING brin (cutoff_id);
CREATE INDEX receipt_original ON partners.receipt (holder_id, unit, original_seq) WHERE original_seq IS NOT NULL;

GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA partners TO tessera_app;
GRANT UPDATE ON partners.revision TO tessera_app;
GRANT UPDATE (status) ON partners.partner, partners.terminal TO tessera_app;
