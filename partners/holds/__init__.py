"""Holds: points that are set aside for a sale that is not finished."""
