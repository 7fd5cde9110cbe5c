"""WHO CHARGES MEMBERS: adapters of payment providers, and which one is at work."""
