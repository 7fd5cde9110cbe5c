"""What partners may come to owe, the caps on it, and what is done when one does not pay."""
