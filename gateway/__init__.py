"""How the world talks to us: GraphQL, OAuth 2, the landing page, the command line.

The only package that knows the web, and the only one that opens transactions. Imports everything below.

What several audiences share stands at the top: the endpoint and its edge, the schema, types and inputs, and what tills
do. What has one noun has a room: `finance`, `integration`, `membership`, `promotions`, `subscription`, `webhooks` are
of GraphQL; `gate` stands before execution; `oauth` and `sessions` say who asks; `pages` are for people, `messages`
reach them, `wallet` is on their phones; `charging` speaks to payment providers; `demo` shows it all.
"""
