"""A process's counter: the lanes in which cards are recognised, what decisions look at is read, and purchases are
recorded, each for many callers at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, field

from kit.database import Database
from kit.errors import Rejection
from kit.lane import Lane
from kit.secrets import Vault
from members import identification
from members.guesses import CardGuesses
from members.identification import Identified
from partners import recording
from partners.decisions.prepared import Prepared
from partners.directory import Directory, DirectoryCache
from partners.mechanics import facts
from partners.mechanics.arms import Arms
from partners.mechanics.fact_store import WHICH_CARD, WHOSE, BudgetAsked
from partners.mechanics.facts import Asked, Facts
from partners.outcomes import Recorded
from partners.promotions import counter_store
from partners.recording import Recorder

MOST_BESIDE = 4  # budgets that are read in the statement that reads facts
FLIGHTS = 3  # batches of purchases at a time
ABREAST = 2  # of them with purchases of tills; files alone have two as well
MEETINGS = 2  # batches of cards at a time: the next need not wait where rules have much to be read
BudgetKey = tuple[str, str, str]  # code, scope, period


class Wanted(Struct, frozen=True):
    """What has to be read for a decision: these fields of a member and these counters by name, as known at an instant,
    and what is left of budgets. Either may be nothing."""

    asked: Asked
    at: datetime
    fields: frozenset[str]
    counters: frozenset[str]
    keys: Sequence[BudgetKey]


class Told(Struct, frozen=True):
    """What was read for a decision: the facts (None: not asked for, or there is no such member), and what is left of
    each budget that was asked for."""

    facts: Facts | None = None
    left: Mapping[BudgetKey, int] = field(default_factory=dict)


UNTOLD = Told()


class Carried(Struct, frozen=True):
    """A card that is shown at a till, by its number, and what else is to be read of whom it stands for (`Foreseen`)."""

    number: str
    wanted: Wanted | None = None


class Met(Struct, frozen=True):
    """Whom a card stands for, and what was read of them beside (None: nothing was foreseen)."""

    member: Identified
    told: Told | None = None


class Desk:
    """What a process needs to record purchases. Open one per process, close it to drain its lanes.

    `lane` records purchases that spend nothing, `cards` recognises members by card number, both many callers at once;
    in the lane tills go before files. `known` reads what the decisions of many look at. `recorder` writes, `guesses`
    knows who named too many cards that do not exist.
    """

    def __init__(
        self, database: Database, vault: Vault, directory: DirectoryCache, *, guesses: CardGuesses | None = None
    ) -> None:
        self.database = database
        self.pool = database.pool
        self.vault = vault
        self.directory = directory
        self.recorder = Recorder(database.pool)
        self.lane: Lane[Prepared, Recorded] = Lane(self._record_batch, flights=FLIGHTS, abreast=ABREAST)
        self.cards: Lane[Carried, Met] = Lane(self._meet_batch, flights=MEETINGS, abreast=MEETINGS)
        self.known: Lane[Wanted, Told] = Lane(self._known_batch, flights=FLIGHTS)
        self.arms = Arms(database.pool)
        self.guesses = guesses or CardGuesses(database)

    async def close(self) -> None:
        """Finish what is queued."""
        await self.cards.close()
        await self.known.close()
        await self.arms.close()
        await self.lane.close()

    async def directory_with(self, terms_id: int) -> Directory:
        """The directory, looked up anew where another process signed these terms a moment ago."""
        directory = await self.directory.get()
        return directory if directory.knows_terms(terms_id) else await self.directory.refresh()

    async def _meet_batch(self, items: Sequence[Carried]) -> list[Met | Exception]:
        lookups = identification.lookups_of(self.vault, [item.number for item in items])
        of_rules = [item.wanted is not None and item.number in lookups for item in items]
        if not any(of_rules):
            return await self._identify_batch(items, lookups)
        if all(of_rules):
            return await self._known_by_card(items, lookups)
        wanted = [item for item, is_it in zip(items, of_rules, strict=True) if is_it]
        others = [item for item, is_it in zip(items, of_rules, strict=True) if not is_it]
        read = await asyncio.gather(self._known_by_card(wanted, lookups), self._identify_batch(others, lookups))
        told, plain = map(iter, read)
        return [next(told) if is_it else next(plain) for is_it in of_rules]

    async def _identify_batch(self, items: Sequence[Carried], lookups: Mapping[str, UUID]) -> list[Met | Exception]:
        numbers = [item.number for item in items]
        known = {number: lookups[number] for number in numbers if number in lookups}
        found = await identification.identify_hashed(self.pool, numbers, known)
        return [_met(found[item.number], None) for item in items]

    async def _known_by_card(self, items: Sequence[Carried], lookups: Mapping[str, UUID]) -> list[Met | Exception]:
        """Whom cards stand for, and what was foreseen of each, in one statement."""
        wanted = [item.wanted for item in items if item.wanted is not None]
        fields, counters = _named(wanted)
        directory = await self.directory.get()
        numbered = [_numbered(one.keys, directory) for one in wanted]
        together = None not in numbered
        told = await facts.facts_of_cards(
            self.pool, self.vault, directory.programme, [lookups[item.number] for item in items],
            [one.asked for one in wanted], fields=fields, counters=counters,
            budgets=[one or () for one in numbered] if together else (), at=max(one.at for one in wanted),
        )  # fmt: skip
        answers: list[Met | Exception] = []
        for one, (row, known, left) in zip(wanted, told, strict=True):
            member = identification.judged(row)
            if isinstance(member, Rejection) or not together:
                answers.append(_met(member, None))
                continue
            keys = [_own(key, member) for key in one.keys]
            answers.append(Met(member, Told(known if one.fields else None, dict(zip(keys, left, strict=True)))))
        return answers

    async def _known_batch(self, items: Sequence[Wanted]) -> list[Told]:
        """What is wanted of each: of those with facts in one statement, budgets alone beside it on another."""
        directory = await self.directory.get()
        asking = [item for item in items if item.fields]
        numbered = [_numbered(item.keys, directory) for item in asking]
        together = None not in numbered
        keys = {key for item in items if not (item.fields and together) for key in item.keys}
        budgets = [one or () for one in numbered] if together else ()
        if keys and asking:  # neither waits for the other
            known, left = await asyncio.gather(self._facts_of(asking, budgets), self._left_of(keys))
        else:
            known = await self._facts_of(asking, budgets) if asking else []
            left = await self._left_of(keys) if keys else {}
        of_asking = iter(known)
        told = []
        for item in items:
            found, rest = next(of_asking) if item.fields else (None, ())
            if item.fields and together:
                told.append(Told(found, dict(zip(item.keys, rest or [0] * len(item.keys), strict=True))))
            else:
                told.append(Told(found, {key: left[key] for key in item.keys}))
        return told

    async def _facts_of(
        self, items: Sequence[Wanted], budgets: Sequence[Sequence[BudgetAsked]]
    ) -> list[tuple[Facts | None, list[int]]]:
        fields, counters = _named(items)
        rules = (await self.directory.get()).programme
        return await facts.facts_and_budgets(
            self.pool, self.vault, rules, [item.asked for item in items], fields=fields, counters=counters,
            budgets=budgets, at=max(item.at for item in items),
        )  # fmt: skip

    async def _left_of(self, keys: Collection[BudgetKey]) -> dict[BudgetKey, int]:
        rows = await counter_store.remaining(self.pool, sorted(keys))
        return {(row["code"], row["scope"], row["period"]): row["remaining"] for row in rows}

    async def _record_batch(self, items: Sequence[Prepared]) -> list[Recorded | Exception]:
        found = await recording.record_many(self.recorder, items, at=max(item.at for item in items))
        return list(found)


def _met(member: Identified | Rejection, told: Told | None) -> Met | Exception:
    return member if isinstance(member, Rejection) else Met(member, told)


def _named(items: Sequence[Wanted]) -> tuple[frozenset[str], frozenset[str]]:
    """The fields and counters that any of the items wants."""
    fields, counters = items[0].fields, items[0].counters
    for item in items:
        if item.fields is not fields or item.counters is not counters:
            fields, counters = fields | item.fields, counters | item.counters
    return fields, counters


def _numbered(keys: Sequence[BudgetKey], directory: Directory) -> list[BudgetAsked] | None:
    """Counters of budgets by the budgets' numbers, to be read beside facts. None where they are too many for that, or
    the directory has not heard of one yet."""
    if len(keys) > MOST_BESIDE:
        return None
    found: list[BudgetAsked] = []
    for code, scope, period in keys:
        budget_id = directory.budget_ids.get(code)
        if budget_id is None:
            return None
        found.append((budget_id, scope, period))
    return found


def _own(key: BudgetKey, member: Identified) -> BudgetKey:
    """A foreseen key, now that it is known whose it is."""
    code, scope, period = key
    return code, scope.replace(WHOSE, str(member.member_id)).replace(WHICH_CARD, str(member.card_id)), period
