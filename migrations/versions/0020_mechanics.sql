-- A mechanic as two people agreed on it: a stamp card, an event, a club, the ladder of tiers, ... (docs/mechanics.md).
-- Versioned documents, never edited; the one in force at an instant is the approved one with the latest valid_from at or
-- before it.
CREATE TABLE partners.mechanic (
  kind        text NOT NULL CHECK (kind ~ '^[A-Z]+(_[A-Z]+)*$'),
  code        text NOT NULL CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  version     int NOT NULL CHECK (version >= 1),
  valid_from  timestamptz NOT NULL,
  document    jsonb NOT NULL,
  approval_id bigint NOT NULL UNIQUE REFERENCES kit.approval,   -- one decision, one version
  PRIMARY KEY (kind, code, version)
);

-- Coupons of one kind. Without an end of its own a coupon is good for lasts_days from its issue, and never after the
-- batch. honoured_by: the partners that take it, none named: all. per_receipt: the most of it at one purchase;
-- needed: so many together are one benefit. What they bring is said by the promotion that asks for the batch.
CREATE TABLE partners.coupon_batch (
  batch_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id   int NOT NULL,                       -- whose it is; 0 is the operator
  code         text NOT NULL UNIQUE CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  kind         text NOT NULL CHECK (kind IN ('UNIQUE', 'GENERIC')),
  bound_to     text NOT NULL CHECK (bound_to IN ('NOBODY', 'MEMBER')),
  honoured_by  int[] NOT NULL,
  valid_from   timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL CHECK (expires_at > valid_from),
  lasts_days   int CHECK (lasts_days BETWEEN 1 AND 3660),
  per_receipt  smallint NOT NULL CHECK (per_receipt BETWEEN 1 AND 100),
  needed       smallint NOT NULL CHECK (needed BETWEEN 1 AND per_receipt),
  total_limit  bigint CHECK (total_limit > 0),
  member_limit bigint CHECK (member_limit > 0),
  channel      text CHECK (channel ~ '^[A-Z][A-Z_]{0,31}$'),   -- where the coupons went, for what they brought in
  stopped_at   timestamptz,
  CHECK (kind = 'UNIQUE' OR bound_to = 'NOBODY' AND per_receipt = 1)
);

-- state: 0 generated, 1 issued, 2 reserved, 3 redeemed, 4 void. A word for many stays issued; its uses are counted.
CREATE TABLE partners.coupon (
  coupon_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  code_lookup    uuid NOT NULL UNIQUE,             -- keyed hash of the code, which is stored nowhere
  expires_at     timestamptz NOT NULL,
  holder_id      bigint,                           -- the member it was issued to; none for whoever shows it
  reserved_by    uuid,
  reserved_until timestamptz,
  cause          uuid,                             -- what it was granted for, once
  batch_id       int NOT NULL REFERENCES partners.coupon_batch,
  cause_no       smallint,
  state          smallint NOT NULL CHECK (state BETWEEN 0 AND 4),
  tail           text NOT NULL CHECK (length(tail) = 3),
  CHECK ((state = 2) = (reserved_by IS NOT NULL) AND (state = 2) = (reserved_until IS NOT NULL)),
  CHECK ((cause IS NULL) = (cause_no IS NULL)),
  UNIQUE (cause, batch_id, cause_no)
) WITH (fillfactor = 80);
CREATE INDEX coupon_holder ON partners.coupon (holder_id, coupon_id) WHERE holder_id IS NOT NULL AND state IN (1, 2);
CREATE INDEX coupon_batch_state ON partners.coupon (batch_id, state);

-- What was reserved or redeemed, by what: the claim of a receipt, or the reservation's own number. state: 2 reserved,
-- 3 redeemed, 5 released, 6 given back with its purchase.
CREATE TABLE partners.coupon_use (
  coupon_id  bigint NOT NULL REFERENCES partners.coupon,
  used_by    uuid NOT NULL,
  holder_id  bigint NOT NULL,
  until      timestamptz,
  at         timestamptz NOT NULL,
  claim      uuid,
  partner_id int NOT NULL,
  batch_id   int NOT NULL,
  state      smallint NOT NULL CHECK (state IN (2, 3, 5, 6)),
  CHECK ((state IN (3, 6)) = (claim IS NOT NULL)),
  PRIMARY KEY (coupon_id, used_by)
) WITH (fillfactor = 80);
CREATE INDEX coupon_use_claim ON partners.coupon_use (claim) WHERE claim IS NOT NULL;
CREATE INDEX coupon_use_batch ON partners.coupon_use (batch_id, at);
CREATE INDEX coupon_use_reserved ON partners.coupon_use (batch_id, until) WHERE state = 2;

-- How often a batch was reserved or redeemed: altogether (holder 0) and by a member.
CREATE TABLE partners.coupon_count (
  holder_id bigint NOT NULL,
  batch_id  int NOT NULL REFERENCES partners.coupon_batch,
  used      bigint NOT NULL CHECK (used >= 0),
  most      bigint CHECK (used <= most),
  PRIMARY KEY (holder_id, batch_id)
) WITH (fillfactor = 60);

-- Codes that were no good, counted within a window of the wall clock that begins with the first.
CREATE TABLE partners.coupon_guess (
  kind     text NOT NULL CHECK (kind IN ('MEMBER', 'TERMINAL', 'CLIENT', 'BATCH')),
  subject  bigint NOT NULL,
  began_at timestamptz NOT NULL,
  wrong    bigint NOT NULL CHECK (wrong > 0),
  PRIMARY KEY (kind, subject)
) WITH (fillfactor = 70);

GRANT SELECT, INSERT ON partners.mechanic, partners.coupon_batch, partners.coupon, partners.coupon_use,
  partners.coupon_count, partners.coupon_guess TO tessera_app;
GRANT UPDATE (stopped_at) ON partners.coupon_batch TO tessera_app;
GRANT UPDATE (state, holder_id, expires_at, reserved_by, reserved_until) ON partners.coupon TO tessera_app;
GRANT UPDATE (state, until, claim, at) ON partners.coupon_use TO tessera_app;
GRANT UPDATE (used) ON partners.coupon_count TO tessera_app;
GRANT UPDATE (began_at, wrong) ON partners.coupon_guess TO tessera_app;
