-- Entries of a cut-off are found by the transactions that its tallies name, and its postings by an index of their own. This
-- one was opened for every entry, for 10,000 instructions of an accrual's 600,000, and nothing asked it.
DROP INDEX ledger.journal_cutoff;
