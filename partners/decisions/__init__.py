"""Decisions: what a purchase earns and what points may pay, by the agreement or by rules, until it is recorded."""
