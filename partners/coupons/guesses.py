"""Guessed codes: how many may be wrong before nobody there is told anything of any.

Counted per member, terminal and client in the database, for all processes together, by the wall's clock. A batch of
which twenty codes were no good within five minutes, and fewer were redeemed, takes a proof of the member from then on
(`partners.is_guessed_at`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import audit
from kit.errors import Rejection
from partners.coupons import store

WINDOW = timedelta(hours=1)
BATCH_WINDOW = timedelta(minutes=5)
MOST: Mapping[str, int] = {"MEMBER": 10, "TERMINAL": 30, "CLIENT": 200}
"""How many wrong codes an hour are answered."""

BATCH = "BATCH"
GUESSER = "partners.coupons.guesses"


class CouponsLimited(Rejection):
    """Too many codes that are no good came from this member, terminal or client; for a while none is looked at."""

    code = "COUPONS_LIMITED"
    retryable = True

    def __init__(self) -> None:
        super().__init__("too many coupons that are no good came from here; try again later")


@dataclass(frozen=True, slots=True)
class Asking:
    """Where codes come from: the member at the till, the terminal if one was named, the client."""

    member_id: int
    terminal_id: int | None
    client_no: int

    @property
    def subjects(self) -> dict[str, int]:
        """Whom a wrong code counts against, by kind."""
        found = {"MEMBER": self.member_id, "CLIENT": self.client_no}
        return found if self.terminal_id is None else found | {"TERMINAL": self.terminal_id}


async def check(connection: AsyncConnection, asking: Asking, *, now: datetime) -> None:
    """Nothing while there are tries left. Rejects COUPONS_LIMITED. now is the wall's instant."""
    subjects = asking.subjects
    wrong = await store.wrong_tries(connection, list(subjects), list(subjects.values()), now - WINDOW)
    if any(wrong.get(kind, 0) >= MOST[kind] for kind in subjects):
        raise CouponsLimited


async def count_wrong(
    connection: AsyncConnection, asking: Asking, wrong: int, batch_ids: Sequence[int], *, now: datetime
) -> None:
    """Count codes that were no good; batch_ids are those of them that have a batch. In a transaction of its own, so
    that the count stays though the call is refused. Who has no try left is written to the audit trail once a window."""
    for kind, subject in sorted(asking.subjects.items()):
        counted = await store.count_wrong(connection, kind, subject, wrong, now=now, since=now - WINDOW)
        if counted - wrong < MOST[kind] <= counted:
            await audit.write(
                connection, actor=GUESSER, action="COUPONS_GUESSED", subject=f"{kind.lower()}:{subject}", detail={},
                at=now,
            )  # fmt: skip
    for batch_id, number in sorted(Counter(batch_ids).items()):
        await store.count_wrong(connection, BATCH, batch_id, number, now=now, since=now - BATCH_WINDOW)
