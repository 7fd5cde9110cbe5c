-- Every instant in here is the wall's.

-- A PUBLIC client (an app on somebody's device, a till before it is enrolled) has no credential of its own: what it is
-- granted is bound to a key that it makes. binds_tokens: a token is given only with a proof of such a key (RFC 9449).
ALTER TABLE gateway.client
  ADD COLUMN kind text NOT NULL DEFAULT 'CONFIDENTIAL' CHECK (kind IN ('CONFIDENTIAL', 'PUBLIC')),
  ADD COLUMN grant_types text[] NOT NULL DEFAULT '{client_credentials}' CHECK (
    cardinality(grant_types) >= 1 AND grant_types <@ ARRAY[
      'client_credentials', 'authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code']),
  ADD COLUMN redirect_uris text[] NOT NULL DEFAULT '{}' CHECK (cardinality(redirect_uris) <= 10),
  ADD COLUMN binds_tokens boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT client_public CHECK (
    kind = 'CONFIDENTIAL' OR (binds_tokens AND NOT grant_types && ARRAY['client_credentials'])),
  ADD CONSTRAINT client_redirects CHECK (
    (grant_types && ARRAY['authorization_code']) = (cardinality(redirect_uris) > 0));

-- Public keys with which a client signs its assertions. One key belongs to one client, and is never edited.
CREATE TABLE gateway.client_key (
  key_no     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  client_no  int NOT NULL REFERENCES gateway.client,
  kid        text NOT NULL UNIQUE CHECK (kid ~ '^[A-Za-z0-9_-]{43}$'),   -- the key's thumbprint (RFC 7638)
  algorithm  text NOT NULL CHECK (algorithm IN ('ES256', 'PS256', 'Ed25519')),
  jwk        jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz,                 -- NULL: until it is replaced or removed
  CHECK (expires_at >= created_at)
);
CREATE INDEX client_key_client ON gateway.client_key (client_no);

-- A secret instead of a key is an exception that is made for a partner (0: the operator) and can be taken back.
CREATE TABLE gateway.secret_exception (
  partner_id int PRIMARY KEY CHECK (partner_id >= 0),
  allowed    boolean NOT NULL,
  changed_at timestamptz NOT NULL
);
INSERT INTO gateway.secret_exception
SELECT coalesce(c.partner_id, 0), true, min(c.created_at)
FROM gateway.client c JOIN gateway.client_secret s USING (client_no) GROUP BY 1;

-- What a person allowed a client to do. Of a till: the terminal that it is, and the key that it made.
CREATE TABLE gateway.client_grant (
  grant_id    text PRIMARY KEY CHECK (grant_id ~ '^gr_[A-Za-z0-9_-]{22}$'),
  client_no   int NOT NULL REFERENCES gateway.client,
  actor_id    int NOT NULL REFERENCES kit.actor,
  terminal_id int REFERENCES partners.terminal,
  scopes      text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 32),
  jkt         text CHECK (jkt ~ '^[A-Za-z0-9_-]{43}$'),   -- thumbprint of the key that its tokens are bound to
  created_at  timestamptz NOT NULL,
  ends_at     timestamptz NOT NULL,
  ended_at    timestamptz,
  ended_why   text CHECK (ended_why ~ '^[A-Z_]+$'),
  CHECK (ends_at > created_at),
  CHECK ((ended_at IS NULL) = (ended_why IS NULL)),
  CHECK (terminal_id IS NULL OR jkt IS NOT NULL)
);
CREATE INDEX client_grant_client ON gateway.client_grant (client_no);
CREATE INDEX client_grant_actor ON gateway.client_grant (actor_id);
CREATE INDEX client_grant_terminal ON gateway.client_grant (terminal_id) WHERE terminal_id IS NOT NULL;

-- A request for authorization, pushed by its client (RFC 9126). Codes, tokens and request_uris are random: their
-- SHA-256 is kept. A row stays after it was used, because a second use must be seen.
CREATE TABLE gateway.pushed_request (
  request_hash   bytea PRIMARY KEY CHECK (octet_length(request_hash) = 32),
  client_no      int NOT NULL REFERENCES gateway.client,
  redirect_uri   text NOT NULL,
  scope          text NOT NULL,
  state          text CHECK (length(state) <= 2048),
  code_challenge text NOT NULL CHECK (code_challenge ~ '^[A-Za-z0-9_-]{43}$'),
  jkt            text CHECK (jkt ~ '^[A-Za-z0-9_-]{43}$'),
  created_at     timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL,
  opened_at      timestamptz,
  completed_at   timestamptz,
  CHECK (expires_at > created_at)
);
CREATE INDEX pushed_request_expiry ON gateway.pushed_request (expires_at);

CREATE TABLE gateway.authorization_code (
  code_hash      bytea PRIMARY KEY CHECK (octet_length(code_hash) = 32),
  grant_id       text NOT NULL UNIQUE REFERENCES gateway.client_grant,
  redirect_uri   text NOT NULL,
  code_challenge text NOT NULL,
  created_at     timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL,
  used_at        timestamptz,
  CHECK (expires_at > created_at)
);

CREATE TABLE gateway.refresh_token (
  token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  grant_id   text NOT NULL REFERENCES gateway.client_grant,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,        -- moves on while it is used, never beyond the grant's end
  used_at    timestamptz,                 -- when its successor was first given; of confidential clients never
  CHECK (expires_at > created_at)
);
CREATE INDEX refresh_token_grant ON gateway.refresh_token (grant_id);
CREATE INDEX refresh_token_expiry ON gateway.refresh_token (expires_at);

-- A till that asks to be enrolled (RFC 8628). The code for the person is short, so a keyed hash of it is kept.
CREATE TABLE gateway.device_code (
  code_hash        bytea PRIMARY KEY CHECK (octet_length(code_hash) = 32),
  user_code        uuid NOT NULL UNIQUE,
  client_no        int NOT NULL REFERENCES gateway.client,
  scope            text NOT NULL,
  jkt              text NOT NULL CHECK (jkt ~ '^[A-Za-z0-9_-]{43}$'),
  outlet           text NOT NULL CHECK (length(outlet) BETWEEN 1 AND 32),
  terminal         text NOT NULL CHECK (length(terminal) BETWEEN 1 AND 32),
  serial           text NOT NULL CHECK (length(serial) BETWEEN 1 AND 64),
  network_place    text NOT NULL CHECK (length(network_place) <= 64),
  created_at       timestamptz NOT NULL,
  expires_at       timestamptz NOT NULL,
  interval_seconds int NOT NULL CHECK (interval_seconds BETWEEN 1 AND 3600),
  polled_at        timestamptz,
  approved         boolean,
  actor_id         int REFERENCES kit.actor,
  terminal_id      int REFERENCES partners.terminal,
  grant_id         text UNIQUE REFERENCES gateway.client_grant,   -- once it was redeemed
  CHECK (expires_at > created_at),
  CHECK ((approved IS NULL) = (actor_id IS NULL)),
  CHECK (grant_id IS NULL OR approved),
  CHECK (approved IS NOT TRUE OR terminal_id IS NOT NULL)
);
CREATE INDEX device_code_expiry ON gateway.device_code (expires_at);

-- Codes for a person that somebody typed and that were not there; bounds guessing.
CREATE TABLE gateway.user_code_miss (
  actor_id  int NOT NULL REFERENCES kit.actor,
  missed_at timestamptz NOT NULL
);
CREATE INDEX user_code_miss_actor ON gateway.user_code_miss (actor_id, missed_at);

-- Access tokens (by jti) and grants that were ended before their time, for as long as a token of theirs could live.
CREATE TABLE gateway.ended_token (
  token_id text PRIMARY KEY CHECK (length(token_id) BETWEEN 1 AND 64),
  until    timestamptz NOT NULL
);
CREATE INDEX ended_token_until ON gateway.ended_token (until);

-- Ids of assertions and proofs that were seen, for as long as they could be shown again. Not logged: after a crash of the
-- database it is empty, and what was signed in the minute (a proof) or the five (an assertion) before could pass twice.
CREATE UNLOGGED TABLE gateway.used_id (
  id    uuid PRIMARY KEY,
  until timestamptz NOT NULL
);
CREATE INDEX used_id_until ON gateway.used_id (until);

GRANT SELECT, INSERT ON
  gateway.client_key, gateway.secret_exception, gateway.client_grant, gateway.pushed_request,
  gateway.authorization_code, gateway.refresh_token, gateway.device_code, gateway.user_code_miss,
  gateway.ended_token, gateway.used_id TO tessera_app;
GRANT UPDATE (binds_tokens) ON gateway.client TO tessera_app;
GRANT UPDATE (expires_at) ON gateway.client_key TO tessera_app;
GRANT UPDATE (allowed, changed_at) ON gateway.secret_exception TO tessera_app;
GRANT UPDATE (ended_at, ended_why) ON gateway.client_grant TO tessera_app;
GRANT UPDATE (expires_at, opened_at, completed_at) ON gateway.pushed_request TO tessera_app;
GRANT UPDATE (used_at) ON gateway.authorization_code TO tessera_app;
GRANT UPDATE (expires_at, used_at) ON gateway.refresh_token TO tessera_app;
GRANT UPDATE (interval_seconds, polled_at, approved, actor_id, terminal_id, grant_id) ON gateway.device_code TO tessera_app;
GRANT UPDATE (until), DELETE ON gateway.ended_token TO tessera_app;
GRANT DELETE ON gateway.refresh_token, gateway.pushed_request, gateway.device_code, gateway.user_code_miss, gateway.used_id TO tessera_app;
-- SKIP LOCKED asks for the right to update the rows that are swept.
GRANT UPDATE (until) ON gateway.used_id TO tessera_app;
