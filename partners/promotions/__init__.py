"""Promotions: rules that a marketer writes, releases of them, and what a basket gets under a release and why.

Owns the words rule, release, condition, effect, stacking group, budget, coupon, decision, outcome.
"""
