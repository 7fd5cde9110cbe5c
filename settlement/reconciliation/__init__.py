"""RECONCILIATION: what partners and banks say beside what we say; every difference is found, named and explained."""
