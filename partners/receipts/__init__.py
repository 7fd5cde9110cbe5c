"""Receipts: as a partner reports them, as they are recorded, and how they are found again."""
