"""Where the points are: accounts, journal, postings, lots, cut-offs, audit.

The ledger knows holders and units, not loyalty: who owns what, and nothing of cards, shops or receipts.
Imports only `kit`. Owns the words account, holder, unit, journal, posting, lot, cut-off, accrual, redemption,
return, refund, activation, expiry.
"""
