-- Providers that charge members: with which means and when an order was given to one, what they told by themselves, and
-- means that members are giving on their pages.

-- Each time an order is given to its provider: by which means, and when by the wall's clock. A provider's own keys are
-- forgotten after a day, so it is asked about those minutes. Beside the attempt, whose rows are the same however a
-- clock went.
CREATE TABLE members.charge_call (
  holder_id  bigint NOT NULL,
  invoice_no bigint NOT NULL,
  attempt_no smallint NOT NULL,
  call_no    smallint NOT NULL CHECK (call_no >= 1),
  means_no   bigint NOT NULL,
  given_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (holder_id, invoice_no, attempt_no, call_no),
  FOREIGN KEY (holder_id, invoice_no, attempt_no) REFERENCES members.charge_attempt,
  FOREIGN KEY (holder_id, means_no) REFERENCES members.payment_means
);

-- What providers told by themselves, each event once, and what of it nobody has looked at yet.
CREATE TABLE members.provider_event (
  provider  text NOT NULL,
  event_id  text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
  kind      text NOT NULL CHECK (kind IN ('PAYMENT', 'CHARGEBACK', 'MEANS')),
  reference text NOT NULL CHECK (length(reference) BETWEEN 1 AND 200),
  heard_at  timestamptz NOT NULL,        -- by the wall's clock
  PRIMARY KEY (provider, event_id)
);
CREATE TABLE members.provider_event_due (
  provider text NOT NULL,
  event_id text NOT NULL,
  due_at   timestamptz NOT NULL,         -- by the wall's clock
  tries    int NOT NULL DEFAULT 0 CHECK (tries >= 0),
  PRIMARY KEY (provider, event_id),
  FOREIGN KEY (provider, event_id) REFERENCES members.provider_event
);
CREATE INDEX provider_event_due_order ON members.provider_event_due (due_at);

-- Means of payment that members are giving on a provider's page, and what came of it.
CREATE TABLE members.means_setup (
  holder_id    bigint NOT NULL,
  setup_no     bigint GENERATED ALWAYS AS IDENTITY,
  provider     text NOT NULL,
  reference    text NOT NULL CHECK (reference <> ''),
  text_version text NOT NULL,            -- of what the member agreed to
  at           timestamptz NOT NULL,
  PRIMARY KEY (holder_id, setup_no),
  UNIQUE (provider, reference)
);
CREATE TABLE members.means_setup_done (
  holder_id bigint NOT NULL,
  setup_no  bigint NOT NULL,
  means_no  bigint NOT NULL,              -- of whom the member is by then
  at        timestamptz NOT NULL,
  PRIMARY KEY (holder_id, setup_no),
  FOREIGN KEY (holder_id, setup_no) REFERENCES members.means_setup
);

GRANT SELECT, INSERT ON members.charge_call, members.provider_event, members.provider_event_due, members.means_setup,
  members.means_setup_done TO tessera_app;
GRANT UPDATE (due_at, tries), DELETE ON members.provider_event_due TO tessera_app;

-- Many renewals at once take what is due of one kind, in its order.
CREATE INDEX subscription_due_kind ON members.subscription_due (kind, due_at, holder_id, subscription_no, about);
