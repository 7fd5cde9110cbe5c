"""What partners owe each other: rating, netting, runs, statements.

Reads cut-offs of the ledger and terms of the partners; nothing below knows it. Owns the words window, run,
position, net, statement, line, obligation.
"""
