"""What a resolver may ask: who calls, the services of the process, the business instant, the language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kit import clock
from kit.database import Database
from kit.secrets import Vault
from kit.settings import Settings
from kit.values import quick

if TYPE_CHECKING:
    from gateway.following import Follower
    from partners.directory import DirectoryCache

LANGUAGES = ("en", "ru", "ro")


@quick
@dataclass(frozen=True, slots=True)
class Viewer:
    """The client that calls. partner_id None is the operator's staff, or with a member_id the members' own app.
    terminal_id: the one till that it is; actor_id: the person who allowed it to call, where there is one.
    """

    client_no: int
    client_id: str
    partner_id: int | None
    scopes: frozenset[str]
    terminal_id: int | None = None
    actor_id: int | None = None
    member_id: int | None = None


@dataclass(slots=True)
class Services:
    """What a process has opened once. `lanes` is what the application's `opening` made of the rest; `follower` reads
    the journal for those who listen.
    """

    settings: Settings
    database: Database
    vault: Vault
    directory: DirectoryCache
    lanes: Any = None
    follower: Follower | None = None


@dataclass(slots=True)
class Context:
    """One request's view. misses counts the look-ups that found no member."""

    viewer: Viewer
    services: Services
    request_id: str
    language: str = LANGUAGES[0]
    misses: int = 0

    async def now(self) -> datetime:
        """The business instant: the wall's, or the row that a sandbox set."""
        if self.services.settings.clock == "wall":
            return clock.wall()
        return await clock.sandbox_of(self.services.database.pool)


@lru_cache(maxsize=256)
def language_of(accept_language: str) -> str:
    """The first of our languages by a caller's Accept-Language header; English where none is wanted."""
    best, best_weight = LANGUAGES[0], 0.0
    for part in accept_language[:200].split(","):
        tag, _, weight = part.strip().partition(";q=")
        language = tag.split("-")[0].lower()
        if language in LANGUAGES and (parsed := _weight(weight)) > best_weight:
            best, best_weight = language, parsed
    return best


def _weight(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
