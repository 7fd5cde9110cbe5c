"""What tests say about the books: a coalition at its tills, its finance people, and what each account came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from kit import actors, approvals
from kit.database import Database
from kit.secrets import Vault
from ledger import cutoffs, transfers
from ledger.transfers import Order
from members.cards import IssuedCard
from partners.adjustments import adjustments
from partners.adjustments.adjustments import AdjustmentDraft
from partners.agreements import agreements
from partners.receipts.receipts import Receipt
from partners.returns import returns
from partners.returns.returning import Wish
from settlement.money import accounts, controls, journal, stock
from settlement.money import cutoffs as money_cutoffs
from settlement.money.events import MoneyEvent
from tests import founded
from tests.builders import DAY, NOON, Coalition, a_receipt, draft, found
from tests.founded import a_template
from tests.partners.purchases.test_purchases import record
from tests.partners.returns.test_returns import give_back


def micro(amount: str) -> int:
    """An amount as people write it, in micro-units."""
    return int(Decimal(amount).scaleb(6))


@dataclass
class Books:
    """A coalition whose finance books each cut-off as it closes."""

    coalition: Coalition
    maker: int
    checker: int

    @property
    def database(self) -> Database:
        return self.coalition.database

    async def partner(self, code: str, **terms: object) -> int:
        """A partner that settles points at once unless told otherwise; its number."""
        caller = await self.coalition.add_partner(code, **{"return_window_days": 0, "bill_share_bp": 10_000, **terms})
        return caller.partner_id

    async def sign(self, code: str, *, after: int, **terms: object) -> int:
        """Another version of a partner's agreement, in force from then on."""
        at = NOON + after * DAY
        wanted = draft(**{"return_window_days": 0, "bill_share_bp": 10_000, "valid_from": at, **terms})
        async with self.database.transaction() as connection:
            terms_id = await agreements.propose(
                connection, partner_id=self.id_of(code), draft=wanted, maker=self.coalition.maker, at=at
            )
            await agreements.approve(connection, terms_id, checker=self.coalition.checker, at=at)
        await self.coalition.desk.directory.refresh()
        return terms_id

    def id_of(self, code: str) -> int:
        return self.coalition.callers[code].partner_id

    async def member(self) -> IssuedCard:
        return await self.coalition.add_member()

    async def earn(self, card: IssuedCard, points: int, partner: str, *, after: int = 0) -> Receipt:
        """A purchase at a till that earns so many points: one for a unit of the currency."""
        receipt = a_receipt(points * 100, at=NOON + after * DAY)
        done = await record(self.coalition, card, receipt, partner=partner, after=after)
        assert done.receipt.awarded_points == points
        return receipt

    async def earn_nothing(self, card: IssuedCard, partner: str, *, after: int = 0) -> Receipt:
        """A purchase where none is earned."""
        receipt = a_receipt(5_000, at=NOON + after * DAY)
        done = await record(self.coalition, card, receipt, partner=partner, after=after)
        assert done.receipt.awarded_points == 0
        return receipt

    async def spend(self, card: IssuedCard, points: int, partner: str, *, after: int = 0) -> Receipt:
        """A purchase that points pay whole, and that therefore earns nothing."""
        receipt = a_receipt(points, at=NOON + after * DAY)
        done = await record(self.coalition, card, receipt, partner=partner, after=after, spend=points)
        assert (done.receipt.redeemed_points, done.receipt.awarded_points) == (points, 0)
        return receipt

    async def take_back(
        self, receipt: Receipt, partner: str, *, amount_minor: int | None = None, after: int = 0, reference: str = ""
    ) -> returns.Returned:
        """A purchase returned, whole or by an amount."""
        wish = Wish() if amount_minor is None else Wish(amount_minor=amount_minor)
        named = {"reference": reference} if reference else {}
        return await give_back(self.coalition, receipt, wish, partner=partner, after=after, **named)  # type: ignore[arg-type]

    async def gift(self, giver: IssuedCard, taker: IssuedCard, points: int, *, after: int = 0) -> None:
        """Points from one member to another, both halves."""
        at = NOON + after * DAY
        order = Order(giver.member_id, taker.member_id, points, keeps_contributor=False)
        async with self.database.transaction() as connection:
            sent = await transfers.send(connection, order, idem_key=uuid4(), fingerprint=uuid4(), at=at, day=at.date())
        await transfers.complete(self.database, sent.sender_id, sent.seq, at=at)

    async def adjust(
        self, card: IssuedCard, points: int, issuer: str | None = None, *, by_issuer: bool = False, after: int = 0
    ) -> None:
        """Points that member care gives or takes."""
        at, given = NOON + after * DAY, AdjustmentDraft(card.member_id, points, "GOODWILL", issuer, by_issuer)
        async with self.database.transaction() as connection:
            maker = await actors.ensure_actor(connection, "mia", [actors.MEMBER_CARE_MAKER])
            checker = await actors.ensure_actor(connection, "carl", [actors.MEMBER_CARE_CHECKER])
            number = await adjustments.propose(connection, given, maker=maker, at=at)
            approval = await approvals.read(connection, number)
            await adjustments.decide(connection, approval, checker=checker, approved=True, at=at)

    async def grant(self, card: IssuedCard, lots: Sequence[tuple[str, int, int]], *, after: int = 0) -> None:
        """One accrual of several lots, each (funder, version, points): what a co-funded promotion grants."""
        at, issuer = NOON + after * DAY, self.id_of(lots[0][0])
        row = await self.database.pool.fetchrow(
            "SELECT * FROM ledger.accrue($1, 1::smallint, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10)",
            card.member_id, issuer, uuid4(), at, [issuer] * len(lots), [self.id_of(code) for code, _, _ in lots],
            [terms_id for _, terms_id, _ in lots], [points for _, _, points in lots], [at] * len(lots),
            [at + 365 * DAY] * len(lots),
        )  # fmt: skip
        assert row["status"] == 0

    async def terms_of(self, code: str) -> int:
        """The number of a partner's latest version."""
        async with self.database.reading() as connection:
            return (await agreements.versions(connection, self.id_of(code)))[-1].terms.terms_id

    # --- finance ------------------------------------------------------------------------------------------------

    async def close(self, *, after: int) -> None:
        """Close the open cut-off and book it."""
        await cutoffs.close(self.database, at=NOON + after * DAY)
        await self.book()

    async def book(self) -> list[journal.Booking]:
        async with self.database.transaction() as connection:
            return await money_cutoffs.book_due(connection, actor="fina")

    async def post(self, source: str, *found: MoneyEvent, after: int = 0) -> journal.Booking:
        async with self.database.transaction() as connection:
            return await journal.post_events(
                connection, source=source, found=found, at=NOON + after * DAY, actor="fina"
            )

    async def hand_over(self, *handovers: stock.Handover, after: int) -> None:
        """Stock that changes hands, proposed and approved."""
        at = NOON + after * DAY
        async with self.database.transaction() as connection:
            number = await stock.propose_transfer(connection, handovers, reason="agreed", maker=self.maker, at=at)
            approval = await approvals.read(connection, number)
            await stock.decide(connection, approval, checker=self.checker, approved=True, at=at)

    async def balances(self, *, at: datetime | None = None, currency: str = "EUR") -> dict[str, int]:
        """What each account comes to, as `1200.a` or `4120`: Dr positive, micro-units."""
        codes = {caller.partner_id: code for code, caller in self.coalition.callers.items()} | {0: "operator"}
        sums: dict[str, int] = {}
        async with self.database.reading() as connection:
            for one in await journal.trial_balance(connection, at=at):
                name = one.account
                if accounts.CHART[name].by_party:
                    name += f".{codes[one.party_id]}"
                if one.currency == currency:
                    sums[name] = sums.get(name, 0) + one.amount_micro
        return {name: amount for name, amount in sums.items() if amount}

    async def moved(self, before: dict[str, int]) -> dict[str, str]:
        """What accounts moved by since, as people write it."""
        now = await self.balances()
        deltas = {name: now.get(name, 0) - before.get(name, 0) for name in sorted({*now, *before})}
        return {name: f"{Decimal(delta).scaleb(-6).normalize():f}" for name, delta in deltas.items() if delta}

    async def violations(self) -> list[str]:
        """What the controls over the books and the ledger's audit find."""
        async with self.database.reading() as connection:
            wrong = await controls.violations(connection)
        rows = await self.database.pool.fetch("SELECT * FROM ledger.audit()")
        return wrong + [f"{row['rule']}: {row['detail']}" for row in rows]


async def opened(database: Database, vault: Vault) -> Books:
    """A coalition with nobody but its people."""
    coalition = await found(database, vault)
    async with database.transaction() as connection:
        maker = await actors.ensure_actor(connection, "fina", [actors.FINANCE_MAKER])
        checker = await actors.ensure_actor(connection, "finn", [actors.FINANCE_CHECKER])
    return Books(coalition, maker, checker)


def some_books(*codes: str) -> Any:
    """A file's own `template`: in each of its databases there are books to be `met`, of partners with usual terms."""

    async def build(database: Database, vault: Vault) -> None:
        made = await opened(database, vault)
        for code in codes:
            await made.partner(code)
        await made.coalition.desk.close()

    return a_template(build)


async def met(database: Database, vault: Vault) -> Books:
    """The books that are in a database already."""
    coalition = await founded.met(database, vault)
    async with database.reading() as connection:
        maker, checker = [await actors.by_name(connection, name) for name in ("fina", "finn")]
    return Books(coalition, maker, checker)


Rows = dict[str, Any]
