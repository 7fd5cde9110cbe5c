"""A notice that came after its statement: what it tells of an entry that lies in suspense says what the money is for.

Only where every payment of the entry is for payments of ours, whole; anything else stays in suspense for a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.bank import details, payment_store, receiving, suspense
from settlement.bank.assigning import Share


async def join(
    connection: AsyncConnection, iban: str, currency: str, told: Sequence[Mapping[str, Any]], *, actor: str,
    at: datetime,
) -> int:  # fmt: skip
    """Say what money in suspense is for that a notice of an account told of, by the bank's own numbers; how many
    entries it was. told is what the notice holds: payments with the number and the amount of their entry.

    Rejects PERIOD_LOCKED.
    """
    entries: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in told:
        entries.setdefault((row["entry_reference"], row["entry_minor"]), []).append(row)
    owners = {one.account.iban: party for party, one in (await details.in_force(connection, currency, at=at)).items()}
    joined = 0
    for (reference, entry_minor), rows in entries.items():
        waiting = await payment_store.bare_items(connection, iban, reference, entry_minor)
        if len(waiting) != 1 or sum(row["amount_minor"] for row in rows) != entry_minor:
            continue  # a number that the bank gave twice says nothing
        shares = await _shares(connection, waiting[0], rows, owners, currency)
        if shares:
            await suspense.identify_as(connection, waiting[0].item_id, shares, actor=actor, at=at)
            joined += 1
    return joined


async def _shares(
    connection: AsyncConnection, item: Row[Any], rows: Sequence[Mapping[str, Any]], owners: dict[str, int],
    currency: str,
) -> list[Share]:  # fmt: skip
    """What all payments of an entry are for, one share for each of ours; nothing where one of them is for nothing, or
    money goes both ways, which a payment of the bank's cannot."""
    sent = await payment_store.legs_of_ids(connection, [row["end_to_end_id"] for row in rows if row["end_to_end_id"]])
    found: dict[int, Share] = {}
    for row in rows:
        told = receiving.told_of(row, owners, leg_id=sent.get(row["end_to_end_id"]), bank_code=item.bank_code,
                                 is_reversal=item.is_reversal)  # fmt: skip
        _, assigned = await receiving.assigned(connection, told, currency, taken=_taken(found))
        same_way = (row["amount_minor"] > 0) == (item.amount_minor > 0)
        if assigned.rest_minor or assigned.is_returned or not same_way:
            return []
        for share in assigned.shares:
            earlier = found.get(share.leg_id)
            amount_minor = share.amount_minor + (0 if earlier is None else earlier.amount_minor)
            found[share.leg_id] = replace(share, amount_minor=amount_minor)
    return list(found.values())


def _taken(found: Mapping[int, Share]) -> dict[int, int]:
    return {leg_id: share.amount_minor for leg_id, share in found.items()}
