"""The OAuth 2 server: client credentials on Authlib, keys, access tokens."""
