"""What the bank said of a payment file, taken once: what it rejected comes back and may be sent again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import audit
from kit.amounts import micro_per_minor
from kit.database import Database
from settlement import netting, store
from settlement.bank import pain_reports, paying, payment_store
from settlement.bank.camt import BankFileInvalid
from settlement.bank.pain_reports import REJECTED, UNSAID, PaymentReport
from settlement.bank.paying import PaymentLeg
from settlement.bank.receiving import BankStatementChanged
from settlement.reconciliation import register
from settlement.reconciliation.breaks import Category
from settlement.reconciliation.register import NewBreak


@dataclass(frozen=True, slots=True)
class Reported:
    """A report that was taken: the payment file it is about, how many of its payments the bank took and rejected.

    is_replayed: it was taken before, and nothing was written.
    """

    report_ref: str
    order_id: int
    taken: int
    rejected: int
    is_replayed: bool = False


async def receive(
    database: Database, source: IO[bytes], *, actor: str, at: datetime, most_bytes: int = pain_reports.MOST_BYTES,
    once: Callable[[AsyncConnection], Awaitable[object]] | None = None,
) -> Reported:  # fmt: skip
    """Take a report on a payment file (pain.002), on behalf of a FINANCE_MAKER: whole or not at all. Each payment that
    the bank rejected is a break until it is paid. once is done first in the same transaction.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, BANK_FILE_INVALID, BANK_STATEMENT_CHANGED, ORDER_UNKNOWN, ORDER_NOT_RELEASED,
    LEG_STATE, PERIOD_LOCKED.
    """
    sha256 = await asyncio.to_thread(_digest, source, most_bytes)
    said = await asyncio.to_thread(lambda: pain_reports.read(source, most_bytes=most_bytes))
    async with database.transaction() as connection:
        if once is not None:
            await once(connection)
        await store.lock_runs(connection)
        order_id = await payment_store.order_of_message(connection, said.message_id)
        if order_id is None:
            raise paying.OrderUnknown(f"there is no payment file {said.message_id}")
        told = {row.end_to_end_id for row in await payment_store.order_legs(connection, order_id)}
        if unknown := {one.end_to_end_id for one in said.payments} - told:
            raise paying.OrderUnknown(f"payment file {said.message_id} has no payment {min(unknown)}")
        by_id = _statuses(said, told)
        rejected = {one for one, (status, _) in by_id.items() if status == REJECTED}
        taken = {one for one, (status, _) in by_id.items() if status not in (REJECTED, *UNSAID)}
        known = await payment_store.report_sha256(connection, order_id, said.report_id)
        if known is not None:
            if known != sha256:
                raise BankStatementChanged(f"report {said.report_id} was taken with another content")
            return Reported(said.report_id, order_id, len(taken), len(rejected), is_replayed=True)
        legs = await paying.acknowledge(
            connection, order_id, rejected=rejected, taken=taken, actor=actor, at=at
        )  # fmt: skip
        row = {"report_ref": said.report_id, "order_id": order_id, "status": said.status, "file_sha256": sha256,
               "actor": actor, "at": at}  # fmt: skip
        await payment_store.insert_report(
            connection, row, [{"end_to_end_id": n, "status": s, "reason": r} for n, (s, r) in sorted(by_id.items())]
        )
        await _open_breaks(connection, order_id, legs, {n: by_id[n][1] for n in rejected}, at)
        detail = {"order": order_id, "taken": len(taken), "rejected": len(rejected)}
        await audit.write(
            connection, actor=actor, action="PAYMENT_REPORT_TAKEN", subject=f"payment-report:{said.report_id}",
            detail=detail, at=at,
        )  # fmt: skip
    return Reported(said.report_id, order_id, len(taken), len(rejected))


def _statuses(said: PaymentReport, told: set[str]) -> dict[str, tuple[str, str | None]]:
    """What the bank says of every payment of a file: of one that is not named, what it says of the whole."""
    by_id = {one.end_to_end_id: (one.status, one.reason) for one in said.payments}
    if said.status is not None:
        # PART: what is not named was taken.
        rest = ("ACCP" if said.status == "PART" else said.status, said.reason)
        by_id = dict.fromkeys(told, rest) | by_id
    if not by_id:
        raise BankFileInvalid("the report says nothing of the file nor of its payments")
    return by_id


async def _open_breaks(
    connection: AsyncConnection, order_id: int, legs: list[PaymentLeg], rejected: dict[str, str | None], at: datetime
) -> None:
    by_leg = {leg.leg_id: leg for leg in legs}
    found = []
    for row in await payment_store.order_legs(connection, order_id):
        if row.end_to_end_id in rejected:
            leg = by_leg[row.leg_id]
            way = 1 if leg.direction == netting.PAY_IN else -1
            found.append(
                NewBreak(
                    source=f"leg-rejected:{leg.leg_id}/{row.end_to_end_id}", leg="BANK",
                    category=Category.RETURNED_PAYMENT, partner_id=leg.partner_id, currency=leg.currency,
                    amount_minor=way * leg.left_minor,
                    value_micro=way * leg.left_minor * micro_per_minor(leg.currency),
                    detail={"leg": leg.leg_id, "reference": leg.reference, "code": rejected[row.end_to_end_id]},
                )
            )  # fmt: skip
    await register.open_breaks(connection, found, at=at)


def _digest(source: IO[bytes], most_bytes: int) -> bytes:
    content = source.read(most_bytes + 1)
    source.seek(0)
    return hashlib.sha256(content).digest()
