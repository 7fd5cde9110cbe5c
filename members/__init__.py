"""Who collects points: enrolment, cards, consents, proofs, tiers.

A member is a holder of the ledger. Imports `ledger` and `kit`; never knows that partners exist beyond a number
that a consent or an alias names. Owns the words member, card, consent, proof, tier.
"""
