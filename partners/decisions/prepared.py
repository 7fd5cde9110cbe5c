"""A purchase that was decided and waits to be recorded, and what is done where others were faster."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import asyncpg
import orjson
from msgspec import Struct
from msgspec.structs import replace

from ledger.accounts import POINTS
from members.identification import Identified
from partners import outcomes
from partners.decisions.decisions import Decided
from partners.decisions.earning import Award
from partners.receipts.records import Promoted, Row, StoredReceipt

ATTEMPTS = 3


class Again(Protocol):
    """Decides a purchase anew, on what is known by then."""

    def __call__(self, *, denied: Collection[str]) -> Awaitable[Prepared]: ...


class Outrun(Exception):  # noqa: N818 - never told to anybody: the purchase is decided again
    """Others were faster: a budget has no room now, or the member bought something meanwhile. Nothing was written."""

    def __init__(self, denied: frozenset[str], *, stale: bool) -> None:
        super().__init__("what was decided does not hold any more")
        self.denied = denied
        self.stale = stale


@dataclass(slots=True)
class Retries:
    """How often one purchase was decided again: three times because of the account, and once more per budget."""

    denied: set[str] = field(default_factory=set)
    outruns: int = 0
    stale: int = 0

    async def again(self, prepared: Prepared, outrun: Outrun) -> Prepared:
        """The purchase decided on what is known now. A budget that had no room twice is left out. Raises Stale."""
        self.outruns += 1
        self.stale += outrun.stale
        if self.stale >= ATTEMPTS or prepared.again is None:
            raise outcomes.rejection(outcomes.STALE)
        if self.outruns > 1:
            self.denied |= outrun.denied
        return await prepared.again(denied=frozenset(self.denied))


class Prepared(Struct, frozen=True):
    """A purchase decided and ready to be recorded.

    Where rules decided it, promoted is what it writes besides, decided what it was decided on, and again decides it
    anew, without the budgets named.
    """

    row: Row
    award: Award
    at: datetime
    promoted: Promoted | None = None
    decided: Decided | None = None
    again: Again | None = None

    def stored(self, record: asyncpg.Record, *, kind: int, redeemed: int, redemption_seq: int | None) -> StoredReceipt:
        """The receipt as the recording call has just written it."""
        row = self.row
        return StoredReceipt(
            holder_id=row.holder_id, unit=POINTS, seq=record["seq"], kind=kind, partner_id=row.partner_id,
            outlet_id=row.outlet_id, terminal_id=row.terminal_id, reference=row.reference,
            business_date=row.business_date, occurred_at=row.occurred_at, at=self.at, currency=row.currency,
            total_minor=row.total, awarded_points=row.awarded, redeemed_points=redeemed,
            redemption_seq=redemption_seq, original_seq=None, terms_id=row.terms_id, card_id=row.card_id,
            detail=orjson.loads(row.detail) if row.detail else {}, decision=row.decision,
        )  # fmt: skip


def bare(prepared: Prepared, member: Identified) -> Prepared:
    """A prepared receipt of nothing as one that decides and earns nothing."""
    decision = {"tier": member.tier, "level": member.level, "lines": {}, "reasons": [], "lots": {}}
    row = replace(prepared.row, awarded=0, decision=decision)
    return replace(prepared, row=row, award=replace(prepared.award, points=0, lots=()))
