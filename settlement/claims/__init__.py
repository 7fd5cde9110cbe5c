"""CLAIMS TO MISSING POINTS: a member shows a receipt, its partner answers in time or pays, nothing is earned twice."""
