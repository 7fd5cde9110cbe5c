"""What settlement asks of subscriptions: what was paid for which days, what came and went back, who was entitled when,
and what was used. Nobody above reads more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription import entitlement_store, invoice_store
from members.subscription.invoices import CHARGEBACK
from members.subscription.serving import Service


@dataclass(frozen=True, slots=True)
class PaidService:
    """What was paid for days [service_from, service_until): minor units without tax, what charging it cost, and the
    first day that was not served (None: all were)."""

    holder_id: int
    subscription_no: int
    invoice_no: int
    service_from: date
    service_until: date
    net_minor: int
    charging_minor: int
    from_day: date | None

    def recognised(self, day: date) -> int:
        """What is recognised on all days before one, minor units."""
        return self._before(self.net_minor, day)

    def charging(self, day: date) -> int:
        """What of the cost of charging belongs to all days before one, minor units; never more than is recognised."""
        return min(self._before(self.charging_minor, day), self.recognised(day))

    def _before(self, amount_minor: int, day: date) -> int:
        last = day if self.from_day is None else min(day, self.from_day)
        return Service(amount_minor, self.service_from, self.service_until).before(last)


@dataclass(frozen=True, slots=True)
class FeePaid:
    """Money that came, minor units: key tells it from any other. Surplus is what nobody owed."""

    key: str
    is_surplus: bool
    amount_minor: int
    charging_minor: int
    net_minor: int
    tax_minor: int
    tax_rule: str


@dataclass(frozen=True, slots=True)
class FeeCredited:
    """A credit note, minor units; lost_minor is what a bank took back for days that were served, served_minor what
    these come to without tax."""

    key: str
    net_minor: int
    tax_minor: int
    lost_minor: int
    tax_rule: str
    invoice_no: int
    is_chargeback: bool
    served_minor: int


@dataclass(frozen=True, slots=True)
class Used:
    """Units of a benefit that a subscription's people used at a partner, summed."""

    subscription_no: int
    partner_id: int
    benefit: str
    is_trial: bool
    units: int


@dataclass(frozen=True, slots=True)
class Covered:
    """Somebody was entitled by a paid subscription in [valid_from, valid_until)."""

    subscription_no: int
    member_id: int
    valid_from: datetime
    valid_until: datetime


async def services(
    connection: AsyncConnection, currency: str, *, until: date, paid_until: datetime
) -> list[PaidService]:
    """What was paid before an instant for days that begin before one, by invoice; those of a test are none."""
    rows = await invoice_store.services(connection, currency, until, paid_until)
    return [PaidService(**row._mapping) for row in rows]


async def paid(connection: AsyncConnection, currency: str, *, until: datetime) -> list[FeePaid]:
    """Money that came before an instant, in order."""
    return [
        FeePaid(
            f"{row.provider}:{row.reference}", row.is_surplus, row.amount_minor, row.charging_minor, row.net_minor,
            row.tax_minor, f"{row.tax_code}/{row.tax_version}",
        )
        for row in await invoice_store.paid(connection, currency, until)
    ]  # fmt: skip


async def credited(connection: AsyncConnection, currency: str, *, until: datetime) -> list[FeeCredited]:
    """Credit notes before an instant, in order of their numbers."""
    return [
        FeeCredited(
            str(row.note_no), row.net_minor, row.tax_minor, row.lost_minor, f"{row.tax_code}/{row.tax_version}",
            row.invoice_no, row.kind == CHARGEBACK, row.served_minor,
        )
        for row in await invoice_store.credited(connection, currency, until)
    ]  # fmt: skip


async def surplus_returned(connection: AsyncConnection, currency: str, *, until: datetime) -> list[tuple[str, int]]:
    """Surplus that went back before an instant: a key and minor units."""
    return [(str(row.refund_no), row.amount_minor) for row in await invoice_store.returned(connection, currency, until)]


async def uses(connection: AsyncConnection, currency: str, *, since: datetime, until: datetime) -> list[Used]:
    """What was told to be used in [since, until), by subscription, partner and benefit."""
    return [Used(**row._mapping) for row in await entitlement_store.uses(connection, currency, since, until)]


async def covered(connection: AsyncConnection, currency: str, *, since: datetime, until: datetime) -> Sequence[Covered]:
    """Who was entitled by what was paid, and when, within [since, until)."""
    return [Covered(**row._mapping) for row in await entitlement_store.covered(connection, currency, since, until)]
