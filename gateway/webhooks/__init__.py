"""Webhooks: what happened at a partner is told to the partner's own systems over HTTP.

`gathering` reads committed facts behind a watermark and writes down what is to be told; `delivering` tells it, signed
(`endpoints` has the secrets), as often as it needs and no further than `addresses` allows.
"""
