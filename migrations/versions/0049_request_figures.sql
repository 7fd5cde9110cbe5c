-- What a request cost, and whether its answer was an earlier one's. Beside the log, of which a busy client has a part,
-- every request is counted, and what a partner's programs did for the first time is kept.
ALTER TABLE gateway.request_log
  ADD COLUMN cost     int NOT NULL DEFAULT 0 CHECK (cost >= 0),
  ADD COLUMN replayed boolean NOT NULL DEFAULT false;

-- took: how many were ready within each of the bounds that the code names, the last without one. Hours are the wall's.
CREATE TABLE gateway.request_figure (
  partner_id int NOT NULL REFERENCES partners.partner,
  client_no  int NOT NULL REFERENCES gateway.client,
  hour       timestamptz NOT NULL,
  requests   bigint NOT NULL CHECK (requests > 0),
  refused    bigint NOT NULL CHECK (refused BETWEEN 0 AND requests),
  away       bigint NOT NULL CHECK (away BETWEEN 0 AND refused),
  replayed   bigint NOT NULL CHECK (replayed BETWEEN 0 AND requests),
  cost       bigint NOT NULL CHECK (cost >= 0),
  took       bigint[] NOT NULL CHECK (0 <= ALL (took)),
  PRIMARY KEY (partner_id, client_no, hour)
);
CREATE INDEX request_figure_hour ON gateway.request_figure (hour);

CREATE TABLE gateway.first_step (
  partner_id int NOT NULL REFERENCES partners.partner,
  step       text NOT NULL CHECK (step ~ '^[A-Z][A-Z_]{0,31}$'),
  client_no  int NOT NULL REFERENCES gateway.client,
  request_id text NOT NULL CHECK (request_id ~ '^[A-Za-z0-9._-]{8,64}$'),
  at         timestamptz NOT NULL,                -- wall instant
  PRIMARY KEY (partner_id, step)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.request_figure TO tessera_app;
GRANT SELECT, INSERT ON gateway.first_step TO tessera_app;
