"""People of the demonstration who can sign in, one for each kind of page, and the lines that tell how.

Their codes lie in the sandbox's mailbox, because a demonstration writes to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.demo.coalition import CHECKER, MAKER, Tills, address_of
from gateway.demo.report import SHOWN_PARTNER, Shopper
from gateway.messages import notices
from gateway.messages.notices import Sender
from gateway.sessions import colleagues, staff
from gateway.sessions.people import PREFIXES
from kit import actors
from kit.database import Database
from kit.secrets import Vault
from members.messages import COLLEAGUE, MEMBER, STAFF
from partners.directory import DirectoryCache, Partner

OPERATOR = "demo-operator"
SITE = "example.org"


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who somebody is, of which audience, the address that they sign in with, and the page they come to."""

    who: str
    audience: str
    address: str
    page: str

    def link(self, site: str) -> str:
        """Where they sign in; the address stands there already."""
        return f"{site}{PREFIXES[self.audience]}/sign-in?{urlencode({'next': self.page, 'address': self.address})}"


_STAFF: Sequence[tuple[str, str, str]] = (
    ("finance, who proposes", MAKER, "/console"),
    ("finance, who approves", CHECKER, "/console"),
    ("operator", OPERATOR, "/console"),
)
_COLLEAGUES: Sequence[tuple[str, str, str]] = (
    ("cashier", colleagues.CASHIER, "/portal/till"),
    ("partner's manager", colleagues.MANAGER, "/portal"),
    ("partner's developer", colleagues.DEVELOPER, "/portal"),
)


async def let_in(database: Database, vault: Vault, site: str, *, now: datetime) -> None:
    """Let one of each kind of the operator's and of a partner's people sign in, who could not yet."""
    directory = await DirectoryCache(database.pool, vault).get()
    partner = directory.partner_by_code(SHOWN_PARTNER)
    assert partner is not None
    async with database.transaction() as connection:
        sender = await notices.sender_of(connection, site)
        by = await actors.ensure_actor(connection, OPERATOR, [actors.OPERATOR_ADMIN, actors.ONBOARDING])
        for _, name, _ in _STAFF:
            await _let_staff_in(connection, vault, sender, name, now)
        for _, role, _ in sorted(_COLLEAGUES, key=lambda one: one[1] != colleagues.MANAGER):  # the manager first
            await _let_colleague_in(connection, vault, sender, partner, role, by, now)


def sign_ins(tills: Tills, shopper: Shopper) -> list[SignIn]:
    """How each kind of people signs in; the member is the one whom the report's commands are about."""
    household = next(number for number, card in tills.cards.items() if card.number == shopper.card.number)
    return [
        SignIn("member", MEMBER, address_of(household), "/app"),
        *(SignIn(who, COLLEAGUE, _address(role.lower()), page) for who, role, page in _COLLEAGUES),
        *(SignIn(who, STAFF, _address(name), page) for who, name, page in _STAFF),
    ]


def told(found: Sequence[SignIn], site: str) -> str:
    """Who signs in where, a line each that a terminal may be clicked at."""
    lines = [f"Sign in as any of these; the code that is asked for lies in {site}/mailbox:", ""]
    return "\n".join([*lines, *(f"{one.who:<22} {one.link(site)}" for one in found)])


async def _let_staff_in(connection: AsyncConnection, vault: Vault, sender: Sender, name: str, now: datetime) -> None:
    if await staff.find(connection, vault, _address(name)) is None:
        await staff.invite(
            connection, vault, sender, name=name, email=_address(name), language="en", by=OPERATOR, now=now
        )


async def _let_colleague_in(
    connection: AsyncConnection, vault: Vault, sender: Sender, partner: Partner, role: str, by: int, now: datetime
) -> None:
    address = _address(role.lower())
    if await colleagues.find(connection, vault, address) is None:
        name = _NAMES[role]
        await colleagues.invite(
            connection, vault, sender, partner, name=name, roles=[role], email=address, language="en", by=by, now=now
        )


_NAMES: Mapping[str, str] = {
    colleagues.CASHIER: "Kim at the till", colleagues.MANAGER: "Mia the manager", colleagues.DEVELOPER: "Dev",
}  # fmt: skip


def _address(name: str) -> str:
    return f"{name}@{SITE}"
