"""Windows of settlement: a cut-off in one currency, what was added up in it, and how it got where it is."""
