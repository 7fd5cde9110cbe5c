"""Small words of the domain for tests: a coalition, a receipt, a member with a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count

import asyncpg

from kit import actors
from kit.database import Database
from kit.secrets import Vault
from members import enrolment
from members.cards import IssuedCard
from members.consents import ConsentGiven
from members.identification import Identified
from partners.agreements import agreements, onboarding, programme
from partners.agreements.agreements import AgreementDraft
from partners.callers import Caller
from partners.desk import Desk
from partners.directory import DirectoryCache
from partners.receipts.receipts import Line, Payment, Receipt
from partners.terms import Programme

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PROGRAMME = Programme("Test coalition", "UTC", "EUR", ("en", "ru", "ro"), 10_000, 30, {"EUR": 10_000, "USD": 10_000})

_references = count(1)


def draft(**changes: object) -> AgreementDraft:
    """Terms as the tests' partners sign them: one per cent, half of the bill, a fortnight's return window."""
    terms: dict[str, object] = {
        "valid_from": NOON - 400 * DAY,
        "currency": "EUR",
        "earn_rate_bp": 100,
        "fund_price_micro": 8_500,
        "service_price_micro": 1_500,
        "reimbursement_price_micro": 8_000,
        "return_window_days": 14,
        "expiry_months": 12,
        "bill_share_bp": 5_000,
    }
    return AgreementDraft(**{**terms, **changes})  # type: ignore[arg-type]


@dataclass
class Coalition:
    """A founded coalition: partners by code with an outlet "1" and a till "1" each, and the desk that serves them."""

    database: Database
    vault: Vault
    desk: Desk
    callers: dict[str, Caller] = field(default_factory=dict)
    maker: int = 0
    checker: int = 0
    onboarder: int = 0

    async def add_partner(self, code: str, **terms: object) -> Caller:
        """A partner with signed terms, one outlet, one till, and a client number of its own."""
        async with self.database.transaction() as connection:
            partner_id = await onboarding.add_partner(
                connection, self.vault, code=code, name=code.title(), actor=self.onboarder, at=NOON
            )
            outlet_id = await onboarding.add_outlet(
                connection, partner_id=partner_id, code="1", name="Main street", actor=self.onboarder, at=NOON
            )
            await onboarding.add_terminal(connection, outlet_id=outlet_id, code="1", actor=self.onboarder, at=NOON)
            terms_id = await agreements.propose(
                connection, partner_id=partner_id, draft=draft(**terms), maker=self.maker, at=NOON
            )
            await agreements.approve(connection, terms_id, checker=self.checker, at=NOON)
        await self.desk.directory.refresh()
        self.callers[code] = Caller(partner_id, 100 + partner_id)
        return self.callers[code]

    async def add_member(self, **personal: str) -> IssuedCard:
        """An enrolled member with one card."""
        async with self.database.transaction() as connection:
            enrolled = await enrolment.enrol(
                connection,
                self.vault,
                enrolled_by=0,
                at=NOON,
                personal=enrolment.Personal(**personal) if personal else None,
                consents=[ConsentGiven("PROGRAMME", "1", NOON)],
                language="en",
            )
        assert enrolled.card is not None
        return enrolled.card


async def found(database: Database, vault: Vault) -> Coalition:
    """A programme with its people, and nothing else."""
    async with database.transaction() as connection:
        await programme.found(connection, PROGRAMME)
        maker = await actors.ensure_actor(connection, "maker", [actors.AGREEMENT_MAKER])
        checker = await actors.ensure_actor(connection, "checker", [actors.AGREEMENT_CHECKER])
        onboarder = await actors.ensure_actor(connection, "onboarder", [actors.ONBOARDING])
    desk = Desk(database, vault, DirectoryCache(database.pool, vault))
    return Coalition(database, vault, desk, maker=maker, checker=checker, onboarder=onboarder)


def identified(card: IssuedCard, tier: str = "BASE") -> Identified:
    """A member as recognised by the number of a card."""
    return Identified(
        member_id=card.member_id, card_id=card.card_id, level="NUMBER", tier=tier, language="en", status="ACTIVE"
    )


def a_receipt(
    total: int = 10_000,
    *,
    lines: Mapping[str, int] | None = None,
    kinds: Mapping[str, str] | None = None,
    at: datetime = NOON,
    reference: str | None = None,
    currency: str = "EUR",
    payments: tuple[Payment, ...] = (),
    terminal: str | None = "1",
    outlet: str = "1",
    on: date | None = None,
) -> Receipt:
    """A receipt of a total in minor units, with lines given as id to amount."""
    return Receipt(
        reference=reference or f"R{next(_references)}",
        outlet=outlet,
        terminal=terminal,
        business_date=on or at.date(),
        occurred_at=at,
        currency=currency,
        total_minor=total if lines is None else sum(lines.values()),
        lines=tuple(
            Line(line_id, (kinds or {}).get(line_id, "GOODS"), amount) for line_id, amount in (lines or {}).items()
        ),
        payments=payments,
    )


async def rows_written(pool: asyncpg.Pool) -> dict[str, int]:
    """How many rows every table that a purchase may write to holds, to see that a refusal wrote nothing."""
    tables = (
        "ledger.journal", "ledger.posting", "ledger.lot", "partners.receipt", "partners.receipt_claim",
        "members.code_use",
    )  # fmt: skip
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


async def violations(pool: asyncpg.Pool) -> list[tuple[object, ...]]:
    """What the ledger's audit finds; must be empty."""
    return [tuple(row) for row in await pool.fetch("SELECT * FROM ledger.audit()")]
