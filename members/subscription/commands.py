"""`tessera plan`: plans and their prices, and the money of invoices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, TypeVar, cast

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import codes, console
from kit.amounts import decimal_from_minor, minor_from_decimal
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from members.subscription import charging, invoices, offers, plans, sellers
from members.subscription.charging import Receipt
from members.subscription.discounts import Off
from members.subscription.invoices import Invoice
from members.subscription.offers import OfferDraft
from members.subscription.periods import Interval
from members.subscription.plans import PlanDraft
from members.subscription.providers import MANUAL
from members.subscription.sellers import Seller

T = TypeVar("T")
app = typer.Typer(name="plan", help="Plans, their prices, and the money of invoices.", no_args_is_help=True)

Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]
Code = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's code.", show_default=False)]
Amount = Annotated[str, typer.Argument(help="In the currency's own unit, such as 10.00.", show_default=False)]
Number = Annotated[int, typer.Argument(metavar="INVOICE", help="The invoice's number.", min=1, show_default=False)]
Reference = Annotated[str, typer.Option(help="The payment's own reference at the bank.", show_default=False)]
Evidence = Annotated[str, typer.Option(help="What shows it, such as a line of a bank's statement.", show_default=False)]


@app.command()
def add(
    code: Code,
    name: Annotated[list[str], typer.Option("--name", help="A language and a name, en=Plus.", show_default=False)],
    benefit: Annotated[list[str], typer.Option("--benefit", help="Code of a benefit.", show_default=False)],
    seats: Annotated[int, typer.Option(help="Seats beside the owner's.")] = 0,
    trial_days: Annotated[int, typer.Option(help="Days of a trial.")] = 0,
    notice_days: Annotated[int, typer.Option(help="Days before a renewal at which it is announced.")] = 7,
    points: Annotated[int, typer.Option(help="Points for every month that is paid.")] = 0,
    issuer: Annotated[int | None, typer.Option(help="Number of the partner under whose agreement they are.")] = None,
    take_back: Annotated[
        bool, typer.Option("--take-back", help="Take points of days back that are not served.")
    ] = False,
    actor: Actor = None,
) -> None:
    """Add a plan. Takes the role PROMOTION_MAKER."""
    names = dict(one.partition("=")[::2] for one in name)
    draft = PlanDraft(
        code, names, tuple(benefit), seats, trial_days, notice_days, allotment_points=points, allotment_issuer=issuer,
        allotment_on_leaving=plans.TAKE_BACK if take_back else plans.KEEP,
    )  # fmt: skip
    found = _run(lambda connection, at: plans.add(connection, draft, actor=_who(actor), at=at))
    _say(f"Plan {found.code} opens {', '.join(found.benefits) or 'nothing'}. Next: tessera plan price {code}")


@app.command()
def price(
    code: Code, amount: Amount,
    currency: Annotated[str, typer.Argument(help="ISO 4217 code.", show_default=False)],
    interval: Annotated[str, typer.Argument(help="MONTH, QUARTER or YEAR.", show_default=False)],
    tax: Annotated[str, typer.Option(help="The rule of the tax in it.")] = "NONE",
    actor: Actor = None,
) -> None:  # fmt: skip
    """Publish the next version of a price, from now on. Takes the role PROMOTION_MAKER."""
    found = _run(
        lambda connection, at: plans.publish_price(
            connection, plan=code, currency=currency, interval=cast(Interval, interval),
            amount_minor=_minor(amount, currency), tax_code=tax, valid_from=at, actor=_who(actor), at=at,
        )
    )  # fmt: skip
    _say(f"Version {found.version}: {decimal_from_minor(found.amount_minor, currency)} {currency} per {interval}.")


@app.command()
def tax(
    code: Annotated[str, typer.Argument(help="The rule's code.", show_default=False)],
    rate_bp: Annotated[int, typer.Argument(help="Basis points of the amount without it.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Publish the next version of a rule of tax in fees, from now on. Takes the role FINANCE_MAKER."""
    version = _run(
        lambda connection, at: plans.publish_tax(
            connection, code=code, rate_bp=rate_bp, valid_from=at, actor=_who(actor), at=at
        )
    )
    _say(f"Version {version} of {code}: {rate_bp} basis points.")


@app.command()
def seller(
    name: Annotated[str, typer.Argument(help="The legal entity's name.", show_default=False)],
    address: Annotated[str, typer.Argument(help="Its address.", show_default=False)],
    registration: Annotated[str, typer.Option(help="Its number in the register of companies.")] = "",
    tax_id: Annotated[str, typer.Option(help="Its number for VAT.")] = "",
    bank: Annotated[str, typer.Option(help="The bank that payments go to.")] = "",
    account: Annotated[str, typer.Option(help="The account there.")] = "",
    actor: Actor = None,
) -> None:
    """Say who sells the plans, as invoices name it from now on. Takes the role FINANCE_MAKER."""
    said = Seller(name, address, registration, tax_id, bank, account)
    version = _run(lambda connection, at: sellers.publish(connection, said, valid_from=at, actor=_who(actor), at=at))
    _say(f"Version {version} of the seller stands on invoices from now on.")


@app.command()
def offer(
    code: Annotated[str, typer.Argument(metavar="OFFER", help="The offer's own code.", show_default=False)],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Its last day is the one before.")],
    percent: Annotated[str | None, typer.Option(help="What it takes off, such as 50 or 12.5.")] = None,
    amount: Annotated[str | None, typer.Option(help="What it takes off, with its currency: 5.00EUR.")] = None,
    periods: Annotated[int, typer.Option(help="Off how many periods.")] = 1,
    plan: Annotated[str | None, typer.Option(help="Of which plan alone.")] = None,
    interval: Annotated[str | None, typer.Option(help="Of which interval alone: MONTH, QUARTER, YEAR.")] = None,
    only_new: Annotated[bool, typer.Option("--only-new", help="Only for who never had a plan.")] = False,
    most: Annotated[int | None, typer.Option(help="How often it may be used in all.", show_default=False)] = None,
    word: Annotated[str | None, typer.Option(help="A word that many enter; else codes are drawn.")] = None,
    actor: Actor = None,
) -> None:
    """Add an offer for a code: a percentage, an amount, or (neither) free periods. Takes the role PROMOTION_MAKER."""
    currency = None if amount is None else amount[-3:]
    taken_minor = None if amount is None or currency is None else _minor(amount[:-3], currency)
    kind: Off = "PERCENT" if percent is not None else "AMOUNT" if amount is not None else "FREE"

    def draft(at: datetime) -> OfferDraft:
        return OfferDraft(
            code, kind, at, until.replace(tzinfo=UTC), None if percent is None else _basis_points(percent), taken_minor,
            currency, periods, plan, cast(Interval | None, interval), only_new, most, word,
        )  # fmt: skip

    _run(lambda connection, at: offers.add(connection, _vault(), draft(at), actor=_who(actor), at=at))
    _say(f"Offer {code} is there. Next: {'tell the word' if word else f'tessera plan codes {code} 100'}.")


@app.command("codes")
def draw_codes(
    code: Annotated[str, typer.Argument(metavar="OFFER", help="The offer's own code.", show_default=False)],
    count: Annotated[int, typer.Argument(help="How many.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Draw codes of an offer, told here and never again. Takes the role PROMOTION_MAKER."""
    for each in _run(lambda connection, at: offers.draw(connection, _vault(), code, count, actor=_who(actor), at=at)):
        _say(codes.shown(each))


@app.command("stop-offer")
def stop_offer(
    code: Annotated[str, typer.Argument(metavar="OFFER", help="The offer's own code.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Let no code of an offer be used any more; what was used stays. Takes the role PROMOTION_MAKER."""
    _run(lambda connection, at: offers.stop(connection, code, actor=_who(actor), at=at))
    _say(f"Offer {code} is stopped.")


@app.command()
def receive(number: Number, amount: Amount, reference: Reference, evidence: Evidence, actor: Actor = None) -> None:
    """Record that the money of an invoice came. Takes the role FINANCE_MAKER; a large one is proposed instead."""

    async def record(connection: AsyncConnection, at: datetime) -> Invoice:
        receipt = await _receipt(connection, number, amount, reference, evidence)
        return await charging.record_receipt(connection, MANUAL, receipt, actor=_who(actor), at=at)

    _say(f"Invoice {number} is {_run(record).state}.")


@app.command()
def propose(number: Number, amount: Amount, reference: Reference, evidence: Evidence, actor: Actor = None) -> None:
    """Propose a large receipt for another to approve. Takes the role FINANCE_MAKER."""

    async def record(connection: AsyncConnection, at: datetime) -> int:
        receipt = await _receipt(connection, number, amount, reference, evidence)
        return await charging.propose_receipt(connection, receipt, actor=_who(actor), at=at)

    _say(f"Proposed. Next, by somebody else: tessera plan approve {_run(record)}")


@app.command()
def approve(
    proposal: Annotated[int, typer.Argument(help="Number of the proposal.", min=1, show_default=False)],
    actor: Actor = None,
) -> None:
    """Approve a receipt that another proposed. Takes the role FINANCE_CHECKER."""
    found = _run(
        lambda connection, at: charging.approve_receipt(connection, MANUAL, proposal, actor=_who(actor), at=at)
    )
    _say(f"Invoice {found.invoice_no} is {found.state}.")


@app.command("paid-back")
def paid_back(
    number: Annotated[int, typer.Argument(metavar="REFUND", help="Number of the refund.", min=1, show_default=False)],
    reference: Reference,
    actor: Actor = None,
) -> None:
    """Record that money went back to a member. Takes the role FINANCE_MAKER."""
    _run(
        lambda connection, at: charging.record_refund(connection, number, reference=reference, actor=_who(actor), at=at)
    )
    _say(f"Refund {number} is done.")


async def _receipt(connection: AsyncConnection, number: int, amount: str, reference: str, evidence: str) -> Receipt:
    its = await invoices.numbered(connection, number)
    return Receipt(number, _minor(amount, its.currency), reference, evidence)


def _run(use_case: Callable[[AsyncConnection, datetime], Awaitable[T]]) -> T:
    return console.run(_within(use_case))


async def _within(use_case: Callable[[AsyncConnection, datetime], Awaitable[T]]) -> T:
    async with console.database(settings()) as database, database.transaction() as connection:
        done: T = await use_case(connection, await console.business_instant(connection, settings()))
    return done


def _minor(amount: str, currency: str) -> int:
    try:
        return minor_from_decimal(Decimal(amount), currency)
    except (ArithmeticError, ValueError):
        console.fail(f"{amount} is no amount of {currency}")


def _basis_points(percent: str) -> int:
    try:
        return int((Decimal(percent) * 100).to_integral_exact())
    except ArithmeticError:
        console.fail(f"{percent} is no percentage")


def _vault() -> Vault:
    return Vault(load_master_key(settings()))


def _who(actor: str | None) -> str:
    return actor or console.login_name()


def _say(sentence: str) -> None:
    console.out.print(sentence, markup=False, soft_wrap=True)
