"""How the world talks to us: GraphQL, OAuth 2, the landing page, the command line.

The only package that knows the web, and the only one that opens transactions. Imports everything below.
"""
