"""An account as a child would keep it, entry by entry, and what a run's answers must have been.

Nothing here is shared with the ledger: lots in a list, walked one by one. The journal says only in which order things
happened; what each entry and each answer says is computed here and compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

DONE, REPLAYED, KEY_REUSED, TOO_FEW = 0, 1, 2, 3
ACCRUAL, ACTIVATION, REDEMPTION, HOLD, CAPTURE, RELEASE, EXPIRY, RETURN, REFUND, LAPSE, DECLINE = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20,
)  # fmt: skip
GRACE = 30


@dataclass(eq=False)
class Call:
    """One call as a client saw it: what it sent, when it began and ended, what it heard. Days count from the start."""

    holder_id: int
    kind: int
    day: int
    key: UUID
    fingerprint: UUID
    began: int
    arguments: Mapping[str, int]
    ended: int = 0
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The status it heard."""
        return int(self.answer["status"])

    def wrote_nothing(self) -> bool:
        """Whether it heard a "no" that leaves no trace."""
        return self.status not in (DONE, REPLAYED, KEY_REUSED, TOO_FEW)

    def told(self) -> dict[str, Any]:
        """What it heard of the account."""
        return {name: self.answer[name] for name in ("seq", "available", "pending", "taken") if name in self.answer}


@dataclass(frozen=True)
class Entry:
    """A row of the journal."""

    seq: int
    kind: int
    amount: int
    ref_seq: int | None
    day: float
    key: UUID | None
    fingerprint: UUID | None
    after: tuple[int, int, int]


@dataclass(eq=False)
class _Lot:
    seq: int
    left: int
    activates: int
    expires: int
    active: bool


@dataclass(eq=False)
class _Hold:
    seq: int
    parts: list[tuple[_Lot, int]]
    lapses: int
    state: str = "OPEN"

    @property
    def amount(self) -> int:
        return sum(points for _, points in self.parts)


@dataclass
class Account:
    """One account's state after some entry."""

    lots: list[_Lot] = field(default_factory=list)
    holds: dict[int, _Hold] = field(default_factory=dict)
    given: dict[int, list[tuple[_Lot, int]]] = field(default_factory=dict)
    doomed: list[tuple[int, int]] = field(default_factory=list)

    def balances(self) -> tuple[int, int, int]:
        """Available, pending, held."""
        available = sum(lot.left for lot in self.lots if lot.active) + sum(points for _, points in self.doomed)
        pending = sum(lot.left for lot in self.lots if not lot.active)
        return available, pending, sum(hold.amount for hold in self.holds.values() if hold.state == "OPEN")

    def available_on(self, day: int) -> int:
        """What is available once the lots that a hold has just freed, expired as they are by that day, are gone."""
        return self.balances()[0] - sum(lot.left for lot in self.lots if lot.active and lot.expires <= day)

    # --- What time does -------------------------------------------------------------------------------------

    def next_due(self) -> tuple[int, int, int] | None:
        """The next thing that time does, as (day, turn, hold): 1 activates, 2 lapses, 3 expires."""
        due = [(lot.activates, 1, 0) for lot in self.lots if not lot.active and lot.left]
        due += [(hold.lapses, 2, hold.seq) for hold in self.holds.values() if hold.state == "OPEN"]
        due += [(lot.expires, 3, 0) for lot in self.lots if lot.left]
        due += [(day, 3, 0) for day, _ in self.doomed]
        return min(due, default=None)

    def pass_time(self, entry: Entry) -> list[str]:
        """Do the next thing that is due; says where the entry tells otherwise."""
        due = self.next_due()
        if due is None:
            return [f"entry {entry.seq}: nothing was due"]
        day, turn, hold_seq = due
        kind, amount = {1: self._activate, 2: self._lapse, 3: self._expire}[turn](day, hold_seq)
        wanted = (kind, amount, day, hold_seq or None)
        found = (entry.kind, entry.amount, entry.day, entry.ref_seq)
        return [] if found == wanted else [f"entry {entry.seq} is {found}, due was {wanted}"]

    def _activate(self, day: int, _: int) -> tuple[int, int]:
        ripe = [lot for lot in self.lots if not lot.active and lot.left and lot.activates == day]
        for lot in ripe:
            lot.active = True
        return ACTIVATION, sum(lot.left for lot in ripe)

    def _lapse(self, day: int, hold_seq: int) -> tuple[int, int]:
        hold = self.holds[hold_seq]
        hold.state = "LAPSED"
        for lot, points in hold.parts:
            if lot.expires <= day:
                self.doomed.append((day, points))
            else:
                lot.left += points
        return LAPSE, hold.amount

    def _expire(self, day: int, _: int) -> tuple[int, int]:
        old = [lot for lot in self.lots if lot.left and lot.expires == day]
        amount = sum(lot.left for lot in old) + sum(points for each, points in self.doomed if each == day)
        for lot in old:
            lot.left = 0
        self.doomed = [one for one in self.doomed if one[0] != day]
        return EXPIRY, amount

    # --- What calls do --------------------------------------------------------------------------------------

    def refusal(self, call: Call) -> int | None:
        """The status of a "no" that writes nothing, or None where the call would be recorded now."""
        if call.kind == RETURN:
            return None if any(lot.seq == call.arguments["seq"] for lot in self.lots) else 5
        if call.kind == REFUND:
            room = sum(points for _, points in self.given.get(call.arguments["seq"], []))
            return 5 if room < call.arguments["points"] else None
        if call.kind in (CAPTURE, RELEASE):
            return self._hold_refusal(call)
        return None

    def _hold_refusal(self, call: Call) -> int | None:
        hold = self.holds.get(call.arguments["seq"])
        if hold is None:
            return 5
        if hold.state == "LAPSED" or (hold.state == "OPEN" and hold.lapses <= call.day):
            return 9
        if hold.state != "OPEN":
            return 8
        return 10 if call.kind == CAPTURE and call.arguments["points"] > hold.amount else None

    def do(self, call: Call, seq: int) -> tuple[int, int, int]:
        """Record a call as entry number seq: the status, the entry's kind and amount."""
        return {
            ACCRUAL: self._accrue, REDEMPTION: self._spend, HOLD: self._spend, CAPTURE: self._resolve,
            RELEASE: self._resolve, RETURN: self._take_back, REFUND: self._give_back,
        }[call.kind](call, seq)  # fmt: skip

    def _accrue(self, call: Call, seq: int) -> tuple[int, int, int]:
        given = call.arguments
        self.lots.append(
            _Lot(seq, given["points"], given["activates"], given["expires"], given["activates"] <= call.day)
        )
        return DONE, ACCRUAL, given["points"]

    def _spend(self, call: Call, seq: int) -> tuple[int, int, int]:
        points = call.arguments["points"]
        if self.balances()[0] < points:
            return TOO_FEW, DECLINE, points
        taken, rest = [], points
        for lot in sorted(self.lots, key=lambda each: (each.expires, each.seq)):
            take = min(lot.left, rest) if lot.active else 0
            if take:
                lot.left -= take
                rest -= take
                taken.append((lot, take))
        if call.kind == HOLD:
            self.holds[seq] = _Hold(seq, taken, call.day + call.arguments["days"])
        else:
            self.given[seq] = taken
        return DONE, call.kind, points

    def _resolve(self, call: Call, seq: int) -> tuple[int, int, int]:
        hold, rest, taken = self.holds[call.arguments["seq"]], call.arguments.get("points", 0), []
        hold.state = "RESOLVED"
        for lot, points in hold.parts:
            take = min(points, rest)
            rest -= take
            lot.left += points - take
            if take:
                taken.append((lot, take))
        if taken:
            self.given[seq] = taken
        return DONE, call.kind, hold.amount

    def _take_back(self, call: Call, _: int) -> tuple[int, int, int]:
        lot = next(each for each in self.lots if each.seq == call.arguments["seq"])
        taken = min(lot.left, call.arguments["points"])
        lot.left -= taken
        return DONE, RETURN, taken

    def _give_back(self, call: Call, _: int) -> tuple[int, int, int]:
        given, rest = self.given[call.arguments["seq"]], call.arguments["points"]
        for index in range(len(given) - 1, -1, -1):
            lot, points = given[index]
            give = min(points, rest)
            rest -= give
            lot.left += give
            given[index] = (lot, points - give)
            if give and lot.expires <= call.day:
                lot.expires = call.day + GRACE
        return DONE, REFUND, call.arguments["points"]


# --- The check ------------------------------------------------------------------------------------------------


def check(calls: Sequence[Call], journals: Mapping[int, Sequence[Entry]]) -> list[str]:
    """Where a run's answers are not those of some order of the calls, one by one, that respects real time."""
    by_holder: defaultdict[int, list[Call]] = defaultdict(list)
    for call in calls:
        by_holder[call.holder_id].append(call)
    found = []
    for holder_id, entries in journals.items():
        wrong = _replay(by_holder[holder_id], entries) + _out_of_order(by_holder[holder_id])
        found += [f"holder {holder_id}: {one}" for one in wrong]
    return found


def _replay(calls: Sequence[Call], entries: Sequence[Entry]) -> list[str]:
    account, found = Account(), []
    by_key: defaultdict[UUID, list[Call]] = defaultdict(list)
    for call in calls:
        by_key[call.key].append(call)
    refused = _Refusals(calls)
    latest = max((call.day for call in calls), default=0)
    recorded: set[UUID] = set()
    refused.look(account, 0, recorded)
    for number, entry in enumerate(entries, start=1):
        if entry.seq != number:
            return [*found, f"entry {number} is missing"]
        if entry.key is None:
            found += account.pass_time(entry)
            found += [f"entry {entry.seq} came before its time"] if entry.day > latest else []
        else:
            found += _recorded(account, entry, by_key.pop(entry.key, []))
            recorded.add(entry.key)
        if account.balances() != entry.after:
            return [*found, f"after entry {entry.seq} there are {account.balances()}, the entry says {entry.after}"]
        refused.look(account, entry.seq, recorded)
    found += [f"{call} was acknowledged and is not in the journal" for call in _acknowledged(by_key.values())]
    return found + refused.unexplained()


def _acknowledged(groups: Iterable[list[Call]]) -> list[Call]:
    return [call for group in groups for call in group if not call.wrote_nothing()]


def _recorded(account: Account, entry: Entry, calls: list[Call]) -> list[str]:
    mine = [call for call in calls if call.fingerprint == entry.fingerprint]
    if not mine:
        return [f"entry {entry.seq} was asked for by nobody"]
    call, due = mine[0], account.next_due()
    if due is not None and due[0] <= call.day:
        return [f"entry {entry.seq} was recorded on day {call.day} before what was due: {due}"]
    if (no := account.refusal(call)) is not None:
        return [f"entry {entry.seq} should have been refused with {no}: {call}"]
    status, kind, amount = account.do(call, entry.seq)
    if (entry.kind, entry.amount) != (kind, amount):
        return [f"entry {entry.seq} is {(entry.kind, entry.amount)}, the call means {(kind, amount)}: {call}"]
    return _answers(account, entry, calls, status)


def _answers(account: Account, entry: Entry, calls: list[Call], status: int) -> list[str]:
    _, pending, _ = account.balances()
    available = account.available_on(calls[0].day)
    wanted = {"seq": entry.seq, "available": available, "pending": pending, "taken": entry.amount}
    found = []
    for call in calls:
        if call.wrote_nothing():
            continue  # a "no" frees the key, and a later try may be recorded: whether it was true then, _Refusals asks
        is_mine = call.fingerprint == entry.fingerprint
        good = ({DONE, REPLAYED} if status == DONE else {status}) if is_mine else {KEY_REUSED}
        told = {name: value for name, value in call.told().items() if is_mine or name == "seq"}
        if call.status not in good or any(wanted[name] != value for name, value in told.items()):
            found.append(f"entry {entry.seq}: {call} should have heard {sorted(good)} and {wanted}")
    if sum(call.status == DONE for call in calls) > 1:
        found.append(f"entry {entry.seq} was acknowledged as new more than once")
    return found


class _Refusals:
    """A "no" that wrote nothing must have been true at some moment between its question and its answer."""

    def __init__(self, calls: Sequence[Call]) -> None:
        recorded = [call for call in calls if call.status == DONE]  # a decline may be the repetition of an old one
        self._open = [
            (_last_before(recorded, call), _first_after(recorded, call), call) for call in calls if call.wrote_nothing()
        ]

    def look(self, account: Account, seq: int, recorded: Set[UUID]) -> None:
        """Strike off what is true after this entry; whose key is recorded already must have heard of that instead."""
        self._open = [
            (low, high, call)
            for low, high, call in self._open
            if not (low <= seq < high and call.key not in recorded and account.refusal(call) == call.status)
        ]

    def unexplained(self) -> list[str]:
        """What was never true while it was asked."""
        return [f"refused without a reason: {call}" for _, _, call in self._open]


def _last_before(recorded: Sequence[Call], call: Call) -> int:
    return max((one.answer["seq"] for one in recorded if one.ended < call.began), default=0)


def _first_after(recorded: Sequence[Call], call: Call) -> float:
    return min((one.answer["seq"] for one in recorded if one.began > call.ended), default=float("inf"))


def _out_of_order(calls: Sequence[Call]) -> list[str]:
    """Calls that began after another was answered and are in the journal before it."""
    fresh = [call for call in calls if call.status == DONE]
    by_end, found, last, highest = sorted(fresh, key=lambda one: one.ended), [], 0, 0
    for call in sorted(fresh, key=lambda one: one.began):
        while last < len(by_end) and by_end[last].ended < call.began:
            highest = max(highest, by_end[last].answer["seq"])
            last += 1
        if call.answer["seq"] < highest:
            found.append(f"{call} began after entry {highest} was answered and was recorded before it")
    return found
