"""A raffle: who wins follows from a seed that was committed to and a list that was told, and anybody can draw again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from typer.testing import CliRunner

from kit import actors
from kit.approvals import FourEyesRequired
from kit.database import Database
from kit.secrets import Vault
from partners import callers
from partners.mechanics import drawing, raffle_commands, raffles
from partners.mechanics.drawing import Ticket
from partners.mechanics.raffles import Draft, Raffle, RaffleExists, RaffleInvalid, RaffleOpen, RaffleUnknown
from partners.receipts.receipts import ReceiptRef
from partners.returns import returns
from partners.returns.returning import Wish
from tests.builders import a_receipt
from tests.partners.mechanics.fair import DAY, EARLIER, NOON, Fair, a_fair, met
from tests.partners.promotions.offers import document
from tests.partners.tills.test_merged import Merged

SEED = bytes(range(32))
ENDS = NOON + 7 * DAY
DRAFT = Draft("spring", {"en": "Spring", "ru": "Весна", "ro": "Primăvara"}, 2, ENDS)
TABLES = ("raffle", "raffle_closing", "raffle_entry", "raffle_drawing")


template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


async def begin(fair: Fair, draft: Draft = DRAFT) -> Raffle:
    async with fair.coalition.database.transaction() as connection:
        return await raffles.begin(connection, fair.coalition.vault, draft, actor=fair.market.maker, at=EARLIER)


async def close(fair: Fair, *, actor: int | None = None, at: object = ENDS) -> Raffle:
    async with fair.coalition.database.transaction() as connection:
        return await raffles.close(connection, "spring", actor=actor or fair.market.checker, at=at)  # type: ignore[arg-type]


async def draw(fair: Fair, *, actor: int | None = None) -> Raffle:
    async with fair.coalition.database.transaction() as connection:
        return await raffles.draw(
            connection, fair.coalition.vault, "spring", actor=actor or fair.market.checker, at=ENDS + DAY
        )


async def written(fair: Fair) -> list[int]:
    async with fair.coalition.database.reading() as connection:
        return [(await connection.execute(text(f"SELECT count(*) FROM partners.{one}"))).scalar_one() for one in TABLES]


async def test_a_raffle_from_its_first_ticket_to_winners_that_anybody_draws_again(fair: Fair, tmp_path: Path) -> None:
    """Tickets of purchases, one of which comes back; a list that is told; a draw that a stranger makes again."""
    told = await begin(fair)
    rule = document("tickets", {"type": "raffle_ticket", "raffle": "spring", "per_minor": 500}, funding=[])
    await fair.market.publish(rule)
    cards = [await fair.coalition.add_member() for _ in range(4)]
    bought = [
        await fair.market.buy(card, a_receipt(minor)) for card, minor in zip(cards, (500, 1_500, 400, 500), strict=True)
    ]
    late = a_receipt(5_000, at=ENDS + DAY)
    await fair.market.buy(cards[2], late)  # a ticket of after the end is in no list
    back = bought[3].receipt
    caller, own = fair.coalition.callers["bakery"], ReceiptRef("1", "1", (NOON + DAY).date(), "back")
    place = callers.place_of(await fair.coalition.desk.directory.get(), caller, "1", "1")
    await returns.return_purchase(
        fair.coalition.desk, caller, returns.ReturnSlip("back", place, own, NOON + DAY), back, Wish(), idem_key=uuid4(),
        at=NOON + DAY,
    )  # fmt: skip
    with pytest.raises(RaffleOpen):
        await close(fair, at=NOON)
    with pytest.raises(RaffleOpen):
        await draw(fair)
    closed = await close(fair)
    assert (closed.state, closed.tickets, closed.seed, closed.winners) == (raffles.CLOSED, 4, None, ())
    drawn = await draw(fair)
    assert drawn.seed is not None
    assert drawing.commitment(drawn.seed) == told.commitment == closed.commitment
    async with fair.coalition.database.reading() as connection:
        published = await raffles.published(connection, "spring")
        won = await raffles.winners(connection, "spring", actor=fair.market.checker)
    assert [member for _, member in won] in (
        [cards[0].member_id, cards[1].member_id],
        [cards[1].member_id, cards[0].member_id],
    )
    assert published["listSha256"] == closed.list_sha256
    assert drawing.problems(published) == []
    file = tmp_path / "spring.json"
    for changed, code in ((published, 0), (published | {"winners": published["winners"][::-1]}, 1), ({}, 1)):
        file.write_text(json.dumps(changed))
        assert CliRunner().invoke(raffle_commands.app, ["verify", str(file)]).exit_code == code
    before = await written(fair)
    assert (await close(fair), await draw(fair)) == (drawn, drawn)  # again, and nothing changes
    assert await written(fair) == before == [1, 1, 4, 1]


async def test_who_was_merged_wins_once_and_the_prize_is_the_survivors(fair: Fair) -> None:
    """Four prizes, and three members of whom two are one person: each person wins one, and anybody can draw it again."""
    await begin(fair, replace(DRAFT, prizes=4))
    await fair.market.publish(
        document("tickets", {"type": "raffle_ticket", "raffle": "spring", "per_minor": 500}, funding=[])
    )
    cards = [await fair.coalition.add_member() for _ in range(3)]
    for card in cards:
        await fair.market.buy(card, a_receipt(1_000))
    await Merged(fair.coalition, old=cards[0], kept=cards[1]).merge()
    assert (await close(fair)).tickets == 6
    drawn = await draw(fair)
    async with fair.coalition.database.reading() as connection:
        won = await raffles.winners(connection, "spring", actor=fair.market.checker)
        published = await raffles.published(connection, "spring")
    assert sorted(member for _, member in won) == [cards[1].member_id, cards[2].member_id]
    assert len(drawn.winners) == 2
    assert drawing.problems(published) == []


async def test_who_opened_a_raffle_neither_closes_nor_draws_it_and_a_no_writes_nothing(fair: Fair) -> None:
    await begin(fair)
    async with fair.coalition.database.transaction() as connection:
        await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_CHECKER])
    before = await written(fair)
    with pytest.raises(FourEyesRequired):
        await close(fair, actor=fair.market.maker)
    with pytest.raises(RaffleExists):
        await begin(fair)
    for wrong in (replace(DRAFT, prizes=0), replace(DRAFT, closes_at=EARLIER), replace(DRAFT, names={"en": "Spring"})):
        with pytest.raises(RaffleInvalid):
            await begin(fair, replace(wrong, code="other"))
    async with fair.coalition.database.reading() as connection:
        with pytest.raises(RaffleUnknown):
            await raffles.read(connection, "none")
    assert await written(fair) == before == [1, 0, 0, 0]


lists = st.lists(st.tuples(st.integers(1, 6), st.uuids(version=4)), max_size=30, unique_by=lambda one: one[1])


@given(lists, st.integers(1, 8), st.randoms())
@settings(max_examples=30)
def test_winners_are_tickets_one_a_member_and_the_same_in_whatever_order(
    given_: list[tuple[int, UUID]], prizes: int, chance: object
) -> None:
    made = drawing.entries("r", [(holder_id, cause, 1) for holder_id, cause in given_])
    holders = {one.ticket.name: one.holder_id for one in made}
    tickets = [one.ticket for one in made]
    won = drawing.winners(SEED, tickets, prizes)
    assert len(won) == len({holders[one] for one in won}) == min(prizes, len(set(holders.values())))
    mixed = list(tickets)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert drawing.winners(SEED, mixed, prizes) == won
    assert drawing.list_sha256(mixed) == drawing.list_sha256(tickets)
    assert won[: prizes // 2] == drawing.winners(SEED, tickets, prizes // 2)


def test_every_lie_about_a_raffle_is_found() -> None:
    one, two, three = sorted(UUID(int=number) for number in (5, 6, 7))
    tickets = [Ticket(one, one), Ticket(two, one), Ticket(three, three)]
    true: dict[str, Any] = {
        "seed": SEED.hex(), "commitment": drawing.commitment(SEED), "prizes": 2,
        "listSha256": drawing.list_sha256(tickets), "tickets": [[str(name), str(first)] for name, first in tickets],
        "winners": [str(won) for won in drawing.winners(SEED, tickets, 2)],
    }  # fmt: skip
    assert drawing.problems(true) == []
    other = [*true["tickets"][:2], [str(UUID(int=9)), str(UUID(int=9))]]
    for lie, said in (
        ({"seed": bytes(32).hex()}, "committed"), ({"tickets": other}, "told before"),
        ({"tickets": [*true["tickets"], true["tickets"][0]]}, "twice"), ({"prizes": 1}, "other tickets"),
        ({"tickets": [[str(one), str(two)], *true["tickets"][1:]]}, "before the first"),
    ):  # fmt: skip
        assert any(said in problem for problem in drawing.problems(true | lie)), lie
