"""A small coalition on a real database: partners with signed terms, and card holders who collect and spend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from kit import actors
from kit.database import Database
from kit.postgres import Server
from ledger import cutoffs
from partners.agreements import programme
from partners.terms import Programme
from settlement import controls, runs
from settlement.archive import Run, Statement
from settlement.netting import Instruction
from settlement.windows import cycle

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)
PRICES = {"fund": 8_500, "service": 1_500, "reimbursement": 8_000}

PROGRAMME = Programme(
    name="Test", time_zone="UTC", base_currency="EUR", languages=("en",), bill_ceiling_bp=10_000,
    refund_grace_days=30, point_value_micro={"EUR": 10_000},
)  # fmt: skip


@dataclass(frozen=True)
class Settled:
    """The runs of all currencies that settled something together."""

    runs: tuple[Run, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        return tuple(statement for run in self.runs for statement in run.statements)

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        return tuple(payment for run in self.runs for payment in run.instructions)

    @property
    def cutoff_ids(self) -> tuple[int, ...]:
        return tuple(sorted({number for run in self.runs for number in run.cutoff_ids}))


class Coalition:
    """What tests say about a coalition, done through the ledger's own functions as the application's role."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.at = START
        self.partners: dict[str, int] = {}

    async def found(self) -> None:
        async with self.database.transaction() as connection:
            self.maker = await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
            self.checker = await actors.ensure_actor(connection, "checker", [actors.FINANCE_CHECKER])
            await programme.found(connection, PROGRAMME)

    async def partner(
        self, code: str, *, key: bytes = bytes(64), currency: str = "EUR", says: dict[str, object] | None = None,
        **prices: int,
    ) -> int:  # fmt: skip
        """A partner with an outlet and one version of terms, whose number it returns."""
        self.partners[code] = await self.database.pool.fetchval(
            "INSERT INTO partners.partner (code, name, status, sealed_id_key, created_at) "
            "VALUES ($1, $2, 'ACTIVE', $3, $4) RETURNING partner_id",
            code, code.title(), key, START,
        )  # fmt: skip
        await self.database.pool.execute(
            "INSERT INTO partners.outlet (partner_id, code, name) VALUES ($1, $2, $2)",
            self.partners[code], f"{code}-1",
        )  # fmt: skip
        return await self.sign(code, currency=currency, says=says, **prices)

    async def sign(
        self, code: str, *, currency: str = "EUR", says: dict[str, object] | None = None,
        valid_from: datetime = START, **prices: int,
    ) -> int:  # fmt: skip
        """Another version of a partner's terms, with what else it says by column; returns its number."""
        price, more = PRICES | prices, {"funding": "POOL"} | (says or {})
        places = ", ".join(f"${n}" for n, _ in enumerate(more, start=11))
        return await self.database.pool.fetchval(
            "WITH a AS (INSERT INTO kit.approval (kind, subject, maker_id, made_at, checker_id, decided_at, approved) "
            "           VALUES ('AGREEMENT', $1, $2, $3, $4, $3, true) RETURNING approval_id) "
            "INSERT INTO partners.agreement (partner_id, version, valid_from, currency, earn_rate_bp, fund_price_micro,"
            "  service_price_micro, reimbursement_price_micro, return_window_days, expiry_months,"
            f"  bill_share_bp, return_policy, approval_id, {', '.join(more)}) "
            "SELECT $5, 1 + (SELECT count(*) FROM partners.agreement WHERE partner_id = $5), $10, $6, 100, $7, $8, $9,"
            f"       0, 12, 5000, 'ISSUER_BEARS', approval_id, {places} FROM a RETURNING terms_id",
            code, self.maker, START, self.checker, self.partners[code], currency,
            price["fund"], price["service"], price["reimbursement"], valid_from, *more.values(),
        )  # fmt: skip

    async def member(self) -> int:
        return await self.database.pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)")

    async def earn(
        self, holder: int, issuer: str, terms: int, points: int, *,
        funder: str | None = None, pending_for: timedelta = timedelta(0), lasts: timedelta = 365 * DAY,
    ) -> int:  # fmt: skip
        """Points earned at a partner, paid for by it or by a funder ("" is the operator); returns the entry's seq."""
        issuer_id = self.partners[issuer]
        funder_id = issuer_id if funder is None else self.partners.get(funder, 0)
        row = await self.database.pool.fetchrow(
            "SELECT * FROM ledger.accrue($1, 1::smallint, $2, $3, $3, $4, ARRAY[$2::int], ARRAY[$5::int],"
            " ARRAY[$6::int], ARRAY[$7::bigint], ARRAY[$8::timestamptz], ARRAY[$9::timestamptz])",
            holder, issuer_id, uuid4(), self.at, funder_id, terms, points,
            self.at + pending_for, self.at + pending_for + lasts,
        )  # fmt: skip
        assert row["status"] == 0
        return row["seq"]

    async def spend(self, holder: int, redeemer: str, terms: int, points: int) -> int | None:
        """Points spent at a partner; returns the entry's seq, or None where there are too few."""
        row = await self.database.pool.fetchrow(
            "SELECT * FROM ledger.redeem($1, 1::smallint, $2, $3, $4, $5, $5, $6, $7)",
            holder, points, self.partners.get(redeemer, 0), terms, uuid4(), self.at, self.at.date(),
        )  # fmt: skip
        return row["seq"] if row["status"] == 0 else None

    async def hold(self, holder: int, redeemer: str, terms: int, points: int) -> int:
        """Points set aside at a partner for a day; returns the entry's seq."""
        row = await self.database.pool.fetchrow(
            "SELECT * FROM ledger.place_hold($1, 1::smallint, $2, $3, $4, $5, $6, $6, $7, $8)",
            holder, points, self.at + DAY, self.partners[redeemer], terms, uuid4(), self.at, self.at.date(),
        )  # fmt: skip
        assert row["status"] == 0
        return row["seq"]

    async def capture(self, holder: int, hold: int, redeemer: str, terms: int, points: int) -> None:
        """Take a part of what is set aside; the rest is free again."""
        row = await self.database.pool.fetchrow(
            "SELECT * FROM ledger.resolve_hold(5::smallint, $1, 1::smallint, $2, $3, $4, $5, $6, $6, $7)",
            holder, hold, points, self.partners[redeemer], terms, uuid4(), self.at,
        )  # fmt: skip
        assert row["status"] == 0

    async def give_back(self, holder: int, accrual: int, points: int, partner: str, *, shortfall: int = 0) -> int:
        """Take back points of an accrual, as many as are there, the rest as told; returns how many were there."""
        row = await self.database.pool.fetchrow(
            "SELECT * FROM ledger.return_accrual($1, 1::smallint, $2, ARRAY[1::smallint], ARRAY[$3::bigint], $4,"
            " $5, $5, $6, $7)",
            holder, accrual, points, self.partners[partner], uuid4(), self.at, shortfall,
        )  # fmt: skip
        assert row["status"] == 0
        return row["taken"]

    async def refund(self, holder: int, redemption: int, points: int, partner: str) -> bool:
        """Give points of a redemption back to the card; False where it has not as many left."""
        row = await self.database.pool.fetchrow(
            "SELECT * FROM ledger.refund_redemption($1, 1::smallint, $2, $3, '30 days', $4, $5, $5, $6)",
            holder, redemption, points, self.partners.get(partner, 0), uuid4(), self.at,
        )  # fmt: skip
        return row["status"] == 0

    async def receipt(
        self, holder: int, seq: int, partner: str, reference: str, *, kind: int = 1, redemption_seq: int | None = None
    ) -> None:
        """The receipt of an entry, as the partner's till recorded it."""
        await self.database.pool.execute(
            "INSERT INTO partners.receipt (holder_id, seq, claim, total, redemption_seq, occurred_at, at, partner_id,"
            "  outlet_id, client_id, terms_id, cutoff_id, business_date, unit, kind, currency, reference, decision) "
            "SELECT $1, $2, $3, 1000, $4, $5, $5, $6, outlet_id, 1, 1, 1, $7, 1, $8, 'EUR', $9, '{}' "
            "FROM partners.outlet WHERE partner_id = $6",
            holder, seq, uuid4(), redemption_seq, self.at, self.partners[partner],
            date(2026, 3, 1), kind, reference,
        )  # fmt: skip

    async def close(self) -> None:
        await cutoffs.close(self.database, at=self.at)

    async def settle(self) -> Settled:
        """Close the open cut-off and settle all that is closed; nothing where all of it is empty."""
        await self.close()
        return await self.settle_closed()

    async def settle_closed(self, *, through_cutoff: int | None = None) -> Settled:
        """Settle what is closed, in every currency."""
        try:
            async with self.database.transaction() as connection:
                done = await runs.settle(connection, actor="maker", at=self.at, through_cutoff=through_cutoff)
        except runs.NothingToSettle:
            done = []
        return Settled(tuple(done))

    async def step(self, use_case: Callable[..., Awaitable[Any]], *args: Any, by: str = "maker", **more: Any) -> Any:
        """One of a run's steps in a transaction of its own, now."""
        async with self.database.transaction() as connection:
            return await use_case(connection, *args, actor=by, at=self.at, **more)

    async def states(self) -> dict[str, str]:
        """The state of every window by its name."""
        async with self.database.reading() as connection:
            return {w.name: w.state for w in await cycle.windows(connection)}

    def of(self, run: Settled, code: str, currency: str = "EUR") -> Statement:
        """A partner's statement in a run; "" is the operator."""
        party = self.partners.get(code, 0)
        [found] = [s for s in run.statements if (s.partner_id, s.currency) == (party, currency)]
        return found

    async def violations(self) -> list[str]:
        """What the ledger's audit and settlement's controls find."""
        async with self.database.reading() as connection:
            found = [f"{v.code} {v.detail}" for v in await controls.run(connection)]
        rows = await self.database.pool.fetch("SELECT * FROM ledger.audit()")
        return found + [f"{row['rule']}: {row['detail']}" for row in rows]

    async def rows(self) -> dict[str, int]:
        """How many rows there are in what settlement writes, and in the trail."""
        tables = (
            "run", "run_step", "run_window", "window", "window_step", "clearing_group", "statement", "line",
            "instruction", "obligation_movement", "issued_statement", "document", "document_line", "booking",
            "money_posting",
        )  # fmt: skip
        counts = {t: await self.database.pool.fetchval(f"SELECT count(*) FROM settlement.{t}") for t in tables}
        return counts | {"audit_trail": await self.database.pool.fetchval("SELECT count(*) FROM kit.audit_trail")}


@pytest.fixture
async def coalition(database: Database) -> Coalition:
    """A coalition without partners yet, and somebody who may settle."""
    founded = Coalition(database)
    await founded.found()
    return founded


@pytest.fixture
async def owner(server: Server, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """The schema's owner, who may change what the application may not."""
    connection = await asyncpg.connect(server.dsn(database_name, server.superuser))
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def coalition_of() -> type[Coalition]:
    """What makes a coalition on a database that the test opened itself."""
    return Coalition
