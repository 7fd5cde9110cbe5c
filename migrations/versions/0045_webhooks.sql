-- Where a partner's systems are told of what happened. sequence is the number of the last delivery that was made for it.
-- failures counts attempts that failed since one was taken, failing_since is the business instant of the first of them;
-- until rests_until nothing is sent. tried_at is the wall's: who was served longest ago comes first.
CREATE TABLE gateway.webhook_endpoint (
  endpoint_no   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id    int NOT NULL REFERENCES partners.partner,
  url           text NOT NULL CHECK (length(url) BETWEEN 8 AND 500),
  description   text NOT NULL CHECK (length(description) <= 120),
  types         text[] NOT NULL CHECK (cardinality(types) BETWEEN 1 AND 40),
  status        text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'DISABLED', 'REMOVED')),
  reason        text CHECK (reason IN ('PARTNER', 'FAILING', 'GONE')),
  sequence      bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
  failures      int NOT NULL DEFAULT 0 CHECK (failures >= 0),
  failing_since timestamptz,
  rests_until   timestamptz,
  tried_at      timestamptz,
  created_at    timestamptz NOT NULL,       -- business instant
  CHECK ((failures = 0) = (failing_since IS NULL)),
  CHECK (failures > 0 OR rests_until IS NULL),
  CHECK ((status = 'DISABLED') = (reason IS NOT NULL))
);
CREATE INDEX webhook_endpoint_partner ON gateway.webhook_endpoint (partner_id) WHERE status <> 'REMOVED';

-- What deliveries are signed with, sealed; one that is replaced signs beside the next until ends_at, by the wall's clock.
CREATE TABLE gateway.webhook_secret (
  secret_no   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  endpoint_no int NOT NULL REFERENCES gateway.webhook_endpoint,
  sealed      bytea NOT NULL,
  created_at  timestamptz NOT NULL,
  ends_at     timestamptz CHECK (ends_at >= created_at)
);
CREATE INDEX webhook_secret_endpoint ON gateway.webhook_secret (endpoint_no);
CREATE UNIQUE INDEX webhook_secret_newest ON gateway.webhook_secret (endpoint_no) WHERE ends_at IS NULL;

-- What a partner with endpoints can be told: ids in data are that partner's own, nothing in it names a person. source says
-- what it is of, so that nothing is told twice. at is the business instant of what happened, written_at the wall's.
CREATE TABLE gateway.webhook_event (
  event_no   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  partner_id int NOT NULL REFERENCES partners.partner,
  type       text NOT NULL CHECK (type ~ '^[a-z]+(\.[a-z_]+)+$'),
  version    smallint NOT NULL CHECK (version >= 1),
  source     text NOT NULL CHECK (length(source) BETWEEN 1 AND 120),
  is_sample  boolean NOT NULL DEFAULT false,
  data       jsonb NOT NULL CHECK (length(data::text) <= 8192),
  at         timestamptz NOT NULL,
  written_at timestamptz NOT NULL,
  UNIQUE (partner_id, type, source)
);
CREATE INDEX webhook_event_written_at ON gateway.webhook_event (written_at);

-- One event on its way to one endpoint, in the endpoint's own sequence. next_at is a business instant, leased_until the
-- wall's: until then one sender has it in hand. tries counts since it was made or last sent again on request.
CREATE TABLE gateway.webhook_delivery (
  delivery_no  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  endpoint_no  int NOT NULL REFERENCES gateway.webhook_endpoint,
  event_no     bigint NOT NULL REFERENCES gateway.webhook_event,
  sequence     bigint NOT NULL CHECK (sequence >= 1),
  state        text NOT NULL DEFAULT 'WAITING' CHECK (state IN ('WAITING', 'DELIVERED', 'FAILED')),
  tries        int NOT NULL DEFAULT 0 CHECK (tries >= 0),
  attempts     int NOT NULL DEFAULT 0 CHECK (attempts >= tries),
  next_at      timestamptz,
  leased_until timestamptz,
  CHECK ((state = 'WAITING') = (next_at IS NOT NULL)),
  UNIQUE (endpoint_no, sequence),
  UNIQUE (event_no, endpoint_no)
);
CREATE INDEX webhook_delivery_waiting ON gateway.webhook_delivery (endpoint_no, next_at) WHERE state = 'WAITING';
CREATE INDEX webhook_delivery_latest ON gateway.webhook_delivery (endpoint_no, delivery_no);
CREATE INDEX webhook_delivery_failed ON gateway.webhook_delivery (endpoint_no, sequence) WHERE state = 'FAILED';

-- What became of each sending: the status, or why there was none; the beginning of the answer, redacted. Never changed.
CREATE TABLE gateway.webhook_attempt (
  delivery_no bigint NOT NULL REFERENCES gateway.webhook_delivery ON DELETE CASCADE,
  attempt_no  int NOT NULL CHECK (attempt_no >= 1),
  at          timestamptz NOT NULL,         -- business instant
  sent_at     timestamptz NOT NULL,         -- wall instant
  took_ms     int NOT NULL CHECK (took_ms >= 0),
  request_id  text NOT NULL CHECK (request_id ~ '^[A-Za-z0-9._-]{8,64}$'),
  status      smallint CHECK (status BETWEEN 100 AND 599),
  error       text CHECK (error ~ '^[A-Z_]{2,40}$'),
  answer      text NOT NULL CHECK (length(answer) <= 500),
  CHECK ((status IS NULL) = (error IS NOT NULL)),
  PRIMARY KEY (delivery_no, attempt_no)
);

-- How far the journal was read for events, and up to which business instant the rest was looked through.
CREATE TABLE gateway.webhook_position (
  id        smallint PRIMARY KEY CHECK (id = 1),
  xid       xid8 NOT NULL,
  looked_at timestamptz
);
INSERT INTO gateway.webhook_position
SELECT 1, (coalesce((SELECT max(xid) FROM ledger.journal), '0'::xid8)::text::bigint + 1)::text::xid8, NULL;

GRANT SELECT, INSERT ON gateway.webhook_endpoint TO tessera_app;
GRANT UPDATE (url, description, types, status, reason, sequence, failures, failing_since, rests_until, tried_at)
  ON gateway.webhook_endpoint TO tessera_app;
GRANT SELECT, INSERT, DELETE ON gateway.webhook_secret, gateway.webhook_event, gateway.webhook_delivery TO tessera_app;
GRANT UPDATE (ends_at) ON gateway.webhook_secret TO tessera_app;
GRANT UPDATE (state, tries, attempts, next_at, leased_until) ON gateway.webhook_delivery TO tessera_app;
GRANT SELECT, INSERT ON gateway.webhook_attempt TO tessera_app;
GRANT SELECT ON gateway.webhook_position TO tessera_app;
GRANT UPDATE (xid, looked_at) ON gateway.webhook_position TO tessera_app;
