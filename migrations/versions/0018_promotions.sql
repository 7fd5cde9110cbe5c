-- A marketing offer, sponsored by a partner or by the operator, 0.
CREATE TABLE partners.promotion (
  promotion_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  code         text NOT NULL UNIQUE CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
  names        jsonb NOT NULL,             -- language to name
  sponsor_id   int NOT NULL CHECK (sponsor_id >= 0),
  author_id    int NOT NULL REFERENCES kit.actor,
  at           timestamptz NOT NULL
);

-- A rule is one thing for ever; its versions are what it said. A document is its source in canonical form, which is hashed.
CREATE TABLE partners.rule (
  rule_id      int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  promotion_id int NOT NULL REFERENCES partners.promotion,
  code         text NOT NULL UNIQUE CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$')
);
CREATE TABLE partners.rule_version (
  rule_id    int NOT NULL REFERENCES partners.rule,
  version    int NOT NULL CHECK (version >= 1),
  document   text NOT NULL,
  sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  valid_from timestamptz NOT NULL,
  author_id  int NOT NULL REFERENCES kit.actor,
  at         timestamptz NOT NULL,
  PRIMARY KEY (rule_id, version)
);

-- An immutable set of rules, made from the one before it. Publishing takes two people. Taking rules out takes one and
-- works at once: there is nothing to decide. What decides at an instant is told by partners.promotions.releases.pinned.
CREATE TABLE partners.release (
  release_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  parent_id      int REFERENCES partners.release,
  kind           text NOT NULL CHECK (kind IN ('PUBLICATION', 'SUSPENSION')),
  manifest       text NOT NULL,
  sha256         text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  effective_from timestamptz NOT NULL,
  author_id      int NOT NULL REFERENCES kit.actor,
  at             timestamptz NOT NULL,
  approval_id    bigint UNIQUE REFERENCES kit.approval,
  CHECK ((kind = 'PUBLICATION') = (approval_id IS NOT NULL))
);
CREATE TABLE partners.release_rule (
  release_id int NOT NULL REFERENCES partners.release,
  rule_id    int NOT NULL,
  version    int NOT NULL,
  PRIMARY KEY (release_id, rule_id),
  FOREIGN KEY (rule_id, version) REFERENCES partners.rule_version
);

-- A cap. scopes says per what it counts (none: in all), period for how long, by the calendar of its zone. One of money is
-- a funding account: its ceiling is what was paid in, and what was used of it was paid out.
CREATE TABLE partners.budget (
  budget_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  code       text NOT NULL UNIQUE CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
  unit       text NOT NULL CHECK (unit IN ('points', 'money', 'count')),
  currency   text CHECK (currency ~ '^[A-Z]{3}$'),
  scopes     text[] NOT NULL CHECK (scopes <@ '{member,household,card,instrument,partner,outlet,code,referrer}'),
  period     text NOT NULL CHECK (period IN ('total', 'year', 'month', 'week', 'day')),
  zone       text NOT NULL,
  on_exceed  text NOT NULL CHECK (on_exceed IN ('deny', 'partial')),
  sponsor_id int NOT NULL CHECK (sponsor_id >= 0),
  ceiling    bigint NOT NULL CHECK (ceiling >= 0),
  author_id  int REFERENCES kit.actor,     -- none where a part of the system added it
  at         timestamptz NOT NULL,
  CHECK ((unit = 'money') = (currency IS NOT NULL))
);
-- How a budget's ceiling came to be what it is: set, or raised by a payment (funded) under the payer's reference.
CREATE TABLE partners.budget_limit (
  budget_id int NOT NULL REFERENCES partners.budget,
  limit_no  int NOT NULL CHECK (limit_no >= 1),
  ceiling   bigint NOT NULL CHECK (ceiling >= 0),
  funded    bigint CHECK (funded > 0),
  payer_id  int CHECK (payer_id >= 0),
  reference text,
  at        timestamptz NOT NULL,
  PRIMARY KEY (budget_id, limit_no),
  UNIQUE (budget_id, reference),
  CHECK ((funded IS NULL) = (payer_id IS NULL) AND (funded IS NULL) = (reference IS NULL))
);
-- What is used of a budget per scope and period, below the ceiling as it was when it was last charged.
CREATE TABLE partners.budget_counter (
  budget_id int NOT NULL,
  scope     text NOT NULL,
  period    text NOT NULL,
  used      bigint NOT NULL,
  ceiling   bigint NOT NULL,
  PRIMARY KEY (budget_id, scope, period)
) WITH (fillfactor = 50);
-- Each charge with the receipt's journal entry that made it; below zero where a return gave it back.
CREATE TABLE partners.budget_charge (
  holder_id bigint NOT NULL,
  seq       bigint NOT NULL,
  amount    bigint NOT NULL,
  budget_id int NOT NULL,
  unit      smallint NOT NULL,
  scope     text NOT NULL,
  period    text NOT NULL,
  PRIMARY KEY (holder_id, seq, unit, budget_id, scope, period)
);

-- What a decision made one party owe another beside points: payer owes payee amount minor units of the currency.
-- kind: 1 discount, 2 coupon, 3 benefit. A return writes the parties the other way round, with is_return.
CREATE TABLE partners.clearing_event (
  holder_id  bigint NOT NULL,
  seq        bigint NOT NULL,              -- the receipt's journal entry
  amount     bigint NOT NULL,              -- minor units, above zero
  payer_id   int NOT NULL,                 -- a partner, or 0, the operator
  payee_id   int NOT NULL,
  terms_id   int NOT NULL,                 -- the agreement of the partner whose receipt it is
  cutoff_id  int NOT NULL,
  unit       smallint NOT NULL,
  event_no   smallint NOT NULL,
  kind       smallint NOT NULL,
  is_return  boolean NOT NULL,
  currency   text NOT NULL,
  rule       text NOT NULL,                -- code of the rule that gave it
  PRIMARY KEY (holder_id, seq, unit, event_no)
);
CREATE INDEX clearing_event_cutoff ON partners.clearing_event USING brin (cutoff_id);

-- As of other hot tables, one policy each: see 0011_hot_tables.
ALTER TABLE partners.budget_counter ENABLE ROW LEVEL SECURITY;
CREATE POLICY no_more_than_the_ceiling ON partners.budget_counter
  USING (true) WITH CHECK (used BETWEEN 0 AND ceiling);
ALTER TABLE partners.budget_charge ENABLE ROW LEVEL SECURITY;
CREATE POLICY something_is_charged ON partners.budget_charge USING (true) WITH CHECK (amount <> 0);
ALTER TABLE partners.clearing_event ENABLE ROW LEVEL SECURITY;
CREATE POLICY one_party_owes_another ON partners.clearing_event
  USING (true) WITH CHECK (amount > 0 AND payer_id <> payee_id AND kind BETWEEN 1 AND 3);

GRANT SELECT, INSERT ON partners.promotion, partners.rule, partners.rule_version, partners.release,
  partners.release_rule, partners.budget, partners.budget_limit, partners.budget_counter, partners.budget_charge,
  partners.clearing_event TO tessera_app;
GRANT UPDATE (ceiling) ON partners.budget TO tessera_app;
GRANT UPDATE (used, ceiling) ON partners.budget_counter TO tessera_app;
