"""WHAT A FEE BECOMES: recognised day by day, and shared with the partners whose benefits it paid for."""
