"""Many renewals in one night: the same facts as one by one, each once, whoever does them beside whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import Vault
from members.subscription import nightly, subscriptions
from members.subscription.providers import Answer, ChargeOrder, Silent
from members.subscription.subscriptions import Subscription
from tests.members.subscribers import DAY, START, Club, Scripted
from tests.members.test_offers import drawn, offer, take

MINUTE = timedelta(minutes=1)
WORDS = ("PAID", "SOFT", "HARD", "SILENT", "LOST", "PENDING", "PAID")
PLAIN = 9


@dataclass
class ByCard(Scripted):
    """A provider that does about a renewal what stands for the member's card, and pays anything before."""

    words: dict[str, str] = field(default_factory=dict)

    async def charge(self, order: ChargeOrder) -> Answer:
        known = order.key in self.taken
        word = "PAID" if known else self.words.pop(order.token, "PAID")
        if word == "LOST":
            raise Silent
        self.script = [word]
        return await super().charge(order)


@asynccontextmanager
async def opened(server: postgres.Server, template: str, vault: Vault, name: str) -> AsyncIterator[Club]:
    postgres.create_database(server, name, template=template)
    async with connect(server.url(name, APPLICATION_ROLE)) as database:
        club = Club(database, vault, ByCard())
        await club.open()
        yield club
    postgres.drop_database(server, name)


async def a_month(club: Club) -> list[Subscription]:
    """People who have had a month: the first renew plainly, with cards that do one thing or another; the others have
    asked for something."""
    held = []
    for number in range(PLAIN + 6):
        club.at = START + number * MINUTE
        its = await club.subscribe(await club.person(), interval="MONTH" if number != PLAIN + 5 else "YEAR",
                                   wants_trial=number == PLAIN + 4)  # fmt: skip
        await club.pass_time(timedelta(0))
        held.append(its)
    club.at = START + 40 * MINUTE  # last, since they are renewed alone: with a code, and a present that begins then
    draft = {"kind": "PERCENT", "percent_bp": 5000, "valid_from": START, "valid_until": START + DAY, "periods": 3}
    await offer(club, **draft)
    [code] = await drawn(club)
    coded = await take(club, await club.person(), code)
    given = await club.subscribe(await club.person())
    await club.pass_time(timedelta(0))
    await club.database.pool.execute(
        """
        INSERT INTO members.gift_use (holder_id, subscription_no, gift_no, invoice_no, starts_at, ends_at, service_from,
                                      service_until, price_no, at)
        SELECT $1, $2, 1, 1, $3::timestamptz, $3::timestamptz + interval '1 month', '2026-04-01', '2026-05-01', 1, $4::timestamptz
        """,
        given.holder_id, given.subscription_no, (await club.read(given)).contract.period_end, club.at,
    )  # fmt: skip
    held += [coded, given]
    provider: Any = club.provider
    for its, word in zip(held[:PLAIN], WORDS, strict=False):
        provider.words[f"card-{its.holder_id}"] = word
    club.at = START + 20 * DAY
    cancelled, paused, withdrawn, changed = held[PLAIN : PLAIN + 4]
    await club.do(subscriptions.cancel, cancelled.holder_id, cancelled.subscription_no, at_once=False)
    until = START + 70 * DAY
    await club.do(subscriptions.pause, paused.holder_id, paused.subscription_no, until=until)
    await club.do(subscriptions.change, club.provider, changed.holder_id, changed.subscription_no, plan="family",
                  interval="YEAR")  # fmt: skip
    await club.do(subscriptions.cancel, withdrawn.holder_id, withdrawn.subscription_no, at_once=False)
    await club.do(subscriptions.stay, withdrawn.holder_id, withdrawn.subscription_no)
    await club.pass_time(START + 30 * DAY)
    return held


async def test_many_at_once_come_to_the_same_facts_as_one_after_another(
    server: postgres.Server, template: str, vault: Vault
) -> None:
    digests, charged, sums = [], [], []
    for number, at_once in enumerate((0, 3, 400)):
        async with opened(server, template, vault, f"night_{template}_{number}") as club:
            await a_month(club)
            night = START + 32 * DAY
            if at_once:
                done = await nightly.renew(club.database, club.providers, to=night, at_once=at_once)
                assert done == 2 * (PLAIN + 1)  # periods and charges: of the plain, and of whoever stayed after all
            await club.pass_time(night)
            digests.append(await club.digest())
            await club.pass_time(START + 45 * DAY)  # retries, questions, ends
            digests.append(await club.digest())
            sums.append(sorted(gross for _, _, gross in await club.invoices()))
            charged.append(sorted(club.provider.charged))  # type: ignore[attr-defined]
    assert digests[0:2] == digests[2:4] == digests[4:6]
    assert charged[0] == charged[1] == charged[2]
    assert sums[0] == sums[1] == sums[2]
    assert sums[0].count(500) == 2  # half of the first month, and half of the second


async def test_whoever_renews_beside_others_does_nothing_twice(database: Database, vault: Vault) -> None:
    club = Club(database, vault, ByCard())
    await club.open()
    for _ in range(30):
        await club.subscribe(await club.person())
    await club.pass_time(timedelta(0))
    await club.pass_time(START + 30 * DAY)  # each renewal is announced
    night = START + 32 * DAY
    done = await asyncio.gather(
        *(nightly.renew(database, club.providers, to=night, at_once=4, tasks=2) for _ in range(3))
    )
    assert sum(done) == 60
    keys = [order.key for order in club.provider.orders]  # type: ignore[attr-defined]
    assert len(keys) == len(set(keys)) == 60
    assert [number for number, _, _ in await club.invoices()] == list(range(1, 61))
    assert {state for _, state, _ in await club.invoices()} == {"PAID"}
    assert await nightly.renew(database, club.providers, to=night) == 0


async def test_a_night_that_is_stopped_goes_on_where_it_was(database: Database, vault: Vault) -> None:
    """Orders that were given and of which nobody heard are asked about when their lease is over."""

    class Gone(Exception):  # noqa: N818
        pass

    class Leaving(ByCard):
        async def charge(self, order: ChargeOrder) -> Answer:
            answer = await super().charge(order)
            if len(self.orders) == 25:
                raise Gone
            return answer

    club = Club(database, vault, Leaving())
    await club.open()
    for _ in range(20):
        await club.subscribe(await club.person())
    await club.pass_time(timedelta(0))
    await club.pass_time(START + 30 * DAY)  # each renewal is announced
    night = START + 32 * DAY
    with pytest.raises(Gone):
        await nightly.renew(database, club.providers, to=night, at_once=8)
    await nightly.renew(database, club.providers, to=night, at_once=8)
    club.at = night
    assert await club.pass_time(night) == 0
    unknown = "SELECT count(*) FROM members.charge_attempt LEFT JOIN members.charge_outcome o USING (invoice_no) WHERE o IS NULL"
    assert await database.pool.fetchval(unknown) == 8
    await club.pass_time(night + nightly.LEASE)
    assert {state for _, state, _ in await club.invoices()} == {"PAID"}
    assert len(club.provider.charged) == 40  # type: ignore[attr-defined]
    assert await database.pool.fetchval("SELECT count(*) FROM members.fee_payment") == 40
