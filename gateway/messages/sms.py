"""SMS through a provider's HTTP interface: one POST of JSON for each message, and a status that says what became of it.

Every provider takes an id, a number and a text, under names of its own; what stands between ours and a provider that
names them otherwise is a few lines of its gateway's configuration, or of a subclass.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import unquote, urlsplit
from uuid import UUID

import httpx2

from gateway.messages.channels import LOOPBACK, PATIENCE_SECONDS, NotTaken
from members.messages import Words

LONGEST_TEXT = 1_000

# The provider's own state or our account there is the matter, not the message: it is tried again.
_NOT_THE_MESSAGE = frozenset({401, 402, 403, 404, 405, 408, 409, 425, 429})


class BadSmsUrl(ValueError):  # noqa: N818 - it is what it says
    """An address of an SMS provider that is none; the sentence says what to do."""


class Sms:
    """A provider at an https address (http on this machine alone). Raises BadSmsUrl."""

    def __init__(self, url: str, token: str | None = None, *, patience_seconds: int = PATIENCE_SECONDS) -> None:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        try:
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            is_safe, port = False, ""
        if not is_safe or not parts.hostname:
            raise BadSmsUrl("TESSERA_SMS_URL is not an address such as https://sms.example.org/messages")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._url = f"{parts.scheme}://{host}{port}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        self._auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._token = token
        self._patience_seconds = patience_seconds

    async def send(self, message_id: UUID, words: Words, *, now: datetime) -> str:
        """Hand a message over; returns the status as its receipt. Raises NotTaken.

        The provider knows a message that comes again by its id, also as the header Idempotency-Key.
        """
        headers = {"Idempotency-Key": str(message_id), "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        content = {"id": str(message_id), "to": words.to, "text": words.letter.body[:LONGEST_TEXT]}
        try:
            # No redirect is followed and no proxy of the environment asked: the number goes where it was configured to.
            async with httpx2.AsyncClient(auth=self._auth, timeout=self._patience_seconds, trust_env=False) as http:
                answer = await http.post(self._url, json=content, headers=headers)
        except httpx2.HTTPError as away:
            raise NotTaken(type(away).__name__, is_final=False) from None
        status = answer.status_code
        if 200 <= status < 300:
            return f"SMS {status}"
        is_final = 400 <= status < 500 and status not in _NOT_THE_MESSAGE
        raise NotTaken(f"SMS {status}", is_final=is_final)
