-- How the fees of subscriptions in a currency are shared: a document of two people, by versions, never edited.
CREATE TABLE settlement.fee_rules (
  currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  version     int NOT NULL CHECK (version >= 1),
  valid_from  date NOT NULL CHECK (extract(day FROM valid_from) = 1),   -- the first month that it shares
  document    jsonb NOT NULL,
  approval_id bigint NOT NULL UNIQUE REFERENCES kit.approval,
  PRIMARY KEY (currency, version),
  UNIQUE (currency, valid_from)
);
-- A month that was closed: what was recognised, and where it went. All in micro-units of the currency.
CREATE TABLE settlement.fee_month (
  month           date NOT NULL CHECK (extract(day FROM month) = 1),
  currency        text NOT NULL,
  rules_version   int NOT NULL,
  cutoff_id       int NOT NULL,
  pool_micro      bigint NOT NULL CHECK (pool_micro >= 0),
  brought_micro   bigint NOT NULL CHECK (brought_micro >= 0),     -- of it carried from the month before
  charging_micro  bigint NOT NULL CHECK (charging_micro >= 0),
  points_micro    bigint NOT NULL CHECK (points_micro >= 0),
  reserve_micro   bigint NOT NULL CHECK (reserve_micro >= 0),
  operator_micro  bigint NOT NULL CHECK (operator_micro >= 0),
  carried_micro   bigint NOT NULL CHECK (carried_micro >= 0),
  added_micro     bigint NOT NULL CHECK (added_micro >= 0),
  actor           text NOT NULL,
  at              timestamptz NOT NULL,
  PRIMARY KEY (month, currency),
  FOREIGN KEY (currency, rules_version) REFERENCES settlement.fee_rules (currency, version)
);
-- What of each invoice a month recognised, minor units, and of what charging it cost.
CREATE TABLE settlement.fee_recognition (
  month            date NOT NULL,
  currency         text NOT NULL,
  holder_id        bigint NOT NULL,
  invoice_no       bigint NOT NULL,
  subscription_no  bigint NOT NULL,
  recognised_minor bigint NOT NULL CHECK (recognised_minor >= 0),
  charging_minor   bigint NOT NULL CHECK (charging_minor BETWEEN 0 AND recognised_minor),
  PRIMARY KEY (month, currency, invoice_no),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month
);
CREATE INDEX fee_recognition_invoice ON settlement.fee_recognition (invoice_no);
-- What each subscription used at each partner in the month, as far as it weighs. 0 is what was carried.
CREATE TABLE settlement.fee_weight (
  month           date NOT NULL,
  currency        text NOT NULL,
  subscription_no bigint NOT NULL,
  partner_id      int NOT NULL,
  weight          bigint NOT NULL CHECK (weight > 0),
  PRIMARY KEY (month, currency, subscription_no, partner_id),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month
);
-- What came of it for partners: benefits that were used (benefit names which), and the share of the rest (empty).
-- trial_units were used in trials: the operator pays them, not the fees.
CREATE TABLE settlement.fee_share (
  month        date NOT NULL,
  currency     text NOT NULL,
  partner_id   int NOT NULL,
  benefit      text NOT NULL,
  units        bigint NOT NULL CHECK (units >= 0),
  trial_units  bigint NOT NULL CHECK (trial_units >= 0),
  rate_micro   bigint NOT NULL CHECK (rate_micro >= 0),
  amount_micro bigint NOT NULL CHECK (amount_micro >= 0),
  trial_micro  bigint NOT NULL CHECK (trial_micro >= 0),
  terms_id     int NOT NULL,
  PRIMARY KEY (month, currency, partner_id, benefit),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month
);
-- What each method would have paid of the rest.
CREATE TABLE settlement.fee_comparison (
  month        date NOT NULL,
  currency     text NOT NULL,
  method       text NOT NULL CHECK (method IN ('USER_CENTRIC', 'PRO_RATA', 'SHAPLEY', 'FIXED')),
  partner_id   int NOT NULL,
  amount_micro bigint NOT NULL CHECK (amount_micro >= 0),
  PRIMARY KEY (month, currency, method, partner_id),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month
);
-- The clearing events of it, in the cut-off that was open.
CREATE TABLE settlement.fee_event (
  month        date NOT NULL,
  currency     text NOT NULL,
  event_no     int NOT NULL CHECK (event_no >= 1),
  cutoff_id    int NOT NULL,
  kind         text NOT NULL,
  payee_id     int NOT NULL CHECK (payee_id >= 0),
  terms_id     int NOT NULL,
  amount_micro bigint NOT NULL CHECK (amount_micro <> 0),
  tax_micro    bigint NOT NULL,
  tax_rule     text,
  count        bigint NOT NULL CHECK (count >= 1),
  reference    text,
  PRIMARY KEY (month, currency, event_no),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month
);
CREATE INDEX fee_event_cutoff ON settlement.fee_event (cutoff_id);
-- Payments and credit notes that the books have seen, each once.
CREATE TABLE settlement.fee_booked (
  kind      text NOT NULL CHECK (kind IN ('PAYMENT', 'CREDIT_NOTE', 'REFUND')),
  fact_key  text NOT NULL,
  month     date NOT NULL,
  currency  text NOT NULL,
  PRIMARY KEY (kind, fact_key),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month
);
GRANT SELECT, INSERT ON settlement.fee_rules, settlement.fee_month, settlement.fee_recognition, settlement.fee_weight,
  settlement.fee_share, settlement.fee_comparison, settlement.fee_event, settlement.fee_booked TO tessera_app;
