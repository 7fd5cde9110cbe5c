"""What partners do: agreements, earning, purchases, redemption, returns.

Imports `members`, `ledger` and `kit`; never knows that settlement exists. Owns the words partner, outlet,
terminal, agreement, terms, receipt, line, award.
"""
