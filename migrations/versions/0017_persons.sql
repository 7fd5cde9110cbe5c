-- Colleagues: people of one partner who sign in to the portal. Each is an actor under the name `partner/name`, so the
-- audit trail knows them; what they may do is their roles here and nothing else.
CREATE TABLE gateway.colleague (
  actor_id          int PRIMARY KEY REFERENCES kit.actor,
  partner_id        int NOT NULL REFERENCES partners.partner,
  name              text NOT NULL CHECK (length(name) BETWEEN 1 AND 60),
  roles             text[] NOT NULL CHECK (cardinality(roles) >= 1 AND roles <@ ARRAY['MANAGER', 'DEVELOPER', 'FINANCE']),
  address_lookup    uuid NOT NULL UNIQUE,
  sealed_address    bytea NOT NULL,
  language          text NOT NULL CHECK (language ~ '^[a-z]{2}$'),
  invitation_hash   bytea CHECK (octet_length(invitation_hash) = 32),
  invitation_until  timestamptz,
  UNIQUE (partner_id, name),
  CHECK ((invitation_hash IS NULL) = (invitation_until IS NULL))
);
GRANT SELECT, INSERT, DELETE ON gateway.colleague TO tessera_app;
GRANT UPDATE (roles, address_lookup, sealed_address, language, invitation_hash, invitation_until)
  ON gateway.colleague TO tessera_app;

-- They are an audience of their own beside members and staff.
ALTER TABLE members.message
  DROP CONSTRAINT message_audience_check,
  ADD CONSTRAINT message_audience_check CHECK (audience IN ('MEMBER', 'STAFF', 'COLLEAGUE', 'NOBODY')),
  ALTER COLUMN actor_id SET EXPRESSION AS (CASE WHEN audience IN ('STAFF', 'COLLEAGUE') THEN person_id::int END);
ALTER TABLE gateway.session
  DROP CONSTRAINT session_audience_check,
  ADD CONSTRAINT session_audience_check CHECK (audience IN ('MEMBER', 'STAFF', 'COLLEAGUE')),
  ALTER COLUMN actor_id SET EXPRESSION AS (CASE WHEN audience IN ('STAFF', 'COLLEAGUE') THEN person_id::int END);
ALTER TABLE gateway.passkey
  DROP CONSTRAINT passkey_audience_check,
  ADD CONSTRAINT passkey_audience_check CHECK (audience IN ('MEMBER', 'STAFF', 'COLLEAGUE')),
  ALTER COLUMN actor_id SET EXPRESSION AS (CASE WHEN audience IN ('STAFF', 'COLLEAGUE') THEN person_id::int END);
ALTER TABLE gateway.sign_in
  DROP CONSTRAINT sign_in_audience_check,
  ADD CONSTRAINT sign_in_audience_check CHECK (audience IN ('MEMBER', 'STAFF', 'COLLEAGUE'));
CREATE INDEX sign_in_person ON gateway.sign_in (person_id) WHERE person_id IS NOT NULL;

-- Our own pages as clients, for the count of who uses which field. No token is ever given to them: they are suspended,
-- and have neither a secret nor a key.
INSERT INTO gateway.client (client_no, client_id, partner_id, name, scopes, status, not_before, created_at)
OVERRIDING SYSTEM VALUE VALUES
  (-1, 'cl_membersapp0000000000', NULL, 'the members'' app', '{member:self}', 'SUSPENDED', now(), now()),
  (-2, 'cl_staffconsole00000000', NULL, 'the staff''s console', '{schema:read}', 'SUSPENDED', now(), now()),
  (-3, 'cl_partnerportal0000000', NULL, 'the partners'' portal', '{schema:read}', 'SUSPENDED', now(), now());

-- What people asked to be done over their sessions, by their own keys: asked again it is not done again.
CREATE TABLE gateway.person_call (
  person_id   bigint NOT NULL,            -- a member's number, or an actor's
  audience    text NOT NULL CHECK (audience IN ('MEMBER', 'STAFF', 'COLLEAGUE')),
  operation   text NOT NULL,
  idem_key    uuid NOT NULL,
  fingerprint uuid NOT NULL,
  done_at     timestamptz NOT NULL,       -- business instant
  PRIMARY KEY (person_id, audience, operation, idem_key)
);
GRANT SELECT, INSERT ON gateway.person_call TO tessera_app;

-- Phone numbers are guessed too.
ALTER TABLE members.guess
  DROP CONSTRAINT guess_kind_check,
  ADD CONSTRAINT guess_kind_check CHECK (kind IN ('TERMINAL', 'CLIENT', 'CODE', 'TERMINAL_PHONE', 'CLIENT_PHONE'));

-- A year and a month of uses are kept.
GRANT DELETE ON gateway.field_use TO tessera_app;

-- Which master key the database is sealed with. A check value tells keys apart and says nothing of them.
CREATE TABLE kit.master_key (
  generation  int PRIMARY KEY CHECK (generation >= 1),
  check_value bytea NOT NULL CHECK (octet_length(check_value) = 16),
  began_at    timestamptz NOT NULL,       -- wall instants
  finished_at timestamptz CHECK (finished_at >= began_at)
);
-- How far the rotation to a generation is; written with the rows that were done, so that whoever goes on does none twice.
CREATE TABLE kit.key_rotation (
  generation int NOT NULL REFERENCES kit.master_key,
  part       text NOT NULL,
  after      bigint NOT NULL CHECK (after >= 0),
  rows       bigint NOT NULL CHECK (rows >= 0),
  is_done    boolean NOT NULL,
  PRIMARY KEY (generation, part)
);
GRANT SELECT, INSERT ON kit.master_key TO tessera_app;
GRANT SELECT ON kit.key_rotation TO tessera_app;

-- What each partner had given in all, as the watch saw it once a minute; kept for two hours.
CREATE TABLE partners.award_pace (
  partner_id int NOT NULL REFERENCES partners.partner,
  at         timestamptz NOT NULL,        -- business instant
  points     bigint NOT NULL CHECK (points >= 0),
  PRIMARY KEY (partner_id, at)
);
-- Partners that gave far more within an hour than ever: they give none until it ends or staff lift it.
CREATE TABLE partners.brake (
  partner_id int NOT NULL REFERENCES partners.partner,
  began_at   timestamptz NOT NULL,
  ends_at    timestamptz NOT NULL CHECK (ends_at > began_at),
  points     bigint NOT NULL CHECK (points > most),
  most       bigint NOT NULL CHECK (most > 0),
  lifted_at  timestamptz CHECK (lifted_at >= began_at),
  PRIMARY KEY (partner_id, began_at)
);
GRANT SELECT, INSERT, DELETE ON partners.award_pace TO tessera_app;
GRANT SELECT, INSERT ON partners.brake TO tessera_app;
GRANT UPDATE (ends_at, lifted_at) ON partners.brake TO tessera_app;
