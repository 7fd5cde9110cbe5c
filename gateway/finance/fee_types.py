"""What GraphQL says of fees to finance: arrears and their letters, money that came and goes back, what is deferred and
recognised, and where a month of it went."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access
from gateway.context import Context
from gateway.inputs import described
from gateway.scalars import CurrencyCode
from gateway.subscription.subscription_types import SubscriptionInvoice, invoice
from gateway.types import Money, money
from members.subscription import overdue, returns
from members.subscription.invoices import Invoice
from members.subscription.overdue import Notice, Overdue
from members.subscription.recognition import Standing, Stretch
from members.subscription.returns import Came, CreditNote, Refund
from partners.clearing import clearing
from settlement.statements import decimal_from_micro
from settlement.subscription import corrections, months
from settlement.subscription.months import FeeMonth
from settlement.subscription.rules import Version

_MEMBER = "The programme's own number of the member, as the audit trail has it."


@strawberry.type(description="A letter about an invoice: that it was written, and what became of it.")
class SubscriptionLetter:
    kind: str = described("RENEWAL before it was issued; then UNPAID, ON_HOLD, ENDED; more may appear.")
    message_id: str | None = described("Its id; null where the member told no address, or wants no letters.")
    accepted_at: datetime = described("Business instant from which it is proof that it was given to be sent.")
    outcome: str | None = described("SENT, or why not: NO_CHANNEL, CONSENT_WITHDRAWN, …; null while it is tried.")
    outcome_at: datetime | None = described("When that was, by the wall's clock.")


@strawberry.type(description="Money that came for an invoice.")
class SubscriptionPayment:
    reference: str = described("The payment's own at the bank or the provider.")
    amount: Money = described("How much.")
    charging: Money = described("What of it the provider keeps.")
    is_surplus: bool = described("Whether nobody owed it: it goes back.")
    evidence: str = described("What shows it.")
    recorded_by: str = described("Who says so: somebody of staff, or a provider.")
    proposal: int | None = described("The proposal that a second person approved; null where it took one.")
    at: datetime = described("Business instant.")


@strawberry.type(description="An invoice with all that finance knows of it.")
class SubscriptionInvoiceFile:
    invoice: SubscriptionInvoice = described("The invoice.")
    member: int = described(_MEMBER)
    kind: str = described("PERIOD, CHANGE, GIFT; more may appear.")
    provider: str = described("Who charges it; `manual`: nobody, somebody records that the money came.")
    net: Money = described("What is to be paid, without tax.")
    tax_rule: str = described("The version of the rule of the tax in it.")
    period_from: datetime = described("What it is for begins.")
    period_until: datetime = described("What it is for ends.")
    number: strawberry.Private[int]
    currency: strawberry.Private[str]

    @access.field(cost=2, size=access.ListSize(assumed_size=3), description="What came for it.")
    async def payments(self, info: Info[Context, None]) -> list[SubscriptionPayment]:
        async with info.context.services.database.reading() as connection:
            return [_payment(one, self.currency) for one in await returns.came(connection, [self.number])]

    @access.field(cost=2, size=access.ListSize(assumed_size=4), description="What was written about it.")
    async def letters(self, info: Info[Context, None]) -> list[SubscriptionLetter]:
        async with info.context.services.database.reading() as connection:
            return [_letter(one) for one in (await overdue.notices(connection, [self.number]))[self.number]]


@strawberry.type(description="An invoice that is open: who owes it, in which step, and what comes next.")
class SubscriptionArrears:
    number: str = described("The invoice's number.")
    reference: str = described("What a payment has to name.")
    member: int = described(_MEMBER)
    plan: str = described("The plan's code.")
    amount: Money = described("What is at stake, tax among it.")
    is_test: bool = described("True where nobody is charged.")
    due_at: datetime = described("When it was due.")
    step: str = described(
        "FIRST_PAYMENT, CHANGE and PRESENT give nothing before they are paid; in GRACE benefits stay, ON_HOLD they do "
        "not; more may appear."
    )
    since: datetime = described("Since when it is in this step.")
    waits_for: str = described(
        "CHARGE: the next try; PROVIDER: what became of an order; MEANS: another means of payment; MONEY: a transfer."
    )
    tries: int = described("How often a charge was ordered.")
    last_outcome: str | None = described("What became of the last: SOFT, HARD; null where none was, or nobody knows.")
    next_try_at: datetime | None = described("When it is charged, or the provider asked, next.")
    over_at: datetime = described("When nobody waits any longer: the invoice is void, and the subscription ends.")
    letters: list[SubscriptionLetter] = described("What was written about it.")


@strawberry.type(description="What is at stake in a step.")
class SubscriptionArrearsTotal:
    currency_code: CurrencyCode = described("ISO 4217 code.")
    step: str = described("As `subscriptionArrears` names it.")
    invoices: int = described("How many.")
    amount: Money = described("Together, tax among it.")


@strawberry.type(description="A credit note of an invoice that was paid.")
class SubscriptionCreditNote:
    number: str = described("Its number, one after the other.")
    invoice: str = described("Number of its invoice.")
    member: int = described(_MEMBER)
    kind: str = described("UNSERVED: days that were not served; CHARGEBACK: a bank took the payment back.")
    from_day: date = described("The first day that is not served.")
    net: Money = described("What of it is for days that are not served, without tax.")
    tax: Money = described("The tax in that.")
    lost: Money = described(
        "What a bank took back for days that were served: the operator bears it, but for what partners correct."
    )
    reason: str = described("Why.")
    at: datetime = described("Business instant.")
    path: str = described("Where it is as PDF; `language` (en, ru, ro) is a query.")


@strawberry.type(description="Money of a payment that has to go back, or went.")
class SubscriptionRefund:
    number: int = described("Its number, as `recordSubscriptionRefund` takes it.")
    invoice: str = described("Number of its invoice.")
    member: int = described(_MEMBER)
    provider: str = described("Who gives it back; `manual`: somebody, who records it.")
    payment: str = described("Reference of the payment.")
    amount: Money = described("How much.")
    reason: str = described("CREDIT_NOTE, or SURPLUS: nobody owed it.")
    at: datetime = described("Since when it has to go back.")
    done_at: datetime | None = described("When it went; null while it is to go.")
    reference: str | None = described("What shows it.")
    recorded_by: str | None = described("Who says so.")


@strawberry.type(description="Fees in a currency: what came, what went back, what was served and what is to be.")
class FeeAmounts:
    received: Money = described("Money that came for invoices, tax among it.")
    net: Money = described("Without the tax.")
    tax: Money = described("The tax.")
    charging: Money = described("What charging it cost.")
    credited: Money = described("What was credited for days that are not served, without tax.")
    credited_tax: Money = described("The tax in that.")
    lost: Money = described("What banks took back for days that were served.")
    refunded: Money = described("Money that went back.")
    surplus: Money = described("Money that nobody owed.")
    recognised: Money = described("Fees of days that were served, without tax.")


@strawberry.type(description="How fees in a currency stand at the end of a day, counting what was told by then.")
class FeeStanding:
    currency_code: CurrencyCode = described("ISO 4217 code.")
    as_of: date = described("The day, whole.")
    amounts: FeeAmounts = described("All from the beginning.")
    deferred: Money = described("Paid, and neither served nor credited.")
    booked: Money = described("What of `recognised` months have that are closed.")
    booked_through: date | None = described("The last of these months, by its first day.")


@strawberry.type(description="What a day or a month brought of fees, and what is deferred at its end.")
class FeeRecognition:
    since: date = described("Its first day.")
    until: date = described("The first day behind it.")
    amounts: FeeAmounts = described("What it brought.")
    deferred: Money = described("Paid, and neither served nor credited, at its end.")


@strawberry.type(description="What another method would have given of the rest.")
class FeeByMethod:
    method: str = described("USER_CENTRIC, PRO_RATA, SHAPLEY, FIXED; more may appear.")
    amount_exact: Decimal = described("What it would have given, exact.")


@strawberry.type(description="What a month of fees gave a partner.")
class FeeShare:
    month: date = described("The month, by its first day.")
    partner: str = described("Code of the partner.")
    benefit: str | None = described("The benefit that was used; null of the share of what was left.")
    units: int = described("How much of it was used.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    rate_exact: Decimal | None = described("What a unit is paid; null of the share of what was left.")
    amount_exact: Decimal = described("What it gave, exact; stated by the run of the cut-off in which it was closed.")
    trial_exact: Decimal = described("What of it the operator paid for trials, exact.")
    methods: list[FeeByMethod] = described("Of the share of what was left: what each method would have given.")
    corrects: date | None = described(
        "The month, by its first day, whose share is corrected because the fee went back: the amount is below zero. "
        "Null of what this month gave."
    )


@strawberry.type(description="A month of fees that was closed: what was shared and where it went, exact.")
class ClosedFeeMonth:
    month: date = described("The month, by its first day.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    rules_version: int = described("The version of the rules that it was shared by.")
    cutoff: int = described("The cut-off whose run states it.")
    pool_exact: Decimal = described("What was recognised, less what charging cost, with what was brought.")
    brought_exact: Decimal = described("What of it came from the month before.")
    charging_exact: Decimal = described("What charging cost.")
    points_exact: Decimal = described("What bought the points that plans promised.")
    reserve_exact: Decimal = described("What is kept in reserve.")
    operator_exact: Decimal = described("The operator's share.")
    carried_exact: Decimal = described("What goes to the next month.")
    added_exact: Decimal = described("What the operator put in where fees did not cover what was owed.")
    closed_by: str = described("Who closed it.")
    closed_at: datetime = described("Business instant.")
    its: strawberry.Private[FeeMonth]

    @access.field(cost=5, size=access.ListSize(assumed_size=30), description="What it gave partners.")
    async def shares(self, info: Info[Context, None]) -> list[FeeShare]:
        async with info.context.services.database.reading() as connection:
            return await shares_of(info.context, connection, self.its)


@strawberry.type(description="A partner's weight under the fixed method.")
class FeeWeight:
    partner: str = described("Code of the partner.")
    weight: int = described("Its weight beside the others'.")


@strawberry.type(description="What a partner is paid for a unit of a benefit.")
class FeeRate:
    partner: str = described("Code of the partner.")
    benefit: str = described("The benefit's code.")
    rate_exact: Decimal = described("For a unit.")
    most_exact: Decimal | None = described("The most for a month; null: all.")


@strawberry.type(description="A version of how fees in a currency are shared.")
class FeeRulesVersion:
    currency_code: CurrencyCode = described("ISO 4217 code.")
    version: int = described("Its number.")
    valid_from: date = described("First day of the first month that it shares.")
    method: str = described("How what is left is shared: USER_CENTRIC, PRO_RATA, SHAPLEY, FIXED.")
    weigh: str = described("What weighs: PURCHASES or BENEFITS.")
    zero_use: str = described("The fee of who used nothing: PRO_RATA, OPERATOR, CARRY.")
    shortage: str = described("Where fees do not cover what is owed: OPERATOR adds, or HAIRCUT cuts all alike.")
    reserve_bp: int = described("Basis points of what is left that are kept in reserve.")
    operator_bp: int = described("Basis points of what is left that are the operator's.")
    weights: list[FeeWeight] = described("Of the fixed method.")
    rates: list[FeeRate] = described("What is paid for benefits that are used.")


def letters(found: Sequence[Notice]) -> list[SubscriptionLetter]:
    """What was written about an invoice."""
    return [_letter(one) for one in found]


def invoice_file(one: Invoice) -> SubscriptionInvoiceFile:
    """An invoice as finance reads it."""
    return SubscriptionInvoiceFile(
        invoice=invoice(one), member=one.holder_id, kind=one.kind, provider=one.provider,
        net=money(one.net_minor, one.currency), tax_rule=f"{one.tax_code}@{one.tax_version}",
        period_from=one.period_from, period_until=one.period_until, number=one.invoice_no, currency=one.currency,
    )  # fmt: skip


def arrears(one: Overdue, written: Sequence[Notice]) -> SubscriptionArrears:
    """An open invoice with its letters."""
    return SubscriptionArrears(
        number=str(one.invoice_no), reference=one.reference, member=one.holder_id, plan=one.plan,
        amount=money(one.gross_minor, one.currency), is_test=one.is_test, due_at=one.due_at, step=one.step,
        since=one.since, waits_for=one.waits_for, tries=one.tries, last_outcome=one.last_outcome,
        next_try_at=one.next_try_at, over_at=one.over_at, letters=letters(written),
    )  # fmt: skip


def credit_note(one: CreditNote) -> SubscriptionCreditNote:
    """A credit note as finance reads it."""
    return SubscriptionCreditNote(
        number=str(one.note_no), invoice=str(one.invoice_no), member=one.holder_id, kind=one.kind,
        from_day=one.from_day, net=money(one.net_minor, one.currency), tax=money(one.tax_minor, one.currency),
        lost=money(one.lost_minor, one.currency), reason=one.reason, at=one.at,
        path=f"/subscriptions/credit-notes/{one.note_no}",
    )  # fmt: skip


def refund(one: Refund) -> SubscriptionRefund:
    """Money that has to go back, or went."""
    return SubscriptionRefund(
        number=one.refund_no, invoice=str(one.invoice_no), member=one.holder_id, provider=one.provider,
        payment=one.payment, amount=money(one.amount_minor, one.currency), reason=one.reason, at=one.at,
        done_at=one.done_at, reference=one.reference, recorded_by=one.actor,
    )  # fmt: skip


def standing(one: Standing, currency: str, as_of: date, booked: tuple[int, date | None]) -> FeeStanding:
    """How fees stand at the end of a day; booked are minor units, and the last month that is closed."""
    return FeeStanding(
        currency_code=CurrencyCode(currency), as_of=as_of, amounts=_amounts(one, currency),
        deferred=money(one.deferred_minor, currency), booked=money(booked[0], currency), booked_through=booked[1],
    )  # fmt: skip


def recognition(one: Stretch, currency: str) -> FeeRecognition:
    """What a day or a month brought."""
    return FeeRecognition(
        since=one.since, until=one.until, amounts=_amounts(one.brought, currency),
        deferred=money(one.deferred_minor, currency),
    )  # fmt: skip


async def shares_of(
    context: Context, connection: AsyncConnection, month: FeeMonth, whose: int | None = None
) -> list[FeeShare]:
    """Shares of a month by partner and benefit, and what it corrects of earlier ones; a partner's own where it is
    named."""
    found = await months.shares_compared(connection, month)
    corrected = await corrections.of_month(connection, month.month, month.currency)
    directory = await context.services.directory.get()
    codes = {one.partner_id: one.code for one in directory.partners()}
    given = [
        FeeShare(
            month=month.month, partner=codes.get(one.share.partner_id, str(one.share.partner_id)),
            benefit=one.share.benefit or None, units=one.share.units + one.share.trial_units,
            currency_code=CurrencyCode(month.currency),
            rate_exact=decimal_from_micro(one.share.rate_micro) if one.share.benefit else None,
            amount_exact=decimal_from_micro(one.share.amount_micro + one.share.trial_micro),
            trial_exact=decimal_from_micro(one.share.trial_micro),
            methods=[
                FeeByMethod(method=method, amount_exact=decimal_from_micro(amount))
                for method, amount in one.methods.items()
            ],
            corrects=None,
        )
        for one in found
        if whose in (None, one.share.partner_id)
    ]  # fmt: skip
    return given + [
        FeeShare(
            month=month.month, partner=codes.get(one.partner_id, str(one.partner_id)), benefit=None, units=0,
            currency_code=CurrencyCode(month.currency), rate_exact=None,
            amount_exact=decimal_from_micro(one.amount_micro), trial_exact=decimal_from_micro(0), methods=[],
            corrects=one.of_month,
        )
        for one in corrected
        if whose in (None, one.partner_id)
    ]  # fmt: skip


def month(one: FeeMonth) -> ClosedFeeMonth:
    """A month that was closed."""
    return ClosedFeeMonth(
        month=one.month, currency_code=CurrencyCode(one.currency), rules_version=one.rules_version,
        cutoff=one.cutoff_id, pool_exact=decimal_from_micro(one.pool_micro),
        brought_exact=decimal_from_micro(one.brought_micro), charging_exact=decimal_from_micro(one.charging_micro),
        points_exact=decimal_from_micro(one.points_micro), reserve_exact=decimal_from_micro(one.reserve_micro),
        operator_exact=decimal_from_micro(one.operator_micro), carried_exact=decimal_from_micro(one.carried_micro),
        added_exact=decimal_from_micro(one.added_micro), closed_by=one.actor, closed_at=one.at, its=one,
    )  # fmt: skip


def rules_version(one: Version, names: Mapping[int, clearing.PartnerName]) -> FeeRulesVersion:
    """A version of rules; names are every partner's."""
    said = one.rules
    return FeeRulesVersion(
        currency_code=CurrencyCode(one.currency), version=one.version, valid_from=one.valid_from, method=said.method,
        weigh=said.weigh, zero_use=said.zero_use, shortage=said.shortage, reserve_bp=said.reserve_bp,
        operator_bp=said.operator_bp,
        weights=[
            FeeWeight(partner=names[number].code, weight=weight)
            for number, weight in sorted(said.fixed_weights.items())
            if number in names
        ],
        rates=[
            FeeRate(
                partner=names[rate.partner_id].code, benefit=rate.benefit,
                rate_exact=decimal_from_micro(rate.rate_micro),
                most_exact=None if rate.most_micro is None else decimal_from_micro(rate.most_micro),
            )
            for rate in said.rates
            if rate.partner_id in names
        ],
    )  # fmt: skip


def _amounts(one: Standing, currency: str) -> FeeAmounts:
    return FeeAmounts(
        received=money(one.net_minor + one.tax_minor, currency), net=money(one.net_minor, currency),
        tax=money(one.tax_minor, currency), charging=money(one.charging_minor, currency),
        credited=money(one.credited_minor, currency), credited_tax=money(one.credited_tax_minor, currency),
        lost=money(one.lost_minor, currency), refunded=money(one.refunded_minor, currency),
        surplus=money(one.surplus_minor, currency), recognised=money(one.recognised_minor, currency),
    )  # fmt: skip


def _payment(one: Came, currency: str) -> SubscriptionPayment:
    return SubscriptionPayment(
        reference=one.reference, amount=money(one.amount_minor, currency),
        charging=money(one.charging_minor, currency), is_surplus=one.is_surplus, evidence=one.evidence,
        recorded_by=one.actor, proposal=one.approval_id, at=one.at,
    )  # fmt: skip


def _letter(one: Notice) -> SubscriptionLetter:
    return SubscriptionLetter(
        kind=one.kind, message_id=None if one.message_id is None else str(one.message_id), accepted_at=one.at,
        outcome=one.outcome, outcome_at=one.outcome_at,
    )  # fmt: skip
