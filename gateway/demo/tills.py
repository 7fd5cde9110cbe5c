"""PURE: what the demonstration's tills do with a receipt, by a seeded rule, so that every replay does the same.

The rule: a hash of the seed, the partner and the receipt's reference decides. One receipt in 60 is paid in part
with points, at the four partners where members treat themselves one in 3: 100, 200 or 500 points, or the most of
these that half the bill takes. One in 80 comes back one to ten days later: whole, by its first line of any worth, or
by half its amount. A receipt of nothing is neither. What is not paid with points is reported at the end of the day,
up to 200 receipts in a request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b
from itertools import groupby
from typing import Any

from gateway.demo.data import Receipt
from kit.amounts import decimal_from_minor

SPENT_ONE_IN = 60
TREATED_ONE_IN = 3
TREATS = frozenset({"beauty", "fish", "flowers-garden", "wine-spirits"})
RETURNED_ONE_IN = 80
POINTS_SPENT = (100, 200, 500)
POINT_VALUE_MINOR = 1
LONGEST_RETURN_DAYS = 10
BATCH = 200
# A rotating code is good once and is accepted one step early or late: three purchases a day with one card.
CODE_STEPS = (0, -1, 1)


@dataclass(frozen=True, slots=True)
class Intention:
    """What becomes of one receipt. points_spent 0: it only earns. returned_after_days 0: it is kept."""

    points_spent: int
    returned_after_days: int
    returned_how: str


@dataclass(frozen=True, slots=True)
class Spending:
    """A purchase to be paid in part with points, and which step of the card's rotating code proves it."""

    receipt: Receipt
    points: int
    code_step: int


@dataclass(frozen=True, slots=True)
class Return:
    """A receipt that comes back, and the gateway's ReturnWhatInput."""

    receipt: Receipt
    what: dict[str, Any]


@dataclass(slots=True)
class Day:
    """What the tills do on one business day.

    batches are up to 200 receipts of one partner that only earn. visits are one household's purchases paid with points
    and returns of earlier days: one after the other within a household, so that the day always ends the same way.
    """

    day: date
    receipt_count: int = 0
    batches: list[list[Receipt]] = field(default_factory=list)
    visits: dict[int, list[Spending | Return]] = field(default_factory=dict)


def intention(seed: int, receipt: Receipt) -> Intention:
    """What the rule makes of a receipt."""
    digest = blake2b(f"{seed}:{receipt.partner}:{receipt.reference}".encode(), digest_size=8).digest()
    spent, returned, points, days, how = (int.from_bytes(part) for part in (
        digest[:2], digest[2:4], digest[4:5], digest[5:6], digest[6:],
    ))  # fmt: skip
    one_in = TREATED_ONE_IN if receipt.partner in TREATS else SPENT_ONE_IN
    comes_back = returned % RETURNED_ONE_IN == 0 and receipt.total_minor > 0
    return Intention(
        points_spent=_affordable(POINTS_SPENT[points % 3], receipt.total_minor) if spent % one_in == 0 else 0,
        returned_after_days=1 + days % LONGEST_RETURN_DAYS if comes_back else 0,
        returned_how=("WHOLE", "LINE", "AMOUNT")[how % 3],
    )


def _affordable(wanted: int, total_minor: int) -> int:
    half = total_minor // 2
    return max((some for some in POINTS_SPENT if some <= wanted and some * POINT_VALUE_MINOR <= half), default=0)


def what_returns(receipt: Receipt, how: str) -> dict[str, Any]:
    """The gateway's ReturnWhatInput: everything, one line, or an amount."""
    if how == "LINE":
        worth = next(line for line in receipt.input["lines"] if line["amount"] != "0.00")
        return {"lines": [{"lineId": worth["lineId"], "amount": worth["amount"]}]}
    if how == "AMOUNT":
        half_minor = (receipt.total_minor + 1) // 2
        return {"amount": str(decimal_from_minor(half_minor, "USD"))}
    return {"whole": True}


class Schedule:
    """Turns days of receipts into days of work, and remembers what comes back when."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._coming_back: dict[date, list[Return]] = defaultdict(list)

    def days(self, receipts: Iterable[Receipt]) -> Iterator[Day]:
        """The work of each day that has receipts; these come in order of day and partner."""
        for day, of_day in groupby(receipts, key=lambda receipt: receipt.day):
            yield self._day(day, list(of_day))

    def _day(self, day: date, receipts: Sequence[Receipt]) -> Day:
        work = Day(day, len(receipts))
        for partner_receipts in (list(group) for _, group in groupby(receipts, key=lambda one: one.partner)):
            earning = [one for one in partner_receipts if not self._spends(one, work)]
            work.batches += [earning[start : start + BATCH] for start in range(0, len(earning), BATCH)]
        work.batches.sort(key=len, reverse=True)  # the longest work first, so that nobody waits for it at the end
        for due in sorted(when for when in self._coming_back if when <= day):
            for back in self._coming_back.pop(due):
                work.visits.setdefault(back.receipt.household, []).append(back)
        return work

    def _spends(self, receipt: Receipt, work: Day) -> bool:
        """Whether the receipt is paid in part with points; notes that, and when it comes back."""
        intended = intention(self._seed, receipt)
        if intended.returned_after_days:
            back = Return(receipt, what_returns(receipt, intended.returned_how))
            self._coming_back[receipt.day + timedelta(days=intended.returned_after_days)].append(back)
        spent = len(work.visits.get(receipt.household, ()))
        if not intended.points_spent or spent == len(CODE_STEPS):
            return False
        visit = Spending(receipt, intended.points_spent, CODE_STEPS[spent])
        work.visits.setdefault(receipt.household, []).append(visit)
        return True
