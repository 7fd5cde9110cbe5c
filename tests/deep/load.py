"""Tills under load that never give up: whatever breaks, each sends its call again with the same key until it knows.

What they were told is written down as it was told, and compared with what is stored when all is quiet.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import asyncpg

from kit import actors
from kit.database import Database
from kit.errors import Rejection
from kit.lane import Busy
from ledger import cutoffs
from members import cards, proofs
from members.cards import IssuedCard
from members.identification import MemberRef
from partners import callers, calls, outcomes
from partners.desk import Desk
from partners.outcomes import Recorded
from partners.receipts.receipts import Receipt, ReceiptRef
from partners.returns import returns
from partners.returns.returning import Wish
from partners.tills import tills
from settlement import archive, controls, runs
from tests.builders import Coalition, a_receipt

PURCHASE, SPENDING, RETURN = "recordPurchase", "spending", "returnPurchase"
PATIENCE_SECONDS = 60.0


class Unknown(Exception):  # noqa: N818 - nobody knows whether it is an error
    """Nobody knows whether the call happened."""


class Later(Exception):  # noqa: N818 - an invitation
    """Refused for the moment; the same call is welcome again."""


@dataclass(frozen=True)
class Answer:
    """What a till was told: a "no", or the points added and taken off and where it is recorded."""

    no: str | None = None
    added: int = 0
    taken: int = 0
    place: str = ""
    replayed: bool = False

    def same(self, other: Answer) -> bool:
        """Whether both tell of one and the same effect."""
        return replace(self, replayed=False) == replace(other, replayed=False)


@dataclass(eq=False)
class Intent:
    """One call of a till, repeated until it is answered."""

    number: int
    operation: str
    partner: str
    card: IssuedCard
    reference: str
    at: datetime
    total_minor: int = 0
    points: int = 0
    original: Intent | None = None
    amount_minor: int | None = None
    answer: Answer | None = None
    unknown: int = 0
    later: int = 0
    returns: int = 0

    @property
    def key(self) -> str:
        """The idempotency key, the same in every try."""
        return f"deep-key-{self.number:012d}"

    @property
    def receipt(self) -> Receipt:
        """The receipt as the till sends it."""
        return a_receipt(self.total_minor, at=self.at, reference=self.reference)


class Window(Protocol):
    """Where tills ask. Raises Unknown and Later; anything else but an Answer is a violation."""

    async def ask(self, intent: Intent) -> Answer:
        """The answer to a call."""
        ...


# What may be refused for good, and then must have written nothing: the code grew old or was shown twice meanwhile.
ACCEPTABLE = {
    PURCHASE: frozenset[str](),
    SPENDING: frozenset({"INSUFFICIENT_POINTS", "CODE_EXPIRED", "CODE_USED"}),
    RETURN: frozenset[str](),
}


@dataclass
class Load:
    """Tills that buy, spend and return at one window, over few cards, so that they meet."""

    window: Window
    cards: Sequence[IssuedCard]
    seed: int
    now: Callable[[int], datetime]
    tills: int = 16
    partners: Sequence[str] = ("bakery", "grocer")
    intents: list[Intent] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then every till still finds out what became of its last call."""
        await asyncio.gather(*(self._till(random.Random(f"{self.seed}.{n}"), stop) for n in range(self.tills)))

    async def _till(self, dice: random.Random, stop: asyncio.Event) -> None:
        own: list[Intent] = []
        while not stop.is_set():
            intent = self._next(dice, own)
            self.intents.append(intent)
            await self._insist(intent, dice)
            if intent.answer and intent.answer.no is None and intent.operation != RETURN:
                own.append(intent)

    def _next(self, dice: random.Random, own: list[Intent]) -> Intent:
        number, move = len(self.intents) + 1, dice.random()
        at = self.now(number)
        if move < 0.2 and (open_ones := [one for one in own if one.returns < 2]):
            original = dice.choice(open_ones)
            original.returns += 1
            amount = original.total_minor // 3 if original.returns == 1 else None
            return Intent(
                number,
                RETURN,
                original.partner,
                original.card,
                f"B{number}",
                at,
                original=original,
                amount_minor=amount,
            )
        points = dice.randint(1, 150) if move > 0.7 else 0
        return Intent(
            number, SPENDING if points else PURCHASE, dice.choice(self.partners), dice.choice(self.cards), f"D{number}",
            at, total_minor=dice.randint(300, 15_000), points=points,
        )  # fmt: skip

    async def _insist(self, intent: Intent, dice: random.Random) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while intent.answer is None:
            try:
                intent.answer = await self.window.ask(intent)
            except Unknown:
                intent.unknown += 1
            except Later:
                intent.later += 1
            except Exception as error:
                self.violations.append(f"{intent.operation} {intent.number} raised {error!r}")
                intent.answer = Answer(no="DEFECT")
                return
            else:
                self._look_at(intent)
                return
            if asyncio.get_running_loop().time() > deadline:
                self.violations.append(f"{intent.operation} {intent.number} was never answered")
                intent.answer = Answer(no="NEVER")
                return
            await asyncio.sleep(dice.uniform(0.005, 0.05))

    def _look_at(self, intent: Intent) -> None:
        assert intent.answer is not None
        if intent.answer.no is not None and intent.answer.no not in ACCEPTABLE[intent.operation]:
            self.violations.append(f"{intent.operation} {intent.number} was told {intent.answer.no}")

    async def ask_all_again(self, sample: int) -> None:
        """Every till repeats calls that were recorded or declined, and must hear what it heard."""
        final = [one for one in self.intents if one.answer and one.answer.no in (None, "INSUFFICIENT_POINTS")]
        chosen = random.Random(self.seed).sample(final, min(sample, len(final)))
        for part in range(0, len(chosen), self.tills):
            asked = chosen[part : part + self.tills]
            for intent, again in zip(asked, await asyncio.gather(*map(self.window.ask, asked)), strict=True):
                assert intent.answer is not None
                if not again.same(intent.answer) or (again.no is None and not again.replayed):
                    self.violations.append(f"{intent.number} heard {intent.answer}, then {again}")

    def figures(self) -> dict[str, object]:
        """What happened, for people."""
        answers = [one.answer for one in self.intents if one.answer]
        return {
            "operations": len(self.intents),
            "acknowledged": sum(answer.no is None for answer in answers),
            "declined": sum(answer.no is not None for answer in answers),
            "indeterminate": sum(one.unknown for one in self.intents),
            "found recorded on retry": sum(answer.replayed for answer in answers),
            "told to come later": sum(one.later for one in self.intents),
        }


class DeskWindow:
    """A desk in this process. An exception is taken as the gateway takes it: a "no", unknown, or a defect."""

    def __init__(self, coalition: Coalition, desk: Desk, is_unavailable: Callable[[BaseException], bool]) -> None:
        self._coalition = coalition
        self._desk = desk
        self._is_unavailable = is_unavailable

    async def ask(self, intent: Intent) -> Answer:
        """The answer to a call."""
        try:
            return await (self._give_back(intent) if intent.operation == RETURN else self._record(intent))
        except (Busy, outcomes.Stale) as later:
            raise Later from later
        except Rejection as no:
            return Answer(no=no.code)
        except Exception as error:
            if self._is_unavailable(error):
                raise Unknown from error
            raise

    async def _record(self, intent: Intent) -> Answer:
        caller = self._coalition.callers[intent.partner]
        key = calls.scoped_key(caller, PURCHASE, intent.key)
        spend = None
        if intent.points:
            ref = cards.ref(self._coalition.vault, intent.card.card_id)
            code = proofs.code_for(intent.card.secret, ref, proofs.step_at(intent.at))
            spend = tills.Spend(intent.points, None, tills.Proof(card_code=code))
        done = await tills.record_purchase(
            self._desk,
            calls.Call(caller, key, intent.at, intent.at),
            MemberRef(card_number=intent.card.number),
            intent.receipt,
            spend=spend,
        )
        return _answer(done, added=done.receipt.awarded_points, taken=done.receipt.redeemed_points)

    async def _give_back(self, intent: Intent) -> Answer:
        assert intent.original is not None
        caller, first = self._coalition.callers[intent.partner], intent.original.receipt
        place = callers.place_of(await self._desk.directory.get(), caller, "1", "1")
        own = ReceiptRef("1", "1", intent.at.date(), intent.reference)
        ref = ReceiptRef(first.outlet, first.terminal, first.business_date, first.reference)
        original = await returns.find_original(self._desk, caller, ref=ref)
        done = await returns.return_purchase(
            self._desk, caller, returns.ReturnSlip(own.reference, place, own, intent.at), original,
            Wish(amount_minor=intent.amount_minor), idem_key=calls.scoped_key(caller, RETURN, intent.key), at=intent.at,
        )  # fmt: skip
        return _answer(done.recorded, added=done.refunded_points, taken=done.taken_points)


def _answer(done: Recorded, *, added: int, taken: int) -> Answer:
    place = f"{done.receipt.holder_id}:{done.receipt.seq}"
    return Answer(added=added, taken=taken, place=place, replayed=done.replayed)


# --- What is stored -----------------------------------------------------------------------------------------


async def differences(load: Load, pool: asyncpg.Pool, key_of: Callable[[Intent], object]) -> list[str]:
    """Where what was told and what is stored differ, in any direction. key_of gives the key as it is stored."""
    stored = await pool.fetch(
        "SELECT c.idem_key, r.holder_id, r.seq, r.kind, r.awarded, r.redeemed FROM partners.receipt_claim c "
        "JOIN partners.receipt r USING (claim) "
    )
    entries = await pool.fetch(
        "SELECT idem_key, kind, count(*) AS n FROM ledger.journal WHERE idem_key IS NOT NULL GROUP BY 1, 2"
    )
    by_key: dict[object, list[asyncpg.Record]] = {}
    for row in stored:
        by_key.setdefault(row["idem_key"], []).append(row)
    journalled = {row["idem_key"]: (row["kind"], row["n"]) for row in entries}
    found = []
    for intent in load.intents:
        key = key_of(intent)
        found += _differs(intent, by_key.pop(key, []), journalled.pop(key, None))
    found += [f"stored and never asked: {key}" for key in (*by_key, *journalled)]
    return found + await _wrong_balances(load, pool)


def _differs(intent: Intent, stored: list[asyncpg.Record], entry: tuple[int, int] | None) -> list[str]:
    answer, what = intent.answer, f"{intent.operation} {intent.number}"
    assert answer is not None
    if answer.no == "INSUFFICIENT_POINTS":
        return [] if (stored, entry) == ([], (20, 1)) else [f"{what} was declined, stored {stored} {entry}"]
    if answer.no is not None:
        return [] if (stored, entry) == ([], None) else [f"{what} was refused ({answer.no}) and is stored: {entry}"]
    if len(stored) != 1 or entry is None or entry[1] != 1:
        return [f"{what} was acknowledged and is stored {len(stored)} times, with {entry}"]
    [row] = stored
    as_stored = (row["awarded"], row["redeemed"]) if intent.operation != RETURN else (row["redeemed"], row["awarded"])
    is_there = answer.place in ("", f"{row['holder_id']}:{row['seq']}") and row["holder_id"] == intent.card.member_id
    return [] if as_stored == (answer.added, answer.taken) and is_there else [f"{what} was told {answer}, stored {row}"]


async def _wrong_balances(load: Load, pool: asyncpg.Pool) -> list[str]:
    told: Counter[int] = Counter()
    for intent in load.intents:
        if intent.answer and intent.answer.no is None:
            told[intent.card.member_id] += intent.answer.added - intent.answer.taken
    rows = await pool.fetch("SELECT holder_id, available + pending + held AS points FROM ledger.account")
    kept = {row["holder_id"]: row["points"] for row in rows}
    return [
        f"holder {card.member_id} has {kept[card.member_id]} points and was told of {told[card.member_id]}"
        for card in load.cards
        if kept[card.member_id] != told[card.member_id]
    ]


async def unsound(database: Database, at: datetime) -> list[str]:
    """What the audit and, after one more cut-off and run at an instant, settlement's controls find."""
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "finance", [actors.FINANCE_MAKER])
    await runs.close_cutoff(database, actor="finance", at=at)
    async with database.transaction() as connection:
        await runs.settle(connection, actor="finance", at=at)
    async with database.reading() as connection:
        broken = [f"{one.code} {one.detail}" for one in await controls.run(connection)]
        broken += await archive.check(connection)
    rows = await database.pool.fetch("SELECT * FROM ledger.audit()")
    return broken + [f"{row['rule']}: {row['detail']}" for row in rows]


async def close_cutoffs(
    database: Database,
    now: Callable[[], datetime],
    stop: asyncio.Event,
    is_unavailable: Callable[[BaseException], bool],
) -> int:
    """Close cut-offs beside the load until told to stop; how often it worked. An outage is waited out."""
    closed = 0
    while not stop.is_set():
        try:
            await cutoffs.close(database, at=now())
            closed += 1
        except Exception as error:
            if not is_unavailable(error):
                raise
        await asyncio.sleep(0.2)
    return closed
