"""Cookies of the pages: the session, the token that a code is entered with, and what a browser is recognised by.

Over https they carry the prefix __Host-, which browsers give to this host alone. Over http, which the gateway serves on
this machine only, browsers would not keep such a cookie: there the names begin with sandbox- instead. A script reads
none of them, and what another site makes a browser send carries none but for following a link.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from gateway.sessions.session import LIVES

ENTRY_LIFE = timedelta(hours=1)
KNOWN_LIFE = timedelta(days=365)
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Jar:
    """The cookies of an audience under a public address."""

    audience: str
    is_https: bool

    def session(self, request: Request) -> str | None:
        """The session's token, where the browser has one."""
        return self._get(request, "session")

    def entry(self, request: Request) -> str | None:
        """The token that a code or passkey is entered with."""
        return self._get(request, "entry")

    def known(self, request: Request) -> str | None:
        """What this browser is recognised by."""
        return self._get(request, "known")

    def keep_session(self, response: Response, token: str) -> None:
        """Sign the browser in: the entry token is spent."""
        self._set(response, "session", token, LIVES[self.audience].absolute)
        self._drop(response, "entry")

    def keep_entry(self, response: Response, token: str) -> None:
        """Give the browser a token to enter a code with."""
        self._set(response, "entry", token, ENTRY_LIFE)

    def keep_known(self, response: Response, mark: str) -> None:
        """Recognise the browser from now on."""
        self._set(response, "known", mark, KNOWN_LIFE)

    def drop_session(self, response: Response) -> None:
        """Sign the browser out."""
        self._drop(response, "session")

    def _name(self, what: str) -> str:
        return f"{'__Host-' if self.is_https else 'sandbox-'}{self.audience.lower()}-{what}"

    def _get(self, request: Request, what: str) -> str | None:
        value = request.cookies.get(self._name(what))
        return value if value and len(value) <= _LONGEST else None

    def _set(self, response: Response, what: str, value: str, life: timedelta) -> None:
        response.set_cookie(
            self._name(what), value, max_age=int(life.total_seconds()), path="/", secure=self.is_https,
            httponly=True, samesite="lax",
        )  # fmt: skip

    def _drop(self, response: Response, what: str) -> None:
        response.delete_cookie(self._name(what), path="/", secure=self.is_https, httponly=True, samesite="lax")


def jar_of(request: Request, audience: str) -> Jar:
    """The cookies of an audience, as this gateway's address demands them."""
    return Jar(audience, request.app.state.oauth.issuer.startswith("https://"))
