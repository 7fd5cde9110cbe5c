-- A budget may also count over any run of so many days: `rolling:30`. What is used of one has a row per day (period
-- 2026-03-05/30), so that a return gives it back to its day.
ALTER TABLE partners.budget DROP CONSTRAINT budget_period_check;
ALTER TABLE partners.budget ADD CONSTRAINT budget_period_check
  CHECK (period IN ('total', 'year', 'month', 'week', 'day') OR period ~ '^rolling:[1-9][0-9]{0,2}$');

-- The lock of a budget that counts over the last days, per scope; used is the most of any run of days that the last charge
-- was in, and never above the ceiling.
CREATE TABLE partners.budget_window (
  budget_id int NOT NULL,
  scope     text NOT NULL,
  used      bigint NOT NULL,
  ceiling   bigint NOT NULL,
  PRIMARY KEY (budget_id, scope)
) WITH (fillfactor = 50);
ALTER TABLE partners.budget_window ENABLE ROW LEVEL SECURITY;   -- as of other hot tables: see 0011_hot_tables
CREATE POLICY no_more_than_the_ceiling ON partners.budget_window USING (true) WITH CHECK (used BETWEEN 0 AND ceiling);

-- In which arm of an experiment a member is, as it fell before they were shown anything, for ever. drawn tells who was drawn:
-- the member, or the household whose members are in one arm.
CREATE TABLE partners.holdout_arm (
  holder_id  bigint NOT NULL,
  experiment text NOT NULL,
  arm        text NOT NULL CHECK (arm IN ('CONTROL', 'TREATED')),
  drawn      text NOT NULL,
  at         timestamptz NOT NULL,
  PRIMARY KEY (holder_id, experiment)
);

-- A raffle: a seed that nobody knows yet, whose hash (commitment) is told before the first ticket is given. Who closes it
-- writes down the tickets that are in it and the hash of their list; who draws publishes the seed. The winners follow from
-- list and seed: partners.mechanics.drawing.
CREATE TABLE partners.raffle (
  code        text PRIMARY KEY CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
  names       jsonb NOT NULL,                 -- language to name
  prizes      int NOT NULL CHECK (prizes BETWEEN 1 AND 100000),
  commitment  text NOT NULL CHECK (commitment ~ '^[0-9a-f]{64}$'),
  sealed_seed bytea NOT NULL,
  opened_at   timestamptz NOT NULL,
  closes_at   timestamptz NOT NULL CHECK (closes_at > opened_at),
  author_id   int NOT NULL REFERENCES kit.actor
);
CREATE TABLE partners.raffle_closing (
  code        text PRIMARY KEY REFERENCES partners.raffle,
  tickets     bigint NOT NULL CHECK (tickets >= 0),
  list_sha256 text NOT NULL CHECK (list_sha256 ~ '^[0-9a-f]{64}$'),
  at          timestamptz NOT NULL,
  actor_id    int NOT NULL REFERENCES kit.actor
);
-- A ticket as the list has it: its public name, and the first of its member's tickets, by which one member wins once.
CREATE TABLE partners.raffle_entry (
  holder_id bigint NOT NULL,
  code      text NOT NULL,
  ticket    uuid NOT NULL,
  first     uuid NOT NULL,
  PRIMARY KEY (holder_id, code, ticket)
);
CREATE INDEX raffle_entry_code ON partners.raffle_entry (code, ticket);
CREATE TABLE partners.raffle_drawing (
  code     text PRIMARY KEY REFERENCES partners.raffle_closing,
  seed     bytea NOT NULL CHECK (length(seed) = 32),
  winners  uuid[] NOT NULL,                   -- tickets, the first prize first
  at       timestamptz NOT NULL,
  actor_id int NOT NULL REFERENCES kit.actor
);

GRANT SELECT, INSERT ON partners.budget_window, partners.holdout_arm, partners.raffle, partners.raffle_closing,
  partners.raffle_entry, partners.raffle_drawing TO tessera_app;
GRANT UPDATE (used, ceiling) ON partners.budget_window TO tessera_app;
