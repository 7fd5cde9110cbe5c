-- The members' routines are files from now on, as the ledger's and the partners' are. What a trigger calls is its table's and
-- stays: replacing routines must not take the trigger with it.
CREATE OR REPLACE FUNCTION kit.drop_routines(p_schema text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE r text;
BEGIN
  -- Names first: one may be gone with another that used it before its turn comes.
  FOREACH r IN ARRAY ARRAY(
    SELECT p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = p_schema::regnamespace AND p.prorettype <> 'trigger'::regtype) LOOP
    EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', r);
  END LOOP;
END $$;

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
  batch_id  int NOT NULL,
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

-- What a member bought, added up from receipts behind the hot path: by partner and (0) in the whole coalition, ever and
-- by year, month and day of the programme's calendar. A cache: what a fold gives again. Amounts are in minor units of the
-- base currency and whole, also where points paid; below zero where what was bought before was returned within.
CREATE TABLE members.activity (
  member_id    bigint NOT NULL,
  period       text NOT NULL CHECK (period ~ '^(ever|[0-9]{4}(-[0-9]{2}){0,2})$'),
  partner_id   int NOT NULL,
  purchases    bigint NOT NULL,
  amount_minor bigint NOT NULL,
  PRIMARY KEY (member_id, period, partner_id)
) WITH (fillfactor = 80);
-- Up to which entry of the member's journal it was added up.
CREATE TABLE members.activity_position (
  member_id bigint PRIMARY KEY,
  seq       bigint NOT NULL CHECK (seq >= 0)
) WITH (fillfactor = 80);

-- Segments: whoever is in one is in a dated version of it, and a version never changes.
CREATE TABLE members.segment_version (
  segment    text NOT NULL CHECK (segment ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
  version    int NOT NULL CHECK (version >= 1),
  valid_from timestamptz NOT NULL,
  members    bigint NOT NULL CHECK (members >= 0),
  sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),   -- of the sorted numbers of the members
  author_id  int NOT NULL REFERENCES kit.actor,
  PRIMARY KEY (segment, version)
);
CREATE TABLE members.segment_member (
  member_id bigint NOT NULL REFERENCES members.member,
  segment   text NOT NULL,
  version   int NOT NULL,
  PRIMARY KEY (member_id, segment, version),
  FOREIGN KEY (segment, version) REFERENCES members.segment_version
);

-- What somebody has looked at and found true of a member, until when: the last row of a kind tells. What was shown is
-- named by its kind, never by its content.
CREATE TABLE members.attribute (
  member_id  bigint NOT NULL REFERENCES members.member,
  seq        int NOT NULL CHECK (seq >= 1),
  kind       text NOT NULL CHECK (kind ~ '^[A-Z]+(_[A-Z]+)*$'),
  holds      boolean NOT NULL,
  evidence   text NOT NULL CHECK (evidence ~ '^[A-Z]+(_[A-Z]+)*$'),
  verifier   text NOT NULL,                        -- actor:3, partner:7
  at         timestamptz NOT NULL,
  expires_at timestamptz,
  CHECK (holds = (expires_at IS NOT NULL) AND (expires_at IS NULL OR expires_at > at)),
  PRIMARY KEY (member_id, seq)
);

-- Badges: worth nothing, seen by all; a club's and a discount card's too. cause is what it was given for, once.
CREATE TABLE members.badge (
  member_id  bigint NOT NULL REFERENCES members.member,
  badge      text NOT NULL CHECK (badge ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
  cause      uuid NOT NULL,
  at         timestamptz NOT NULL,
  expires_at timestamptz CHECK (expires_at > at),
  revoked_at timestamptz,
  PRIMARY KEY (member_id, badge, cause)
);
-- Credit toward a tier, which is no points.
CREATE TABLE members.tier_credit (
  member_id  bigint NOT NULL REFERENCES members.member,
  reason     text NOT NULL,
  cause      uuid NOT NULL,
  credits    bigint NOT NULL CHECK (credits > 0),
  at         timestamptz NOT NULL,
  revoked_at timestamptz,
  PRIMARY KEY (member_id, cause, reason)
);
-- A birth date is corrected once; the day in the year that was celebrated is not forgotten with it.
CREATE TABLE members.birth_date_change (
  member_id bigint PRIMARY KEY REFERENCES members.member,
  at        timestamptz NOT NULL
);
-- What is given to a person once in the whole coalition, under a keyed hash of their phone number that outlives their
-- membership: who leaves and comes again is the same person.
CREATE TABLE members.person_once (
  person    uuid NOT NULL,
  what      text NOT NULL,
  at        timestamptz NOT NULL,
  PRIMARY KEY (person, what)
);

-- The ladder that decided, and on what.
ALTER TABLE members.tier_assessment
  ADD COLUMN ladder_version int NOT NULL DEFAULT 0 CHECK (ladder_version >= 0),
  ADD COLUMN facts jsonb NOT NULL DEFAULT '{}';

-- Rights to something, so many times.
CREATE TABLE partners.entitlement (
  holder_id  bigint NOT NULL,
  code       text NOT NULL,
  cause      uuid NOT NULL,
  quantity   int NOT NULL CHECK (quantity > 0),
  used       int NOT NULL DEFAULT 0 CHECK (used BETWEEN 0 AND quantity),
  expires_at timestamptz,
  at         timestamptz NOT NULL,
  revoked_at timestamptz,
  partner_id int NOT NULL,
  PRIMARY KEY (holder_id, code, cause)
) WITH (fillfactor = 80);
CREATE TABLE partners.raffle_ticket (
  holder_id  bigint NOT NULL,
  raffle     text NOT NULL,
  cause      uuid NOT NULL,
  ticket_no  int NOT NULL CHECK (ticket_no >= 1),
  at         timestamptz NOT NULL,
  revoked_at timestamptz,
  PRIMARY KEY (holder_id, raffle, cause, ticket_no)
);
-- Stamps are units of the ledger, by code; a unit belongs to a stamp card.
CREATE TABLE partners.stamp_unit (
  code text PRIMARY KEY CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
  unit smallint NOT NULL UNIQUE REFERENCES ledger.unit CHECK (unit >= 100)
);

GRANT SELECT, INSERT ON members.activity, members.activity_position, members.segment_version, members.segment_member,
  members.attribute, members.badge, members.tier_credit, members.birth_date_change, members.person_once,
  partners.entitlement, partners.raffle_ticket, partners.stamp_unit TO tessera_app;
GRANT UPDATE (purchases, amount_minor) ON members.activity TO tessera_app;
GRANT UPDATE (seq) ON members.activity_position TO tessera_app;
GRANT DELETE ON members.activity, members.activity_position TO tessera_app;   -- to be added up anew
GRANT UPDATE (revoked_at) ON members.badge, members.tier_credit TO tessera_app;
GRANT UPDATE (quantity, used, revoked_at) ON partners.entitlement TO tessera_app;
GRANT UPDATE (revoked_at) ON partners.raffle_ticket TO tessera_app;
GRANT INSERT ON ledger.unit TO tessera_ledger;
