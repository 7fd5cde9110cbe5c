"""The operator's books: accounts, entries, the journal. Read behind cut-offs and runs, never on a purchase's path.

Amounts are integer micro-units of one currency; Dr is positive, Cr negative. Owns the words account, booking, entry.
"""
