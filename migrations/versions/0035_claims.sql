-- How claims to missing points are taken: partner 0 is the programme, whose rule holds where a partner has none. The
-- latest holds, for claims that come from then on.
CREATE TABLE settlement.claim_rule (
  partner_id     int NOT NULL CHECK (partner_id >= 0),
  rule_no        int NOT NULL CHECK (rule_no >= 1),
  earliest_days  int NOT NULL CHECK (earliest_days >= 0),      -- a till without a network may still send the receipt
  latest_days    int NOT NULL CHECK (latest_days >= earliest_days),
  answer_days    int NOT NULL CHECK (answer_days >= 1),        -- business days
  contest_days   int NOT NULL CHECK (contest_days >= 1),       -- days of the calendar
  decision_days  int NOT NULL CHECK (decision_days >= 1),      -- business days
  most_per_month int NOT NULL CHECK (most_per_month >= 1),     -- claims of one member in thirty days, at all partners
  silence_most_minor bigint NOT NULL CHECK (silence_most_minor >= 0),  -- above it silence gives nothing: the operator decides
  actor          text NOT NULL CHECK (actor <> ''),
  at             timestamptz NOT NULL,
  PRIMARY KEY (partner_id, rule_no)
);

-- What a member says of a purchase whose points are missing. The outlet is told by its code, or in words.
CREATE TABLE settlement.claim (
  claim_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  member_id     bigint NOT NULL,
  partner_id    int NOT NULL CHECK (partner_id > 0),
  outlet        text,
  place         text CHECK (length(place) BETWEEN 1 AND 120),
  terminal      text,
  business_date date NOT NULL,
  occurred_at   timestamptz NOT NULL,     -- noon of the day where the member does not know
  reference     text NOT NULL CHECK (length(reference) BETWEEN 1 AND 64),
  currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  total_minor   bigint NOT NULL CHECK (total_minor > 0),
  contest_days  int NOT NULL CHECK (contest_days >= 1),     -- by the rule when it came
  decision_days int NOT NULL CHECK (decision_days >= 1),
  silence_most_minor bigint NOT NULL CHECK (silence_most_minor >= 0),
  at            timestamptz NOT NULL,
  CHECK ((outlet IS NULL) <> (place IS NULL)),
  CHECK (terminal IS NULL OR outlet IS NOT NULL)
);
CREATE UNIQUE INDEX claim_once ON settlement.claim (member_id, partner_id, business_date, reference, coalesce(outlet, ''));
CREATE INDEX claim_receipt ON settlement.claim (partner_id, business_date, reference);
CREATE INDEX claim_partner ON settlement.claim (partner_id, claim_id);
CREATE TABLE settlement.claim_edge (
  from_state text NOT NULL,
  to_state   text NOT NULL,
  PRIMARY KEY (from_state, to_state)
);
INSERT INTO settlement.claim_edge VALUES
  ('FILED', 'ACCEPTED'), ('FILED', 'REFUSED'), ('FILED', 'CONTESTED'), ('FILED', 'FOUND'), ('FILED', 'CLOSED'),
  ('REFUSED', 'CONTESTED'), ('REFUSED', 'CLOSED'),
  ('CONTESTED', 'UPHELD'), ('CONTESTED', 'DISMISSED'), ('CONTESTED', 'FOUND'), ('CONTESTED', 'CLOSED'),
  ('ACCEPTED', 'CREDITED'), ('ACCEPTED', 'FOUND'), ('ACCEPTED', 'CLOSED'),
  ('UPHELD', 'CREDITED'), ('UPHELD', 'FOUND'), ('UPHELD', 'CLOSED'), ('CREDITED', 'REPLACED');
CREATE TABLE settlement.claim_step (
  claim_id    bigint NOT NULL REFERENCES settlement.claim,
  step_no     int NOT NULL CHECK (step_no >= 1),
  before_no   int NOT NULL GENERATED ALWAYS AS (step_no - 1) STORED,
  from_state  text,
  to_state    text NOT NULL,
  side        text NOT NULL CHECK (side IN ('MEMBER', 'PARTNER', 'OPERATOR', 'SILENCE', 'SYSTEM')),
  deadline    timestamptz,                -- until when somebody has to say something
  reason      text CHECK (reason ~ '^[PC][0-9]{2}$'),        -- why it is refused, or contested
  note        text CHECK (length(note) BETWEEN 1 AND 500),   -- the partner's or the operator's words, never the member's
  total_minor bigint CHECK (total_minor > 0),                -- of an acceptance: the purchase as the partner has it
  outlet      text,
  terminal    text,
  reference   text CHECK (length(reference) BETWEEN 1 AND 64),
  holder_id   bigint,                     -- where points went, and the entry that gave them
  seq         bigint,
  points      bigint CHECK (points >= 0),
  approval_id bigint UNIQUE REFERENCES kit.approval,         -- of the operator's decision
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL,
  PRIMARY KEY (claim_id, step_no),
  UNIQUE (claim_id, step_no, to_state),
  FOREIGN KEY (claim_id, before_no, from_state) REFERENCES settlement.claim_step (claim_id, step_no, to_state),
  FOREIGN KEY (from_state, to_state) REFERENCES settlement.claim_edge,
  CHECK ((step_no = 1) = (from_state IS NULL)),
  CHECK (from_state IS NOT NULL OR to_state = 'FILED'),
  CHECK ((to_state IN ('FILED', 'REFUSED', 'CONTESTED')) = (deadline IS NOT NULL)),
  CHECK ((to_state IN ('REFUSED', 'CONTESTED')) = (reason IS NOT NULL)),
  CHECK (total_minor IS NULL OR to_state IN ('ACCEPTED', 'UPHELD')),
  CHECK ((to_state = 'CREDITED') <= (holder_id IS NOT NULL AND seq IS NOT NULL AND points IS NOT NULL)),
  CHECK ((to_state IN ('UPHELD', 'DISMISSED')) = (approval_id IS NOT NULL))
);
CREATE UNIQUE INDEX claim_step_once ON settlement.claim_step (claim_id, to_state);   -- no state comes twice
CREATE UNIQUE INDEX claim_step_entry ON settlement.claim_step (holder_id, seq) WHERE to_state = 'CREDITED';

-- What speaks for a side: the hash of a picture or a file that lies with whoever showed it.
CREATE TABLE settlement.claim_evidence (
  claim_id    bigint NOT NULL REFERENCES settlement.claim,
  evidence_no int NOT NULL CHECK (evidence_no BETWEEN 1 AND 20),
  side        text NOT NULL CHECK (side IN ('MEMBER', 'PARTNER', 'OPERATOR')),
  media_type  text NOT NULL CHECK (media_type IN ('image/jpeg', 'image/png', 'image/webp', 'application/pdf')),
  size_bytes  int NOT NULL CHECK (size_bytes BETWEEN 1 AND 10485760),
  sha256      bytea NOT NULL CHECK (length(sha256) = 32),
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL,
  PRIMARY KEY (claim_id, evidence_no),
  UNIQUE (claim_id, side, sha256)
);

-- That the member was written to about a state, or could not be: what was said once is not said again.
CREATE TABLE settlement.claim_letter (
  claim_id   bigint NOT NULL,
  step_no    int NOT NULL,
  message_id uuid,                        -- none where the member told no address, or agrees to no letters
  at         timestamptz NOT NULL,
  PRIMARY KEY (claim_id, step_no),
  FOREIGN KEY (claim_id, step_no) REFERENCES settlement.claim_step
);
GRANT SELECT, INSERT ON settlement.claim_rule, settlement.claim, settlement.claim_step, settlement.claim_evidence,
  settlement.claim_letter TO tessera_app;
GRANT SELECT ON settlement.claim_edge TO tessera_app;
