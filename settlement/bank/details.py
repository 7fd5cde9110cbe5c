"""Where parties are paid: accounts with a bank, changed by two people, and used only after a time in which whoever was
robbed of a mailbox can still say so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.errors import FieldProblem, Rejection
from settlement.bank import accounts, payment_store
from settlement.bank.accounts import BankAccount, BankAccountInvalid
from settlement.bank.orders import Mandate

APPROVAL = "BANK_ACCOUNT"
COOLING = timedelta(days=5)


class BankAccountMissing(Rejection):
    """Somebody who pays or is paid has no account that is good yet; the message says who."""

    code = "BANK_ACCOUNT_MISSING"
    retryable = True


@dataclass(frozen=True, slots=True)
class Details:
    """An account that a party (0: the operator) has in force in a currency. mandate allows collections from it;
    creditor_id is what the operator collects under."""

    account_id: int
    party_id: int
    currency: str
    account: BankAccount
    mandate: Mandate | None
    creditor_id: str | None
    valid_from: datetime


async def propose(
    connection: AsyncConnection, party_id: int, account: BankAccount, *, currency: str, maker: str, at: datetime,
    mandate: Mandate | None = None, creditor_id: str | None = None,
) -> int:  # fmt: skip
    """Propose where a party is paid from now on, on behalf of a FINANCE_MAKER; the proposal's number.

    account comes from accounts.account, which checked it. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BANK_ACCOUNT_INVALID.
    """
    maker_id = await actors.by_name(connection, maker)
    await actors.require_role(connection, maker_id, actors.FINANCE_MAKER)
    if mandate is not None and not mandate.mandate_id.strip():
        raise BankAccountInvalid("a mandate has a number", problems=[FieldProblem(("mandate",), "REQUIRED", "number")])
    detail = {"party": party_id, "currency": currency, "iban": account.masked, "collects": mandate is not None}
    approval_id = await approvals.propose(
        connection, kind=APPROVAL, subject=f"bank-account of party:{party_id}", detail=detail, maker=maker_id, at=at
    )
    row = {
        "party_id": party_id, "currency": currency, "holder": account.holder, "iban": account.iban, "bic": account.bic,
        "mandate": None if mandate is None else mandate.mandate_id,
        "mandate_signed_on": None if mandate is None else mandate.signed_on, "creditor_id": creditor_id,
        "approval_id": approval_id, "at": at,
    }  # fmt: skip
    await payment_store.insert_account(connection, row)
    return approval_id


async def decide(
    connection: AsyncConnection, approval_id: int, *, approved: bool, checker: str, at: datetime
) -> datetime | None:
    """Decide where a party is paid, on behalf of a FINANCE_CHECKER who did not propose it; from when on it is used.

    The first account of a party is good at once, another one after the cooling time. Rejects what
    kit.approvals.decide rejects, ACTOR_UNKNOWN.
    """
    checker_id = await actors.by_name(connection, checker)
    proposal = await approvals.examine(connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER)
    row = await payment_store.account_of_approval(connection, approval_id)
    if proposal.kind != APPROVAL or row is None:
        raise approvals.ProposalUnknown(f"proposal {approval_id} is about something else: {proposal.subject}")
    await approvals.decide(
        connection, approval_id, checker=checker_id, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    valid_from = None
    if approved:
        is_change = await payment_store.has_account(connection, row.party_id, row.currency)
        valid_from = at + COOLING if is_change else at
        await payment_store.insert_account_use(connection, row.account_id, valid_from=valid_from, at=at)
    action = "BANK_ACCOUNT_APPROVED" if approved else "BANK_ACCOUNT_DECLINED"
    detail = {"currency": row.currency, "iban": proposal.detail["iban"]}
    await audit.write(connection, actor=checker, action=action, subject=f"party:{row.party_id}", detail=detail, at=at)
    return valid_from


async def waiting(connection: AsyncConnection) -> list[Approval]:
    """Accounts that were proposed and not decided."""
    return await approvals.waiting(connection, [APPROVAL])


async def in_force(connection: AsyncConnection, currency: str, *, at: datetime) -> dict[int, Details]:
    """The account of every party in a currency at an instant."""
    found = {}
    for row in await payment_store.accounts_at(connection, at):
        if row.currency == currency:
            signed_on: date | None = row.mandate_signed_on
            mandate = None if signed_on is None else Mandate(row.mandate, signed_on)
            account = accounts.account(row.holder, row.iban, row.bic)
            found[row.party_id] = Details(
                row.account_id, row.party_id, row.currency, account, mandate, row.creditor_id, row.valid_from
            )
    return found
