"""The port of a channel: a way to reach somebody. `sending` has e-mail, `sms` text messages."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from members.messages import Words

PATIENCE_SECONDS = 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class NotTaken(Exception):  # noqa: N818 - an answer of the channel, not a defect
    """A channel did not take a message. is_final: it never will. evidence is a code without words."""

    def __init__(self, evidence: str, *, is_final: bool) -> None:
        super().__init__(evidence)
        self.evidence = evidence
        self.is_final = is_final


class Channel(Protocol):
    """A way to reach somebody. send returns the channel's own receipt and raises NotTaken."""

    async def send(self, message_id: UUID, words: Words, *, now: datetime) -> str: ...
