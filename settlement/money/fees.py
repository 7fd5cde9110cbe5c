"""What fees of subscriptions do to the books and to partners: the clearing events of months that were closed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.money import events as kinds
from settlement.money.events import MoneyEvent
from settlement.statements import Detail
from settlement.subscription import store

USED, SHARED = "BENEFIT", "SUBSCRIPTION_SHARE"


async def events(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> list[MoneyEvent]:
    """The money events of cut-offs, all of them: what the books have to see."""
    return [_event(row) for row in await store.events(connection, cutoff_ids)]


async def billed(connection: AsyncConnection, cutoff_ids: Sequence[int], currency: str) -> list[MoneyEvent]:
    """Those in a currency that partners are owed: what a run has to state."""
    found = [one for one in await events(connection, cutoff_ids) if one.currency == currency]
    return [one for one in found if kinds.rule_of(one.kind).is_billed]


async def details(
    connection: AsyncConnection, *, partner_id: int, currency: str, cutoff_ids: Sequence[int]
) -> list[Detail]:
    """What is behind a partner's lines of fees: a movement per month and benefit. No member is told of."""
    return [
        Detail(
            row.cutoff_id, row.kind, row.at, None, None, row.reference, "", 0, 0, row.amount_micro,
            terms_id=row.terms_id,
        )
        for row in await store.events(connection, cutoff_ids)
        if (row.payee_id, row.currency) == (partner_id, currency)
    ]  # fmt: skip


def _event(row: Row[tuple[object, ...]]) -> MoneyEvent:
    return MoneyEvent(
        row.kind, 0, row.payee_id, row.currency, row.amount_micro, terms_id=row.terms_id, cutoff_id=row.cutoff_id,
        count=row._mapping["count"], tax_micro=row.tax_micro, tax_rule=row.tax_rule, reference=row.reference,
    )  # fmt: skip
