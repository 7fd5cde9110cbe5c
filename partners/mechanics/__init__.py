"""The mechanics around rules: the facts that rules look at, and what rules grant, from stamps to rewards."""
