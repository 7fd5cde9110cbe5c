"""A coalition with promotions for tests: budgets, rules and releases in a few words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from kit import actors
from kit.database import Database
from kit.secrets import Vault
from members.cards import IssuedCard
from members.identification import Identified
from partners import callers
from partners.decisions import deciding
from partners.decisions.prepared import Prepared
from partners.desk import Desk
from partners.outcomes import Recorded
from partners.promotions import budgets, publishing, store
from partners.promotions.publishing import Change
from partners.purchases import purchases
from partners.receipts.receipts import Receipt
from partners.receipts.records import ProofUse
from tests.builders import DAY, NOON, Coalition, identified
from tests.founded import met
from tests.partners.promotions.offers import document, texts

EARLIER = NOON - 30 * DAY
TABLES = (
    "partners.receipt", "partners.receipt_claim", "partners.budget_counter", "partners.budget_charge",
    "partners.clearing_event", "ledger.journal", "ledger.lot", "ledger.posting",
)  # fmt: skip


@dataclass
class Market:
    """A coalition and the two people who publish rules in it."""

    coalition: Coalition
    maker: int
    checker: int

    @property
    def desk(self) -> Desk:
        return self.coalition.desk

    async def budget(self, code: str, *, currency: str | None = None, sponsor_id: int = 0, **given: Any) -> None:
        """A budget of points, unless said otherwise."""
        source = {"code": code, "unit": "points", "limit": 1_000_000, **given}
        async with self.coalition.database.transaction() as connection:
            await budgets.add(
                connection, source=source, sponsor_id=sponsor_id, actor=self.maker, at=EARLIER, currency=currency
            )

    async def publish(
        self, *rules: Mapping[str, Any], effective_from: datetime = EARLIER, without: Collection[str] = (), at: datetime = EARLIER,
        groups: list[dict[str, Any]] | None = None,
    ) -> int:  # fmt: skip
        """A release of rules on the last one, drafted, submitted and approved."""
        async with self.coalition.database.transaction() as connection:
            for source in rules:
                await publishing.draft(connection, source=source, author=self.maker, at=at)
            change = Change({str(source["code"]): None for source in rules}, tuple(without), groups)
            release_id = await publishing.submit(
                connection, change, effective_from=effective_from, maker=self.maker, at=at
            )
            await publishing.approve(connection, release_id, checker=self.checker, at=at)
        await self.desk.directory.refresh()
        return release_id

    async def decide(
        self, card: IssuedCard, receipt: Receipt, *, partner: str = "bakery", spend: int = 0, tier: str = "BASE",
        at: datetime | None = None, member: Identified | None = None, is_quote: bool = False,
    ) -> Prepared:  # fmt: skip
        """A purchase decided by what is in force."""
        caller = self.coalition.callers[partner]
        return await deciding.decide(
            self.desk, await self.desk.directory.get(), caller, member or identified(card, tier), receipt,
            at=at or receipt.occurred_at + timedelta(seconds=5), redeem_points=spend, is_quote=is_quote,
            idem_key=callers.idem_key_of(caller, "recordPurchase", receipt.reference),
        )  # fmt: skip

    async def buy(self, card: IssuedCard, receipt: Receipt, *, spend: int = 0, **given: Any) -> Recorded:
        """A purchase decided and recorded."""
        prepared = await self.decide(card, receipt, spend=spend, **given)
        if spend:
            return await purchases.purchase(self.desk, prepared, redeem_points=spend, use=ProofUse())
        return await purchases.accrue(self.desk, prepared)

    async def used(self, code: str) -> dict[tuple[str, str], int]:
        """What is used of a budget, by scope and period."""
        async with self.coalition.database.reading() as connection:
            return {(one.scope_key, one.period_key): one.used for one in await budgets.usage(connection, code)}

    async def violations(self) -> list[Any]:
        """What the audits find; must be nothing."""
        async with self.coalition.database.reading() as connection:
            found: list[Any] = [dict(row) for row in await store.audit(connection)]
        return found + await self.desk.pool.fetch("SELECT * FROM ledger.audit()")

    async def rows(self) -> dict[str, int]:
        """How many rows the tables hold that a purchase writes to."""
        return {table: await self.desk.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def open_market(coalition: Coalition) -> Market:
    """The people of promotions, and the promotion "test" of the operator's."""
    async with coalition.database.transaction() as connection:
        maker = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        checker = await actors.ensure_actor(connection, "publisher", [actors.PROMOTION_CHECKER])
        await publishing.add_promotion(connection, code="test", names=texts(), sponsor_id=0, actor=maker, at=EARLIER)
    return Market(coalition, maker, checker)


async def met_market(database: Database, vault: Vault) -> Market:
    """The market that is open in a database already."""
    coalition = await met(database, vault)
    async with database.reading() as connection:
        maker, checker = [await actors.by_name(connection, name) for name in ("marketer", "publisher")]
    return Market(coalition, maker, checker)


def bonus(code: str, points: int, **given: Any) -> dict[str, Any]:
    """A rule that gives so many points a basket; who pays is given, else the partner itself."""
    return document(code, {"type": "points_fixed", "points": points}, **given)


def late(receipt: Receipt, days: int) -> Receipt:
    """The same receipt some days later."""
    at = receipt.occurred_at + days * DAY
    return replace(receipt, occurred_at=at, business_date=at.date())
