"""Subscriptions at the gateway: plans as the programme's people make them, what a member takes and pays, and what time
and payment providers make of it.

A GraphQL subscription, to which somebody listens, is another thing: see `gateway.live_api`.
"""
