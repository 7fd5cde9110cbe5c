-- Something that is no purchase and was decided by rules: an event that a partner told, an enrolment, an invitation that
-- came to something. cause is what of it happens once; seq the journal entry that it made, of no points too.
CREATE TABLE partners.moment (
  holder_id   bigint NOT NULL,
  cause       uuid NOT NULL,
  seq         bigint NOT NULL,
  awarded     bigint NOT NULL CHECK (awarded >= 0),
  occurred_at timestamptz NOT NULL,
  at          timestamptz NOT NULL,
  idem_key    uuid NOT NULL,
  fingerprint uuid NOT NULL,
  partner_id  int NOT NULL,
  client_id   int,
  terms_id    int NOT NULL,
  cutoff_id   int NOT NULL,
  unit        smallint NOT NULL,
  kind        text NOT NULL,                 -- what triggered it
  code        text NOT NULL,                 -- the event's, empty where the trigger says all
  decision    jsonb NOT NULL,
  PRIMARY KEY (holder_id, cause),
  UNIQUE (holder_id, unit, seq)
);

-- An event that somebody has to look at first: a review that may be spam. What was told is kept until it is decided.
CREATE TABLE partners.event_review (
  cause       uuid PRIMARY KEY,
  holder_id   bigint NOT NULL,
  review_no   bigint GENERATED ALWAYS AS IDENTITY,
  partner_id  int NOT NULL,
  client_id   int NOT NULL,
  code        text NOT NULL,
  told        jsonb NOT NULL,
  occurred_at timestamptz NOT NULL,
  at          timestamptz NOT NULL,
  idem_key    uuid NOT NULL,
  fingerprint uuid NOT NULL,
  approved    boolean,
  decided_at  timestamptz,
  CHECK ((approved IS NULL) = (decided_at IS NULL)),
  UNIQUE (holder_id, review_no)
);

-- A member's code for those whom they bring, and who came by it. One who came was brought by one.
CREATE TABLE partners.invitation (
  code_lookup uuid PRIMARY KEY,
  holder_id   bigint NOT NULL,
  tail        text NOT NULL CHECK (length(tail) = 3),
  device      uuid,                          -- keyed hash of the device that it was asked for on
  at          timestamptz NOT NULL
);
CREATE INDEX invitation_holder ON partners.invitation (holder_id);
CREATE TABLE partners.referral (
  holder_id    bigint NOT NULL,              -- who came
  referrer_id  bigint NOT NULL,
  state        text NOT NULL CHECK (state IN ('REGISTERED', 'QUALIFYING', 'REWARDED', 'LAPSED')),
  partner_id   int NOT NULL,                 -- where they came
  device       uuid,
  at           timestamptz NOT NULL,
  lapses_at    timestamptz NOT NULL,         -- without a purchase by then
  purchase_seq bigint,                       -- the first purchase that is large enough
  qualifies_at timestamptz,                  -- when its return window ends
  decided_at   timestamptz,
  rewarded     int NOT NULL DEFAULT 0 CHECK (rewarded BETWEEN 0 AND 2),
  reason       text,
  PRIMARY KEY (holder_id),
  CHECK (referrer_id <> holder_id),
  CHECK ((purchase_seq IS NULL) = (qualifies_at IS NULL)),
  CHECK ((state IN ('REWARDED', 'LAPSED')) = (decided_at IS NOT NULL))
);
CREATE INDEX referral_referrer ON partners.referral (referrer_id, at);
CREATE INDEX referral_waiting ON partners.referral (state, holder_id) WHERE state IN ('REGISTERED', 'QUALIFYING');

-- A reward for points, of which there are so many.
CREATE TABLE partners.reward (
  reward_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id int NOT NULL REFERENCES partners.partner,
  code       text NOT NULL CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  names      jsonb NOT NULL,
  points     bigint NOT NULL CHECK (points > 0),
  stock      bigint NOT NULL CHECK (stock >= 0),
  taken      bigint NOT NULL DEFAULT 0 CHECK (taken BETWEEN 0 AND stock),
  tiers      text[] NOT NULL,                -- for whom, none named: everybody; so the others
  badges     text[] NOT NULL,
  segments   text[] NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_until timestamptz NOT NULL CHECK (valid_until > valid_from),
  UNIQUE (partner_id, code)
) WITH (fillfactor = 60);
-- What members took of it. seq is the entry of the redemption.
CREATE TABLE partners.reward_order (
  holder_id    bigint NOT NULL,
  seq          bigint NOT NULL,
  reward_id    int NOT NULL,
  unit         smallint NOT NULL,
  at           timestamptz NOT NULL,
  fulfilled_at timestamptz,
  returned_at  timestamptz,
  PRIMARY KEY (holder_id, unit, seq)
);
CREATE INDEX reward_order_reward ON partners.reward_order (reward_id);

GRANT SELECT, INSERT ON partners.moment, partners.event_review, partners.invitation, partners.referral, partners.reward,
  partners.reward_order TO tessera_app;
GRANT UPDATE (approved, decided_at) ON partners.event_review TO tessera_app;
GRANT UPDATE (state, purchase_seq, qualifies_at, decided_at, rewarded, reason) ON partners.referral TO tessera_app;
GRANT UPDATE (taken, stock) ON partners.reward TO tessera_app;
GRANT UPDATE (fulfilled_at, returned_at) ON partners.reward_order TO tessera_app;
