-- What differs for a client from what every client may. A client without a row has the standard allowance.
CREATE TABLE gateway.client_rule (
  client_no          int PRIMARY KEY REFERENCES gateway.client,
  burst              int NOT NULL CHECK (burst BETWEEN 100 AND 1000000000),             -- in points of cost
  restore_per_second int NOT NULL CHECK (restore_per_second BETWEEN 1 AND 1000000000),
  trusted_only       boolean NOT NULL DEFAULT false
);

-- Documents that a client registered; it may name them by SHA-256 of their text.
CREATE TABLE gateway.trusted_document (
  client_no     int NOT NULL REFERENCES gateway.client,
  document_hash bytea NOT NULL CHECK (octet_length(document_hash) = 32 AND document_hash = sha256(convert_to(body, 'UTF8'))),
  body          text NOT NULL CHECK (length(body) BETWEEN 1 AND 16384),
  registered_at timestamptz NOT NULL,
  PRIMARY KEY (client_no, document_hash)
);

-- What is left of each allowance, in millionths, after what processes have leased. Lost in a crash of the server, which
-- only means that all buckets are full again; and written about once a second by each process that serves the client.
CREATE UNLOGGED TABLE gateway.allowance (
  client_no int NOT NULL,
  member_id bigint NOT NULL,              -- 0: of the client itself
  kind      smallint NOT NULL,            -- 1 cost, 2 new documents, 3 look-ups that find nobody
  level     bigint NOT NULL CHECK (level >= 0),
  granted   bigint NOT NULL CHECK (granted >= 0),
  filled_at timestamptz NOT NULL,         -- wall instant
  PRIMARY KEY (client_no, member_id, kind)
) WITH (fillfactor = 50);

-- Who used which field of the schema on which day, so that none is removed from under somebody.
CREATE TABLE gateway.field_use (
  client_no int NOT NULL REFERENCES gateway.client,
  used_on   date NOT NULL,                -- of the wall clock, UTC
  field     text NOT NULL CHECK (field ~ '^[_A-Za-z][_0-9A-Za-z]*\.[_A-Za-z][_0-9A-Za-z]*$'),
  uses      bigint NOT NULL CHECK (uses > 0),
  PRIMARY KEY (used_on, client_no, field)
);

GRANT SELECT, INSERT, UPDATE ON gateway.client_rule, gateway.allowance, gateway.field_use TO tessera_app;
GRANT SELECT, INSERT, DELETE ON gateway.trusted_document TO tessera_app;
