-- The zone that a member's letters are dated in; none: the programme's.
ALTER TABLE members.member ADD COLUMN time_zone text CHECK (time_zone ~ '^[A-Za-z0-9_+/-]{1,64}$');
GRANT UPDATE (time_zone) ON members.member TO tessera_app;

-- What was written to a person: accepted once, never changed. NOBODY is whoever asked for a code under an address that
-- is no one's; the row is there so that asking costs the same. person_id is the member's, the actor's, or 0.
CREATE TABLE members.message (
  person_id   bigint NOT NULL,
  audience    text NOT NULL CHECK (audience IN ('MEMBER', 'STAFF', 'NOBODY')),
  message_id  uuid NOT NULL,
  purpose     text NOT NULL CHECK (purpose ~ '^[A-Z_]+$'),
  channel     text NOT NULL CHECK (channel IN ('EMAIL', 'SMS')),
  sealed      bytea NOT NULL,           -- address and words under the person's own key
  accepted_at timestamptz NOT NULL,     -- business instant
  written_at  timestamptz NOT NULL,     -- wall instant
  good_until  timestamptz,              -- wall instant after which it is not worth sending
  member_id   bigint GENERATED ALWAYS AS (CASE WHEN audience = 'MEMBER' THEN person_id END) STORED
              REFERENCES members.member,
  actor_id    int GENERATED ALWAYS AS (CASE WHEN audience = 'STAFF' THEN person_id::int END) STORED
              REFERENCES kit.actor,
  PRIMARY KEY (person_id, audience, message_id)
);
CREATE INDEX message_latest ON members.message (written_at);

-- What became of it, written once: SENT is what the channel took over, with its own receipt as evidence.
CREATE TABLE members.message_outcome (
  person_id  bigint NOT NULL,
  audience   text NOT NULL,
  message_id uuid NOT NULL,
  outcome    text NOT NULL CHECK (outcome IN ('SENT', 'NO_CHANNEL', 'CONSENT_WITHDRAWN', 'TOO_LATE', 'REFUSED', 'ERASED')),
  evidence   text CHECK (length(evidence) <= 64),
  at         timestamptz NOT NULL,      -- wall instant
  PRIMARY KEY (person_id, audience, message_id),
  FOREIGN KEY (person_id, audience, message_id) REFERENCES members.message ON DELETE CASCADE
);

-- What is still to be tried. Whoever takes a row moves due_at on, which is its lease.
CREATE TABLE members.message_queue (
  person_id  bigint NOT NULL,
  audience   text NOT NULL,
  message_id uuid NOT NULL,
  due_at     timestamptz NOT NULL,      -- wall instant
  tries      smallint NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND 8),
  PRIMARY KEY (person_id, audience, message_id),
  FOREIGN KEY (person_id, audience, message_id) REFERENCES members.message ON DELETE CASCADE
);
CREATE INDEX message_queue_due ON members.message_queue (due_at);

-- A notice is proof and stays; a one-time code is worth nothing a day later.
CREATE FUNCTION members.refuse_to_forget_a_notice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'message % is proof of a notice', OLD.message_id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER message_is_proof BEFORE DELETE ON members.message
  FOR EACH ROW WHEN (OLD.purpose <> 'SIGN_IN_CODE') EXECUTE FUNCTION members.refuse_to_forget_a_notice();

GRANT SELECT, INSERT, DELETE ON members.message TO tessera_app;
GRANT SELECT, INSERT ON members.message_outcome TO tessera_app;
GRANT SELECT, INSERT, DELETE ON members.message_queue TO tessera_app;
GRANT UPDATE (due_at, tries) ON members.message_queue TO tessera_app;

-- Actors who may sign in to the console: where their codes go, and the invitation that lets them in before any arrives.
CREATE TABLE gateway.staff (
  actor_id          int PRIMARY KEY REFERENCES kit.actor,
  address_lookup    uuid NOT NULL UNIQUE,
  sealed_address    bytea NOT NULL,
  language          text NOT NULL CHECK (language ~ '^[a-z]{2}$'),
  invitation_hash   bytea CHECK (octet_length(invitation_hash) = 32),
  invitation_until  timestamptz,
  CHECK ((invitation_hash IS NULL) = (invitation_until IS NULL))
);

-- Every instant from here on is the wall's. Tokens and codes are kept as hashes only.
CREATE TABLE gateway.session (
  session_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
  audience   text NOT NULL CHECK (audience IN ('MEMBER', 'STAFF')),
  person_id  bigint NOT NULL,
  browser    text NOT NULL CHECK (length(browser) BETWEEN 1 AND 60),
  proved_by  text NOT NULL CHECK (proved_by IN ('CODE', 'PASSKEY', 'INVITATION')),
  began_at   timestamptz NOT NULL,
  seen_at    timestamptz NOT NULL CHECK (seen_at >= began_at),
  ends_at    timestamptz NOT NULL CHECK (ends_at > began_at),
  ended_at   timestamptz CHECK (ended_at >= began_at),
  member_id  bigint GENERATED ALWAYS AS (CASE WHEN audience = 'MEMBER' THEN person_id END) STORED
             REFERENCES members.member,
  actor_id   int GENERATED ALWAYS AS (CASE WHEN audience = 'STAFF' THEN person_id::int END) STORED
             REFERENCES kit.actor
);
CREATE INDEX session_person ON gateway.session (person_id, audience) WHERE ended_at IS NULL;

-- Somebody at a browser asked for a code. person_id NULL: the address is no one's, and no code is right.
CREATE TABLE gateway.sign_in (
  token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  audience   text NOT NULL CHECK (audience IN ('MEMBER', 'STAFF')),
  person_id  bigint,
  code_hash  bytea NOT NULL CHECK (octet_length(code_hash) = 32),
  asked_at   timestamptz NOT NULL,
  ends_at    timestamptz NOT NULL CHECK (ends_at > asked_at),
  tries      smallint NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND 5),
  used_at    timestamptz
);
CREATE INDEX sign_in_ends ON gateway.sign_in (ends_at);

-- How many codes an address was sent in the hour since the first. The key is a keyed hash.
CREATE TABLE gateway.sign_in_budget (
  budget   uuid PRIMARY KEY,
  began_at timestamptz NOT NULL,
  asked    smallint NOT NULL CHECK (asked BETWEEN 1 AND 5)
);

CREATE TABLE gateway.passkey (
  passkey_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  credential_id bytea NOT NULL UNIQUE CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
  audience      text NOT NULL CHECK (audience IN ('MEMBER', 'STAFF')),
  person_id     bigint NOT NULL,
  public_key    bytea NOT NULL,
  sign_count    bigint NOT NULL CHECK (sign_count >= 0),
  is_synced     boolean NOT NULL,
  added_at      timestamptz NOT NULL,
  used_at       timestamptz CHECK (used_at >= added_at),
  member_id     bigint GENERATED ALWAYS AS (CASE WHEN audience = 'MEMBER' THEN person_id END) STORED
                REFERENCES members.member,
  actor_id      int GENERATED ALWAYS AS (CASE WHEN audience = 'STAFF' THEN person_id::int END) STORED
                REFERENCES kit.actor
);
CREATE INDEX passkey_person ON gateway.passkey (person_id, audience);

-- A challenge that a browser was given: taken away by the answer, so that no answer is good twice.
CREATE TABLE gateway.passkey_challenge (
  challenge_hash bytea PRIMARY KEY CHECK (octet_length(challenge_hash) = 32),
  holder_hash    bytea NOT NULL CHECK (octet_length(holder_hash) = 32),   -- of the cookie it was given to
  ceremony       text NOT NULL CHECK (ceremony IN ('ADD', 'SIGN_IN')),
  ends_at        timestamptz NOT NULL
);
CREATE INDEX passkey_challenge_ends ON gateway.passkey_challenge (ends_at);

GRANT SELECT, INSERT, DELETE ON gateway.staff, gateway.session, gateway.sign_in, gateway.sign_in_budget, gateway.passkey,
  gateway.passkey_challenge TO tessera_app;
GRANT UPDATE (address_lookup, sealed_address, language, invitation_hash, invitation_until) ON gateway.staff TO tessera_app;
GRANT UPDATE (seen_at, ended_at) ON gateway.session TO tessera_app;
GRANT UPDATE (tries, used_at) ON gateway.sign_in TO tessera_app;
GRANT UPDATE (began_at, asked) ON gateway.sign_in_budget TO tessera_app;
GRANT UPDATE (sign_count, used_at, is_synced) ON gateway.passkey TO tessera_app;
