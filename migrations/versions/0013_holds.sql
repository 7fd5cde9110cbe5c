-- How long points may stay set aside under an agreement; nobody holds for longer than 30 days.
ALTER TABLE partners.agreement
  ADD COLUMN hold_minutes int NOT NULL DEFAULT 1440 CHECK (hold_minutes BETWEEN 1 AND 43200);

-- What a partner said when it had points set aside. seq is the journal entry, and the number of the ledger's hold.
CREATE TABLE partners.hold (
  holder_id   bigint NOT NULL,
  seq         bigint NOT NULL,
  claim       uuid NOT NULL,              -- the row of receipt_claim that its key took
  points      bigint NOT NULL CHECK (points > 0),
  at          timestamptz NOT NULL,       -- business instant of placing
  lapses_at   timestamptz NOT NULL CHECK (lapses_at > at),
  card_id     bigint,
  partner_id  int NOT NULL,
  outlet_id   int NOT NULL,
  terminal_id int,
  client_id   int NOT NULL,
  terms_id    int NOT NULL,
  unit        smallint NOT NULL,
  reference   text NOT NULL,              -- the partner's own number of what they are held for
  PRIMARY KEY (holder_id, unit, seq)
);

-- A partner's question to a member, answered in the app: so many points, at this partner, once. Bound to all of it.
CREATE TABLE members.approval (
  member_id   bigint NOT NULL REFERENCES members.member,
  approval_no bigint GENERATED ALWAYS AS IDENTITY,
  points      bigint NOT NULL CHECK (points > 0),
  asked_at    timestamptz NOT NULL,
  expires_at  timestamptz NOT NULL CHECK (expires_at > asked_at),
  idem_key    uuid NOT NULL UNIQUE,
  fingerprint uuid NOT NULL,
  partner_id  int NOT NULL,
  outlet_id   int NOT NULL,
  PRIMARY KEY (member_id, approval_no)
);
CREATE TABLE members.approval_decision (
  member_id   bigint NOT NULL,
  approval_no bigint NOT NULL,
  approved    boolean NOT NULL,
  decided_at  timestamptz NOT NULL,
  PRIMARY KEY (member_id, approval_no),
  FOREIGN KEY (member_id, approval_no) REFERENCES members.approval
);
CREATE TABLE members.approval_use (
  member_id   bigint NOT NULL,
  approval_no bigint NOT NULL,
  used_at     timestamptz NOT NULL,
  PRIMARY KEY (member_id, approval_no),
  FOREIGN KEY (member_id, approval_no) REFERENCES members.approval
);

-- Enrolments that a partner asked for, by key. The fingerprint is a keyed hash of what was told about a person, and
-- goes when they are forgotten.
CREATE TABLE members.enrolment (
  idem_key    uuid PRIMARY KEY,
  fingerprint uuid,
  member_id   bigint REFERENCES members.member,   -- none while it is being written
  card_id     bigint REFERENCES members.card,
  partner_id  int NOT NULL,
  at          timestamptz NOT NULL,
  CHECK ((member_id IS NULL) = (card_id IS NULL))
);
CREATE INDEX enrolment_member ON members.enrolment (member_id);

-- Wrong guesses, counted within a window of the wall clock that begins with the first: cards that do not exist, by
-- terminal or by client where none is named; wrong rotating codes, by card.
CREATE TABLE members.guess (
  kind     text NOT NULL CHECK (kind IN ('TERMINAL', 'CLIENT', 'CODE')),
  subject  bigint NOT NULL,
  began_at timestamptz NOT NULL,
  wrong    int NOT NULL CHECK (wrong BETWEEN 1 AND 1000000),
  PRIMARY KEY (kind, subject)
) WITH (fillfactor = 70);

GRANT SELECT, INSERT ON partners.hold, members.approval, members.approval_decision, members.approval_use,
  members.enrolment, members.guess TO tessera_app;
GRANT UPDATE (fingerprint, member_id, card_id) ON members.enrolment TO tessera_app;
GRANT UPDATE (began_at, wrong) ON members.guess TO tessera_app;
