-- Two banks may give reports the same number: a report is one of a payment file.
ALTER TABLE settlement.payment_report
  DROP CONSTRAINT payment_report_report_ref_key,
  ADD CONSTRAINT payment_report_once UNIQUE (order_id, report_ref);
-- Whether an entry of a number that a notice told of is in a statement already.
CREATE INDEX bank_entry_reference ON settlement.bank_entry (servicer_reference) WHERE servicer_reference IS NOT NULL;
