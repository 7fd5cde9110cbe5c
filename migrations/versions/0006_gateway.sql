CREATE SCHEMA gateway;
GRANT USAGE ON SCHEMA gateway TO tessera_app;

-- Who may ask for access tokens. partner_id NULL is the operator's own staff client. A client is never deleted.
CREATE TABLE gateway.client (
  client_no  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  client_id  text NOT NULL UNIQUE CHECK (client_id ~ '^cl_[a-z0-9]{20}$'),
  partner_id int REFERENCES partners.partner,
  name       text NOT NULL CHECK (name <> '' AND length(name) <= 100),
  scopes     text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 32),
  status     text NOT NULL CHECK (status IN ('ACTIVE', 'SUSPENDED')),
  not_before timestamptz NOT NULL,        -- wall instant; tokens issued earlier are refused
  created_at timestamptz NOT NULL
);
CREATE INDEX client_partner ON gateway.client (partner_id);

-- SHA-256 of a random secret of 256 bits: nothing to guess, so nothing to stretch. Instants are the wall's.
-- While a secret is being replaced two are good.
CREATE TABLE gateway.client_secret (
  secret_no   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  client_no   int NOT NULL REFERENCES gateway.client,
  secret_hash bytea NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
  created_at  timestamptz NOT NULL,
  expires_at  timestamptz,                -- NULL: until the next rotation
  CHECK (expires_at >= created_at)
);
CREATE INDEX client_secret_client ON gateway.client_secret (client_no);

-- Keys that sign access tokens. A new one is published at once, signs from signs_from on, and the one before it
-- verifies until the last token that it signed has expired. Instants are the wall's.
CREATE TABLE gateway.signing_key (
  kid            text PRIMARY KEY CHECK (kid ~ '^[A-Za-z0-9_-]{43}$'),
  sealed_key     bytea NOT NULL,
  created_at     timestamptz NOT NULL,
  signs_from     timestamptz NOT NULL,
  verifies_until timestamptz,
  CHECK (verifies_until >= created_at)
);

GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA gateway TO tessera_app;
GRANT UPDATE (status, not_before) ON gateway.client TO tessera_app;
GRANT UPDATE (expires_at) ON gateway.client_secret TO tessera_app;
GRANT UPDATE (verifies_until) ON gateway.signing_key TO tessera_app;

-- Readiness asks which migration the database stands at.
GRANT SELECT ON public.alembic_version TO tessera_app;
