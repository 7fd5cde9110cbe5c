"""What finance does about fees over GraphQL, in its own name, with a proof of a moment ago: receipts with evidence, two
people above a limit, money that went back, what a bank took back, months and how they are shared."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, cast

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access
from gateway.context import Context
from gateway.finance import fee_types
from gateway.finance.answers import FinanceResult, FinanceSuccess, ProposalResult, ProposalSuccess
from gateway.finance.calls import MAKE, once
from gateway.finance.fee_types import ClosedFeeMonth, SubscriptionInvoiceFile
from gateway.inputs import KEY, REPLAYED, described
from gateway.rejections import Rejection
from gateway.scalars import CurrencyCode
from kit.amounts import minor_from_decimal
from members.subscription import charging, invoices
from members.subscription.charging import Receipt
from members.subscription.invoices import PaymentMismatch
from members.subscription.providers import MANUAL
from partners.agreements import onboarding
from settlement.subscription import allocation, months, rules
from settlement.subscription.rules import FeeRules, FeeRulesInvalid, Rate

_INVOICE = "Number of the invoice."


@strawberry.input(description="That the money of an invoice came.")
class RecordSubscriptionReceiptInput:
    idempotency_key: str = described(KEY)
    invoice: int = described(_INVOICE)
    amount: Decimal = described("How much, in the invoice's currency.")
    reference: str = described("The payment's own at the bank.")
    evidence: str = described("What shows it: a line of a bank's statement, say.")


@strawberry.input(description="That money went back.")
class RecordSubscriptionRefundInput:
    idempotency_key: str = described(KEY)
    refund: int = described("Its number, as `subscriptionRefunds` has it.")
    reference: str = described("What shows it at the bank.")


@strawberry.input(description="That a bank took the payment of an invoice back.")
class RecordSubscriptionChargebackInput:
    idempotency_key: str = described(KEY)
    invoice: int = described(_INVOICE)
    reference: str = described("The bank's own number of it.")


@strawberry.input(description="A month of fees that has ended.")
class CloseFeeMonthInput:
    idempotency_key: str = described(KEY)
    month: date = described("The month, by its first day.")
    currency_code: CurrencyCode = described("ISO 4217 code.")


@strawberry.input(description="A partner's weight under the fixed method.")
class FeeWeightInput:
    partner: str = described("Code of the partner.")
    weight: int = described("Its weight beside the others'.")


@strawberry.input(description="What a partner is paid for a unit of a benefit.")
class FeeRateInput:
    partner: str = described("Code of the partner.")
    benefit: str = described("The benefit's code.")
    rate: Decimal = described("For a unit, at most six decimals.")
    most: Decimal | None = described("The most for a month; by default all.", default=None)


@strawberry.input(description="How fees in a currency are to be shared from a month on.")
class ProposeFeeRulesInput:
    idempotency_key: str = described(KEY)
    currency_code: CurrencyCode = described("ISO 4217 code.")
    valid_from: date = described("First day of the first month.")
    method: str = described("How what is left is shared: USER_CENTRIC, PRO_RATA, SHAPLEY, FIXED.")
    weigh: str = described("What weighs: PURCHASES or BENEFITS.", default="PURCHASES")
    zero_use: str = described("The fee of who used nothing: PRO_RATA, OPERATOR, CARRY.", default="PRO_RATA")
    shortage: str = described("Where fees do not cover what is owed: OPERATOR or HAIRCUT.", default="OPERATOR")
    reserve_bp: int = described("Basis points of what is left that are kept in reserve.", default=0)
    operator_bp: int = described("Basis points of what is left that are the operator's.", default=0)
    weights: list[FeeWeightInput] = described("Of the fixed method.", default_factory=list)
    rates: list[FeeRateInput] = described("What is paid for benefits that are used.", default_factory=list)


@strawberry.type(description="The receipt is on record, or waits for somebody else.")
class RecordSubscriptionReceiptSuccess:
    invoice: SubscriptionInvoiceFile = described("The invoice as it stands now.")
    proposal: int | None = described(
        "Number of the proposal that somebody else decides, where the sum takes two people; null where it is recorded, "
        "and in a replay."
    )
    replayed: bool = described(REPLAYED)


@strawberry.type(description="The month is closed.")
class CloseFeeMonthSuccess:
    month: ClosedFeeMonth = described("Where it went.")
    replayed: bool = described(REPLAYED)


RecordSubscriptionReceiptResult = Annotated[
    RecordSubscriptionReceiptSuccess | Rejection,
    strawberry.union("RecordSubscriptionReceiptResult", description="Done, or the reason."),
]
CloseFeeMonthResult = Annotated[
    CloseFeeMonthSuccess | Rejection, strawberry.union("CloseFeeMonthResult", description="Done, or the reason.")
]


@strawberry.type
class FeeMutation:
    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Records that the money of an invoice came, with what shows it; a large sum is proposed "
        "instead, and `decideFinanceProposal` is somebody else's.",
    )
    async def record_subscription_receipt(
        self, info: Info[Context, None], input: RecordSubscriptionReceiptInput
    ) -> RecordSubscriptionReceiptResult:
        async def record(connection: AsyncConnection, actor: str, at: datetime) -> int | None:
            its = await invoices.numbered(connection, input.invoice)
            amount_minor = _minor(input.amount, its.currency)
            receipt = Receipt(input.invoice, amount_minor, input.reference.strip(), input.evidence.strip())
            return await charging.take_receipt(connection, MANUAL, receipt, actor=actor, at=at)

        content = (str(input.invoice), str(input.amount), input.reference, input.evidence)
        proposal, is_new = await once(info, "recordSubscriptionReceipt", input.idempotency_key, record, *content)
        async with info.context.services.database.reading() as connection:
            its = fee_types.invoice_file(await invoices.numbered(connection, input.invoice))
        return RecordSubscriptionReceiptSuccess(invoice=its, proposal=proposal, replayed=not is_new)

    @access.mutation(scopes=MAKE, moves_points=False, description="Records that money went back to a member.")
    async def record_subscription_refund(
        self, info: Info[Context, None], input: RecordSubscriptionRefundInput
    ) -> FinanceResult:
        async def record(connection: AsyncConnection, actor: str, at: datetime) -> None:
            if not input.reference.strip():
                raise PaymentMismatch("what shows at the bank that it went has to be said")
            await charging.record_refund(
                connection, input.refund, reference=input.reference.strip(), actor=actor, at=at
            )

        content = (str(input.refund), input.reference)
        _, is_new = await once(info, "recordSubscriptionRefund", input.idempotency_key, record, *content)
        return FinanceSuccess(replayed=not is_new)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Records that a bank took the payment of an invoice back: a credit note is written, and the "
        "subscription ends. What partners were given for days that were served stays theirs.",
    )
    async def record_subscription_chargeback(
        self, info: Info[Context, None], input: RecordSubscriptionChargebackInput
    ) -> FinanceResult:
        async def record(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await charging.record_chargeback(
                connection, input.invoice, reference=input.reference.strip(), actor=actor, at=at
            )

        content = (str(input.invoice), input.reference)
        _, is_new = await once(info, "recordSubscriptionChargeback", input.idempotency_key, record, *content)
        return FinanceSuccess(replayed=not is_new)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        cost=100,
        description="Closes a month of fees that has ended: recognises what was served of them, and shares it.",
    )
    async def close_fee_month(self, info: Info[Context, None], input: CloseFeeMonthInput) -> CloseFeeMonthResult:
        async def close(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await months.close(connection, month=input.month, currency=input.currency_code, actor=actor, at=at)

        content = (input.month.isoformat(), input.currency_code)
        _, is_new = await once(info, "closeFeeMonth", input.idempotency_key, close, *content)
        async with info.context.services.database.reading() as connection:
            [its] = [
                one
                for one in await months.months(connection)
                if (one.month, one.currency) == (input.month, input.currency_code)
            ]
        return CloseFeeMonthSuccess(month=fee_types.month(its), replayed=not is_new)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Proposes how fees are shared from a month on; somebody else decides.",
    )
    async def propose_fee_rules(self, info: Info[Context, None], input: ProposeFeeRulesInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            return await rules.propose(
                connection, await _rules(connection, input), currency=input.currency_code, valid_from=input.valid_from,
                maker=actor, at=at,
            )  # fmt: skip

        number, is_new = await once(
            info, "proposeFeeRules", input.idempotency_key, propose, input.currency_code, input.valid_from.isoformat(),
            input.method, input.weigh, input.zero_use, input.shortage, str(input.reserve_bp), str(input.operator_bp),
            *(f"{one.partner}={one.weight}" for one in input.weights),
            *(f"{one.partner}:{one.benefit}={one.rate}/{one.most}" for one in input.rates),
        )  # fmt: skip
        return ProposalSuccess(number=number, replayed=not is_new)


async def _rules(connection: AsyncConnection, input: ProposeFeeRulesInput) -> FeeRules:
    weights = {await onboarding.partner_id_of(connection, one.partner): one.weight for one in input.weights}
    rates = tuple(
        [
            Rate(
                await onboarding.partner_id_of(connection, one.partner), one.benefit, _micro(one.rate),
                None if one.most is None else _micro(one.most),
            )
            for one in input.rates
        ]
    )  # fmt: skip
    return FeeRules(
        cast(rules.Weigh, input.weigh), cast(allocation.Method, input.method),
        cast(allocation.ZeroUse, input.zero_use), cast(allocation.Shortage, input.shortage), input.reserve_bp,
        input.operator_bp, weights, rates,
    )  # fmt: skip


def _minor(amount: Decimal, currency: str) -> int:
    """An amount in minor units. Rejects PAYMENT_MISMATCH."""
    try:
        return minor_from_decimal(amount, currency)
    except (ArithmeticError, ValueError):
        raise PaymentMismatch(f"{amount} is no amount of {currency}") from None


def _micro(amount: Decimal) -> int:
    """An amount in micro-units. Rejects FEE_RULES_INVALID."""
    scaled = amount.scaleb(6) if amount.is_finite() else amount
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or abs(scaled) > 10**15:
        raise FeeRulesInvalid("a rate has at most six decimals")
    return int(scaled)
