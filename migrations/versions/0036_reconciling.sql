-- What people say about a break on its way, beside its steps.
CREATE TABLE settlement.break_note (
  break_id bigint NOT NULL REFERENCES settlement.break,
  note_no  int NOT NULL CHECK (note_no >= 1),
  note     text NOT NULL CHECK (length(note) BETWEEN 1 AND 2000),
  actor    text NOT NULL CHECK (actor <> ''),
  at       timestamptz NOT NULL,
  PRIMARY KEY (break_id, note_no)
);

-- A break that nobody resolved in time goes to the next role: one row for each day that it was due and each level.
CREATE TABLE settlement.break_escalation (
  break_id  bigint NOT NULL REFERENCES settlement.break,
  due_on    date NOT NULL,
  level     smallint NOT NULL CHECK (level >= 1),
  role      text NOT NULL CHECK (role ~ '^[A-Z_]+$'),
  owner     text,                                        -- who had it
  days_late int NOT NULL CHECK (days_late >= 1),         -- business days
  at        timestamptz NOT NULL,
  PRIMARY KEY (break_id, due_on, level)
);

-- One call of somebody who sends a file: the same call again has the same answer.
CREATE TABLE settlement.file_call (
  actor       text NOT NULL CHECK (actor <> ''),
  idem_key    uuid NOT NULL,
  fingerprint uuid NOT NULL,
  file_id     bigint NOT NULL REFERENCES settlement.partner_file,
  at          timestamptz NOT NULL,
  PRIMARY KEY (actor, idem_key)
);

-- Whether records belong to a file is asked once for all that are written together, not for each of a million. The
-- number of a file is given out before its records, and has its file when the transaction ends.
CREATE TABLE settlement.file_number (
  file_id bigint PRIMARY KEY REFERENCES settlement.partner_file DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO settlement.file_number SELECT file_id FROM settlement.partner_file;
ALTER TABLE settlement.partner_record DROP CONSTRAINT partner_record_file_id_fkey;
CREATE FUNCTION settlement.records_have_a_file() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_wrong bigint;
BEGIN
  SELECT w.file_id INTO v_wrong FROM (SELECT DISTINCT file_id FROM written) w
  WHERE NOT EXISTS (SELECT FROM settlement.file_number n WHERE n.file_id = w.file_id) LIMIT 1;
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'records of a file % that there is not', v_wrong USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER records_have_a_file AFTER INSERT ON settlement.partner_record
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION settlement.records_have_a_file();

-- Several lines of one side may be one of the other: they share their group, and a line that has no counterpart of its
-- own stands in it alone. Each line of either side is still in one match at most.
ALTER TABLE settlement.record_match
  ADD COLUMN group_line int,
  DROP CONSTRAINT record_match_pkey,
  DROP CONSTRAINT record_match_file_id_line_no_fkey,
  ALTER COLUMN line_no DROP NOT NULL,
  ALTER COLUMN holder_id DROP NOT NULL,
  ALTER COLUMN unit DROP NOT NULL,
  ALTER COLUMN seq DROP NOT NULL,
  ALTER COLUMN kind DROP NOT NULL;
ALTER TABLE settlement.record_match
  ADD CONSTRAINT record_match_line UNIQUE (file_id, line_no),
  ADD CONSTRAINT record_match_sides CHECK (
    num_nulls(holder_id, unit, seq, kind) IN (0, 4)
    AND (group_line IS NOT NULL OR line_no IS NOT NULL AND holder_id IS NOT NULL)
    AND (line_no IS NOT NULL OR holder_id IS NOT NULL));
CREATE FUNCTION settlement.matches_have_records() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_wrong text;
BEGIN
  SELECT format('%s/%s', w.file_id, w.line_no) INTO v_wrong FROM written w
  LEFT JOIN settlement.partner_record r USING (file_id, line_no)
  WHERE w.line_no IS NOT NULL AND r.file_id IS NULL LIMIT 1;
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'a match of a record % that there is not', v_wrong USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER matches_have_records AFTER INSERT ON settlement.record_match
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION settlement.matches_have_records();

-- A match that a person made may be undone by another; it is kept here. Nobody removes a match otherwise.
CREATE TABLE settlement.match_undone (
  undone_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  break_id      bigint NOT NULL REFERENCES settlement.break,
  file_id       bigint NOT NULL,
  line_no       int,
  holder_id     bigint,
  unit          smallint,
  seq           bigint,
  kind          text,
  stage         text NOT NULL,
  rules_version int NOT NULL,
  group_line    int,
  matched_by    text NOT NULL,
  matched_at    timestamptz NOT NULL,
  actor         text NOT NULL CHECK (actor <> ''),
  cause         text NOT NULL CHECK (cause <> ''),
  at            timestamptz NOT NULL
);
CREATE INDEX record_match_group ON settlement.record_match (file_id, group_line) WHERE group_line IS NOT NULL;
CREATE FUNCTION settlement.undo_matches(p_break_id bigint, p_actor text, p_cause text, p_at timestamptz)
RETURNS SETOF bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
-- Takes back the match that a person made of the lines of a break, with everything that is in one group with it; the
-- breaks that they were about.
WITH its AS (
  SELECT m.file_id, m.line_no, m.group_line FROM settlement.break_side s
  JOIN settlement.record_match m ON m.file_id = s.file_id AND m.line_no = s.line_no
  WHERE s.break_id = p_break_id AND s.side = 'THEIRS' AND m.stage = 'MANUAL'
  UNION ALL
  SELECT m.file_id, m.line_no, m.group_line FROM settlement.break_side s
  JOIN settlement.record_match m ON (m.holder_id, m.unit, m.seq, m.kind) = (s.holder_id, s.unit, s.seq, s.kind)
  WHERE s.break_id = p_break_id AND s.side = 'OURS' AND m.stage = 'MANUAL'
), meant AS (
  SELECT m.ctid AS place FROM its JOIN settlement.record_match m USING (file_id, line_no)
  UNION
  SELECT m.ctid FROM its JOIN settlement.record_match m USING (file_id, group_line)
), gone AS (
  DELETE FROM settlement.record_match m USING meant WHERE m.ctid = meant.place RETURNING m.*
), kept AS (
  INSERT INTO settlement.match_undone (break_id, file_id, line_no, holder_id, unit, seq, kind, stage, rules_version,
                                       group_line, matched_by, matched_at, actor, cause, at)
  SELECT p_break_id, file_id, line_no, holder_id, unit, seq, kind, stage, rules_version, group_line, actor, at,
         p_actor, p_cause, p_at FROM gone
)
SELECT s.break_id FROM gone JOIN settlement.break_side s
  ON s.side = 'THEIRS' AND s.file_id = gone.file_id AND s.line_no = gone.line_no
UNION
SELECT s.break_id FROM gone JOIN settlement.break_side s
  ON s.side = 'OURS' AND (s.holder_id, s.unit, s.seq, s.kind) = (gone.holder_id, gone.unit, gone.seq, gone.kind)
$$;
REVOKE ALL ON FUNCTION settlement.undo_matches FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settlement.undo_matches TO tessera_app;

-- A payment file goes to the bank when somebody else than who wrote it has let it go.
CREATE TABLE settlement.order_release (
  order_id bigint PRIMARY KEY REFERENCES settlement.payment_order,
  actor    text NOT NULL CHECK (actor <> ''),
  at       timestamptz NOT NULL
);

-- What the bank said to a payment file (pain.002), and to each of its payments that it named.
CREATE TABLE settlement.payment_report (
  report_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  report_ref  text NOT NULL UNIQUE CHECK (report_ref <> ''),    -- the bank's message id
  order_id    bigint NOT NULL REFERENCES settlement.payment_order,
  status      text,                                             -- of the whole file, if it said one
  file_sha256 bytea NOT NULL CHECK (length(file_sha256) = 32),
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL
);
CREATE TABLE settlement.payment_report_leg (
  report_id     bigint NOT NULL REFERENCES settlement.payment_report,
  end_to_end_id text NOT NULL REFERENCES settlement.order_leg (end_to_end_id),
  status        text NOT NULL CHECK (status ~ '^[A-Z]{4}$'),
  reason        text,
  PRIMARY KEY (report_id, end_to_end_id)
);
CREATE INDEX payment_report_leg_of ON settlement.payment_report_leg (end_to_end_id);

-- What the bank told of entries before or beside its statement (camt.054): it moves no money. A statement's entry that
-- names no payments has those that a notice told under the same number of the bank's.
CREATE TABLE settlement.bank_notice (
  notice_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  iban        text NOT NULL,
  notice_ref  text NOT NULL CHECK (notice_ref <> ''),
  message_id  text NOT NULL,
  currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  entries     int NOT NULL CHECK (entries >= 0),
  content_sha256 bytea NOT NULL CHECK (length(content_sha256) = 32),
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL,
  UNIQUE (iban, notice_ref)
);
CREATE TABLE settlement.bank_notice_payment (
  notice_id     bigint NOT NULL REFERENCES settlement.bank_notice,
  entry_no      int NOT NULL CHECK (entry_no >= 1),
  payment_no    int NOT NULL CHECK (payment_no >= 1),
  entry_reference text NOT NULL,          -- the bank's own number of the entry
  entry_minor   bigint NOT NULL,
  amount_minor  bigint NOT NULL CHECK (amount_minor <> 0),
  end_to_end_id text,
  creditor_reference text,
  message       text,
  party         text,
  party_account text,
  servicer_reference text,
  return_reason text,
  PRIMARY KEY (notice_id, entry_no, payment_no)
);
CREATE INDEX bank_notice_payment_entry ON settlement.bank_notice_payment (entry_reference);

GRANT SELECT, INSERT ON
  settlement.break_note, settlement.break_escalation, settlement.file_call, settlement.file_number,
  settlement.order_release, settlement.payment_report, settlement.payment_report_leg, settlement.bank_notice,
  settlement.bank_notice_payment TO tessera_app;
GRANT SELECT ON settlement.match_undone TO tessera_app;
