"""REPORTS OF SETTLEMENT: what finance, auditors and partners read, each number leading to what it was made of."""
