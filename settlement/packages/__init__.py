"""SIGNED PACKAGES: a statement with all it was made of, which its partner recomputes without us."""
