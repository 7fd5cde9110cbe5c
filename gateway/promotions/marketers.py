"""Who of the operator's asks about promotions and budgets: signed in, at an instant, each thing once under its key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import person_calls, scopes
from gateway.context import Context, Person, Services
from gateway.person_calls import PersonCall
from gateway.promotions.rule_types import Shown
from members.messages import STAFF
from partners.agreements import onboarding

MARKETERS = (scopes.RULES_EDIT, scopes.RULES_APPROVE)
_OPERATOR = 0

Deed = Callable[[AsyncConnection], Awaitable[None]]
Making = Callable[[AsyncConnection], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Marketer:
    """Somebody of the operator's who is signed in and asks for something now."""

    services: Services
    person: Person
    at: datetime
    language: str

    async def shown(self, *, afresh: bool = False) -> Shown:
        """How promotions are shown to them; afresh: with what was published by this very call."""
        cache = self.services.directory
        directory = await (cache.refresh() if afresh else cache.get())
        return Shown(directory, self.language, None, self.at)

    async def once(self, operation: str, key: str, deed: Deed, *content: str) -> bool:
        """Do something in a transaction, once under its key; whether it was done before."""
        async with self.services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, self.services.vault, self.person, operation, key, *content, at=self.at
            )
            if is_new:
                await deed(connection)
        return not is_new

    async def numbered(self, operation: str, key: str, making: Making, *content: str) -> tuple[int, bool]:
        """Make something that has a number, once under its key: the number, and whether it was made before."""
        call = PersonCall(self.person, operation, key, content, self.at)
        async with self.services.database.transaction() as connection:
            return await person_calls.numbered(connection, self.services.vault, call, lambda: making(connection))


def marketer_of(info: Info[Context, None], at: datetime) -> Marketer:
    """Who of the operator's is signed in. Raises FORBIDDEN where nobody is."""
    person = person_calls.person_of(info.context.viewer, STAFF)
    return Marketer(info.context.services, person, at, info.context.language)


async def party(connection: AsyncConnection, code: str | None) -> int:
    """The number of a partner, of the operator where none is named. Rejects PARTNER_UNKNOWN."""
    return _OPERATOR if code is None else await onboarding.partner_id_of(connection, code)
