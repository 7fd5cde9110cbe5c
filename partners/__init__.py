"""What partners do: agreements, earning, purchases, redemption, returns.

Imports `members`, `ledger` and `kit`; never knows that settlement exists. Owns the words partner, outlet,
terminal, agreement, terms, receipt, line, award.

Rooms are by noun. What most of them need lies beside them: what was signed, the directory of it, who calls, what is
answered, and the desk with its recording.
"""
