"""Tools without a loyalty word: settings, database, errors, clock, amounts, secrets, actors, command line pieces.

Imports nothing of ours. Owns the words actor, role, approval, audit trail, Rejection.
"""
