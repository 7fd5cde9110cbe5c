"""Receipts that earn, many in one call of a till: each answers for itself, under itself as key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kit.errors import Rejection
from members import guesses, identification
from members.guesses import Guesser
from members.identification import Identified, MemberRef
from partners import callers
from partners.agreements import roles
from partners.callers import Caller
from partners.decisions import deciding
from partners.decisions.prepared import Prepared
from partners.desk import Desk
from partners.directory import Directory
from partners.outcomes import Recorded
from partners.purchases import purchases
from partners.receipts.receipts import Receipt
from partners.tills import recognition, replays

MOST_ITEMS = 500


class BatchInvalid(Rejection):
    """A batch holds 1 to 500 items."""

    code = "BATCH_INVALID"
    retryable = False


async def accrue_many(
    desk: Desk, caller: Caller, items: Sequence[tuple[MemberRef, Receipt | Rejection]], *, at: datetime
) -> list[Recorded | Rejection]:
    """Record receipts that earn, each by itself and under itself as key; answers in the items' order.

    Raises BatchInvalid; every other "no" is an item's own.
    """
    if not 1 <= len(items) <= MOST_ITEMS:
        raise BatchInvalid(f"a batch holds 1 to {MOST_ITEMS} items")
    found: dict[int, Recorded | Rejection] = {}
    prepared: dict[int, Prepared] = {}
    for index, one in enumerate(await _prepare_many(desk, caller, items, at)):
        if isinstance(one, Prepared):
            prepared[index] = one
        else:
            found[index] = one
    if prepared:
        recorded = await purchases.accrue_file(desk, list(prepared.values()))
        found.update(zip(prepared, recorded, strict=True))
    return [found[index] for index in range(len(items))]


async def _prepare_many(
    desk: Desk, caller: Caller, items: Sequence[tuple[MemberRef, Receipt | Rejection]], at: datetime
) -> list[Prepared | Recorded | Rejection]:
    directory = await desk.directory.get()
    numbers = {ref.card_number for ref, _ in items if ref.card_number is not None}
    by_number = await identification.identify_cards(desk.pool, desk.vault, list(numbers)) if numbers else {}
    counted: set[tuple[Guesser, str]] = set()
    answers: dict[int, Prepared | Recorded | Rejection] = {}
    asked: dict[int, tuple[Identified, Receipt]] = {}
    for index, (ref, receipt) in enumerate(items):
        try:
            if isinstance(receipt, Rejection):
                raise receipt
            place = callers.place_of(directory, caller, receipt.outlet, receipt.terminal)
            try:
                if ref.card_number is not None:
                    asking = guesses.guesser(place.terminal_id, caller.client_no)
                    await desk.guesses.check(asking)
                    member = await recognition.told(desk, asking, ref.card_number, by_number[ref.card_number], counted)
                else:
                    member = await recognition.identify(desk, caller, ref, place.terminal_id, at)
            except Rejection as no:
                answers[index] = await replays.recorded_before_or(no, desk, caller, place, receipt)
                continue
            if earlier := await replays.recorded_as_another(desk, caller, member, place, receipt):
                answers[index] = earlier
                continue
            asked[index] = (member, receipt)
        except Rejection as no:
            answers[index] = no
    decided = await deciding.decide_many(desk, directory, caller, list(asked.values()), at=at)
    for index, one in zip(asked, decided, strict=True):
        answers[index] = _that_earns(directory, one)
        if isinstance(one, Rejection):  # what it recorded before may be why it would be refused now
            receipt = asked[index][1]
            place = callers.place_of(directory, caller, receipt.outlet, receipt.terminal)
            answers[index] = await replays.recorded_before_or(one, desk, caller, place, receipt)
    return [answers[index] for index in range(len(items))]


def _that_earns(directory: Directory, one: Prepared | Rejection) -> Prepared | Rejection:
    """The purchase, or the "no" to a partner that issues nothing."""
    if isinstance(one, Prepared):
        try:
            roles.require_issuer(directory.terms(one.row.terms_id))
        except Rejection as no:
            return no
    return one
