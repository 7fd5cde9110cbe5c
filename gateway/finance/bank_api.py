"""What finance reads over GraphQL of the bank: statements with each payment and what it is for, and where parties are
paid."""

from datetime import date, datetime

import strawberry
from strawberry import Info

from gateway import access, connections
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.calls import DESK
from gateway.finance.reconciliation_types import names
from gateway.inputs import described
from gateway.scalars import CurrencyCode
from gateway.types import Money, money
from settlement.bank import told
from settlement.bank.accounts import BankAccount
from settlement.bank.told import Account, Kept, Told
from settlement.rating import OPERATOR

_MOST_IN_AN_ENTRY = 1 << 32
"""More payments than an entry has: a cursor is the entry's number times this and the payment's."""


@strawberry.type(description="A payment of a statement of the bank.")
class BankPayment:
    entry: int = described("Number of its entry.")
    number: int = described("Its place in the entry.")
    amount: Money = described("How much, positive where it came in.")
    booked_on: date | None = described("The bank's day.")
    party: str | None = described("Who paid or was paid, as the bank calls them.")
    account: str | None = described("Their account, masked.")
    reference: str | None = described("What it says that it is for: a reference, an end-to-end id, or words.")
    return_reason: str | None = described("Why it came back, where it did.")
    state: str = described(
        "MATCHED, SUSPENSE, FEE; or how suspense ended: CREDITED to a partner's next statement, KEPT. More may appear."
    )
    rule: str | None = described("What matched it: END_TO_END, REFERENCE, ACCOUNT, GROUPED, MANUAL.")
    matched: list[str] = described("References of the payments of ours that it is for.")
    suspense_item: int | None = described("Number of the money in suspense that it was.")


@strawberry.type(description="A statement of the bank as it was taken.")
class KeptBankStatement:
    number: int = described("Its number.")
    reference: str = described("What the bank calls it.")
    account: str = described("The account, masked.")
    opened_on: date = described("Its first day.")
    opening: Money = described("What the account opened with.")
    closed_on: date = described("Its last day.")
    closing: Money = described("What the account closed with.")
    payment_count: int = described("How many payments it has.")
    matched_count: int = described("Of them, how many are for payments of ours.")
    suspense_count: int = described("Of them, how many nobody has said of yet what they are for.")
    taken_by: str = described("Who brought it.")
    taken_at: datetime = described("Business instant.")

    @access.field(size=access.paged(), description="Its payments, in the bank's order.")
    async def payments(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[BankPayment]:
        services = info.context.services
        cursors = Cursors(services.vault, f"payments of bank statement {self.number}")
        behind = divmod(cursors.read(after) or 0, _MOST_IN_AN_ENTRY)
        async with services.database.reading() as connection:
            rows = await told.payments(connection, self.number, after=behind, limit=connections.bounded(first) + 1)
        return connections.page(
            rows, first, after=after,
            cursor=lambda row: cursors.write(row.entry_no * _MOST_IN_AN_ENTRY + row.payment_no), node=_payment,
        )  # fmt: skip


@strawberry.type(description="Where a partner, or the operator, is paid.")
class SettlementBankAccount:
    partner_name: str | None = described("Whose it is; null: the operator.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    holder: str = described("Whose name it is in.")
    account: str = described("Its number, masked.")
    bic: str | None = described("The bank (ISO 9362).")
    collects: bool = described("Whether a mandate allows collections; of the operator's, whether it collects.")
    state: str = described("IN_FORCE, COMING, or REPLACED by a later one.")
    valid_from: datetime = described("From when it is used.")


@strawberry.type
class BankQuery:
    @access.query(scopes=DESK, cost=5, size=access.paged(), description="Statements of the bank, the latest first.")
    async def bank_statements(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[KeptBankStatement]:
        services = info.context.services
        cursors = Cursors(services.vault, "bank statement")
        async with services.database.reading() as connection:
            rows = await told.statements(
                connection, before=cursors.read(after), limit=connections.bounded(first) + 1
            )  # fmt: skip
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.bank_statement_id), node=_statement
        )

    @access.query(scopes=DESK, cost=5, description="One statement of the bank. Null where there is none of the number.")
    async def bank_statement(self, info: Info[Context, None], number: int) -> KeptBankStatement | None:
        async with info.context.services.database.reading() as connection:
            rows = await told.statements(connection, before=number + 1, limit=1)
        return _statement(rows[0]) if rows and rows[0].bank_statement_id == number else None

    @access.query(
        scopes=DESK, size=access.paged(), description="Accounts that were approved: by party, the latest first."
    )
    async def bank_accounts(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[SettlementBankAccount]:
        cursors, at = Cursors(info.context.services.vault, "bank account"), await info.context.now()
        begin, called = cursors.read(after) or 0, await names(info.context)
        async with info.context.services.database.reading() as connection:
            found = list(enumerate(await told.accounts(connection, at=at), start=1))
        rows = found[begin : begin + connections.bounded(first) + 1]
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row[0]),
            node=lambda row: _account(row[1], called),
        )  # fmt: skip


def _statement(row: Kept) -> KeptBankStatement:
    return KeptBankStatement(
        number=row.bank_statement_id, reference=row.statement_ref, account=row.account, opened_on=row.opening_on,
        opening=money(row.opening_minor, row.currency), closed_on=row.closing_on,
        closing=money(row.closing_minor, row.currency), payment_count=row.payments, matched_count=row.matched,
        suspense_count=row.in_suspense, taken_by=row.actor, taken_at=row.at,
    )  # fmt: skip


def _payment(row: Told) -> BankPayment:
    account = None if row.party_account is None else BankAccount("", row.party_account).masked
    return BankPayment(
        entry=row.entry_no, number=row.payment_no, amount=money(row.amount_minor, row.currency),
        booked_on=row.booked_on, party=row.party, account=account,
        reference=row.creditor_reference or row.end_to_end_id or row.message, return_reason=row.return_reason,
        state=row.state, rule=row.rule, matched=list(row.references or ()), suspense_item=row.item_id,
    )  # fmt: skip


def _account(row: Account, called: dict[int, str]) -> SettlementBankAccount:
    return SettlementBankAccount(
        partner_name=None if row.party_id == OPERATOR else called.get(row.party_id),
        currency_code=CurrencyCode(row.currency),
        holder=row.holder, account=row.iban, bic=row.bic, collects=row.collects, state=row.state,
        valid_from=row.valid_from,
    )  # fmt: skip
