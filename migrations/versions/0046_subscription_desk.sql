-- The partners that took part at a month's end: whose fixed weights counted. Null of months closed before it was kept.
ALTER TABLE settlement.fee_month ADD COLUMN taking_part int[];
-- That whoever owes for a period was written to, once for each step; what became of the letter is with the message.
CREATE TABLE members.arrears_letter (
  holder_id  bigint NOT NULL,
  invoice_no bigint NOT NULL,
  step       text NOT NULL CHECK (step IN ('UNPAID', 'ON_HOLD', 'ENDED')),
  message_id uuid,                       -- null: the member told no address, or wants no letters
  at         timestamptz NOT NULL,
  PRIMARY KEY (holder_id, invoice_no, step),
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
ALTER TABLE members.subscription_due
  DROP CONSTRAINT subscription_due_kind_check,
  ADD CONSTRAINT subscription_due_kind_check
    CHECK (kind IN ('ALLOT', 'ASK', 'CHARGE', 'END', 'EXPIRE', 'NOTICE', 'PERIOD', 'REFUND', 'REMIND', 'RESUME', 'TAKE'));
GRANT SELECT, INSERT ON members.arrears_letter TO tessera_app;
