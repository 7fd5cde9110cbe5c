INSERT INTO ledger.account_kind VALUES (14, 'TRANSFERRED', 'COUNTER'), (15, 'ADJUSTED', 'COUNTER');
INSERT INTO ledger.entry_kind VALUES
  (14, 'TRANSFER_OUT'), (15, 'TRANSFER_IN'), (16, 'TRANSFER_BACK'), (17, 'ADJUSTMENT');

-- A closed account takes no transfer. What it has stays, falls due and can be returned as before.
ALTER TABLE ledger.account ADD closed boolean NOT NULL DEFAULT false;

-- Of a lot that came by a transfer: the lot that was earned, and whose it was. None where it was earned here.
ALTER TABLE ledger.lot
  ADD contributor_id bigint,
  ADD contributor_seq bigint,
  ADD contributor_lot_no smallint,
  ADD CHECK ((contributor_id IS NULL) = (contributor_seq IS NULL)
             AND (contributor_id IS NULL) = (contributor_lot_no IS NULL));

-- What is on its way from one holder to another, written with the entry that took it out (number seq, whose postings say
-- the lots) and closed when the other half is recorded.
CREATE TABLE ledger.transfer (
  holder_id         bigint NOT NULL,     -- the sender
  seq               bigint NOT NULL,
  receiver_id       bigint NOT NULL,
  amount            bigint NOT NULL CHECK (amount > 0),
  sent_at           timestamptz NOT NULL,
  settled_seq       bigint,              -- entry of the second half: the receiver's, or the sender's where it came back
  expires           timestamptz[] NOT NULL,   -- of the points, by leg: a refund may move the lot's own later
  unit              smallint NOT NULL,
  state             smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),  -- 0 on its way, 1 arrived, 2 came back
  keeps_contributor boolean NOT NULL,
  CHECK (receiver_id <> holder_id),
  CHECK ((state = 0) = (settled_seq IS NULL)),
  PRIMARY KEY (holder_id, unit, seq)
) WITH (fillfactor = 70);
CREATE INDEX transfer_on_its_way ON ledger.transfer (sent_at) WHERE state = 0;
GRANT SELECT, INSERT ON ledger.transfer TO tessera_ledger;
GRANT UPDATE (state, settled_seq) ON ledger.transfer TO tessera_ledger;
GRANT SELECT ON ledger.transfer TO tessera_app;

-- Whether members may give points to each other, and what a household may be.
ALTER TABLE partners.programme
  ADD transfers_enabled boolean NOT NULL DEFAULT false,
  ADD household_size int NOT NULL DEFAULT 6 CHECK (household_size BETWEEN 2 AND 20),
  ADD household_cooling_days int NOT NULL DEFAULT 30 CHECK (household_cooling_days BETWEEN 0 AND 3650);
GRANT UPDATE (transfers_enabled, household_size, household_cooling_days) ON partners.programme TO tessera_app;

-- A household is a holder like a member, and its cards are cards like any other; nobody enrols as one.
ALTER TABLE members.member DROP CONSTRAINT member_status_check;
ALTER TABLE members.member ADD CONSTRAINT member_status_check
  CHECK (status IN ('ANONYMOUS', 'ACTIVE', 'CLOSED', 'HOUSEHOLD'));

-- Joining and leaving, as facts: a member's last one tells. card_id is the household's card that the member got.
CREATE TABLE members.household_move (
  member_id    bigint NOT NULL REFERENCES members.member,
  seq          int NOT NULL CHECK (seq > 0),
  household_id bigint NOT NULL REFERENCES members.member,
  joined       boolean NOT NULL,
  card_id      bigint NOT NULL REFERENCES members.card,
  at           timestamptz NOT NULL,
  CHECK (household_id <> member_id),
  PRIMARY KEY (member_id, seq)
);
CREATE INDEX household_move_household ON members.household_move (household_id, member_id, seq);

-- Whom a member's cards, aliases and numbers stand for: the last row tells, no row is the member. Written by a merge for
-- the member merged and for all who were merged into them before; its end writes what was the case before.
CREATE TABLE members.succession (
  member_id    bigint NOT NULL REFERENCES members.member,
  seq          int NOT NULL CHECK (seq > 0),
  survivor_id  bigint NOT NULL REFERENCES members.member,   -- the member again once a merge has ended
  approval_id  bigint NOT NULL REFERENCES kit.approval,
  at           timestamptz NOT NULL,
  PRIMARY KEY (member_id, seq)
);
CREATE INDEX succession_survivor ON members.succession (survivor_id, member_id);
CREATE INDEX succession_approval ON members.succession (approval_id);
GRANT SELECT, INSERT ON members.household_move, members.succession TO tessera_app;

-- What was proposed as an adjustment of somebody's points. Applied or not: kit.approval tells.
CREATE TABLE partners.adjustment (
  approval_id bigint PRIMARY KEY REFERENCES kit.approval,
  holder_id   bigint NOT NULL,
  points      bigint NOT NULL CHECK (points <> 0),          -- above zero given, below taken
  reason      text NOT NULL CHECK (reason ~ '^[A-Z][A-Z_]*$'),
  issuer_id   int REFERENCES partners.partner,              -- of points given: under whose agreement
  funder_id   int,                                          -- and who pays for them; 0 is the operator
  day         date NOT NULL,                                -- the programme's, of the proposal
  CHECK ((points > 0) = (issuer_id IS NOT NULL) AND (points > 0) = (funder_id IS NOT NULL)),
  CHECK (funder_id IN (0, issuer_id))
);
CREATE INDEX adjustment_day ON partners.adjustment (day);
GRANT SELECT, INSERT ON partners.adjustment TO tessera_app;
