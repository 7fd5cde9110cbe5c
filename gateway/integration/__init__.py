"""What a partner's developers see of their programs: clients and keys, what was asked and refused and how to mend it.

Also how fast and how well they are answered, and the first steps before they go live.
"""
