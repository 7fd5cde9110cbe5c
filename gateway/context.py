"""What a resolver may ask: who calls, the services of the process, the business instant, the language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kit import clock
from kit.database import Database
from kit.secrets import Vault
from kit.settings import Settings

if TYPE_CHECKING:
    from gateway.following import Follower
    from partners.directory import DirectoryCache

LANGUAGES = ("en", "ru", "ro")


class Person(Struct, frozen=True):
    """Who is signed in at a browser: a MEMBER by the member's number, STAFF or a partner's COLLEAGUE by the actor's.

    roles are those held at this moment; session_id is where they are signed in. is_fresh: who they are was proved
    within the last minutes, as money and credentials demand.
    """

    audience: str
    number: int
    name: str
    roles: frozenset[str]
    is_fresh: bool
    session_id: int = 0


@dataclass(frozen=True, slots=True)
class Viewer:
    """The client that calls. partner_id None is the operator's staff, or with a member_id the members' own app.
    terminal_id: the one till that it is; actor_id: the person who allowed it to call, where there is one. person: who
    is signed in where it is a page of ours that calls, in their name.
    """

    client_no: int
    client_id: str
    partner_id: int | None
    scopes: frozenset[str]
    terminal_id: int | None = None
    actor_id: int | None = None
    member_id: int | None = None
    person: Person | None = None

    @property
    def whose(self) -> int:
        """Whose the allowance is among those who call through one client: a person's number, 0 for the client's own."""
        return 0 if self.person is None else self.person.number


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

    async def now(self) -> datetime:
        """The business instant: the wall's, or the row that a sandbox set."""
        if self.settings.clock == "wall":
            return clock.wall()
        return await clock.sandbox_of(self.database.pool)


@dataclass(slots=True)
class Context:
    """One request's view. misses counts the look-ups that found no member; rejected is the last "no" that was told;
    fields are the schema's that the operation selects, as Type.field, once it was let in."""

    viewer: Viewer
    services: Services
    request_id: str
    language: str = LANGUAGES[0]
    misses: int = 0
    rejected: str | None = None
    fields: tuple[str, ...] = ()

    async def now(self) -> datetime:
        """The business instant: the wall's, or the row that a sandbox set."""
        return await self.services.now()


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
