-- A release that somebody asked to see rehearsed, and what it came to. manifest is what decides; content_sha256 is that of
-- the release it was made of, whose rules begin when they say. The report is of sums alone: nobody's purchase is in it.
CREATE TABLE partners.simulation (
  simulation_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  author_id      int NOT NULL REFERENCES kit.actor,
  at             timestamptz NOT NULL,
  since          timestamptz NOT NULL,
  until          timestamptz NOT NULL,
  manifest       text NOT NULL,
  content_sha256 text NOT NULL CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
  state          text NOT NULL DEFAULT 'WAITING' CHECK (state IN ('WAITING', 'RUNNING', 'DONE', 'FAILED')),
  attempts       smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 3),
  leased_until   timestamptz,              -- the wall's instant; whoever runs it has it until then
  baskets        bigint CHECK (baskets >= 0),
  baskets_done   bigint NOT NULL DEFAULT 0 CHECK (baskets_done >= 0),
  report         jsonb,
  CHECK (since < until AND until <= at),
  CHECK ((state = 'DONE') = (report IS NOT NULL)),
  CHECK ((state = 'RUNNING') = (leased_until IS NOT NULL))
);
CREATE INDEX simulation_open ON partners.simulation (simulation_id) WHERE state IN ('WAITING', 'RUNNING');
GRANT SELECT, INSERT ON partners.simulation TO tessera_app;
GRANT UPDATE (state, attempts, leased_until, baskets, baskets_done, report) ON partners.simulation TO tessera_app;

-- The number of what a person's call made, so that a retry is told of the same thing.
ALTER TABLE gateway.person_call ADD COLUMN made bigint;
GRANT UPDATE (made) ON gateway.person_call TO tessera_app;

-- The call that told of somebody's coming, so that a retry hears that they came.
ALTER TABLE partners.referral ADD COLUMN idem_key uuid, ADD COLUMN fingerprint uuid;
CREATE INDEX referral_call ON partners.referral (idem_key) WHERE idem_key IS NOT NULL;
