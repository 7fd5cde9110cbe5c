"""Coupons: what opens a promotion once, whether it is shown as a code or lies with a member."""
