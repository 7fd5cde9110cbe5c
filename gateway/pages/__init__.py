"""Pages for people: the member app at /app and the till at /portal/till.

Each page asks named documents of `documents/` through the gateway with the rights of whoever is signed in, and nothing
else; so it can show no more than the API tells them. What a browser loads is in `static/` and `vendor/`, as it is here.
"""
