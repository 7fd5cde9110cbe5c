-- What partners' programs and tills asked, for those who mend them: kept for days, without anything personal in it.
-- Instants are the wall's. code: why it was refused; none where it was done.
CREATE TABLE gateway.request_log (
  entry_no      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id    int NOT NULL REFERENCES partners.partner,
  client_no     int NOT NULL REFERENCES gateway.client,
  request_id    text NOT NULL CHECK (request_id ~ '^[A-Za-z0-9._-]{8,64}$'),
  asked_at      timestamptz NOT NULL,
  operation     text NOT NULL CHECK (operation ~ '^[_A-Za-z]\w{0,63}$'),
  document_hash bytea CHECK (octet_length(document_hash) = 32),
  status        smallint NOT NULL CHECK (status BETWEEN 100 AND 599),
  code          text CHECK (code ~ '^[A-Z][A-Z0-9_]{0,63}$'),
  took_ms       int NOT NULL CHECK (took_ms >= 0),
  variables     jsonb NOT NULL CHECK (length(variables::text) <= 4096)
);
CREATE INDEX request_log_partner ON gateway.request_log (partner_id, entry_no);
CREATE INDEX request_log_failed ON gateway.request_log (partner_id, entry_no) WHERE code IS NOT NULL;
CREATE INDEX request_log_request ON gateway.request_log (request_id, partner_id);
CREATE INDEX request_log_asked_at ON gateway.request_log (asked_at);

GRANT SELECT, INSERT, DELETE ON gateway.request_log TO tessera_app;

