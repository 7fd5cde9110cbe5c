INSERT INTO ledger.account_kind VALUES (19, 'FORGIVEN', 'COUNTER');
INSERT INTO ledger.entry_kind VALUES (12, 'REPAYMENT');

-- What a return could not take from the lots of its accrual, per lot: owed by the holder, or forgiven. The postings of
-- the entries that it names say the same; this finds what is still owed without reading them.
CREATE TABLE ledger.shortfall (
  holder_id  bigint NOT NULL,
  lot_seq    bigint NOT NULL,
  seq        bigint NOT NULL,            -- the return
  owed       bigint NOT NULL CHECK (owed >= 0),
  repaid     bigint NOT NULL DEFAULT 0,  -- of what is owed, by points that became available or were so already
  forgiven   bigint NOT NULL CHECK (forgiven >= 0),
  issuer_id  int NOT NULL,               -- of the lot that fell short, as its terms
  terms_id   int NOT NULL,
  unit       smallint NOT NULL,
  lot_no     smallint NOT NULL,
  CHECK (repaid BETWEEN 0 AND owed),
  CHECK (owed + forgiven > 0),
  PRIMARY KEY (holder_id, unit, lot_seq, lot_no, seq)
);
CREATE INDEX shortfall_owed ON ledger.shortfall (holder_id, unit, seq, lot_no) WHERE repaid < owed;
-- Almost nobody owes anything: who does is found in an almost empty index.
CREATE INDEX account_owing ON ledger.account (holder_id, unit) WHERE debt > 0;

-- A holder was told that a lot will expire. Once is enough.
CREATE TABLE ledger.expiry_notice (
  holder_id  bigint NOT NULL,
  seq        bigint NOT NULL,
  noticed_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,       -- when the lot expires, now that this was told
  unit       smallint NOT NULL,
  lot_no     smallint NOT NULL,
  PRIMARY KEY (holder_id, unit, seq, lot_no)
);
-- How many days before a lot expires its holder must have been told; 0 where nobody needs to be.
ALTER TABLE ledger.unit ADD notice_days smallint NOT NULL DEFAULT 0 CHECK (notice_days BETWEEN 0 AND 365);

GRANT SELECT, INSERT ON ledger.shortfall TO tessera_ledger;
GRANT UPDATE (repaid) ON ledger.shortfall TO tessera_ledger;
GRANT SELECT, INSERT ON ledger.expiry_notice TO tessera_ledger;
GRANT UPDATE (notice_days) ON ledger.unit TO tessera_ledger;
GRANT SELECT ON ledger.shortfall, ledger.expiry_notice TO tessera_app;

ALTER TABLE partners.agreement
  DROP CONSTRAINT agreement_return_policy_check,
  ADD CONSTRAINT agreement_return_policy_check
    CHECK (return_policy IN ('ISSUER_BEARS', 'REFUND_DEDUCTION', 'MEMBER_DEBT'));
ALTER TABLE partners.programme ADD notice_days int NOT NULL DEFAULT 0 CHECK (notice_days BETWEEN 0 AND 365);
