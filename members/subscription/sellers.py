"""Who sells the plans: the legal entity that stands on invoices, by versions. None is ever edited."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import FieldProblem, Rejection
from members.subscription import plan_store

_LONGEST = 200


class SellerUnknown(Rejection):
    """Nobody has said yet who sells the plans, so that there is no invoice on paper."""

    code = "SELLER_UNKNOWN"
    retryable = True


class SellerInvalid(Rejection):
    """A seller that cannot be; `problems` says what of it."""

    code = "SELLER_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Seller:
    """A legal entity: its name and address, its number in the register of companies and for VAT, and where a payment
    goes where nobody is charged: the bank's name and the account. Only name and address have to be there."""

    name: str
    address: str
    registration: str = ""
    tax_id: str = ""
    bank: str = ""
    account: str = ""


async def publish(
    connection: AsyncConnection, seller: Seller, *, valid_from: datetime, actor: str, at: datetime
) -> int:
    """The next version of the seller, from an instant on, on behalf of a FINANCE_MAKER; its number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, SELLER_INVALID.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    said = {name: value.strip() for name, value in asdict(seller).items()}
    problems = [
        FieldProblem((name,), "INVALID", f"at most {_LONGEST} characters, of name and address at least one")
        for name, value in said.items()
        if len(value) > _LONGEST or (not value and name in ("name", "address"))
    ]
    if problems or valid_from < at:
        raise SellerInvalid("a seller has a name and an address, and holds from now on at the earliest",
                            problems=problems)  # fmt: skip
    version = await plan_store.insert_seller(connection, {**said, "valid_from": valid_from})
    if version is None:
        raise SellerInvalid("a later version of the seller was published already")
    detail = {"version": version, "name": said["name"]}
    await audit.write(connection, actor=actor, action="SELLER_PUBLISHED", subject="seller", detail=detail, at=at)
    return version


async def at_issue(connection: AsyncConnection, issued_at: datetime) -> Seller:
    """The seller of an invoice that was issued at an instant: the version that held then; of one that is older than
    all versions the first. Rejects SELLER_UNKNOWN."""
    row = await plan_store.seller_at(connection, issued_at)
    if row is None:
        raise SellerUnknown("nobody has said who sells the plans")
    return Seller(**row._mapping)
