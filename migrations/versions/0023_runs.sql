-- Postings added up behind a watermark of transaction numbers. A batch is an interval of them; the next begins where it
-- ends, so that every entry is in one batch and none is passed over. What a batch added is told apart by it.
CREATE TABLE settlement.position_batch (
  batch_no  bigint PRIMARY KEY CHECK (batch_no >= 1),
  from_xid  xid8 NOT NULL,
  until_xid xid8 NOT NULL UNIQUE,
  at        timestamptz NOT NULL,        -- business instant
  CHECK (until_xid > from_xid)
);
CREATE TABLE settlement.position_delta (
  cutoff_id     int NOT NULL,
  batch_no      bigint NOT NULL REFERENCES settlement.position_batch,
  origin_cutoff int NOT NULL,            -- the cut-off in whose time it took effect; an earlier one where it came late
  unit          smallint NOT NULL,
  debit         smallint NOT NULL,
  credit        smallint NOT NULL,
  issuer_id     int NOT NULL,
  funder_id     int NOT NULL,
  partner_id    int NOT NULL,
  lot_terms_id  int NOT NULL,
  terms_id      int NOT NULL,
  points        bigint NOT NULL CHECK (points > 0),
  postings      bigint NOT NULL CHECK (postings > 0),
  CHECK (origin_cutoff <= cutoff_id),
  PRIMARY KEY (cutoff_id, batch_no, origin_cutoff, unit, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id,
               terms_id)
);
-- Entries without postings count too: the ledger counted them at the cut.
CREATE TABLE settlement.position_entries (
  cutoff_id int NOT NULL,
  batch_no  bigint NOT NULL REFERENCES settlement.position_batch,
  entries   bigint NOT NULL CHECK (entries > 0),
  PRIMARY KEY (cutoff_id, batch_no)
);
-- Behind this transaction number lies every entry of a cut-off that was cut.
CREATE TABLE settlement.cutoff_mark (
  cutoff_id int PRIMARY KEY,
  xid       xid8 NOT NULL
);
-- Cut-offs that were balanced: their windows are all there will be, and their stock is told.
CREATE TABLE settlement.stock_cutoff (
  cutoff_id int PRIMARY KEY
);
-- What there was of each funder's points when a cut-off was balanced, so that nobody need add up all of the past.
CREATE TABLE settlement.stock (
  cutoff_id    int NOT NULL REFERENCES settlement.stock_cutoff,
  funder_id    int NOT NULL,
  lot_terms_id int NOT NULL,
  pending      bigint NOT NULL CHECK (pending >= 0),
  spendable    bigint NOT NULL CHECK (spendable >= 0),   -- available and held
  PRIMARY KEY (cutoff_id, funder_id, lot_terms_id),
  CHECK (pending + spendable > 0)
);

-- A window is a cut-off in one currency, or what came late in it for an earlier one.
CREATE TABLE settlement.window_edge (
  from_state text NOT NULL,
  to_state   text NOT NULL,
  PRIMARY KEY (from_state, to_state)
);
INSERT INTO settlement.window_edge VALUES
  ('OPEN', 'DRAINING'), ('DRAINING', 'CUT'), ('CUT', 'BALANCED'), ('CUT', 'BROKEN'), ('CUT', 'SETTLED'),
  ('BALANCED', 'CLAIMED'), ('CLAIMED', 'SETTLED'), ('CLAIMED', 'BALANCED');
CREATE TABLE settlement.window (
  window_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL UNIQUE,
  model         text NOT NULL CHECK (model ~ '^[A-Z]+$'),
  currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  cutoff_id     int NOT NULL,
  origin_cutoff int NOT NULL CHECK (origin_cutoff <= cutoff_id),
  since         timestamptz NOT NULL,    -- what it is named for, to the minute; '-infinity' for the very first
  seq           int NOT NULL CHECK (seq >= 1),
  is_late       boolean NOT NULL GENERATED ALWAYS AS (origin_cutoff < cutoff_id) STORED,
  UNIQUE (model, currency, since, seq),
  UNIQUE (cutoff_id, model, currency, origin_cutoff)
);
-- Its way, step by step: each begins in the state where the one before ended, and follows an edge.
CREATE TABLE settlement.window_step (
  window_id  bigint NOT NULL REFERENCES settlement.window,
  step_no    int NOT NULL CHECK (step_no >= 1),
  before_no  int NOT NULL GENERATED ALWAYS AS (step_no - 1) STORED,
  from_state text,
  to_state   text NOT NULL,
  actor      text NOT NULL CHECK (actor <> ''),
  reason     text NOT NULL CHECK (reason <> ''),
  at         timestamptz NOT NULL,
  run_id     int REFERENCES settlement.run,
  wrote_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (window_id, step_no),
  UNIQUE (window_id, step_no, to_state),
  FOREIGN KEY (window_id, before_no, from_state) REFERENCES settlement.window_step (window_id, step_no, to_state),
  FOREIGN KEY (from_state, to_state) REFERENCES settlement.window_edge,
  CHECK ((step_no = 1) = (from_state IS NULL)),
  CHECK (from_state IS NOT NULL OR to_state = 'OPEN'),
  CHECK (to_state <> 'CLAIMED' OR run_id IS NOT NULL)
);
-- What was counted of it when it was found equal to its cut-off; a later count must give the same.
CREATE TABLE settlement.window_count (
  window_id bigint PRIMARY KEY REFERENCES settlement.window,
  postings  bigint NOT NULL CHECK (postings >= 0),
  points    numeric NOT NULL CHECK (points >= 0)
);

-- A run settles windows of one currency. What it wrote is written once.
CREATE TABLE settlement.run_edge (
  from_state text NOT NULL,
  to_state   text NOT NULL,
  PRIMARY KEY (from_state, to_state)
);
INSERT INTO settlement.run_edge VALUES
  ('DRAFT', 'CALCULATED'), ('CALCULATED', 'CONTROLLED'), ('CONTROLLED', 'STATEMENTS_ISSUED'),
  ('STATEMENTS_ISSUED', 'IN_REVIEW'), ('IN_REVIEW', 'APPROVED'), ('APPROVED', 'INSTRUCTED'), ('INSTRUCTED', 'SETTLING'),
  ('SETTLING', 'SETTLED'), ('SETTLED', 'SEALED'),
  ('DRAFT', 'SUPERSEDED'), ('CALCULATED', 'SUPERSEDED'), ('CONTROLLED', 'SUPERSEDED'),
  ('DRAFT', 'ABORTED'), ('CALCULATED', 'ABORTED'), ('CONTROLLED', 'ABORTED'), ('STATEMENTS_ISSUED', 'ABORTED'),
  ('IN_REVIEW', 'ABORTED'), ('APPROVED', 'ABORTED');
ALTER TABLE settlement.run
  ADD name text,
  ADD model text,
  ADD currency text,
  ADD version int,
  ADD previous_run_id int REFERENCES settlement.run;
CREATE TABLE settlement.run_step (
  run_id      int NOT NULL REFERENCES settlement.run,
  step_no     int NOT NULL CHECK (step_no >= 1),
  before_no   int NOT NULL GENERATED ALWAYS AS (step_no - 1) STORED,
  from_state  text,
  to_state    text NOT NULL,
  actor       text NOT NULL CHECK (actor <> ''),
  reason      text NOT NULL CHECK (reason <> ''),
  at          timestamptz NOT NULL,
  input_hash  bytea,                     -- SHA-256 of what the step was decided on
  output_hash bytea,                     -- and of what it wrote
  evidence    jsonb NOT NULL DEFAULT '{}',
  wrote_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (run_id, step_no),
  UNIQUE (run_id, step_no, to_state),
  FOREIGN KEY (run_id, before_no, from_state) REFERENCES settlement.run_step (run_id, step_no, to_state),
  FOREIGN KEY (from_state, to_state) REFERENCES settlement.run_edge,
  CHECK ((step_no = 1) = (from_state IS NULL)),
  CHECK (from_state IS NOT NULL OR to_state = 'DRAFT'),
  CHECK ((input_hash IS NULL) = (output_hash IS NULL)),
  CHECK (to_state <> 'CALCULATED' OR input_hash IS NOT NULL OR actor = 'migration')
);
CREATE TABLE settlement.run_window (
  run_id    int NOT NULL REFERENCES settlement.run,
  window_id bigint NOT NULL REFERENCES settlement.window,
  PRIMARY KEY (run_id, window_id)
);
CREATE INDEX run_window_window ON settlement.run_window (window_id);

-- Besides points at a price there are lines of other kinds: what was carried, retained, charged, taxed.
DO $$
DECLARE r record;
BEGIN
  FOR r IN SELECT conname FROM pg_constraint WHERE conrelid = 'settlement.line'::regclass AND contype = 'c'
             AND pg_get_constraintdef(oid) LIKE '%unit_price_micro)%' AND pg_get_constraintdef(oid) LIKE '%ROUNDING%' LOOP
    EXECUTE format('ALTER TABLE settlement.line DROP CONSTRAINT %I', r.conname);
  END LOOP;
END $$;
ALTER TABLE settlement.line
  ADD CONSTRAINT points_at_the_price CHECK (unit_price_micro = 0 OR abs(amount_micro) = points * unit_price_micro);
-- What was carried at one price may be carried at another later: after a buy-out of the stock.
ALTER TABLE settlement.obligation_movement
  DROP CONSTRAINT obligation_movement_pkey, ADD PRIMARY KEY (run_id, funder_id, terms_id, kind, unit_price_micro);
-- Who is settled gross pays in what it owes and is paid what it is owed.
ALTER TABLE settlement.instruction
  DROP CONSTRAINT instruction_pkey, ADD PRIMARY KEY (run_id, partner_id, currency, direction);

-- What was issued to a party: the hash over its canonical form and the one issued to it before, and until when it may
-- object.
CREATE TABLE settlement.issued_statement (
  statement_id   bigint PRIMARY KEY REFERENCES settlement.statement,
  issued_at      timestamptz NOT NULL,
  review_ends_at timestamptz NOT NULL,
  content_hash   bytea NOT NULL CHECK (length(content_hash) = 32),
  CHECK (review_ends_at >= issued_at)
);
CREATE TABLE settlement.acceptance (
  statement_id bigint PRIMARY KEY REFERENCES settlement.issued_statement,
  actor        text NOT NULL CHECK (actor <> ''),
  at           timestamptz NOT NULL
);
-- Days on which nobody works, besides the weekends.
CREATE TABLE settlement.holiday (
  day   date PRIMARY KEY,
  name  text NOT NULL CHECK (name <> ''),
  actor text NOT NULL CHECK (actor <> ''),
  at    timestamptz NOT NULL
);

-- What tax is put on, by which version of a rule. Versions are added, never changed.
CREATE TABLE settlement.tax_rule (
  code       text NOT NULL CHECK (code ~ '^[A-Z][A-Z0-9_]*$'),
  version    int NOT NULL CHECK (version >= 1),
  valid_from timestamptz NOT NULL,
  rate_bp    int NOT NULL CHECK (rate_bp BETWEEN 0 AND 10000),
  rounding   text NOT NULL CHECK (rounding IN ('LINE', 'DOCUMENT')),
  tax_code   text NOT NULL CHECK (tax_code <> ''),
  approval_id bigint UNIQUE REFERENCES kit.approval,
  PRIMARY KEY (code, version),
  UNIQUE (code, valid_from),
  CHECK (approval_id IS NOT NULL OR code = 'NONE')
);
INSERT INTO settlement.tax_rule VALUES ('NONE', 1, '-infinity', 0, 'LINE', 'outside the scope of tax', NULL);

-- Documents of supplies, numbered without a gap per legal entity and series. Netting nets payment, never these.
CREATE TABLE settlement.document_counter (
  entity  text NOT NULL CHECK (entity ~ '^(operator|partner:[0-9]+)$'),
  series  text NOT NULL CHECK (series ~ '^[A-Z]+$'),
  last_no bigint NOT NULL CHECK (last_no >= 0),
  PRIMARY KEY (entity, series)
);
CREATE TABLE settlement.document (
  document_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity       text NOT NULL CHECK (entity ~ '^(operator|partner:[0-9]+)$'),   -- in whose name
  series       text NOT NULL,
  number       bigint NOT NULL CHECK (number >= 1),
  kind         text NOT NULL CHECK (kind IN ('INVOICE', 'SELF_BILLED', 'CREDIT_NOTE', 'SELF_BILLED_CREDIT', 'SET_OFF')),
  run_id       int NOT NULL REFERENCES settlement.run,
  partner_id   int NOT NULL CHECK (partner_id > 0),
  currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  issued_at    timestamptz NOT NULL,
  tax_rule     text NOT NULL,
  tax_version  int NOT NULL,
  base_minor   bigint NOT NULL CHECK (base_minor >= 0),
  tax_minor    bigint NOT NULL CHECK (tax_minor >= 0),
  gross_minor  bigint NOT NULL,
  corrects_id  bigint REFERENCES settlement.document,
  content_hash bytea NOT NULL CHECK (length(content_hash) = 32),
  FOREIGN KEY (tax_rule, tax_version) REFERENCES settlement.tax_rule (code, version),
  UNIQUE (entity, series, number),
  UNIQUE NULLS DISTINCT (corrects_id),
  CHECK (gross_minor = base_minor + tax_minor OR kind = 'SET_OFF')
);
CREATE INDEX document_run ON settlement.document (run_id, partner_id);
CREATE TABLE settlement.document_line (
  document_id bigint NOT NULL REFERENCES settlement.document,
  line_no     int NOT NULL CHECK (line_no >= 1),
  kind        text NOT NULL CHECK (kind ~ '^[A-Z_]+$'),
  terms_id    int,
  points      bigint NOT NULL CHECK (points >= 0),
  base_minor  bigint NOT NULL,
  tax_minor   bigint,                    -- none where tax is rounded over the whole document
  PRIMARY KEY (document_id, line_no)
);

-- What partners may come to owe, and what was done when one did not pay.
CREATE TABLE settlement.exposure (
  exposure_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id    int NOT NULL CHECK (partner_id > 0),
  currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  at            timestamptz NOT NULL,
  debit_micro   bigint NOT NULL CHECK (debit_micro >= 0),      -- unsettled
  pending_micro bigint NOT NULL CHECK (pending_micro >= 0),    -- billed when it activates, or when the stock is used
  cover_micro   bigint NOT NULL CHECK (cover_micro >= 0),
  cap_micro     bigint NOT NULL CHECK (cap_micro >= 0),
  policy        text NOT NULL CHECK (policy IN ('ALERT', 'PENDING_HOLD', 'BLOCK')),
  limit_points  bigint CHECK (limit_points >= 0)               -- how many more it may issue; none where it is not held to it
);
CREATE INDEX exposure_partner ON settlement.exposure (partner_id, currency, exposure_id);
CREATE TABLE settlement.default_step (
  run_id       int NOT NULL REFERENCES settlement.run,
  partner_id   int NOT NULL CHECK (partner_id > 0),
  currency     text NOT NULL,
  step_no      smallint NOT NULL CHECK (step_no >= 1),
  source       text NOT NULL CHECK (source IN ('PREFUNDING', 'HOLDBACK', 'COLLATERAL', 'OPERATOR')),
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  actor        text NOT NULL CHECK (actor <> ''),
  approval_id  bigint REFERENCES kit.approval,
  at           timestamptz NOT NULL,
  PRIMARY KEY (run_id, partner_id, currency, step_no),
  UNIQUE (run_id, partner_id, currency, source)
);

-- What was settled before runs were of one currency. A run with statements in several becomes one for each; each takes
-- its cut-offs' windows, and stands where its statements were issued: nobody else had approved it.
CREATE TEMP TABLE split AS
  SELECT run_id AS was, currency,
         row_number() OVER (PARTITION BY run_id ORDER BY currency) AS nth, NULL::int AS run_id
  FROM (SELECT run_id, currency FROM settlement.statement UNION SELECT run_id, currency FROM settlement.obligation_movement
        UNION SELECT run_id, (SELECT base_currency FROM partners.programme) FROM settlement.run r
        WHERE NOT EXISTS (SELECT FROM settlement.statement s WHERE s.run_id = r.run_id)
          AND NOT EXISTS (SELECT FROM settlement.obligation_movement m WHERE m.run_id = r.run_id)) parts;
DO $$
DECLARE r record; v_run int;
BEGIN
  FOR r IN SELECT * FROM split ORDER BY was, nth LOOP
    v_run := r.was;
    IF r.nth > 1 THEN
      INSERT INTO settlement.run (actor, at, through_cutoff, opened_at, cut_at, currency)
      SELECT actor, at, through_cutoff, opened_at, cut_at, r.currency FROM settlement.run WHERE run_id = r.was
      RETURNING run_id INTO v_run;
      UPDATE settlement.statement SET run_id = v_run WHERE run_id = r.was AND currency = r.currency;
      UPDATE settlement.instruction SET run_id = v_run WHERE run_id = r.was AND currency = r.currency;
      UPDATE settlement.obligation_movement SET run_id = v_run WHERE run_id = r.was AND currency = r.currency;
    END IF;
    UPDATE split SET run_id = v_run WHERE was = r.was AND nth = r.nth;
    UPDATE settlement.run SET currency = r.currency WHERE run_id = v_run;
  END LOOP;
END $$;
CREATE TEMP TABLE grouped AS
  SELECT DISTINCT s.run_id, g.kind, g.issuer_id, g.funder_id, g.partner_id, g.lot_terms_id, g.terms_id, g.points, g.postings
  FROM settlement.clearing_group g
  JOIN split s ON s.was = g.run_id
  LEFT JOIN partners.agreement l ON l.terms_id = g.lot_terms_id
  LEFT JOIN partners.agreement e ON e.terms_id = g.terms_id AND g.kind IN ('REDEMPTION', 'REFUND')
  WHERE s.currency IN (coalesce(l.currency, (SELECT base_currency FROM partners.programme)), e.currency);
DELETE FROM settlement.clearing_group;
INSERT INTO settlement.clearing_group SELECT * FROM grouped;

INSERT INTO settlement.window (name, model, currency, cutoff_id, origin_cutoff, since, seq)
SELECT format('NET.%s.%s.%s', currency,
              CASE WHEN since = '-infinity' THEN '0001.01.01.00.00' ELSE to_char(since AT TIME ZONE 'UTC', 'YYYY.MM.DD.HH24.MI') END, seq),
       'NET', currency, cutoff_id, cutoff_id, since, seq
FROM (
  SELECT *, row_number() OVER (PARTITION BY currency, since ORDER BY cutoff_id) AS seq
  FROM (SELECT s.currency, c.cutoff_id, date_trunc('minute', k.opened_at, 'UTC') AS since
        FROM settlement.run_cutoff c JOIN split s ON s.was = c.run_id JOIN ledger.cutoff k USING (cutoff_id)) cut
) named;
INSERT INTO settlement.run_window (run_id, window_id)
SELECT s.run_id, w.window_id
FROM settlement.run_cutoff c JOIN split s ON s.was = c.run_id
JOIN settlement.window w ON w.cutoff_id = c.cutoff_id AND w.currency = s.currency;
INSERT INTO settlement.window_step (window_id, step_no, from_state, to_state, actor, reason, at, run_id)
SELECT window_id, step_no, lag(state) OVER (PARTITION BY window_id ORDER BY step_no), state, 'migration',
       'settled before windows had states', r.at, CASE state WHEN 'CLAIMED' THEN run_id END
FROM settlement.run_window JOIN settlement.run r USING (run_id)
CROSS JOIN unnest(ARRAY['OPEN', 'DRAINING', 'CUT', 'BALANCED', 'CLAIMED']) WITH ORDINALITY AS s(state, step_no);
INSERT INTO settlement.run_step (run_id, step_no, from_state, to_state, actor, reason, at)
SELECT run_id, step_no, lag(state) OVER (PARTITION BY run_id ORDER BY step_no), state,
       CASE WHEN step_no = 1 THEN actor ELSE 'migration' END, 'settled before runs had states', at
FROM settlement.run
CROSS JOIN unnest(ARRAY['DRAFT', 'CALCULATED', 'CONTROLLED', 'STATEMENTS_ISSUED', 'IN_REVIEW']) WITH ORDINALITY AS s(state, step_no);
UPDATE settlement.run r
SET model = 'NET', version = 1,
    name = (SELECT w.name || '.R1' FROM settlement.run_window JOIN settlement.window w USING (window_id)
            WHERE run_window.run_id = r.run_id ORDER BY w.cutoff_id DESC LIMIT 1),
    previous_run_id = (SELECT max(b.run_id) FROM settlement.run b WHERE b.currency = r.currency AND b.through_cutoff < r.through_cutoff);
DROP TABLE split, grouped;
DROP TABLE settlement.run_cutoff;
ALTER TABLE settlement.run
  ALTER name SET NOT NULL, ALTER model SET NOT NULL, ALTER currency SET NOT NULL, ALTER version SET NOT NULL,
  ADD UNIQUE (name),
  ADD CHECK (currency ~ '^[A-Z]{3}$'),
  ADD CHECK (version >= 1);

-- Append-only by privilege, and nothing is added to a run once it has been calculated, nor to what was issued.
GRANT SELECT, INSERT ON
  settlement.position_batch, settlement.position_delta, settlement.position_entries, settlement.cutoff_mark,
  settlement.stock, settlement.stock_cutoff, settlement.window, settlement.window_step, settlement.window_count, settlement.run_step,
  settlement.run_window, settlement.issued_statement, settlement.acceptance, settlement.holiday, settlement.tax_rule,
  settlement.document, settlement.document_line, settlement.exposure, settlement.default_step TO tessera_app;
GRANT SELECT ON settlement.window_edge, settlement.run_edge TO tessera_app;
GRANT SELECT, INSERT ON settlement.document_counter TO tessera_app;
GRANT UPDATE (last_no) ON settlement.document_counter TO tessera_app;

CREATE FUNCTION settlement.counts_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.last_no <> (CASE TG_OP WHEN 'UPDATE' THEN OLD.last_no ELSE 0 END) + 1 THEN
    RAISE EXCEPTION 'documents are numbered one after the other' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER counts_on BEFORE INSERT OR UPDATE ON settlement.document_counter
  FOR EACH ROW EXECUTE FUNCTION settlement.counts_on();

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['statement', 'instruction', 'clearing_group', 'obligation_movement', 'run_window'] LOOP
    EXECUTE format('ALTER TABLE settlement.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY readable ON settlement.%I FOR SELECT USING (true)', t);
    EXECUTE format('CREATE POLICY while_drafted ON settlement.%1$I FOR INSERT WITH CHECK (NOT EXISTS ('
                   'SELECT FROM settlement.run_step s WHERE s.run_id = %1$I.run_id AND s.step_no > 1))', t);
  END LOOP;
END $$;
ALTER TABLE settlement.line ENABLE ROW LEVEL SECURITY;
CREATE POLICY readable ON settlement.line FOR SELECT USING (true);
CREATE POLICY while_drafted ON settlement.line FOR INSERT WITH CHECK (NOT EXISTS (
  SELECT FROM settlement.statement t JOIN settlement.run_step s USING (run_id)
  WHERE t.statement_id = line.statement_id AND s.step_no > 1));
ALTER TABLE settlement.issued_statement ENABLE ROW LEVEL SECURITY;
CREATE POLICY readable ON settlement.issued_statement FOR SELECT USING (true);
CREATE POLICY while_controlled ON settlement.issued_statement FOR INSERT WITH CHECK (
  'CONTROLLED' = (SELECT s.to_state FROM settlement.statement t JOIN settlement.run_step s USING (run_id)
                  WHERE t.statement_id = issued_statement.statement_id ORDER BY s.step_no DESC LIMIT 1));
ALTER TABLE settlement.document ENABLE ROW LEVEL SECURITY;
CREATE POLICY readable ON settlement.document FOR SELECT USING (true);
CREATE POLICY while_controlled_or_to_take_it_back ON settlement.document FOR INSERT WITH CHECK (
  (SELECT CASE WHEN document.corrects_id IS NULL THEN s.to_state = 'CONTROLLED'
               ELSE s.to_state IN ('STATEMENTS_ISSUED', 'IN_REVIEW', 'APPROVED') END
   FROM settlement.run_step s WHERE s.run_id = document.run_id ORDER BY s.step_no DESC LIMIT 1));
ALTER TABLE settlement.document_line ENABLE ROW LEVEL SECURITY;
CREATE POLICY readable ON settlement.document_line FOR SELECT USING (true);
CREATE POLICY with_its_document ON settlement.document_line FOR INSERT WITH CHECK (EXISTS (
  SELECT FROM settlement.document d
  WHERE d.document_id = document_line.document_id AND d.xmin = pg_current_xact_id()::xid));
