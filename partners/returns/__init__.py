"""Returns: what is left of a purchase, and what is taken back and given back."""
