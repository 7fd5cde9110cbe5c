"""A till's call: who asks, under which key, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kit.errors import Rejection
from partners import callers
from partners.callers import Caller

_KEY = re.compile(r"[\x21-\x7e]{16,64}")


class IdempotencyKeyInvalid(Rejection):
    """The key must be 16 to 64 visible ASCII characters."""

    code = "IDEMPOTENCY_KEY_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a till: who asks, the idempotency key in its scope, the business instant and the wall's."""

    caller: Caller
    idem_key: UUID
    at: datetime
    wall_at: datetime


def check_key(key: str) -> None:
    """Nothing where a key has the form of one. Raises IdempotencyKeyInvalid."""
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid("the idempotency key must be 16 to 64 visible ASCII characters")


def scoped_key(caller: Caller, operation: str, key: str) -> UUID:
    """The key in its scope. Raises IdempotencyKeyInvalid before anything is looked up."""
    check_key(key)
    return callers.idem_key_of(caller, operation, key)
