"""What the reading of a decision counts is what the receipts say, of whoever is merged, however much of it is added up."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from kit.database import Database
from kit.secrets import Vault
from members import identification
from partners.mechanics import facts
from partners.mechanics.facts import Asked
from partners.outcomes import Recorded
from partners.promotions.basket import COUNTERS
from tests.builders import DAY, NOON, PROGRAMME, Coalition, found
from tests.partners.mechanics.test_facts import buy, give_back
from tests.partners.tills.test_merged import Merged

DAYS = [NOON + timedelta(hours=1), NOON, NOON - DAY, NOON - 40 * DAY, NOON - 400 * DAY]
CURRENCIES = {"bakery": "EUR", "grocer": "EUR", "books": "USD"}


def changes(rows: Sequence[asyncpg.Record], member_ids: set[int]) -> Iterator[tuple[int, date, int, int]]:
    """What each receipt adds to what members bought: partner, day, purchases, amount."""
    purchases = {(row["holder_id"], row["seq"]): row for row in rows if row["kind"] == 1}
    returned: dict[tuple[int, int], list[int]] = {}
    for row in sorted(rows, key=lambda row: row["seq"]):
        counts = row["currency"] == "EUR"
        original = purchases.get((row["holder_id"], row["original_seq"]))
        if row["holder_id"] not in member_ids:
            continue
        if row["kind"] == 1:
            yield row["partner_id"], row["occurred_at"].date(), 1, row["total"] if counts else 0
        elif original is not None:
            before = returned.setdefault((row["holder_id"], row["original_seq"]), [])
            whole, gone = original["total"], sum(before)
            is_whole = gone < whole <= gone + row["total"] or (whole == 0 and not before)
            before.append(row["total"])
            yield row["partner_id"], original["occurred_at"].date(), -is_whole, -row["total"] if counts else 0


def expected(rows: Sequence[asyncpg.Record], member_ids: set[int], partner_id: int, at: datetime) -> Mapping[str, int]:
    """Every counter at a partner, for a basket bought at an instant."""
    told = dict.fromkeys(COUNTERS, 0)
    for partner, day, purchases, amount in changes(rows, member_ids):
        for name in COUNTERS:
            place, period, what = name.split(".")
            alike = {"ever": 0, "year": 1, "month": 2, "day": 3}[period]
            same = (day.year, day.month, day.day)[:alike] == (at.year, at.month, at.day)[:alike]
            if same and (place == "coalition" or partner == partner_id):
                told[name] += purchases if what == "count" else amount
    return told


@pytest.mark.parametrize("seed", [1, 2])
async def test_counters_are_what_the_receipts_of_all_selves_say(database: Database, vault: Vault, seed: int) -> None:
    """Purchases and returns, merges and their ends, additions of any part, in any order."""
    coalition, chance = await found(database, vault), random.Random(seed)
    for code, currency in CURRENCIES.items():
        await coalition.add_partner(code, return_window_days=0, currency=currency)
    held = [await coalition.add_member() for _ in range(3)]
    merged, bought = Merged(coalition, held[0], held[1]), list[Recorded]()
    stands_for = {card.member_id: card.member_id for card in held}
    for step in range(24):
        card = chance.choice([one for one in held if stands_for[one.member_id] == one.member_id])
        if step % 8 == 6:
            if stands_for[held[0].member_id] == held[1].member_id:
                await merged.part()
                stands_for[held[0].member_id] = held[0].member_id
            else:
                await merged.merge()
                stands_for[held[0].member_id] = held[1].member_id
        elif step % 5 == 4:
            async with database.transaction() as connection:
                some = chance.sample([one.member_id for one in held], 2)
                await facts.fold(connection, PROGRAMME, only=some)
        elif bought and chance.random() < 0.35:
            await give_back(coalition, bought.pop(), chance.choice([None, 40]), at=NOON + 2 * DAY)
        else:
            partner = chance.choice(list(CURRENCIES))
            one = await buy(
                coalition, card, chance.choice([0, 100, 250]), at=chance.choice(DAYS), partner=partner,
                currency=CURRENCIES[partner],
            )  # fmt: skip
            if partner == "bakery" and one.receipt.total_minor:
                bought += [one, one] if one.receipt.total_minor == 250 else [one]
        if step % 3 == 2:
            await assert_counted(coalition, chance, [(card.number, stands_for[card.member_id]) for card in held])
    assert await facts_audit(database) == []
    await coalition.desk.close()


async def assert_counted(coalition: Coalition, chance: random.Random, held: Sequence[tuple[str, int]]) -> None:
    """Cards and members are told what receipts say, all counters together and some of them, several at once."""
    pool: Any = coalition.desk.pool
    rows = await pool.fetch("SELECT * FROM partners.receipt WHERE unit = 1")
    selves = {member: set[int]() for _, member in held}
    own = await pool.fetch("SELECT member_id FROM members.member ORDER BY member_id")
    for (_, member), row in zip(held, own, strict=True):
        selves[member].add(row["member_id"])
    at, caller = chance.choice(DAYS), coalition.callers[chance.choice(list(CURRENCIES))]
    asked = [Asked(member, caller.partner_id, at) for _, member in held]
    told = [expected(rows, selves[member], caller.partner_id, at) for _, member in held]
    hashes = identification.lookups_of(coalition.vault, [number for number, _ in held])
    some = [frozenset(COUNTERS), *(frozenset(chance.sample(sorted(COUNTERS), size)) for size in (1, 1, 2, 3))]
    for names in some:
        known: dict[str, Any] = {"fields": frozenset({"counters"}), "counters": names, "at": at}
        by_number = await facts.some_facts_of_many(pool, coalition.vault, PROGRAMME, asked, **known)
        by_card = await facts.facts_of_cards(pool, coalition.vault, PROGRAMME, list(hashes.values()), asked, **known)
        right = [{name: one[name] for name in names} for one in told]
        assert [one and one.member.counters for one in by_number] == right, (names, at)
        assert [row and row["member_id"] for row, _, _ in by_card] == [member for _, member in held]
        assert [one for _, one, _ in by_card] == by_number


async def facts_audit(database: Database) -> list[str]:
    async with database.reading() as connection:
        return await facts.audit(connection, PROGRAMME)
