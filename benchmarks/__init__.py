"""Speed, measured as ratios to pgbench TPC-B in the same run on the same server; see README.md beside this."""
