-- What a statement is in packages: the hash of its canonical form, which names the one before it, and its leaf's nonce.
CREATE TABLE settlement.statement_seal (
  statement_id bigint PRIMARY KEY REFERENCES settlement.issued_statement,
  sha256       bytea NOT NULL CHECK (length(sha256) = 32),
  nonce        bytea NOT NULL CHECK (length(nonce) = 16),
  sealed_at    timestamptz NOT NULL
);
-- Packages that were made: the same statement signed by the same key is the same bytes.
CREATE TABLE settlement.package (
  statement_id bigint NOT NULL REFERENCES settlement.statement_seal,
  kid          text NOT NULL REFERENCES settlement.signing_key (kid),
  sha256       bytea NOT NULL CHECK (length(sha256) = 32),
  made_at      timestamptz NOT NULL,
  PRIMARY KEY (statement_id, kid, sha256)
);
GRANT SELECT, INSERT ON settlement.statement_seal, settlement.package TO tessera_app;
