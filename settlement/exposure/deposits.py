"""What partners deposit as prefunding and collateral: what came in, what is given back, what agreements ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.errors import Rejection
from partners.clearing import clearing
from settlement.exposure import limits
from settlement.money import entries, journal, store
from settlement.money.events import MoneyEvent
from settlement.money.journal import Booking
from settlement.rating import OPERATOR

KIND = "DEPOSIT_RETURN"


class DepositInvalid(Rejection):
    """A deposit has an amount above zero, the other side's reference, and a currency that its partner settles in."""

    code = "DEPOSIT_INVALID"
    retryable = False


class DepositShort(Rejection):
    """More would be given back than the partner has deposited beyond what its agreement asks for."""

    code = "DEPOSIT_SHORT"
    retryable = True


@dataclass(frozen=True, slots=True)
class Deposited:
    """What a partner has to have deposited, what it has, and what is retained of it; micro-units of the currency."""

    partner_id: int
    currency: str
    prefunding_micro: int
    collateral_micro: int
    deposited_micro: int
    retained_micro: int

    @property
    def missing_micro(self) -> int:
        """What it still has to deposit."""
        return max(0, self.prefunding_micro + self.collateral_micro - self.deposited_micro)


async def record(
    connection: AsyncConnection, partner_id: int, *, currency: str, amount_micro: int, reference: str, actor: str,
    at: datetime,
) -> Booking:  # fmt: skip
    """Record what a partner deposited, on behalf of a FINANCE_MAKER; the same reference again changes nothing.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, DEPOSIT_INVALID, PERIOD_LOCKED, BOOKING_KEY_REUSED.
    """
    await _check(connection, partner_id, currency, amount_micro, reference, at)
    event = MoneyEvent("DEPOSIT", partner_id, OPERATOR, currency, amount_micro, reference=reference)
    source = f"deposit:{partner_id}/{reference}"
    return await journal.post_events(connection, source=source, found=[event], at=at, actor=actor)


async def propose_return(
    connection: AsyncConnection, partner_id: int, *, currency: str, amount_micro: int, reference: str, maker: str,
    at: datetime,
) -> int:  # fmt: skip
    """Propose to give a part of a deposit back, on behalf of a FINANCE_MAKER; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, DEPOSIT_INVALID, DEPOSIT_SHORT.
    """
    maker_id = await actors.by_name(connection, maker)
    await actors.require_role(connection, maker_id, actors.FINANCE_MAKER)
    await _check(connection, partner_id, currency, amount_micro, reference, at)
    await _check_left(connection, partner_id, currency, amount_micro, at)
    detail = {"partner": partner_id, "currency": currency, "amount_micro": amount_micro, "reference": reference}
    return await approvals.propose(
        connection, kind=KIND, subject=f"deposit of partner:{partner_id}", detail=detail, maker=maker_id, at=at
    )


async def decide(
    connection: AsyncConnection, approval: Approval, *, checker: int, approved: bool, at: datetime
) -> None:
    """Give back what was proposed or decline to, on behalf of a FINANCE_CHECKER.

    Rejects what kit.approvals.decide rejects, DEPOSIT_SHORT, PERIOD_LOCKED.
    """
    await approvals.decide(
        connection, approval.approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    name, _ = await actors.standing(connection, checker)
    said = approval.detail
    if approved:
        await store.lock_books(connection)
        await _check_left(connection, said["partner"], said["currency"], said["amount_micro"], at)
        event = MoneyEvent(
            "DEPOSIT", said["partner"], OPERATOR, said["currency"], -said["amount_micro"], reference=said["reference"]
        )
        source = f"deposit-return:{approval.approval_id}"
        await journal.post(connection, source=source, entries=entries.of_events([event]), at=at, actor=name)
    await audit.write(
        connection, actor=name, action=f"{KIND}_{'APPROVED' if approved else 'DECLINED'}",
        subject=f"approval:{approval.approval_id}", detail=dict(said), at=at,
    )  # fmt: skip


async def standings(connection: AsyncConnection, *, at: datetime) -> list[Deposited]:
    """What every partner has to have deposited by the agreement in force at an instant, and what it has."""
    found = []
    for partner_id, terms in sorted((await clearing.settlement_terms_at(connection, at=at)).items()):
        deposited, retained = await limits.cover_of(connection, partner_id, terms.currency)
        found.append(
            Deposited(partner_id, terms.currency, terms.prefunding_micro, terms.collateral_micro, deposited, retained)
        )
    return found


async def _check(
    connection: AsyncConnection, partner_id: int, currency: str, amount_micro: int, reference: str, at: datetime
) -> None:
    signed = (await clearing.settlement_terms_at(connection, at=at)).get(partner_id)
    if amount_micro <= 0 or not 1 <= len(reference.strip()) <= 64:
        raise DepositInvalid("a deposit has an amount above zero and a reference")
    if signed is None or signed.currency != currency:
        raise DepositInvalid(f"the partner does not settle in {currency}")


async def _check_left(
    connection: AsyncConnection, partner_id: int, currency: str, amount_micro: int, at: datetime
) -> None:
    for one in await standings(connection, at=at):
        if (one.partner_id, one.currency) == (partner_id, currency):
            free = one.deposited_micro - one.prefunding_micro - one.collateral_micro
            if amount_micro <= free:
                return
    raise DepositShort("the agreement asks for what would be left")
