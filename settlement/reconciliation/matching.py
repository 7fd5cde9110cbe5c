"""PURE: two sides of the same receipts, matched line by line; what does not match is a break with a category.

The stages go from certain to guessed, and each match says which stage and version made it: EXACT (everything equal),
TOLERANCE (within what the rule declares; points never differ), GROUPED (several on one side are one on the other),
SUGGESTED (a person decides). Sides come sorted by key, so that millions are compared while only what differs is held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Literal

from kit.errors import Rejection
from settlement.reconciliation.breaks import Category

Stage = Literal["EXACT", "TOLERANCE", "GROUPED", "SUGGESTED"]
RULES_VERSION = 2  # 2: several lines of one key may be one line of the other side
MOST_DIFFERENCES = 200_000
_MOST_GROUPED = 12  # of one group: more are a person's work, and the number of combinations would explode


class TooManyDifferences(Rejection):
    """The two sides hardly meet; the file is of another day, partner or format, and matching it would say nothing."""

    code = "TOO_MANY_DIFFERENCES"
    retryable = False


@dataclass(frozen=True, slots=True)
class Item:
    """One side's line. key is the partner's own (reference, kind); item_no is its number on its side.

    points are whole and signed, amounts are minor units and signed; unit_price_micro, tax_minor and status are compared
    where both sides have them. window says which cut-off it is of: 0 the one compared, -1 and 1 its neighbours.
    due_on is the first day by which the other side should have it.
    """

    item_no: int
    key: tuple[str, str]
    outlet: str
    business_date: date
    points: int
    amount_minor: int
    currency: str
    member: str | None = None
    unit_price_micro: int | None = None
    tax_minor: int | None = None
    status: str | None = None
    window: int = 0
    due_on: date | None = None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a rule lets pass: minor units and days. Points have none."""

    amount_minor: int = 0
    days: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """Lines of both sides that are the same thing, the stage that found it and the version of the rules."""

    stage: Stage
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    version: int = RULES_VERSION


@dataclass(frozen=True, slots=True)
class Break:
    """A difference: its category, the lines of either side, and ours less theirs in points and minor units.

    suggestion is a counterpart that a person may accept: numbers of ours and of theirs.
    """

    category: Category
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    points: int
    amount_minor: int
    suggestion: tuple[tuple[int, ...], tuple[int, ...]] | None = field(default=None)


def reconcile(
    ours: Iterable[Item], theirs: Iterable[Item], *, tolerance: Tolerance, on: date
) -> Iterator[Match | Break]:
    """Every match and every break of two sides, each sorted by key and item_no; on is the day of the comparison.

    Each line of either side is in exactly one match or break, but for neighbours (window -1 or 1) that nothing needed.
    Rejects TOO_MANY_DIFFERENCES; raises ValueError where a side is not sorted.
    """
    left_ours: list[Item] = []
    left_theirs: list[Item] = []
    for mine, yours in _joined(ours, theirs):
        pair, rest_ours, rest_theirs = _same_key(mine, yours, tolerance)
        yield from pair
        left_ours += rest_ours
        left_theirs += rest_theirs
        if len(left_ours) + len(left_theirs) > MOST_DIFFERENCES:
            raise TooManyDifferences(f"more than {MOST_DIFFERENCES:,} lines have no counterpart: is it the right file?")
    yield from _leftovers(left_ours, left_theirs, tolerance, on)


def _joined(ours: Iterable[Item], theirs: Iterable[Item]) -> Iterator[tuple[list[Item], list[Item]]]:
    """Lines of both sides by key, in the order of keys."""
    left, right = _by_key(ours), _by_key(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[1], []
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield [], other[1]
            other = next(right, None)
        else:
            yield one[1], other[1]
            one, other = next(left, None), next(right, None)


def _by_key(items: Iterable[Item]) -> Iterator[tuple[tuple[str, str], list[Item]]]:
    before: tuple[str, str] | None = None
    for key, group in groupby(items, key=attrgetter("key")):
        if before is not None and key < before:
            raise ValueError("a side is not sorted by key")
        before = key
        yield key, list(group)


def _same_key(
    mine: Sequence[Item], yours: Sequence[Item], tolerance: Tolerance
) -> tuple[list[Match | Break], list[Item], list[Item]]:
    """What lines of one key come to; what has no counterpart is left for later stages."""
    found: list[Match | Break] = []
    rest_mine, rest_yours = list(mine), list(yours)
    for stage, fits in (("EXACT", _is_exact), ("TOLERANCE", _is_within)):
        for item in list(rest_mine):
            other = next((o for o in rest_yours if fits(item, o, tolerance)), None)
            if other is not None:
                found.append(Match(stage, (item.item_no,), (other.item_no,)))  # type: ignore[arg-type]
                rest_mine.remove(item)
                rest_yours.remove(other)
    if _is_whole(rest_mine, rest_yours) or _is_whole(rest_yours, rest_mine):
        found.append(Match("GROUPED", tuple(i.item_no for i in rest_mine), tuple(i.item_no for i in rest_yours)))
        return found, [], []
    while rest_mine and rest_yours:
        item, other = rest_mine.pop(0), rest_yours.pop(0)
        found.append(_break(_difference(item, other), [item], [other]))
    if mine and yours:
        found += [_break(Category.DUPLICATE, [item], []) for item in rest_mine if item.window == 0]
        found += [_break(Category.DUPLICATE, [], [item]) for item in rest_yours if item.window == 0]
        return found, [], []
    return found, rest_mine, rest_yours


def _is_whole(one: Sequence[Item], parts: Sequence[Item]) -> bool:
    """Whether one line is all of several of its key on the other side, to the point and the minor unit: a bill that was
    split, of the same place, day and currency."""
    if len(one) != 1 or not 2 <= len(parts) <= _MOST_GROUPED:
        return False
    whole, taxes = one[0], [part.tax_minor for part in parts]
    same = all(
        (part.outlet, part.business_date, part.currency, part.window)
        == (whole.outlet, whole.business_date, whole.currency, whole.window)
        and _agree(part.unit_price_micro, whole.unit_price_micro)
        and _agree(part.status, whole.status)
        for part in parts
    )
    tax = None if None in taxes else sum(one for one in taxes if one is not None)
    sums = (sum(part.points for part in parts), sum(part.amount_minor for part in parts))
    return same and sums == (whole.points, whole.amount_minor) and _agree(tax, whole.tax_minor)


def _is_exact(mine: Item, yours: Item, _: Tolerance) -> bool:
    return _is_within(mine, yours, Tolerance())


def _is_within(mine: Item, yours: Item, tolerance: Tolerance) -> bool:
    return (
        mine.points == yours.points
        and mine.currency == yours.currency
        and mine.outlet == yours.outlet
        and abs(mine.amount_minor - yours.amount_minor) <= tolerance.amount_minor
        and abs((mine.business_date - yours.business_date).days) <= tolerance.days
        and _agree(mine.status, yours.status)
        and _agree(mine.tax_minor, yours.tax_minor)
        and _agree(mine.unit_price_micro, yours.unit_price_micro)
        and mine.window == yours.window
    )


def _difference(mine: Item, yours: Item) -> Category:
    """Why two lines of one key differ: the weightiest reason first."""
    if mine.currency != yours.currency:
        return Category.CURRENCY
    if not _agree(mine.status, yours.status):
        return Category.STATUS
    if mine.points != yours.points:
        return Category.QUANTITY
    if not _agree(mine.unit_price_micro, yours.unit_price_micro):
        return Category.PRICE
    if not _agree(mine.tax_minor, yours.tax_minor):
        return Category.TAX
    if mine.amount_minor != yours.amount_minor:
        return Category.AMOUNT
    if mine.outlet != yours.outlet:
        return Category.MAPPING
    return Category.TIMING


def _agree(one: object, other: object) -> bool:
    return one is None or other is None or one == other


def _leftovers(ours: list[Item], theirs: list[Item], tolerance: Tolerance, on: date) -> Iterator[Match | Break]:
    yield from _grouped(ours, theirs)
    yield from _renamed(ours, theirs)
    suggested = _suggestions(ours, theirs, tolerance)
    for side, items in (("ours", ours), ("theirs", theirs)):
        for item in items:
            if item.window != 0:
                continue
            yield _alone(item, is_ours=side == "ours", suggestion=suggested.get((side, item.item_no)), on=on)


def _alone(item: Item, *, is_ours: bool, suggestion: tuple[tuple[int, ...], tuple[int, ...]] | None, on: date) -> Break:
    if item.due_on is not None and on < item.due_on:
        category = Category.EXPECTED
    else:
        category = Category.MISSING_THEIRS if is_ours else Category.MISSING_OURS
    mine, yours = ([item], []) if is_ours else ([], [item])
    return _break(category, mine, yours, suggestion)


def _grouped(ours: list[Item], theirs: list[Item]) -> Iterator[Match]:
    """Several lines of one side that together are one of the other: same place, day, member and currency."""
    for many, one, is_ours_many in ((ours, theirs, True), (theirs, ours, False)):
        pots: dict[tuple[object, ...], list[Item]] = defaultdict(list)
        for item in many:
            if item.window == 0 and item.member is not None:
                pots[_pot(item)].append(item)
        for single in [item for item in one if item.window == 0 and item.member is not None]:
            group = _subset(pots.get(_pot(single), []), single)
            if group is None:
                continue
            for item in group:
                many.remove(item)
                pots[_pot(single)].remove(item)
            one.remove(single)
            numbers = tuple(item.item_no for item in group)
            yield Match("GROUPED", *((numbers, (single.item_no,)) if is_ours_many else ((single.item_no,), numbers)))


def _pot(item: Item) -> tuple[object, ...]:
    return item.outlet, item.business_date, item.member, item.currency


def _subset(items: Sequence[Item], single: Item) -> list[Item] | None:
    """All of a pot, when it makes the single line to the point and minor unit. Parts of a pot are a person's guess."""
    if not 2 <= len(items) <= _MOST_GROUPED:
        return None
    whole = (sum(i.points for i in items), sum(i.amount_minor for i in items))
    return list(items) if whole == (single.points, single.amount_minor) else None


def _renamed(ours: list[Item], theirs: list[Item]) -> Iterator[Break]:
    """The same receipt under another reference: one candidate on each side, equal in all else."""

    def trait(item: Item) -> tuple[object, ...]:
        return item.key[1], item.outlet, item.business_date, item.points, item.amount_minor, item.currency

    pots: dict[tuple[object, ...], tuple[list[Item], list[Item]]] = defaultdict(lambda: ([], []))
    for number, side in enumerate((ours, theirs)):
        for item in side:
            if item.window == 0:
                pots[trait(item)][number].append(item)
    for mine, yours in pots.values():
        if len(mine) == len(yours) == 1 and _agree(mine[0].member, yours[0].member):
            ours.remove(mine[0])
            theirs.remove(yours[0])
            yield _break(Category.REFERENCE, mine, yours)


def _suggestions(
    ours: Sequence[Item], theirs: Sequence[Item], tolerance: Tolerance
) -> dict[tuple[str, int], tuple[tuple[int, ...], tuple[int, ...]]]:
    """For lines without counterpart the nearest of the other side with the same points and currency, if one is near."""
    pots: dict[tuple[int, str], list[Item]] = defaultdict(list)
    for item in theirs:
        pots[item.points, item.currency].append(item)
    found: dict[tuple[str, int], tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for item in ours:
        near = [o for o in pots[item.points, item.currency] if _is_near(item, o, tolerance)]
        if near:
            other = min(near, key=lambda o: (abs(o.amount_minor - item.amount_minor), o.item_no))
            found["ours", item.item_no] = found["theirs", other.item_no] = ((item.item_no,), (other.item_no,))
    return found


def _is_near(mine: Item, yours: Item, tolerance: Tolerance) -> bool:
    days = timedelta(days=max(tolerance.days, 2))
    return abs(mine.business_date - yours.business_date) <= days and mine.key[1] == yours.key[1]


def _break(
    category: Category,
    mine: Sequence[Item],
    yours: Sequence[Item],
    suggestion: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
) -> Break:
    return Break(
        category=category,
        ours=tuple(item.item_no for item in mine),
        theirs=tuple(item.item_no for item in yours),
        points=sum(item.points for item in mine) - sum(item.points for item in yours),
        amount_minor=sum(item.amount_minor for item in mine) - sum(item.amount_minor for item in yours),
        suggestion=suggestion,
    )
