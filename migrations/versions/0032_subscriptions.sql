-- Plans of the umbrella subscription. A plan says what never changes of it; a price is a version of its own.
CREATE TABLE members.plan (
  plan_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  code        text NOT NULL UNIQUE CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  names       jsonb NOT NULL,
  seats       smallint NOT NULL CHECK (seats BETWEEN 0 AND 10),        -- beside the owner
  trial_days  smallint NOT NULL CHECK (trial_days BETWEEN 0 AND 92),
  notice_days smallint NOT NULL CHECK (notice_days BETWEEN 1 AND 31),  -- a renewal is announced so long before
  on_leaving  text NOT NULL CHECK (on_leaving IN ('KEEP', 'CREDIT')),  -- of days that are paid, when it ends at once
  at          timestamptz NOT NULL
);
CREATE TABLE members.plan_benefit (
  plan_id int NOT NULL REFERENCES members.plan,
  benefit text NOT NULL CHECK (benefit ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
  PRIMARY KEY (plan_id, benefit)
);
-- Tax in a fee, by versions of a rule. Prices are what a member pays, the tax in it.
CREATE TABLE members.fee_tax (
  code       text NOT NULL CHECK (code ~ '^[A-Z0-9_]{1,32}$'),
  version    int NOT NULL CHECK (version >= 1),
  valid_from timestamptz NOT NULL,
  rate_bp    int NOT NULL CHECK (rate_bp BETWEEN 0 AND 10000),
  PRIMARY KEY (code, version),
  UNIQUE (code, valid_from)
);
INSERT INTO members.fee_tax VALUES ('NONE', 1, '-infinity', 0);
CREATE TABLE members.plan_price (
  price_no     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  plan_id      int NOT NULL REFERENCES members.plan,
  version      int NOT NULL CHECK (version >= 1),
  currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  interval     text NOT NULL CHECK (interval IN ('MONTH', 'QUARTER', 'YEAR')),
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  tax_code     text NOT NULL,
  valid_from   timestamptz NOT NULL,
  UNIQUE (plan_id, currency, interval, version),
  UNIQUE (plan_id, currency, interval, valid_from)
);

-- A member's subscription. What happened to it is appended; what it is, is the fold. version counts what happened.
CREATE TABLE members.subscription (
  holder_id       bigint NOT NULL,
  subscription_no bigint GENERATED ALWAYS AS IDENTITY,
  zone            text NOT NULL,
  provider        text NOT NULL CHECK (provider ~ '^[a-z]+$'),
  currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  version         int NOT NULL DEFAULT 0 CHECK (version >= 0),
  at              timestamptz NOT NULL,
  PRIMARY KEY (holder_id, subscription_no)
);
CREATE INDEX subscription_number ON members.subscription (subscription_no);
CREATE TABLE members.subscription_event (
  holder_id       bigint NOT NULL,
  subscription_no bigint NOT NULL,
  seq             int NOT NULL CHECK (seq >= 1),
  kind            text NOT NULL CHECK (kind ~ '^[A-Z_]+$'),
  at              timestamptz NOT NULL,
  price_no        int REFERENCES members.plan_price,
  interval        text,
  until           timestamptz,
  reason          text,
  PRIMARY KEY (holder_id, subscription_no, seq),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
-- What time makes due, in a total order: (due_at, kind, holder_id, subscription_no, about).
CREATE TABLE members.subscription_due (
  holder_id       bigint NOT NULL,
  subscription_no bigint NOT NULL,
  kind            text NOT NULL CHECK (kind IN ('ASK', 'CHARGE', 'END', 'EXPIRE', 'NOTICE', 'PERIOD', 'REFUND', 'RESUME')),
  about           bigint NOT NULL,       -- number of an invoice or a refund, or 0
  due_at          timestamptz NOT NULL,
  PRIMARY KEY (holder_id, subscription_no, kind, about),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
CREATE INDEX subscription_due_order ON members.subscription_due (due_at, kind, holder_id, subscription_no, about);

-- Invoices, numbered one after the other over all members.
CREATE TABLE members.invoice_counter (
  series  text PRIMARY KEY CHECK (series IN ('INVOICE', 'CREDIT_NOTE')),
  last_no bigint NOT NULL CHECK (last_no >= 0)
);
INSERT INTO members.invoice_counter VALUES ('INVOICE', 0), ('CREDIT_NOTE', 0);
-- In a schema whose functions no routines replace.
CREATE FUNCTION kit.counts_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.last_no <> OLD.last_no + 1 OR NEW.series <> OLD.series THEN
    RAISE EXCEPTION 'invoices are numbered one after the other' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER counts_on BEFORE UPDATE ON members.invoice_counter FOR EACH ROW EXECUTE FUNCTION kit.counts_on();
CREATE TABLE members.invoice (
  holder_id       bigint NOT NULL,
  invoice_no      bigint NOT NULL UNIQUE CHECK (invoice_no >= 1),
  subscription_no bigint NOT NULL,
  kind            text NOT NULL CHECK (kind IN ('PERIOD', 'CHANGE')),
  period_from     timestamptz NOT NULL,
  period_until    timestamptz NOT NULL CHECK (period_until > period_from),
  price_no        int NOT NULL REFERENCES members.plan_price,
  currency        text NOT NULL,
  net_minor       bigint NOT NULL CHECK (net_minor >= 0),
  tax_minor       bigint NOT NULL CHECK (tax_minor >= 0),
  gross_minor     bigint NOT NULL CHECK (gross_minor > 0 AND gross_minor = net_minor + tax_minor),
  tax_code        text NOT NULL,
  tax_version     int NOT NULL,
  provider        text NOT NULL,
  reference       text NOT NULL UNIQUE,    -- what a payment has to name
  is_test         boolean NOT NULL,
  issued_at       timestamptz NOT NULL,
  due_at          timestamptz NOT NULL,
  PRIMARY KEY (holder_id, invoice_no),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription,
  FOREIGN KEY (tax_code, tax_version) REFERENCES members.fee_tax
);
CREATE INDEX invoice_subscription ON members.invoice (holder_id, subscription_no);
CREATE TABLE members.invoice_line (
  holder_id    bigint NOT NULL,
  invoice_no   bigint NOT NULL,
  line_no      smallint NOT NULL CHECK (line_no >= 1),
  kind         text NOT NULL CHECK (kind IN ('PERIOD', 'PRORATION_CREDIT', 'PRORATION_DEBIT', 'PROMO')),
  price_no     int NOT NULL REFERENCES members.plan_price,
  amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
  PRIMARY KEY (holder_id, invoice_no, line_no),
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
CREATE TABLE members.invoice_void (
  holder_id  bigint NOT NULL,
  invoice_no bigint NOT NULL,
  reason     text NOT NULL,
  at         timestamptz NOT NULL,
  PRIMARY KEY (holder_id, invoice_no),
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
-- An attempt is written and committed before the provider is called; what became of it is written once.
CREATE TABLE members.charge_attempt (
  holder_id  bigint NOT NULL,
  invoice_no bigint NOT NULL,
  attempt_no smallint NOT NULL CHECK (attempt_no >= 1),
  charge_key text NOT NULL UNIQUE,
  at         timestamptz NOT NULL,
  PRIMARY KEY (holder_id, invoice_no, attempt_no),
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
CREATE TABLE members.charge_outcome (
  holder_id  bigint NOT NULL,
  invoice_no bigint NOT NULL,
  attempt_no smallint NOT NULL,
  outcome    text NOT NULL CHECK (outcome IN ('PAID', 'SOFT', 'HARD')),
  reference  text NOT NULL,
  at         timestamptz NOT NULL,
  PRIMARY KEY (holder_id, invoice_no, attempt_no),
  FOREIGN KEY (holder_id, invoice_no, attempt_no) REFERENCES members.charge_attempt
);
-- Money that came. What nobody owed (the invoice is void, or was paid before) is surplus and goes back.
CREATE TABLE members.fee_payment (
  holder_id      bigint NOT NULL,
  invoice_no     bigint NOT NULL,
  provider       text NOT NULL,
  reference      text NOT NULL CHECK (reference <> ''),
  amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
  charging_minor bigint NOT NULL CHECK (charging_minor BETWEEN 0 AND amount_minor),
  is_surplus     boolean NOT NULL,
  service_from   date NOT NULL,            -- the days that it pays for, of the subscription's zone
  service_until  date NOT NULL CHECK (service_until > service_from),
  evidence       text NOT NULL,
  actor          text NOT NULL,
  approval_id    bigint,
  at             timestamptz NOT NULL,
  PRIMARY KEY (holder_id, invoice_no, provider, reference),
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
CREATE UNIQUE INDEX fee_payment_once ON members.fee_payment (invoice_no) WHERE NOT is_surplus;
CREATE UNIQUE INDEX fee_payment_reference ON members.fee_payment (provider, reference);
CREATE INDEX fee_payment_at ON members.fee_payment (at);
-- What is given back of an invoice that was paid. from_day is the first day that was not served; of a chargeback the
-- served days are lost_minor.
CREATE TABLE members.credit_note (
  holder_id  bigint NOT NULL,
  note_no    bigint NOT NULL UNIQUE CHECK (note_no >= 1),
  invoice_no bigint NOT NULL UNIQUE,
  kind       text NOT NULL CHECK (kind IN ('UNSERVED', 'CHARGEBACK')),
  from_day   date NOT NULL,
  net_minor  bigint NOT NULL CHECK (net_minor >= 0),
  tax_minor  bigint NOT NULL CHECK (tax_minor >= 0),
  lost_minor bigint NOT NULL CHECK (lost_minor >= 0 AND (lost_minor = 0 OR kind = 'CHARGEBACK')),
  reason     text NOT NULL,
  at         timestamptz NOT NULL,
  PRIMARY KEY (holder_id, note_no),
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
CREATE INDEX credit_note_at ON members.credit_note (at);
-- Money that has to go back, and that it went. As with charges the order is committed before the provider is called.
CREATE TABLE members.fee_refund (
  holder_id    bigint NOT NULL,
  refund_no    bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  invoice_no   bigint NOT NULL,
  payment      text NOT NULL,            -- the payment's reference
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  reason       text NOT NULL CHECK (reason IN ('CREDIT_NOTE', 'SURPLUS')),
  at           timestamptz NOT NULL,
  PRIMARY KEY (holder_id, refund_no),
  UNIQUE (invoice_no, payment),
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
CREATE TABLE members.fee_refund_done (
  holder_id bigint NOT NULL,
  refund_no bigint NOT NULL,
  reference text NOT NULL,
  actor     text NOT NULL,
  at        timestamptz NOT NULL,
  PRIMARY KEY (holder_id, refund_no),
  FOREIGN KEY (holder_id, refund_no) REFERENCES members.fee_refund
);

-- Entitlement is grants less blocks, never a flag.
CREATE TABLE members.entitlement_grant (
  holder_id       bigint NOT NULL,
  grant_no        bigint GENERATED ALWAYS AS IDENTITY,
  subscription_no bigint NOT NULL,
  plan_id         int NOT NULL REFERENCES members.plan,
  source          text NOT NULL CHECK (source IN ('PAID', 'TRIAL', 'GRACE', 'GIFT')),
  invoice_no      bigint,
  valid_from      timestamptz NOT NULL,
  valid_until     timestamptz NOT NULL CHECK (valid_until > valid_from),
  at              timestamptz NOT NULL,
  PRIMARY KEY (holder_id, grant_no),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription,
  CHECK ((source = 'PAID') <= (invoice_no IS NOT NULL))
);
CREATE INDEX entitlement_grant_until ON members.entitlement_grant (holder_id, valid_until);
CREATE TABLE members.entitlement_block (
  holder_id       bigint NOT NULL,
  subscription_no bigint NOT NULL,
  block_no        bigint GENERATED ALWAYS AS IDENTITY,
  reason          text NOT NULL CHECK (reason IN ('ENDED', 'CHARGEBACK', 'FRAUD')),
  valid_from      timestamptz NOT NULL,
  at              timestamptz NOT NULL,
  PRIMARY KEY (holder_id, subscription_no, block_no),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
-- Seats beside the owner's. One that was given up is free again after a while.
CREATE TABLE members.subscription_seat (
  holder_id       bigint NOT NULL,       -- the owner
  subscription_no bigint NOT NULL,
  seat_no         smallint NOT NULL CHECK (seat_no >= 1),
  member_id       bigint NOT NULL CHECK (member_id <> holder_id),
  invited_at      timestamptz NOT NULL,
  accepted_at     timestamptz CHECK (accepted_at >= invited_at),
  removed_at      timestamptz CHECK (removed_at >= invited_at),
  free_at         timestamptz CHECK (free_at >= removed_at),
  PRIMARY KEY (holder_id, subscription_no, seat_no),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription,
  CHECK ((removed_at IS NULL) = (free_at IS NULL))
);
CREATE INDEX subscription_seat_member ON members.subscription_seat (member_id) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX subscription_seat_once ON members.subscription_seat (holder_id, subscription_no, member_id)
  WHERE removed_at IS NULL;
-- A trial is had once: by a person, and with a means of payment.
CREATE TABLE members.trial_use (
  kind            text NOT NULL CHECK (kind IN ('PERSON', 'MEANS')),
  lookup          uuid NOT NULL,
  holder_id       bigint NOT NULL,
  subscription_no bigint NOT NULL,
  at              timestamptz NOT NULL,
  PRIMARY KEY (kind, lookup)
);
-- What a member lets us charge. token names it at the provider and is of no use without our key there.
CREATE TABLE members.payment_means (
  holder_id    bigint NOT NULL,
  means_no     bigint GENERATED ALWAYS AS IDENTITY,
  provider     text NOT NULL,
  token        text NOT NULL CHECK (token <> ''),
  fingerprint  uuid,
  text_version text NOT NULL,            -- of what the member agreed to
  at           timestamptz NOT NULL,
  PRIMARY KEY (holder_id, means_no)
);
-- Proof that a renewal was announced before it was charged.
CREATE TABLE members.renewal_notice (
  holder_id       bigint NOT NULL,
  subscription_no bigint NOT NULL,
  renews_at       timestamptz NOT NULL,
  amount_minor    bigint NOT NULL CHECK (amount_minor >= 0),
  currency        text NOT NULL,
  message_id      uuid,                  -- null: the member told no address, or wants no letters
  at              timestamptz NOT NULL,
  PRIMARY KEY (holder_id, subscription_no, renews_at),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
-- That a benefit was used, as a partner tells it.
CREATE TABLE members.benefit_use (
  holder_id       bigint NOT NULL,       -- whose subscription it was used by
  use_no          bigint GENERATED ALWAYS AS IDENTITY,
  subscription_no bigint NOT NULL,
  member_id       bigint NOT NULL,       -- who used it
  benefit         text NOT NULL,
  partner_id      int NOT NULL CHECK (partner_id > 0),
  client_id       int,
  units           int NOT NULL CHECK (units > 0),
  is_trial        boolean NOT NULL,
  used_at         timestamptz NOT NULL,
  at              timestamptz NOT NULL,
  idem_key        uuid NOT NULL UNIQUE,
  fingerprint     uuid NOT NULL,
  PRIMARY KEY (holder_id, use_no),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
CREATE INDEX benefit_use_at ON members.benefit_use (at);

GRANT SELECT, INSERT ON members.plan, members.plan_benefit, members.fee_tax, members.plan_price, members.subscription,
  members.subscription_event, members.subscription_due, members.invoice, members.invoice_line, members.invoice_void,
  members.charge_attempt, members.charge_outcome, members.fee_payment, members.credit_note, members.fee_refund,
  members.fee_refund_done, members.entitlement_grant, members.entitlement_block, members.subscription_seat,
  members.trial_use, members.payment_means, members.renewal_notice, members.benefit_use TO tessera_app;
GRANT SELECT ON members.invoice_counter TO tessera_app;
GRANT UPDATE (last_no) ON members.invoice_counter TO tessera_app;
GRANT UPDATE (version) ON members.subscription TO tessera_app;
GRANT UPDATE (due_at), DELETE ON members.subscription_due TO tessera_app;
GRANT UPDATE (accepted_at, removed_at, free_at) ON members.subscription_seat TO tessera_app;
