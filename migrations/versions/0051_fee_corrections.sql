-- Who bears fees that go back when their days are allocated already. A version that was signed before says: the operator.
ALTER TABLE partners.agreement
  ADD fee_return_policy text NOT NULL DEFAULT 'OPERATOR_BEARS'
    CHECK (fee_return_policy IN ('OPERATOR_BEARS', 'DATED_CORRECTION'));
-- What a month takes back of a share of an earlier one, because a credit note took back the fee that it was a share of.
CREATE TABLE settlement.fee_correction (
  month        date NOT NULL,
  currency     text NOT NULL,
  note_no      bigint NOT NULL,
  of_month     date NOT NULL CHECK (of_month < month),
  partner_id   int NOT NULL,
  invoice_no   bigint NOT NULL,
  taken_minor  bigint NOT NULL CHECK (taken_minor > 0),   -- of what of_month recognised of the invoice
  amount_micro bigint NOT NULL CHECK (amount_micro < 0),
  terms_id     int NOT NULL,                              -- the version of of_month's share, which says so
  PRIMARY KEY (note_no, of_month, partner_id),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month,
  FOREIGN KEY (of_month, currency) REFERENCES settlement.fee_month (month, currency)
);
CREATE INDEX fee_correction_month ON settlement.fee_correction (month, currency);
CREATE INDEX fee_correction_of_month ON settlement.fee_correction (of_month, currency);
GRANT SELECT, INSERT ON settlement.fee_correction TO tessera_app;
