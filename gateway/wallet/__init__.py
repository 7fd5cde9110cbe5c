"""Passes for wallets: what a phone's own wallet shows of a card.

A pass bears a card's number, with which points are earned; spending takes a proof that no pass has. What it says of the
balance was so when it was made, and it says when that was.
"""
