"""What the bank told and where parties are paid, as whoever looks at it reads it: statements, each payment with what it
is for, and accounts by their masked numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.bank import told_store
from settlement.bank.accounts import BankAccount

MATCHED, SUSPENSE, FEE = "MATCHED", "SUSPENSE", "FEE"
IN_FORCE, COMING, REPLACED = "IN_FORCE", "COMING", "REPLACED"


@dataclass(frozen=True, slots=True)
class Kept:
    """A statement that was taken, minor units: how many payments it has, how many of them are for payments of ours,
    and of how many nobody has said yet what they are for."""

    bank_statement_id: int
    statement_ref: str
    iban: str
    currency: str
    opening_minor: int
    opening_on: date
    closing_minor: int
    closing_on: date
    actor: str
    at: datetime
    payments: int
    matched: int
    in_suspense: int

    @property
    def account(self) -> str:
        """Its account, as people may see it."""
        return BankAccount("", self.iban).masked


@dataclass(frozen=True, slots=True)
class Told:
    """A payment of a statement, minor units, in above zero. rule and references say which payments of ours it is for,
    item_id that it was in suspense, and end_kind how that ended, where it did."""

    entry_no: int
    payment_no: int
    amount_minor: int
    currency: str
    booked_on: date | None
    end_to_end_id: str | None
    creditor_reference: str | None
    message: str | None
    party: str | None
    party_account: str | None
    return_reason: str | None
    item_id: int | None
    end_kind: str | None
    rule: str | None
    references: Sequence[str] | None

    @property
    def state(self) -> str:
        """MATCHED, SUSPENSE, how suspense ended, or FEE: the bank's own."""
        if self.rule is not None:
            return MATCHED
        if self.item_id is None:
            return FEE
        return self.end_kind or SUSPENSE


@dataclass(frozen=True, slots=True)
class Account:
    """An account that was approved for a party (0: the operator), and where it stands at an instant."""

    account_id: int
    party_id: int
    currency: str
    holder: str
    iban: str
    bic: str | None
    collects: bool
    valid_from: datetime
    state: str


async def statements(connection: AsyncConnection, *, before: int | None, limit: int) -> list[Kept]:
    """Statements that were taken, the latest first, older than one."""
    return [Kept(**row._mapping) for row in await told_store.statements(connection, before=before, limit=limit)]


async def payments(
    connection: AsyncConnection, bank_statement_id: int, *, after: tuple[int, int] = (0, 0), limit: int
) -> list[Told]:
    """Payments of a statement behind an entry and payment, in the bank's order."""
    rows = await told_store.payments(connection, bank_statement_id, after=after, limit=limit)
    return [Told(**row._mapping) for row in rows]


async def accounts(connection: AsyncConnection, *, at: datetime) -> list[Account]:
    """Every account that was approved, of each party the latest first, as it stands at an instant, numbers masked."""
    found: list[Account] = []
    in_force: set[tuple[int, str]] = set()
    for row in await told_store.accounts(connection):
        place = row.party_id, row.currency
        state = COMING if row.valid_from > at else REPLACED if place in in_force else IN_FORCE
        if state == IN_FORCE:
            in_force.add(place)
        found.append(
            Account(
                row.account_id, row.party_id, row.currency, row.holder, BankAccount(row.holder, row.iban).masked,
                row.bic, row.mandate is not None or row.creditor_id is not None, row.valid_from, state,
            )
        )  # fmt: skip
    return found
