-- Where parties are paid and pay from; 0 is the operator. Proposed by one, approved by another, good after a time.
CREATE TABLE settlement.bank_account (
  account_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  party_id          int NOT NULL CHECK (party_id >= 0),
  currency          text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  holder            text NOT NULL CHECK (holder <> ''),
  iban              text NOT NULL CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}$'),
  bic               text CHECK (bic ~ '^[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?$'),
  mandate           text CHECK (mandate <> ''),        -- a partner's: what allows collections
  mandate_signed_on date,
  creditor_id       text CHECK (creditor_id <> ''),    -- the operator's: who collects
  approval_id       bigint NOT NULL UNIQUE REFERENCES kit.approval,
  at                timestamptz NOT NULL,
  CHECK ((mandate IS NULL) = (mandate_signed_on IS NULL))
);
CREATE TABLE settlement.bank_account_use (
  account_id bigint PRIMARY KEY REFERENCES settlement.bank_account,
  valid_from timestamptz NOT NULL,
  at         timestamptz NOT NULL,
  CHECK (valid_from >= at)
);

-- What has to be paid for a run, one leg per partner and direction, and its way.
CREATE TABLE settlement.payment_leg (
  leg_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id       int NOT NULL REFERENCES settlement.run,
  partner_id   int NOT NULL CHECK (partner_id > 0),
  currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  direction    text NOT NULL CHECK (direction IN ('PAY_IN', 'PAY_OUT')),
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  due_on       date NOT NULL,
  reference    text NOT NULL UNIQUE CHECK (reference ~ '^RF[0-9]{2}[0-9A-Z]{1,21}$'),
  at           timestamptz NOT NULL,
  UNIQUE (run_id, partner_id, direction)
);
CREATE TABLE settlement.leg_edge (
  from_state text NOT NULL,
  to_state   text NOT NULL,
  PRIMARY KEY (from_state, to_state)
);
INSERT INTO settlement.leg_edge VALUES
  ('DUE', 'INSTRUCTED'), ('INSTRUCTED', 'ACKED'), ('INSTRUCTED', 'REJECTED'), ('ACKED', 'REJECTED'),
  ('REJECTED', 'INSTRUCTED'), ('RETURNED', 'INSTRUCTED'),
  ('DUE', 'PARTIAL'), ('INSTRUCTED', 'PARTIAL'), ('ACKED', 'PARTIAL'), ('OVERDUE', 'PARTIAL'), ('PARTIAL', 'PARTIAL'),
  ('RETURNED', 'PARTIAL'), ('REJECTED', 'PARTIAL'),
  ('DUE', 'MATCHED'), ('INSTRUCTED', 'MATCHED'), ('ACKED', 'MATCHED'), ('OVERDUE', 'MATCHED'), ('PARTIAL', 'MATCHED'),
  ('RETURNED', 'MATCHED'), ('REJECTED', 'MATCHED'),
  ('DUE', 'OVERDUE'), ('INSTRUCTED', 'OVERDUE'), ('ACKED', 'OVERDUE'), ('PARTIAL', 'OVERDUE'), ('RETURNED', 'OVERDUE'),
  ('REJECTED', 'OVERDUE'),
  ('MATCHED', 'RETURNED'), ('PARTIAL', 'RETURNED'), ('OVERDUE', 'RETURNED'), ('DEFAULTED', 'RETURNED'),
  ('OVERDUE', 'DEFAULTED'), ('PARTIAL', 'DEFAULTED'), ('DUE', 'DEFAULTED'), ('RETURNED', 'DEFAULTED');
CREATE TABLE settlement.leg_step (
  leg_id     bigint NOT NULL REFERENCES settlement.payment_leg,
  step_no    int NOT NULL CHECK (step_no >= 1),
  before_no  int NOT NULL GENERATED ALWAYS AS (step_no - 1) STORED,
  from_state text,
  to_state   text NOT NULL,
  actor      text NOT NULL CHECK (actor <> ''),
  reason     text NOT NULL CHECK (reason <> ''),
  at         timestamptz NOT NULL,
  PRIMARY KEY (leg_id, step_no),
  UNIQUE (leg_id, step_no, to_state),
  FOREIGN KEY (leg_id, before_no, from_state) REFERENCES settlement.leg_step (leg_id, step_no, to_state),
  FOREIGN KEY (from_state, to_state) REFERENCES settlement.leg_edge,
  CHECK ((step_no = 1) = (from_state IS NULL)),
  CHECK (from_state IS NOT NULL OR to_state = 'DUE')
);

-- The files for the bank, as they were written.
CREATE TABLE settlement.payment_order (
  order_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  message_id  text NOT NULL UNIQUE CHECK (length(message_id) BETWEEN 1 AND 35),
  run_id      int NOT NULL REFERENCES settlement.run,
  kind        text NOT NULL CHECK (kind IN ('PAIN_001', 'PAIN_008')),
  account_id  bigint NOT NULL REFERENCES settlement.bank_account,    -- the operator's
  currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  execute_on  date NOT NULL,
  legs        int NOT NULL CHECK (legs > 0),
  total_minor bigint NOT NULL CHECK (total_minor > 0),
  content     bytea NOT NULL,
  sha256      bytea NOT NULL CHECK (length(sha256) = 32),
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL
);
CREATE TABLE settlement.order_leg (
  order_id      bigint NOT NULL REFERENCES settlement.payment_order,
  leg_id        bigint NOT NULL REFERENCES settlement.payment_leg,
  end_to_end_id text NOT NULL UNIQUE CHECK (length(end_to_end_id) BETWEEN 1 AND 35),
  account_id    bigint NOT NULL REFERENCES settlement.bank_account,
  amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
  PRIMARY KEY (order_id, leg_id)
);
CREATE INDEX order_leg_of ON settlement.order_leg (leg_id);

-- What the bank said: statements that add up, without a gap, each begun where the one before ended.
CREATE TABLE settlement.bank_statement (
  bank_statement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account_id    bigint NOT NULL REFERENCES settlement.bank_account,
  iban          text NOT NULL,
  statement_ref text NOT NULL CHECK (statement_ref <> ''),    -- as the bank numbers it
  message_id    text NOT NULL,
  sequence      bigint,
  currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  opening_minor bigint NOT NULL,
  opening_on    date NOT NULL,
  closing_minor bigint NOT NULL,
  closing_on    date NOT NULL,
  file_sha256   bytea NOT NULL CHECK (length(file_sha256) = 32),
  actor         text NOT NULL CHECK (actor <> ''),
  at            timestamptz NOT NULL,
  UNIQUE (iban, statement_ref),
  UNIQUE (iban, sequence)
);
CREATE TABLE settlement.bank_entry (
  bank_statement_id bigint NOT NULL REFERENCES settlement.bank_statement,
  entry_no     int NOT NULL CHECK (entry_no >= 1),
  amount_minor bigint NOT NULL,
  is_reversal  boolean NOT NULL,
  booked_on    date,
  value_on     date,
  servicer_reference text,
  bank_code    text,
  PRIMARY KEY (bank_statement_id, entry_no)
);
CREATE TABLE settlement.bank_payment (
  bank_statement_id bigint NOT NULL,
  entry_no      int NOT NULL,
  payment_no    int NOT NULL CHECK (payment_no >= 1),
  amount_minor  bigint NOT NULL,
  end_to_end_id text,
  creditor_reference text,
  message       text,
  party         text,
  party_account text,
  servicer_reference text,
  return_reason text,
  PRIMARY KEY (bank_statement_id, entry_no, payment_no),
  FOREIGN KEY (bank_statement_id, entry_no) REFERENCES settlement.bank_entry
);

-- Which of the bank's payments is for which leg, by which rule; below zero it takes back what was for it. What was not
-- for any is in suspense, until it is said what it is for.
CREATE TABLE settlement.leg_payment (
  bank_statement_id bigint NOT NULL,
  entry_no      int NOT NULL,
  payment_no    int NOT NULL,
  leg_id        bigint NOT NULL REFERENCES settlement.payment_leg,
  amount_minor  bigint NOT NULL CHECK (amount_minor <> 0),
  rule          text NOT NULL CHECK (rule IN ('END_TO_END', 'REFERENCE', 'ACCOUNT', 'GROUPED', 'MANUAL')),
  rules_version int NOT NULL CHECK (rules_version >= 1),
  actor         text NOT NULL CHECK (actor <> ''),
  at            timestamptz NOT NULL,
  PRIMARY KEY (bank_statement_id, entry_no, payment_no, leg_id),
  FOREIGN KEY (bank_statement_id, entry_no, payment_no) REFERENCES settlement.bank_payment
);
CREATE INDEX leg_payment_leg ON settlement.leg_payment (leg_id);
CREATE TABLE settlement.leg_relief (
  leg_id       bigint PRIMARY KEY REFERENCES settlement.payment_leg,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),     -- written off
  approval_id  bigint REFERENCES kit.approval,
  actor        text NOT NULL CHECK (actor <> ''),
  at           timestamptz NOT NULL
);
CREATE TABLE settlement.suspense_item (
  item_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  bank_statement_id bigint NOT NULL,
  entry_no     int NOT NULL,
  payment_no   int NOT NULL,
  currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
  partner_id   int CHECK (partner_id > 0),
  at           timestamptz NOT NULL,
  UNIQUE (bank_statement_id, entry_no, payment_no),
  FOREIGN KEY (bank_statement_id, entry_no, payment_no) REFERENCES settlement.bank_payment
);
CREATE TABLE settlement.suspense_end (
  item_id     bigint PRIMARY KEY REFERENCES settlement.suspense_item,
  kind        text NOT NULL CHECK (kind IN ('IDENTIFIED', 'CREDITED', 'KEPT')),
  leg_id      bigint REFERENCES settlement.payment_leg,
  partner_id  int CHECK (partner_id > 0),
  approval_id bigint REFERENCES kit.approval,
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL,
  CHECK ((kind = 'IDENTIFIED') = (leg_id IS NOT NULL)),
  CHECK (kind <> 'CREDITED' OR partner_id IS NOT NULL)
);

GRANT SELECT, INSERT ON
  settlement.bank_account, settlement.bank_account_use, settlement.payment_leg, settlement.leg_step,
  settlement.payment_order, settlement.order_leg, settlement.bank_statement, settlement.bank_entry,
  settlement.bank_payment, settlement.leg_payment, settlement.leg_relief, settlement.suspense_item,
  settlement.suspense_end TO tessera_app;
GRANT SELECT ON settlement.leg_edge TO tessera_app;

-- A bank's payment goes to legs and to suspense once, in whole: never more than it is.
CREATE FUNCTION settlement.payment_is_used_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_wrong text;
BEGIN
  SELECT format('%s/%s/%s', p.bank_statement_id, p.entry_no, p.payment_no) INTO v_wrong
  FROM settlement.bank_payment p
  WHERE (p.bank_statement_id, p.entry_no, p.payment_no) IN (
          SELECT w.bank_statement_id, w.entry_no, w.payment_no FROM written w)
    AND abs(p.amount_minor) < (SELECT coalesce(sum(abs(l.amount_minor)), 0) FROM settlement.leg_payment l
          WHERE (l.bank_statement_id, l.entry_no, l.payment_no) = (p.bank_statement_id, p.entry_no, p.payment_no))
  LIMIT 1;
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'payment % of the bank is used for more than it is', v_wrong USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER payment_is_used_once AFTER INSERT ON settlement.leg_payment
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION settlement.payment_is_used_once();
