CREATE SCHEMA members;
GRANT USAGE ON SCHEMA members TO tessera_app;

-- A member is a holder of the ledger: member_id is its holder_id.
CREATE TABLE members.member (
  member_id    bigint PRIMARY KEY,
  status       text NOT NULL CHECK (status IN ('ANONYMOUS', 'ACTIVE', 'CLOSED')),
  enrolled_at  timestamptz NOT NULL,
  enrolled_by  int NOT NULL,              -- partner's number; 0 is the operator
  language     text NOT NULL DEFAULT 'en' CHECK (language ~ '^[a-z]{2}$'),
  tier         text NOT NULL DEFAULT 'BASE',
  tier_until   timestamptz,
  pin_hash     bytea,
  pin_failures smallint NOT NULL DEFAULT 0 CHECK (pin_failures BETWEEN 0 AND 5),
  pin_tried_at timestamptz                -- wall clock: brute force does not wait for the business day
);

-- A member's own key, sealed under the master key; without its row the personal data is noise.
CREATE TABLE members.member_key (
  member_id  bigint PRIMARY KEY REFERENCES members.member,
  sealed_key bytea NOT NULL
);
CREATE TABLE members.personal (
  member_id bigint PRIMARY KEY REFERENCES members.member,
  sealed    bytea NOT NULL                -- JSON under the member's key
);

-- What a member is found by, as keyed hashes: PHONE, EMAIL, EXTERNAL (a partner's own number), INSTRUMENT (a partner's
-- token of a means of payment).
CREATE TABLE members.alias (
  kind       text NOT NULL CHECK (kind IN ('PHONE', 'EMAIL', 'EXTERNAL', 'INSTRUMENT')),
  partner_id int NOT NULL,                -- whose name it is; 0 is everybody's
  lookup     uuid NOT NULL,
  member_id  bigint NOT NULL REFERENCES members.member,
  PRIMARY KEY (kind, partner_id, lookup)
);
CREATE INDEX alias_member ON members.alias (member_id);

CREATE TABLE members.card (
  card_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  number_lookup uuid NOT NULL UNIQUE,
  last_four     text NOT NULL CHECK (last_four ~ '^[0-9]{4}$'),
  member_id     bigint NOT NULL REFERENCES members.member,
  status        text NOT NULL CHECK (status IN ('ACTIVE', 'LOST', 'BLOCKED')),
  status_at     timestamptz NOT NULL,
  sealed_secret bytea NOT NULL,           -- 160 bits for the rotating code, sealed under the master key
  issued_at     timestamptz NOT NULL
);
CREATE INDEX card_member ON members.card (member_id);

-- A rotating code is good once, network-wide.
CREATE TABLE members.code_use (
  card_id bigint NOT NULL REFERENCES members.card,
  step    bigint NOT NULL,
  used_at timestamptz NOT NULL,
  PRIMARY KEY (card_id, step)
);

-- Consent is a ledger per purpose and partner: the last row by then tells, no row is no. Advertising is a purpose per
-- channel; channel here is where the words were shown.
CREATE TABLE members.consent (
  member_id    bigint NOT NULL REFERENCES members.member,
  seq          int NOT NULL,
  purpose      text NOT NULL CHECK (purpose ~ '^[A-Z_]+$'),
  partner_id   int NOT NULL,              -- 0 is the operator
  granted      boolean NOT NULL,
  text_version text NOT NULL,
  channel      text NOT NULL,
  at           timestamptz NOT NULL,
  PRIMARY KEY (member_id, seq)
);

CREATE TABLE members.tier_assessment (
  member_id         bigint NOT NULL REFERENCES members.member,
  at                timestamptz NOT NULL,
  tier              text NOT NULL,
  qualifying_points bigint NOT NULL,
  until             timestamptz,          -- none: the base tier has no end
  PRIMARY KEY (member_id, at)
);

GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA members TO tessera_app;
GRANT UPDATE (status, enrolled_at, enrolled_by, language, tier, tier_until, pin_hash, pin_failures, pin_tried_at)
  ON members.member TO tessera_app;
GRANT UPDATE (sealed) ON members.personal TO tessera_app;
GRANT UPDATE (status, status_at) ON members.card TO tessera_app;
GRANT DELETE ON members.member_key, members.personal, members.alias TO tessera_app;
