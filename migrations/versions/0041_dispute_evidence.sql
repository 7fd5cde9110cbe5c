-- What a side shows has a kind and a size; what was shown before said neither.
ALTER TABLE settlement.dispute_evidence
  ADD COLUMN media_type text CHECK (media_type IN (
    'image/jpeg', 'image/png', 'image/webp', 'application/pdf', 'text/plain', 'text/csv', 'application/json',
    'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet')),
  ADD COLUMN size_bytes int CHECK (size_bytes BETWEEN 1 AND 10485760),
  ADD CONSTRAINT dispute_evidence_whole CHECK ((media_type IS NULL) = (size_bytes IS NULL)),
  ADD CONSTRAINT dispute_evidence_most CHECK (evidence_no <= 40);

-- Whose a step was; of steps before, it is told from where they led.
ALTER TABLE settlement.dispute_step ADD COLUMN side text CHECK (side IN ('PARTNER', 'OPERATOR', 'SILENCE'));

-- What a side says beside its steps.
CREATE TABLE settlement.dispute_note (
  dispute_id bigint NOT NULL REFERENCES settlement.dispute,
  note_no    int NOT NULL CHECK (note_no BETWEEN 1 AND 100),
  side       text NOT NULL CHECK (side IN ('PARTNER', 'OPERATOR')),
  note       text NOT NULL CHECK (length(note) BETWEEN 1 AND 2000),
  actor      text NOT NULL CHECK (actor <> ''),
  at         timestamptz NOT NULL,
  PRIMARY KEY (dispute_id, note_no)
);

-- A break that was resolved by disputing a line of a statement, and that dispute: each leads to the other.
CREATE TABLE settlement.dispute_break (
  dispute_id bigint PRIMARY KEY REFERENCES settlement.dispute,
  break_id   bigint NOT NULL UNIQUE REFERENCES settlement.break,
  actor      text NOT NULL CHECK (actor <> ''),
  at         timestamptz NOT NULL
);

-- A dispute or claim on which the operator is late goes to the next role: one row for each state and level.
CREATE TABLE settlement.late_answer (
  kind       text NOT NULL CHECK (kind IN ('DISPUTE', 'CLAIM')),
  subject_id bigint NOT NULL,
  step_no    int NOT NULL CHECK (step_no >= 1),
  level      smallint NOT NULL CHECK (level >= 1),
  role       text NOT NULL CHECK (role ~ '^[A-Z_]+$'),
  owner      text,                        -- who took the last step for the operator
  deadline   timestamptz NOT NULL,
  at         timestamptz NOT NULL,
  PRIMARY KEY (kind, subject_id, step_no, level)
);
GRANT SELECT, INSERT ON settlement.dispute_note, settlement.dispute_break, settlement.late_answer TO tessera_app;
