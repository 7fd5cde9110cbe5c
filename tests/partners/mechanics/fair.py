"""Words of the mechanics' tests: a market with mechanics that two people agreed on, and what was written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from kit import approvals
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import lots
from members.cards import IssuedCard
from members.identification import MemberRef
from partners import callers
from partners.calls import Call
from partners.mechanics import facts, registry
from partners.mechanics.registry import Draft
from tests.builders import DAY, NOON, PROGRAMME, Coalition, found
from tests.founded import a_coalition
from tests.partners.promotions.market import EARLIER, Market, met_market, open_market

PARTNERS: dict[str, dict[str, object]] = {"bakery": {"return_window_days": 14}, "grocer": {"return_window_days": 0}}

TABLES = (
    "ledger.journal", "ledger.lot", "ledger.posting", "partners.receipt_claim", "partners.moment", "partners.event_review",
    "partners.coupon", "partners.budget_charge", "members.person_once", "members.badge", "partners.referral",
    "partners.invitation", "partners.reward", "partners.reward_order", "partners.receipt", "partners.mechanic",
)  # fmt: skip


@dataclass
class Fair:
    """A market of a bakery and a grocer, and people who agree on mechanics."""

    market: Market

    @property
    def coalition(self) -> Coalition:
        return self.market.coalition

    async def agree(self, kind: str, code: str, *, valid_from: datetime = EARLIER, **document: Any) -> int | None:
        """A mechanic that one proposed and another approved."""
        draft = Draft(kind, code, document, valid_from)
        async with self.coalition.database.transaction() as connection:
            number = await registry.propose(connection, draft, maker=self.market.maker, at=EARLIER)
            proposal = await approvals.read(connection, number)
            return await registry.decide(connection, proposal, checker=self.market.checker, approved=True, at=EARLIER)

    def call(self, operation: str, key: str, *, partner: str = "bakery", at: datetime = NOON) -> Call:
        caller = self.coalition.callers[partner]
        return Call(caller, callers.idem_key_of(caller, operation, key), at, at)

    def ref(self, card: IssuedCard) -> MemberRef:
        return MemberRef(card_number=card.number)

    async def available(self, card: IssuedCard, at: datetime = NOON) -> int:
        seen = await lots.standing(self.coalition.desk.pool, card.member_id, unit=1, at=at)
        return seen.available if seen else 0

    async def everything(self) -> dict[str, list[str]]:
        async with self.coalition.database.reading() as connection:
            return {
                table: sorted((await connection.execute(text(f"SELECT t::text FROM {table} t"))).scalars())
                for table in TABLES
            }

    async def refused(self, work: Any, expected: type[Rejection]) -> Rejection:
        """The rejection of something that must have written nothing."""
        before = await self.everything()
        with pytest.raises(expected) as caught:
            await work
        assert await self.everything() == before
        return caught.value


def a_fair() -> Any:
    """A file's own `template`: in each of its databases there is a fair to be `met`."""
    return a_coalition(open_market, **PARTNERS)


@asynccontextmanager
async def met(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    """The fair that is in a database already, audited at its end."""
    async with _audited(await met_market(database, vault)) as fair:
        yield fair


@asynccontextmanager
async def opened(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    """A new fair, audited at its end."""
    coalition = await found(database, vault)
    for code, terms in PARTNERS.items():
        await coalition.add_partner(code, **terms)
    async with _audited(await open_market(coalition)) as fair:
        yield fair


@asynccontextmanager
async def _audited(market: Market) -> AsyncIterator[Fair]:
    database = market.coalition.database
    yield Fair(market)
    assert await market.violations() == []
    async with database.reading() as connection:
        assert await facts.audit(connection, PROGRAMME) == []
    await market.desk.close()


__all__ = ["DAY", "EARLIER", "NOON", "Fair", "a_fair", "met", "opened"]
