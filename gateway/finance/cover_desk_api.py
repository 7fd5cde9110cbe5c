"""What finance does over GraphQL about partners that may not pay, or leave: deposits, defaults, buy-outs, exits."""

from datetime import datetime
from decimal import Decimal

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access
from gateway.context import Context
from gateway.finance.agreement_desk_api import version_of
from gateway.finance.answers import FinanceResult, ProposalResult, done, proposed
from gateway.finance.calls import MAKE, person
from gateway.inputs import KEY, described
from gateway.scalars import CurrencyCode
from partners.agreements import onboarding
from settlement.exposure import defaults, deposits
from settlement.exposure.deposits import DepositInvalid
from settlement.money import stock
from settlement.money.stock import Handover
from settlement.rating import OPERATOR

_PARTNER = "Code of a partner."
_REASON = "A sentence; it stays for ever."
_RUN = "Number of a run."


@strawberry.input(description="Money that a partner deposits, or is given back.")
class DepositInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    amount: Decimal = described("Above zero, at most six decimals.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    reference: str = described("The bank's own number.")


@strawberry.input(description="A partner that did not pay for a run.")
class ProposeDefaultCoverInput:
    idempotency_key: str = described(KEY)
    run: int = described(_RUN)
    partner: str = described(_PARTNER)


@strawberry.input(description="Points already out there that are to be funded otherwise.")
class ProposeBuyOutInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    version: int = described("The version of its agreement that they were issued under.")
    billed_fund_micro: int = described("What of the fund part is billed from then on, micro-units a point.")
    paid: Decimal | None = described("What the partner pays in all; by default the difference at face.", default=None)
    reason: str = described(_REASON)


@strawberry.input(description="A partner that leaves: somebody else carries its points from then on.")
class ProposeExitInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    carrier: str | None = described("Code of whoever carries them; by default the operator.", default=None)
    reason: str = described(_REASON)


@strawberry.type
class CoverMutation:
    @access.mutation(scopes=MAKE, moves_points=False, description="Records what a partner deposited.")
    async def record_deposit(self, info: Info[Context, None], input: DepositInput) -> FinanceResult:
        amount = _micro(input.amount)

        async def record(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await deposits.record(
                connection, await onboarding.partner_id_of(connection, input.partner), currency=input.currency_code,
                amount_micro=amount, reference=input.reference, actor=actor, at=at,
            )  # fmt: skip

        content = (input.partner, str(amount), input.currency_code, input.reference)
        return await done(info, "recordDeposit", input.idempotency_key, record, *content)

    @access.mutation(scopes=MAKE, moves_points=False, description="Proposes to give a part of a deposit back.")
    async def propose_deposit_return(self, info: Info[Context, None], input: DepositInput) -> ProposalResult:
        amount = _micro(input.amount)

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            return await deposits.propose_return(
                connection, await onboarding.partner_id_of(connection, input.partner), currency=input.currency_code,
                amount_micro=amount, reference=input.reference, maker=actor, at=at,
            )  # fmt: skip

        content = (input.partner, str(amount), input.currency_code, input.reference)
        return await proposed(info, "proposeDepositReturn", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Proposes to cover what a partner did not pay: prefunding, holdback, collateral, the operator's "
        "own.",
    )
    async def propose_default_cover(self, info: Info[Context, None], input: ProposeDefaultCoverInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            return await defaults.propose(connection, input.run, partner_id, maker=actor, at=at)

        content = (str(input.run), input.partner)
        return await proposed(info, "proposeDefaultCover", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Proposes that points already out there are funded otherwise."
    )
    async def propose_buy_out(self, info: Info[Context, None], input: ProposeBuyOutInput) -> ProposalResult:
        paid = None if input.paid is None else _micro(input.paid)

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            signed = await version_of(connection, partner_id, input.version)
            handover = Handover(partner_id, signed.terms.terms_id, partner_id, input.billed_fund_micro, paid)
            maker = person(info).number
            return await stock.propose_transfer(connection, [handover], reason=input.reason, maker=maker, at=at)

        content = (input.partner, str(input.version), str(input.billed_fund_micro), str(paid), input.reason)
        return await proposed(info, "proposeBuyOut", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Proposes that somebody else carries a leaving partner's points."
    )
    async def propose_exit(self, info: Info[Context, None], input: ProposeExitInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            carrier = OPERATOR if input.carrier is None else await onboarding.partner_id_of(connection, input.carrier)
            handovers = await stock.exit_handovers(connection, partner_id, carrier_id=carrier, paid_micro={})
            maker = person(info).number
            return await stock.propose_transfer(connection, handovers, reason=input.reason, maker=maker, at=at)

        content = (input.partner, input.carrier or "", input.reason)
        return await proposed(info, "proposeExit", input.idempotency_key, propose, *content)


def _micro(amount: Decimal) -> int:
    """An amount in micro-units. Rejects DEPOSIT_INVALID."""
    scaled = amount.scaleb(6)
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or abs(scaled) > 10**18:
        raise DepositInvalid("an amount has at most six decimals")
    return int(scaled)
