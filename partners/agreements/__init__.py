"""Agreements: the programme that everybody takes part in, who takes part, and what each of them signed."""
