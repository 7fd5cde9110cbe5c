-- What a partner says is wrong with a line of its statement, and its way; what it disputes is above zero, in its favour.
CREATE TABLE settlement.dispute (
  dispute_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  statement_id bigint NOT NULL,
  line_no      int NOT NULL,
  run_id       int NOT NULL REFERENCES settlement.run,
  partner_id   int NOT NULL CHECK (partner_id > 0),
  currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  reason       text NOT NULL CHECK (reason ~ '^D(0[1-9]|1[01])$'),
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  mode         text NOT NULL CHECK (mode IN ('WITHHELD', 'PAY_FIRST')),
  reference    text,                      -- the partner's own receipt, where it is about one
  actor        text NOT NULL CHECK (actor <> ''),
  at           timestamptz NOT NULL,
  FOREIGN KEY (statement_id, line_no) REFERENCES settlement.line
);
CREATE INDEX dispute_line ON settlement.dispute (statement_id, line_no);
CREATE INDEX dispute_run ON settlement.dispute (run_id, partner_id);
CREATE TABLE settlement.dispute_edge (
  from_state text NOT NULL,
  to_state   text NOT NULL,
  PRIMARY KEY (from_state, to_state)
);
INSERT INTO settlement.dispute_edge VALUES
  ('OPENED', 'ACKNOWLEDGED'), ('OPENED', 'ACCEPTED'), ('OPENED', 'CLOSED'),
  ('ACKNOWLEDGED', 'INFO_REQUESTED'), ('ACKNOWLEDGED', 'PROPOSED'), ('ACKNOWLEDGED', 'REJECTED'),
  ('ACKNOWLEDGED', 'ACCEPTED'), ('ACKNOWLEDGED', 'CLOSED'),
  ('INFO_REQUESTED', 'ACKNOWLEDGED'), ('INFO_REQUESTED', 'CLOSED'),
  ('PROPOSED', 'ACCEPTED'), ('PROPOSED', 'ESCALATED'), ('PROPOSED', 'CLOSED'),
  ('REJECTED', 'ESCALATED'), ('REJECTED', 'CLOSED'), ('ESCALATED', 'ARBITRATED'), ('ESCALATED', 'CLOSED');
CREATE TABLE settlement.dispute_step (
  dispute_id    bigint NOT NULL REFERENCES settlement.dispute,
  step_no       int NOT NULL CHECK (step_no >= 1),
  before_no     int NOT NULL GENERATED ALWAYS AS (step_no - 1) STORED,
  from_state    text,
  to_state      text NOT NULL,
  deadline      timestamptz,              -- until when somebody has to say something; none where it is over
  awarded_minor bigint CHECK (awarded_minor >= 0),   -- what is offered, or given
  actor         text NOT NULL CHECK (actor <> ''),
  note          text NOT NULL CHECK (note <> ''),
  at            timestamptz NOT NULL,
  PRIMARY KEY (dispute_id, step_no),
  UNIQUE (dispute_id, step_no, to_state),
  FOREIGN KEY (dispute_id, before_no, from_state) REFERENCES settlement.dispute_step (dispute_id, step_no, to_state),
  FOREIGN KEY (from_state, to_state) REFERENCES settlement.dispute_edge,
  CHECK ((step_no = 1) = (from_state IS NULL)),
  CHECK (from_state IS NOT NULL OR to_state = 'OPENED'),
  CHECK ((to_state IN ('ACCEPTED', 'ARBITRATED', 'CLOSED')) = (deadline IS NULL)),
  CHECK ((to_state IN ('PROPOSED', 'ACCEPTED', 'ARBITRATED', 'CLOSED')) = (awarded_minor IS NOT NULL))
);
CREATE TABLE settlement.dispute_evidence (
  dispute_id  bigint NOT NULL REFERENCES settlement.dispute,
  evidence_no int NOT NULL CHECK (evidence_no >= 1),
  side        text NOT NULL CHECK (side IN ('PARTNER', 'OPERATOR')),
  name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  sha256      bytea NOT NULL CHECK (length(sha256) = 32),    -- of the file, which lies elsewhere
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL,
  PRIMARY KEY (dispute_id, evidence_no)
);
GRANT SELECT, INSERT ON settlement.dispute, settlement.dispute_step, settlement.dispute_evidence TO tessera_app;
GRANT SELECT ON settlement.dispute_edge TO tessera_app;
