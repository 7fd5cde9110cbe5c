"""OAuth 2 for machines: clients with secrets, access tokens signed by our own keys, and how they are checked.

Owns the words client, secret, scope, access token, signing key. Every instant here is the wall clock's.
"""
