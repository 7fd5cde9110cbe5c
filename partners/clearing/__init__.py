"""Clearing: what settlement asks of partners."""
