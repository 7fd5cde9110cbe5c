"""Purchases: recorded once, in time or late."""
