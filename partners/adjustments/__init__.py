"""Adjustments: points without a purchase, which people propose or a plan gives."""
