"""OAuth 2: clients with keys or secrets, what people allow them, access tokens signed by our own keys, and their check.

Owns the words client, key and secret of a client, grant, scope, access token, proof, signing key. Every instant here is
the wall clock's.
"""
