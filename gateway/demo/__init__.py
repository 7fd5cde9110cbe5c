"""The demonstration: a year of real receipts replayed through the running gateway over HTTP.

It uses every package as an operator's own programs would. Nobody imports it but the command line, and the landing
page for its names.
"""
