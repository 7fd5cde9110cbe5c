"""What a member who is signed in reads of their own membership and decides about it.

Nobody reads another's here, and no partner any.
"""
